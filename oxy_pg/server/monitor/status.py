"""``Status``: what is known of a server at one moment."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxy_pg import url as urls
from oxy_pg.report import timestamp
from oxy_pg.server.monitor import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from oxy_pg.paths import StateDir
    from oxy_pg.server.monitor.activity import Activity


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    """A database and its size on disk."""

    name: str
    size_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Installation:
    """The PostgreSQL that is used, or would be."""

    provider: str
    version: str
    path: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """
    What is known of a server at one moment; the password is masked.

    ``state`` is ``uninitialized`` (no cluster yet), ``stopped``, ``starting``,
    ``running``, or ``external`` (OXY_DATABASE_URL). What is not known is None.

    ``host`` is the one that has answered, of several in a URL; ``role`` of an external
    server is ``primary`` or ``standby``; ``lag_s`` is how far a standby is behind, in
    seconds: 0 once it has applied all that it has received, otherwise, or while it
    receives nothing, the age of the last transaction that it has applied.
    ``problem`` is what is wrong with a server that runs: its data directory has gone.
    """

    state: str
    url: str | None = None
    host: str | None = None
    port: int | None = None
    role: str | None = None
    lag_s: float | None = None
    pid: int | None = None
    supervisor_pid: int | None = None
    server_version: str | None = None
    data_dir: Path | None = None
    log_dir: Path | None = None
    started_at: dt.datetime | None = None
    uptime_s: float | None = None
    clients: int = 0
    connections: int | None = None
    max_connections: int | None = None
    databases: tuple[Database, ...] = ()
    binaries: Installation | None = None
    keep_alive_s: float | None = None
    crashes_last_hour: int = 0
    last_crash: str | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for ``json.dumps``; an infinite time becomes "inf"."""
        plain = dataclasses.asdict(self)
        for name in ("data_dir", "log_dir"):
            plain[name] = plain[name] and str(plain[name])
        if plain["binaries"]:
            plain["binaries"]["path"] = str(plain["binaries"]["path"])
        plain["started_at"] = self.started_at and timestamp(self.started_at)
        if self.keep_alive_s == float("inf"):
            plain["keep_alive_s"] = "inf"
        return plain


def of_embedded(state: StateDir) -> Status:
    """Return the status of a state directory's server; starts nothing and changes nothing."""
    return of(plain.of_embedded(state))


def of(known: Mapping[str, Any]) -> Status:
    """Return what is known, as ``plain.py`` has it."""
    values = dict(known)
    for name in ("data_dir", "log_dir"):
        values[name] = values[name] and Path(values[name])
    if values["started_at"] is not None:
        values["started_at"] = dt.datetime.fromtimestamp(values["started_at"], dt.UTC)
    values["databases"] = tuple(Database(**one) for one in values["databases"])
    if found := values["binaries"]:
        values["binaries"] = Installation(**{**found, "path": Path(found["path"])})
    return Status(**values)


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at one moment; ``activity`` is None of a server that does not run."""

    status: Status
    activity: Activity | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: those of the status, and ``activity``."""
        return {**self.status.to_dict(), "activity": self.activity and self.activity.to_dict()}


# In recovery all that was received may be applied, and the primary be far ahead nevertheless:
# then nothing is received at the moment.
_LAG = """
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)
             AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END
"""


def of_connection(connection: psycopg.Connection[Any], url: str) -> Status:
    """Return the status of an external server, as far as our role may see it."""
    facts = connection.execute(plain.FACTS).fetchone()
    assert facts is not None
    known = plain.facts(facts, connection.execute(plain.DATABASES).fetchall())
    role, lag = _role_and_lag(connection)
    info = connection.info  # of the host that has answered
    known |= {"url": urls.mask(url), "host": info.host, "port": info.port}
    return of(plain.status("external", **known, role=role, lag_s=lag))


def _role_and_lag(connection: psycopg.Connection[Any]) -> tuple[str | None, float | None]:
    """Return whether it is a primary or a standby, and how many seconds a standby is behind."""
    import psycopg  # not with the module, which `oxy-pg status` of the embedded server needs

    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    assert row is not None
    if not row[0]:
        return "primary", None
    try:
        row = connection.execute(_LAG).fetchone()
    except psycopg.Error:  # a managed service that replicates in another way
        if connection.closed:
            raise
        return "standby", None
    return "standby", None if row is None or row[0] is None else max(0.0, round(float(row[0]), 3))
