"""Temporary servers: each has a state directory of its own, which is removed with it."""

from __future__ import annotations

import math
import os
import tempfile

from oxy_pg import paths
from oxy_pg.errors import ConfigurationError
from oxy_pg.server.cluster import logs, postmaster
from oxy_pg.server.server import Server, in_use
from oxy_pg.server.supervisor import lock, shutdown
from oxy_pg.system import files, private
from oxy_pg.system.deadline import Deadline, wall_clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    from oxy_pg.server.cluster.config import Settings

    T = TypeVar("T", bound="TemporaryServer")

_ABANDONED_AFTER = 3600.0  # seconds for a directory in which nothing was ever started


class TemporaryServer(Server):
    """
    A server whose directory is removed when it stops; nothing on it survives a crash.

    Processes that give the same ``name`` share one, and the last of them that
    lets go of it stops it.
    """

    def __init__(self, *, settings: Settings | None = None, name: str | None = None) -> None:
        super().__init__(_make_dir(name), settings=settings or {}, keep_alive=0.0)
        self._request.ephemeral = True

    def destroy(self) -> None:
        """Stop it at once, without a checkpoint, and remove its directory."""
        with self._lock:
            self.release()
            shutdown.stop(self._state, "immediate", Deadline(30))
            files.remove_tree(self._state.root)
            in_use.discard(self._state.root)

    def keep(self) -> None:
        """Keep it running after its last user, until it is stopped."""
        keeper = Server(self._state.root, keep_alive=math.inf)
        keeper.start()
        keeper.release()

    def log_position(self) -> dict[str, int]:
        """Return where the log ends now, for ``log_since()``."""
        return logs.sizes(self._state.log_dir)

    def log_since(self, position: dict[str, int], limit: int = 256 * 1024) -> str:
        """Return what has been logged since then: its last ``limit`` bytes."""
        return logs.since(self._state.log_dir, position, limit)


def running(server: T, extensions: Iterable[str], timeout: float) -> Iterator[T]:
    """Start a temporary server and yield it, and leave nothing of it behind."""
    sweep()
    try:
        server.ensure_database(extensions=extensions, timeout=timeout)
        yield server
    finally:
        server.destroy()


def _base() -> str:
    return paths.private_temp_dir(os.path.realpath(tempfile.gettempdir()))


def _make_dir(name: str | None) -> str:
    base = _base()
    # As root the server's own user has to pass; the names below cannot be listed.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    path = f"{base}/{paths.TEMPORARY_PREFIX}{os.urandom(6).hex() if name is None else name}"
    for directory in (base, path):
        try:
            descriptor = private.make_directory(directory)
        except (OSError, private.NotPrivate) as error:
            raise ConfigurationError(
                f"There is no place for a temporary server in {base}: {error}. Set TMPDIR to a "
                "directory that this user can write."
            ) from error
        os.fchmod(descriptor, mode)
        os.close(descriptor)
    return path


def sweep(but: str = "") -> None:
    """Remove what servers left behind whose supervisor was killed, except the one named ``but``."""
    base = _base()
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(paths.TEMPORARY_PREFIX) and name != f"{paths.TEMPORARY_PREFIX}{but}":
            _remove_if_abandoned(paths.StateDir(f"{base}/{name}"))


def _remove_if_abandoned(state: paths.StateDir) -> None:
    try:
        if not os.path.exists(state.lock):
            if os.stat(state.root).st_mtime < wall_clock() - _ABANDONED_AFTER:
                files.remove_tree(state.root)
            return
        with lock.attempt(state) as descriptor:
            if descriptor is not None and not postmaster.running(state.data_dir):
                postmaster.remove_segment(state.data_dir)
                files.remove_tree(state.root)
    except OSError:
        return  # another process is at it
