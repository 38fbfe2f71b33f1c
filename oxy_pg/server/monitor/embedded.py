"""Look at our server, again and again, through its private socket."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from oxy_pg.server.cluster.socket_connection import Connection, QueryError, monitor
from oxy_pg.server.monitor import questions, status
from oxy_pg.server.monitor.questions import Refused, Session
from oxy_pg.system.deadline import Deadline, now

if TYPE_CHECKING:
    from typing import Self

    from oxy_pg.paths import StateDir
    from oxy_pg.server.monitor.activity import Activity, DeadTuples
    from oxy_pg.server.monitor.status import Status

_PATIENCE = 5.0  # seconds for a server that runs but does not answer
_SLOWLY = 5.0  # seconds until what changes slowly is asked for again


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at one moment; ``activity`` is None of a server that does not run."""

    status: Status
    activity: Activity | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: those of the status, and ``activity``."""
        return {**self.status.to_dict(), "activity": self.activity and self.activity.to_dict()}


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

    def added_to(self, found: Activity) -> Activity:
        """Return the activity with what is remembered, its gaps included."""
        fields = dict(self._known)
        unknown = found.unknown | fields.pop("unknown", {})
        return dataclasses.replace(found, **fields, unknown=unknown)


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
        found = status.of_embedded(self._state)
        if found.port is None or found.state != "running":
            return Observation(found, None)
        try:
            return Observation(found, self._activity(found.port))
        except (OSError, QueryError):  # it went while we looked
            return Observation(status.of_embedded(self._state), None)

    def _activity(self, port: int) -> Activity:
        deadline = Deadline(_PATIENCE)
        with monitor(self._state.socket_dir, port, deadline) as connection:
            with questions.Look(_SocketSession(connection)) as look:
                found = questions.now(look)
            if self._memory.due():
                with questions.Look(_SocketSession(connection)) as look:
                    known = questions.slowly_changing(look)
                    known |= questions.logged_statements(look, self._state.log_dir, self._slow_ms)
                    others = questions.busiest_databases(look)
                tables = [*known["dead_tuples"]]
                for name in others:
                    tables += self._dead_tuples(name, port, deadline)
                tables.sort(key=lambda one: -one.dead)
                self._memory.keep(
                    known | {"dead_tuples": tuple(tables[:5]), "unknown": look.unknown}
                )
        return self._memory.added_to(found)

    def _dead_tuples(self, database: str, port: int, deadline: Deadline) -> tuple[DeadTuples, ...]:
        """Ask another database, which shows its tables to those alone who are connected to it."""
        try:
            with (
                monitor(self._state.socket_dir, port, deadline, database) as connection,
                questions.Look(_SocketSession(connection)) as look,
            ):
                return questions.dead_tuples(look)
        except (OSError, QueryError):  # it was dropped meanwhile
            return ()


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
