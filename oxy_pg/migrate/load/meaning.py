"""
What a value means, read a second time: in the source, and as PostgreSQL stores it.

Nothing here uses the conversion that loads a value (convert/kinds), so that a
fault of that conversion is a difference. For types that are not here, and for
spellings that are rare, the answer is UNKNOWN, and comparison.py, which says how
the two relate, uses the rules of the kind instead.
"""

from __future__ import annotations

import json
import re
import struct
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.unfit import Value

UNKNOWN = object()


class _Instant(NamedTuple):
    """
    Microseconds since 1970 in UTC.

    The target may have rounded them to so many ``digits`` of a second, and may
    be off by ``inexact`` microseconds besides.
    """

    micros: Fraction | int
    digits: int
    inexact: int


# --- in the source -----------------------------------------------------------------------


def meant(value: Value, type_: PgType, option: str | None) -> object:
    """Return what a value of the source means in a column of a type, or UNKNOWN."""
    read = _SOURCE.get(type_.kind.name)
    if read is None or (isinstance(value, str) and "\0" in value):
        return UNKNOWN
    try:
        return read(value, type_, option)
    except (ValueError, InvalidOperation, OverflowError, RecursionError):
        return UNKNOWN


def _integer(value: Value, _: PgType, option: str | None) -> object:
    if option is not None or isinstance(value, bytes):
        return UNKNOWN
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]{1,19}", value) else UNKNOWN
    return int(value) if value == int(value) else UNKNOWN


def _double(value: Value, _: PgType, option: str | None) -> object:
    if option is not None or isinstance(value, bytes | str):
        return UNKNOWN
    return struct.pack(">d", value)


def _numeric(value: Value, _: PgType, option: str | None) -> object:
    if option is not None or isinstance(value, bytes):
        return UNKNOWN
    spelled = repr(value) if isinstance(value, float) else str(value)
    return Decimal(spelled) if re.fullmatch(r"-?[0-9.]+(e[-+]?[0-9]+)?", spelled) else UNKNOWN


def _text(value: Value, type_: PgType, option: str | None) -> object:
    if option is not None or isinstance(value, bytes):
        return UNKNOWN
    text = value if isinstance(value, str) else repr(value)
    # Of a type whose blanks at the end do not count.
    return text.rstrip(" ") if type_.kind.canonical(" ") == "" else text


def _bytes(value: Value, _: PgType, option: str | None) -> object:
    return value if isinstance(value, bytes) and option is None else UNKNOWN


def _boolean(value: Value, _: PgType, option: str | None) -> object:
    known = isinstance(value, int) and value in {0, 1} and option is None
    return bool(value) if known else UNKNOWN


def _uuid(value: Value, _: PgType, option: str | None) -> object:
    if option is not None:
        return UNKNOWN
    if isinstance(value, str):
        value = bytes.fromhex(value.replace("-", "")) if len(value) in {32, 36} else b""
    return value if isinstance(value, bytes) and len(value) == 16 else UNKNOWN


def _document(value: Value, type_: PgType, option: str | None) -> object:
    if not isinstance(value, str) or option is not None:
        return UNKNOWN
    return _structure(value) if type_.kind.is_ordered else value


def _structure(text: str) -> object:
    return json.loads(text, parse_int=_json_number, parse_float=_json_number)


def _json_number(digits: str) -> object:
    return "number", Decimal(digits)  # not a number of Python's: True == 1


_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d):(\d\d)(\.\d+)?"
    r"(?:(Z|[+-]00:?00)|([+-])(\d\d):(\d\d))?\Z",
    re.ASCII,
)
# For numbers: how many microseconds one of them is.
_UNITS = {"s": Fraction(10**6), "ms": Fraction(1000), "us": Fraction(1), "ns": Fraction(1, 1000)}


def _instant(value: Value, type_: PgType, option: str | None) -> object:
    if isinstance(value, bytes):
        return UNKNOWN
    digits = 6 if type_.size is None else type_.size
    if isinstance(value, str):
        exact = _spelled_instant(value)
        return UNKNOWN if exact is None else _Instant(exact, digits, 0)
    if option is None or option not in _UNITS:
        return UNKNOWN
    return _Instant(Fraction(value) * _UNITS[option], digits, int(isinstance(value, float)))


def _spelled_instant(text: str) -> Fraction | int | None:
    match = _MOMENT.match(text)
    if match is None:
        return None
    day, hour, minute, second, fraction, _, sign, hours, minutes = match.groups()
    days = date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign:
        seconds -= int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60)
    if fraction is None or len(fraction) <= 7:  # a Fraction takes much longer
        return seconds * 1_000_000 + int((fraction or "")[1:].ljust(6, "0"))
    return (seconds + Fraction(f"0{fraction}")) * 1_000_000


def _day(value: Value, _: PgType, option: str | None) -> object:
    if not isinstance(value, str) or option is not None or len(value) != 10:
        return UNKNOWN
    return date.fromisoformat(value).toordinal()


_SOURCE: dict[str, Callable[[Value, PgType, str | None], object]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), _integer),
    **dict.fromkeys(("text", "varchar", "char"), _text),
    **dict.fromkeys(("timestamp", "timestamptz"), _instant),
    **dict.fromkeys(("json", "jsonb"), _document),
    "double": _double,
    "numeric": _numeric,
    "bytea": _bytes,
    "boolean": _boolean,
    "uuid": _uuid,
    "date": _day,
}


# --- in the target -----------------------------------------------------------------------


def spelled(text: str, type_: PgType) -> object:
    """Return what PostgreSQL's text of a value means; UNKNOWN where it is not known here."""
    read = _TARGET.get(type_.kind.name)
    try:
        return UNKNOWN if read is None else read(text)
    except (ValueError, InvalidOperation, RecursionError):
        return UNKNOWN


def _moment(text: str) -> object:
    exact = _spelled_instant(text if text[-3] not in "+-" else f"{text}:00")
    return UNKNOWN if exact is None else exact


_TARGET: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), int),
    **dict.fromkeys(("text", "varchar", "json"), str),
    **dict.fromkeys(("timestamp", "timestamptz"), _moment),
    "char": lambda text: text.rstrip(" "),
    "jsonb": _structure,
    "double": lambda text: struct.pack(">d", float(text)),
    "numeric": Decimal,
    "bytea": lambda text: bytes.fromhex(text.removeprefix("\\x")),
    "boolean": lambda text: {"true": True, "t": True, "false": False, "f": False}[text],
    "uuid": lambda text: bytes.fromhex(text.replace("-", "")),
    "date": lambda text: date.fromisoformat(text).toordinal(),
}

_2000 = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def stored(field: bytes, type_: PgType) -> object:
    """Return what a field of binary COPY means."""
    read = _STORED.get(type_.kind.name)
    return UNKNOWN if read is None else read(field)


def _number(field: bytes) -> int:
    return int.from_bytes(field, "big", signed=True)


_STORED: dict[str, Callable[[bytes], object]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), _number),
    **dict.fromkeys(("text", "varchar", "json"), bytes.decode),
    **dict.fromkeys(("double", "bytea", "uuid"), bytes),
    **dict.fromkeys(("timestamp", "timestamptz"), lambda field: _number(field) + _2000),
    "boolean": lambda field: field == b"\1",
    "date": lambda field: _number(field) + date(2000, 1, 1).toordinal(),
}


def same(wanted: object, found: object) -> bool:
    """Whether what was meant is what is stored; neither is UNKNOWN."""
    if isinstance(wanted, _Instant) and isinstance(found, Fraction | int):
        if wanted.micros == found:
            return True
        off = abs(Fraction(wanted.micros - found)) - wanted.inexact
        # PostgreSQL halves doubles: exactly half may go either way.
        return off <= 0 or off * 100_000 <= 50_001 * 10 ** (6 - wanted.digits)
    return type(wanted) is type(found) and wanted == found
