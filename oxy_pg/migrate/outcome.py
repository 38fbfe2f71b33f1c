"""What was planned, found and done, joined into the report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oxy_pg.migrate.load.load import Loaded
from oxy_pg.migrate.report.report import MigrationReport
from oxy_pg.migrate.report.values import (
    Change,
    ColumnReport,
    Problem,
    SeedReport,
    TableReport,
    Verification,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.check.preflight import Preflight
    from oxy_pg.migrate.load.transaction import Transaction
    from oxy_pg.migrate.plan.plan import Plan, TablePlan
    from oxy_pg.report import Skipped


def outcome(
    plan: Plan, preflight: Preflight, transaction: Transaction | None, seconds: float
) -> MigrationReport:
    """Report; without a ``transaction`` it was a dry run."""
    problems = [Problem("bad value", str(bad)) for bad in preflight.bad]
    problems += [Problem("key in use", str(taken)) for taken in preflight.taken]
    problems += [Problem("seeds", said) for said in preflight.dangling]
    problems += [Problem("orphans", str(orphan)) for orphan in preflight.orphans]
    nothing = Verification("none", 0, 0, 0)
    return MigrationReport(
        source=plan.source,
        target=plan.target,
        dry_run=transaction is None,
        seconds=seconds,
        tables=tuple(_table(table, preflight, transaction) for table in plan.tables),
        changes=tuple(_changes(plan, preflight, transaction)),
        skipped=_skipped(plan, (*plan.skipped, *(transaction.skipped if transaction else ()))),
        sequences=transaction.sequences if transaction else (),
        warnings=plan.warnings,
        verification=transaction.verified if transaction else nothing,
        problems=tuple(problems),
        statements=tuple(s.sql for s in (*plan.pre_data, *plan.post_data)),
        seeds=tuple(_seeds(plan, preflight)),
        preparation=plan.preparation,
    )


def _skipped(plan: Plan, skipped: tuple[Skipped, ...]) -> tuple[Skipped, ...]:
    """Return what is left behind, with suggestions."""
    if all(left.suggestion or not left.sql for left in skipped):
        return skipped
    from oxy_pg.migrate.plan.suggestions import suggested

    return suggested(plan, skipped)


def _seeds(plan: Plan, preflight: Preflight) -> Iterator[SeedReport]:
    """Say what becomes of the rows that ``prepare`` has made."""
    words = {"replace": "replaced", "keep": "kept", "refuse": "in the way"}
    for table in plan.tables:
        found = table.standing
        if found is not None and found.seeds:
            left = preflight.rows.count(table) if found.fate == "keep" else 0
            yield SeedReport(table.target, found.rows, words[found.fate], table.rows - left)
    for name, rows in plan.kept_seeds:
        yield SeedReport(name, rows, "kept", 0)


def _table(table: TablePlan, preflight: Preflight, transaction: Transaction | None) -> TableReport:
    found = transaction.loaded.get(table.source.name) if transaction else None
    loaded = found or Loaded(0, 0, 0.0)
    columns = tuple(
        ColumnReport(c.source, c.target, c.declared, c.type.sql, c.survey.nulls)
        for c in table.columns
    )
    return TableReport(
        name=table.source.name,
        target=table.target,
        action=table.action,
        rows_read=table.rows,
        rows_written=loaded.rows,
        rows_skipped=preflight.rows.count(table),
        bytes=loaded.bytes,
        seconds=loaded.seconds,
        columns=columns,
    )


def _changes(plan: Plan, preflight: Preflight, transaction: Transaction | None) -> list[Change]:
    counts = preflight.rows.emptied + (transaction.loader.changes if transaction else Counter())
    found = [Change(table, column, count, what) for (table, column, what), count in counts.items()]
    found += [
        Change(table.source.name, column.source, column.survey.rounded, rounding.change)
        for table in plan.tables
        for column in table.columns
        if column.survey.rounded and (rounding := column.type.kind.rounding(column.type))
    ]
    return found
