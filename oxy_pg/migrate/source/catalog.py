"""
The schema of a SQLite database, read into values.

It comes from the PRAGMAs (https://www.sqlite.org/pragma.html), and what they
do not report from the text of the CREATE statements.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from oxy_pg.errors import SourceUnreadable
from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.source import stand_ins, tokens
from oxy_pg.migrate.source.database import check, unreadable
from oxy_pg.migrate.source.schema import (
    SourceColumn,
    SourceForeignKey,
    SourceIndex,
    SourceSchema,
    SourceTable,
)
from oxy_pg.migrate.source.virtual_tables import VirtualTables
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        virtuals = VirtualTables(
            connection, texts, [row[1] for row in listed if row[2] == "virtual"]
        )
        for _, name, kind, _, without_rowid, strict in sorted(listed, key=lambda row: str(row[1])):
            if name.startswith("sqlite_"):
                continue
            if kind == "view":
                reason = "views are not translated; create it in PostgreSQL"
                skipped.append(Skipped(kind, name, reason, texts.get(name)))
            elif kind == "virtual":
                table, skip = virtuals.read(name)
                tables += [table] if table else []
                skipped.append(skip)
            elif (owner := virtuals.owner(name)) is not None:
                reason = f"a shadow table, part of the virtual table {owner}"
                skipped.append(Skipped("shadow", name, reason, texts.get(name)))
            else:
                flags = (bool(without_rowid), bool(strict))
                table = _table(connection, name, flags, texts, sequences.get(name))
                table, skips = _without_unknown(connection, table)
                tables.append(table)
                skipped += skips
        triggers = connection.execute(
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type='trigger'"
        )
        for name, on, text in triggers:
            reason = f"on {on}: triggers are not translated"
            skipped.append(Skipped("trigger", name, reason, text))
        skipped += _not_parsed(connection, path)
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    return SourceSchema(path, os.path.getsize(path), encoding, tuple(tables), tuple(skipped))


def _without_unknown(
    connection: sqlite3.Connection, table: SourceTable
) -> tuple[SourceTable, list[Skipped]]:
    """Leave out the columns that this SQLite cannot compute; list what it does not know."""
    columns = []
    skipped = []
    reasons = stand_ins.not_computable(table)
    for column in table.columns:
        name = f"{table.name}.{column.name}"
        if stand_ins.is_unknown_collation(column.collation):
            reason = (
                f"{column.collation} is the application's own; PostgreSQL compares the characters"
            )
            skipped.append(Skipped("collation", name, reason))
        reason = _not_computable(connection, table, column, reasons)
        if reason:
            made = f"GENERATED ALWAYS AS ({column.generated})"
            skipped.append(Skipped("generated column", name, reason, made))
        columns.append(replace(column, hidden=column.hidden or bool(reason)))
    for index in table.indexes:
        found = [c for c in index.collations if stand_ins.is_unknown_collation(c)]
        if found and index.origin == "c":
            reason = f"{found[0]} is the application's own; PostgreSQL compares the characters"
            skipped.append(Skipped("collation", index.name, reason, index.sql))
    return replace(table, columns=tuple(columns)), skipped


def _not_computable(
    connection: sqlite3.Connection,
    table: SourceTable,
    column: SourceColumn,
    reasons: dict[str, str],
) -> str:
    """Return why the values of a generated column cannot be read, or ""."""
    if column.generated is None or column.stored:
        return ""
    if reason := reasons.get(folded(column.name)):
        return f"its values are not moved: {reason}"
    try:
        query = f"SELECT count({quoted(column.name)}) FROM {quoted(table.name)}"
        connection.execute(query).fetchone()
    except sqlite3.OperationalError as error:
        return f"its values are not moved: SQLite cannot compute all of them ({error})"
    return ""


def _not_parsed(connection: sqlite3.Connection, path: str) -> list[Skipped]:
    """List what this SQLite cannot parse. Raises SourceUnreadable for a table, which has rows."""
    if not connection.execute("PRAGMA writable_schema").fetchone()[0]:
        return []  # SQLite has read all of it (database.py)
    check(connection, path)
    version = f"SQLite {sqlite3.sqlite_version}"
    skipped = []
    for kind, name, text in connection.execute(
        "SELECT type, name, sql FROM main.sqlite_master WHERE sql IS NOT NULL"
    ):
        if not _is_understood(text):
            skipped.append(Skipped(kind, name, f"{version} cannot read it", text))
            if kind == "table":
                raise SourceUnreadable(
                    path,
                    f"{version} cannot read the definition of the table {name}.",
                    "A newer SQLite has written it: use a newer Python, whose SQLite knows it.",
                )
    return skipped


def _is_understood(statement: str) -> bool:
    with closing(sqlite3.connect(":memory:")) as memory:
        try:
            memory.execute(statement)
        except sqlite3.OperationalError as error:
            # Not "no such table": it stands alone here.
            return not re.search(r"syntax error|unrecognized token|incomplete|unknown", str(error))
    return True


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
        indexes=tuple(_indexes(connection, name, texts, text)),
        foreign_keys=tuple(_foreign_keys(connection, name, text)),
        checks=text.checks,
        without_rowid=flags[0],
        strict=flags[1],
        autoincrement=text.autoincrement,
        sequence=sequence,
        primary_key_name=next((c.name for c in text.constraints if c.kind == "PRIMARY KEY"), None),
        conflicts=tuple(_conflicts(text)),
    )


def _conflicts(text: tokens.TableText) -> Iterator[str]:
    for constraint in text.constraints:
        # ABORT is what PostgreSQL does, too.
        if constraint.conflict not in {None, "ABORT"}:
            on = f" ({', '.join(constraint.columns)})" if constraint.columns else ""
            yield f"{constraint.kind}{on} ON CONFLICT {constraint.conflict}"


def _key_position(column: SourceColumn) -> int:
    return column.key_position


def _columns(
    connection: sqlite3.Connection, table: str, text: tokens.TableText
) -> Iterator[SourceColumn]:
    rows = connection.execute(f"PRAGMA main.table_xinfo({quoted(table)})")
    for _, name, declared, not_null, default, position, hidden in rows.fetchall():
        written = text.columns.get(folded(name), tokens.ColumnText("BINARY", None))
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
    connection: sqlite3.Connection, table: str, texts: dict[str, str], written: tokens.TableText
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
        columns = tuple(row[2] if row[1] >= 0 else None for row in terms)
        constraint = _constraint(written, origin, columns)
        yield SourceIndex(
            name=name,
            unique=bool(unique),
            origin=origin,
            columns=columns,
            terms=tuple(tokens.index_terms(text)),
            collations=tuple(str(row[4]).upper() for row in terms),
            descending=tuple(bool(row[3]) for row in terms),
            predicate=tokens.where_clause(text) if partial else None,
            sql=text or None,
            constraint=constraint.name if constraint else None,
            conflict=constraint.conflict if constraint else None,
        )


def _constraint(
    written: tokens.TableText, origin: str, columns: tuple[str | None, ...]
) -> tokens.Constraint | None:
    """Find the constraint that made an index."""
    kind = {"u": "UNIQUE", "pk": "PRIMARY KEY"}.get(origin)
    names = [folded(column or "") for column in columns]
    return next(
        (
            constraint
            for constraint in written.constraints
            if constraint.kind == kind and [folded(name) for name in constraint.columns] == names
        ),
        None,
    )


def _foreign_keys(
    connection: sqlite3.Connection, table: str, written: tokens.TableText
) -> Iterator[SourceForeignKey]:
    rows = connection.execute(f"PRAGMA main.foreign_key_list({quoted(table)})").fetchall()
    texts = [c for c in written.constraints if c.kind == "FOREIGN KEY"]
    # The last one that was written is number 0.
    numbers = sorted({row[0] for row in rows}, reverse=True)
    for place, number in enumerate(numbers):
        parts = sorted((row for row in rows if row[0] == number), key=lambda row: int(row[1]))
        first = parts[0]
        text = texts[place] if len(texts) == len(numbers) else None
        yield SourceForeignKey(
            columns=tuple(row[3] for row in parts),
            parent=first[2],
            parent_columns=tuple(row[4] for row in parts if row[4] is not None),
            on_update=first[5],
            on_delete=first[6],
            name=text.name if text else None,
            deferrable=text.deferrable if text else "",
        )
