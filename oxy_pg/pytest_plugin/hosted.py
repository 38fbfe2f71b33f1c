"""The server of a test session, and the databases on it that tests use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oxy_pg.pytest_plugin import options, workers

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from psycopg import AsyncConnection

    from oxy_pg.pytest_plugin.clones import Clones, Connection
    from oxy_pg.pytest_plugin.templates.store import Template
    from oxy_pg.server.external import ExternalServer
    from oxy_pg.server.temporary import DisposableServer


class Hosted:
    """
    The server of this session, embedded or external, and this process's databases on it.

    ``key`` is the digest of ``oxy_pg_template_key``; None: the template goes with the session.
    """

    def __init__(
        self, server: DisposableServer | ExternalServer, config: pytest.Config, key: str | None
    ) -> None:
        from oxy_pg.pytest_plugin.leaks import Leaks
        from oxy_pg.pytest_plugin.templates.failures import Failures
        from oxy_pg.pytest_plugin.templates.store import Templates
        from oxy_pg.server import external, temporary

        self.server = server
        self.keeps = options.is_on(config, "keep")
        self.leaks = Leaks()
        self._looks_for = options.leaks(config)
        self.lent: list[Lent] = []  # in use, or their test has not been reported yet
        self.is_external = isinstance(server, external.ExternalServer)
        # What is on it goes with a temporary server.
        self._stays = not isinstance(server, temporary.TemporaryServer)
        self._run = workers.run_name(config)
        self._key = key
        self._extensions = options.extensions(config)
        self.clones = self._connected(config)
        worker = str(workers.told(config).get("workerid", ""))
        self.templates = Templates(self.clones, Failures(self._run, worker), f"{config.rootpath}")
        self.main: Template | None = None
        self.main_definition: Any = None  # the fixture that fills it

    def _connected(self, config: pytest.Config) -> Clones:
        from oxy_pg.connection import NEUTRAL, connect
        from oxy_pg.facts import MAINTENANCE_DATABASE
        from oxy_pg.pytest_plugin import clones, sweeping
        from oxy_pg.server import external, place
        from oxy_pg.system.deadline import Deadline

        server = self.server

        def connected() -> Connection:
            if isinstance(server, external.ExternalServer):
                return external.connect(server.url(), Deadline(60), settings=NEUTRAL)
            # By way of the socket: a password takes longer to check than all the rest. Asking for
            # the URL each time starts a server again whose supervisor was killed.
            url = server.socket_url(MAINTENANCE_DATABASE)
            return connect(url, Deadline(60), settings=NEUTRAL)

        self.connected = connected
        sharers = int(workers.told(config).get("workercount", 1))
        made = clones.Clones(
            connected,
            ours=not self.is_external,
            sharers=sharers,
            tests_ahead=lambda: workers.tests_ahead(config),
            is_scarce=lambda: (
                not isinstance(server, external.ExternalServer)
                and place.is_scarce(server.state_dir)
            ),
        )
        if self._stays:
            with connected() as connection:
                sweeping.sweep(connection)
        return made

    # --- templates ---

    def open_template(self, identity: str, *, keep: bool = False) -> Template:
        """Return a template; one that is to be filled has the extensions already."""
        if not keep and self.is_external:
            identity = f"{identity} of {self._run}"
        found = self.templates.open(identity, keep=keep)
        if not found.is_complete and found.watch is None:
            from oxy_pg.pytest_plugin.templates.waiting import Watch

            try:
                if self._extensions:
                    self._ensure_extensions(found.database)
            except BaseException as error:
                self.templates.fail(found, str(error))
                raise
            found.log_position = self.log_position()
            found.watch = Watch(self.connected, found.database)
        return found

    @property
    def is_main_kept(self) -> bool:
        """Whether the template of ``oxy_pg_template`` stays for later sessions."""
        return self._key is not None

    def open_main(self) -> Template:
        """Return the template that ``oxy_pg_template`` fills."""
        if self.main is None:
            identity = repr(("main", self._key, sorted(self._extensions)))
            self.main = self.open_template(identity, keep=self.is_main_kept)
        return self.main

    def use_main(self) -> None:
        """Finish the template, if it was filled here, and begin to copy it."""
        main = self.open_main()
        if not main.is_complete:
            self.templates.finish(main)
        self.clones.use_template(main.name)

    def fail_main(self, reason: str) -> None:
        """Drop the template: it could not be filled."""
        if self.main is not None and not self.main.is_complete:
            self.templates.fail(self.main, reason)
            self.main = None

    def _ensure_extensions(self, database: str) -> None:
        from oxy_pg.server.external import ExternalServer

        if isinstance(self.server, ExternalServer):
            self.server.ensure_extensions(database, self._extensions)
        else:
            self.server.ensure_database(database, extensions=self._extensions)

    # --- databases ---

    def url(self, name: str) -> str:
        """Return a database's URL, for any driver."""
        return self.server.url(name)

    def quick_url(self, name: str) -> str:
        """Return the URL for psycopg: a socket's where there is one."""
        from oxy_pg.server.external import ExternalServer

        server = self.server
        return server.url(name) if isinstance(server, ExternalServer) else server.socket_url(name)

    def engine_url(self, name: str) -> str:
        """Return the URL for SQLAlchemy, with the driver that is installed with us."""
        return "postgresql+psycopg" + self.quick_url(name).removeprefix("postgresql")

    def lend(self, name: str, node: pytest.Item | pytest.Collector | None) -> Lent:
        """Lend a database to a test, a class, a module, …"""
        lent = Lent(self, name, node)
        self.lent.append(lent)
        return lent

    def take_back(self, lent: Lent, test: str) -> None:
        """
        Let a database be dropped, when its test has been reported and unless it is kept then.

        Fails the test, if that was asked for, where it has left sessions.
        """
        self._look_for_leaks(lent, test, lent.end)

    def settle(self) -> None:
        """Let the databases go whose tests have been reported."""
        for lent in [lent for lent in self.lent if lent.is_ended]:
            self.lent.remove(lent)
            for name in lent.copies:
                self.clones.give_back(name)
            if lent.is_ours and not lent.is_kept:
                self.clones.give_back(lent.name)
        for lent in self.lent:
            lent.is_past = lent.is_past or lent.is_returned

    def _look_for_leaks(self, lent: Lent, test: str, then: Callable[[], object]) -> None:
        lent.is_returned = True
        if self._looks_for == "off":
            then()
            return
        found = self.clones.run(
            lambda connection: self.leaks.look(connection, lent.name, lent.own_pids, test, then)
        )
        if found and self._looks_for == "fail":
            left = self.clones.run(self.leaks.wait)
            if left:
                pytest.fail("This test has left " + "\nand ".join(left), pytrace=False)

    def used_by(self, item: pytest.Item) -> list[Lent]:
        """Return the databases that a test is using, or has used just now."""
        nodes = {None, *item.listchain()}
        return [lent for lent in self.lent if lent.node in nodes and not lent.is_past]

    def end_sessions(self, name: str, pids: set[int]) -> None:
        """End these sessions in a database, and wait for them to go."""
        self.clones.run(
            lambda connection: connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = %s AND pid = ANY(%s)",
                (name, list(pids)),
            )
        )

    def close(self) -> None:
        """Drop this process's databases, where they would stay."""
        for lent in self.lent:
            lent.end()
        try:
            self.clones.run(self.leaks.wait)
            self.settle()
            self.clones.stop()
            if self._stays:
                self.templates.close()
        finally:
            self.clones.close(drop=self._stays)

    def log_position(self) -> dict[str, int]:
        """Return where the server's log ends now; nothing for an external server."""
        from oxy_pg.server.external import ExternalServer

        return {} if isinstance(self.server, ExternalServer) else self.server.log_position()


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

        from oxy_pg.errors import ServerError

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


class Shared:
    """The database of ``oxy_pg_transaction``, created when it is first needed."""

    def __init__(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self.name = ""

    def take(self) -> str:
        """Return the database's name. Other connections can only read it: their commits stay."""
        if not self.name:
            self.name = self.hosted.clones.take()
            self.hosted.clones.make_read_only(self.name)
        return self.name

    def discard(self) -> None:
        """Let the next test have another one."""
        if self.name:
            self.hosted.clones.run(self.hosted.leaks.wait)  # before its sessions are ended
            self.hosted.clones.give_back(self.name)
        self.name = ""


HOSTED = pytest.StashKey[Hosted]()  # of the session's config
