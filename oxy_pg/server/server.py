"""``Server``: a handle on the PostgreSQL of one state directory."""

from __future__ import annotations

import _weakref
import atexit
import os

from oxy_pg import paths, project
from oxy_pg.errors import (
    ConfigurationError,
    LockTimeout,
    ServerError,
    StartFailed,
    StartTimeout,
    state_of_data,
)
from oxy_pg.facts import DATABASE, MAINTENANCE_DATABASE, READER, ROLE, SUPERUSER
from oxy_pg.server.cluster.socket_connection import QueryError
from oxy_pg.server.supervisor import launcher
from oxy_pg.server.supervisor.lease import Lease, SupervisorGone
from oxy_pg.system import cheap
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike
    from types import TracebackType
    from typing import Literal, Self, TypeVar

    from oxy_pg.server.cluster.config import Settings
    from oxy_pg.server.cluster.socket_connection import Connection
    from oxy_pg.server.monitor.status import Status

    T = TypeVar("T")

_TIMEOUT = 60.0
_LAST_ATTEMPT = 0.25  # seconds left that are not enough to try again
_STOP_TIMEOUT = 120.0  # a fast shutdown writes a checkpoint, and a disk may be slow

# The state directories whose servers this process has used, and not stopped itself.
in_use: set[str] = set()


class Server:
    """The handle on one state directory's PostgreSQL; ``oxy_pg.Server`` says what it promises."""

    def __init__(
        self,
        state_dir: str | PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        keep_alive: float | None = None,
        port: int | None = None,
    ) -> None:
        self._state = paths.StateDir(paths.state_dir(state_dir))
        self._request = launcher.Request(
            _checked(settings), _checked_keep_alive(keep_alive), port=_checked_port(port)
        )
        self._lease: Lease | None = None
        self._known_databases: set[str] = set()
        self._password = ""
        self._password_time: int | None = None  # of its file
        self._port = 0  # that it belongs to
        self._lock = cheap.rlock()
        _remember(self)

    def __repr__(self) -> str:
        return f"Server({self._state.root!r})"

    @property
    def state_dir(self) -> str:
        """The state directory, an absolute path without links."""
        return self._state.root

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    # --- start and stop ---

    def start(self, timeout: float = _TIMEOUT) -> None:
        """
        Start the server if it is not running, and hold it.

        Returns at once when that is so already. ``timeout`` is in seconds.
        Raises ServerError (StartFailed, StartTimeout, LockTimeout,
        BinariesNotFound, InitdbFailed, VersionMismatch, ForeignDataDirectory)
        or ConfigurationError. A server that is still starting at the end of
        the time is left to it.
        """
        self._start(Deadline(checked_timeout(timeout)))

    def _start(self, deadline: Deadline) -> None:
        with self._exclusive(deadline):
            self._hold(deadline)

    def release(self) -> None:
        """Release the server; it stops when it is no longer in use."""
        with self._lock:
            if self._lease is not None:
                self._lease.release()
            self._lease = None
            self._known_databases.clear()

    def keep_through_exec(self) -> None:
        """Let the hold pass to the program that takes this process's place (execve(2))."""
        with self._lock:
            self._hold(Deadline(_TIMEOUT)).keep_through_exec()

    def stop(self, mode: Literal["fast", "smart", "immediate"] = "fast") -> None:
        """
        Stop the server for all its users, and return when it has gone.

        ``mode`` is PostgreSQL's: ``fast`` ends the sessions, ``smart`` waits
        for them to end, ``immediate`` does without a checkpoint (PostgreSQL 16
        manual, 19.5). A server that is not running is no error. Raises
        LockTimeout when it does not go within two minutes.
        """
        from oxy_pg.server.supervisor import shutdown

        with self._lock:
            try:
                shutdown.stop(self._state, mode, Deadline(_STOP_TIMEOUT))
            finally:
                self.release()  # not before: the supervisor would look first who else is there
            in_use.discard(self._state.root)

    def restart(self, timeout: float = _TIMEOUT) -> None:
        """
        Stop the server and start it again, with the settings that only a start applies.

        Processes that hold it keep their hold, and its port stays if it can.
        ``timeout`` is in seconds, and to stop it may take two minutes more.
        Raises what ``start()`` raises.
        """
        from oxy_pg.server.supervisor import shutdown

        project.refuse_embedded()  # before it is stopped
        with self._lock:
            deadline = Deadline(checked_timeout(timeout) + _STOP_TIMEOUT)
            try:
                shutdown.restart(self._state, deadline)
            except StartFailed as error:
                raise launcher.blame_settings(self._state, None, error) from None
            lease = self._hold(deadline)
            launcher.prove_settings(self._state, self._request, lease, deadline)
            # A password that an application has set is set back.
            self._set_up(None, deadline, started=True)

    def reset_password(self, timeout: float = _TIMEOUT) -> int:
        """
        Give the role ``oxy`` a new password; URLs with the old one are no longer valid.

        Sessions that were opened with it are ended; returns how many those were.
        ``timeout`` is in seconds. Raises what ``start()`` raises.
        """
        from oxy_pg.server.cluster import databases

        deadline = Deadline(checked_timeout(timeout))
        with self._exclusive(deadline):
            self._hold(deadline)
            with self._connect(deadline) as connection:
                ended = databases.reset_password(connection, self._state)
            self._set_up(None, deadline, started=True)
            return ended

    def destroy(self) -> None:
        """
        Stop the server and delete its data directory, with all databases in it.

        Raises ForeignDataDirectory for one that oxy_pg did not make, and then
        leaves it as it is.
        """
        from oxy_pg.server.supervisor import shutdown

        with self._lock:
            self.release()
            shutdown.destroy(self._state, Deadline(_STOP_TIMEOUT))
            in_use.discard(self._state.root)

    # --- what is there ---

    def status(self) -> Status:
        """Return what is known of the server; starts nothing and changes nothing."""
        from oxy_pg.server.monitor import status

        return status.of_embedded(self._state)

    def url(self, database: str = DATABASE) -> str:
        """
        Return the URL of a database for any driver; starts the server if need be.

        The database is not created: see ``create_database()``, ``ensure_database()``.
        """
        deadline = Deadline(_TIMEOUT)
        with self._exclusive(deadline):
            return self._url(self._hold(deadline), database)

    def socket_url(self, database: str = DATABASE) -> str:
        """Return the URL of a database by way of the private Unix socket, without a password."""
        from oxy_pg.url import socket_url

        deadline = Deadline(_TIMEOUT)
        with self._exclusive(deadline):
            lease = self._hold(deadline)
            return socket_url(ROLE, lease.socket_dir, lease.port, database)

    def superuser_url(self, database: str = MAINTENANCE_DATABASE) -> str:
        """
        Return the URL of a database for the superuser, by way of the private Unix socket.

        Its sessions begin with ``search_path = pg_catalog, pg_temp`` and with
        neutral values for what a role or a database can set.
        """
        deadline = Deadline(_TIMEOUT)
        with self._exclusive(deadline):
            return _pinned_url(SUPERUSER, self._hold(deadline), database)

    def reader_url(self, database: str = DATABASE) -> str:
        """
        Return the URL of a database for a role that reads all of it, and is not a superuser.

        For backups: functions in a database run with the rights of the role
        that reads it. By way of the private Unix socket.
        """
        deadline = Deadline(_TIMEOUT)
        with self._exclusive(deadline):
            return _pinned_url(READER, self._hold(deadline), database)

    def _url(self, lease: Lease, database: str) -> str:
        if not self._password:
            self.release()
            raise ServerError(
                f"The role {ROLE} of the server in {self._state.root} has another password than "
                f"the one in {self._state.password}: an application has changed it (ALTER ROLE). "
                "`oxy-pg restart` sets it back, `oxy-pg password --reset` sets a new one."
            )
        from oxy_pg.url import tcp_url

        return tcp_url(ROLE, self._password, lease.port, database)

    # --- databases ---

    def ensure_database(
        self,
        name: str = DATABASE,
        *,
        extensions: Iterable[str] = (),
        timeout: float = _TIMEOUT,
    ) -> str:
        """
        Return the URL of a database, which is created if it does not exist.

        Costs microseconds once it is known to be there. ``extensions`` are
        created in it by the superuser. Raises what ``start()`` raises, and
        ConfigurationError for a name or an extension that PostgreSQL refuses.
        """
        deadline = Deadline(checked_timeout(timeout))
        with self._exclusive(deadline):
            lease = self._hold(deadline, name)
            if extensions:
                from oxy_pg.server.cluster import databases

                with self._connect(deadline, name) as connection:
                    databases.ensure_extensions(connection, extensions)
            return self._url(lease, name)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """
        Create a database that belongs to the role ``oxy``.

        ``template`` is the database to copy; no client may be connected to it.
        Raises ConfigurationError when the name is taken or not possible or the
        template does not exist, and ServerError, at once, with those who are
        connected to the template.
        """
        from oxy_pg.server.cluster import databases

        self._administer(
            lambda connection, deadline: databases.create(
                connection, name, deadline, template=template
            )
        )

    def drop_database(self, name: str) -> None:
        """Drop a database and end its sessions; one that does not exist is not an error."""
        from oxy_pg.server.cluster import databases

        self._known_databases.discard(name)
        self._administer(lambda connection, _: databases.drop(connection, name))

    def databases(self) -> list[str]:
        """Return the names of the databases that belong to the role ``oxy``, in order."""
        from oxy_pg.server.cluster import databases

        return self._administer(lambda connection, _: databases.names(connection))

    def _administer(self, action: Callable[[Connection, Deadline], T]) -> T:
        deadline = Deadline(_TIMEOUT)
        with self._exclusive(deadline):
            self._hold(deadline)
            try:
                with self._connect(deadline) as connection:
                    return action(connection, deadline)
            except (OSError, QueryError) as error:
                raise self._typed(error, deadline) from error

    def _connect(
        self, deadline: Deadline, database: str = MAINTENANCE_DATABASE, *, waits: bool = True
    ) -> Connection:
        from oxy_pg.server.cluster.socket_connection import Connection

        assert self._lease is not None
        lease = self._lease
        return Connection(lease.socket_dir, lease.port, deadline, database, waits=waits)

    # --- the hold ---

    def _exclusive(self, deadline: Deadline) -> _Exclusive:
        """Keep other threads out; LockTimeout when one of them keeps us out until the deadline."""
        return _Exclusive(self._lock, self._state.lock, deadline)

    def _hold(self, deadline: Deadline, database: str | None = None) -> Lease:
        """Return a lease on a server that is ready, and in which ``database`` is there."""
        doubted = False
        for remaining in deadline.attempts(0.005, 0.2):
            try:
                return self._hold_now(deadline, database)
            except (OSError, QueryError) as error:
                if not doubted and isinstance(error, QueryError) and not _passes(error):
                    doubted = True
                    if self._doubt(deadline):
                        continue
                self.release()  # what was not set up to its end is not held
                if isinstance(error, ServerError):  # a TimeoutError is an OSError
                    raise
                # It was stopped, or crashed, just after it was ready: try to start it again.
                if remaining < _LAST_ATTEMPT or not _passes(error):
                    raise self._typed(error, deadline) from error
        raise AssertionError  # the last attempt has returned or raised

    def _doubt(self, deadline: Deadline) -> bool:
        """Have the supervisor look at a server that refuses us; False: that was in vain."""
        try:
            if self._lease is not None:
                self._lease.doubt(deadline)
        except (SupervisorGone, ServerError):
            return False
        return self._lease is not None

    def _typed(self, error: Exception, deadline: Deadline) -> Exception:
        """Return the error to raise for one that the server, or the way to it, has caused."""
        if isinstance(error, ServerError):
            return error
        if isinstance(error, TimeoutError):
            from oxy_pg.server.cluster import logs

            last_words = "\n".join(logs.tail(self._state.log_dir, 5))
            return StartTimeout(self._state.data_dir, deadline.timeout, last_words)
        return ServerError(
            f"The PostgreSQL in {self._state.data_dir} cannot be used: {error}. "
            f"{state_of_data(self._state.data_dir)} `oxy-pg status` and `oxy-pg logs` tell more."
        )

    def _hold_now(self, deadline: Deadline, database: str | None) -> Lease:
        lease, attached = self._lease, False
        # A forked child has inherited its parent's, and may not speak on it.
        if lease is None or lease.owner_pid != os.getpid() or not _is_good(lease, deadline):
            self.release()
            lease, started = launcher.acquire(self._state, self._request, deadline)
            self._lease, attached = lease, not started
            in_use.add(self._state.root)
            self._set_up(database, deadline, started=started)
        elif (
            self._port != lease.port
            or _time_of(self._state.password) not in {None, self._password_time}  # reset elsewhere
            or not (database is None or database in self._known_databases)
        ):
            self._set_up(database, deadline, started=False)
        if self._request.port not in {None, lease.port}:
            self.release()
            raise ConfigurationError(
                f"The server in {self._state.root} is running on port {lease.port}, and port "
                f"{self._request.port} was asked for. Stop it first: oxy-pg stop"
            )
        # Who shares a temporary server has asked for the same settings as who started it.
        if attached and self._request.settings is not None and not self._request.ephemeral:
            from oxy_pg.server.cluster import settings

            where = (lease.socket_dir, lease.port)
            settings.apply(self._state, self._request.settings, self._connect, where, deadline)
        return lease

    def _set_up(self, database: str | None, deadline: Deadline, *, started: bool) -> None:
        """Leave the role, its password and the database as they have to be."""
        if os.path.exists(self._state.unsynced):  # the process that created the cluster was killed
            from oxy_pg.server.cluster import directory

            directory.sync_if_new(self._state)
        self._password_time = _time_of(self._state.password)
        with self._connect(deadline, waits=False) as connection:
            # While PostgreSQL lets us in.
            import oxy_pg.url  # noqa: F401
            from oxy_pg.server.cluster import databases

            self._password = databases.set_up(
                connection, self._state, database, deadline, verify=started
            )
        self._port = self._lease.port if self._lease is not None else 0
        if database is not None:
            self._known_databases.add(database)


class _Exclusive:
    """A context that one thread is in at a time."""

    __slots__ = ("_deadline", "_lock", "_path")

    def __init__(self, lock: threading.RLock, path: str, deadline: Deadline) -> None:
        self._lock = lock  # a forked child gets another one, and this one is still let go
        self._path = path  # for the message
        self._deadline = deadline

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._deadline.remaining()):
            raise LockTimeout(self._path, "another thread of this process", self._deadline.timeout)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _pinned_url(role: str, lease: Lease, database: str) -> str:
    from oxy_pg.server.cluster import session
    from oxy_pg.url import socket_url

    return socket_url(role, lease.socket_dir, lease.port, database, session.options(role))


def _time_of(path: str) -> int | None:
    """Return when a file was written; None where it is not there, which is no change."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _passes(error: OSError | QueryError) -> bool:
    """Whether it may be different in a moment: no server just now, or no connection left."""
    if isinstance(error, QueryError):
        return error.sqlstate.startswith("57P") or error.sqlstate == "53300"
    return isinstance(error, (ConnectionError, FileNotFoundError))


def _is_good(lease: Lease, deadline: Deadline) -> bool:
    try:
        lease.check(deadline)
    except (SupervisorGone, StartFailed):
        # A supervisor that has given up says why, and goes. The cause may have gone, too: another
        # start tells.
        lease.release()
        return False
    return True


def _checked(settings: Settings | None) -> dict[str, str] | None:
    if settings is None:
        return None
    from oxy_pg.server.cluster import config

    return config.checked(settings)


def _checked_port(port: int | None) -> int | None:
    if port is None:
        return None
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise ConfigurationError(f"port is {port!r}; it is a number from 1 to 65535.")
    return port


def checked_timeout(timeout: float) -> float:
    """Return a caller's ``timeout``; ConfigurationError for what is not a time to wait."""
    if isinstance(timeout, (int, float)) and timeout > 0:  # not nan, either
        return timeout
    raise ConfigurationError(
        f"timeout is {timeout!r}; it is a number of seconds, more than 0, or math.inf to wait as "
        "long as it takes."
    )


def _checked_keep_alive(keep_alive: float | None) -> float | None:
    given: object = keep_alive
    if given is None:
        given = os.environ.get("OXY_PG_KEEP_ALIVE") or None
    if given is None:
        return None
    try:
        seconds = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = float("nan")
    if not seconds >= 0:
        raise ConfigurationError(
            f"keep_alive (OXY_PG_KEEP_ALIVE) is {given!r}; a number of seconds is needed, 0 or "
            'more, or "inf" to keep the server until it is stopped.'
        )
    return seconds


# Those that are in use; by weak references, and without the module weakref, which takes a
# millisecond to import.
_handles: dict[int, _weakref.ReferenceType[Server]] = {}


def _remember(handle: Server) -> None:
    key = id(handle)
    _handles[key] = _weakref.ref(handle, lambda _: _handles.pop(key, None))


def _living() -> Iterator[Server]:
    for reference in [*_handles.values()]:
        handle = reference()
        if handle is not None:
            yield handle


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held a lock at that moment, and is not here to let go.
    for handle in _living():
        handle._lock = cheap.rlock()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork_in_child)


@atexit.register
def _release_at_exit() -> None:
    # The kernel would do it a moment later; Python would first complain of open sockets.
    for handle in _living():
        handle.release()
