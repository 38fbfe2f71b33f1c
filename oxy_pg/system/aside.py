"""
A large file that is written under another name first, and then gets its own.

What a killed process has left is recognised by its name, and by the lock that
the process no longer holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from typing import TYPE_CHECKING

from oxy_pg.system import files

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def written(directory: str, label: str, ending: str) -> Iterator[str]:
    """
    Give the path of a new file in a directory, which is removed unless it was renamed.

    Files that killed processes have left there, with the same ``ending``, are
    removed first. Only the owner may read it. Raises OSError.
    """
    _sweep(directory, ending)
    path, descriptor = _new(directory, label, ending)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _new(directory: str, label: str, ending: str) -> tuple[str, int]:
    """Return the path of a new file, and the descriptor that holds its lock."""
    while True:
        path = f"{directory}/.{label[:60]}.{secrets.token_hex(4)}{ending}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process's sweep removes it
            os.close(descriptor)
            continue
        except OSError:  # a file system without locks; there nothing is swept
            return path, descriptor
        if os.path.lexists(path):
            return path, descriptor
        os.close(descriptor)


def _sweep(directory: str, ending: str) -> None:
    """Remove what killed processes have left; a running one holds the lock on its file."""
    with contextlib.suppress(OSError):
        parts = re.compile(r"\..+\.[0-9a-f]{8}" + re.escape(ending))
        for name in os.listdir(directory):
            if parts.fullmatch(name):
                _remove_if_left(f"{directory}/{name}")


def _remove_if_left(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def sqlite_changes(path: str) -> list[str]:
    """
    Return the files that SQLite would take for changes of a new database of this name.

    A write-ahead log or a journal of another database, which was there before or is
    still open: SQLite would write it into the new one (https://www.sqlite.org/howtocorrupt.html).
    """
    found = [f"{path}-wal"] if os.path.lexists(f"{path}-wal") else []
    with contextlib.suppress(FileNotFoundError):
        found += [f"{path}-journal"] * (os.path.getsize(f"{path}-journal") > 0)
    return found


def put(part: str, path: str, *, replace: bool) -> None:
    """
    Give a file that is complete and synced its name, atomically.

    Raises OSError: FileExistsError for a name that is taken, unless ``replace``.
    """
    if replace:
        os.replace(part, path)
    else:
        _rename(part, path)
    files.sync_file(os.path.dirname(path))


def _rename(part: str, path: str) -> None:
    """Rename without replacing: link(2) refuses a name that is taken, rename(2) does not."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(part, path)
    else:
        os.unlink(part)
