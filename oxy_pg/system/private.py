"""
Directories and files that no other user can change, reached without following links.

A path is only as trustworthy as every directory that it passes through, and a
check of it may be out of date when it is used. So what matters is opened once,
checked through its descriptor, and used through that descriptor.
"""

from __future__ import annotations

import os
import stat

from oxy_pg.system import cheap, files

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# macOS has no O_PATH, and both have these two.
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotPrivate(Exception):
    """Another user could have written this; ``reason`` says why it is believed."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def check(found: os.stat_result, path: str, owner: int | None = None) -> None:
    """Raise NotPrivate unless only ``owner`` (default: we), and root, can write this."""
    wanted = os.geteuid() if owner is None else owner
    if found.st_uid != wanted:
        raise NotPrivate(path, f"belongs to the user with the id {found.st_uid}, not {wanted}")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise NotPrivate(path, f"is writable for other users (mode {mode:04o})")


def open_directory(path: str, *, dir_fd: int | None = None, owner: int | None = None) -> int:
    """Open a directory that only ``owner`` can write; raises NotPrivate or OSError."""
    descriptor = os.open(path, _DIRECTORY, dir_fd=dir_fd)
    try:
        check(os.fstat(descriptor), path, owner)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_directory(path: str, mode: int = 0o700) -> int:
    """
    Open a directory of ours, created with this mode if it does not exist.

    Missing parents are created, too, but only below a directory that is ours: as root we
    do not write into another user's. Raises NotPrivate or OSError.
    """
    try:
        return open_directory(path)
    except FileNotFoundError:
        pass
    parent = os.path.dirname(path)
    above = make_directory(parent, mode) if not os.path.lexists(parent) else _open_parent(parent)
    try:
        with cheap.suppress(FileExistsError):  # another process of ours was faster
            files.make_directory(os.path.basename(path), mode, dir_fd=above)
        return open_directory(os.path.basename(path), dir_fd=above)
    finally:
        os.close(above)


def _open_parent(path: str) -> int:
    """Open the directory that a new one is created in: ours, or open to all and sticky (/tmp)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() or (found.st_uid == 0 and found.st_mode & stat.S_ISVTX):
        return descriptor
    os.close(descriptor)
    raise NotPrivate(path, f"belongs to the user with the id {found.st_uid}")


def open_file(name: str, dir_fd: int, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Open a regular file of ours in an open directory; raises NotPrivate or OSError."""
    # O_NONBLOCK: a pipe in its place must not be waited for.
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(name, flags, mode, dir_fd=dir_fd)
    try:
        if flags & os.O_EXCL:
            files.set_mode(descriptor, mode, name)  # with any umask
        _check_file(os.fstat(descriptor), name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_file(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(name, "is not a regular file")
    if found.st_nlink > 1:
        raise NotPrivate(name, "has another name elsewhere")
    check(found, name)
