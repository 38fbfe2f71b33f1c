"""
A directory tree in one file: quick to write and to sync, checked while it is unpacked.

What stands in it twice is stored once. The databases of a new cluster are
copies of each other, so its archive is a third of its size.
"""

from __future__ import annotations

import errno
import os
import stat

from oxy_pg.system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxy_pg.server.cluster.account import Account

_MAGIC = "oxy_pg archive 1"
_BLOCK = 4096  # contents begin at multiples of it: only whole blocks can be shared between files
_FIRST_LINE = 64  # bytes
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Damaged(Exception):
    """The file is not what ``write()`` has left; the argument says what was noticed."""


def write(tree: str, archive: int) -> None:
    """
    Put the files and directories below ``tree`` into an open, empty file, and do not sync it.

    Nobody may change the tree meanwhile. As root it may belong to another
    user: no link in it is followed. Raises OSError.
    """
    index, contents, end = [], [], 0
    seen: dict[tuple[str, int], list[tuple[bytes, int]]] = {}
    for name, content in _walk(tree):
        if content is None:
            index.append(f"/ 0 {name}\n")
            continue
        alike = seen.setdefault((os.path.basename(name), len(content)), [])
        at = next((known for other, known in alike if other == content), end)
        if at == end:
            end += -(-len(content) // _BLOCK) * _BLOCK
            alike.append((content, at))
            contents.append((content, at))
        index.append(f"{at} {len(content)} {name}\n")
    text = "".join(index).encode()
    begin = -(-(_FIRST_LINE + len(text)) // _BLOCK) * _BLOCK
    first = f"{_MAGIC} {len(text)} {begin} {begin + end}\n".encode().ljust(_FIRST_LINE)
    os.ftruncate(archive, begin + end)
    for content, at in ((first + text, -begin), *contents):
        if os.pwrite(archive, content, begin + at) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _walk(tree: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield every directory below ``tree``, and every file with its content."""
    for directory, _, names, descriptor in os.fwalk(tree):
        below = directory[len(tree) + 1 :]
        if below:
            yield below, None
        for name in names:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
            with open(file, "rb", buffering=0) as opened:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file", f"{directory}/{name}")
                yield f"{below}/{name}" if below else name, opened.read()


def unpack(
    archive: int,
    target: str,
    account: Account,
    is_expected: Callable[[str, bool], bool],
    without: tuple[str, ...] = (),
) -> None:
    """
    Make the new directory ``target`` what an open archive holds, for ``account`` alone.

    ``is_expected`` is asked of every name, and whether it is a directory's;
    one that leads out of ``target`` is refused before. Files whose names end
    like one of ``without`` are left out. It is not synced. Raises
    Damaged as soon as something is wrong with the archive, and OSError;
    ``target`` may then be there in part.
    """
    directories = [target]
    try:
        begin, index = _index(archive)
        files.make_directory(target, 0o700)
        copy = _Copy(archive)
        for line in index:
            at, size, name = line.split(" ", 2)
            _check_name(name, is_expected, is_directory=at == "/")
            if at == "/":
                files.make_directory(f"{target}/{name}", 0o700)
                directories.append(f"{target}/{name}")
            elif not name.endswith(without):
                # Not open(), which takes as long as the rest: there are a thousand of them.
                file = os.open(f"{target}/{name}", _NEW, 0o600)
                try:
                    if os.fstat(file).st_mode & 0o777 != 0o600:  # an umask that is in the way
                        files.set_mode(file, 0o600, name)
                    if account.demoted:
                        os.fchown(file, account.uid, account.gid)
                    copy.to(file, begin + int(at), int(size))
                finally:
                    os.close(file)
    except ValueError as error:
        raise Damaged(str(error)) from error
    except OSError as error:
        # Nonsense in it.
        if error.errno in {errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.ENOTDIR}:
            raise Damaged(str(error)) from error
        raise
    # From the inside out, when nothing more is to be created: the new owner could put links in
    # the way of root.
    for path in reversed(directories):
        account.own(path)


def _check_name(name: str, is_expected: Callable[[str, bool], bool], *, is_directory: bool) -> None:
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or not name.isprintable():
        raise ValueError(f"it holds the name {name!r}, which leads elsewhere")
    if not is_expected(name, is_directory):
        raise ValueError(f"it holds {name!r}, which is not a part of a new cluster")


def _index(archive: int) -> tuple[int, list[str]]:
    """Return where the contents begin, and the lines of the index."""
    first = os.pread(archive, _FIRST_LINE, 0).decode()
    magic, size, begin, total = first.rsplit(maxsplit=3)
    if magic != _MAGIC or not 0 < int(size) < int(begin) <= int(total):
        raise ValueError("its first line is not an archive's")
    text = os.pread(archive, int(size), _FIRST_LINE)
    if len(text) != int(size) or os.fstat(archive).st_size != int(total):
        raise ValueError("it is not complete")
    return int(begin), text.decode().splitlines()


class _Copy:
    """Copies parts of the archive; the blocks are shared where the file system can."""

    def __init__(self, archive: int) -> None:
        self._archive = archive
        self._share = hasattr(os, "copy_file_range")  # not on macOS

    def to(self, target: int, at: int, size: int) -> None:
        end = at + size
        while at < end:
            if self._share:
                try:
                    done = os.copy_file_range(self._archive, target, end - at, at)
                except OSError as error:
                    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                        raise
                    self._share = False  # across file systems, or a kernel that does not know it
                    continue
            else:
                done = os.write(target, os.pread(self._archive, min(end - at, 1 << 20), at))
            if not done:
                raise ValueError("it is not complete")
            at += done
