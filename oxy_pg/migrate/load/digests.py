"""
Digests of rows: of those that were sent, and of those that are stored.

A sum of digests of rows does not depend on their order; one digest of all rows
does, and takes less time.
"""

from __future__ import annotations

import hashlib
import threading
import time
from functools import cache
from typing import TypeAlias

from oxy_pg.migrate.source.sums import SIZE, digest

Buffer: TypeAlias = "bytes | bytearray | memoryview"


@cache
def _fastest() -> str:
    """
    Return which of two digests is faster here, tried for some tenths of a millisecond.

    Every Python has both, one with FIPS rules too. Where the processor has instructions for
    SHA-256, it takes 60 % of blake2b's time, else twice as much.
    """
    sample = bytes(64 * 1024)
    took: dict[str, float] = {}
    for _ in range(3):
        for name in ("blake2b", "sha256"):
            began = time.perf_counter()
            hashlib.new(name, sample)
            took[name] = min(took.get(name, 1.0), time.perf_counter() - began)
    return min(took, key=took.__getitem__)


class Digest:
    """The digest of a stream of records of COPY, in their order; only good for this process."""

    def __init__(self) -> None:
        self._state = hashlib.new(_fastest())

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
