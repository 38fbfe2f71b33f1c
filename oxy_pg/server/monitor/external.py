"""Observe an external server, repeatedly, as far as our role may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.string import TextLoader

from oxy_pg import url as urls
from oxy_pg.errors import ExternalServerUnavailable
from oxy_pg.server import external
from oxy_pg.server.monitor import activity, questions, status
from oxy_pg.server.monitor.activity import SLOW_MS, Activity
from oxy_pg.server.monitor.embedded import Memory
from oxy_pg.server.monitor.questions import Refused, Session
from oxy_pg.server.monitor.status import Observation
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from typing import Self


class ExternalObserver:
    """Observes an external server on one connection, and connects again when it is lost."""

    def __init__(self, url: str, timeout: float, slow_ms: float | None = None) -> None:
        self._url = url
        self._timeout = timeout
        self._slow_ms = SLOW_MS if slow_ms is None else slow_ms
        self._memory = Memory()
        self._connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def look(self) -> Observation:
        """Return what is seen now; raises ExternalServerUnavailable, or what ``ensure()`` does."""
        if self._connection is None:
            self._connection = external.connect(self._url, Deadline(self._timeout))
            # A pool in transaction mode gives every transaction another session, which does not
            # know what an earlier one has prepared.
            self._connection.prepare_threshold = None
        try:
            found = status.of_connection(self._connection, self._url)
            return Observation(found, self._activity(self._connection))
        except (psycopg.Error, Refused) as error:
            self._hang_up()
            reason = _words(error)
            raise ExternalServerUnavailable(
                urls.mask(self._url), reason, "It did not answer what `oxy-pg status` asks."
            ) from None

    def _activity(self, connection: psycopg.Connection[Any]) -> Activity:
        session = _DriverSession(connection)
        with questions.Look(session) as look:
            found = questions.now(look)
        if self._memory.due():
            with questions.Look(session) as look:
                known = questions.slowly_changing(look)
                known |= questions.counted_statements(look, self._slow_ms)
            self._memory.keep(known | {"unknown": look.unknown})
        return activity.of(self._memory.added_to(found))

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _DriverSession(Session):
    """A session of psycopg's."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        # As text, as the private socket has it.
        connection.adapters.register_loader("json", TextLoader)

    def run(self, sql: str) -> str | None:
        try:
            cursor = self._connection.execute(sql.encode())
        except psycopg.Error as error:
            if self._connection.closed:
                raise
            raise Refused(_words(error)) from error
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def _words(error: Exception) -> str:
    """Return the server's own words for an error, on one line."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split())
