"""
Points in time: what texts and numbers mean, and how PostgreSQL spells them.

A time without an offset is UTC. Digits beyond those that the column holds are
rounded to the nearest as PostgreSQL does it: half a microsecond to even, half of
a coarser step up.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.epochs import instant_of, micros_since, size_of
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.unfit import Value

MIXED = "a number, and the other times in this column are text"
BEYOND = "in UTC it is not in the years 1 to 9999; --cast table.column=text keeps it as it is"
_ZERO = 2000
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_OFFSET = r"[+-]\d\d(?::?\d\d(?::?\d\d)?)?"
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    rf"\s*(Z|z|UTC|GMT|{_OFFSET})?"
    # After an offset: the name of the zone (Go's +0530 IST, Java's [Europe/Paris]), and what Go
    # says of its monotonic clock.
    rf"(?(8)(?:(?<=\d) (?:[A-Z]{{2,5}}|{_OFFSET})|\[[\w/+-]+\])?(?: m=[+-]\d+(?:\.\d+)?)?)"
    r")?\s*\Z",
    re.ASCII,
)
# In a text column, a number in digits. It is one only where the user says what it counts.
_DIGITS = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*\Z", re.ASCII)


def micros(digits: str | None) -> int:
    """Return the microseconds that the digits of a fraction of a second mean, rounded."""
    # The same arithmetic as PostgreSQL's: a double, rounded half to even.
    return round(float(f"0.{digits}") * 1_000_000) if digits else 0


def _parse_offset(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text in {"Z", "z", "UTC", "GMT"}:
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[i : i + 2]) for i in (0, 2, 4))
    if hours > 15 or minutes > 59 or seconds > 59:
        raise Unfit("not an offset from UTC")
    delta = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-delta if text[0] == "-" else delta)


def number_in(value: Value, option: str | None) -> float | None:
    """Return the number that a value is, also in digits where an ``option`` says what they are."""
    if isinstance(value, int | float):
        return value
    if option is None or isinstance(value, bytes) or not (match := _DIGITS.match(value)):
        return None
    return float(value) if match[1] and len(match[0]) < 300 else int(value.partition(".")[0][:300])


def instant(value: Value, option: str | None, name: str = "timestamptz") -> datetime:
    """Return the point in time that a value means; ``name`` is its type's. Raises Unfit."""
    number = number_in(value, option)
    if number is None:
        if isinstance(value, str) and _DIGITS.match(value):
            raise Unfit("digits, and no time" + _suggestion(number_in(value, "s") or 0, name))
        if isinstance(value, str):
            return _from_text(value)
        raise Unfit("bytes are not a time")
    if option is None:
        raise Unfit(MIXED + _suggestion(number, name))
    return instant_of(number, option)


def _suggestion(number: float, name: str) -> str:
    unit = size_of(number)
    with contextlib.suppress(Unfit):
        instant_of(number, "yyyymmdd")
        unit = "yyyymmdd"
    if unit is None:
        return ""
    moment = instant_of(number, unit).isoformat(" ").removesuffix("+00:00")
    return f" (--cast table.column={name}:{unit} reads the numbers too; this one as {moment})"


def fraction_digits(value: Value, option: str | None) -> int:
    """
    Return how many digits after the second an instant has, trailing zeros left off.

    ``value`` is one that instant() reads. More than six stand for any number of
    them where a number counts less than microseconds.
    """
    number = number_in(value, option)
    if number is None:
        match = _TIMESTAMP.match(str(value))
        return len((match[7] or "").rstrip("0")) if match else 0
    found, exact = micros_since(number, option or "")
    return len(f"{found % 1_000_000:06}".rstrip("0")) if exact else 7


def offset_of(text: str) -> timezone:
    """Return the offset from UTC that a time is written with; without one it is UTC."""
    match = _TIMESTAMP.match(text)
    return (_parse_offset(match[8]) if match else None) or UTC


def leads_beyond(value: Value) -> bool:
    """Whether a time is so close to the year 10000 that its fraction leads there when rounded."""
    if not isinstance(value, str) or not value.startswith("9999"):
        return False
    match = _TIMESTAMP.match(value)
    if match is None or not match[7]:
        return False
    return micros(match[7]) == 1_000_000 and _from_text(value) >= _LAST


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
    try:
        moment = whole.astimezone(UTC)
        if moment == _LAST:
            fraction = min(fraction, 999_999)  # the last one there is: .NET's DateTime.MaxValue
        moment += timedelta(microseconds=fraction)
        return moment + timedelta(days=1) if midnight else moment
    except OverflowError as error:
        raise Unfit(BEYOND) from error


def rounded(moment: datetime, digits: int | None) -> datetime:
    """Round to the fraction digits that a column holds."""
    if digits is None or digits >= 6:
        return moment
    step = 10 ** (6 - digits)
    # As PostgreSQL does it, which halves away from the zero of its clock, the year 2000.
    up = step // 2 if moment.year >= _ZERO else (step - 1) // 2
    to = (moment.microsecond + up) // step * step
    if to == 1_000_000 and moment >= _LAST:
        to -= step  # down: there is no year 10000
    return moment + timedelta(microseconds=to - moment.microsecond)


def spelled(text: str) -> object:
    """Return the instant that PostgreSQL spelled, or the text where Python has no such year."""
    return _from_text(text) if _TIMESTAMP.match(text) else text
