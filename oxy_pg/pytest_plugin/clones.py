"""
Databases that live for one test each: copied from a template, created ahead, dropped late.

On the embedded server there are no others. On an external server their names
have to say which process they belong to, and what a killed process has left
there is found by the next one: as long as a process lives it holds an advisory
lock, whose number is part of the names of its databases.
"""

from __future__ import annotations

import collections
import functools
import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.connection import drop_database, end_sessions, refuse_if_in_use
from oxy_pg.errors import ConfigurationError, ServerError
from oxy_pg.facts import TEST_LOCK_CLASS
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

PREFIX = "oxy_pg_test_"

_SPARES = 2  # databases created ahead
_USED_BYTES = 512 * 1024 * 1024  # of used databases that are not dropped yet
_FEWEST_USED = 2  # of them: with fewer there is nothing to gain
_TIMEOUT = 60.0  # seconds; a server that takes longer to copy a database has died
# What ends a session but not the server for good: it was restarted after a crash.
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)

FULL = (
    "The directory of the test server, which the header line names, is full: --oxy-pg-dir, "
    "oxy_pg_dir or OXY_PG_TEMP_DIR names a larger one (OXY_PG_CACHE_DIR with oxy_pg_template_key)."
)

Connection = psycopg.Connection[tuple[Any, ...]]


class Clones:
    """
    The test databases of one process; ``close()`` drops them all at the end.

    ``connect`` opens a connection with autocommit to a database that is not
    one of them, as a role that may create databases; it is called again after
    the server was restarted. ``ours``: there are no other users of the server,
    and it is thrown away afterwards. ``sharers`` is how many processes keep
    databases on it at once. ``is_scarce`` says whether there is little room left,
    and ``tests_ahead`` how many tests come after this one, at most.

    One thread creates databases ahead, another one drops used ones. There are
    never more used ones than ``_USED_BYTES`` hold: over that limit a drop
    comes before the next creation. Below it, databases are dropped while
    nothing has to be created, so that a short run does not wait for it. Where the disk is full
    all the same, or room is scarce, used ones are dropped at once from then on; and where it is
    scarce, none is created before a test wants it.

    Only copies of the template that ``use_template()`` has named are created
    ahead; ``copy()`` makes one of another database when it is asked for.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        ours: bool,
        sharers: int = 1,
        is_scarce: Callable[[], bool] = lambda: False,
        tests_ahead: Callable[[], int] = lambda: _SPARES,
    ) -> None:
        self._connect = connect
        self._ours = ours
        self._is_scarce = is_scarce
        self._tests_ahead = tests_ahead
        self.locks: set[tuple[int, int]] = set()  # taken again, shared, in a new session
        self._numbers = iter(range(1, 1 << 62))
        self._limit = _USED_BYTES // sharers if ours else 0
        self._fewest_used = _FEWEST_USED
        self._template = ""
        self._sizes: dict[str, int] = {}  # of databases that were copied, in bytes
        self._of_parents: list[Connection] = []  # not to be closed here
        self._begin()

    def _begin(self) -> None:
        """Begin with a session, and with names, of this process."""
        self._pid = os.getpid()
        self._connection = self._connect()
        self._key = _lock_key(self._connection)
        self._changed = threading.Condition()
        self._ready: collections.deque[str] = collections.deque()
        self._used: collections.deque[tuple[str, int]] = collections.deque()
        self._used_bytes = 0
        self._left: list[str] = []  # could not be dropped when their turn came
        self._copied: dict[str, str] = {}  # what each database is a copy of
        self._wanted = 0  # tests that wait for a database
        self._closed = False
        self._error: BaseException | None = None
        self._broken = False  # a thread has ended with that error
        self._threads: dict[str, threading.Thread] = {}

    def _begin_in_child(self) -> None:
        """
        Begin anew in a forked child (pytest-forked), where that has not been done.

        It has none of the parent's threads, and must not touch its session or its databases.
        """
        if self._pid == os.getpid():
            return
        self._of_parents.append(self._connection)
        self._begin()
        self._take_locks()
        if self._template:
            self._start(self._create_one)
            self._start(self._drop_one)

    def create(self) -> str:
        """Create an empty database; ConfigurationError without CREATEDB."""
        self._begin_in_child()
        name = self._name()
        self.run(lambda connection: _create(connection, name, by_file=self._ours))
        return name

    def use_template(self, name: str) -> None:
        """Create copies of this database ahead from now on; nobody may be connected to it."""
        self._measure(name)
        self._template = name
        self._start(self._create_one)
        self._start(self._drop_one)

    def copy(self, source: str, name: str = "") -> str:
        """
        Create a copy of a database, which nobody may be connected to; return its name.

        Raises ServerError, at once, with those who are connected to ``source``.
        """
        self._begin_in_child()
        name = name or self._name()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._is_over() or self._broken, _TIMEOUT)
            self._measure(source)
            try:
                self.run(lambda connection: self._create_from(connection, name, source))
            except psycopg.errors.DiskFull:
                if self._broken or not self._make_room():
                    raise
            else:
                return name

    def replace(self, name: str, source: str) -> None:
        """Make a database a copy of another one; the sessions of the first are ended."""
        self.run(functools.partial(drop_database, name=name))
        self.copy(source, name)

    def _create_from(self, connection: Connection, name: str, source: str) -> None:
        refuse_if_in_use(connection, source)
        _create(connection, name, source, by_file=self._ours)
        self._copied[name] = source

    def _measure(self, source: str) -> None:
        found = self.run(
            lambda connection: connection.execute(
                "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s", (source,)
            ).fetchone()
        )
        self._sizes[source] = int(found[0]) if found is not None else 0

    def take(self) -> str:
        """
        Return the name of a new copy of the template that no other test gets.

        Takes no time when one was created ahead. Raises ServerError when none can be created.
        """
        self._begin_in_child()
        deadline = Deadline(_TIMEOUT)
        with self._changed:
            self._wanted += 1
            try:
                while not self._ready:
                    if self._error is not None:
                        self._raise_error()
                    self._changed.notify_all()
                    if not self._changed.wait(deadline.remaining()):
                        raise ServerError(f"No test database was created within {_TIMEOUT:g} s.")
                return self._ready.popleft()
            finally:
                self._wanted -= 1
                self._changed.notify_all()

    def _raise_error(self) -> None:
        error = self._error
        if not self._broken:
            self._error = None  # this test alone has it; for the next one it is tried again
        text = f"No test database can be created: {error}"
        if self._ours and isinstance(error, psycopg.errors.DiskFull):
            text += f"\n{FULL}"
        raise ServerError(text) from error

    def give_back(self, name: str) -> None:
        """Let a database be dropped, some time before the end; its sessions are ended."""
        if not name.startswith(self._prefix()):
            return  # the parent's, in a forked child
        with self._changed:
            size = self._sizes.get(self._copied.pop(name, self._template), 0)
            self._used.append((name, size))
            self._used_bytes += size
            self._changed.notify_all()
        self._start(self._drop_one)

    def keep(self, name: str, reason: str) -> None:
        """Leave a database to be looked at: neither we nor a sweep will drop it."""
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        statement = comment.format(sql.Identifier(name), f"kept: {reason}")
        self.run(lambda connection: connection.execute(statement))

    def make_read_only(self, name: str) -> None:
        """Let new sessions in a database begin read-only transactions, unless they say so."""
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
        self.run(lambda connection: connection.execute(statement.format(sql.Identifier(name))))

    def log(self, text: str) -> None:
        """Write a line to the server's log; what was logged before it is above it."""
        statement = sql.SQL("DO $$ BEGIN RAISE LOG USING MESSAGE = {}; END $$").format(text)
        self.run(lambda connection: connection.execute(statement))

    def stop(self) -> None:
        """End what goes on in the background."""
        if self._pid != os.getpid():
            return  # in the parent
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads.values():
            thread.join(_TIMEOUT)

    def close(self, *, drop: bool = True) -> None:
        """Drop what was given back or created ahead (unless its server goes), and disconnect."""
        if self._pid != os.getpid():
            return  # all is the parent's
        self.stop()
        try:
            if drop:
                for name in (*self._ready, *(name for name, _ in self._used), *self._left):
                    self.run(functools.partial(drop_database, name=name))
        finally:
            self._connection.close()

    def _name(self) -> str:
        return f"{self._prefix()}{next(self._numbers)}"

    def _prefix(self) -> str:
        return f"{PREFIX}{self._key:08x}_"

    def run(self, action: Callable[[Connection], T]) -> T:
        """Run something in the session of the test's thread; a lost one is replaced."""
        self._begin_in_child()
        try:
            return action(self._connection)
        except _LOST:
            if not self._connection.closed:
                raise
        self._connection = self._reconnect()
        self._take_locks()
        return action(self._connection)

    def _take_locks(self) -> None:
        for lock_class, key in self.locks:
            share_lock(self._connection, lock_class, key)

    def _reconnect(self) -> Connection:
        """Connect again to a server that was restarted, and take the lock again."""
        for remaining in Deadline(_TIMEOUT).attempts(0.02, 0.5):
            try:
                connection = self._connect()
            except (*_LOST, OSError, ServerError):
                if not remaining:
                    raise
            else:
                share_lock(connection, TEST_LOCK_CLASS, self._key)
                return connection
        raise AssertionError  # the last attempt has returned or raised

    # --- in the background ---

    def _start(self, work: Callable[[Connection], bool]) -> None:
        """Begin one kind of work, unless it was begun before."""
        name = work.__name__
        if name not in self._threads:
            self._threads[name] = threading.Thread(
                target=self._work, args=(work,), name="oxy_pg test databases", daemon=True
            )
            self._threads[name].start()

    def _work(self, work: Callable[[Connection], bool]) -> None:
        """Do one kind of work again and again; a session that is lost is replaced."""
        try:
            # As long as this connection may be creating a database, it is not abandoned.
            connection = self._reconnect()
            try:
                while True:
                    try:
                        if not work(connection):
                            return
                    except _LOST:
                        if not connection.closed:
                            raise
                        connection = self._reconnect()
            finally:
                connection.close()
        except BaseException as error:  # noqa: BLE001 - take() raises it, in the test's thread
            with self._changed:
                self._error = error
                self._broken = True
                self._changed.notify_all()

    def _create_one(self, connection: Connection) -> bool:
        """Create a database as soon as one is wanted and there is room; False at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (len(self._ready) < self._spares() and not self._is_over())
            )
        if self._is_scarce():
            self._make_room()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (self._wanted and not self._is_over())
                )
        if self._closed:
            return False
        name = self._name()
        try:
            _create(connection, name, self._template, by_file=self._ours)
        except psycopg.Error as error:
            if connection.closed:
                self.give_back(name)  # it may have been created before the session was lost
                raise
            self._not_created(error)
            return True
        with self._changed:
            self._ready.append(name)
            self._changed.notify_all()
        return True

    def _not_created(self, error: psycopg.Error) -> None:
        """Let one test that waits for a database have the error, unless there is room to make."""
        is_full = isinstance(error, psycopg.errors.DiskFull)
        if is_full and self._make_room():
            return
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._wanted or (is_full and bool(self._used))
            )
            if self._wanted and not (is_full and self._used):
                self._error = error
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._error is None)

    def _make_room(self) -> bool:
        """Keep no used databases from now on: the disk is (nearly) full. Whether there were any."""
        with self._changed:
            self._limit = self._fewest_used = 0
            self._changed.notify_all()
            return bool(self._used)

    def _drop_one(self, connection: Connection) -> bool:
        """Drop a used database when there are too many, or nothing is created; False at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._used and (self._is_full() or self._is_idle()))
            )
            if self._closed:
                return False
            name, size = self._used[0]
        try:
            drop_database(connection, name)
        except psycopg.Error:
            if connection.closed:
                raise
            # A session of a superuser's, for example. At the end it is tried again, and reported.
            self._left.append(name)
        with self._changed:
            # Counted until it is gone: the limit is one of the disk.
            self._used.popleft()
            self._used_bytes -= size
            self._changed.notify_all()
        return True

    def _spares(self) -> int:
        """Return how many databases are to be ready: not more than tests come."""
        return max(self._wanted, min(_SPARES, self._tests_ahead()))

    def _is_full(self) -> bool:
        return len(self._used) >= self._fewest_used and self._used_bytes >= self._limit

    def _is_over(self) -> bool:
        return len(self._used) > self._fewest_used and self._used_bytes > self._limit

    def _is_idle(self) -> bool:
        return (len(self._ready) >= self._spares() or not self._template) and not self._wanted


def _lock_key(connection: Connection) -> int:
    """Take an advisory lock that is free, for as long as this connection lives."""
    while True:
        key = secrets.randbits(31)
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (TEST_LOCK_CLASS, key))
        if row.fetchone() == (True,):
            share_lock(connection, TEST_LOCK_CLASS, key)
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (TEST_LOCK_CLASS, key))
            return key


def share_lock(connection: Connection, lock_class: int, key: int) -> None:
    """Take an advisory lock that others may share, for as long as this connection lives."""
    connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (lock_class, key))


def _create(
    connection: Connection, name: str, template: str | None = None, *, by_file: bool = False
) -> None:
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    if by_file:
        # The default writes every page to the WAL. Copying files wants a checkpoint before and
        # after, which costs next to nothing where nothing is synced; and it copies the relation
        # cache too, which every first connection would otherwise have to build.
        statement += sql.SQL(" STRATEGY FILE_COPY")
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"The role {connection.info.user!r} may not create databases. As an administrator of "
            f"that server: ALTER ROLE {connection.info.user} CREATEDB."
        ) from error


def seal(connection: Connection, name: str) -> None:
    """
    Close a database to all clients.

    Sessions that are still connected are ended: PostgreSQL copies no database
    that is in use.
    """
    identifier = sql.Identifier(name)
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
    end_sessions(connection, name)
