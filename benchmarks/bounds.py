"""
The targets: every bound of the benchmarks.

Nearly all are ratios to an alternative in the same run, because only ratios
are valid on another machine. ``guard`` is the bound for the short form that
runs with every change, if that needs a different one; ``why`` is the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import attached, export, limits, shapes, snapshots, tables, transfer
from benchmarks.limits import BARE_START, BY_HAND, COPY, INITDB, INTERPRETER
from benchmarks.result import COUNTS, OURS, SLOW, Result

TOLERANCE = 1.25  # the guard allows this much for a noisy machine


@dataclass(frozen=True, slots=True)
class Bound:
    key: str  # of the result
    beside: str  # the alternative whose figure is 1; "" for a bound in the result's own unit
    reach: float
    ours: str = OURS  # the contender that the bound is for
    guard: float | None = None
    why: str = ""

    def value(self, result: Result) -> float | None:
        """Return what is compared with ``reach``; None where it could not be measured."""
        if self.beside:
            return result.ratio(self.beside, self.ours)
        return max(result.figures[self.ours]) if self.ours in result.figures else None


BOUNDS = (
    Bound("import", "pgserver", 0.4),
    Bound(
        "first-start",
        "pgserver",
        0.75,
        guard=0.9,
        why="in memory pgserver does not wait for the syncs of its initdb; oxy_pg never does",
    ),
    Bound("new-cluster", "pgserver", 0.25),
    Bound(
        "warm-start",
        "pgserver",
        0.4,
        guard=0.5,
        why="on a busy machine: pg_ctl sleeps most of pgserver's time, oxy_pg never sleeps",
    ),
    Bound("attach", "pgserver", 0.4),
    Bound("again", "pgserver", 0.5),
    Bound("suite", "pytest-postgresql", 0.4),
    # Against what PostgreSQL and the interpreter themselves take (limits.py).
    Bound("limit-warm-start", BARE_START, 2.0, guard=3.0),
    Bound("limit-first-start", INITDB, 1.25, guard=1.6),
    Bound("limit-new-cluster", COPY, 1.5, guard=2.5),
    Bound("limit-attach", INTERPRETER, 1.5, guard=2.3),
    Bound("limit-url", INTERPRETER, 3, guard=3.2),
    Bound("limit-env", INTERPRETER, 3, guard=3.2),
    Bound("limit-status", INTERPRETER, 6),
    Bound(
        "limit-database",
        BY_HAND,
        1.2,
        guard=1.6,
        why="of few rounds: 1.24, 1.33, 1.4 and 1.5 were seen on one quiet machine",
    ),
    Bound("suite-cold", "pytest-postgresql", 0.5, guard=0.6),
    Bound("migration", "pgloader", 0.33),
    Bound(
        "migration",
        "PostgreSQL alone",
        1.0,
        ours=COUNTS,  # PostgreSQL alone compares nothing
        guard=2.6,
        why="of a tenth of the rows: starting Python and planning take a third of the time",
    ),
    Bound(
        "migration",
        "PostgreSQL alone",
        1.0,
        guard=3.2,
        why="of a tenth of the rows, and every value compared",
    ),
    Bound("migration", COUNTS, 1.5),
    Bound("migration-250000", COUNTS, 1.5),
    Bound("growth", "", 4.4),
    *(Bound(key, shapes.ALONE, 1.3) for key in ("wide", "blobs", "small-rows")),
    *(
        Bound(key, shapes.ALONE, 1.3, ours=COUNTS)  # PostgreSQL alone compares nothing
        for key in ("wide", "blobs", "small-rows")
    ),
    *(Bound(f"{key}-memory", "", 150) for key in ("wide", "blobs", "small-rows")),
    Bound("tables", "pgloader", 0.08),
    Bound("tables", tables.EIGHTH, 9),
    Bound(f"tables-growth-{tables.TABLES // 8}", "", 1.5),
    Bound(f"tables-growth-{tables.TABLES}", "", 1.5),
    Bound("migration-memory", "", 150),
    Bound("export", export.COPY, 6),
    Bound("export-memory", "", 150),
    Bound("snapshot", snapshots.FILES, 1.1),
    Bound(
        "rewind",
        snapshots.FILES,
        1.3,
        why="it also drops what the database was before the rewind before",
    ),
    Bound("backup", transfer.DUMP, 1.1),
    Bound("restore", transfer.RESTORE, 1.0),
    Bound("push", transfer.PIPE, 0.7),
    Bound("pull", transfer.PIPE, 0.7),
    Bound("transfer-memory", "", 150),
    Bound("attached-memory", "", 20),
    Bound("attached-wakeups", "", 0),
    Bound("attached", attached.SECOND, 1.2),
    Bound("idle-memory", "", 12),
    Bound("idle-wakeups", "", 0),
)


# What PostgreSQL, the interpreter or the disk take themselves: nothing can be faster.
LIMITS = {
    *limits.NAMES,
    shapes.ALONE,
    snapshots.FILES,
    export.COPY,
    transfer.DUMP,
    transfer.RESTORE,
    transfer.PIPE,
}


def of(key: str) -> list[Bound]:
    """Return the bounds of one result; on a slow machine they are the same."""
    return [bound for bound in BOUNDS if bound.key == key.removeprefix(SLOW)]
