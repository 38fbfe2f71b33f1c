"""The server of a test session, and the databases on it that tests use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oxy_pg.pytest_plugin import options, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.pytest_plugin.clones import Clones
    from oxy_pg.server.external import ExternalServer
    from oxy_pg.server.temporary import TemporaryServer


class Hosted:
    """The server of this session, embedded or external, and this process's databases on it."""

    def __init__(self, server: TemporaryServer | ExternalServer, config: pytest.Config) -> None:
        from oxy_pg.connection import NEUTRAL, connect
        from oxy_pg.facts import MAINTENANCE_DATABASE
        from oxy_pg.pytest_plugin import clones
        from oxy_pg.server import external
        from oxy_pg.system.deadline import Deadline

        self.server = server
        self.keeps = options.is_on(config, "keep")
        if isinstance(server, external.ExternalServer):
            url = server.url()
            self.clones: Clones = clones.Clones(
                lambda: external.connect(url, Deadline(60), settings=NEUTRAL), ours=False
            )
            with external.connect(url, Deadline(60), settings=NEUTRAL) as connection:
                clones.sweep(connection)
        else:
            # By way of the socket: a password takes longer to check than all the rest. Asking for
            # the URL each time starts a server again whose supervisor was killed.
            sharers = int(workers.told(config).get("workercount", 1))
            self.clones = clones.Clones(
                lambda: connect(
                    server.socket_url(MAINTENANCE_DATABASE), Deadline(60), settings=NEUTRAL
                ),
                ours=True,
                sharers=sharers,
            )
        self.template = self.clones.create()

    def url(self, name: str) -> str:
        """Return a database's URL, for any driver."""
        return self.server.url(name)

    def quick_url(self, name: str) -> str:
        """Return the URL for psycopg and SQLAlchemy: a socket's where there is one."""
        from oxy_pg.server.external import ExternalServer

        server = self.server
        return server.url(name) if isinstance(server, ExternalServer) else server.socket_url(name)

    def ensure_extensions(self, names: tuple[str, ...]) -> None:
        """Leave these extensions in the template."""
        from oxy_pg.server.external import ExternalServer

        if isinstance(self.server, ExternalServer):
            self.server.ensure_extensions(self.template, names)
        else:
            self.server.ensure_database(self.template, extensions=names)

    def close(self) -> None:
        """Drop this process's databases, where they would stay."""
        from oxy_pg.server.external import ExternalServer

        self.clones.close(drop=isinstance(self.server, ExternalServer))

    def keep(self, lent: Lent, reason: str) -> str:
        """Leave a test's database; return how to connect to it, and how to get rid of it."""
        import shlex

        from oxy_pg.server.external import ExternalServer
        from oxy_pg.url import mask

        self.clones.keep(lent.name, reason)
        lent.is_kept = True
        if isinstance(self.server, ExternalServer):
            url = shlex.quote(mask(self.server.url(lent.name)))
            return f"psql {url}\nIt stays until: DROP DATABASE {lent.name}"
        self.server.keep()
        url = shlex.quote(self.server.socket_url(lent.name))
        return (
            f"psql {url}\n"
            f"Its server stays until: oxy-pg stop --state-dir {shlex.quote(self.server.state_dir)}"
        )

    def log_position(self) -> dict[str, int]:
        """Return where the server's log ends now; nothing for an external server."""
        from oxy_pg.server.external import ExternalServer

        return {} if isinstance(self.server, ExternalServer) else self.server.log_position()

    def log_of(self, lent: Lent) -> str:
        """Return what the server has logged of a test's database since the test got it."""
        import secrets

        from oxy_pg.server.external import ExternalServer
        from oxy_pg.system.deadline import Deadline

        if isinstance(self.server, ExternalServer):
            return ""
        mark = f"oxy_pg reads the log ({secrets.token_hex(4)})"
        self.clones.log(mark)
        text = ""
        for _ in Deadline(2).attempts(0.002, 0.05):  # the log collector writes when it can
            text = self.server.log_since(lent.log_position)
            if mark in text:
                break
        return "\n".join(_lines_of(f"@{lent.name} ", text))

    def crash_during(self, lent: Lent) -> str:
        """Return what the server has logged of a crash since the test got its database."""
        from oxy_pg.server.external import ExternalServer

        if isinstance(self.server, ExternalServer):
            return ""
        lines = self.server.log_since(lent.log_position).splitlines()
        found = [line for line in lines if any(words in line for words in _CRASHES)]
        if any("terminated by signal 9" in line for line in found):
            found.append(
                "Signal 9 comes from `kill -9`, or from the system when memory runs out (dmesg "
                "tells). PostgreSQL has restarted, and every session of that moment was lost."
            )
        return "\n".join(found)


# What the postmaster logs when a server process dies (src/backend/postmaster/postmaster.c).
_CRASHES = (
    "was terminated by signal",
    "terminating any other active server processes",
    "all server processes terminated; reinitializing",
)


def _lines_of(database: str, log: str) -> Iterator[str]:
    """Yield the log lines of one database, with those that continue them."""
    is_its = False
    for line in log.splitlines():
        if not line.startswith("\t"):
            is_its = database in line
        if is_its:
            yield line


class Lent:
    """The database that a test is using."""

    def __init__(self, hosted: Hosted, name: str) -> None:
        self.hosted = hosted
        self.name = name
        self.log_position = hosted.log_position()
        self.is_kept = False


class Shared:
    """The database of ``oxy_pg_transaction``, created when it is first needed."""

    def __init__(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self.name = ""

    def take(self) -> str:
        """Return the database's name."""
        if not self.name:
            self.name = self.hosted.clones.take()
        return self.name

    def discard(self) -> None:
        """Let the next test have another one."""
        if self.name:
            self.hosted.clones.give_back(self.name)
        self.name = ""


LENT = pytest.StashKey[Lent]()  # the database that a test is using
