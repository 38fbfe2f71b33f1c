"""
Where temporary servers live: in memory where there is room, else in the temporary directory.

What is in memory (on a tmpfs) counts as used memory, of the machine and of the container: the
out-of-memory killer ends programs for it. So there has to be room in each of them, and enough
is left for the programs.
"""

from __future__ import annotations

import os
import sys
import tempfile

from oxy_pg import paths
from oxy_pg.errors import ConfigurationError
from oxy_pg.system import files, machine

CHOSEN_BY = "OXY_PG_TEMP_DIR"
MEMORY = "/dev/shm"  # noqa: S108 - only directories of ours in it are written
_TEMP_DIR = ("TMPDIR", "TEMP", "TMP")  # what tempfile.gettempdir() reads

_MB = 1024 * 1024
# The databases that are not dropped yet (512 MB), the WAL (config.IN_MEMORY), the log, the
# cluster, and those in use take less than 1 GB, unless the tests write more.
NEEDED = 1536 * _MB
_SCARCE = 512 * _MB
_FILES_NEEDED = 100_000  # of three hundred for each database
_FIRST_USER = 1000  # as systemd was built (SYSTEM_UID_MAX)


class Place:
    """
    A directory for temporary servers: a value.

    ``why`` it was chosen, in words; ``otherwise`` is used where it turns out to be unusable.
    """

    __slots__ = ("directory", "otherwise", "why")

    def __init__(self, directory: str, why: str, *, otherwise: str = "") -> None:
        self.directory = directory
        self.why = why
        self.otherwise = otherwise

    def __str__(self) -> str:
        where = "in memory, " if machine.is_memory(self.directory) else ""
        return f"{where}{self.directory} ({self.why})"

    @property
    def base(self) -> str:
        """This user's own directory in it; ConfigurationError where there cannot be one."""
        return paths.private_temp_dir(self.directory)


def choose(named: str | None = None, by: str = "", *, is_large: bool = False) -> Place:
    """
    Choose the place for temporary servers: the ``named`` one, or OXY_PG_TEMP_DIR, or by itself.

    TMPDIR, where it is set, is a choice, too. What ``is_large`` is never put
    into memory unless that was named. Touches nothing.
    """
    for given, what in ((named, by), (os.environ.get(CHOSEN_BY), CHOSEN_BY)):
        if given:
            return Place(os.path.realpath(os.path.expanduser(given)), what)
    for name in _TEMP_DIR:
        if os.environ.get(name):
            return Place(_temporary_directory(), name)
    if is_large or sys.platform != "linux":
        return Place(_temporary_directory(), "the temporary directory")
    against = _against(MEMORY)
    if against:
        return Place(_temporary_directory(), against)
    why = f"{room(MEMORY) / 1e9:,.1f} GB of room"
    return Place(MEMORY, why, otherwise=_temporary_directory())


def _temporary_directory() -> str:
    try:
        return os.path.realpath(tempfile.gettempdir())
    except FileNotFoundError:  # none can be written: what is created in it will say so
        return "/tmp"  # noqa: S108


def bases(place: Place) -> list[str]:
    """Return this user's own directories in all places where temporary servers may be or were."""
    found = []
    for one in (place.directory, MEMORY, _temporary_directory()):
        try:
            found.append(paths.private_temp_dir(one))
        except (OSError, ConfigurationError):
            continue  # there is none, or other users have taken each name
    return list(dict.fromkeys(found))


def room(path: str) -> int:
    """Return how many bytes a tmpfs can take: what is free there, at most half of the memory."""
    found = os.statvfs(path)
    return min(found.f_bavail * found.f_frsize, machine.available() // 2)


def is_scarce(path: str) -> bool:
    """Whether ``path`` is in memory, and there is little room left."""
    try:
        return machine.is_memory(path) and room(path) < _SCARCE
    except OSError:
        return False


def _against(path: str) -> str:
    """Return what speaks against a directory in memory; "" if nothing does."""
    try:
        found = os.statvfs(path)
        if not machine.is_memory(path):
            return f"{path} is not a tmpfs"
        if not os.access(path, os.W_OK | os.X_OK):
            return f"{path} is not writable"
        left = room(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if left < NEEDED:
        return f"{path} has {left / 1e9:,.1f} GB of room, and {NEEDED / 1e9:,.1f} GB are needed"
    if found.f_files and found.f_favail < _FILES_NEEDED:
        return f"{path} has room for {found.f_favail} files, and {_FILES_NEEDED} are needed"
    if is_emptied_at_logout(os.geteuid()):
        return f"systemd empties {path} when a user logs out"
    return ""


def is_emptied_at_logout(
    uid: int, run: str = "/run/systemd", groups: str = "/proc/self/cgroup"
) -> bool:
    """
    Whether a user's files in /dev/shm may be removed while we run (RemoveIPC, logind.conf(5)).

    systemd removes them at the end of the user's last session. A process in a
    session keeps it from ending; that of a service, such as a CI runner, does not.
    """
    # Its own directory is there where it runs (sd_booted(3)); that of users may be in an image.
    if uid < _FIRST_USER or not os.path.isdir(f"{run}/system"):
        return False
    return "/user.slice/" not in (files.read_text(groups) or "")
