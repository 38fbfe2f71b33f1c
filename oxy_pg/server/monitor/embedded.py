"""Look at our server, again and again, through its private socket."""

from __future__ import annotations

from oxy_pg.server.cluster.socket_connection import Connection, QueryError, monitor
from oxy_pg.server.monitor import plain, questions
from oxy_pg.server.monitor.questions import Refused, Session
from oxy_pg.system.deadline import Deadline, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from oxy_pg.paths import StateDir
    from oxy_pg.server.monitor.status import Observation

_SLOWLY = 5.0  # seconds until what changes slowly is asked for again


class Memory:
    """What changes slowly, and when it was asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._asked = -_SLOWLY

    def due(self) -> bool:
        """Whether it is time to ask again."""
        return now() - self._asked >= _SLOWLY

    def keep(self, known: dict[str, Any]) -> None:
        """Remember fields of Activity."""
        self._known, self._asked = known, now()

    def added_to(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the activity with what is remembered, its gaps included."""
        unknown = found["unknown"] | self._known.get("unknown", {})
        return {**found, **self._known, "unknown": unknown}


class EmbeddedObserver:
    """
    Looks at a state directory's server; starts nothing, and keeps nothing up.

    It connects anew for every look: a connection that stayed would be a use of
    the server, and keep it running.
    """

    def __init__(self, state: StateDir, slow_ms: float | None = None) -> None:
        self._state = state
        self._slow_ms = slow_ms
        self._memory = Memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def look(self) -> Observation:
        """Return what is seen now."""
        from oxy_pg.server.monitor import activity, status

        known, seen = self.look_plainly()
        return status.Observation(status.of(known), None if seen is None else activity.of(seen))

    def look_plainly(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return the same as plain values: the fields of a Status, and those of an Activity."""
        seen: list[dict[str, Any] | None] = []
        known = plain.of_embedded(
            self._state, lambda connection, port: seen.append(self._activity(connection, port))
        )
        if seen == [None]:  # it went while we looked
            return plain.of_embedded(self._state), None
        return known, seen[0] if seen else None

    def _activity(self, connection: Connection, port: int) -> dict[str, Any] | None:
        connection.deadline = deadline = Deadline(plain.PATIENCE)
        try:
            with questions.Look(_SocketSession(connection)) as look:
                found = questions.now(look)
            if self._memory.due():
                self._look_at_what_changes_slowly(connection, port, deadline)
        except (OSError, QueryError):
            return None
        return self._memory.added_to(found)

    def _look_at_what_changes_slowly(
        self, connection: Connection, port: int, deadline: Deadline
    ) -> None:
        with questions.Look(_SocketSession(connection)) as look:
            known = questions.slowly_changing(look)
            known |= questions.logged_statements(look, self._state.log_dir, self._slow_ms)
            others = questions.busiest_databases(look)
        tables = [*known["dead_tuples"]]
        for name in others:
            tables += self._dead_tuples(name, port, deadline)
        tables.sort(key=lambda one: -one["dead"])
        self._memory.keep(known | {"dead_tuples": tables[:5], "unknown": look.unknown})

    def _dead_tuples(self, database: str, port: int, deadline: Deadline) -> list[dict[str, Any]]:
        """Ask another database, which shows its tables to those alone who are connected to it."""
        try:
            with (
                monitor(self._state.socket_dir, port, deadline, database) as connection,
                questions.Look(_SocketSession(connection)) as look,
            ):
                return questions.dead_tuples(look)
        except (OSError, QueryError):  # it was dropped meanwhile
            return []


class _SocketSession(Session):
    """The monitoring role's session through the private socket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, sql: str) -> str | None:
        try:
            rows = self._connection.query(sql)
        except QueryError as error:
            if error.fatal:
                raise
            raise Refused(str(error)) from error
        return rows[0][0] if rows else None

    def run_all(self, *statements: str) -> str | None:
        return self.run("; ".join(statements))  # as one message
