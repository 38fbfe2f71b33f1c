"""
Lengths of time: what texts and numbers mean, and how PostgreSQL spells them.

PostgreSQL keeps months, days and microseconds apart (manual: 8.5.4, Interval
Input). A number of a unit becomes days of 24 hours and the rest, both with its
sign, as the drivers of applications send it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.migrate.convert.instants import instant
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.unfit import Value

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR
_UNITS = {"s": Fraction(_SECOND), "ms": Fraction(1000), "us": Fraction(1), "ns": Fraction(1, 1000)}
_MOST_MONTHS = 2**31 - 1
_MOST_MICROS = 2**63 - 1
_IS_TIME = (
    "a time, not an interval; --cast table.column=interval:epoch reads how long it is after 1970, "
    "as SQLAlchemy writes intervals"
)
_NO_UNIT = (
    "a number without a unit; --cast table.column=interval:us, interval:ms or interval:s says "
    "what it counts"
)


class Length(NamedTuple):
    """A length of time; ``exact``: nothing below the microsecond was left off."""

    months: int
    days: int
    micros: int
    exact: bool = True

    def __str__(self) -> str:
        """Spell it as PostgreSQL's output does in the style "postgres"."""
        years, months = _divided(self.months, 12)
        parts: list[str] = []
        negative = False  # the part before it is negative: then a positive one has its sign
        for number, noun in ((years, "year"), (months, "mon"), (self.days, "day")):
            if number:
                plus = "+" if negative and number > 0 else ""
                parts.append(f"{plus}{number} {noun}{'' if number == 1 else 's'}")
                negative = number < 0
        if self.micros or not parts:
            sign = "-" if self.micros < 0 else "+" if negative else ""
            parts.append(sign + _clock(abs(self.micros)))
        return " ".join(parts)


def _divided(number: int, by: int) -> tuple[int, int]:
    """Divide as C does: the rest has the sign of the number."""
    quotient, rest = divmod(abs(number), by)
    return (-quotient, -rest) if number < 0 else (quotient, rest)


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, _SECOND)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


def length(value: Value, option: str | None) -> Length:
    """Return the length of time that a value means. Raises Unfit."""
    if isinstance(value, bytes):
        raise Unfit("bytes are not an interval")
    found = _read(value, option)
    if abs(found.months) > _MOST_MONTHS or abs(found.days) > _MOST_MONTHS:
        raise Unfit("out of the range of interval")
    if abs(found.micros) > _MOST_MICROS:
        raise Unfit("out of the range of interval")
    return found


def _read(value: float | str, option: str | None) -> Length:
    if isinstance(value, str):
        text = value.strip()
        if option == "epoch":
            return _since_1970(text)
        if not _NUMBER.match(text):
            return _from_text(text)
        number = Fraction(text)
    else:
        if value in {float("inf"), float("-inf")}:
            raise Unfit("infinite")
        # The number that is meant, and not the double that is nearest to it.
        number = Fraction(repr(value))
    if option not in _UNITS:
        if option == "epoch":
            raise Unfit("a number, and the lengths in this column are times (interval:epoch)")
        raise Unfit(_NO_UNIT)
    return _split(number * _UNITS[option])


def _split(micros: Fraction) -> Length:
    whole = round(micros)
    days, rest = _divided(whole, _DAY)
    return Length(0, days, rest, whole == micros)


def _since_1970(text: str) -> Length:
    since = instant(text, None) - datetime(1970, 1, 1, tzinfo=UTC)
    return _split(Fraction(since // timedelta(microseconds=1)))


# --- texts -----------------------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?\Z", re.ASCII)
# Python's str(timedelta), Django's duration_string() and PostgreSQL's own output have days
# before the clock.
_CLOCK = re.compile(r"([+-])?(?:(\d+)\.)?(\d+):([0-5]\d):([0-5]\d)(?:\.(\d+))?\Z", re.ASCII)
_WITH_DAYS = re.compile(
    r"([+-]?\d+)(?:\s+days?,?)?\s+([+-]?\d+:\d\d(?::\d\d(?:\.\d+)?)?)\Z", re.ASCII
)
_SHORT_CLOCK = re.compile(r"[+-]?\d+:\d\d\Z", re.ASCII)
_NUM = r"([+-]?\d+(?:[.,]\d+)?)"
_ISO = re.compile(
    rf"([+-])?P(?:{_NUM}Y)?(?:{_NUM}M)?(?:{_NUM}W)?(?:{_NUM}D)?"
    rf"(T(?:{_NUM}H)?(?:{_NUM}M)?(?:{_NUM}S)?)?\Z",
    re.ASCII | re.IGNORECASE,
)
_WORDS = re.compile(r"([+-]?\s*\d+(?:\.\d+)?)\s*([a-zµ]+)\.?,?\s*", re.ASCII | re.IGNORECASE)
_MONTHS = {"year": 12, "yr": 12, "y": 12, "month": 1, "mon": 1}
_DAYS = {"week": 7, "w": 7, "day": 1, "d": 1}
_MICROS = {
    **dict.fromkeys(("hour", "hr", "h"), _HOUR),
    **dict.fromkeys(("minute", "min", "m"), 60 * _SECOND),
    **dict.fromkeys(("second", "sec", "s"), _SECOND),
    **dict.fromkeys(("millisecond", "msec", "ms"), 1000),
    **dict.fromkeys(("microsecond", "usec", "us"), 1),
}


def _from_text(text: str) -> Length:
    if not text:
        raise Unfit("an empty text is not an interval")
    if match := _CLOCK.match(text):
        return _of_clock(match)
    if match := _WITH_DAYS.match(text):
        # Behind days, it is hours and minutes; alone, it may as well be minutes and seconds.
        clock = _CLOCK.match(match[2] + ":00" * (match[2].count(":") == 1))
        if clock is not None:
            return _of_clock(clock)._replace(days=int(match[1]))
    if _SHORT_CLOCK.match(text):
        raise Unfit("hours and minutes, or minutes and seconds; H:MM:SS is certain")
    if match := _ISO.match(text):
        return _of_iso(match)
    if _is_time(text):
        raise Unfit(_IS_TIME)
    return _of_words(text)


def _is_time(text: str) -> bool:
    try:
        instant(text, None)
    except Unfit:
        return False
    return True


def _of_clock(match: re.Match[str]) -> Length:
    # .NET writes days before a point, and then hours of one day.
    days, hours = int(match[2] or 0), int(match[3])
    if match[2] is not None and hours > 23:
        raise Unfit("not an interval: more than 23 hours behind days")
    seconds = Fraction(f"{int(match[5])}.{match[6] or 0}")
    exact = hours * _HOUR + int(match[4]) * 60 * _SECOND + seconds * _SECOND
    sign = -1 if match[1] == "-" else 1
    micros = round(exact)
    return Length(0, sign * days, sign * micros, micros == exact)


def _of_iso(match: re.Match[str]) -> Length:
    sign = -1 if match[1] == "-" else 1
    parts = [match[n] for n in (2, 3, 4, 5, 7, 8, 9)]
    if not any(parts) or match[6] in {"T", "t"}:
        raise Unfit("not an interval")
    years, months, weeks, days, hours, minutes, seconds = (
        sign * Fraction((part or "0").replace(",", ".")) for part in parts
    )
    micros = hours * _HOUR + minutes * 60 * _SECOND + seconds * _SECOND
    return _joined(years * 12 + months, weeks * 7 + days, micros)


def _of_words(text: str) -> Length:
    """Read numbers with their units, in PostgreSQL's words: ``1 day 02:03:04``, ``1.7 seconds``."""
    body = re.sub(r"^@\s*", "", text.lower())
    ago = body.endswith(" ago")
    body = body.removesuffix(" ago").strip()
    months, days, micros = Fraction(0), Fraction(0), Fraction(0)
    exact = True
    place = 0
    while match := _WORDS.match(body, place):
        unit = match[2].replace("µ", "u")
        unit = unit if unit in _UNIT_NAMES else unit.removesuffix("s")
        number = Fraction(match[1].replace(" ", ""))
        if unit not in _UNIT_NAMES:
            raise Unfit("not an interval")
        months += number * _MONTHS.get(unit, 0)
        days += number * _DAYS.get(unit, 0)
        micros += number * _MICROS.get(unit, 0)
        place = match.end()
    rest = body[place:]
    if rest:
        clock = _CLOCK.match(rest)
        if clock is None or not place or clock[2] is not None:
            raise Unfit("not an interval")
        found = _of_clock(clock)
        micros, exact = micros + found.micros, found.exact
    found = _joined(months, days, micros)
    if ago:
        found = found._replace(months=-found.months, days=-found.days, micros=-found.micros)
    return found._replace(exact=found.exact and exact)


_UNIT_NAMES = {*_MONTHS, *_DAYS, *_MICROS}


def _joined(months: Fraction, days: Fraction, micros: Fraction) -> Length:
    if months.denominator != 1:
        raise Unfit("a fraction of a month has no certain length")
    whole_days, part = _divided_fraction(days)
    exact = micros + part * _DAY
    whole = round(exact)
    return Length(int(months), whole_days, whole, whole == exact)


def _divided_fraction(number: Fraction) -> tuple[int, Fraction]:
    whole = int(number)  # towards zero
    return whole, number - whole
