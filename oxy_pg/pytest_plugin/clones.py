"""
Databases that live for one test each: copied from a template, made ahead, dropped late.

On the embedded server nobody else could mistake them. On somebody else's
server their names have to say whose they are, and what a killed process has
left there is found again by its successors: as long as a process lives it
holds an advisory lock, whose number is part of the names of its databases.
"""

from __future__ import annotations

import collections
import contextlib
import secrets
import threading
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from oxy_pg.errors import ConfigurationError, ServerError
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "oxy_pg_test_"

_LOCK_CLASS = 0x6F787970  # "oxyp": the first half of the advisory lock's number
_SPARES = 2  # databases made ahead
_KEPT_BYTES = 512 * 1024 * 1024  # of databases that nobody needs any more
_TIMEOUT = 60.0  # seconds; a server that takes longer to copy a database has died

Connection = psycopg.Connection[tuple[Any, ...]]


class Clones:
    """
    The test databases of one process; a context manager that drops them all at the end.

    ``connect`` opens a connection with autocommit to a database that is not
    one of them, as a role that may create databases. ``ours``: nobody else
    uses the server, and it is thrown away afterwards. ``sharers`` is how many
    processes keep databases on it at once.
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
        self._closed = False
        self._error: BaseException | None = None
        self._maker: threading.Thread | None = None

    def create(self) -> str:
        """Make an empty database, to become the template; ConfigurationError without CREATEDB."""
        name = self._name()
        _create(self._connection, name)
        return name

    def use_template(self, name: str) -> None:
        """
        Copy this database from now on; nobody can connect to it any more.

        Whoever is still connected is disconnected: PostgreSQL copies no
        database that is in use.
        """
        size = _seal(self._connection, name)
        self._template = name
        self._most_used = max(2, _KEPT_BYTES // max(1, size) // self._sharers) if self._ours else 2
        self._maker = threading.Thread(target=self._work, name="oxy_pg test databases", daemon=True)
        self._maker.start()

    def take(self) -> str:
        """
        Return the name of a new copy of the template that nobody else gets.

        Takes no time when one was made ahead. Raises ServerError when none can be made.
        """
        deadline = Deadline(_TIMEOUT)
        with self._changed:
            try:
                while not self._ready:
                    if self._error is not None:
                        raise ServerError(
                            f"No test database can be made: {self._error}"
                        ) from self._error
                    if not self._changed.wait(deadline.remaining()):
                        raise ServerError(f"No test database was made within {_TIMEOUT:g} s.")
                return self._ready.popleft()
            finally:
                self._changed.notify_all()

    def give_back(self, name: str) -> None:
        """Let a database be dropped, some time before the end, whoever is connected to it."""
        with self._changed:
            self._used.append(name)
            self._changed.notify_all()

    def keep(self, name: str, reason: str) -> None:
        """Leave a database for whoever wants to look at it: neither we nor a sweep will drop it."""
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        self._connection.execute(comment.format(sql.Identifier(name), f"kept: {reason}"))

    def log(self, text: str) -> None:
        """Write a line to the server's log; what was logged before it stands above it."""
        statement = sql.SQL("DO $$ BEGIN RAISE LOG USING MESSAGE = {}; END $$")
        self._connection.execute(statement.format(text))

    def close(self, *, drop: bool = True) -> None:
        """Drop all databases that are left (unless their server goes anyway), and hang up."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._maker is not None:
            self._maker.join(_TIMEOUT)
        try:
            if drop:
                for name in (*self._ready, *self._used, self._template):
                    if name:
                        _drop(self._connection, name)
        finally:
            self._connection.close()

    def _name(self) -> str:
        return f"{PREFIX}{self._key:08x}_{next(self._numbers)}"

    # --- in the background ---

    def _work(self) -> None:
        """Keep spare databases ready, and drop used ones when there are too many."""
        try:
            with contextlib.closing(self._connect()) as connection:
                # As long as this connection may be making a database, it is not abandoned.
                _share_lock(connection, self._key)
                while self._work_once(connection):
                    pass
        except BaseException as error:  # noqa: BLE001 - take() raises it, in the test's thread
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _work_once(self, connection: Connection) -> bool:
        """Make or drop one database, or wait until there is something to do; False at the end."""
        doomed = ""
        with self._changed:
            while True:
                if self._closed:
                    return False
                if len(self._ready) < _SPARES:
                    break
                if len(self._used) > self._most_used:
                    doomed = self._used.popleft()
                    break
                self._changed.wait()
        if doomed:
            _drop(connection, doomed)
            return True
        name = self._name()
        _create(connection, name, self._template, by_file=self._ours)
        with self._changed:
            self._ready.append(name)
            self._changed.notify_all()
        return True


def _lock_key(connection: Connection) -> int:
    """Take an advisory lock that nobody has, for as long as this connection lives."""
    while True:
        key = secrets.randbits(31)
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_CLASS, key))
        if row.fetchone() == (True,):
            _share_lock(connection, key)
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK_CLASS, key))
            return key


def _share_lock(connection: Connection, key: int) -> None:
    connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (_LOCK_CLASS, key))


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
    """Leave a database with nobody in it, for ever; return its size in bytes."""
    identifier = sql.Identifier(name)
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
    )
    found = connection.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
    return int(found[0]) if found is not None else 0


def _drop(connection: Connection, name: str, how: LiteralString = " WITH (FORCE)") -> None:
    statement = sql.SQL("DROP DATABASE IF EXISTS {}" + how).format(sql.Identifier(name))
    connection.execute(statement)


def sweep(connection: Connection) -> list[str]:
    """
    Drop the databases that killed processes have left on this server; return their names.

    Only those that are surely abandoned: named as ours are, belonging to our
    role, not kept on purpose, with nobody connected, and whose process has
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
            "class": _LOCK_CLASS,
            "start": len(PREFIX) + 1,
        },
    ).fetchall()
    for (name,) in rows:
        # In use, or gone already: then it was not abandoned, or somebody else sweeps too.
        with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            _drop(connection, name, "")
            yield name
