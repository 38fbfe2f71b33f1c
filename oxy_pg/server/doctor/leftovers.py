"""What was left behind by servers that were killed."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from oxy_pg import paths
from oxy_pg.server import place
from oxy_pg.server.doctor.check import PASS, WARN, Check
from oxy_pg.server.supervisor import lock
from oxy_pg.system import files, process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir
    from oxy_pg.server.doctor.check import Look

_MB = 1024 * 1024
_SHM = "/dev/shm"  # noqa: S108 - looked at, not written
_HEADER_SEGMENT = 56  # bytes: what PostgreSQL keeps in System V memory, to find its like


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


def _remedy(words: str, command: str) -> str:
    """Return what to do: nothing where a server may be alive that we cannot see."""
    if not process.sees_all():
        return "Leave it unless it is yours: a server in another container may use it."
    return f"{words} {command}".strip()


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
            _remedy(
                "They are small and do no harm.", f"ipcrm {' '.join(f'-m {one}' for one in found)}"
            ),
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
            _remedy("", f"rm {shlex.join(found)}"),
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
    for base in (paths.VAR_LIB, *place.bases(place.choose())):
        try:
            names = sorted(os.listdir(base))
        except OSError:
            continue
        for name in names:
            path = f"{base}/{name}"
            if name.startswith(paths.HOME_PREFIX):
                root = (files.read_text(paths.owner_of_home(path)) or "").strip()
                if paths.StateDir(root).cluster.path != paths.cluster_in(path):
                    yield Check(
                        "left over",
                        WARN,
                        f"the cluster in {path}, whose state directory {root or '?'} has gone",
                        _remedy(
                            "Move it to where it belongs, or remove it:",
                            f"rm -r {shlex.quote(path)}",
                        ),
                    )
            elif name.startswith(paths.TEMPORARY_PREFIX) and not lock.is_held(paths.StateDir(path)):
                yield Check(
                    "left over",
                    WARN,
                    f"the temporary server in {path}, whose supervisor was killed",
                    "The next temporary server's start removes it.",
                )


LOOKS: tuple[Look, ...] = (("left over", _left_over),)
