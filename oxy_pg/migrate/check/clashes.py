"""
Keys of the source that rows of the target have already, where those rows are kept.

They are found before the first write. Otherwise PostgreSQL refuses the first
of them when its unique index is built, after all rows have been loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.check.keys import sent, typed
from oxy_pg.migrate.check.rowsets import NUMBERS
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.standing import fate
from oxy_pg.migrate.plan.survey import exact_text, readable, row_name, show
from oxy_pg.migrate.target import session
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.report import BadValue

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan, UniqueKey

_FETCHED = 1000  # rows at a time


class Clashes:
    """The search; ``found`` are the clashes that stop the migration, the others are skipped."""

    def __init__(
        self, source: sqlite3.Connection, server: psycopg.Connection[Any], plan: Plan, rows: RowSets
    ) -> None:
        self._source = source
        self._server = server
        self._plan = plan
        self._rows = rows
        self._columns: list[ColumnPlan] = []
        self.found: list[BadValue] = []
        source.create_function("oxy_meant", 3, self._meant)

    def run(self) -> None:
        """Search every table whose rows in the target are kept."""
        for table in self._plan.tables:
            kept = table.standing is not None and fate(table, self._plan.options) == "keep"
            if not kept or not table.rows:
                continue
            for unique in {(u.columns, u.predicate): u for u in table.uniques}.values():
                planned = [table.column(name) for name in unique.columns]
                columns = [column for column in planned if column is not None]
                if all(column.type.kind.family is not None for column in columns):
                    self._search(table, unique, columns)

    def _search(self, table: TablePlan, unique: UniqueKey, columns: list[ColumnPlan]) -> None:
        there = self._keys_there(table, unique, columns)
        skips = self._skips(table)
        if skips:
            self._rows.skip_table(table)  # a new table would abort the query
        where = self._rows.moving(table, "t")
        if unique.predicate is not None:
            where += f" AND ({unique.predicate})"
        terms = [self._term(column) for column in columns]
        same = " AND ".join(f"s.k{n} = {term}" for n, term in enumerate(terms))
        read = [f"t.{part}" for part in table.source.identity]
        read += [f"t.{quoted(column.source)}" for column in columns]
        query = (
            f"SELECT {', '.join(read)} FROM {quoted(table.source.name)} AS t WHERE {where} "
            f"AND EXISTS (SELECT 1 FROM temp.{there} AS s WHERE {same})"
        )
        count = len(table.source.identity)
        with exact_text(self._source):
            for row in self._source.cursor().execute(query):
                if skips:
                    self._rows.skip(table, row[:count])
                else:
                    self.found.append(_clash(table, unique, tuple(map(readable, row))))

    def _skips(self, table: TablePlan) -> bool:
        """Whether the target's row stays and the source's is left out, as was asked."""
        seeds = table.standing is not None and table.standing.seeds
        return self._plan.options.on_bad_value == "skip" or (
            seeds and self._plan.options.seeds == "keep"
        )

    def _keys_there(self, table: TablePlan, unique: UniqueKey, columns: list[ColumnPlan]) -> str:
        """Collect the keys of the target's rows in a temporary table; return its name."""
        name = f"oxy_there_{next(NUMBERS)}"
        keys = ", ".join(f"k{n}" for n in range(len(columns)))
        self._source.execute(f"CREATE TEMP TABLE {name} ({keys}, PRIMARY KEY ({keys}))")
        marks = ", ".join("?" * len(columns))
        self._source.executemany(
            f"INSERT OR IGNORE INTO temp.{name} VALUES ({marks})",
            self._rows_there(table, unique, columns),
        )
        return name

    def _rows_there(
        self, table: TablePlan, unique: UniqueKey, columns: list[ColumnPlan]
    ) -> Iterator[tuple[str, ...]]:
        terms = ", ".join(f"{ident(column.target)}::text" for column in columns)
        there = " AND ".join(f"{ident(column.target)} IS NOT NULL" for column in columns)
        for index in table.existing.uniques if table.existing else ():
            if index.predicate and unique.name == f"the unique index {index.name}":
                there += f" AND ({index.predicate})"
        query = f"SELECT {terms} FROM {ident(self._plan.schema, table.target)} WHERE {there}"
        with (
            session.transaction(self._server),
            self._server.cursor(name="oxy_pg_keys") as cursor,
        ):
            cursor.itersize = _FETCHED
            for row in cursor.execute(query.encode()):
                parts = zip(row, columns, strict=True)
                yield tuple(repr(column.type.kind.canonical(text)) for text, column in parts)

    def collect(self, table: TablePlan, columns: list[ColumnPlan], into: str) -> None:
        """Collect the keys of the source's rows that are moved in a temporary table."""
        terms = ", ".join(self._term(column) for column in columns)
        self._source.execute(
            f"INSERT OR IGNORE INTO temp.{into} SELECT {terms} "
            f"FROM {quoted(table.source.name)} AS t WHERE {self._rows.moving(table, 't')}"
        )

    def _term(self, column: ColumnPlan) -> str:
        self._columns.append(column)
        return f"oxy_meant({len(self._columns) - 1}, {typed(f't.{quoted(column.source)}')})"

    def _meant(self, number: int, storage: str, raw: Any) -> str | None:
        if raw is None:
            return None
        column = self._columns[number]
        try:
            text = sent(column, storage, raw, self._plan.encoding)
        except Unfit:
            return None  # a bad value: listed elsewhere
        return repr(column.type.kind.canonical(text))


def _clash(table: TablePlan, unique: UniqueKey, row: tuple[Any, ...]) -> BadValue:
    count = len(table.source.identity)
    value = ", ".join(show(part) for part in row[count:])
    where = row_name(table.source, row[:count])
    reason = f"a row of {table.target} in the target has this key already"
    return BadValue(table.source.name, ", ".join(unique.columns), where, value, reason)
