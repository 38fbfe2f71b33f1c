"""
The schema of a SQLite database, read into values.

It comes from the PRAGMAs (https://www.sqlite.org/pragma.html), and what they
do not report from the text of the CREATE statements.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.source.database import unreadable
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


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
    sql: str | None  # the CREATE INDEX statement; None for that of a constraint


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
    sequence: int | None  # the last key in sqlite_sequence

    def column(self, name: str) -> SourceColumn:
        """Return the column of this name, as SQLite would find it."""
        return next(c for c in self.columns if folded(c.name) == folded(name))

    @property
    def rowid_alias(self) -> str | None:
        """The INTEGER PRIMARY KEY, which is the rowid itself."""
        if self.without_rowid or len(self.primary_key) != 1:
            return None
        column = self.column(self.primary_key[0])
        # "INTEGER PRIMARY KEY DESC" is not an alias, and has an index of its own.
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

    @property
    def has_rowid(self) -> bool:
        """Whether a rowid names each row: the only part of ``identity`` then."""
        return not self.without_rowid and len(self.identity) == 1


@dataclass(frozen=True, slots=True)
class SourceSchema:
    """Everything that the database holds."""

    path: str
    size: int
    encoding: str
    tables: tuple[SourceTable, ...]
    skipped: tuple[Skipped, ...]
    versions: dict[str, str] = field(default_factory=dict)

    def table(self, name: str) -> SourceTable | None:
        """Return the table of this name, as SQLite would find it."""
        return next((t for t in self.tables if folded(t.name) == folded(name)), None)


def read_schema(connection: sqlite3.Connection, path: str) -> SourceSchema:
    """Read the whole schema. Raises SourceUnreadable when it is damaged."""
    try:
        encoding = str(connection.execute("PRAGMA encoding").fetchone()[0])
        listed = connection.execute("PRAGMA main.table_list").fetchall()
        texts = dict(
            connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        )
        tables: list[SourceTable] = []
        skipped: list[Skipped] = []
        sequences = _sequences(connection, texts)
        for _, name, kind, _, without_rowid, strict in sorted(listed, key=lambda row: str(row[1])):
            if name.startswith("sqlite_"):
                continue
            if kind == "table":
                flags = (bool(without_rowid), bool(strict))
                tables.append(_table(connection, name, flags, texts, sequences.get(name)))
            else:
                text = texts.get(name)
                skipped.append(Skipped(kind, name, _reason(kind, text), text))
        triggers = connection.execute(
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type='trigger'"
        )
        for name, table, text in triggers:
            reason = f"on {table}: triggers are not translated"
            skipped.append(Skipped("trigger", name, reason, text))
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    return SourceSchema(path, os.path.getsize(path), encoding, tuple(tables), tuple(skipped))


def _reason(kind: str, text: str | None) -> str:
    if kind == "virtual":
        module = tokens.tokenize(text or "")
        using = [module[i + 1].value for i, t in enumerate(module[:-1]) if t.is_word("USING")]
        return f"a virtual table ({using[0] if using else '?'}); its content belongs to a module"
    if kind == "shadow":
        return "a shadow table, part of a virtual table"
    return "views are not translated; create it in PostgreSQL"


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
            if row[5]  # the others are included, but not part of the key
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
            sql=text or None,
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
