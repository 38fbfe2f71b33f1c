"""
One SQLite value to the text that PostgreSQL reads, exactly or not at all.

This is the slow and exact way, and the definition of what is right: the fast
way (codec.py) is used only for values that it turns into the same thing, and
the verification compares against this one.

Rules that change a value's form, never its meaning:

* Times with more fraction digits than the column holds (six, unless it is
  declared with fewer) are rounded to the nearest, half to even, as PostgreSQL
  rounds text.
* A time without an offset is UTC: ``CURRENT_TIMESTAMP`` writes it so. A time
  with an offset that meets a ``timestamp`` column is turned to UTC first.
* A number in a text column becomes its shortest text.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.types import PgType

Value: TypeAlias = int | float | str | bytes


class Unfit(ValueError):
    """The value cannot be kept in a column of this type."""


# The most that PostgreSQL takes in one field (1 GB less what is around it).
LARGEST = 1_073_741_000

# More digits than numeric has.
_EXACT = Context(prec=200_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_JULIAN_EPOCH = 2_440_587.5  # 1970-01-01 00:00
_LIMITS = {"smallint": 15, "integer": 31, "bigint": 63}
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
    r"\s*(Z|z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?\s*\Z",
    re.ASCII,
)
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
# Python's own numbers may also have underscores, and digits of every script.
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)\Z", re.ASCII | re.IGNORECASE
)
# What numeric holds (manual: 8.1, Numeric Types).
_MOST_DIGITS = 131_072
_MOST_SCALE = 16_383
_BOOLEANS = {
    **dict.fromkeys(("t", "true", "1", "y", "yes", "on"), "t"),
    **dict.fromkeys(("f", "false", "0", "n", "no", "off"), "f"),
}


def unit_of(least: float, greatest: float, *, reals: bool) -> str:
    """
    Guess what numbers in a time column count.

    Julian days of years 1 to 9999 are reals between 1.7 and 5.4 million; the
    other units are told apart by size, so that each covers the years from
    1970 to beyond 5000.
    """
    if reals and least >= 1_721_425.5 and greatest < 5_373_484.5:
        return "julian"
    size = max(abs(least), abs(greatest))
    if size < 1e11:
        return "s"
    if size < 1e14:
        return "ms"
    return "us" if size < 1e17 else "ns"


def to_text(value: Value, type_: PgType, option: str | None = None) -> str:
    """
    Return the text from which PostgreSQL reads exactly this value.

    ``option`` is one of CAST_OPTIONS. Raises Unfit with the reason.
    """
    if isinstance(value, str):
        value = _without_nul(value, option)
    if option == "utf8":
        value = _other_way(value, type_)
    if isinstance(value, str | bytes) and len(value) > LARGEST // 4:
        size = len(value if isinstance(value, bytes) else value.encode())
        if size * (2 if isinstance(value, bytes) else 1) > LARGEST:
            raise Unfit(f"{size:,} bytes are more than PostgreSQL's limit of 1 GB for a value")
    return _CONVERT[type_.kind](value, type_, option)


def _without_nul(value: str, option: str | None) -> str:
    if "\0" not in value:
        return value
    if option == "strip_nul":
        return value.replace("\0", "")
    if option == "replace_nul":
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    raise Unfit(
        "PostgreSQL's text cannot hold the NUL character in it (--cast table.column=text:strip_nul "
        "or text:replace_nul)"
    )


def _other_way(value: Value, type_: PgType) -> Value:
    if type_.kind == "bytea" and isinstance(value, str):
        return value.encode()
    if type_.kind != "bytea" and isinstance(value, bytes):
        return decode(value)
    return value


def decode(raw: bytes | bytearray, encoding: str = "UTF-8") -> str:
    """Decode a text's bytes. Raises Unfit when they are not valid."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unfit(f"not valid {encoding} at byte {error.start}") from error


_NUMBERS = frozenset({"smallint", "integer", "bigint", "real", "double", "numeric"})
_FAMILIES = {
    **dict.fromkeys(_NUMBERS, "number"),
    **dict.fromkeys(("text", "varchar", "char"), "text"),
    **{kind: kind for kind in ("bytea", "boolean", "date", "time", "timestamp", "timestamptz")},
    "uuid": "uuid",
    "jsonb": "jsonb",
}


def family(type_: PgType) -> str | None:
    """Name the types among which key_text() compares; None where PostgreSQL alone can."""
    return _FAMILIES.get(type_.kind)


def key_text(value: Value, type_: PgType, option: str | None = None) -> str:
    """Return a text that is the same for values that are equal in PostgreSQL. Raises Unfit."""
    text = to_text(value, type_, option)
    if type_.kind == "jsonb":
        try:
            return _document(text)
        except (RecursionError, ArithmeticError) as error:
            raise Unfit("too deep, or too great, to be compared") from error
    if type_.kind == "real":
        return str(_digits(repr(_single(float(text)))))
    if type_.kind == "char":
        return text.rstrip(" ")
    return str(_digits(text)) if type_.kind in _NUMBERS else text


def _document(text: str) -> str:
    # Objects as sorted pairs in a tuple, arrays as lists, numbers by their value.
    return repr(
        json.loads(text, parse_int=_digits, parse_float=_digits, object_pairs_hook=_sorted_pairs)
    )


def _digits(text: str) -> Decimal:
    number = Decimal(text)
    return number.normalize(_EXACT) if number else Decimal(0)


def _sorted_pairs(pairs: list[tuple[str, object]]) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(dict(pairs).items(), key=itemgetter(0)))


def _integer(value: Value, type_: PgType, _: str | None) -> str:
    number: int
    if isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        number = int(value)
    elif isinstance(value, str) and _INTEGER.match(value):
        # Not int(text), which has a limit of its own.
        exact = Decimal(value)
        number = int(exact) if exact.adjusted() < 20 else 2**64
    else:
        raise Unfit(f"not a whole number, and the column is {type_}")
    bits = _LIMITS[type_.kind]
    if not -(2**bits) <= number < 2**bits:
        raise Unfit(f"out of the range of {type_}")
    return str(number)


def _double(value: Value, type_: PgType, _: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    if isinstance(value, str):
        if not _NUMBER.match(value):
            raise Unfit("not a number")
        if Decimal(float(value)) != Decimal(value):
            raise Unfit(f"{type_} cannot hold it exactly")
    if isinstance(value, int) and int(float(value)) != value:
        raise Unfit(f"{type_} cannot hold so many digits; --cast to numeric or bigint")
    number = float(value)
    if type_.kind == "real" and number not in {float("inf"), float("-inf")}:
        _refuse_what_a_real_rounds(number)
    return repr(number)


def _refuse_what_a_real_rounds(number: float) -> None:
    try:
        kept = _single(number)
    except OverflowError as error:
        raise Unfit("out of the range of real") from error
    # Seven digits are what a real promises; a double that is the shortest text of one is meant.
    if kept != number and float(f"{kept:.7g}") != number and float(f"{kept:.9g}") != number:
        raise Unfit("real would round it; the column needs double precision")


def _single(number: float) -> float:
    import struct

    (kept,) = struct.unpack("f", struct.pack("f", number))
    return float(kept)


def _numeric(value: Value, type_: PgType, _: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit("bytes, and the column is numeric")
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if not _NUMBER.match(text):
        raise Unfit("not a number")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise Unfit("more digits than numeric has") from error
    if not number.is_finite():
        if type_.size is None:
            return text
        raise Unfit(f"{type_} cannot hold it")
    if int(number.as_tuple().exponent) < -_MOST_SCALE or (
        number and number.adjusted() >= _MOST_DIGITS
    ):
        raise Unfit("more digits than numeric has")
    if type_.size is not None:
        scale = type_.scale or 0
        parts = number.normalize(_EXACT).as_tuple()
        exponent = int(parts.exponent)
        if number and -exponent > scale:
            raise Unfit(f"{type_} would round it")
        if number and len(parts.digits) + exponent > type_.size - scale:
            raise Unfit(f"out of the range of {type_}")
    return text


def _text(value: Value, type_: PgType, _: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_} (--cast to bytea, or {type_.kind}:utf8)")
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unfit("a lone surrogate, which UTF-8 does not have") from error
    if type_.size is not None and len(text) > type_.size:
        raise Unfit(f"{len(text):,} characters, and the column is {type_}")
    return text


def _bytea(value: Value, _: PgType, __: str | None) -> str:
    if not isinstance(value, bytes):
        kind = "text" if isinstance(value, str) else "a number"
        raise Unfit(f"{kind}, and the column is bytea (--cast table.column=bytea:utf8 for text)")
    return "\\x" + value.hex()


def _boolean(value: Value, _: PgType, __: str | None) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = _BOOLEANS.get(str(value).lower()) if isinstance(value, int | str) else None
    if found is None:
        raise Unfit("neither 0 nor 1, true nor false")
    return found


def _uuid(value: Value, _: PgType, __: str | None) -> str:
    if isinstance(value, bytes):
        if len(value) == 16:
            return _spell_uuid(value.hex())
        raise Unfit(f"{len(value)} bytes; a uuid has 16")
    if isinstance(value, int | float):
        raise Unfit(
            "SQLite took it for a number (a column declared uuid has NUMERIC affinity), and what "
            "it was before cannot be known"
        )
    plain = value.strip().removeprefix("urn:uuid:").strip("{}").replace("-", "")
    if len(plain) != 32 or not re.fullmatch(r"[0-9a-fA-F]{32}", plain):
        raise Unfit("not a uuid")
    return _spell_uuid(plain.lower())


def _spell_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _json(value: Value, type_: PgType, __: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    # A column declared JSON has NUMERIC affinity: the document 5 is stored as a number.
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        # Numbers stay texts: they may be longer than Python's own.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        pass  # PostgreSQL will say
    except ValueError as error:
        raise Unfit(f"not valid JSON: {error}") from error
    if type_.kind == "jsonb" and re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
        raise Unfit(r"jsonb cannot hold \u0000; --cast to json")
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _micros(digits: str | None) -> int:
    # The same arithmetic as PostgreSQL's: a double, rounded half to even.
    return round(float(f"0.{digits}") * 1_000_000) if digits else 0


def _parse_offset(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text in {"Z", "z", "UTC"}:
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[i : i + 2]) for i in (0, 2, 4))
    if hours > 15 or minutes > 59 or seconds > 59:
        raise Unfit("not an offset from UTC")
    delta = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-delta if text[0] == "-" else delta)


def instant(value: Value, option: str | None) -> datetime:
    """Return the point in time that a value means. Raises Unfit."""
    if isinstance(value, bytes):
        raise Unfit("bytes are not a time")
    try:
        if isinstance(value, str):
            return _instant_from_text(value)
        return _instant_from_number(value, option)
    except (OverflowError, OSError) as error:
        raise Unfit("out of the range of years 1 to 9999") from error


def _instant_from_text(text: str) -> datetime:
    match = _TIMESTAMP.match(text)
    if match is None:
        raise Unfit("not a time" if text else "an empty text is not a time")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    micros = _micros(match[7])
    # Midnight of the next day, in PostgreSQL as in ISO 8601.
    midnight = (hour, minute, second, micros) == (24, 0, 0, 0)
    hour = 0 if midnight else hour
    try:
        whole = datetime(
            year, month, day, hour, minute, second, tzinfo=_parse_offset(match[8]) or UTC
        )
    except Unfit:
        raise
    except ValueError as error:
        raise Unfit(f"not a time: {error}") from error
    moment = whole.astimezone(UTC) + timedelta(microseconds=micros)
    return moment + timedelta(days=1) if midnight else moment


def _instant_from_number(value: float, option: str | None) -> datetime:
    if option == "julian":
        # Julian days as doubles are exact to some 40 µs; SQLite itself keeps milliseconds.
        milliseconds = round((value - _JULIAN_EPOCH) * 86_400_000)
        return _EPOCH + timedelta(milliseconds=milliseconds)
    if option == "ns":
        # Not as a double: it has too few digits for today's nanoseconds.
        exact = Decimal(value) if isinstance(value, int) else value
        return _EPOCH + timedelta(microseconds=round(exact / 1000))
    if option not in _UNITS:
        raise Unfit("a number, and the other times in this column are text")
    if value in {float("inf"), float("-inf")}:
        raise Unfit("infinite")
    if isinstance(value, int):
        return _EPOCH + timedelta(microseconds=value * _UNITS[option])
    return _EPOCH + timedelta(microseconds=round(value * _UNITS[option]))


def rounded(moment: datetime, digits: int | None) -> datetime:
    """Round to the fraction digits that a column holds."""
    if digits is None or digits >= 6:
        return moment
    step = 10 ** (6 - digits)
    return moment + timedelta(
        microseconds=round(moment.microsecond / step) * step - moment.microsecond
    )


def _timestamptz(value: Value, type_: PgType, option: str | None) -> str:
    return f"{_spell_instant(value, type_, option)}+00"


def _timestamp(value: Value, type_: PgType, option: str | None) -> str:
    return _spell_instant(value, type_, option)


def _spell_instant(value: Value, type_: PgType, option: str | None) -> str:
    # As PostgreSQL writes it too, so that the verification finds equal texts.
    moment = rounded(instant(value, option), type_.size).replace(tzinfo=None)
    text = moment.isoformat(" ")
    return text.rstrip("0") if moment.microsecond else text


def _date(value: Value, _: PgType, option: str | None) -> str:
    if isinstance(value, str) and re.search(r"[Zz]|\d[+-]\d\d:?\d\d\Z", value[10:]):
        raise Unfit("a time with an offset, and the column is date")
    moment = instant(value, option)
    if moment.time() != time(0):
        raise Unfit("has a time of day, and the column is date")
    return moment.date().isoformat()


def _time(value: Value, type_: PgType, _: str | None) -> str:
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        raise Unfit("not a time of day")
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    micros = _micros(match[4])
    # PostgreSQL knows 24:00, Python does not.
    if (hour, minute, second, micros) == (24, 0, 0, 0):
        return "24:00:00"
    try:
        whole = datetime(2000, 1, 1, hour, minute, second)  # noqa: DTZ001
    except ValueError as error:
        raise Unfit(f"not a time of day: {error}") from error
    moment = rounded(whole + timedelta(microseconds=micros), type_.size)
    return moment.time().isoformat() if moment.day == 1 else "24:00:00"


def _other(value: Value, type_: PgType, _: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    return (
        repr(value) if isinstance(value, float) else value if isinstance(value, str) else str(value)
    )


_CONVERT: dict[str, Callable[[Value, PgType, str | None], str]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), _integer),
    **dict.fromkeys(("real", "double"), _double),
    "numeric": _numeric,
    **dict.fromkeys(("text", "varchar", "char"), _text),
    "bytea": _bytea,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "uuid": _uuid,
    **dict.fromkeys(("json", "jsonb"), _json),
    "other": _other,
}


def canonical(text: str, type_: PgType) -> object:
    """
    Turn what PostgreSQL reads or writes into something that is equal where the values are the same.

    Its repr() is too. 0.0 and -0.0 are not the same.
    """
    reader = _CANONICAL.get(type_.kind)
    return text if reader is None else reader(text)


def _canonical_timestamptz(text: str) -> object:
    return _instant_from_text(text) if _TIMESTAMP.match(text) else text


_CANONICAL: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), int),
    "double": lambda text: float(text).hex(),
    "real": lambda text: _single(float(text)).hex(),
    "numeric": lambda text: str(_digits(text)),
    "boolean": lambda text: text[0] in "t1",
    "uuid": UUID,
    "timestamp": _canonical_timestamptz,
    "timestamptz": _canonical_timestamptz,
    "date": lambda text: date.fromisoformat(text) if len(text) == 10 else text,
    "time": lambda text: text if text.startswith("24") else time.fromisoformat(text),
    "char": lambda text: text.rstrip(" "),
    "jsonb": _document,
}
