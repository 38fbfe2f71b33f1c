"""Everything that oxy_pg keeps on a machine for this user: found, with its size, and removed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from typing import TYPE_CHECKING

import psutil

from oxy_pg import paths
from oxy_pg.server.cluster import account, directory
from oxy_pg.server.supervisor import shutdown
from oxy_pg.server.temporary import cached, sweep
from oxy_pg.system import files
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir

_STOP_TIMEOUT = 120.0  # seconds for each server

STATE, CACHE, PROGRAMS = "databases", "cache", "programs"


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A file or directory of oxy_pg: what for, where, and its bytes on disk."""

    what: str  # STATE, CACHE or PROGRAMS
    path: str
    size: int


def survey(state: StateDir) -> list[Kept]:
    """
    Return what `oxy-pg uninstall` removes: of this state directory, and of the user's others.

    Those are the cache, and the PostgreSQLs that oxy_pg has copied or that
    were added. Changes nothing. Other state directories are not looked for.
    Raises ConfigurationError for a state directory that we may not use.
    """
    directory.check_access(state)
    return [Kept(what, path, _size(path)) for what, path in _all(state)]


def _all(state: StateDir) -> Iterator[tuple[str, str]]:
    if os.path.isdir(state.root) and not state.strangers():
        home = [] if state.home == state.root else [state.home]
        yield from ((STATE, path) for path in (*home, *state.own()))
    cache = paths.cache_dir()
    yield from ((CACHE, path) for path in _named(cache, "template-", ".missed-", ".template-"))
    yield from ((CACHE, path) for path in _named(cache, "pytest"))
    temp_dir = paths.private_temp_dir(os.path.realpath(tempfile.gettempdir()))
    records = paths.records_dir(), paths.state_dirs_dir(), f"{temp_dir}/templates"
    for place in records:
        yield from ((CACHE, path) for path in _named(place, ""))
    if os.geteuid() == 0:
        place = account.shared_place(cache)
        yield from ((PROGRAMS, path) for path in _named(place, "postgresql-"))
    yield from ((PROGRAMS, path) for path in _named(paths.binaries_dir(), ""))


def _named(place: str, *prefixes: str) -> list[str]:
    try:
        names = os.listdir(place)
    except OSError:
        return []
    return [f"{place}/{name}" for name in sorted(names) if name.startswith(prefixes)]


def _size(path: str) -> int:
    if os.path.isdir(path) and not os.path.islink(path):
        return files.size_of_tree(path)
    return os.lstat(path).st_blocks * 512


def remove(state: StateDir, found: list[Kept]) -> list[Kept]:
    """
    Stop the servers, and remove what ``survey()`` has found; return what stays.

    Programs stay that the servers of other state directories run. Raises
    what ``Server.destroy()`` raises, and OSError.
    """
    shutdown.destroy(state, Deadline(_STOP_TIMEOUT))
    for server in cached():
        shutdown.stop(server, "immediate", Deadline(_STOP_TIMEOUT))
    sweep()
    running = _running_programs()
    staying = []
    for kept in found:
        if kept.what == PROGRAMS and any(one.startswith(f"{kept.path}/") for one in running):
            staying.append(kept)
        elif kept.what != STATE:
            directory.remove(kept.path)
    for place in {os.path.dirname(kept.path) for kept in found if kept.what != STATE}:
        _remove_if_empty(place)
    return staying


def _remove_if_empty(place: str) -> None:
    with contextlib.suppress(OSError):  # something else is in it
        os.rmdir(place)
        parent = os.path.dirname(place)
        if os.path.basename(parent).startswith("oxy_pg"):
            os.rmdir(parent)


def _running_programs() -> set[str]:
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.add(process.exe())
    return found
