"""Sessions that tests leave behind, named after the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxy_pg.sessions import CLIENTS
from oxy_pg.system.deadline import Deadline, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oxy_pg.pytest_plugin.clones import Connection

_GRACE = 0.15  # seconds: the server ends a session a moment after its client has
_LONGEST_GRACE = 0.5

_SESSIONS = f"""
    SELECT datname, pid FROM pg_stat_activity
    WHERE datname = ANY(%s) AND {CLIENTS} AND pid <> ALL(%s)
"""
_DETAILS = """
    SELECT a.pid, a.application_name, a.state, a.query,
           extract(epoch FROM clock_timestamp() - a.state_change)::float8,
           (SELECT array_agg(DISTINCT l.mode ORDER BY l.mode) FROM pg_locks l
            WHERE l.pid = a.pid AND l.granted AND l.locktype IN ('relation', 'tuple', 'object')
              AND l.mode <> 'AccessShareLock'),
           (SELECT count(*) FROM pg_locks l
            WHERE l.pid = a.pid AND l.granted AND l.locktype = 'advisory')
    FROM pg_stat_activity a WHERE (a.datname, a.pid) = (%s, %s)
"""


class _Suspect:
    """A database in which a session was left, when its test had ended."""

    def __init__(
        self, test: str, database: str, sessions: list[Any], then: Callable[[], object]
    ) -> None:
        self.test = test
        self.database = database
        self.sessions = sessions
        self.then = then
        self.since = now()


class Leaks:
    """What was found so far: (test, text), in order."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._suspects: list[_Suspect] = []
        self._known: set[tuple[str, int]] = set()  # sessions that are another test's

    def look(
        self,
        connection: Connection,
        database: str,
        own: Iterable[int],
        test: str,
        then: Callable[[], object],
    ) -> bool:
        """
        Look whether ``test`` has left sessions in its database, but for its fixtures' ``own``.

        If so, it is looked at again when the next test ends, and must not be
        dropped before. ``then`` is called when it may be.
        """
        names = [database, *(suspect.database for suspect in self._suspects)]
        rows = connection.execute(_SESSIONS, (names, list(own))).fetchall()
        self._judge(connection, rows, _GRACE)
        sessions = [row for row in rows if row[0] == database and row not in self._known]
        self._known.update(sessions)
        if sessions:
            self._suspects.append(_Suspect(test, database, sessions, then))
        else:
            then()
        return bool(sessions)

    def wait(self, connection: Connection) -> list[str]:
        """Look again at all suspects now, and return what was found."""
        before = len(self.found)
        names = [suspect.database for suspect in self._suspects]
        rows: list[Any] = []
        for _ in Deadline(_LONGEST_GRACE if names else 0).attempts(0.005, 0.05):
            rows = connection.execute(_SESSIONS, (names, [0])).fetchall()
            if not any(row in rows for suspect in self._suspects for row in suspect.sessions):
                break
        self._judge(connection, rows, 0.0)
        return [text for _, text in self.found[before:]]

    def _judge(self, connection: Connection, rows: list[Any], grace: float) -> None:
        """Name the sessions of suspects that have waited long enough and are still there."""
        for suspect in list(self._suspects):
            if now() - suspect.since < grace:
                continue
            self._suspects.remove(suspect)
            for session in suspect.sessions:
                text = _described(connection, session) if session in rows else ""
                if text:
                    self.found.append((suspect.test, text))
            suspect.then()


def _described(connection: Connection, session: tuple[Any, ...]) -> str:
    """Say what a session that was left is doing; "" where it has gone meanwhile."""
    from oxy_pg.server.monitor import redaction

    row = connection.execute(_DETAILS, session).fetchone()
    if row is None:
        return ""
    pid, program, state, query, seconds, locks, advisory = row
    words = [f"a connection (process {pid}"]
    if program:
        words.append(f", program {redaction.printable(program)!r}")
    words.append(f"), {state or 'its state is hidden'} for {max(0.0, seconds or 0.0):.1f} s")
    if locks:
        words.append(f", with locks ({', '.join(locks)})")
    if advisory:
        words.append(f", with {advisory} advisory lock{'s' if advisory > 1 else ''}")
    if query:
        words.append(f"; its last statement: {redaction.shown(query)[:200]}")
    return "".join(words)
