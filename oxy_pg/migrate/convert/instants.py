"""
Points in time: what texts and numbers mean, and how PostgreSQL spells them.

A time without an offset is UTC. Digits beyond those that the column holds are
rounded to the nearest, half to even, as PostgreSQL rounds text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.unfit import Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_JULIAN_EPOCH = 2_440_587.5  # 1970-01-01 00:00
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
    r"\s*(Z|z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?\s*\Z",
    re.ASCII,
)


def unit_of(least: float, greatest: float, *, reals: bool) -> str:
    """
    Guess the unit of the numbers in a time column.

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


def micros(digits: str | None) -> int:
    """Return the microseconds that the digits of a fraction of a second mean, rounded."""
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
            return _from_text(value)
        return _from_number(value, option)
    except (OverflowError, OSError) as error:
        raise Unfit("out of the range of years 1 to 9999") from error


def _from_text(text: str) -> datetime:
    match = _TIMESTAMP.match(text)
    if match is None:
        raise Unfit("not a time" if text else "an empty text is not a time")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction = micros(match[7])
    # Midnight of the next day, in PostgreSQL as in ISO 8601.
    midnight = (hour, minute, second, fraction) == (24, 0, 0, 0)
    hour = 0 if midnight else hour
    try:
        whole = datetime(
            year, month, day, hour, minute, second, tzinfo=_parse_offset(match[8]) or UTC
        )
    except Unfit:
        raise
    except ValueError as error:
        raise Unfit(f"not a time: {error}") from error
    moment = whole.astimezone(UTC) + timedelta(microseconds=fraction)
    return moment + timedelta(days=1) if midnight else moment


def _from_number(value: float, option: str | None) -> datetime:
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


def spelled(text: str) -> object:
    """Return the instant that PostgreSQL spelled, or the text where Python has no such year."""
    return _from_text(text) if _TIMESTAMP.match(text) else text
