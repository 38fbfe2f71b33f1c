"""Lengths of time (manual: 8.5.4, Interval Input)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.kind import Kind, PgType
from oxy_pg.migrate.convert.kinds.times import lost
from oxy_pg.migrate.convert.lengths import length
from oxy_pg.migrate.convert.options import LENGTHS

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.loss import Loss
    from oxy_pg.migrate.convert.unfit import Value

_FINEST = 6


class Interval(Kind):
    """Months, days and microseconds."""

    name = "interval"
    options = frozenset(LENGTHS)
    is_interval = True
    is_lossy = True
    is_judged_by_postgres = True

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        found = length(value, option)
        return str(found._replace(micros=_rounded(found.micros, type_.size)))

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        found = length(value, option)
        digits = len(f"{abs(found.micros) % 1_000_000:06}".rstrip("0"))
        return lost(digits if found.exact else _FINEST + 1, type_)

    def canonical(self, text: str) -> object:
        # Of what PostgreSQL spells, nothing is out of range.
        return tuple(length(text, None)[:3])


class Fields(Interval):
    """An interval of which a column keeps some fields: ``interval day to minute``."""

    name = "interval of fields"
    is_spelled_by_postgres = True

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        return None  # PostgreSQL is asked what it keeps


def _rounded(micros: int, digits: int | None) -> int:
    """Round as PostgreSQL does, half away from zero."""
    if digits is None or digits >= _FINEST:
        return micros
    step = int(10 ** (_FINEST - digits))
    size = (abs(micros) + step // 2) // step * step
    return -size if micros < 0 else size


INTERVAL, FIELDS = Interval(), Fields()
KINDS: tuple[Kind, ...] = (INTERVAL,)
