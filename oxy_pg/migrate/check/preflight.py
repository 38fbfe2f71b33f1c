"""
What would stop the migration, found before the first write.

Values that do not fit, duplicate keys, and orphans (orphans.py): each is
listed, emptied or skipped, as the user asked.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oxy_pg.errors import (
    BadValues,
    ChangedValues,
    KeysInUse,
    OrphanRows,
    TargetRefused,
    UnclearTimes,
)
from oxy_pg.migrate.check.changes import Changes, Found
from oxy_pg.migrate.check.clashes import Clashes
from oxy_pg.migrate.check.dangling import dangling
from oxy_pg.migrate.check.keys import Keys, is_plain
from oxy_pg.migrate.check.limits import Limits
from oxy_pg.migrate.check.orphans import OrphanSearch
from oxy_pg.migrate.check.rowsets import RowSets
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.survey import (
    exact_text,
    identities,
    readable,
    row_name,
    show,
    unfit_values,
)
from oxy_pg.report import BadValue, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    import psycopg

    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan, UniqueKey
    from oxy_pg.migrate.source.readers import Readers
    from oxy_pg.report import Orphans, UnclearTime, ValueChange

_KEPT = 100_000  # problems listed one by one; all are counted


class Preflight:
    """
    The search for problems, and what it found.

    After run(), ``plan`` is the plan to carry out, and raise_problems() raises
    if there are problems that the options do not settle. ``refused_indexes``
    says which indexes PostgreSQL does not create: no key is in their way. It
    is asked when there is one.
    """

    def __init__(
        self,
        readers: Readers,
        target: psycopg.Connection[Any],
        plan: Plan,
        refused_indexes: Callable[[], Container[str]] = frozenset,
    ) -> None:
        self._readers = readers
        self._source = readers.connection
        self._target = target
        self._refused_indexes = refused_indexes
        self.plan = plan
        self.bad: list[BadValue] = []
        self.bad_total = 0
        self.taken: list[BadValue] = []
        self.dangling: tuple[str, ...] = ()
        self.orphans: list[Orphans] = []
        self.changes = Changes(target)
        self.rows = RowSets(self._source)
        self._keys = Keys(self._source, plan.encoding)

    def run(
        self, *, thorough: bool, on_progress: Callable[[Progress], object] | None = None
    ) -> None:
        """
        Look for every problem.

        ``thorough`` looks at every single value; otherwise only at those that
        cannot take the fast way, and PostgreSQL checks the rest as it arrives.
        """
        options = self.plan.options
        thorough = thorough or options.on_bad_value != "error"
        if options.on_bad_value == "skip":
            # Created in advance: a new table would abort the queries that are still being read.
            for table in self.plan.tables:
                self.rows.skip_table(table)
        tables: list[TablePlan] = []
        done, of_rows = 0, self.plan.rows

        def show(table: TablePlan, columns: int) -> None:
            # The last part is for the keys; what follows looks at few rows.
            rows = done + table.rows * columns // (len(table.columns) + 1)
            if on_progress is not None:
                name, of = table.source.name, len(self.plan.tables)
                on_progress(Progress("check", len(tables), of, name, rows, of_rows))

        for table in self.plan.tables:
            found: list[ColumnPlan] = []
            for column in table.columns:
                show(table, len(found))
                found.append(self._values(table, column, thorough))
            columns = tuple(found)
            show(table, len(found))
            tables.append(replace(table, columns=columns))
            self.changes.note_rounded(self._source, table)
            self._nulls(table)
            self._duplicates(replace(table, columns=columns), exact=thorough)
            done += table.rows
        self.plan = replace(self.plan, tables=tuple(map(self._with_changes, tables)))
        limits = Limits(
            self._readers, self._target, self.rows, self._too_large, self._refused_indexes
        )
        self.plan = limits.run(self.plan)
        clashes = Clashes(self._source, self._target, self.plan, self.rows)
        clashes.run()
        self.taken = clashes.found
        self.dangling = tuple(dangling(self._source, self._target, self.plan, clashes))
        search = OrphanSearch(self._readers, self.plan, self.rows, self._keys)
        search.run(exact=thorough)
        self.orphans = search.found
        for table in self.plan.tables:
            self.rows.forget_empty(table)

    def _with_changes(self, table: TablePlan) -> TablePlan:
        """Note in the plan which columns have values that PostgreSQL changes."""
        changed = {
            change.column for change in self.changes.every() if change.table == table.source.name
        }
        columns = (replace(c, changes=c.source in changed) for c in table.columns)
        return replace(table, columns=tuple(columns))

    def raise_problems(self) -> None:
        """Raise UnclearTimes, BadValues, OrphanRows or ChangedValues where no option settles it."""
        if self.unclear:
            raise UnclearTimes(self.unclear)
        if self.bad_total:
            raise BadValues(tuple(self.bad), self.bad_total)
        if self.taken:
            raise KeysInUse(tuple(self.taken[:_KEPT]), len(self.taken))
        if self.dangling:
            remedy = (
                "--seeds keep keeps all rows that --prepare has made, and adds the source's "
                "others; --if-not-empty truncate deletes all of them."
            )
            raise TargetRefused("replace the rows of", "\n".join(self.dangling), remedy)
        if self.orphans:
            raise OrphanRows(tuple(self.orphans))
        if self.stopping:
            raise ChangedValues(self.stopping)

    @property
    def unclear(self) -> tuple[UnclearTime, ...]:
        """The columns of times that cannot be read without a cast."""
        found = (c.survey.unclear for table in self.plan.tables for c in table.columns)
        return tuple(unclear for unclear in found if unclear is not None)

    @property
    def stopping(self) -> tuple[ValueChange, ...]:
        """The changes that were not allowed."""
        return self.changes.stop() if self.plan.options.on_change == "stop" else ()

    # --- values ---------------------------------------------------------------

    def _values(self, table: TablePlan, column: ColumnPlan, thorough: bool) -> ColumnPlan:  # noqa: FBT001
        survey = column.survey
        if column.generated or survey.unclear or (not survey.unfit and not thorough):
            return column
        every = unfit_values(self._source, table.source, survey, everything=thorough)
        found = (Found(*one) for one in every)
        ask = survey.type.kind.is_judged_by_postgres
        empty = ask and self.plan.options.on_bad_value == "null" and not column.not_null
        # What Python knows to be unfit is emptied by the load; what PostgreSQL refuses, by its row.
        refused = self.rows.temporary(table) if empty else None
        bad = count = 0
        for key, problem, by_postgres in self.changes.examine(table, column, found):
            bad += 1
            if by_postgres and refused is not None:
                self.rows.keep(refused, key)
                count += 1
            else:
                self._decide(table, column, key, problem)
        if refused is not None:
            self.rows.empty(table, column.source, refused, count, "emptied: it did not fit")
        if not bad:
            return column
        # The fast way lets some of them through, for PostgreSQL to refuse; the exact way does not.
        return replace(column, survey=replace(survey, fast=None))

    def _decide(
        self, table: TablePlan, column: ColumnPlan, key: tuple[Any, ...], bad: BadValue
    ) -> None:
        policy = self.plan.options.on_bad_value
        if policy == "skip":
            self.rows.skip(table, key)
        elif policy == "error" or column.not_null:
            self._add(bad)

    def _too_large(
        self, table: TablePlan, columns: tuple[str, ...], key: tuple[Any, ...], bad: BadValue
    ) -> None:
        policy = self.plan.options.on_bad_value
        planned = [table.column(name) for name in columns]
        if policy == "skip":
            self.rows.skip(table, key)
        elif policy == "null" and len(planned) == 1 and planned[0] and not planned[0].not_null:
            self.rows.empty_one(table, planned[0].source, key, "emptied: it did not fit")
        else:
            self._add(bad)

    def _add(self, bad: BadValue) -> None:
        self.bad_total += 1
        if len(self.bad) < _KEPT:
            self.bad.append(bad)

    def _nulls(self, table: TablePlan) -> None:
        for column in table.columns:
            source = table.source.column(column.source)
            if not column.not_null or not column.survey.nulls or column.generated:
                continue
            if table.source.rowid_alias == source.name:
                continue
            identity = ", ".join(table.source.identity)
            nulls = f"{quoted(table.source.name)} WHERE {quoted(source.name)} ISNULL"
            query = f"SELECT {identity} FROM {nulls}"
            if self.plan.options.on_bad_value == "skip":
                self.rows.skip_all(table, query)
                continue
            for key in identities(self._source, query):
                where = row_name(table.source, key)
                reason = "the column is NOT NULL in PostgreSQL"
                self._add(BadValue(table.source.name, source.name, where, "NULL", reason))

    # --- duplicate keys ---------------------------------------------------------

    def _duplicates(self, table: TablePlan, *, exact: bool) -> None:
        """Keys with several spellings are compared only if ``exact``."""
        # Two constraints on the same key are checked once.
        for unique in {(u.columns, u.folds, u.predicate): u for u in table.uniques}.values():
            planned = [table.column(name) for name in unique.columns]
            columns = [column for column in planned if column is not None]
            plain = all(is_plain(column) for column in columns)
            if any(column.type.kind.family is None for column in columns):
                continue  # PostgreSQL alone can compare them
            if exact if not plain else not _is_unique_already(table, unique):
                self._find_duplicates(table, unique)

    def _find_duplicates(self, table: TablePlan, unique: UniqueKey) -> None:
        there = self.rows.moving(table, "t")
        if unique.predicate is not None:
            there += f" AND ({unique.predicate})"
        count = len(table.source.identity)
        query = self._keys.repeated(table, unique, there)
        with exact_text(self._source):
            if not self._is_repeated(table, unique, query):
                return
            for row in self._source.cursor().execute(query):
                if self.plan.options.on_bad_value == "skip":
                    self.rows.skip(table, row[:count])
                    continue
                found = tuple(readable(part) for part in row)
                value = ", ".join(show(part) for part in found[count:])
                where = row_name(table.source, found[:count])
                label = ", ".join(unique.columns)
                reason = f"{unique.name} has this key already"
                self._add(BadValue(table.source.name, label, where, value, reason))

    def _is_repeated(self, table: TablePlan, unique: UniqueKey, query: str) -> bool:
        """Whether a key is there twice, and PostgreSQL will look at it."""
        try:
            found = self._source.execute(query).fetchone()
        except sqlite3.OperationalError:
            return False  # SQLite cannot read the predicate; PostgreSQL checks it
        if found is None or table.existing is not None:
            return found is not None
        return unique.index not in self._refused_indexes()


def _is_unique_already(table: TablePlan, unique: UniqueKey) -> bool:
    """Whether SQLite itself enforces it."""
    wanted = set(unique.columns)
    if table.source.rowid_alias in wanted or set(table.source.primary_key) == wanted:
        return True
    return any(
        index.unique
        and index.predicate in {None, unique.predicate}
        and set(index.columns) <= wanted
        for index in table.source.indexes
    )
