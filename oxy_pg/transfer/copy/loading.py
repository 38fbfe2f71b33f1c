"""What both ways of copying a database have in common: its rows, and what surrounds them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.installations import major_of
from oxy_pg.report import Progress
from oxy_pg.transfer import database
from oxy_pg.transfer.parts import large_objects, rows, sequences, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oxy_pg.report import Skipped
    from oxy_pg.transfer.copy.copy_plan import CopyPlan
    from oxy_pg.transfer.parts.tables import Table

_ANALYZED_AT_ONCE = 100  # tables: what is locked at a time


@dataclass(frozen=True, slots=True)
class Copied:
    """What has arrived."""

    rows: Mapping[Table, int]
    unsupported: tuple[Skipped, ...]  # what the target's version does not know
    warnings: tuple[str, ...]


def pump(plan: CopyPlan, on_progress: Callable[[Progress], object]) -> rows.Pump:
    """Return what copies the plan's tables, and reports it."""
    total = sum(table.size for table in plan.inventory.tables)

    def tell(table: Table, done: int) -> None:
        on_progress(Progress("load", min(done, total), total, str(table)))

    binary = major_of(plan.inventory.version) == major_of(plan.target_version)
    return rows.Pump(plan.inventory.tables, tell, binary=binary)


def sequences_and_large_objects(
    plan: CopyPlan,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    *,
    replace: bool,
) -> None:
    """Copy these; the source is in a transaction."""
    sequences.copy(source, target, plan.order.schemas)
    if plan.order.schemas is None:
        large_objects.copy(source, target, replace=replace)


def verify(
    copied: rows.Pump,
    target: psycopg.Connection[Any],
    on_progress: Callable[[Progress], object],
) -> None:
    """Compare the row counts of both sides; raises CountsDiffer."""
    rows.compare(
        copied.rows,
        target,
        lambda done, of, table: on_progress(Progress("verify", done, of, table)),
    )


def analyze(
    plan: CopyPlan, target: psycopg.Connection[Any], on_progress: Callable[[Progress], object]
) -> tuple[str, ...]:
    """Collect the tables' statistics, for without them the first queries are slow; warnings."""
    on_progress(Progress("analyze"))
    waiting = iter(table for table in plan.inventory.tables if table.condition is None)
    while portion := list(itertools.islice(waiting, _ANALYZED_AT_ONCE)):
        try:
            _analyze(portion, target)
        except psycopg.Error as error:
            return (_which(portion, target) or f"ANALYZE: {str(error).strip()}",)
    return ()


def _analyze(these: Sequence[Table], target: psycopg.Connection[Any]) -> None:
    with target.transaction():  # the session may be a pooler's
        database.disable_timeouts(target, local=True)
        target.execute(tables.analyze(these))


def _which(these: Sequence[Table], target: psycopg.Connection[Any]) -> str:
    """Return the warning for the first of these tables that cannot be analyzed; "" for none."""
    for table in these:
        try:
            _analyze([table], target)
        except psycopg.Error as error:
            return f"ANALYZE {table}: {str(error).strip()}"
    return ""
