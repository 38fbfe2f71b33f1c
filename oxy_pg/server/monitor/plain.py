"""
What is known of a server at one moment, as plain values: what ``status --json`` prints.

``status.py`` and ``activity.py`` make values of their classes of it. To make
those classes takes longer than to ask all that is asked here, and scripts and
prompts ask again and again: no dataclasses, datetime, json, pathlib or re here,
nor in what this imports.
"""

from __future__ import annotations

from oxy_pg import url as urls
from oxy_pg.errors import BinariesNotFound, ConfigurationError, state_of_data
from oxy_pg.facts import DATABASE, MAINTENANCE_DATABASE, ROLE
from oxy_pg.server.cluster import binaries, directory, logs, postmaster
from oxy_pg.server.cluster.socket_connection import QueryError, monitor
from oxy_pg.server.monitor.questions import CLIENTS
from oxy_pg.server.supervisor import lock
from oxy_pg.server.supervisor.lease import Line, SupervisorGone
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.socket_connection import Connection

PATIENCE = 5.0  # seconds for a server that runs but does not answer

# The fields of a Status, in order, and what they are where nothing else is known.
_STATUS: dict[str, Any] = {
    "state": "",
    "url": None,
    "host": None,
    "port": None,
    "role": None,
    "lag_s": None,
    "pid": None,
    "supervisor_pid": None,
    "server_version": None,
    "data_dir": None,
    "log_dir": None,
    "started_at": None,  # seconds since 1970
    "uptime_s": None,
    "clients": 0,
    "connections": None,
    "max_connections": None,
    "databases": [],
    "binaries": None,
    "keep_alive_s": None,
    "crashes_last_hour": 0,
    "last_crash": None,
    "problem": None,
}


def status(state: str, **known: Any) -> dict[str, Any]:
    """Return all fields of a Status, in order."""
    return {**_STATUS, "state": state, **known}


def document(known: dict[str, Any], activity: dict[str, Any] | None) -> dict[str, Any]:
    """Return what ``Observation.to_dict()`` returns of the same."""
    found = {**known, "activity": activity}
    if found["started_at"] is not None:
        found["started_at"] = _timestamp(found["started_at"])
    if found["keep_alive_s"] == float("inf"):
        found["keep_alive_s"] = "inf"
    return found


def _timestamp(moment: float) -> str:
    """Spell a time as ``report.timestamp()`` does."""
    import time

    seconds, micros = divmod(round(moment * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}Z"


def of_embedded(
    state: StateDir, then: Callable[[Connection, int], None] | None = None
) -> dict[str, Any]:
    """
    Return the status of a state directory's server; starts nothing and changes nothing.

    ``then`` is called with the connection and the port of one that runs.
    """
    directory.check_access(state, writes=False)
    known: dict[str, Any] = {"binaries": _installation()}
    if not directory.exists(state):
        if not lock.is_held(state):
            return status("uninitialized", data_dir=state.data_dir, **known)
        known["problem"] = state_of_data(state.data_dir)
    known |= {"data_dir": state.data_dir, "log_dir": state.log_dir}
    if crashes := logs.crashes(state.supervisor_log):
        known |= {"crashes_last_hour": len(crashes), "last_crash": crashes[-1]}
    deadline = Deadline(PATIENCE)
    try:
        answers = ask_supervisor(state, deadline)
    except (TimeoutError, SupervisorGone) as error:
        return _without_supervisor(state, known, then, is_silent=isinstance(error, TimeoutError))
    known |= {
        "supervisor_pid": int(answers["pid"]),
        "clients": len(answers["leases"].split(",")) if answers["leases"] else 0,
        "keep_alive_s": float(answers["keep_alive"]),
    }
    port = int(answers["port"])
    if answers["state"] != "ready":
        return status("starting", **known)
    known |= {
        "pid": int(answers["postmaster_pid"]),
        "host": "127.0.0.1",
        "port": port,
        "url": urls.mask(urls.tcp_url(ROLE, "x", port, DATABASE)),
    }
    try:
        with monitor(answers["socket_dir"], port, deadline) as connection:
            known |= facts(connection.query(FACTS)[0], connection.query(DATABASES))
            if then is not None:
                then(connection, port)
    except QueryError as error:
        # It lets nobody in at the moment, but it is there; 57P: it is starting, or going down.
        return status("starting" if error.sqlstate.startswith("57P") else "running", **known)
    except OSError:
        return status("starting", **known)
    return status("running", **known)


def _without_supervisor(
    state: StateDir,
    known: dict[str, Any],
    then: Callable[[Connection, int], None] | None,
    *,
    is_silent: bool,
) -> dict[str, Any]:
    """Return the status of a server whose supervisor has gone, hangs, or cannot be reached."""
    found = postmaster.read_pid_file(state.data_dir)
    if found is None or found.pid not in postmaster.serving(state.data_dir):
        is_starting = is_silent or lock.is_held(state)
        return status("starting" if is_starting else "stopped", **known)
    known |= {
        "pid": found.pid,
        "host": "127.0.0.1",
        "port": found.port,
        "url": urls.mask(urls.tcp_url(ROLE, "x", found.port, DATABASE)),
    }
    try:
        with monitor(found.socket_dir, found.port, Deadline(PATIENCE)) as connection:
            known |= facts(connection.query(FACTS)[0], connection.query(DATABASES))
            if then is not None:
                then(connection, found.port)
    except (OSError, QueryError):
        return status("running" if found.status == "ready" else "starting", **known)
    return status("running", **known)


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
FACTS = f"""
SELECT current_setting('server_version'),
       extract(epoch FROM pg_postmaster_start_time()),
       extract(epoch FROM now() - pg_postmaster_start_time()),
       (SELECT count(*) FROM pg_stat_activity WHERE {CLIENTS}),
       current_setting('max_connections')
"""
DATABASES = f"""
SELECT datname, pg_database_size(oid) FROM pg_database
 WHERE NOT datistemplate AND datname <> '{MAINTENANCE_DATABASE}' AND datallowconn
   AND has_database_privilege(oid, 'CONNECT')
 ORDER BY datname
"""


def facts(row: tuple[Any, ...], databases: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the answers to FACTS and DATABASES as fields of a Status."""
    version, started_at, uptime, connections, max_connections = row
    return {
        "server_version": str(version).split()[0],
        "started_at": float(started_at),
        "uptime_s": round(float(uptime), 3),
        "connections": int(connections),
        "max_connections": int(max_connections),
        "databases": [{"name": str(name), "size_bytes": int(size)} for name, size in databases],
    }


def _installation() -> dict[str, str] | None:
    try:
        found = binaries.find()
    except (BinariesNotFound, ConfigurationError):
        return None
    return {"provider": found.provider, "version": found.version, "path": found.bin_dir}
