"""
What is too large for a row or an index of PostgreSQL, found before the first write.

A row has 8 kB besides what is stored elsewhere (TOAST), and an index row a third of that. Whether a
value fits shows only after it has been compressed. So the source says which rows may be too large,
and PostgreSQL, in a temporary table that is rolled back, which of them are.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.migrate.check.unexamined import is_understood
from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.plan.survey import exact_text, readable, row_name, show
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.source.readers import Question
from oxy_pg.migrate.target import session
from oxy_pg.report import BadValue, Skipped
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Container, Generator, Iterable

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import ColumnPlan, IndexKey, Plan, TablePlan
    from oxy_pg.migrate.source.readers import Readers

_INDEX_ROW = 2704  # bytes: BTMaxItemSize, for pages of 8 kB
_MAY_BE = 2500  # bytes of an index row without what PostgreSQL adds
_ROW = 8160  # bytes: a page of 8 kB less its header
_POINTER = 24  # bytes of a value up to which it stays in the row
_SHORT = {"uuid", "date", "time", "timetz", "interval", "inet", "cidr", "macaddr"}
_BATCH = 100
_TERMS = 50  # to a sum: SQLite limits the depth of an expression to 1,000


def may_exceed_an_index(source: sqlite3.Connection, table: TablePlan, statement: str) -> bool:
    """Whether a value that the expressions of a CREATE INDEX use may be too long for its rows."""
    used = {folded(token.value) for token in tokens.tokenize(statement)}
    names = [quoted(c.source) for c in table.columns if folded(c.source) in used]
    if not names:
        return False
    long = " OR ".join(f"length(CAST({name} AS BLOB)) * 3 / 2 > {_MAY_BE}" for name in names)
    query = f"SELECT EXISTS (SELECT 1 FROM {quoted(table.source.name)} WHERE {long})"
    return bool(source.execute(query).fetchone()[0])


class Limits:
    """
    Searches the rows of a plan; ``report`` is called with the rows that do not fit.

    With the table, the columns, the row's identity, and the words for it.
    ``refused_indexes`` says which indexes PostgreSQL does not create at all.
    """

    def __init__(
        self,
        readers: Readers,
        target: psycopg.Connection[Any],
        rows: RowSets,
        report: Callable[[TablePlan, tuple[str, ...], tuple[Any, ...], BadValue], None],
        refused_indexes: Callable[[], Container[str]],
    ) -> None:
        self._readers = readers
        self._source: sqlite3.Connection = readers.connection
        self._target = target
        self._rows = rows
        self._report = report
        self._refused_indexes = refused_indexes

    def run(self, plan: Plan) -> Plan:
        """Report every row that is too large; return the plan without the indexes that are."""
        for table in plan.tables:
            if table.rows and _least(table) > _ROW:
                self._rows_of(table)
        # Two constraints on the same columns are checked once.
        keys = {(k.table, k.columns, k.predicate, k.optional): k for k in plan.index_keys}
        tables = {table.source.name: table for table in plan.tables}
        planned = [(tables[key.table], key) for key in keys.values()]
        found = [(owner, key) for owner, key in planned if _is_unlimited(owner, key)]
        longest = self._readers.ask_all([Question(_longest(*one)) for one in found])
        lost: dict[str, Skipped] = {}
        for (owner, key), (length,) in zip(found, longest, strict=True):
            # A character may have four bytes.
            if length is not None and length * 4 > _MAY_BE:
                skipped = self._index(owner, key)
                if skipped is not None:
                    lost[key.name] = skipped
        if not lost:
            return plan
        kept = tuple(s for s in plan.post_data if not (s.what == "index" and s.name in lost))
        return replace(plan, post_data=kept, skipped=(*plan.skipped, *lost.values()))

    # --- rows -------------------------------------------------------------------

    def _rows_of(self, table: TablePlan) -> None:
        loaded = list(table.loaded)
        sizes = [
            f"CASE typeof({name}) WHEN 'null' THEN 0 WHEN 'text' THEN min(length({name}) + 4, 24) "
            f"WHEN 'blob' THEN min(length({name}) + 4, 24) ELSE 8 END"
            for name in (f"t.{quoted(column.source)}" for column in loaded)
        ]
        groups = [
            f"({' + '.join(sizes[start : start + _TERMS])})"
            for start in range(0, len(sizes), _TERMS)
        ]
        large = f"{' + '.join(groups)} > {_ROW // 2}"
        for key, _, reason in self._refused(table, loaded, large, index=False):
            where = row_name(table.source, key)
            value = many(len(loaded), "column")
            self._report(table, (), key, BadValue(table.source.name, "*", where, value, reason))

    # --- indexes ------------------------------------------------------------------

    def _index(self, table: TablePlan, key: IndexKey) -> Skipped | None:
        columns = _columns(table, key)
        size = " + ".join(
            f"coalesce(length(CAST(t.{quoted(column.source)} AS BLOB)), 0)" for column in columns
        )
        # Texts in UTF-16 may be half as long again in UTF-8.
        large = f"({size}) * 3 / 2 > {_MAY_BE}"
        if key.predicate is not None:
            if not is_understood(self._source, table, key.predicate):
                return None  # it is PostgreSQL's; the move itself will say
            large += f" AND ({key.predicate})"
        # To ask what PostgreSQL refuses, no query may be under way.
        with closing(self._refused(table, columns, large, index=True)) as rows:
            is_too_large = next(rows, None) is not None
        is_new = table.existing is None
        if not is_too_large or (is_new and key.name in self._refused_indexes()):
            return None
        for found, cells, reason in self._refused(table, columns, large, index=True):
            length = sum(len(cell.encode()) for cell in cells if cell is not None)
            where = row_name(table.source, found)
            why = f"{many(length, 'byte')}: {reason}"
            if key.optional:
                name = f"on {table.source.name}: {where} has {why}"
                return Skipped("index", key.name, name, key.source_sql)
            shown = ", ".join(show(cell) for cell in cells)
            label = ", ".join(column.source for column in columns)
            why += f" ({key.label}: an index row holds {_INDEX_ROW:,} bytes)"
            bad = BadValue(table.source.name, label, where, shown, why)
            self._report(table, tuple(column.source for column in columns), found, bad)
        return None

    # --- PostgreSQL's answer ----------------------------------------------------------

    def _refused(
        self, table: TablePlan, columns: list[ColumnPlan], large: str, *, index: bool
    ) -> Generator[tuple[tuple[Any, ...], list[str | None], str]]:
        """Yield the rows that PostgreSQL does not take: identity, texts, and what it says."""
        keys = len(table.source.identity)
        terms = [f"t.{part}" for part in table.source.identity]
        terms += [f"t.{quoted(column.source)}" for column in columns]
        query = (
            f"SELECT {', '.join(terms)} FROM {quoted(table.source.name)} AS t "
            f"WHERE {self._rows.moving(table, 't')} AND {large}"
        )
        with exact_text(self._source):
            rows = self._source.cursor().execute(query).fetchmany(_BATCH)
            if not rows:
                return
        with session.transaction(self._target), self._target.transaction(force_rollback=True):
            insert = self._probe(columns, index=index)
            if insert is None:
                return
            with exact_text(self._source):
                cursor = self._source.cursor().execute(query)
                sent = (
                    (tuple(readable(part) for part in row[:keys]), cells)
                    for row in cursor
                    if (cells := _cells(columns, row[keys:])) is not None
                )
                while batch := list(islice(sent, _BATCH)):
                    if not self._refusal(insert, [cells for _, cells in batch]):
                        continue
                    for key, cells in batch:
                        reason = self._refusal(insert, [cells])
                        if reason:
                            yield key, cells, reason

    def _probe(self, columns: list[ColumnPlan], *, index: bool) -> sql.Composed | None:
        """Create the temporary table; return the statement that fills it, None where it may not."""
        names = [sql.Identifier(f"c{number}") for number in range(len(columns))]
        table = sql.Identifier("pg_temp", "oxy_probe")
        typed = sql.SQL(", ").join(
            sql.SQL("{} {}").format(name, sql.SQL(column.type.sql))
            for name, column in zip(names, columns, strict=True)
        )
        try:
            with self._target.transaction():
                self._target.execute(sql.SQL("CREATE TEMP TABLE oxy_probe ({})").format(typed))
                if index:
                    self._target.execute(
                        sql.SQL("CREATE INDEX ON {} ({})").format(table, sql.SQL(", ").join(names))
                    )
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
            return None  # the move itself will say
        marks = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
        return sql.SQL("INSERT INTO {} VALUES ({})").format(table, marks)

    def _refusal(self, insert: sql.Composed, rows: Iterable[list[str | None]]) -> str:
        """Return what PostgreSQL says against rows, or ""."""
        try:
            with self._target.transaction(), self._target.cursor() as cursor:
                for row in rows:
                    cursor.execute(insert, row)
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith("54"):
                # Another reason, which the search for bad values finds.
                if isinstance(error, psycopg.OperationalError):
                    raise
                return ""
            # Not the name of an index that nobody else sees.
            said = error.diag.message_primary or str(error)
            return re.sub(r" for index \".*\"$", "", said)
        return ""


def _cells(columns: list[ColumnPlan], row: tuple[Any, ...]) -> list[str | None] | None:
    """Return the texts of a row for PostgreSQL; None if one of them has no form there."""
    cells: list[str | None] = []
    for column, raw in zip(columns, row, strict=True):
        value = readable(raw)
        try:
            text = None
            if value is not None:
                text = values.to_text(value, column.type, column.survey.option)
        except Unfit:
            return None
        cells.append(text)
    return cells


def _columns(table: TablePlan, key: IndexKey) -> list[ColumnPlan]:
    planned = [table.column(name) for name in key.columns]
    return [column for column in planned if column is not None]


def _least(table: TablePlan) -> int:
    """Return how many bytes a row of a table may have if everything is stored elsewhere."""
    return 24 + len(table.loaded) // 8 + _POINTER * len(table.loaded)


def _is_unlimited(table: TablePlan, key: IndexKey) -> bool:
    """Whether a key of an index may be too long, by the types of its columns."""
    columns = _columns(table, key)
    if len(columns) < len(key.columns) or not table.rows:
        return False
    return sum(_most(column) for column in columns) > _MAY_BE


def _most(column: ColumnPlan) -> int:
    """Return how many bytes a value of a column may have, as far as that is limited."""
    kind = column.type.kind
    if kind.is_number or kind.is_boolean or kind.is_instant or kind.name in _SHORT:
        return 16
    return 4 * (column.type.size or _MAY_BE)


def _longest(table: TablePlan, key: IndexKey) -> str:
    """Return the query for the length of the longest key."""
    length = " + ".join(
        f"coalesce(length({quoted(column.source)}), 0)" for column in _columns(table, key)
    )
    return f"SELECT max({length}) FROM {quoted(table.source.name)}"
