"""A directory for temporary files, which is always removed afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from typing import TYPE_CHECKING

from oxy_pg import paths
from oxy_pg.system import files, private

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "transfer-"


@contextlib.contextmanager
def workspace() -> Iterator[str]:
    """
    Give a directory that only this user can enter, until the end of the block.

    Directories that killed processes have left have no lock, and are removed.
    """
    base = paths.private_temp_dir(os.path.realpath(tempfile.gettempdir()))
    # As root the embedded server's user passes through it; the names below cannot be listed.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    base_fd = private.make_directory(base)
    os.fchmod(base_fd, mode)
    os.close(base_fd)
    _sweep(base)
    path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        files.remove_tree(path)
        os.close(descriptor)


def _sweep(base: str) -> None:
    for name in os.listdir(base):
        if not name.startswith(_PREFIX):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(f"{base}/{name}", os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                files.remove_tree(f"{base}/{name}")
            finally:
                os.close(descriptor)
