"""
What a server does at one moment, as values: its sessions, locks, counters, dead row versions.

``questions.py`` asks for them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from oxy_pg.report import Report
from oxy_pg.server.monitor.questions import ratio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SLOW_MS = 1000.0


@dataclasses.dataclass(frozen=True, slots=True)
class Counters:
    """What the server has counted since ``since``, in all databases (pg_stat_database)."""

    at: float
    since: str | None
    transactions: int
    blocks_hit: int
    blocks_read: int
    rows_read: int
    rows_written: int
    temp_bytes: int
    deadlocks: int

    @property
    def cache_hit_ratio(self) -> float | None:
        """The part of all pages that were found in shared_buffers; None before the first."""
        return ratio(self.blocks_hit, self.blocks_read)


@dataclasses.dataclass(frozen=True, slots=True)
class Rates:
    """What happened in a second, between two looks."""

    transactions_per_s: float
    rows_read_per_s: float
    rows_written_per_s: float
    cache_hit_ratio: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Connections:
    """So many connections that are alike."""

    database: str | None
    role: str | None
    application: str
    state: str | None
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """A connection that is not idle; ``seconds`` since its query, or transaction, began."""

    pid: int
    role: str | None
    database: str | None
    application: str
    client: str | None
    state: str
    wait: str | None
    query_s: float | None
    transaction_s: float | None
    query: str


@dataclasses.dataclass(frozen=True, slots=True)
class Blocker:
    """A session that holds what another one waits for."""

    pid: int
    role: str | None
    state: str | None
    query: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """A connection that waits for a lock, and for whom."""

    pid: int
    role: str | None
    database: str | None
    mode: str
    kind: str
    relation: str | None
    seconds: float | None
    query: str | None
    blocked_by: tuple[Blocker, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SlowQuery:
    """
    One query that took long.

    From the log, ``calls`` are those that were slow; from pg_stat_statements
    they are all, and ``last_at`` is not known.
    """

    query: str
    database: str | None
    role: str | None
    calls: int
    mean_ms: float
    max_ms: float
    last_at: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class DeadTuples:
    """A table whose old row versions wait to be vacuumed away."""

    database: str
    table: str
    live: int
    dead: int
    last_vacuum: str | None
    last_autovacuum: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class TransactionIds:
    """The database whose oldest transaction id is oldest; autovacuum acts at ``freeze_at``."""

    database: str
    age: int
    freeze_at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Activity(Report):
    """What a server does at one moment; what is not known is None or empty, and in ``unknown``."""

    role: str = ""
    sees_all: bool = False
    cache_hit_ratio: float | None = None
    counters: Counters | None = None
    connections: tuple[Connections, ...] = ()
    hidden: int = 0
    running: tuple[Running, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    slow_queries: tuple[SlowQuery, ...] = ()
    slow_source: str | None = None
    slow_threshold_ms: float | None = None
    dead_tuples: tuple[DeadTuples, ...] = ()
    transaction_ids: TransactionIds | None = None
    checkpoints: dict[str, int] | None = None
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)


def of(known: Mapping[str, Any]) -> Activity:
    """Return what was answered to ``questions.py``."""
    rows: dict[str, Any] = {
        name: tuple(kind(**row) for row in known[name])
        for name, kind in (
            ("connections", Connections),
            ("running", Running),
            ("slow_queries", SlowQuery),
            ("dead_tuples", DeadTuples),
        )
    }
    rows["waiting"] = tuple(
        Waiting(**{**row, "blocked_by": tuple(Blocker(**one) for one in row["blocked_by"])})
        for row in known["waiting"]
    )
    counters, ids = known["counters"], known["transaction_ids"]
    alone = {
        "counters": counters and Counters(**counters),
        "transaction_ids": ids and TransactionIds(**ids),
    }
    return Activity(**{**known, **rows, **alone})


def rates(before: Counters | None, after: Counters | None) -> Rates | None:
    """Return what happened between two looks; None when that cannot be known."""
    if before is None or after is None or after.since != before.since:
        return None  # the counters were reset
    seconds = after.at - before.at
    changes = (
        after.transactions - before.transactions,
        after.rows_read - before.rows_read,
        after.rows_written - before.rows_written,
        after.blocks_hit - before.blocks_hit,
        after.blocks_read - before.blocks_read,
    )
    if seconds <= 0 or min(changes) < 0:  # it was restarted after a crash
        return None
    transactions, read, written = (round(change / seconds, 3) for change in changes[:3])
    return Rates(transactions, read, written, ratio(changes[3], changes[4]))
