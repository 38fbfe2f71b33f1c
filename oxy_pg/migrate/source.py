"""
A SQLite database: opened read-only, its schema read into values.

The schema comes from the PRAGMAs (https://www.sqlite.org/pragma.html); what
they do not tell comes from the text of the CREATE statements.
"""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from oxy_pg.errors import ConfigurationError, SourceUnreadable
from oxy_pg.migrate import tokens
from oxy_pg.migrate.names import folded
from oxy_pg.url import mask

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"SQLite format 3\0"
_ROWID_NAMES = ("rowid", "_rowid_", "oid")


def path_of(given: str) -> str:
    """
    Return the path that a path or a ``sqlite://`` URL means.

    ``sqlite:///name``, ``sqlite:////abs/name``, ``sqlite://~/name``, ``sqlite://$HOME/name`` and
    SQLAlchemy's ``sqlite+driver:`` are read; ``~`` and environment variables are expanded. As
    SQLAlchemy and SQLx disagree about three slashes, the absolute path is taken where a file is
    there, else the relative one. Raises ConfigurationError for what is no SQLite URL.
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


def quoted(name: str) -> str:
    """Spell a name for SQLite."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column as SQLite has it."""

    name: str
    declared: str
    not_null: bool
    default: str | None
    key_position: int  # in the primary key, counted from 1; 0: not in it
    hidden: bool
    stored: bool
    generated: str | None
    collation: str


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """One index, or the UNIQUE constraint that made it."""

    name: str
    unique: bool
    origin: str  # c: CREATE INDEX, u: UNIQUE, pk: PRIMARY KEY
    columns: tuple[str | None, ...]  # None: an expression
    terms: tuple[str, ...]  # as written, for expressions
    collations: tuple[str, ...]
    descending: tuple[bool, ...]
    predicate: str | None


@dataclass(frozen=True, slots=True)
class SourceForeignKey:
    """One foreign key."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]  # empty: the parent's primary key
    on_update: str
    on_delete: str


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One table as SQLite has it."""

    name: str
    columns: tuple[SourceColumn, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[SourceIndex, ...]
    foreign_keys: tuple[SourceForeignKey, ...]
    checks: tuple[tuple[str | None, str], ...]
    without_rowid: bool
    strict: bool
    autoincrement: bool
    deferred: bool
    sequence: int | None  # what sqlite_sequence remembers

    def column(self, name: str) -> SourceColumn:
        """Return the column of this name, as SQLite would find it."""
        return next(c for c in self.columns if folded(c.name) == folded(name))

    @property
    def rowid_alias(self) -> str | None:
        """The INTEGER PRIMARY KEY, which is the rowid itself."""
        if self.without_rowid or len(self.primary_key) != 1:
            return None
        column = self.column(self.primary_key[0])
        # "INTEGER PRIMARY KEY DESC" is not one, and then has an index of its own.
        has_index = any(index.origin == "pk" for index in self.indexes)
        return column.name if column.declared.upper() == "INTEGER" and not has_index else None

    @property
    def identity(self) -> tuple[str, ...]:
        """SQL expressions that together name one row."""
        if self.without_rowid:
            return tuple(quoted(name) for name in self.primary_key)
        taken = {folded(column.name) for column in self.columns}
        free = [name for name in _ROWID_NAMES if name not in taken]
        return (free[0],) if free else tuple(quoted(c.name) for c in self.columns)


@dataclass(frozen=True, slots=True)
class SourceSchema:
    """Everything that the database holds."""

    path: str
    size: int
    encoding: str
    tables: tuple[SourceTable, ...]
    left_behind: tuple[tuple[str, str, str], ...]  # kind, name, reason
    versions: dict[str, str] = field(default_factory=dict)

    def table(self, name: str) -> SourceTable | None:
        """Return the table of this name, as SQLite would find it."""
        return next((t for t in self.tables if folded(t.name) == folded(name)), None)


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """
    Open the database read-only, inside one read transaction.

    The file is never created and never changed. Waits up to ``timeout``
    seconds for a lock. Raises SourceUnreadable, which says why and what to do.
    """
    _refuse_what_is_no_database(path)
    # Not "immutable": that would ignore the -wal file, where the newest rows may be.
    uri = f"file:{quote(os.path.abspath(path))}?mode=ro"
    try:
        connection = sqlite3.connect(
            uri, timeout=timeout, uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    return connection


def connect_all(path: str, timeout: float, count: int) -> list[sqlite3.Connection]:
    """
    Open the database ``count`` times, so that every connection sees the same moment.

    Where another program writes without a pause, there is only one.
    """
    first = connect(path, timeout)
    if count < 2:
        return [first]
    watch = sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True, isolation_level=None
    )
    others: list[sqlite3.Connection] = []
    try:
        for _ in range(20):
            # The number changes with every commit of anybody else (PRAGMA data_version): when it
            # did not, all read transactions that began in between see the same rows.
            before = _data_version(watch)
            first.execute("ROLLBACK")
            first.execute("BEGIN")
            first.execute("SELECT count(*) FROM sqlite_master").fetchone()
            others = [connect(path, timeout) for _ in range(count - 1)]
            if before == _data_version(watch):
                return [first, *others]
            for other in others:
                other.close()
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    finally:
        watch.close()
    return [first]


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


# What the check says of values, not of pages. Of NULLs it is not even true where SQLite 3.40 meets
# some tables WITHOUT ROWID. Values are looked at one by one anyway.
_ABOUT_VALUES = re.compile(r"(?:NULL|NUMERIC|TEXT|non-\w+) value in |CHECK constraint failed in ")


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raise SourceUnreadable when the file is damaged; reads all of it."""
    try:
        # Whoever met the damage may have been reading text as bytes (text_factory).
        found = [
            row[0] if isinstance(row[0], str) else bytes(row[0]).decode(errors="replace")
            for row in connection.execute("PRAGMA quick_check")
        ]
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    pages = [said for said in found if said != "ok" and not _ABOUT_VALUES.match(said)]
    if pages:
        raise damaged(path, "; ".join(pages[:5]))


def back_up(path: str, to: str, timeout: float) -> None:
    """
    Copy the database as of one moment, its -wal file's rows included.

    Raises ConfigurationError when there is something at ``to`` already.
    """
    if os.path.exists(to):
        raise ConfigurationError(f"The backup {to} exists already; nothing was overwritten.")
    connection = connect(path, timeout)
    try:
        connection.execute("COMMIT")
        copy = sqlite3.connect(to)
        try:
            connection.backup(copy)
        finally:
            copy.close()
    except sqlite3.Error as error:
        raise ConfigurationError(f"The backup {to} could not be written: {error}.") from error
    finally:
        connection.close()


def damaged(path: str, details: str) -> SourceUnreadable:
    """Return the error for a database whose pages are corrupt."""
    missing = _missing_bytes(path)
    if missing:
        details = f"{missing:,} bytes are missing at its end ({details})"
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
    # The number of pages counts only if the same program wrote it and the last change.
    pages = int.from_bytes(head[28:32]) if head[24:28] == head[92:96] else 0
    return max(0, page * pages - os.path.getsize(path))


def _refuse_what_is_no_database(path: str) -> None:
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
            path, "it may not be read.", f"Allow it: chmod u+r {path!r}, or run as its owner."
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


def _unreadable(path: str, error: sqlite3.Error) -> SourceUnreadable:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        remedy = (
            "Another program holds a lock on it. Stop that program, or wait longer for it "
            "(--timeout SECONDS)."
        )
    elif code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return damaged(path, str(error))
    elif code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} and _is_wal(path):
        remedy = (
            "It is in WAL mode, and its directory cannot be written, so that the -shm file cannot "
            "be made. Copy the database with its -wal file elsewhere, or allow writing there."
        )
    elif code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        remedy = (
            "Its directory cannot be used; a journal may wait to be rolled back. Open it once "
            "with the program that wrote it, or check the permissions."
        )
    else:
        remedy = "Check it with `sqlite3 FILE 'PRAGMA integrity_check'`."
    return SourceUnreadable(path, f"{error}.", remedy)


def _is_wal(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\2\2"


def read_schema(connection: sqlite3.Connection, path: str) -> SourceSchema:
    """Read the whole schema. Raises SourceUnreadable when it is damaged."""
    try:
        encoding = str(connection.execute("PRAGMA encoding").fetchone()[0])
        listed = connection.execute("PRAGMA main.table_list").fetchall()
        texts = dict(
            connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        )
        tables, left = [], []
        sequences = _sequences(connection, texts)
        for _, name, kind, _, without_rowid, strict in sorted(listed, key=lambda row: str(row[1])):
            if name.startswith("sqlite_"):
                continue
            if kind == "table":
                flags = (bool(without_rowid), bool(strict))
                tables.append(_table(connection, name, flags, texts, sequences.get(name)))
            else:
                left.append((kind, name, _reason(kind, texts.get(name))))
        triggers = connection.execute(
            "SELECT name, tbl_name FROM sqlite_master WHERE type='trigger'"
        )
        left.extend(
            ("trigger", name, f"on {table}: triggers have another language in PostgreSQL")
            for name, table in triggers
        )
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    return SourceSchema(path, os.path.getsize(path), encoding, tuple(tables), tuple(left))


def _reason(kind: str, text: str | None) -> str:
    if kind == "virtual":
        module = tokens.tokenize(text or "")
        using = [module[i + 1].value for i, t in enumerate(module[:-1]) if t.is_word("USING")]
        return f"a virtual table ({using[0] if using else '?'}); its content is made by a module"
    if kind == "shadow":
        return "a shadow table, part of a virtual table"
    return "views are not translated; create it again in PostgreSQL"


def _sequences(connection: sqlite3.Connection, texts: dict[str, str]) -> dict[str, int]:
    if "sqlite_sequence" not in texts:
        return {}
    rows = connection.execute(
        "SELECT name, max(seq) FROM sqlite_sequence WHERE typeof(seq) = 'integer' GROUP BY name"
    )
    return dict(rows.fetchall())


def _table(
    connection: sqlite3.Connection,
    name: str,
    flags: tuple[bool, bool],
    texts: dict[str, str],
    sequence: int | None,
) -> SourceTable:
    text = tokens.parse_table(texts.get(name, ""))
    columns = tuple(_columns(connection, name, text))
    key = sorted((column for column in columns if column.key_position), key=_key_position)
    return SourceTable(
        name=name,
        columns=columns,
        primary_key=tuple(column.name for column in key),
        indexes=tuple(_indexes(connection, name, texts)),
        foreign_keys=tuple(_foreign_keys(connection, name)),
        checks=text.checks + tuple(c for column in text.columns.values() for c in column.checks),
        without_rowid=flags[0],
        strict=flags[1],
        autoincrement=text.autoincrement,
        deferred=text.deferred,
        sequence=sequence,
    )


def _key_position(column: SourceColumn) -> int:
    return column.key_position


def _columns(
    connection: sqlite3.Connection, table: str, text: tokens.TableText
) -> Iterator[SourceColumn]:
    rows = connection.execute(f"PRAGMA main.table_xinfo({quoted(table)})")
    for _, name, declared, not_null, default, position, hidden in rows.fetchall():
        written = text.columns.get(folded(name), tokens.ColumnText("BINARY", None, ()))
        yield SourceColumn(
            name=name,
            declared=declared or "",
            not_null=bool(not_null),
            default=default,
            key_position=position,
            hidden=hidden == 1,
            stored=hidden == 3,
            generated=written.generated if hidden in {2, 3} else None,
            collation=written.collation,
        )


def _indexes(
    connection: sqlite3.Connection, table: str, texts: dict[str, str]
) -> Iterator[SourceIndex]:
    listed = connection.execute(f"PRAGMA main.index_list({quoted(table)})").fetchall()
    for _, name, unique, origin, partial in sorted(
        listed, key=lambda row: int(row[0]), reverse=True
    ):
        terms = [
            row
            for row in connection.execute(f"PRAGMA main.index_xinfo({quoted(name)})")
            if row[5]  # the others are carried along, not part of the key
        ]
        text = texts.get(name, "")
        yield SourceIndex(
            name=name,
            unique=bool(unique),
            origin=origin,
            columns=tuple(row[2] if row[1] >= 0 else None for row in terms),
            terms=tuple(tokens.index_terms(text)),
            collations=tuple(str(row[4]).upper() for row in terms),
            descending=tuple(bool(row[3]) for row in terms),
            predicate=tokens.where_clause(text) if partial else None,
        )


def _foreign_keys(connection: sqlite3.Connection, table: str) -> Iterator[SourceForeignKey]:
    rows = connection.execute(f"PRAGMA main.foreign_key_list({quoted(table)})").fetchall()
    for number in sorted({row[0] for row in rows}, reverse=True):
        parts = sorted((row for row in rows if row[0] == number), key=lambda row: int(row[1]))
        first = parts[0]
        yield SourceForeignKey(
            columns=tuple(row[3] for row in parts),
            parent=first[2],
            parent_columns=tuple(row[4] for row in parts if row[4] is not None),
            on_update=first[5],
            on_delete=first[6],
        )
