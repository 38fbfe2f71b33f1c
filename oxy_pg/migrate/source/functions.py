"""The functions in Python that SQLite calls while it reads the source."""

from __future__ import annotations

import re
import struct
from decimal import Decimal
from typing import TYPE_CHECKING

from oxy_pg.migrate.source.sums import Adding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

_PACK = "oxy_pack "


def install_functions(connection: sqlite3.Connection) -> None:
    """Give SQLite the functions that the survey and the load use."""
    encoding = encoding_of(connection)
    connection.create_function("oxy_repr", 1, repr, deterministic=True)
    connection.create_function("oxy_unhex", 1, bytes.fromhex, deterministic=True)
    connection.create_function("oxy_fields", -1, _fields, deterministic=True)
    connection.create_aggregate("oxy_sum", 1, Adding)  # type: ignore[arg-type]
    connection.create_function("oxy_decimals", 1, _decimals, deterministic=True)
    connection.create_function("oxy_is_broken", 1, _is_broken_utf16(encoding), deterministic=True)


def encoding_of(connection: sqlite3.Connection) -> str:
    """Return the encoding of the texts in the file."""
    before, connection.text_factory = connection.text_factory, str
    try:
        return str(connection.execute("PRAGMA main.encoding").fetchone()[0])
    finally:
        connection.text_factory = before


def _is_broken_utf16(encoding: str) -> Callable[[bytes | None], bool]:
    def is_broken(raw: bytes | None) -> bool:
        try:
            # SQLite may call it for other values before it evaluates typeof().
            (raw or b"").decode(encoding)
        except UnicodeDecodeError:
            return True
        return False

    return is_broken


def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 99


class _Lengths(dict[int, bytes]):
    """Lengths as binary COPY has them; the short ones are kept."""

    def __missing__(self, length: int) -> bytes:
        return struct.pack(">i", length)


_length = _Lengths((length, struct.pack(">i", length)) for length in range(1024)).__getitem__
_NULL = struct.pack(">i", -1)


def _fields(*values: bytes | None) -> bytes:
    """Return fields of binary COPY: texts with their lengths, one after the other."""
    parts: list[bytes] = [b""] * (2 * len(values))
    try:
        parts[::2] = map(_length, map(len, values))  # type: ignore[arg-type]
        parts[1::2] = values  # type: ignore[assignment]
    except TypeError:  # a NULL has no length
        parts[::2] = [_NULL if value is None else _length(len(value)) for value in values]
        parts[1::2] = [value or b"" for value in values]
    return b"".join(parts)


def pack_function(codes: str) -> str:
    """Name the function that is struct.pack() with these codes, big-endian."""
    return _PACK + codes


def install_packs(connection: sqlite3.Connection, formats: Iterable[str]) -> None:
    """Give SQLite the pack_function() of each of these codes."""
    for codes in formats:
        # The bound method of a Struct: called from SQLite without a line of Python.
        pack = struct.Struct(f">{codes}").pack
        count = len(re.findall(r"[a-z?]", codes))
        connection.create_function(pack_function(codes), count, pack, deterministic=True)
