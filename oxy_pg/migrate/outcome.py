"""What was planned, found and done, joined into the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oxy_pg.migrate.load.load import Loaded
from oxy_pg.migrate.report.report import MigrationReport
from oxy_pg.migrate.report.values import (
    Change,
    ColumnReport,
    Problem,
    SeedReport,
    TableReport,
    Unexamined,
    Verification,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.check.preflight import Preflight
    from oxy_pg.migrate.load.transaction import Transaction
    from oxy_pg.migrate.plan.plan import Plan, TablePlan
    from oxy_pg.report import BadValue, Skipped


@dataclass(slots=True)
class Done:
    """
    What was done; in a dry run, what would be.

    ``changes`` are counted by table, column and what is changed.
    """

    loaded: dict[str, Loaded] = field(default_factory=dict)
    changes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    skipped: tuple[Skipped, ...] = ()
    problems: tuple[Problem, ...] = ()
    unexamined: tuple[Unexamined, ...] = ()
    transaction: Transaction | None = None


def done(transaction: Transaction) -> Done:
    """Return what a transaction has done."""
    return Done(
        transaction.loaded,
        transaction.loader.changes,
        tuple(transaction.skipped),
        transaction=transaction,
    )


def outcome(plan: Plan, preflight: Preflight, found: Done, seconds: float) -> MigrationReport:
    """Report; without a transaction it was a dry run."""
    problems = [Problem("unclear times", str(unclear)) for unclear in preflight.unclear]
    problems += [_bad_value(bad) for bad in preflight.bad]
    problems += [Problem("key in use", str(taken)) for taken in preflight.taken]
    problems += [Problem("seeds", said) for said in preflight.dangling]
    problems += [Problem("orphans", str(orphan)) for orphan in preflight.orphans]
    problems += [Problem("changed values", str(change)) for change in preflight.stopping]
    transaction = found.transaction
    nothing = Verification("none", 0, 0, 0)
    return MigrationReport(
        source=plan.source,
        target=plan.target,
        dry_run=transaction is None,
        seconds=seconds,
        tables=tuple(_table(table, preflight, found) for table in plan.tables),
        changes=tuple(_changes(preflight, found)),
        skipped=_skipped(plan, (*plan.skipped, *found.skipped)),
        sequences=transaction.sequences if transaction else (),
        warnings=(*plan.warnings, *(transaction.warnings if transaction else ())),
        verification=transaction.verified if transaction else nothing,
        problems=(*problems, *found.problems),
        statements=tuple(s.sql for s in (*plan.pre_data, *plan.post_data)),
        rehearsal=transaction is not None and plan.options.rehearse,
        unexamined=found.unexamined,
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


def _bad_value(bad: BadValue) -> Problem:
    return Problem("bad value", str(bad), bad.table, bad.column, bad.row, bad.value, bad.reason)


def _table(table: TablePlan, preflight: Preflight, found: Done) -> TableReport:
    loaded = found.loaded.get(table.source.name) or Loaded(0, 0, 0.0)
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


def _changes(preflight: Preflight, done_: Done) -> list[Change]:
    counts = preflight.rows.emptied + done_.changes
    found = [Change(table, column, count, what) for (table, column, what), count in counts.items()]
    stopping = set(preflight.stopping)  # in a dry run: those are its problems
    found += [
        Change(change.table, change.column, change.total, change.what, change.example)
        for change in preflight.changes.every()
        if change not in stopping
    ]
    found += done_.transaction.computed if done_.transaction else ()
    return found
