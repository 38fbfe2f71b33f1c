"""
Numbers that mean points in time: what they count, and from when.

All of it is exact: a number becomes microseconds since 1970 and what is left
of them, which PostgreSQL's times do not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400 * 1_000_000  # microseconds
_BEYOND = (
    "not in the years 1 to 9999 as {}; where it stands for never, --on-bad-value null stores NULL"
)
_INFINITE = {float("inf"), float("-inf")}


@dataclass(frozen=True, slots=True)
class Epoch:
    """``unit``: microseconds that one counts for; ``origin``: what 0 is, in days since 1970."""

    unit: Fraction
    origin: float

    def micros(self, value: float) -> tuple[int, bool]:
        """Return microseconds since 1970, rounded half to even, and whether that is exact."""
        numerator, denominator = self.unit.numerator, self.unit.denominator
        origin = int(self.origin * _DAY)
        if isinstance(value, int):
            # Whole numbers: fractions take ten times as long, and there may be millions of values.
            if denominator == 1:
                return value * numerator + origin, True
            exact = Fraction(value, denominator) * numerator
            return round(exact) + origin, exact.denominator == 1
        if self.unit == _DAY:
            # A day number as a double is exact to some 40 µs; SQLite itself keeps milliseconds.
            return round((value + self.origin) * 86_400_000) * 1_000, True
        # A double has noise of its own below the microsecond.
        return round(value * numerator / denominator) + origin, True


EPOCHS: Mapping[str, Epoch] = {
    "s": Epoch(Fraction(1_000_000), 0),
    "ms": Epoch(Fraction(1_000), 0),
    "us": Epoch(Fraction(1), 0),
    "ns": Epoch(Fraction(1, 1_000), 0),
    "julian": Epoch(Fraction(_DAY), -2_440_587.5),
    "mac": Epoch(Fraction(1_000_000), 11_323),
    "mac_ns": Epoch(Fraction(1, 1_000), 11_323),
    "webkit": Epoch(Fraction(1), -134_774),
    "filetime": Epoch(Fraction(1, 10), -134_774),
    "ticks": Epoch(Fraction(1, 10), -719_162),
    "excel": Epoch(Fraction(_DAY), -25_569),
    "days": Epoch(Fraction(_DAY), 0),
}


# Seconds since 1970: the years 1900 to 2200. By its size, a number counts one of these units.
FROM, TO = -2_208_988_800, 7_258_118_400
SIZES = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def size_of(value: float) -> str | None:
    """Return the unit since 1970 that a number counts, seeing how large it is; None: none."""
    fitting = (unit for unit, size in SIZES.items() if FROM * size <= value <= TO * size)
    return next(fitting, None)


def micros_since(value: float, epoch: str) -> tuple[int, bool]:
    """
    Return the microseconds since 1970 that a number means, and whether that is all of it.

    ``epoch`` is one of convert/options.py. Raises Unfit.
    """
    if value in _INFINITE:
        raise Unfit("infinite")
    if epoch == "yyyymmdd":
        return _micros_of_digits(value), True
    return EPOCHS[epoch].micros(value)


def instant_of(value: float, epoch: str) -> datetime:
    """Return the point in time, rounded to microseconds. Raises Unfit."""
    micros, _ = micros_since(value, epoch)
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError as error:
        raise Unfit(_BEYOND.format(epoch)) from error


def _micros_of_digits(value: float) -> int:
    digits = str(int(value)) if value == int(value) else ""
    if len(digits) == 8:
        digits += "000000"
    if len(digits) != 14 or not digits.isdigit():
        raise Unfit("not the digits of a date (YYYYMMDD) or of a time (YYYYMMDDHHMMSS)")
    year, rest = int(digits[:4]), [int(digits[i : i + 2]) for i in range(4, 14, 2)]
    try:
        found = datetime(year, *rest, tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise Unfit(f"not a date: {error}") from error
    return (found - EPOCH) // timedelta(microseconds=1)
