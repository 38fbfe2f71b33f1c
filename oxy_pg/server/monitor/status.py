"""``Status``: what is known of a server at one moment."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxy_pg import url as urls
from oxy_pg.errors import BinariesNotFound, ConfigurationError, state_of_data
from oxy_pg.facts import DATABASE, MAINTENANCE_DATABASE, ROLE
from oxy_pg.report import timestamp
from oxy_pg.server.cluster import binaries, directory, logs, postmaster
from oxy_pg.server.cluster.socket_connection import QueryError, monitor
from oxy_pg.server.monitor.questions import CLIENTS
from oxy_pg.server.supervisor import lock
from oxy_pg.server.supervisor.lease import Line, SupervisorGone
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.paths import StateDir

_PATIENCE = 5.0  # seconds for a server that runs but does not answer


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
    directory.check_access(state, writes=False)
    known: dict[str, Any] = {"binaries": _installation()}
    if not directory.exists(state):
        if not lock.is_held(state):
            return Status("uninitialized", data_dir=Path(state.data_dir), **known)
        known["problem"] = state_of_data(state.data_dir)
    known |= {"data_dir": Path(state.data_dir), "log_dir": Path(state.log_dir)}
    if crashes := logs.crashes(state.supervisor_log):
        known |= {"crashes_last_hour": len(crashes), "last_crash": crashes[-1]}
    deadline = Deadline(_PATIENCE)
    try:
        answers = ask_supervisor(state, deadline)
    except (TimeoutError, SupervisorGone) as error:
        return _without_supervisor(state, known, is_silent=isinstance(error, TimeoutError))
    known |= {
        "supervisor_pid": int(answers["pid"]),
        "clients": len(answers["leases"].split(",")) if answers["leases"] else 0,
        "keep_alive_s": float(answers["keep_alive"]),
    }
    port = int(answers["port"])
    if answers["state"] != "ready":
        return Status("starting", **known)
    known |= {
        "pid": int(answers["postmaster_pid"]),
        "host": "127.0.0.1",
        "port": port,
        "url": urls.mask(urls.tcp_url(ROLE, "x", port, DATABASE)),
    }
    try:
        with monitor(answers["socket_dir"], port, deadline) as connection:
            known |= _facts(connection.query(_FACTS)[0], connection.query(_DATABASES))
    except QueryError as error:
        # It lets nobody in at the moment, but it is there; 57P: it is starting, or going down.
        return Status("starting" if error.sqlstate.startswith("57P") else "running", **known)
    except OSError:
        return Status("starting", **known)
    return Status("running", **known)


def _without_supervisor(state: StateDir, known: dict[str, Any], *, is_silent: bool) -> Status:
    """Return the status of a server whose supervisor has gone, hangs, or cannot be reached."""
    found = postmaster.read_pid_file(state.data_dir)
    if found is None or found.pid not in postmaster.serving(state.data_dir):
        is_starting = is_silent or lock.is_held(state)
        return Status("starting" if is_starting else "stopped", **known)
    known |= {
        "pid": found.pid,
        "host": "127.0.0.1",
        "port": found.port,
        "url": urls.mask(urls.tcp_url(ROLE, "x", found.port, DATABASE)),
    }
    try:
        with monitor(found.socket_dir, found.port, Deadline(_PATIENCE)) as connection:
            known |= _facts(connection.query(_FACTS)[0], connection.query(_DATABASES))
    except (OSError, QueryError):
        return Status("running" if found.status == "ready" else "starting", **known)
    return Status("running", **known)


def ask_supervisor(state: StateDir, deadline: Deadline) -> dict[str, str]:
    """Return what the supervisor says of itself; raises SupervisorGone, or LockTimeout."""
    line = Line(state, deadline)
    try:
        line.send("status")
        answer = line.receive(deadline).removeprefix("status ")
        return dict(field.split("=", 1) for field in answer.split("\t"))
    finally:
        line.close()


# Works for an ordinary role too, which sees the size of what it may connect to.
_FACTS = f"""
SELECT current_setting('server_version'),
       extract(epoch FROM pg_postmaster_start_time()),
       extract(epoch FROM now() - pg_postmaster_start_time()),
       (SELECT count(*) FROM pg_stat_activity WHERE {CLIENTS}),
       current_setting('max_connections')
"""
_DATABASES = f"""
SELECT datname, pg_database_size(oid) FROM pg_database
 WHERE NOT datistemplate AND datname <> '{MAINTENANCE_DATABASE}' AND datallowconn
   AND has_database_privilege(oid, 'CONNECT')
 ORDER BY datname
"""


# In recovery all that was received may be applied, and the primary be far ahead nevertheless:
# then nothing is received at the moment.
_LAG = """
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)
             AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END
"""


def _facts(row: tuple[Any, ...], databases: list[tuple[Any, ...]]) -> dict[str, Any]:
    version, started_at, uptime, connections, max_connections = row
    return {
        "server_version": str(version).split()[0],
        "started_at": dt.datetime.fromtimestamp(float(started_at), dt.UTC),
        "uptime_s": round(float(uptime), 3),
        "connections": int(connections),
        "max_connections": int(max_connections),
        "databases": tuple(Database(str(name), int(size)) for name, size in databases),
    }


def _installation() -> Installation | None:
    try:
        found = binaries.find()
    except (BinariesNotFound, ConfigurationError):
        return None
    return Installation(found.provider, found.version, Path(found.bin_dir))


def of_connection(connection: psycopg.Connection[Any], url: str) -> Status:
    """Return the status of an external server, as far as our role may see it."""
    facts = connection.execute(_FACTS).fetchone()
    assert facts is not None
    known = _facts(facts, connection.execute(_DATABASES).fetchall())
    role, lag = _role_and_lag(connection)
    info = connection.info  # of the host that has answered
    place: dict[str, Any] = {"url": urls.mask(url), "host": info.host, "port": info.port}
    return Status("external", **place, role=role, lag_s=lag, **known)


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
