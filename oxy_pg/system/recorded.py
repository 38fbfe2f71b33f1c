"""
Directories that this user has used before: by a random name in a file there, and in a record.

A path would not do: another directory may have that path today. Nobody else knows
the name, so that a directory which was downloaded cannot have it.
"""

from __future__ import annotations

import os

from oxy_pg.system import cheap, private

_LETTERS = frozenset("0123456789abcdef")
_LENGTH = 32
# So many are kept, also of directories that have been removed, or are on a disk that is not there.
_MOST = 1000


def is_recorded(path: str, record: str) -> bool:
    """Whether the name in the file ``path`` is in the directory ``record``; both are ours."""
    name = _name_in(path)
    if name is None:
        return False
    with cheap.suppress(OSError, private.NotPrivate):
        directory = private.open_directory(record)
        try:
            os.close(private.open_file(name, directory))
        finally:
            os.close(directory)
        return True
    return False


def keep(path: str, record: str) -> None:
    """
    Record the directory of the file ``path``, which is written if need be.

    Only for one process at a time. Raises OSError or NotPrivate where there is no
    place for a record.
    """
    directory = private.make_directory(record)
    try:
        name = _name_in(path)
        if name is None:
            name = os.urandom(_LENGTH // 2).hex()
        with cheap.suppress(FileExistsError):
            _write(name, directory, f"{os.path.dirname(path)}\n")
            _prune(directory)
    finally:
        os.close(directory)
    if _name_in(path) is None:
        with cheap.suppress(FileNotFoundError):
            os.unlink(path)
        home = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _write(os.path.basename(path), home, f"{name}\n")
        finally:
            os.close(home)


def forget(path: str, record: str) -> None:
    """Remove the record of a directory."""
    name = _name_in(path)
    if name is not None:
        with cheap.suppress(OSError):
            os.unlink(f"{record}/{name}")


def _name_in(path: str) -> str | None:
    """Return the name in a file; None for another content, a link, or a file of another user."""
    try:
        home = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A link could lead to the file of another directory of ours.
        with open(private.open_file(os.path.basename(path), home), "rb") as file:
            name = file.read(_LENGTH + 2).decode("ascii", "replace").removesuffix("\n")
    except (OSError, private.NotPrivate):
        return None
    finally:
        os.close(home)
    return name if len(name) == _LENGTH and _LETTERS.issuperset(name) else None


def _write(name: str, directory: int, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(private.open_file(name, directory, flags), "wb") as file:
        file.write(os.fsencode(text))


def _prune(directory: int) -> None:
    names = os.listdir(directory)
    if len(names) <= _MOST:
        return
    for name in names:
        with cheap.suppress(OSError, private.NotPrivate):
            with open(private.open_file(name, directory), "rb") as file:
                path = os.fsdecode(file.read(65536)).rstrip("\n")
            if not os.path.isdir(path):
                os.unlink(name, dir_fd=directory)
