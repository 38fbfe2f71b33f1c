"""Directories that are watched: the kernel sends SIGIO when something changes in one (Linux)."""

from __future__ import annotations

import fcntl
import os

from oxy_pg.system import cheap

# None of them elsewhere: then nothing is watched.
CREATED = getattr(fcntl, "DN_CREATE", 0)
MODIFIED = getattr(fcntl, "DN_MODIFY", 0)
REMOVED = getattr(fcntl, "DN_DELETE", 0) | getattr(fcntl, "DN_RENAME", 0)


class Changes:
    """The watched directories (F_NOTIFY in fcntl(2))."""

    __slots__ = ("_watched",)

    def __init__(self) -> None:
        self._watched: dict[str, int] = {}

    def watch(self, path: str, what: int) -> bool:
        """
        Watch a directory from now on, if it is there; instead of one that had its name.

        False where the kernel does not tell.
        """
        if not what:
            return False
        with cheap.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if path in self._watched:
                os.close(self._watched[path])
            self._watched[path] = descriptor
            fcntl.fcntl(descriptor, fcntl.F_NOTIFY, what | fcntl.DN_MULTISHOT)
            return True
        return False
