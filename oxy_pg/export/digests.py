"""Digests of rows: of those that were fetched, and of those that stand in the file."""

from __future__ import annotations

import hashlib
import marshal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    Rows = list[tuple[Any, ...]]


def marshalled(rows: Rows) -> bytes:
    """Return bytes that are the same for the same values alone: 1 is another one than 1.0."""
    return marshal.dumps(rows, 2)  # later versions have references between equal objects


def digest(raw: bytes) -> bytes:
    """Return what is compared in the place of so many bytes."""
    return hashlib.blake2b(raw, digest_size=16).digest()


def unordered(rows: Rows) -> bytes:
    """Return a sum over rows, which is the same in any order."""
    return total(digest(marshalled([row])) for row in rows)


def total(sums: Iterable[bytes]) -> bytes:
    """Return the sum of what unordered() has returned."""
    return (sum(map(int.from_bytes, sums)) % 2**128).to_bytes(16)
