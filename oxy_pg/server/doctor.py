"""
Look at everything that a server depends on, and say what is wrong and what to do.

Every check is a value. Nothing is started, changed or removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from oxy_pg import files, paths
from oxy_pg.deadline import Deadline
from oxy_pg.errors import BinariesNotFound, OxyPgError
from oxy_pg.server import account, binaries, cluster, config, lock, logs, postmaster, status
from oxy_pg.server.lease import SupervisorGone
from oxy_pg.server.query import Connection, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oxy_pg.paths import StateDir

PASS, WARN, FAIL = "pass", "warn", "fail"

_NEWEST_MINOR = 14  # of PostgreSQL 16, when this was written; the extra `current` brings it
_OLDEST_PYTHON = (3, 11)
_MB = 1024 * 1024
_SHM = "/dev/shm"  # noqa: S108 - looked at, not written
_HEADER_SEGMENT = 56  # bytes: what PostgreSQL keeps in System V memory, to find its like
# Where flock(2) or fsync(2) may not mean what they say.
_REMOTE = ("nfs", "cifs", "smb", "afs", "9p", "ceph", "glusterfs", "fuse.sshfs", "virtiofs")
_PATIENCE = 5.0  # seconds for whoever is asked


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``pass``, ``warn`` or ``fail``, and why; what to do."""

    name: str
    verdict: str
    finding: str
    remedy: str = ""


def examine(state: StateDir, external_url: str | None = None) -> list[Check]:
    """Return what was found, in the order in which a start would meet it."""
    looks: tuple[tuple[str, Callable[[StateDir], Iterable[Check]]], ...] = (
        ("python", _python),
        ("binaries", _binaries),
        ("state dir", _state_dir),
        ("file system", _file_system),
        ("data directory", _data_dir),
        ("sockets", _socket_paths),
        ("locale", _locale),
        ("shared memory", _shared_memory),
        ("server", _server),
        ("port", _port),
        ("logs", _logs),
        ("left over", _left_over),
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


# --- what a start needs ---


def _python(_: StateDir) -> Iterator[Check]:
    running = f"{sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        yield Check("python", FAIL, running, "Use Python 3.11 or newer.")
    else:
        yield Check("python", PASS, running)


def _binaries(state: StateDir) -> Iterator[Check]:
    try:
        found = binaries.find()
    except BinariesNotFound as error:
        yield Check("binaries", FAIL, *_split(error))
        return
    finding = f"PostgreSQL {found.version} ({found.provider}) in {found.bin_dir}"
    newer = [one for one in binaries.installed() if _minor(one.version) > _minor(found.version)]
    if newer:
        yield Check(
            "binaries",
            WARN,
            f"{finding}; {newer[0].version} is installed in {newer[0].bin_dir}",
            "Unset OXY_PG_BIN_DIR to use the newer one.",
        )
    elif _minor(found.version) < _NEWEST_MINOR:
        yield Check(
            "binaries",
            WARN,
            f"{finding}; 16.{_NEWEST_MINOR} is known, with its bugs and holes mended",
            "pip install 'oxy-pg[current]'",
        )
    else:
        yield Check("binaries", PASS, finding)
    user = account.account_for(state)
    if user.demoted:
        yield Check("account", PASS, f"as root, PostgreSQL runs under the user {user.name}")


def _minor(version: str) -> int:
    return int(version.partition(".")[2] or 0)


def _state_dir(state: StateDir) -> Iterator[Check]:
    root = state.root
    remedy = "Correct its owner or mode, or choose another place with OXY_STATE_DIR."
    if not os.path.lexists(root):
        parent = _existing_parent(root)
        writable = os.access(parent, os.W_OK | os.X_OK)
        finding = f"{root} is not there yet; {parent} is {'' if writable else 'not '}writable"
        yield Check("state dir", PASS if writable else FAIL, finding, "" if writable else remedy)
        return
    if not os.path.isdir(root):
        yield Check("state dir", FAIL, f"{root} is not a directory", "Choose another place.")
        return
    found = os.stat(root)
    mode = stat.S_IMODE(found.st_mode)
    finding = f"{root}, of {account.user_name(found.st_uid)}, mode {mode:04o}"
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield Check("state dir", FAIL, f"{finding}: not writable for us", remedy)
    elif found.st_uid != os.geteuid():
        yield Check("state dir", WARN, f"{finding}: it belongs to somebody else", remedy)
    elif mode & 0o022:
        yield Check("state dir", FAIL, f"{finding}: others may write there", f"chmod go-w {root}")
    else:
        yield Check("state dir", PASS, finding)


def _existing_parent(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _file_system(state: StateDir) -> Iterator[Check]:
    place = _existing_parent(os.path.realpath(state.data_dir))
    kind = _file_system_type(place)
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    finding = f"{kind or 'unknown'}, {free / 1e9:,.1f} GB free"
    if kind.startswith(_REMOTE):
        yield Check(
            "file system",
            WARN,
            f"{finding}: locks and fsync may not hold over a network",
            "Choose a local directory with OXY_STATE_DIR.",
        )
    elif kind in {"tmpfs", "ramfs"}:
        yield Check(
            "file system",
            WARN,
            f"{finding}: it is in memory, and gone after a reboot",
            "Choose a directory on a disk with OXY_STATE_DIR.",
        )
    else:
        yield Check("file system", PASS, finding)
    if free < 100 * _MB:
        verdict, remedy = FAIL, "Make room: PostgreSQL stops when it cannot write its log (WAL)."
    elif free < 1024 * _MB:
        verdict, remedy = WARN, "Make room: PostgreSQL's log (WAL) alone may grow to 1 GB."
    else:
        verdict, remedy = PASS, ""
    yield Check("free space", verdict, f"{free / 1e6:,.0f} MB free in {place}", remedy)


def _file_system_type(path: str) -> str:
    best, kind = "", ""
    for one in psutil.disk_partitions(all=True):
        mount = one.mountpoint.rstrip("/")
        if (path == mount or path.startswith(mount + "/")) and len(mount) >= len(best):
            best, kind = mount, one.fstype
    return kind


def _data_dir(state: StateDir) -> Iterator[Check]:
    if os.path.islink(state.data_dir) and not os.path.exists(state.data_dir):
        yield Check(
            "data directory",
            WARN,
            f"{state.data_dir} points to {os.readlink(state.data_dir)}, which has gone",
            "The next start makes a new, empty cluster. Restore a backup into it.",
        )
    elif not cluster.exists(state):
        yield Check("data directory", PASS, f"{state.data_dir}: no cluster yet")
    else:
        try:
            cluster.check(state, account.account_for(state))
        except OxyPgError as error:
            yield Check("data directory", FAIL, *_split(error))
        else:
            where = os.path.realpath(state.data_dir)
            yield Check("data directory", PASS, f"{where}: PostgreSQL {cluster.version(state)}")


def _socket_paths(state: StateDir) -> Iterator[Check]:
    longest = f"{state.socket_dir}/.s.PGSQL.65535"
    finding = f"{len(os.fsencode(longest))} bytes for a socket in {state.socket_dir}"
    if len(os.fsencode(longest)) > paths.LONGEST_SOCKET:
        yield Check("sockets", FAIL, finding, "Choose a shorter OXY_STATE_DIR.")
    else:
        yield Check("sockets", PASS, finding)


def _locale(_: StateDir) -> Iterator[Check]:
    try:
        answer = subprocess.run(
            ["locale", "-a"], capture_output=True, text=True, check=True, timeout=_PATIENCE
        ).stdout
    except (OSError, subprocess.SubprocessError):
        yield Check("locale", PASS, "this system does not list its locales")
        return
    known = {line.strip().lower().replace("-", "") for line in answer.splitlines()}
    if "c.utf8" in known:
        yield Check("locale", PASS, "C.UTF-8 is there")
    else:
        yield Check(
            "locale",
            WARN,
            "C.UTF-8 is missing: new clusters get C, in which only ASCII letters have cases",
            "Install it (Debian: libc-bin; Red Hat: glibc-minimal-langpack).",
        )


def _shared_memory(_: StateDir) -> Iterator[Check]:
    kind = config.defaults()["dynamic_shared_memory_type"]
    if not os.path.isdir(_SHM):
        yield Check("shared memory", PASS, f"no {_SHM} here; {kind} is used")
        return
    found = os.statvfs(_SHM)
    size = found.f_frsize * found.f_blocks
    finding = f"{_SHM} has {size / 1e6:,.0f} MB; {kind} is used"
    if kind == "mmap":
        yield Check(
            "shared memory",
            WARN,
            f"{finding}, which writes parallel queries' data to the disk",
            "Give the container more: docker run --shm-size=1g",
        )
    else:
        yield Check("shared memory", PASS, finding)


# --- what runs ---


def _server(state: StateDir) -> Iterator[Check]:
    deadline = Deadline(_PATIENCE)
    try:
        answers = status.ask_supervisor(state, deadline)
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
        with Connection(answers["socket_dir"], int(answers["port"]), deadline) as connection:
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
    finding = f"{total / 1e6:,.1f} MB in {len(names)} files in {state.log_dir}"
    if total > config.LOG_TOTAL:
        yield Check("logs", WARN, finding, "The next start removes the oldest.")
    else:
        yield Check("logs", PASS, finding)


# --- what was left by something that was killed ---


def _left_over(state: StateDir) -> Iterator[Check]:
    found = [
        *_abandoned_segments(),
        *_abandoned_memory_files(),
        *_abandoned_sockets(state),
        *_abandoned_directories(),
    ]
    yield from found
    if not found:
        yield Check("left over", PASS, "no segments, sockets or directories of servers that died")


def _abandoned_segments() -> Iterator[Check]:
    table = files.read_text("/proc/sysvipc/shm", limit=_MB)
    if not table:
        return
    header, *lines = table.splitlines()
    found = []
    for line in lines:
        one = dict(zip(header.split(), line.split(), strict=False))
        is_postgresql = int(one["size"]) == _HEADER_SEGMENT
        unused = one["nattch"] == "0" and not psutil.pid_exists(int(one["cpid"]))
        if is_postgresql and unused and os.geteuid() in {0, int(one["uid"])}:
            found.append(one["shmid"])
    if found:
        yield Check(
            "left over",
            WARN,
            f"{len(found)} System V segments of servers that were killed: {' '.join(found)}",
            f"They are small and do no harm. ipcrm {' '.join(f'-m {one}' for one in found)}",
        )


def _abandoned_memory_files() -> Iterator[Check]:
    try:
        names = [name for name in os.listdir(_SHM) if name.startswith("PostgreSQL.")]
    except OSError:
        return
    used = _mapped() if names else set()
    found, size = [], 0
    for path in (f"{_SHM}/{name}" for name in names):
        with contextlib.suppress(OSError):
            status_of_file = os.stat(path)
            if path not in used and os.geteuid() in {0, status_of_file.st_uid}:
                found.append(path)
                size += status_of_file.st_size
    if found:
        yield Check(
            "left over",
            WARN,
            f"{size / 1e6:.1f} MB of shared memory of servers that were killed, in {len(found)} "
            f"files {_SHM}/PostgreSQL.*",
            f"rm {' '.join(found)}",
        )


def _mapped() -> set[str]:
    """Return every file below /dev/shm that some process has mapped."""
    used = set()
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if "/PostgreSQL." in line:
                    used.add(line.split(maxsplit=5)[5])
    return used


def _abandoned_sockets(state: StateDir) -> Iterator[Check]:
    if not lock.is_held(state) and os.path.lexists(state.control):
        yield Check(
            "left over",
            WARN,
            f"the sockets of a supervisor that was killed, in {state.run_dir}",
            "The next start replaces them.",
        )


def _abandoned_directories() -> Iterator[Check]:
    temp_dir = paths.private_temp_dir(os.path.realpath(tempfile.gettempdir()))
    for base in dict.fromkeys((paths.VAR_LIB, temp_dir)):
        try:
            names = sorted(os.listdir(base))
        except OSError:
            continue
        for name in names:
            path = f"{base}/{name}"
            if name.startswith("cluster-"):
                root = (files.read_text(f"{path}/state_dir") or "").strip()
                if os.path.realpath(f"{root}/postgres_data") != f"{path}/postgres_data":
                    yield Check(
                        "left over",
                        WARN,
                        f"the cluster in {path}, whose state directory {root or '?'} has gone",
                        f"Move it to where it belongs, or remove it: rm -r {path}",
                    )
            elif name.startswith("temporary-") and not lock.is_held(paths.StateDir(path)):
                yield Check(
                    "left over",
                    WARN,
                    f"the temporary server in {path}, whose supervisor was killed",
                    "The next temporary server's start removes it.",
                )


# --- somebody else's server ---


def _external(url: str) -> Check:
    from oxy_pg import url as urls
    from oxy_pg.server import external

    try:
        found = external.ensure(url, (), _PATIENCE)
    except OxyPgError as error:
        return Check("external server", FAIL, *_split(error))
    return Check("external server", PASS, f"{urls.mask(found)} (OXY_DATABASE_URL) answers")


def _split(error: OxyPgError) -> tuple[str, str]:
    """Return an error's message as a finding; its advice is part of it."""
    first, _, rest = str(error).partition("\n")
    return first, " ".join(rest.split())
