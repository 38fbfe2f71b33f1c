"""
What the numbers of a time column count, decided only where all of them agree.

By its size, a number between the years 1900 and 2200 counts seconds,
milliseconds, microseconds or nanoseconds since 1970. Where the numbers of a
column are of several sizes, or may be times of another epoch just as well,
nothing is decided: the column is listed with what may be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.epochs import FROM, SIZES, TO, instant_of
from oxy_pg.migrate.convert.options import EPOCHS
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.known import NEVER, is_never
from oxy_pg.report import NumberGroup, UnclearTime

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from oxy_pg.migrate.convert.kind import PgType

_EARLIEST, _LATEST = 1900, 2200  # years
_JULIAN = "1721425.5 AND 5373484.5"  # the years 1 to 9999
# Other epochs whose numbers are of a size that hardly any time since 1970 has in practice: the
# first days of 1970, or a few years around 1974 and 1990 counted in nanoseconds.
_OTHERS = {
    "julian": (2_415_020.5, 2_524_593.5),
    "excel": (10_000, 109_938),
    "days": (3_653, 47_482),
    "yyyymmdd": (19_000_101, 22_001_231_235_959),
    "webkit": (9_435_484_800_000_000, 18_902_592_000_000_000),
    "filetime": (94_354_848_000_000_000, 189_025_920_000_000_000),
    "ticks": (599_266_080_000_000_000, 693_937_152_000_000_000),
}
_SHOWN_SENTINELS = 3


@dataclass(frozen=True, slots=True)
class Numbers:
    """
    The numbers of one column, by size.

    ``groups`` has count, least and greatest of each; ``never`` the numbers that
    customarily mean no time, with their counts.
    """

    groups: dict[str, tuple[int, float, float]]
    never: dict[float, int]
    has_reals: bool

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(count for count, *_ in self.groups.values()) + sum(self.never.values())


@dataclass(frozen=True, slots=True)
class Reading:
    """How the numbers are read: an option for their kind and a note; or why that is not certain."""

    option: str | None
    note: str | None = None
    unclear: UnclearTime | None = None


# As instants.number_in() takes a text for a number, where it is said what numbers count.
_IN_DIGITS = (
    "typeof({x}) = 'text' AND ltrim({x}, '+-' || char(9, 10, 11, 12, 13, 32)) GLOB '[0-9]*' "
    "AND trim({x}, '+-' || char(9, 10, 11, 12, 13, 32)) NOT GLOB '*[^0-9.]*'"
)


def read_numbers(
    connection: sqlite3.Connection, table: str, column: str, *, in_texts: bool
) -> Numbers:
    """Group the numbers of a column by their size; those that are texts, too, where asked."""
    x = quoted(column)
    # Without the column's affinity, by which numbers would be compared as texts.
    rows = f"SELECT +{x} AS {x} FROM {quoted(table)} WHERE typeof({x}) IN ('integer', 'real')"
    if in_texts:
        digits = _IN_DIGITS.format(x=x)
        rows += f" UNION ALL SELECT +CAST({x} AS NUMERIC) FROM {quoted(table)} WHERE {digits}"
    sizes = " ".join(
        f"WHEN {x} BETWEEN {FROM * size} AND {TO * size} THEN '{unit}'"
        for unit, size in SIZES.items()
    )
    never = ", ".join(str(value) for value in NEVER if value not in {float(2**63), -(2**63)})
    query = f"""
        SELECT CASE
            WHEN {x} IN ({never}) OR {x} >= 9.2233720368547758e18
                OR {x} <= -9.2233720368547758e18 THEN 'never ' || {x}
            WHEN typeof({x}) = 'real' AND {x} BETWEEN {_JULIAN} THEN 'julian'
            WHEN {x} BETWEEN {_JULIAN} THEN 'day'
            {sizes} ELSE 'none' END AS size,
            count(*), min({x}), max({x}), sum(typeof({x}) = 'real')
        FROM ({rows}) GROUP BY size
    """
    groups: dict[str, tuple[int, float, float]] = {}
    nevers: dict[float, int] = {}
    reals = 0
    for size, count, least, greatest, real in connection.execute(query):
        name = size.decode() if isinstance(size, bytes | bytearray) else str(size)
        reals += real
        if name.startswith("never"):
            nevers[least] = nevers.get(least, 0) + count
        else:
            groups[name] = (count, least, greatest)
    return Numbers(groups, nevers, reals > 0)


def decide(
    numbers: Numbers,
    place: tuple[str, str],
    type_: PgType,
    proposed: tuple[str, str] | None,
) -> Reading:
    """
    Decide what the numbers of a column of this type count.

    ``place`` is its table and column, ``proposed`` the epoch that the file is
    known to use, and by which program.
    """
    if proposed is not None:
        epoch, program = proposed
        if _agree(numbers, epoch):
            return Reading(epoch, f"{described(numbers, epoch)}, as {program} writes them")
        return Reading(None, unclear=_unclear(numbers, place, type_, [epoch]))
    unit = _unit(numbers)
    if unit is None:
        return Reading(None, unclear=_unclear(numbers, place, type_, []))
    others = _others(numbers, unit)
    if others:
        return Reading(None, unclear=_unclear(numbers, place, type_, others))
    return Reading(unit, described(numbers, unit))


def _ordinary(numbers: Numbers, epoch: str) -> list[float]:
    """Return the bounds of the groups, and of what is no "never" under this epoch."""
    bounds = [bound for _, *ends in numbers.groups.values() for bound in ends]
    return bounds + [value for value in numbers.never if not is_never(value, epoch)]


def _agree(numbers: Numbers, epoch: str) -> bool:
    """Whether all numbers are times between 1900 and 2200 under one epoch."""
    return all(_is_ordinary(value, epoch) for value in _ordinary(numbers, epoch))


def _is_ordinary(value: float, epoch: str) -> bool:
    try:
        return _EARLIEST <= instant_of(value, epoch).year < _LATEST
    except Unfit:
        return False


def _unit(numbers: Numbers) -> str | None:
    sizes = set(numbers.groups)
    if sizes and sizes <= {"julian", "day"} and "julian" in sizes:
        return "julian" if _agree(numbers, "julian") else None
    if "julian" in sizes or "none" in sizes:
        return None
    if sizes - {"day"}:
        sizes -= {"day"}  # some days of January 1970
    if len(sizes) > 1:
        return None
    if not sizes:
        # Nothing but zeros and the like; the unit in which most of them are times.
        fitting = [unit for unit in SIZES if all(is_never(v, unit) for v in numbers.never)]
        return next(iter(fitting), None)
    (size,) = sizes
    unit = "s" if size == "day" else size
    return unit if _agree(numbers, unit) else None


def _others(numbers: Numbers, unit: str) -> list[str]:
    """Return the epochs that all numbers may have just as well: this one first."""
    bounds = [bound for _, *ends in numbers.groups.values() for bound in ends]
    if unit == "julian" or not bounds:
        return []
    fitting = [
        epoch
        for epoch, (least, most) in _OTHERS.items()
        if least <= min(bounds) and max(bounds) <= most and _agree(numbers, epoch)
    ]
    return [*fitting, unit] if fitting else []


def described(numbers: Numbers, epoch: str) -> str:
    """Say what the numbers are read as, and from when to when that leads."""
    noun = "number is" if numbers.count == 1 else "numbers are"
    text = f"{numbers.count:,} {noun} read as {EPOCHS[epoch]} (UTC)"
    bounds = _ordinary(numbers, epoch)
    if bounds:
        first, last = spelled(min(bounds), epoch), spelled(max(bounds), epoch)
        text += f": {first}" if first == last else f": {first} to {last}"
    special = [value for value in numbers.never if value not in bounds]
    for value in special[:_SHOWN_SENTINELS]:
        times = numbers.never[value]
        text += f"; {_plain(value)}" + (f" ({times:,} times)" if times > 1 else "")
        text += f": {spelled(value, epoch)}"
    return text


def spelled(value: float, epoch: str) -> str:
    """Spell the instant that a number means."""
    try:
        found = instant_of(value, epoch)
    except Unfit:
        return "not a time"
    text = found.isoformat(" ").removesuffix("+00:00")
    return text.rstrip("0") if found.microsecond else text


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _unclear(
    numbers: Numbers, place: tuple[str, str], type_: PgType, epochs: Sequence[str]
) -> UnclearTime:
    parts = [(size, *group) for size, group in numbers.groups.items()]
    parts += [("", count, value, value) for value, count in numbers.never.items()]
    parts.sort(key=lambda part: part[2])
    wanted = {
        epoch
        for size, _, least, greatest in parts
        for epoch in EPOCHS
        if epoch in epochs or _is_likely(size, least, greatest, epoch)
    }
    order = [*epochs, *(epoch for epoch in EPOCHS if epoch in wanted and epoch not in epochs)]
    groups = tuple(
        NumberGroup(
            count,
            _plain(least),
            _plain(greatest),
            tuple((epoch, spelled(least, epoch), spelled(greatest, epoch)) for epoch in order),
        )
        for _, count, least, greatest in parts
    )
    table, column = place
    may = [epoch for epoch in order if epoch in type_.kind.options]
    casts = tuple(f"{table}.{column}={type_.kind.name}:{epoch}" for epoch in may)
    return UnclearTime(table, column, groups, casts)


def _is_likely(size: str, least: float, greatest: float, epoch: str) -> bool:
    """Whether a group of numbers may be times of an epoch, seeing how large they are."""
    if epoch in _OTHERS:
        low, high = _OTHERS[epoch]
        return low <= least and greatest <= high and _is_ordinary(least, epoch)
    return size == epoch or (size == "day" and epoch == "s")
