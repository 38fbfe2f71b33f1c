"""
One look at a server: the questions that are asked of it, on PostgreSQL 14 to 18.

Each question is one statement whose answer is JSON, so that it can be asked
through the private socket as well as through a driver. All questions of a look
are asked in one read-only transaction, each behind a savepoint: what a role may
not see, or a server does not have, is named in ``unknown``, and the rest is
there. What PostgreSQL hides from a role is shown in its own words,
``<insufficient privilege>`` (PostgreSQL 16 manual, chapter 28).
"""

from __future__ import annotations

from oxy_pg.server.monitor import redaction, slow_queries, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_STATEMENT_TIMEOUT_MS = 5000

# Ours, when our role may not see what kind it is: a session in a database under a role's name.
CLIENTS = (
    "(backend_type = 'client backend'"
    " OR backend_type IS NULL AND datid IS NOT NULL AND usesysid IS NOT NULL)"
    " AND pid <> pg_backend_pid()"
)


class Refused(Exception):
    """The server did not answer a question; its words."""


class Session:
    """A connection that questions can be asked on."""

    def run(self, sql: str) -> str | None:
        """Run a statement; return the first field of its first row as text; raises Refused."""
        raise NotImplementedError

    def run_all(self, *statements: str) -> str | None:
        """Run statements, of which one has rows, and return the first field; raises Refused."""
        return [self.run(sql) for sql in statements][1]


# A relation as a person at the default search_path names it; our own has nothing but pg_catalog.
_NAME = "concat(nullif(quote_ident(nspname), 'public') || '.', quote_ident(relname))"
_WHO = """
SELECT json_build_object('role', current_user, 'sees_all',
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       OR pg_has_role('pg_read_all_stats', 'USAGE'))
"""
_COUNTERS = """
SELECT json_build_object('at', extract(epoch FROM clock_timestamp()), 'since', max(stats_reset),
       'transactions', sum(xact_commit + xact_rollback), 'blocks_hit', sum(blks_hit),
       'blocks_read', sum(blks_read), 'rows_read', sum(tup_returned),
       'rows_written', sum(tup_inserted + tup_updated + tup_deleted),
       'temp_bytes', sum(temp_bytes), 'deadlocks', sum(deadlocks))
  FROM pg_stat_database
"""
_CONNECTIONS = f"""
SELECT coalesce(json_agg(t), '[]') FROM (
SELECT datname AS database, usename AS role, coalesce(application_name, '') AS application,
       CASE query WHEN '{redaction.HIDDEN}' THEN query ELSE state END AS state, count(*)
  FROM pg_stat_activity WHERE {CLIENTS}
 GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC, 1, 2, 3, 4 LIMIT 50) t
"""
_HIDDEN = f"""
SELECT to_json(count(*)) FROM pg_stat_activity
 WHERE {CLIENTS} AND query = '{redaction.HIDDEN}'
"""
_RUNNING = f"""
SELECT coalesce(json_agg(t), '[]') FROM (
SELECT pid, usename AS role, datname AS database, coalesce(application_name, '') AS application,
       host(client_addr) AS client, state, wait_event_type || ': ' || wait_event AS wait,
       round(extract(epoch FROM clock_timestamp() - query_start)::numeric, 3) AS query_s,
       round(extract(epoch FROM clock_timestamp() - xact_start)::numeric, 3) AS transaction_s,
       query
  FROM pg_stat_activity WHERE {CLIENTS} AND state <> 'idle'
 ORDER BY coalesce(xact_start, query_start) LIMIT 10) t
"""
# pg_locks is open to all; what those who wait do may be hidden.
_WAITING = f"""
SELECT coalesce(json_agg(t), '[]') FROM (
SELECT l.pid, a.usename AS role, a.datname AS database, l.mode, l.locktype AS kind,
       CASE WHEN l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            THEN (SELECT {_NAME} FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
                   WHERE pg_class.oid = l.relation) END AS relation,
       round(extract(epoch FROM clock_timestamp() - l.waitstart)::numeric, 3) AS seconds, a.query,
       (SELECT coalesce(json_agg(json_build_object('pid', b, 'role', o.usename, 'state', o.state,
                                                   'query', o.query)), '[]')
          FROM (SELECT DISTINCT unnest(pg_blocking_pids(l.pid)) AS b) blocking
          LEFT JOIN pg_stat_activity o ON o.pid = b) AS blocked_by
  FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
 WHERE NOT l.granted ORDER BY l.waitstart LIMIT 20) t
"""
_DEAD_TUPLES = f"""
SELECT coalesce(json_agg(t), '[]') FROM (
SELECT current_database() AS database, {_NAME} AS "table", n_live_tup AS live,
       n_dead_tup AS dead, last_vacuum, last_autovacuum
  FROM (SELECT *, schemaname AS nspname FROM pg_stat_user_tables) s
 WHERE n_dead_tup > 0 ORDER BY n_dead_tup DESC LIMIT 5) t
"""
_TRANSACTION_IDS = """
SELECT json_build_object('database', datname, 'age', age(datfrozenxid),
                         'freeze_at', current_setting('autovacuum_freeze_max_age')::bigint)
  FROM pg_database ORDER BY age(datfrozenxid) DESC LIMIT 1
"""
_CHECKPOINTS = {
    False: "SELECT json_build_object('timed', checkpoints_timed, 'requested', checkpoints_req)"
    " FROM pg_stat_bgwriter",
    True: "SELECT json_build_object('timed', num_timed, 'requested', num_requested)"
    " FROM pg_stat_checkpointer",
}
_VERSION = "SELECT to_json(current_setting('server_version_num')::int)"
_BUSIEST_DATABASES = """
SELECT coalesce(json_agg(datname), '[]') FROM (
SELECT datname FROM pg_database LEFT JOIN pg_stat_database s USING (datname)
 WHERE datallowconn AND NOT datistemplate AND datname <> current_database()
 ORDER BY tup_updated + tup_deleted DESC NULLS LAST, datname LIMIT 10) t
"""


class Look:
    """One look at a server: the questions that are asked, and what was refused."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.unknown: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._session.run_all(
            "BEGIN READ ONLY", f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_MS}"
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._session.run("COMMIT")

    def ask(self, what: str, sql: str) -> Any:
        """Return the answer to a question; None, and a note, when it is refused."""
        try:
            answer = self._session.run_all("SAVEPOINT question", sql, "RELEASE question")
        except Refused as error:
            self.unknown[what] = str(error)
            self._session.run("ROLLBACK TO question")
            return None
        return None if answer is None else _cleaned(values.from_json(answer))

    def rows(self, what: str, sql: str) -> list[dict[str, Any]]:
        """Return the rows of an answer."""
        return self.ask(what, sql) or []


def _cleaned(answer: Any) -> Any:
    """Make every text in an answer fit to be shown."""
    if isinstance(answer, list):
        return [_cleaned(one) for one in answer]
    if isinstance(answer, dict):
        return {
            name: redaction.shown(value)
            if name == "query" and isinstance(value, str)
            else _cleaned(value)
            for name, value in answer.items()
        }
    return redaction.printable(answer) if isinstance(answer, str) else answer


# The fields of an Activity, in order, and what they are where nothing else is known.
_ACTIVITY: dict[str, Any] = {
    "role": "",
    "sees_all": False,
    "cache_hit_ratio": None,
    "counters": None,
    "connections": [],
    "hidden": 0,
    "running": [],
    "waiting": [],
    "slow_queries": [],
    "slow_source": None,
    "slow_threshold_ms": None,
    "dead_tuples": [],
    "transaction_ids": None,
    "checkpoints": None,
    "unknown": {},
}


def now(look: Look) -> dict[str, Any]:
    """
    Return what moves from one moment to the next: counters, connections, queries, locks.

    It has all fields of an Activity, which ``activity.of()`` makes of it.
    """
    who = look.ask("role", _WHO) or {}
    counted = look.ask("counters", _COUNTERS)
    counters = counted if counted and counted["transactions"] is not None else None
    return {
        **_ACTIVITY,
        **who,
        "counters": counters,
        "cache_hit_ratio": counters and ratio(counters["blocks_hit"], counters["blocks_read"]),
        "connections": look.rows("connections", _CONNECTIONS),
        "hidden": look.ask("hidden", _HIDDEN) or 0,
        "running": look.rows("running", _RUNNING),
        "waiting": look.rows("waiting", _WAITING),
        "unknown": look.unknown,
    }


def ratio(hit: int, read: int) -> float | None:
    """Return the part of all pages that were found in memory; None where there were none."""
    return round(hit / (hit + read), 6) if hit + read else None


def slowly_changing(look: Look) -> dict[str, Any]:
    """Return what piles up, as fields of an Activity; not worth asking every second."""
    version = look.ask("version", _VERSION) or 0
    return {
        "dead_tuples": dead_tuples(look),
        "transaction_ids": look.ask("transaction_ids", _TRANSACTION_IDS),
        "checkpoints": look.ask("checkpoints", _CHECKPOINTS[version >= 170000]),
    }


def dead_tuples(look: Look) -> list[dict[str, Any]]:
    """Return the tables of this database with most of them."""
    return look.rows("dead_tuples", _DEAD_TUPLES)


def busiest_databases(look: Look) -> list[str]:
    """Return the names of other databases, those first in which most rows grew old."""
    return look.ask("databases", _BUSIEST_DATABASES) or []


def counted_statements(look: Look, at_least_ms: float) -> dict[str, Any]:
    """Return what pg_stat_statements has counted, as fields of Activity."""
    schema = look.ask("slow_queries", slow_queries.STATEMENTS_SCHEMA)
    if schema is None:
        look.unknown.setdefault(
            "slow_queries",
            "pg_stat_statements is not in this database; its administrator can preload it, and "
            "run CREATE EXTENSION pg_stat_statements",
        )
        return {}
    rows = look.rows("slow_queries", slow_queries.STATEMENTS.format(schema, float(at_least_ms)))
    return {
        "slow_queries": rows,
        "slow_source": "pg_stat_statements",
        "slow_threshold_ms": at_least_ms,
    }


def logged_statements(look: Look, log_dir: str, at_least_ms: float | None) -> dict[str, Any]:
    """Return what an embedded server's log has, as fields of Activity."""
    setting = look.ask(
        "slow_queries",
        "SELECT to_json(setting::float8) FROM pg_settings"
        " WHERE name = 'log_min_duration_statement'",
    )
    if setting is None or setting < 0:
        look.unknown["slow_queries"] = "log_min_duration_statement is off"
    threshold = max(setting or 0.0, at_least_ms or 0.0)
    return {
        "slow_queries": slow_queries.from_log(log_dir, at_least_ms or 0.0),
        "slow_source": "log",
        "slow_threshold_ms": threshold if setting is not None and setting >= 0 else None,
    }
