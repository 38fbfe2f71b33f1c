"""A SQLite database: found, opened read-only, checked and copied."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from urllib.parse import unquote

from oxy_pg.errors import ConfigurationError, SourceUnreadable
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.source import stand_ins, virtual
from oxy_pg.system import aside, files
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.printable import many
from oxy_pg.url import mask

_MAGIC = b"SQLite format 3\0"


def path_of(given: str) -> str:
    """
    Return the path that a path or a ``sqlite://`` URL means.

    ``sqlite:///name``, ``sqlite:////abs/name``, ``sqlite://~/name``, ``sqlite://$HOME/name`` and
    SQLAlchemy's ``sqlite+driver:`` are read; ``~`` and environment variables are expanded. As
    SQLAlchemy and SQLx disagree about three slashes, the absolute path is taken where a file is
    there, else the relative one. Raises ConfigurationError for another kind of URL.
    """
    spelled, found, rest = given.partition(":")
    if spelled.lower().partition("+")[0] != "sqlite" or not found:
        if "://" in given:
            raise ConfigurationError(
                f"The source is not a SQLite database ({mask(given)}). "
                "Write a path, or a URL such as sqlite:///var/lib/app/db.sqlite."
            )
        return os.path.expanduser(os.path.expandvars(given))
    path = unquote(rest.partition("?")[0])
    path = path.removeprefix("//") if path.startswith("//") else path
    path = os.path.expanduser(os.path.expandvars(path))
    if path.startswith("//"):
        return path[1:]
    if path.startswith("/") and not os.path.exists(path) and os.path.exists(path[1:]):
        return path[1:]
    # "sqlite:///~/db.sqlite" and "sqlite:///$HOME/db.sqlite".
    if path.startswith("/~"):
        return os.path.expanduser(path[1:])
    return path


def connect(path: str, deadline: Deadline) -> sqlite3.Connection:
    """
    Open the database read-only, inside one read transaction.

    The file is never created and never changed. Waits for a lock until the
    deadline. Raises SourceUnreadable, which says why and what to do.
    """
    refuse_other_files(path)
    try:
        connection = _open(path)
        try:
            begin(connection, deadline)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    return connection


def _open(path: str) -> sqlite3.Connection:
    # Not "immutable": that would ignore the -wal file, which may hold the newest rows.
    uri = files.sqlite_uri(os.path.abspath(path))
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    # Else SQLite before 3.41 refuses json_extract() in an index, and every version the stand-ins.
    # Nothing that a schema may call writes or reads a file: extensions are not loaded, and what
    # SQLite itself holds to be dangerous no schema may call (SQLITE_DIRECTONLY).
    connection.execute("PRAGMA trusted_schema = ON")
    # The check is for damage; a row that breaks a CHECK is none.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    return connection


def begin(connection: sqlite3.Connection, deadline: Deadline) -> None:
    """Begin a read transaction, which sees what is there now; wait for locks."""
    _wait(connection, deadline)
    connection.execute("BEGIN")
    _read_definitions(connection)
    stand_ins.install(connection)
    virtual.install_views(connection)


def _read_definitions(connection: sqlite3.Connection) -> None:
    # A transaction begins with the first read (https://www.sqlite.org/lang_transaction.html).
    query = "SELECT count(*) FROM sqlite_master"
    try:
        connection.execute(query).fetchone()
    except sqlite3.DatabaseError as error:
        if not str(error).startswith("malformed database schema"):
            raise
        # A newer SQLite may have written what this one cannot parse. So it only leaves that out.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(query).fetchone()


def _wait(connection: sqlite3.Connection, deadline: Deadline) -> None:
    """Let the connection wait for locks until the deadline."""
    milliseconds = min(deadline.remaining() * 1000, 2**31 - 1)
    connection.execute(f"PRAGMA busy_timeout = {round(milliseconds)}")


class Watch:
    """Sees whether another program has changed the database."""

    def __init__(self, path: str, deadline: Deadline) -> None:
        self._connection = _open(path)
        _wait(self._connection, deadline)

    def version(self) -> int:
        """
        Return a number that changes with each commit (PRAGMA data_version).

        All read transactions that began while it was the same see the same rows.
        """
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Stop watching."""
        self._connection.close()


def size(path: str) -> int:
    """Return the size of the database in bytes, its -wal file included."""
    log = f"{path}-wal"
    return os.path.getsize(path) + (os.path.getsize(log) if os.path.exists(log) else 0)


# Messages of the check about values, not about pages. About NULLs they are even wrong for some
# tables WITHOUT ROWID in SQLite 3.40. The migration looks at every value anyway.
# The order of keys is that of a collation, which may be one that this SQLite does not have.
_ABOUT_VALUES = re.compile(
    r"(?:NULL|NUMERIC|TEXT|non-\w+) value in |CHECK constraint failed in "
    r"|row not in PRIMARY KEY order for "
)


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raise SourceUnreadable when the file is damaged; reads all of it."""
    try:
        found = _quick_check(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    if found:
        raise damaged(path, "; ".join(found[:5]))


def _quick_check(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the file, as PRAGMA quick_check says. Raises sqlite3.Error."""
    try:
        return _said(connection, "PRAGMA main.quick_check")
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_ERROR:
            raise
    # Something cannot be evaluated: a column that is computed, the module of a virtual table.
    found = []
    for row in connection.execute("SELECT name FROM sqlite_master WHERE rootpage > 0").fetchall():
        name = row[0] if isinstance(row[0], str) else bytes(row[0]).decode(errors="replace")
        try:
            found += _said(connection, f"PRAGMA main.quick_check({quoted(name)})")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_ERROR:
                raise
    return found


def _said(connection: sqlite3.Connection, pragma: str) -> list[str]:
    # The connection may be set to read text as bytes (text_factory).
    found = [
        row[0] if isinstance(row[0], str) else bytes(row[0]).decode(errors="replace")
        for row in connection.execute(pragma)
    ]
    return [said for said in found if said != "ok" and not _ABOUT_VALUES.match(said)]


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code (https://www.sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def back_up(path: str, to: str, timeout: float) -> None:
    """
    Copy the database as of one moment, the rows in its -wal file included.

    ``timeout`` is how many seconds to wait for a lock. Raises ConfigurationError
    when there is something at ``to`` already.
    """
    taken = [to] if os.path.lexists(to) else aside.sqlite_changes(to)
    if taken:
        raise ConfigurationError(f"The backup {taken[0]} exists already; nothing was overwritten.")
    connection = connect(path, Deadline(timeout))
    place = os.path.abspath(to)
    directory, label = os.path.split(place)
    try:
        connection.execute("COMMIT")
        with aside.written(directory, label, ".sqlite-part") as part:
            with closing(sqlite3.connect(part)) as copy:
                connection.backup(copy)
            files.sync_file(part)
            aside.put(part, place, replace=False)
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(f"The backup {to} could not be written: {error}.") from error
    finally:
        connection.close()


def damaged(path: str, details: str) -> SourceUnreadable:
    """Return the error for a database whose pages are corrupt."""
    missing = _missing_bytes(path)
    if missing:
        details = f"its end is missing: {many(missing, 'byte')} ({details})"
    return SourceUnreadable(
        path,
        f"the file is damaged: {details}",
        "Restore it from a backup, or save what can be read: "
        f"sqlite3 {path} .recover | sqlite3 saved.db",
    )


def _missing_bytes(path: str) -> int:
    """Return by how much the file is shorter than its header says (https://www.sqlite.org/fileformat.html)."""
    with open(path, "rb") as file:
        head = file.read(100)
    if len(head) < 100:
        return 0
    page = {1: 65_536}.get(size := int.from_bytes(head[16:18]), size)
    # The number of pages is valid only if it was written with the last change.
    pages = int.from_bytes(head[28:32]) if head[24:28] == head[92:96] else 0
    return max(0, page * pages - os.path.getsize(path))


def refuse_other_files(path: str) -> None:
    """Raise SourceUnreadable for what is not there, or no SQLite database at its first look."""
    if os.path.isdir(path):
        raise SourceUnreadable(path, "it is a directory.", "Name the file inside it.")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise SourceUnreadable(
            path, "there is no such file.", "Check the path (--from); nothing was created."
        ) from error
    except PermissionError as error:
        raise SourceUnreadable(
            path,
            "it may not be read.",
            f"Allow it: chmod u+r {path!r}, or run as its owner.",
        ) from error
    except OSError as error:
        raise SourceUnreadable(path, f"{error.strerror}.", "Check the path (--from).") from error
    if head and head != _MAGIC:
        raise SourceUnreadable(
            path,
            "it is not a SQLite database, or an encrypted one.",
            "Check the path; an encrypted database (SQLCipher, SEE) is decrypted first, with "
            "`sqlcipher_export`.",
        )


def unreadable(path: str, error: sqlite3.Error | UnicodeDecodeError) -> SourceUnreadable:
    """Return the error for what SQLite refused to read, with the remedy that fits."""
    if isinstance(error, UnicodeDecodeError):
        return SourceUnreadable(
            path,
            f"a name in its schema is not UTF-8. SQLite says: {bytes(error.object)!r}.",
            "Rename it with the program that wrote the file, or write a copy of its tables.",
        )
    code = _code(error)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        remedy = (
            "Another program holds a lock on it. Stop that program, or wait longer for it "
            "(--timeout SECONDS)."
        )
    elif code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return _corrupt(path, error)
    elif code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} and _is_wal(path):
        remedy = (
            "It is in WAL mode, and its directory is not writable, so the -shm file cannot "
            "be created. Copy the database with its -wal file elsewhere, or allow writing there."
        )
    elif code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        remedy = (
            "Its directory cannot be used; a journal may have to be rolled back. Open it once "
            "with the program that wrote it, or check the permissions."
        )
    else:
        remedy = "Check it with `sqlite3 FILE 'PRAGMA integrity_check'`."
    return SourceUnreadable(path, f"{error}.", remedy)


def _corrupt(path: str, error: sqlite3.Error) -> SourceUnreadable:
    """Return the error for what SQLite calls corrupt: damaged only if its check says so."""
    try:
        with closing(_open(path)) as connection:
            _read_definitions(connection)
            stand_ins.install(connection)
            found = _quick_check(connection)
    except sqlite3.Error as problem:
        if _code(problem) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return damaged(path, str(problem))
        found = []
    if found:
        return damaged(path, "; ".join(found[:5]))
    return SourceUnreadable(
        path,
        f"SQLite {sqlite3.sqlite_version} says: {error}; but its check (PRAGMA quick_check) finds "
        "no damage.",
        "A program with a newer SQLite may have written it: try a newer Python, or write a plain "
        f"copy with that program: VACUUM INTO. Otherwise: sqlite3 {path} 'PRAGMA integrity_check'.",
    )


def _is_wal(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\2\2"
