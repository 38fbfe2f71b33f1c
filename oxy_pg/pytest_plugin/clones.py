"""
Databases that live for one test each: copied from a template, created ahead, dropped late.

On the embedded server there are no others. On an external server their names
have to say which process they belong to, and what a killed process has left
there is found by the next one: as long as a process lives it holds an advisory
lock, whose number is part of the names of its databases.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import secrets
import threading
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.connection import drop_database
from oxy_pg.errors import ConfigurationError, ServerError
from oxy_pg.facts import TEST_LOCK_CLASS
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

PREFIX = "oxy_pg_test_"

_SPARES = 2  # databases created ahead
_USED_BYTES = 512 * 1024 * 1024  # of used databases that are not dropped yet
_TIMEOUT = 60.0  # seconds; a server that takes longer to copy a database has died
# What ends a session but not the server for good: it was restarted after a crash.
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)

Connection = psycopg.Connection[tuple[Any, ...]]


class Clones:
    """
    The test databases of one process; ``close()`` drops them all at the end.

    ``connect`` opens a connection with autocommit to a database that is not
    one of them, as a role that may create databases; it is called again after
    the server was restarted. ``ours``: there are no other users of the server,
    and it is thrown away afterwards. ``sharers`` is how many processes keep
    databases on it at once.

    One thread creates databases ahead, another one drops used ones. There are
    never more used ones than ``_USED_BYTES`` hold: over that limit a drop
    comes before the next creation. Below it, databases are dropped while
    nothing has to be created, so that a short run does not wait for it.
    """

    def __init__(self, connect: Callable[[], Connection], *, ours: bool, sharers: int = 1) -> None:
        self._connect = connect
        self._ours = ours
        self._sharers = sharers
        self._connection = connect()
        self._key = _lock_key(self._connection)
        self._numbers = iter(range(1, 1 << 62))
        self._changed = threading.Condition()
        self._ready: collections.deque[str] = collections.deque()
        self._used: collections.deque[str] = collections.deque()
        self._template = ""
        self._most_used = 0
        self._wanted = 0  # tests that wait for a database
        self._closed = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def create(self) -> str:
        """Create an empty database, to become the template; ConfigurationError without CREATEDB."""
        name = self._name()
        self._run(lambda connection: _create(connection, name))
        return name

    def use_template(self, name: str) -> None:
        """
        Copy this database from now on; no client can connect to it any more.

        Sessions that are still connected are ended: PostgreSQL copies no
        database that is in use.
        """
        size = self._run(lambda connection: _seal(connection, name))
        self._template = name
        self._most_used = max(2, _USED_BYTES // max(1, size) // self._sharers) if self._ours else 2
        for work in (self._create_one, self._drop_one):
            thread = threading.Thread(
                target=self._work, args=(work,), name="oxy_pg test databases", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def take(self) -> str:
        """
        Return the name of a new copy of the template that no other test gets.

        Takes no time when one was created ahead. Raises ServerError when none can be created.
        """
        deadline = Deadline(_TIMEOUT)
        with self._changed:
            self._wanted += 1
            try:
                while not self._ready:
                    if self._error is not None:
                        raise ServerError(
                            f"No test database can be created: {self._error}"
                        ) from self._error
                    self._changed.notify_all()
                    if not self._changed.wait(deadline.remaining()):
                        raise ServerError(f"No test database was created within {_TIMEOUT:g} s.")
                return self._ready.popleft()
            finally:
                self._wanted -= 1
                self._changed.notify_all()

    def give_back(self, name: str) -> None:
        """Let a database be dropped, some time before the end; its sessions are ended."""
        with self._changed:
            self._used.append(name)
            self._changed.notify_all()

    def keep(self, name: str, reason: str) -> None:
        """Leave a database to be looked at: neither we nor a sweep will drop it."""
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        statement = comment.format(sql.Identifier(name), f"kept: {reason}")
        self._run(lambda connection: connection.execute(statement))

    def log(self, text: str) -> None:
        """Write a line to the server's log; what was logged before it is above it."""
        statement = sql.SQL("DO $$ BEGIN RAISE LOG USING MESSAGE = {}; END $$").format(text)
        self._run(lambda connection: connection.execute(statement))

    def close(self, *, drop: bool = True) -> None:
        """Drop all databases that are left (unless their server goes anyway), and disconnect."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_TIMEOUT)
        try:
            if drop:
                for name in (*self._ready, *self._used, self._template):
                    if name:
                        self._run(functools.partial(drop_database, name=name))
        finally:
            self._connection.close()

    def _name(self) -> str:
        return f"{PREFIX}{self._key:08x}_{next(self._numbers)}"

    def _run(self, action: Callable[[Connection], T]) -> T:
        """Run something in the session of the test's thread; a lost one is replaced."""
        try:
            return action(self._connection)
        except _LOST:
            if not self._connection.closed:
                raise
        self._connection = self._reconnect()
        return action(self._connection)

    def _reconnect(self) -> Connection:
        """Connect again to a server that was restarted, and take the lock again."""
        for remaining in Deadline(_TIMEOUT).attempts(0.02, 0.5):
            try:
                connection = self._connect()
            except (*_LOST, OSError, ServerError):
                if not remaining:
                    raise
            else:
                _share_lock(connection, self._key)
                return connection
        raise AssertionError  # the last attempt has returned or raised

    # --- in the background ---

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
                self._changed.notify_all()

    def _create_one(self, connection: Connection) -> bool:
        """Create a database as soon as one is wanted and there is room; False at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or (len(self._ready) < _SPARES and len(self._used) <= self._most_used)
                )
            )
            if self._closed:
                return False
        name = self._name()
        try:
            _create(connection, name, self._template, by_file=self._ours)
        except _LOST:
            self.give_back(name)  # it may have been created before the session was lost
            raise
        with self._changed:
            self._ready.append(name)
            self._changed.notify_all()
        return True

    def _drop_one(self, connection: Connection) -> bool:
        """Drop a used database when there are too many, or nothing is created; False at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._used and (self._is_full() or self._is_idle()))
            )
            if self._closed:
                return False
            name = self._used[0]
        drop_database(connection, name)
        with self._changed:
            # Counted until it is gone: the limit is one of the disk.
            self._used.remove(name)
            self._changed.notify_all()
        return True

    def _is_full(self) -> bool:
        return len(self._used) >= self._most_used

    def _is_idle(self) -> bool:
        return len(self._ready) >= _SPARES and not self._wanted


def _lock_key(connection: Connection) -> int:
    """Take an advisory lock that is free, for as long as this connection lives."""
    while True:
        key = secrets.randbits(31)
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (TEST_LOCK_CLASS, key))
        if row.fetchone() == (True,):
            _share_lock(connection, key)
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (TEST_LOCK_CLASS, key))
            return key


def _share_lock(connection: Connection, key: int) -> None:
    connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (TEST_LOCK_CLASS, key))


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


def _seal(connection: Connection, name: str) -> int:
    """Close a database to all clients; return its size in bytes."""
    identifier = sql.Identifier(name)
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
    )
    found = connection.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
    return int(found[0]) if found is not None else 0


def sweep(connection: Connection) -> list[str]:
    """
    Drop the databases that killed processes have left on this server; return their names.

    Only those that are surely abandoned: named as ours are, belonging to our
    role, not kept on purpose, without connections, and whose process has
    lost its advisory lock.
    """
    return list(_swept(connection))


def _swept(connection: Connection) -> Iterator[str]:
    # A process takes its lock before it makes its first database, and pg_locks is read after the
    # snapshot of pg_database was taken: a lock that is missing then is one that has ended.
    rows = connection.execute(
        """
        SELECT datname FROM pg_database
        WHERE datname ~ %(pattern)s
          AND pg_get_userbyid(datdba) = current_user
          AND shobj_description(oid, 'pg_database') IS NULL
          AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datid = pg_database.oid)
          AND NOT EXISTS (
              SELECT FROM pg_locks
              WHERE locktype = 'advisory' AND objsubid = 2 AND classid = %(class)s
                AND lpad(to_hex(objid::bigint), 8, '0') = substr(datname, %(start)s, 8))
        ORDER BY datname
        """,
        {
            "pattern": f"^{PREFIX}[0-9a-f]{{8}}_[0-9]+$",
            "class": TEST_LOCK_CLASS,
            "start": len(PREFIX) + 1,
        },
    ).fetchall()
    for (name,) in rows:
        # In use, or gone already: then it was not abandoned, or another process sweeps too.
        with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            # Without FORCE, which would end the sessions of a process that has just begun.
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            yield name
