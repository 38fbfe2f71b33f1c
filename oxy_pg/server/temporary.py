"""Servers that are thrown away: a state directory of their own that goes with them."""

from __future__ import annotations

import os
import tempfile
import time

from oxy_pg import files, paths
from oxy_pg.deadline import Deadline
from oxy_pg.server import lock, postmaster, shutdown
from oxy_pg.server.handle import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oxy_pg.server.config import Settings

_PREFIX = "temporary-"
_ABANDONED_AFTER = 3600.0  # seconds for a directory in which nothing was ever started


class TemporaryServer(Server):
    """A server whose directory is removed when it stops; nothing on it survives a crash."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        super().__init__(_make_dir(), settings=settings or {}, keep_alive=0.0)
        self._request.ephemeral = True

    def destroy(self) -> None:
        """Stop it at once, without a checkpoint, and remove its directory."""
        with self._lock:
            self.release()
            shutdown.stop(self._state, "immediate", Deadline(30))
            files.remove_tree(self._state.root)


def running(
    settings: Settings | None, extensions: Iterable[str], timeout: float
) -> Iterator[Server]:
    """Yield a started temporary server, and leave nothing of it behind."""
    sweep()
    server = TemporaryServer(settings=settings)
    try:
        server.ensure_database(extensions=extensions, timeout=timeout)
        yield server
    finally:
        server.destroy()


def _base() -> str:
    return paths.private_temp_dir(os.path.realpath(tempfile.gettempdir()))


def _make_dir() -> str:
    base = _base()
    # As root the server's own user has to pass; the names below cannot be listed.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    os.makedirs(base, mode, exist_ok=True)
    os.chmod(base, mode)
    path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
    os.chmod(path, mode)
    return path


def sweep() -> None:
    """Remove what servers left behind whose supervisor was killed."""
    base = _base()
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(_PREFIX):
            _remove_if_abandoned(paths.StateDir(f"{base}/{name}"))


def _remove_if_abandoned(state: paths.StateDir) -> None:
    try:
        if not os.path.exists(state.lock):
            if os.stat(state.root).st_mtime < time.time() - _ABANDONED_AFTER:
                files.remove_tree(state.root)
            return
        with lock.attempt(state) as descriptor:
            if descriptor is not None and not postmaster.running(state.data_dir):
                files.remove_tree(state.root)
    except OSError:
        return  # somebody else is at it
