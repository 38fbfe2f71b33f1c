"""A database that a test uses, and the fixtures' own connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxy_pg.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    import pytest
    from psycopg import AsyncConnection

    from oxy_pg.pytest_plugin.hosted import Hosted


class Lent:
    """
    A database that is lent to a ``node``: a test, a class, a module, …; None: to any of them.

    ``connections`` are the fixtures' own, and ``disposals`` end those of the
    fixtures' engines. ``copies`` are its snapshots.
    """

    def __init__(
        self, hosted: Hosted, name: str, node: pytest.Item | pytest.Collector | None
    ) -> None:
        self.hosted = hosted
        self.name = name
        self.node = node
        self.log_position = hosted.log_position()
        self.is_ours = True  # to be given back
        self.is_kept = False
        self.is_returned = False  # by its fixture
        self.is_past = False  # the test that returned it has been reported
        self.is_ended = False  # no one looks at it any more
        self.connections: list[psycopg.Connection[Any] | AsyncConnection[Any]] = []
        self.disposals: list[Callable[[], object]] = []
        self.copies: list[str] = []
        self.own_pids: set[int] = set()  # of the fixtures' sessions, also those that have ended

    def own(self, connection: psycopg.Connection[Any] | AsyncConnection[Any]) -> None:
        """Remember a fixture's own connection."""
        self.connections.append(connection)
        self.own_pids.add(connection.info.backend_pid)

    def end(self) -> None:
        """Let it be given back."""
        self.is_ended = True

    def pause(self, why_committed: str) -> None:
        """
        End the sessions of the fixtures, until ``resume()``.

        With ``why_committed``, ServerError where one is in a transaction.
        """
        from psycopg.pq import TransactionStatus

        idle = {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}
        for connection in self.connections:
            if why_committed and connection.pgconn.transaction_status not in idle:
                raise ServerError(
                    f"A connection of a fixture to {self.name!r} is in a transaction, and "
                    f"{why_committed}: call its commit() or rollback() first."
                )
        for dispose in self.disposals:
            dispose()
        self.hosted.end_sessions(self.name, self.own_pids)

    def resume(self) -> None:
        """Connect the fixtures' connections again: they are the same objects."""
        for connection in self.connections:
            if connection._closed:  # noqa: SLF001 - by the test; `closed` says it of lost ones too
                continue
            connection.pgconn.reset()
            connection.pgconn.nonblocking = 1
            # The new session has none of the statements that the old one had prepared.
            connection._prepared.clear()  # noqa: SLF001 - there is no public way
            self.own_pids.add(connection.info.backend_pid)
