"""The virtual tables of a database: those that become ordinary ones, and what is left of others."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.source import virtual
from oxy_pg.migrate.source.schema import SourceColumn, SourceTable
from oxy_pg.report import Skipped


class VirtualTables:
    """The virtual tables: their rows, and the tables that their modules keep for them."""

    def __init__(
        self, connection: sqlite3.Connection, texts: dict[str, str], found: list[str]
    ) -> None:
        self._connection = connection
        self._tables = {name: virtual.parse(name, texts.get(name, "")) for name in found}
        self._owners: dict[str, str] = {}
        for name, table in self._tables.items():
            # Without the module, the tables that it keeps hold all that there is.
            if table.is_fts or self._readable(name):
                self._owners |= dict.fromkeys(table.shadows, name)

    def owner(self, table: str) -> str | None:
        """Return the virtual table that a table is a part of."""
        return self._owners.get(folded(table))

    def _readable(self, name: str) -> bool:
        try:
            # Without its values, which may be texts that are not valid.
            first = f"SELECT * FROM {quoted(name)} LIMIT 1"
            self._connection.execute(f"SELECT count(*) FROM ({first})").fetchone()
        except sqlite3.OperationalError:
            return False
        return True

    def read(self, name: str) -> tuple[SourceTable | None, Skipped]:
        """Return a virtual table as an ordinary one if its rows are its own; and what is left."""
        table = self._tables[name]
        stored = virtual.stored_columns(self._connection, table)
        if stored:
            columns = [("INTEGER" if own == stored[-1][0] else "", name) for own, name in stored]
            key = columns[-1][1]
            made = replace(_plain_table(name, columns, key), implicit_key=key)
            names = [column for _, column in columns[:-1]]
            reason = f"its rows are moved as an ordinary table with the key {key}; the index is not"
            skip = ("full-text index", reason, virtual.suggestion(table, names))
        elif table.is_rtree and self._readable(name):
            rows = self._connection.execute(f"PRAGMA main.table_xinfo({quoted(name)})").fetchall()
            columns = [(row[2], row[1]) for row in rows if row[6] != 1]
            made = _plain_table(name, columns, columns[0][1])
            dimensions = [column for declared, column in columns if declared]
            reason = "its rows are moved as an ordinary table; the index is not"
            skip = ("spatial index", reason, virtual.suggestion(table, dimensions))
        else:
            return None, self._left(table)
        return made, Skipped(skip[0], name, f"{table.module}: {skip[1]}", table.sql, skip[2])

    def _left(self, table: virtual.VirtualTable) -> Skipped:
        what = f"a virtual table ({table.module or '?'}); "
        if table.content:
            # The names of all its columns are those of the table with the rows.
            index = virtual.suggestion(table, list(table.columns))
            what += f"an index of the rows of {table.content}, which has them"
            return Skipped("virtual", table.name, what, table.sql, index)
        if table.content == "":
            what += "an index without rows"
        elif "compress" in table.options:
            what += f"its {self._rows(table)} are compressed by a function of the application"
        else:
            what += f"its content ({self._rows(table)}) belongs to a module"
        return Skipped("virtual", table.name, what, table.sql)

    def _rows(self, table: virtual.VirtualTable) -> str:
        names = [f"{table.name}_content"] * table.is_fts + [table.name]
        for name in names:
            try:
                query = f"SELECT count(*) FROM main.{quoted(name)}"
                count = int(self._connection.execute(query).fetchone()[0])
            except sqlite3.OperationalError:
                continue
            return f"{count:,} {'row' if count == 1 else 'rows'}"
        return "rows that this SQLite cannot count"


def _plain_table(name: str, columns: list[tuple[str, str]], key: str) -> SourceTable:
    made = tuple(
        SourceColumn(
            name=column,
            declared=declared,
            not_null=column == key,
            default=None,
            key_position=int(column == key),
            hidden=False,
            stored=False,
            generated=None,
            collation="BINARY",
        )
        for declared, column in columns
    )
    return SourceTable(
        name=name,
        columns=made,
        primary_key=(key,),
        indexes=(),
        foreign_keys=(),
        checks=(),
        without_rowid=True,  # the key alone names a row
        strict=False,
        autoincrement=False,
        sequence=None,
    )
