"""
The schema of an existing SQLite file, for an export that is to look like it.

The way back after a migration: tables, indexes, triggers and views are those of
the file that the application knows, and each column's values have the form
that most of its values have there.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING, Any

from oxy_pg.errors import ExportRefused
from oxy_pg.export import names
from oxy_pg.export.columns import form
from oxy_pg.export.expressions import quoted
from oxy_pg.export.plan import ExportPlan, Stored, TablePlan
from oxy_pg.export.shapes import shape
from oxy_pg.report import Skipped
from oxy_pg.system import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oxy_pg.export.catalog import Column, Table

# What a file says about itself, and a new one has to be told before it has tables.
_PRAGMAS = ("page_size", "encoding", "user_version", "application_id", "auto_vacuum")
_SAMPLE = 2_000
_COMPUTED = {2, 3}  # PRAGMA table_xinfo: generated columns
_HIDDEN = 1


def plan(path: str, tables: Sequence[Table], others: Sequence[Skipped]) -> ExportPlan:
    """
    Plan a file like the one at ``path``, which is only read.

    Tables that it does not have are left out and listed, columns that it does
    not have are added to their table. Raises ExportRefused.
    """
    try:
        with contextlib.closing(_open(path)) as lite:
            return _Original(lite).plan(tables, others)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # A message of SQLite names what may be no text.
        said = repr(bytes(error.object)) if isinstance(error, UnicodeDecodeError) else error
        raise ExportRefused(
            f"read the schema of {path}",
            f"SQLite said: {said}.",
            "Name the SQLite file that was migrated, or leave out --like (like=).",
        ) from error


def _open(path: str) -> sqlite3.Connection:
    lite = sqlite3.connect(files.sqlite_uri(path), uri=True)
    # A value that is not valid UTF-8 is no reason to stop: it is only looked at.
    lite.text_factory = lambda raw: raw.decode(errors="replace")
    return lite


class _Original:
    """The file's schema."""

    def __init__(self, lite: sqlite3.Connection) -> None:
        self.lite = lite
        self.skipped: list[Skipped] = []
        kinds = {
            name: (kind, bool(without_rowid))
            for _, name, kind, _, without_rowid, _ in lite.execute("PRAGMA main.table_list")
        }
        self.statements = lite.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
        ).fetchall()
        # In the order in which they were created, as a migration reads them.
        self.tables = {name: kinds[name] for kind, name, _, _ in self.statements if kind == "table"}

    def plan(self, tables: Sequence[Table], others: Sequence[Skipped]) -> ExportPlan:
        virtual = {name for name, (kind, _) in self.tables.items() if kind != "table"}
        for name in sorted(virtual):
            if self.tables[name][0] == "virtual":
                reason = "a virtual table has no rows of its own: create it and fill it again"
                self._leave("virtual table", name, reason)
        before = [
            sql for kind, name, _, sql in self.statements if kind == "table" and name not in virtual
        ]
        plans = []
        for table in tables:
            target = _match(names.of_table(table.schema, table.name), self.tables)
            if target is None:
                self._leave("table", str(table), "the file of --like has no such table")
            elif target not in virtual:
                plans.append(self._table(table, target, before))
        self._unfilled({one.target for one in plans} | virtual)
        after = [
            sql
            for kind, _, table, sql in self.statements
            if kind != "table" and table not in virtual
        ]
        pragmas = [self._pragma(name) for name in _PRAGMAS]
        kept = {(kind, names.folded(name)) for kind, name, _, _ in self.statements}
        skipped = [one for one in others if (one.kind, names.folded(one.name)) not in kept]
        return ExportPlan(
            tuple(plans), tuple(pragmas), tuple(before), tuple(after), (*self.skipped, *skipped)
        )

    def _leave(self, kind: str, name: str, reason: str) -> None:
        self.skipped.append(Skipped(kind, name, reason))

    def _pragma(self, name: str) -> str:
        (value,) = self.lite.execute(f"PRAGMA main.{name}").fetchone()
        return f"PRAGMA {name} = '{value}'"

    def _unfilled(self, filled: set[str]) -> None:
        for name in sorted(set(self.tables) - filled):
            self._leave("rows", name, "PostgreSQL has no such table: it is created empty")

    def _table(self, table: Table, target: str, before: list[str]) -> TablePlan:
        """Plan one table; statements for columns that the file lacks are added to ``before``."""
        known = {
            name: (declared, hidden, key)
            for _, name, declared, _, _, key, hidden in self.lite.execute(
                f"PRAGMA main.table_xinfo({quoted(target)})"
            )
            if hidden != _HIDDEN
        }
        stored = []
        for column in table.columns:
            name = _match(column.name, known, are_columns=True)
            if name is None:
                own = form(column)
                before.append(
                    f"ALTER TABLE {quoted(target)} ADD COLUMN {quoted(column.name)} {own.spelled}"
                )
                self._leave("column order", f"{target}.{column.name}", "added: the file has it not")
                stored.append(Stored(column, column.name, own))
            elif known[name][1] not in _COMPUTED:
                stored.append(
                    Stored(column, name, self._form(column, target, name, known[name][0]))
                )
        for name in known.keys() - {one.target for one in stored}:
            if known[name][1] not in _COMPUTED:
                reason = "PostgreSQL has no such column: it has its default"
                self._leave("column", f"{target}.{name}", reason)
        alias = self._rowid_alias(target, known)
        order = tuple(one.column.name for one in stored if one.target == alias)
        return TablePlan(
            table,
            target,
            tuple(stored),
            order=order,
            has_rowid=not self.tables[target][1],
            sequence=self._sequence(target, stored, alias),
        )

    def _rowid_alias(self, target: str, known: dict[str, Any]) -> str | None:
        """Return the column that is another name of the rowid, by which rows are then ordered."""
        keys = [name for name, (_, _, key) in known.items() if key]
        if len(keys) != 1 or known[keys[0]][0].upper() != "INTEGER" or self.tables[target][1]:
            return None
        # INTEGER PRIMARY KEY DESC is a key with an index of its own, which is how it is told.
        indexes = self.lite.execute(f"PRAGMA main.index_list({quoted(target)})").fetchall()
        return None if any(origin == "pk" for _, _, _, origin, _ in indexes) else keys[0]

    def _sequence(self, target: str, stored: list[Stored], alias: str | None) -> str | None:
        sql = next(s for kind, name, _, s in self.statements if (kind, name) == ("table", target))
        if not re.search(r"\bAUTOINCREMENT\b", sql, re.IGNORECASE):
            return None
        return next((one.column.sequence for one in stored if one.target == alias), None)

    def _form(self, column: Column, table: str, name: str, declared: str) -> Any:
        # A quoted name that does not exist would be a text in SQLite.
        query = f"SELECT {quoted(table)}.{quoted(name)} FROM main.{quoted(table)}"
        rows = self.lite.execute(f"{query} WHERE {quoted(name)} IS NOT NULL LIMIT {_SAMPLE}")
        return shape(column, declared, [value for (value,) in rows])


def _match(name: str, among: dict[str, Any], *, are_columns: bool = False) -> str | None:
    """Find a name: exactly, as a migration has shortened it, or in another case."""
    known = names.shortened(among, are_columns=are_columns)
    if name in known:
        return known[name]
    found = [other for other in among if names.folded(other) == names.folded(name)]
    return found[0] if len(found) == 1 else None
