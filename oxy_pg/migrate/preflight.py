"""
What would stop the migration, found before the first write.

Values that do not fit, rows that refer to nothing, and keys that are there
twice: each is listed, or decided as the user asked. Rows that stay behind and
references that are emptied are kept in temporary tables of the source's
connection, so their number does not matter.
"""

from __future__ import annotations

import queue
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oxy_pg.errors import BadValues, OrphanRows
from oxy_pg.migrate.keys import NUMBERS, Keys, comparable, is_plain
from oxy_pg.migrate.source import quoted
from oxy_pg.migrate.survey import exact_text, readable, row_name, show, unfit_values
from oxy_pg.migrate.values import family
from oxy_pg.problems import BadValue, Orphans

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.plan import ColumnPlan, ForeignKey, Plan, TablePlan, UniqueKey
    from oxy_pg.migrate.values import Value

_KEPT = 10_000  # problems listed one by one; all are counted
_BATCH = 500


class Preflight:
    """Everything that was found; ``decide`` raises or returns the plan to carry out."""

    def __init__(
        self, readers: list[sqlite3.Connection], target: psycopg.Connection[Any], plan: Plan
    ) -> None:
        self._readers = readers
        self._source = readers[0]
        self._target = target
        self.plan = plan
        self.bad: list[BadValue] = []
        self.bad_total = 0
        self.orphans: list[Orphans] = []
        self.skipped: dict[str, str] = {}
        self.nulled: dict[tuple[str, str], list[str]] = {}
        self.emptied: Counter[tuple[str, str, str]] = Counter()  # table, column, why
        self._keys = Keys(self._source, plan.encoding)

    def run(self, *, thorough: bool) -> None:
        """
        Look for every problem.

        ``thorough`` looks at every single value; else what SQLite's own scan
        found unusual is enough, and PostgreSQL checks the rest as it arrives.
        """
        options = self.plan.options
        thorough = thorough or options.on_bad_value != "error"
        if options.on_bad_value == "skip":
            # Made beforehand: a new table would abort the queries that are still being read.
            for table in self.plan.tables:
                self._skip_table(table)
        tables = []
        for table in self.plan.tables:
            columns = tuple(self._values(table, column, thorough) for column in table.columns)
            tables.append(replace(table, columns=columns))
            self._nulls(table)
            self._duplicates(replace(table, columns=columns), exact=thorough)
        self.plan = replace(self.plan, tables=tuple(tables))
        self._orphans(exact=thorough)
        for table in self.plan.tables:
            if not self.skipped_rows(table):
                self.skipped.pop(table.source.name, None)

    def raise_problems(self) -> None:
        """Raise BadValues or OrphanRows when anything was found that nobody decided about."""
        if self.bad_total:
            raise BadValues(tuple(self.bad), self.bad_total)
        if self.orphans:
            raise OrphanRows(tuple(self.orphans))

    def skipped_rows(self, table: TablePlan) -> int:
        """Count the rows of a table that stay behind."""
        names = self.skipped.get(table.source.name)
        if names is None:
            return 0
        row = self._source.execute(f"SELECT count(*) FROM temp.{names}").fetchone()
        return int(row[0])

    # --- values ---------------------------------------------------------------

    def _values(self, table: TablePlan, column: ColumnPlan, thorough: bool) -> ColumnPlan:  # noqa: FBT001
        survey = column.survey
        if column.generated or (not survey.unfit and not thorough):
            return column
        found = unfit_values(self._source, table.source, survey, everything=thorough)
        # Of the types that Python knows wholly, PostgreSQL need not be asked.
        ask = survey.type.kind in {"other", "json", "jsonb", "time", "varchar", "char"}
        empty = ask and self.plan.options.on_bad_value == "null" and not column.not_null
        # What Python knows to be unfit is emptied on its way; what PostgreSQL refuses, by its row.
        refused = self._temporary(table) if empty else None
        bad = count = 0
        for key, problem, by_postgres in self._checked(found, column, ask=ask):
            bad += 1
            if by_postgres and refused is not None:
                self._keep(refused, key)
                count += 1
            else:
                self._decide(table, column, key, problem)
        if refused is not None and count:
            self.nulled.setdefault((table.source.name, column.source), []).append(refused)
            self.emptied[table.source.name, column.source, "emptied: it did not fit"] += count
        if not bad:
            return column
        # The fast way lets some of them through, for PostgreSQL to refuse; the exact way does not.
        return replace(column, survey=replace(survey, fast=None))

    def _checked(
        self, found: Iterator[Any], column: ColumnPlan, *, ask: bool
    ) -> Iterator[tuple[tuple[Any, ...], BadValue, bool]]:
        batch: list[tuple[str, tuple[Any, ...], Value, str]] = []
        for where, key, value, result in found:
            if isinstance(result, BadValue):
                yield key, result, False
            elif ask:
                batch.append((where, key, value, result))
                if len(batch) >= _BATCH or len(result) > 100_000:
                    yield from self._refused(batch, column)
                    batch = []
        yield from self._refused(batch, column)

    def _refused(
        self, batch: list[tuple[str, tuple[Any, ...], Value, str]], column: ColumnPlan
    ) -> Iterator[tuple[tuple[Any, ...], BadValue, bool]]:
        if not batch or self._target.info.server_version < 160000:
            return
        rows = self._target.execute(
            "SELECT o, e.message FROM unnest(%s::text[]) WITH ORDINALITY u(t, o), "
            "LATERAL pg_input_error_info(t, %s) e WHERE e.message IS NOT NULL",
            [[text for *_, text in batch], column.type.sql],
        )
        for number, message in rows.fetchall():
            where, key, value, _ = batch[number - 1]
            name = self._table_of(column)
            yield key, BadValue(name, column.source, where, show(value), message), True

    def _table_of(self, column: ColumnPlan) -> str:
        return next(t.source.name for t in self.plan.tables if column in t.columns)

    def _decide(
        self, table: TablePlan, column: ColumnPlan, key: tuple[Any, ...], bad: BadValue
    ) -> None:
        policy = self.plan.options.on_bad_value
        if policy == "skip":
            self._skip(table, key)
        elif policy == "error" or column.not_null:
            self._add(bad)

    def _add(self, bad: BadValue) -> None:
        self.bad_total += 1
        if len(self.bad) < _KEPT:
            self.bad.append(bad)

    def _nulls(self, table: TablePlan) -> None:
        for column in table.columns:
            source = table.source.column(column.source)
            if not column.not_null or not column.survey.nulls:
                continue
            if table.source.rowid_alias == source.name:
                continue
            identity = ", ".join(table.source.identity)
            nulls = f"{quoted(table.source.name)} WHERE {quoted(source.name)} ISNULL"
            query = f"SELECT {identity} FROM {nulls}"
            if self.plan.options.on_bad_value == "skip":
                self._skip_all(table, query)
                continue
            for key in self._source.cursor().execute(query):
                where = row_name(table.source, key)
                reason = "the column is NOT NULL in PostgreSQL"
                self._add(BadValue(table.source.name, source.name, where, "NULL", reason))

    # --- keys that are there twice ----------------------------------------------

    def _duplicates(self, table: TablePlan, *, exact: bool) -> None:
        """Keys that are spelled in several ways are compared only if ``exact``."""
        # A key that is promised twice is looked at once.
        for unique in {(u.columns, u.folds, u.predicate): u for u in table.uniques}.values():
            planned = [table.column(name) for name in unique.columns]
            columns = [column for column in planned if column is not None]
            plain = all(is_plain(column) for column in columns)
            if any(family(column.type) is None for column in columns):
                continue  # PostgreSQL alone knows
            if exact if not plain else not _is_unique_already(table, unique):
                self._find_duplicates(table, unique)

    def _find_duplicates(self, table: TablePlan, unique: UniqueKey) -> None:
        there = "TRUE"
        if table.source.name in self.skipped:
            there = f"NOT {self.among(table, 't')}"
        if unique.predicate is not None:
            there += f" AND ({unique.predicate})"
        count = len(table.source.identity)
        with exact_text(self._source):
            try:
                rows = self._source.cursor().execute(self._keys.repeated(table, unique, there))
            except sqlite3.OperationalError:
                return  # a predicate that SQLite cannot read; PostgreSQL checks it
            for row in rows:
                if self.plan.options.on_bad_value == "skip":
                    self._skip(table, row[:count])
                    continue
                found = tuple(readable(part) for part in row)
                value = ", ".join(show(part) for part in found[count:])
                where = row_name(table.source, found[:count])
                label = ", ".join(unique.columns)
                reason = f"{unique.name} has this key already"
                self._add(BadValue(table.source.name, label, where, value, reason))

    # --- rows that refer to nothing -----------------------------------------------

    def _orphans(self, *, exact: bool) -> None:
        """
        Find the rows that refer to nothing.

        Keys that are spelled in several ways are compared only if ``exact`` or
        if there is something to do about them: PostgreSQL does it faster.
        """
        policy = self.plan.options.on_orphan
        exact = exact or policy != "error"
        if not exact and not self.skipped:
            # PostgreSQL itself checks every row when a key is created; should it refuse, there is
            # a thorough look afterwards.
            filled = tuple(key for key in self.plan.foreign_keys if self._is_filled(key))
            if not self._any_orphan(filled):
                return
        again = True
        while again:
            again = False
            for key in self.plan.foreign_keys:
                table, parent = self.plan.table(key.table), self.plan.table(key.parent)
                if table is None or parent is None:
                    continue
                if parent.existing is not None and self.plan.options.if_not_empty == "append":
                    continue  # the parent may be in the target already; PostgreSQL checks it
                if self._alike(table, parent, key):
                    query = self._orphan_query(table, parent, key)
                elif exact and comparable(table, parent, key):
                    query = self._exact_orphan_query(table, parent, key)
                else:
                    continue
                again |= self._orphans_of(table, key, query, policy)
            if policy != "skip":
                break

    def _is_filled(self, key: ForeignKey) -> bool:
        table = self.plan.table(key.table)
        return table is not None and table.action == "fill"

    def _any_orphan(self, keys: tuple[ForeignKey, ...]) -> bool:
        """Look at these keys at once, one in each thread: nearly always there is nothing."""
        idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for reader in self._readers:
            idle.put(reader)

        def one(key: ForeignKey) -> bool:
            table, parent = self.plan.table(key.table), self.plan.table(key.parent)
            if table is None or parent is None or not self._alike(table, parent, key):
                return False
            reader = idle.get()
            try:
                query = self._orphan_query(table, parent, key)
                return reader.execute(f"{query} LIMIT 1").fetchone() is not None
            finally:
                idle.put(reader)

        with ThreadPoolExecutor(len(self._readers)) as pool:
            return any(list(pool.map(one, keys)))

    def _alike(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> bool:
        # Values that are spelled in several ways cannot be compared as they are.
        pairs = zip(key.columns, key.parent_columns, strict=True)
        for own, other in pairs:
            columns = (table.column(own), parent.column(other))
            if not all(column is not None and is_plain(column) for column in columns):
                return False
        return True

    def _orphans_of(self, table: TablePlan, key: ForeignKey, query: str, policy: str) -> bool:
        nullable = [c for c in key.columns if not _not_null(table, c)]
        if policy == "skip":
            return self._skip_all(table, query) > 0
        if policy == "null" and nullable:
            self._null(table, nullable, query)
            return False
        self._list(table, key, self._source.cursor().execute(query))
        return False

    def _orphan_query(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> str:
        identity = ", ".join(f"t.{part}" for part in table.source.identity)
        present = " AND ".join(f"t.{quoted(column)} NOTNULL" for column in key.columns)
        same = " AND ".join(
            f"p.{quoted(other)} = t.{quoted(own)}{_binary(parent, other)}"
            for own, other in zip(key.columns, key.parent_columns, strict=True)
        )
        there = f"SELECT 1 FROM {quoted(parent.source.name)} AS p WHERE {same}"
        if parent.source.name in self.skipped:
            there += f" AND NOT {self.among(parent, 'p')}"
        query = (
            f"SELECT {identity} FROM {quoted(table.source.name)} AS t "
            f"WHERE {present} AND NOT EXISTS ({there})"
        )
        if table.source.name in self.skipped:
            query += f" AND NOT {self.among(table, 't')}"
        return query

    def _exact_orphan_query(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> str:
        there = "TRUE"
        if parent.source.name in self.skipped:
            there = f"NOT {self.among(parent, 'p')}"
        identity = ", ".join(f"t.{part}" for part in table.source.identity)
        query = (
            f"SELECT {identity} FROM {quoted(table.source.name)} AS t "
            f"WHERE {self._keys.missing(table, parent, key, there)}"
        )
        if table.source.name in self.skipped:
            query += f" AND NOT {self.among(table, 't')}"
        return query

    def among(self, table: TablePlan, alias: str) -> str:
        """Return the condition that a row is one of those that stay behind."""
        names = self.skipped[table.source.name]
        same = " AND ".join(
            f"s.k{n} IS {alias}.{part}" for n, part in enumerate(table.source.identity)
        )
        return f"EXISTS (SELECT 1 FROM temp.{names} AS s WHERE {same})"

    def _list(self, table: TablePlan, key: ForeignKey, found: Any) -> None:
        count = 0
        rows: list[str] = []
        for row in found:
            count += 1
            if len(rows) < 100:
                rows.append(row_name(table.source, row))
        if count:
            note = ""
            if self.plan.options.on_orphan == "null":
                note = f"{', '.join(key.columns)} is NOT NULL, and cannot be emptied"
            self.orphans.append(
                Orphans(table.source.name, key.columns, key.parent, count, tuple(rows), note)
            )

    # --- temporary tables of row identities ---------------------------------------

    def _temporary(self, table: TablePlan) -> str:
        name = f"oxy_rows_{next(NUMBERS)}"
        keys = ", ".join(f"k{number}" for number in range(len(table.source.identity)))
        self._source.execute(f"CREATE TEMP TABLE {name} ({keys}, PRIMARY KEY ({keys}))")
        return name

    def _skip(self, table: TablePlan, key: tuple[Any, ...]) -> None:
        self._keep(self._skip_table(table), key)

    def _keep(self, names: str, key: tuple[Any, ...]) -> None:
        # The bytes of a text that cannot be decoded are a text all the same.
        values = [readable(part) for part in key]
        broken = [
            isinstance(part, bytearray) and isinstance(value, bytes)
            for part, value in zip(key, values, strict=True)
        ]
        marks = ", ".join("CAST(? AS TEXT)" if is_text else "?" for is_text in broken)
        self._source.execute(f"INSERT OR IGNORE INTO temp.{names} VALUES ({marks})", values)

    def _skip_all(self, table: TablePlan, query: str) -> int:
        names = self._skip_table(table)
        return self._source.execute(f"INSERT OR IGNORE INTO temp.{names} {query}").rowcount

    def _skip_table(self, table: TablePlan) -> str:
        if table.source.name not in self.skipped:
            self.skipped[table.source.name] = self._temporary(table)
        return self.skipped[table.source.name]

    def _null(self, table: TablePlan, columns: list[str], query: str) -> None:
        name = self._temporary(table)
        count = self._source.execute(f"INSERT OR IGNORE INTO temp.{name} {query}").rowcount
        if not count:
            return
        for column in columns:
            source = table.source.column(column).name
            self.nulled.setdefault((table.source.name, source), []).append(name)
            self.emptied[table.source.name, source, "emptied: it referred to nothing"] += count


def _is_unique_already(table: TablePlan, unique: UniqueKey) -> bool:
    """Whether SQLite itself vouches for it."""
    wanted = set(unique.columns)
    if table.source.rowid_alias in wanted or set(table.source.primary_key) == wanted:
        return True
    return any(
        index.unique
        and index.predicate in {None, unique.predicate}
        and set(index.columns) <= wanted
        for index in table.source.indexes
    )


def _binary(parent: TablePlan, column: str) -> str:
    collation = parent.source.column(column).collation
    return "" if collation == "BINARY" else " COLLATE BINARY"


def _not_null(table: TablePlan, column: str) -> bool:
    planned = table.column(column)
    return planned is None or planned.not_null
