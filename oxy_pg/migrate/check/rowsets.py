"""
Rows that are skipped and values that are emptied, kept in temporary tables of the source.

They need no memory, however many they are, and SQLite can exclude them from a query.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.plan.survey import readable

if TYPE_CHECKING:
    import sqlite3

    from oxy_pg.migrate.plan.plan import TablePlan

NUMBERS = itertools.count(1)  # of temporary tables: there may be several RowSets of one connection


class RowSets:
    """
    The rows that are not moved as they are.

    ``skipped`` has the temporary table of those that are skipped, by table;
    ``nulled`` those of the rows in which a column is emptied, by table and column;
    ``emptied`` counts them by table, column and reason.
    """

    def __init__(self, source: sqlite3.Connection) -> None:
        self._source = source
        self.skipped: dict[str, str] = {}
        self.nulled: dict[tuple[str, str], list[str]] = {}
        self.emptied: Counter[tuple[str, str, str]] = Counter()
        self._single: dict[tuple[str, str], str] = {}

    def temporary(self, table: TablePlan) -> str:
        """Make an empty table for the identities of rows; return its name."""
        name = f"oxy_rows_{next(NUMBERS)}"
        keys = ", ".join(f"k{number}" for number in range(len(table.source.identity)))
        self._source.execute(f"CREATE TEMP TABLE {name} ({keys}, PRIMARY KEY ({keys}))")
        return name

    def keep(self, names: str, key: tuple[Any, ...]) -> None:
        """Add one row, by its identity as it was read."""
        # The bytes of a text that cannot be decoded are a text all the same.
        values = [readable(part) for part in key]
        broken = [
            isinstance(part, bytearray) and isinstance(value, bytes)
            for part, value in zip(key, values, strict=True)
        ]
        marks = ", ".join("CAST(? AS TEXT)" if is_text else "?" for is_text in broken)
        self._source.execute(f"INSERT OR IGNORE INTO temp.{names} VALUES ({marks})", values)

    # --- rows that are skipped -----------------------------------------------------

    def skip_table(self, table: TablePlan) -> str:
        """Return the name of the temporary table for the rows of ``table`` that are skipped."""
        if table.source.name not in self.skipped:
            self.skipped[table.source.name] = self.temporary(table)
        return self.skipped[table.source.name]

    def skip(self, table: TablePlan, key: tuple[Any, ...]) -> None:
        """Skip one row."""
        self.keep(self.skip_table(table), key)

    def skip_all(self, table: TablePlan, query: str) -> int:
        """Skip the rows whose identities a query returns; return how many were new."""
        names = self.skip_table(table)
        return self._source.execute(f"INSERT OR IGNORE INTO temp.{names} {query}").rowcount

    def forget_empty(self, table: TablePlan) -> None:
        """Spare the queries the lookup in a table without rows."""
        if not self.count(table):
            self.skipped.pop(table.source.name, None)

    def count(self, table: TablePlan) -> int:
        """Count the rows of a table that are skipped."""
        names = self.skipped.get(table.source.name)
        if names is None:
            return 0
        row = self._source.execute(f"SELECT count(*) FROM temp.{names}").fetchone()
        return int(row[0])

    def moving(self, table: TablePlan, alias: str) -> str:
        """Return the condition that a row is not skipped."""
        names = self.skipped.get(table.source.name)
        return "TRUE" if names is None else f"NOT {is_among(table, names, alias)}"

    # --- values that are emptied --------------------------------------------------

    def empty(self, table: TablePlan, column: str, names: str, count: int, why: str) -> None:
        """Let a column be NULL in the rows that a temporary table names."""
        if count:
            self.nulled.setdefault((table.source.name, column), []).append(names)
            self.emptied[table.source.name, column, why] += count

    def empty_one(self, table: TablePlan, column: str, key: tuple[Any, ...], why: str) -> None:
        """Let a column be NULL in one row."""
        if (table.source.name, column) not in self._single:
            names = self._single[table.source.name, column] = self.temporary(table)
            self.nulled.setdefault((table.source.name, column), []).append(names)
        self.keep(self._single[table.source.name, column], key)
        self.emptied[table.source.name, column, why] += 1

    def empty_all(self, table: TablePlan, columns: list[str], query: str, why: str) -> None:
        """Let columns be NULL in the rows whose identities a query returns."""
        names = self.temporary(table)
        count = self._source.execute(f"INSERT OR IGNORE INTO temp.{names} {query}").rowcount
        for column in columns:
            self.empty(table, table.source.column(column).name, names, count, why)


def is_among(table: TablePlan, names: str, alias: str) -> str:
    """Return the condition that a temporary table names a row."""
    # With "+" SQLite does not convert the kept value to the affinity of the column, for which it
    # would read all of the temporary table for each row instead of its index.
    parts = enumerate(table.source.identity)
    same = " AND ".join(f"s.k{n} IS +{alias}.{part}" for n, part in parts)
    return f"EXISTS (SELECT 1 FROM temp.{names} AS s WHERE {same})"


def in_order(table: TablePlan) -> str:
    """Return the end of a query on ``table AS t``, so that all have the rows in one order."""
    if not table.source.without_rowid:
        return ""  # NOT INDEXED is enough
    # In a table without rowids SQLite does not heed NOT INDEXED.
    return f" ORDER BY {', '.join(f't.{part}' for part in table.source.identity)}"
