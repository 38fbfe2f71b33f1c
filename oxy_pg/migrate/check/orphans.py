"""
Orphans: rows whose foreign key refers to no row. Listed, emptied or skipped, as the user asked.

SQLite enforces foreign keys only when asked to, so most old databases have some.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.check.descendants import Reference, skip_descendants
from oxy_pg.migrate.check.keys import Keys, comparable, is_plain
from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.plan.standing import fate
from oxy_pg.migrate.plan.survey import identities, row_name
from oxy_pg.migrate.source.readers import Question
from oxy_pg.migrate.source.stand_ins import is_unknown_collation
from oxy_pg.report import SPELLED_OTHERWISE, Orphans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import ForeignKey, Plan, TablePlan
    from oxy_pg.migrate.source.readers import Readers


class OrphanSearch:
    """Searches along the foreign keys of a plan; ``found`` are the orphans that stop it."""

    def __init__(self, readers: Readers, plan: Plan, rows: RowSets, keys: Keys) -> None:
        self._readers = readers
        self._source = readers.connection
        self.plan = plan
        self._tables = {folded(table.source.name): table for table in plan.tables}
        self._rows = rows
        self._keys = keys
        self.found: list[Orphans] = []

    def run(self, *, exact: bool) -> None:
        """
        Find the rows that refer to no row.

        Keys with several spellings are compared only if ``exact``, or if
        orphans are emptied or skipped: otherwise PostgreSQL does it faster.
        """
        policy = self.plan.options.on_orphan
        exact = exact or policy != "error"
        if not exact and not self._rows.skipped:
            # PostgreSQL itself checks every row when a key is created; if it refuses, a thorough
            # search follows.
            filled = tuple(key for key in self.plan.foreign_keys if self._is_filled(key))
            if not self._any_orphan(filled):
                return
        references = []
        for key in self.plan.foreign_keys:
            table, parent = self._table(key.table), self._table(key.parent)
            if table is None or parent is None:
                continue
            if parent.existing is not None and fate(parent, self.plan.options) == "keep":
                continue  # the parent may be in the target already; PostgreSQL checks it
            if self._alike(table, parent, key):
                query = self._orphan_query(table, parent, key)
                pairs = partial(self._pairs, table, parent, key)
            elif exact and comparable(table, parent, key):
                query = self._exact_orphan_query(table, parent, key)
                pairs = partial(self._keys.pairs, table, parent, key)
            else:
                continue
            references.append(Reference(table, parent, pairs))
            self._orphans_of(table, key, query, policy)
            if table.action == "fill" and _ignores_something(parent, key):
                self._spelled_otherwise(table, parent, key)
        if policy == "skip":
            skip_descendants(self._source, self._rows, references)

    def _table(self, name: str) -> TablePlan | None:
        return self._tables.get(folded(name))

    def _is_filled(self, key: ForeignKey) -> bool:
        table = self._table(key.table)
        return table is not None and table.action == "fill"

    def _any_orphan(self, keys: tuple[ForeignKey, ...]) -> bool:
        """Whether there is an orphan of any of these keys; nearly always there is none."""
        questions = []
        for key in keys:
            table, parent = self._table(key.table), self._table(key.parent)
            if table is not None and parent is not None and self._alike(table, parent, key):
                query = self._orphan_query(table, parent, key)
                questions.append(Question(f"SELECT EXISTS ({query})"))
        return any(found for (found,) in self._readers.ask_all(questions))

    def _alike(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> bool:
        # Values with several spellings cannot be compared as they are.
        pairs = zip(key.columns, key.parent_columns, strict=True)
        for own, other in pairs:
            columns = (table.column(own), parent.column(other))
            if not all(column is not None and is_plain(column) for column in columns):
                return False
        return True

    def _orphans_of(self, table: TablePlan, key: ForeignKey, query: str, policy: str) -> None:
        nullable = [c for c in key.columns if not _not_null(table, c)]
        if policy == "skip":
            self._rows.skip_all(table, query)
        elif policy == "null" and nullable:
            self._rows.empty_all(table, nullable, query, "emptied: it referred to no row")
        else:
            self._list(table, key, identities(self._source, query))

    def _spelled_otherwise(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> None:
        """List the rows that the target's own foreign key refuses, and that are right in SQLite."""
        identity = ", ".join(f"t.{part}" for part in table.source.identity)
        there = f"SELECT 1 FROM {quoted(parent.source.name)} AS p WHERE "
        query = (
            f"SELECT {identity} FROM {quoted(table.source.name)} AS t "
            f"WHERE EXISTS ({there}{_same(parent, key)}) "
            f"AND NOT EXISTS ({there}{_same(parent, key, exactly=True)}) "
            f"AND {self._rows.moving(table, 't')}"
        )
        self._list(table, key, identities(self._source, query), SPELLED_OTHERWISE)

    def _orphan_query(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> str:
        identity = ", ".join(f"t.{part}" for part in table.source.identity)
        present = " AND ".join(f"t.{quoted(column)} NOTNULL" for column in key.columns)
        there = f"SELECT 1 FROM {quoted(parent.source.name)} AS p WHERE {_same(parent, key)}"
        there += f" AND {self._rows.moving(parent, 'p')}"
        return (
            f"SELECT {identity} FROM {quoted(table.source.name)} AS t "
            f"WHERE {present} AND NOT EXISTS ({there}) AND {self._rows.moving(table, 't')}"
        )

    def _pairs(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> str:
        """Return the query for the identities of the rows referred to, and of those that refer."""
        terms = [f"p.{part}" for part in parent.source.identity]
        terms += [f"t.{part}" for part in table.source.identity]
        return (
            f"SELECT {', '.join(terms)} FROM {quoted(table.source.name)} AS t "
            f"CROSS JOIN {quoted(parent.source.name)} AS p ON {_same(parent, key)}"
        )

    def _exact_orphan_query(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> str:
        identity = ", ".join(f"t.{part}" for part in table.source.identity)
        missing = self._keys.missing(table, parent, key, self._rows.moving(parent, "p"))
        return (
            f"SELECT {identity} FROM {quoted(table.source.name)} AS t "
            f"WHERE {missing} AND {self._rows.moving(table, 't')}"
        )

    def _list(
        self,
        table: TablePlan,
        key: ForeignKey,
        found: Iterable[tuple[Any, ...]],
        note: str = "",
    ) -> None:
        count = 0
        rows: list[str] = []
        for row in found:
            count += 1
            if len(rows) < 100:
                rows.append(row_name(table.source, row))
        if count:
            if self.plan.options.on_orphan == "null" and not note:
                note = f"{', '.join(key.columns)} is NOT NULL, and cannot be emptied"
            self.found.append(
                Orphans(table.source.name, key.columns, key.parent, count, tuple(rows), note)
            )


def _same(parent: TablePlan, key: ForeignKey, *, exactly: bool = False) -> str:
    """
    Return the condition that a row of ``t`` refers to ``parent AS p``, as SQLite understands it.

    ``exactly``: as PostgreSQL does, without the parent's collation.
    """
    terms = []
    for own, other in zip(key.columns, key.parent_columns, strict=True):
        term = f"p.{quoted(other)} = t.{quoted(own)}"
        collation = parent.source.column(other).collation
        if is_unknown_collation(collation):
            terms.append(f"{term} COLLATE BINARY")  # nobody knows what it compares as equal
        else:
            # The first can use the key's index.
            terms += [term] + [f"{term} COLLATE BINARY"] * (exactly and collation != "BINARY")
    return " AND ".join(terms)


def _ignores_something(parent: TablePlan, key: ForeignKey) -> bool:
    collations = {parent.source.column(name).collation for name in key.parent_columns}
    return any(c != "BINARY" and not is_unknown_collation(c) for c in collations)


def _not_null(table: TablePlan, column: str) -> bool:
    planned = table.column(column)
    return planned is None or planned.not_null
