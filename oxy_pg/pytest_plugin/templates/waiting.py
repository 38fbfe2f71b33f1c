"""A template that waits for a lock: most often one that its own other connection holds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg

from oxy_pg.errors import OxyPgError
from oxy_pg.system.deadline import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.pytest_plugin.clones import Connection

_FIRST_LOOK = 1.0  # seconds: most templates are filled sooner
_PAUSE = 0.5
_PATIENCE = 4.0  # seconds that a statement may wait for a session which does nothing

_BLOCKED = """
    SELECT a.pid, a.query, array_agg(b.pid ORDER BY b.pid),
           bool_and(b.state LIKE 'idle in transaction%%'),
           string_agg(format('process %%s (%%s): %%s', b.pid, b.state, b.query), E'\\n')
    FROM pg_stat_activity a, unnest(pg_blocking_pids(a.pid)) AS blocking(pid)
    JOIN pg_stat_activity b ON b.pid = blocking.pid
    WHERE a.datname = %s AND a.wait_event_type = 'Lock'
    GROUP BY a.pid, a.query
"""


class Watch:
    """
    Looks, in a thread, for statements in one database that wait for a lock.

    One that has waited for seconds, for sessions that are idle in a
    transaction, would wait for ever: it is cancelled. ``end()`` returns who
    holds the lock.
    """

    def __init__(self, connect: Callable[[], Connection], database: str) -> None:
        self._connect = connect
        self._database = database
        self._ended = threading.Event()
        self._seen = ""
        self._thread = threading.Thread(target=self._run, name="oxy_pg locks", daemon=True)
        self._thread.start()

    def end(self) -> str:
        """Stop looking; return what was seen, for the report of a template that fails."""
        self._ended.set()
        self._thread.join(10)
        return self._seen

    def _run(self) -> None:
        if self._ended.wait(_FIRST_LOOK):
            return
        try:
            with self._connect() as connection:
                self._look(connection)
        except (psycopg.Error, OxyPgError, OSError):
            return  # who fills the template will notice

    def _look(self, connection: Connection) -> None:
        from oxy_pg.server.monitor import redaction

        since: dict[tuple[int, tuple[int, ...]], float] = {}
        while not self._ended.wait(_PAUSE):
            rows = connection.execute(_BLOCKED, (self._database,)).fetchall()
            still = {}
            for pid, query, blockers, all_idle, held in rows:
                key = (pid, tuple(blockers))
                still[key] = since.get(key, now())
                waited = now() - still[key]
                if waited < _PATIENCE:
                    continue
                holders = "\n".join(redaction.shown(line)[:300] for line in held.splitlines())
                self._seen = (
                    f"This statement waits for a lock: {redaction.shown(query)[:300]}\n"
                    f"The lock is held by {holders}"
                )
                if all_idle:
                    self._seen += (
                        "\nIt is idle in a transaction, so the statement was cancelled: commit or "
                        "close that connection first."
                    )
                    connection.execute("SELECT pg_cancel_backend(%s)", (pid,))
            since = still
