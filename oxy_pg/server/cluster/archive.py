"""
A directory tree in one file: quick to write and to sync, checked while it is unpacked.

What stands in it twice is stored once. The databases of a new cluster are
copies of each other, so its archive is a third of its size.
"""

from __future__ import annotations

import errno
import os

from oxy_pg.system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.server.cluster.account import Account

_MAGIC = "oxy_pg archive 1"
_BLOCK = 4096  # contents begin at multiples of it: only whole blocks can be shared between files
_FIRST_LINE = 64  # bytes


class Damaged(Exception):
    """The file is not what ``write()`` has left."""


def write(tree: str, path: str) -> None:
    """
    Put the files and directories below ``tree`` into the new file ``path``, and do not sync it.

    Nobody may change the tree meanwhile. Raises OSError.
    """
    index, contents, end = [], [], 0
    seen: dict[tuple[str, int], list[tuple[bytes, int]]] = {}
    for entry in files.walk(tree):
        name = entry.path[len(tree) + 1 :]
        if entry.is_dir(follow_symlinks=False):
            index.append(f"/ 0 {name}\n")
            continue
        with open(entry.path, "rb", buffering=0) as file:
            content = file.read()
        alike = seen.setdefault((entry.name, len(content)), [])
        at = next((known for other, known in alike if other == content), end)
        if at == end:
            end += -(-len(content) // _BLOCK) * _BLOCK
            alike.append((content, at))
            contents.append((content, at))
        index.append(f"{at} {len(content)} {name}\n")
    text = "".join(index).encode()
    begin = -(-(_FIRST_LINE + len(text)) // _BLOCK) * _BLOCK
    first = f"{_MAGIC} {len(text)} {begin} {begin + end}\n".encode().ljust(_FIRST_LINE)
    with open(path, "xb", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(begin + end)
        for content, at in ((first + text, -begin), *contents):
            if os.pwrite(file.fileno(), content, begin + at) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def unpack(path: str, target: str, account: Account) -> None:
    """
    Make the new directory ``target`` what the archive at ``path`` holds, for ``account`` alone.

    It is not synced. Raises Damaged as soon as something is wrong with the
    archive, and OSError; ``target`` may then be there in part.
    """
    try:
        archive = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise Damaged(path) from error
    try:
        begin, index = _index(archive)
        _make_directory(target, account)
        copy = _Copy(archive)
        for line in index:
            at, size, name = line.split(" ", 2)
            if at == "/":
                _make_directory(f"{target}/{name}", account)
            else:
                with open(f"{target}/{name}", "xb", buffering=0) as file:
                    os.fchmod(file.fileno(), 0o600)
                    if account.demoted:
                        os.fchown(file.fileno(), account.uid, account.gid)
                    copy.to(file.fileno(), begin + int(at), int(size))
    except ValueError as error:
        raise Damaged(path) from error
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EEXIST, errno.EISDIR}:  # nonsense in it
            raise Damaged(path) from error
        raise
    finally:
        os.close(archive)


def _index(archive: int) -> tuple[int, list[str]]:
    """Return where the contents begin, and the lines of the index."""
    first = os.pread(archive, _FIRST_LINE, 0).decode()
    magic, size, begin, total = first.rsplit(maxsplit=3)
    text = os.pread(archive, int(size), _FIRST_LINE)
    if magic != _MAGIC or len(text) != int(size) or os.fstat(archive).st_size != int(total):
        raise ValueError(first)
    return int(begin), text.decode().splitlines()


def _make_directory(path: str, account: Account) -> None:
    os.mkdir(path, 0o700)
    os.chmod(path, 0o700)  # whatever the umask is
    account.own(path)


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
                raise ValueError(at)
            at += done
