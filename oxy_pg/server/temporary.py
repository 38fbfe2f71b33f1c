"""
Servers for tests: nothing on them has to survive a crash.

A temporary one has a state directory of its own, which is removed with it. A
cached one stays in the cache directory, for what takes long to make again.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os

from oxy_pg import paths, project
from oxy_pg.errors import ConfigurationError, ServerError, StartFailed
from oxy_pg.facts import DATABASE, MONITOR, READER, ROLE, SUPERUSER
from oxy_pg.server import place as places
from oxy_pg.server.cluster import account, config, databases, directory, logs, postmaster
from oxy_pg.server.cluster.socket_connection import QueryError, identifier, literal
from oxy_pg.server.server import Server, checked_timeout, in_use
from oxy_pg.server.supervisor import lock, shutdown
from oxy_pg.system import files, machine, private
from oxy_pg.system.deadline import Deadline, wall_clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from oxy_pg.server.cluster.config import Settings
    from oxy_pg.server.cluster.socket_connection import Connection
    from oxy_pg.server.place import Place

    T = TypeVar("T", bound="TemporaryServer")

_OUR_ROLES = (ROLE, SUPERUSER, MONITOR, READER)
_ABANDONED_AFTER = 3600.0  # seconds for a directory in which nothing was ever started
_UNUSED_AFTER = 14 * 24 * 3600.0  # seconds for a cached server


class DisposableServer(Server):
    """
    What servers for tests have in common: their log is read, and one can be kept running.

    ``extensions`` are created in every database that ``create_database()`` makes.
    """

    extensions: tuple[str, ...] = ()

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create a database, as ``Server.create_database()``, with the ``extensions``."""
        super().create_database(name, template=template)
        if self.extensions:
            self.ensure_database(name, extensions=self.extensions)

    def meanwhile(self, action: Callable[[], object]) -> None:
        """Let ``start()`` call this while PostgreSQL starts, if it starts it."""
        self._request.meanwhile = action

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


class TemporaryServer(DisposableServer):
    """
    A server whose directory is removed when it stops; nothing on it survives a crash.

    Processes that give the same ``name`` and ``place`` share one, and the last
    of them that lets go of it stops it.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        name: str | None = None,
        place: Place | None = None,
    ) -> None:
        project.refuse_embedded()  # before there is a directory
        root = _make_dir(place or places.choose(), name)
        super().__init__(root, settings=settings or {}, keep_alive=0.0)
        self._request.ephemeral = True

    def destroy(self) -> None:
        """Stop it at once, without a checkpoint, and remove its directory."""
        with self._lock:
            try:
                shutdown.stop(self._state, "immediate", Deadline(30))
            finally:
                self.release()  # not before, as in Server.stop()
            files.remove_tree(self._state.root)
            in_use.discard(self._state.root)
            self.forget()

    def forget(self) -> None:
        """Remove its directory, and that above it, if they are empty; never raises OSError."""
        for path in (self._state.root, os.path.dirname(self._state.root)):
            with contextlib.suppress(OSError):
                os.rmdir(path)


class CachedServer(DisposableServer):
    """
    A server whose databases are there again in the next session, unless the machine has crashed.

    There is one for each set of ``settings`` in the cache directory. Nothing
    is synced to disk, so after a restart of the machine, which may have been a
    crash, it begins anew; so does one that does not start. What sessions leave
    on it is removed by the next one that has it alone, but for databases with a comment.
    """

    def __init__(self, *, settings: Settings) -> None:
        from oxy_pg.server.cluster import binaries

        wanted = {**config.NOT_DURABLE, **settings}
        found = binaries.find()
        # Databases that are kept there may use its extensions.
        build = (found.version, sorted(found.extensions()))
        what = repr((build, sorted(wanted.items())))
        root = f"{_cache()}/{paths.digest(what)}"
        super().__init__(root, settings=wanted, keep_alive=0.0)
        self._users = -1  # a descriptor: locked while this process uses the server

    def start(self, timeout: float = 60.0) -> None:
        """Start it and remove what other sessions have left; as ``Server.start()``."""
        deadline = Deadline(checked_timeout(timeout))
        directory.make_state_dir(self._state)
        if self._users < 0:
            self._users = files.open_or_create(f"{self._state.root}/users", os.O_RDWR)
            if _locks(self._users, fcntl.LOCK_EX):
                self._start_alone(deadline)
            for _ in deadline.attempts(0.005, 0.05):
                if _locks(self._users, fcntl.LOCK_SH):
                    break
        self._start(deadline)

    def close(self) -> None:
        """Release it, and let others have it alone."""
        self.release()
        if self._users >= 0:
            os.utime(self._users)
            os.close(self._users)
            self._users = -1

    def _start_alone(self, deadline: Deadline) -> None:
        booted = f"{self._state.root}/booted"
        if files.read_text(booted) != machine.boot():
            shutdown.destroy(self._state, deadline)
        is_new = not directory.exists(self._state)
        try:
            self._start(deadline)
        except ServerError as error:
            if type(error) is ServerError:  # it runs, and lets nobody in
                shutdown.stop(self._state, "immediate", deadline)
            if is_new or not isinstance(error, StartFailed):
                raise
            shutdown.destroy(self._state, deadline)
            self._start(deadline)
        files.write_text(booted, machine.boot(), sync=False)
        if not is_new:
            with self._connect(deadline) as connection:
                _remove_leftovers(connection, deadline)


def _remove_leftovers(connection: Connection, deadline: Deadline) -> None:
    """Remove roles, and databases that nothing is said of, and create ``oxy`` again."""
    rows = connection.query(
        "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') IS NULL"
    )
    for (name,) in rows:
        databases.drop(connection, str(name))
    databases.create(connection, DATABASE, deadline, by_file=True)
    rows = connection.query(
        "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"
        f" AND rolname NOT IN ({', '.join(map(literal, _OUR_ROLES))})"
    )
    for (name,) in rows:
        with contextlib.suppress(QueryError):  # a template needs it
            connection.query(f"DROP ROLE {identifier(str(name))}")


def _cache() -> str:
    return f"{paths.cache_dir()}/pytest"


def _locks(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cached() -> list[paths.StateDir]:
    """Return the state directories of all cached servers."""
    try:
        return [paths.StateDir(f"{_cache()}/{name}") for name in os.listdir(_cache())]
    except OSError:
        return []


def sweep_cache() -> None:
    """Remove cached servers that no session has used for two weeks."""
    for state in cached():
        with contextlib.suppress(OSError):
            if os.stat(f"{state.root}/users").st_mtime > wall_clock() - _UNUSED_AFTER:
                continue
            with lock.attempt(state) as descriptor:
                if descriptor is not None and not postmaster.running(state.data_dir):
                    postmaster.remove_segment(state.data_dir)
                    directory.destroy(state)
                    files.remove_tree(state.root)


def running(server: T, extensions: Iterable[str], timeout: float) -> Iterator[T]:
    """Start a temporary server and yield it, and leave nothing of it behind."""
    sweep()
    try:
        server.ensure_database(extensions=extensions, timeout=timeout)
        yield server
    finally:
        server.destroy()


def _make_dir(place: Place, name: str | None) -> str:
    try:
        return _make_dir_in(place.base, os.urandom(6).hex() if name is None else name)
    except (OSError, private.NotPrivate, ConfigurationError) as error:
        if place.otherwise:  # AppArmor, for example, keeps some programs out of /dev/shm
            return _make_dir(places.Place(place.otherwise, f"{place.directory}: {error}"), name)
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(
            f"There is no place for a temporary server in {place.directory}: {error}. Set "
            f"{places.CHOSEN_BY} to a directory that this user can write."
        ) from error


def _make_dir_in(base: str, name: str) -> str:
    """Make the state directory; raises OSError, NotPrivate or ConfigurationError."""
    state = paths.StateDir(f"{base}/{paths.TEMPORARY_PREFIX}{name}")
    user = account.account_for(state)
    if not user.can_enter(base):
        raise ConfigurationError(
            f"There is no place for a temporary server in {base}: as root, PostgreSQL runs under "
            f"the user {user.name}, who cannot enter it. Set {places.CHOSEN_BY} to a directory "
            "that other users can enter."
        )
    # As root the server's own user has to pass; the names below cannot be listed.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    _make_private(base, mode)
    _make_private(state.root, mode)
    return state.root


def _make_private(path: str, mode: int) -> None:
    descriptor = private.make_directory(path, mode)
    files.set_mode(descriptor, mode, path)
    os.close(descriptor)


def sweep(but: str = "", place: Place | None = None) -> None:
    """Remove what servers left behind whose supervisor was killed, except the one named ``but``."""
    for base in places.bases(place or places.choose()):
        try:
            names = os.listdir(base)
        except OSError:
            continue
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
