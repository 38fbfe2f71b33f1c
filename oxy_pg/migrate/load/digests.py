"""
Digests of rows: of those that were sent, and of those that are stored.

blake2b, because every Python has it, one with FIPS rules too, and it digests
more than a gigabyte in a second. A sum of digests of rows does not depend on
their order; one digest of all rows does, and takes less time.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TypeAlias

from oxy_pg.migrate.source.sums import SIZE, digest

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class Digest:
    """The digest of a stream of records of COPY, in their order."""

    def __init__(self) -> None:
        self._state = hashlib.blake2b(digest_size=SIZE)

    def add(self, records: Buffer) -> None:
        """Add the next records, or parts of them."""
        self._state.update(records)

    def result(self) -> bytes:
        """Return the digest of all that was added."""
        return self._state.digest()


class Sum:
    """The sum of the digests of rows, in any order; several threads may add to it."""

    def __init__(self) -> None:
        self._sum = 0
        self._adding = threading.Lock()

    def add(self, record: Buffer) -> None:
        """Add one row."""
        self.add_number(digest(record))

    def add_number(self, number: int) -> None:
        """Add a digest, or a sum of digests."""
        with self._adding:
            self._sum = (self._sum + number) % 2 ** (8 * SIZE)

    def result(self) -> bytes:
        """Return the sum."""
        return self._sum.to_bytes(SIZE, "big")
