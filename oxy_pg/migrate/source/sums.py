"""Digests of rows, and their sums, which SQLite computes where the rows are read."""

from __future__ import annotations

import hashlib

SIZE = 16  # bytes of a digest


class RowDigest:
    """The digest of one row, whose record comes in parts."""

    def __init__(self) -> None:
        self._state = hashlib.blake2b(digest_size=SIZE)

    def add(self, part: bytes) -> None:
        """Add the next part."""
        self._state.update(part)

    def result(self) -> int:
        """Return it as a number."""
        return int.from_bytes(self._state.digest(), "big")


def digest(record: bytes | bytearray | memoryview) -> int:
    """Return the digest of one row as a number."""
    return int.from_bytes(hashlib.blake2b(record, digest_size=SIZE).digest(), "big")


class Adding:
    """An aggregate function: the sum of the digests of blobs, as a blob."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, record: bytes) -> None:
        """Add one row."""
        self._sum += digest(record)

    def finalize(self) -> bytes:
        """Return the sum."""
        modulus: int = 2 ** (8 * SIZE)
        return (self._sum % modulus).to_bytes(SIZE, "big")
