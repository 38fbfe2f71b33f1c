"""Files that are whole or not there: written aside, synced, renamed; trees walked and synced."""

from __future__ import annotations

import _thread
import errno
import os
import stat
import sys

from oxy_pg.system import cheap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def read_text(path: str, limit: int = 65536) -> str | None:
    """Return the text in ``path``, or None where there is no such file or it is not text."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode()
    except (OSError, UnicodeDecodeError):
        return None


def write_text(
    path: str,
    text: str,
    mode: int = 0o600,
    owner: tuple[int, int] | None = None,
    *,
    sync: bool = True,
) -> None:
    """
    Put ``text`` into ``path``: a crash leaves the old content or the new, never a part.

    ``owner`` is a pair of user and group id. Without ``sync`` that holds for a
    killed process but not for a power failure: for what is synced later on,
    all at once, or can be made again. Raises OSError.
    """
    aside = f"{path}.{os.getpid()}-{_thread.get_ident()}.new"
    with cheap.suppress(FileNotFoundError):  # of a killed process that had our pid
        os.unlink(aside)
    # O_EXCL: root writes into data directories of other users, who must not choose the file.
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            set_mode(descriptor, mode, path)  # with any umask
            found = os.fstat(descriptor)
            # In a user namespace not even to oneself.
            if owner is not None and owner != (found.st_uid, found.st_gid):
                os.fchown(descriptor, *owner)
            file.write(text.encode())
            file.flush()
            if sync:
                os.fsync(descriptor)
        os.rename(aside, path)
    except BaseException:
        with cheap.suppress(OSError):
            os.unlink(aside)
        raise
    if sync:
        sync_file(os.path.dirname(path))


def set_mode(target: int | str, mode: int, path: str) -> None:
    """Give what a descriptor or a path stands for this mode; an OSError names ``path``."""
    if stat.S_IMODE(os.stat(target).st_mode) == mode:
        return  # some file systems refuse even that
    try:
        os.chmod(target, mode)
    except OSError as error:
        words = f"its mode cannot be set to {mode:04o} (chmod: {error.strerror})"
        raise OSError(error.errno, words, path) from error


def make_directory(path: str, mode: int, *, dir_fd: int | None = None) -> None:
    """Make a directory that has this mode with any umask; raises OSError."""
    os.mkdir(path, mode, dir_fd=dir_fd)
    if stat.S_IMODE(os.stat(path, dir_fd=dir_fd).st_mode) != mode:
        os.chmod(path, mode, dir_fd=dir_fd)


def make_directories(path: str, mode: int) -> None:
    """Make a directory and the missing ones above it, if need be; raises OSError."""
    if os.path.isdir(path):
        return
    make_directories(os.path.dirname(path), mode)
    try:
        make_directory(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):  # another process was faster
            raise


def open_or_create(path: str, flags: int, *, dir_fd: int | None = None) -> int:
    """Open a file of ours and no link, created if need be, with any umask; raises OSError."""
    flags |= os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600, dir_fd=dir_fd)
    if os.fstat(descriptor).st_mode & 0o600 != 0o600:
        set_mode(descriptor, 0o600, path)
    return descriptor


def sync_file(path: str) -> None:
    """Make sure that a file or directory has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def walk(top: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below ``top``, directories before what is in them."""
    with os.scandir(top) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path)


def sync_tree(top: str) -> None:
    """
    Make sure that everything below ``top``, and its own name, has reached the disk.

    Something may be removed from it meanwhile. Raises OSError.
    """
    if sys.platform == "linux" and _sync_file_system(top):
        return
    for entry in walk(top):
        with cheap.suppress(FileNotFoundError):
            if not entry.is_symlink():
                sync_file(entry.path)
    sync_file(top)
    sync_file(os.path.dirname(top))


def _sync_file_system(path: str) -> bool:
    """
    Flush the file system of ``path`` (syncfs(2)); False where that cannot be done.

    For the thousand small files of a new cluster it takes a tenth of the time of as many
    fsync(2); PostgreSQL has it for the same purpose (recovery_init_sync_method).
    """
    import ctypes

    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            return True
        error = ctypes.get_errno()
        if error in {errno.ENOSYS, errno.EINVAL, errno.EPERM}:  # forbidden, or not for this one
            return False
        raise OSError(error, os.strerror(error), path)
    finally:
        os.close(descriptor)


_AT_FDCWD = -100  # Linux's: relative to the working directory
_RENAME_EXCHANGE = 2  # renameat2(2); RENAME_SWAP of renamex_np(2) has the same number


def exchange(one: str, other: str) -> bool:
    """
    Let two names of one file system change places: at no moment is either missing.

    Returns False, with nothing done, where the system cannot do that. Raises OSError.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(*paths, _RENAME_EXCHANGE)
        else:
            failed = libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    except AttributeError:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
        return False
    raise OSError(number, os.strerror(number), one)


def size_of_tree(top: str) -> int:
    """Return the bytes on disk of everything below ``top``, but for what goes meanwhile."""
    total = 0
    for entry in walk(top):
        with cheap.suppress(FileNotFoundError):
            total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def remove_tree(top: str) -> None:
    """Remove a directory of ours with everything in it; raises OSError."""
    import shutil

    with cheap.suppress(FileNotFoundError):
        shutil.rmtree(top)


def sqlite_uri(path: str) -> str:
    """Return the URI that opens a SQLite file read-only, whatever bytes its name has."""
    from urllib.parse import quote

    return f"file:{quote(os.fsencode(path))}?mode=ro"
