"""
Look at everything that a server depends on, and say what is wrong and what to do.

Every check is a value. Nothing is started, changed or removed.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import psutil

from oxy_pg.errors import OxyPgError
from oxy_pg.server.cluster import config, logs, postmaster
from oxy_pg.server.cluster.socket_connection import QueryError, monitor
from oxy_pg.server.doctor import environment, health, leftovers
from oxy_pg.server.doctor.check import FAIL, PASS, WARN, Check
from oxy_pg.server.monitor import plain
from oxy_pg.server.supervisor import lock
from oxy_pg.server.supervisor.lease import SupervisorGone
from oxy_pg.system import files
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir

_PATIENCE = 5.0  # seconds for an answer


def examine(state: StateDir, external_url: str | None = None) -> list[Check]:
    """Return what was found, in the order in which a start would meet it."""
    looks = (
        *environment.LOOKS,
        ("server", _server),
        ("port", _port),
        ("logs", _logs),
        *health.LOOKS,
        *leftovers.LOOKS,
    )
    found: list[Check] = []
    for name, look in looks:
        try:
            found += look(state)
        except (OSError, psutil.Error, OxyPgError) as error:
            found.append(Check(name, WARN, f"could not be looked at: {error}"))
    if external_url is not None:
        found.append(_external(external_url))
    return found


# --- what runs ---


def _server(state: StateDir) -> Iterator[Check]:
    deadline = Deadline(_PATIENCE)
    try:
        answers = plain.ask_supervisor(state, deadline)
    except (OxyPgError, TimeoutError):
        yield Check(
            "server",
            FAIL,
            f"the supervisor does not answer: {lock.holder(state)}",
            "If it hangs, end that process; PostgreSQL is shut down with it. Then start again.",
        )
        return
    except SupervisorGone:
        yield _without_supervisor(state)
        return
    finding = f"supervisor {answers['pid']}, postmaster {answers['postmaster_pid']}"
    if answers["state"] != "ready":
        yield Check("server", WARN, f"{finding}: {answers['state']}", "`oxy-pg logs --follow`")
        return
    try:
        with monitor(answers["socket_dir"], int(answers["port"]), deadline) as connection:
            served = str(connection.query("SHOW data_directory")[0][0])
    except (OSError, QueryError) as error:
        yield Check("server", FAIL, f"{finding}: no answer ({error})", "`oxy-pg logs` may say why.")
        return
    if not os.path.samefile(served, state.data_dir):
        yield Check("server", FAIL, f"{finding}: it serves {served}", "`oxy-pg restart`")
    else:
        yield Check("server", PASS, f"{finding}: it answers, and serves this data directory")


def _without_supervisor(state: StateDir) -> Check:
    serving = postmaster.serving(state.data_dir) if os.path.isdir(state.data_dir) else []
    if lock.is_held(state):
        return Check(
            "server",
            WARN,
            f"not running; the lock is held by {lock.holder(state)}",
            "If that process hangs, end it; the lock goes with it.",
        )
    if serving:
        pids = ", ".join(str(pid) for pid in serving)
        return Check(
            "server",
            WARN,
            f"PostgreSQL runs without a supervisor (processes {pids})",
            "The next start takes it over, or waits for its end; `oxy-pg stop` stops it.",
        )
    return Check("server", PASS, "not running")


def _port(state: StateDir) -> Iterator[Check]:
    port = (files.read_text(state.port) or "").strip()
    if not port.isdecimal() or not 0 < int(port) < 65536:
        yield Check("port", PASS, "none is remembered; the first start picks one")
        return
    if not _is_taken(int(port)):
        yield Check("port", PASS, f"{port} is free for the next start")
        return
    serving = postmaster.serving(state.data_dir) if os.path.isdir(state.data_dir) else []
    owner = _listener(int(port))
    if owner in serving:
        yield Check("port", PASS, f"{port} is ours")
    else:
        yield Check(
            "port",
            WARN,
            f"{port}, the port of last time, is taken by {_name(owner)}",
            "The next start picks another one; URLs that were noted down will not fit.",
        )


def _is_taken(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _listener(port: int) -> int:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            for one in process.net_connections("tcp4"):
                if one.status == psutil.CONN_LISTEN and one.laddr.port == port:
                    return process.pid
    return 0


def _name(pid: int) -> str:
    try:
        return f"process {pid} ({psutil.Process(pid).name()})" if pid else "another user's process"
    except psutil.Error:
        return f"process {pid}"


def _logs(state: StateDir) -> Iterator[Check]:
    names = logs.names(state.log_dir)
    total = sum(os.stat(name).st_size for name in names)
    finding = f"{total / 1e6:,.1f} MB in {many(len(names), 'file')} in {state.log_dir}"
    if total > config.LOG_TOTAL:
        yield Check("logs", WARN, finding, "The next start removes the oldest.")
    else:
        yield Check("logs", PASS, finding)


# --- an external server ---


def _external(url: str) -> Check:
    from oxy_pg import url as urls
    from oxy_pg.server import external

    try:
        found = external.ensure(url, (), _PATIENCE)
    except OxyPgError as error:
        return Check.failed("external server", error)
    return Check("external server", PASS, f"{urls.mask(found)} (OXY_DATABASE_URL) answers")
