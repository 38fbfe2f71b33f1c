"""What makes a server fail that has been set up well: programs, memory, crashes, its password."""

from __future__ import annotations

import contextlib
import glob
import os
from typing import TYPE_CHECKING

import psutil

from oxy_pg.errors import BinariesNotFound, ConfigurationError
from oxy_pg.server.cluster import account, binaries, databases, logs, program
from oxy_pg.server.cluster.socket_connection import Connection, QueryError
from oxy_pg.server.doctor.check import FAIL, PASS, WARN, Check
from oxy_pg.server.monitor import plain
from oxy_pg.server.supervisor.lease import SupervisorGone
from oxy_pg.system import files, process
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir
    from oxy_pg.server.doctor.check import Look

_PATIENCE = 5.0  # seconds for a program or a server that is asked
_PROGRAMS = ("postgres", "initdb")
_SHARED_BUFFERS = 300 * 1024 * 1024  # bytes: what a server of ours may want in huge pages


def _programs(state: StateDir) -> Iterator[Check]:
    """Run the programs: a file that is there may lack a library, a loader or the processor."""
    try:
        user = account.account_for(state)
        found = binaries.find()
    except (BinariesNotFound, ConfigurationError):
        return  # another check says so
    for name in _PROGRAMS if user.can_enter(found.postgres) else ():
        command = [f"{found.bin_dir}/{name}", "--version"]
        try:
            said = program.run(command, user, Deadline(_PATIENCE), process.environment())
        except OSError as error:
            said = str(error)
        if said is not None:
            yield Check(
                "programs",
                FAIL,
                f"{command[0]} does not run: {said.strip() or '(it says nothing)'}",
                remedy(said) or "Name another PostgreSQL 16 with OXY_PG_BIN_DIR.",
            )
            return
    yield Check("programs", PASS, f"{' and '.join(_PROGRAMS)} run")


def _supervisors_python(_: StateDir) -> Iterator[Check]:
    try:
        yield Check("supervisor", PASS, f"runs with {process.python()}")
    except process.NoPython as error:
        yield Check("supervisor", FAIL, "there is no Python to run it with", str(error))


def _huge_pages(_: StateDir) -> Iterator[Check]:
    free = 0
    for line in (files.read_text("/proc/meminfo") or "").splitlines():
        if line.startswith("HugePages_Free:"):
            free = int(line.split()[1])
    limits = [path for path in _huge_page_limits() if _is_small(files.read_text(path))]
    if free and limits:
        yield Check(
            "huge pages",
            WARN,
            f"this machine has {free} free ones, and this container may not use them ({limits[0]})",
            remedy("signal 7"),
        )
    else:
        yield Check("huge pages", PASS, f"{free} free")


def _huge_page_limits() -> list[str]:
    """Return the files with the limits of our control group (cgroup v2, and v1)."""
    found = []
    for line in (files.read_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "hugetlb"}:
            for root in ("/sys/fs/cgroup", f"/sys/fs/cgroup/{controllers or 'unified'}"):
                found += glob.glob(f"{glob.escape(root + path)}/hugetlb.*.max")
                found += glob.glob(f"{glob.escape(root + path)}/hugetlb.*.limit_in_bytes")
    return found


def _is_small(limit: str | None) -> bool:
    text = (limit or "").strip()
    return text.isdecimal() and int(text) < _SHARED_BUFFERS


def _crashes(state: StateDir) -> Iterator[Check]:
    found = logs.crashes(state.supervisor_log)
    if not found:
        yield Check("crashes", PASS, "none in the last hour")
        return
    times = "one crash" if len(found) == 1 else f"{len(found)} crashes"
    yield Check(
        "crashes",
        WARN,
        f"{times} in the last hour; the last one: {found[-1]}",
        remedy(found[-1]) or "`oxy-pg logs` may say why.",
    )


def _password(state: StateDir) -> Iterator[Check]:
    deadline = Deadline(_PATIENCE)
    with contextlib.suppress(SupervisorGone, TimeoutError, OSError, QueryError):
        answers = plain.ask_supervisor(state, deadline)
        if answers["state"] != "ready":
            return
        with Connection(answers["socket_dir"], int(answers["port"]), deadline) as connection:
            if databases.has_our_password(connection, state):
                yield Check("password", PASS, f"the role's is the one in {state.password}")
            else:
                yield Check(
                    "password",
                    FAIL,
                    f"the role's is not the one in {state.password}: an application has changed it",
                    "`oxy-pg restart` sets it back, `oxy-pg password --reset` sets a new one.",
                )


def _zombies(_: StateDir) -> Iterator[Check]:
    """Find processes that have ended and that the container's first process does not collect."""
    found = 0
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.ppid() == 1 and one.status() == psutil.STATUS_ZOMBIE:
                found += one.uids().real == os.geteuid()
    if found:
        yield Check(
            "zombies",
            WARN,
            f"{found} processes have ended, and process 1 does not collect them (wait(2))",
            "They do no harm, until there are very many. In a container: docker run --init.",
        )
    else:
        yield Check("zombies", PASS, "none of ours")


LOOKS: tuple[Look, ...] = (
    ("programs", _programs),
    ("supervisor", _supervisors_python),
    ("huge pages", _huge_pages),
    ("crashes", _crashes),
    ("password", _password),
    ("zombies", _zombies),
)
