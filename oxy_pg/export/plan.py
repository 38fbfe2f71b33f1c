"""What an export will do, as a value: the schema in SQLite, and how each table's rows get there."""

from __future__ import annotations

import dataclasses
import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from oxy_pg.errors import ConfigurationError
from oxy_pg.export import ddl, names
from oxy_pg.export.columns import form
from oxy_pg.export.expressions import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oxy_pg.export.catalog import Column, Table
    from oxy_pg.export.columns import Form
    from oxy_pg.report import Skipped


@dataclass(frozen=True, slots=True)
class Stored:
    """A column that is written: what it is called on both sides, and its form."""

    column: Column
    target: str
    form: Form


@dataclass(frozen=True, slots=True)
class TablePlan:
    """
    One table: read from PostgreSQL, written to SQLite, and read back from there.

    ``order`` is the column that is another name of SQLite's rowid, by which rows
    are read on both sides; with none, both give them in the order in which they
    were written. A table WITHOUT ROWID has no such order.
    """

    table: Table
    target: str
    columns: tuple[Stored, ...]
    order: tuple[str, ...] = ()
    has_rowid: bool = True
    sequence: str | None = None  # PostgreSQL's, which SQLite goes on with

    @property
    def read(self) -> sql.Composed:
        """PostgreSQL's statement for the rows."""
        columns = [
            sql.SQL(stored.form.read).format(x=sql.Identifier(stored.column.name))
            for stored in self.columns
        ]
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), self.source)
        if self.order:
            keys = map(sql.Identifier, self.order)
            query += sql.SQL(" ORDER BY {}").format(sql.SQL(", ").join(keys))
        return query

    @property
    def source(self) -> sql.Composed:
        """The table as a query reads it: without those that inherit from it."""
        only = sql.SQL("" if self.table.is_partitioned else "ONLY ")
        return only + sql.Identifier(self.table.schema, self.table.name)

    def write(self, rows: int) -> str:
        """SQLite's statement for so many rows; without columns for one."""
        if not self.columns:
            return f"INSERT INTO {quoted(self.target)} DEFAULT VALUES"
        columns = ", ".join(quoted(stored.target) for stored in self.columns)
        row = f"({', '.join('?' * len(self.columns))})"
        return f"INSERT INTO {quoted(self.target)} ({columns}) VALUES {', '.join([row] * rows)}"

    @property
    def read_back(self) -> str:
        """SQLite's statement for the rows that were written: those between two rowids, if any."""
        found = (stored.form.found.replace("{x}", quoted(stored.target)) for stored in self.columns)
        query = f"SELECT {', '.join(found) or '1'} FROM {quoted(self.target)}"
        rowid = self.rowid
        return f"{query} WHERE {rowid} BETWEEN ? AND ? ORDER BY {rowid}" if rowid else query

    @property
    def rowid(self) -> str | None:
        """What SQLite's rowid can be called; None: there is none, or columns have all its names."""
        taken = {names.folded(stored.target) for stored in self.columns}
        free = (name for name in ("rowid", "_rowid_", "oid") if name not in taken)
        return next(free, None) if self.has_rowid else None


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """
    A whole export.

    ``pragmas`` come first, then ``before`` creates the tables and ``after`` what is created
    once the rows are there.
    """

    tables: tuple[TablePlan, ...]
    pragmas: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def with_tables(self, tables: Iterable[TablePlan]) -> ExportPlan:
        """Return the same plan with other tables."""
        return dataclasses.replace(self, tables=tuple(tables))


def chosen(
    tables: Sequence[Table], only: Sequence[str] | None, exclude: Sequence[str]
) -> list[Table]:
    """Return the tables that patterns name; ConfigurationError for one that names none."""
    found = [
        table
        for table in tables
        if (only is None or any(_is_named(table, pattern) for pattern in only))
        and not any(_is_named(table, pattern) for pattern in exclude)
    ]
    for pattern in (*(only or ()), *exclude):
        if not any(_is_named(table, pattern) for table in tables):
            known = ", ".join(names.of_table(table.schema, table.name) for table in tables)
            raise ConfigurationError(
                f"No table is called {pattern!r}. The database has: {known or 'no tables'}."
            )
    return found


def _is_named(table: Table, pattern: str) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern)
        for name in (names.of_table(table.schema, table.name), str(table))
    )


def create(tables: Sequence[Table], others: Sequence[Skipped]) -> ExportPlan:
    """Plan a file whose schema is PostgreSQL's, as far as SQLite has it."""
    names.check("table", ((str(t), names.of_table(t.schema, t.name)) for t in tables))
    targets = {table.oid: names.of_table(table.schema, table.name) for table in tables}
    taken = {names.folded(name) for name in targets.values()}
    plans: list[TablePlan] = []
    before: list[str] = []
    after: list[str] = []
    skipped = list(others)
    for table in tables:
        names.check(f"column of {table}", ((c.name, c.name) for c in table.columns))
        written = ddl.write(table, targets, taken)
        before.append(written.create)
        after += written.indexes
        skipped += written.skipped
        key = written.rowid
        plans.append(
            TablePlan(
                table,
                targets[table.oid],
                tuple(Stored(c, c.name, form(c)) for c in table.columns),
                order=(key.name,) if key else (),
                sequence=key.sequence if key else None,
            )
        )
    return ExportPlan(tuple(plans), (), tuple(before), tuple(after), tuple(skipped))
