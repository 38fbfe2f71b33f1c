"""What was planned, found and done, joined into the report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oxy_pg.migrate.load.load import Loaded
from oxy_pg.migrate.report.report import MigrationReport
from oxy_pg.migrate.report.values import Change, ColumnReport, Problem, TableReport, Verification

if TYPE_CHECKING:
    from oxy_pg.migrate.check.preflight import Preflight
    from oxy_pg.migrate.load.transaction import Transaction
    from oxy_pg.migrate.plan.plan import Plan, TablePlan


def outcome(
    plan: Plan, preflight: Preflight, transaction: Transaction | None, seconds: float
) -> MigrationReport:
    """Report; without a ``transaction`` it was a dry run."""
    problems = [Problem("unclear times", str(unclear)) for unclear in preflight.unclear]
    problems += [Problem("bad value", str(bad)) for bad in preflight.bad]
    problems += [Problem("orphans", str(orphan)) for orphan in preflight.orphans]
    problems += [Problem("changed values", str(change)) for change in preflight.stopping]
    nothing = Verification("none", 0, 0, 0)
    return MigrationReport(
        source=plan.source,
        target=plan.target,
        dry_run=transaction is None,
        seconds=seconds,
        tables=tuple(_table(table, preflight, transaction) for table in plan.tables),
        changes=tuple(_changes(preflight, transaction)),
        skipped=(*plan.skipped, *(transaction.skipped if transaction else ())),
        sequences=transaction.sequences if transaction else (),
        warnings=plan.warnings,
        verification=transaction.verified if transaction else nothing,
        problems=tuple(problems),
        statements=tuple(s.sql for s in (*plan.pre_data, *plan.post_data)),
    )


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


def _changes(preflight: Preflight, transaction: Transaction | None) -> list[Change]:
    counts = preflight.rows.emptied + (transaction.loader.changes if transaction else Counter())
    found = [Change(*place[:2], count, place[2]) for place, count in counts.items()]
    stopping = set(preflight.stopping)  # in a dry run: those are its problems
    found += [
        Change(change.table, change.column, change.total, change.what, change.example)
        for change in preflight.changes.every()
        if change not in stopping
    ]
    return found
