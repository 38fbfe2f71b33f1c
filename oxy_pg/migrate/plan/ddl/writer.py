"""What the writers of statements share: names that are taken, notes, what columns mean."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, shorten
from oxy_pg.migrate.plan.ddl.conditions import Named
from oxy_pg.migrate.plan.plan import IndexKey, UniqueKey
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Container

    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.plan import TablePlan
    from oxy_pg.migrate.source.schema import SourceIndex
    from oxy_pg.migrate.target.catalog import TargetSchema


class Writer:
    """Collects what is decided while the statements for the tables of one plan are written."""

    def __init__(
        self,
        tables: list[TablePlan],
        target: TargetSchema,
        notes: tuple[list[Skipped], list[str]],
        options: Options,
        *,
        compute: bool,
    ) -> None:
        self.target = target
        self.options = options
        self.compute = compute
        self.skipped, self.warnings = notes
        self.taken = set(target.names) | {table.target for table in tables}
        # Names that the source gives to indexes and keys, and the target's tables they are on.
        self.indexes = {
            name: table.target for table in tables for name in _given_names(table) if name
        }
        self._sorted = sorted(self.indexes)
        self.uniques: dict[str, list[UniqueKey]] = defaultdict(list)
        self.index_keys: list[IndexKey] = []
        self._constraints: dict[str, set[str]] = defaultdict(set)
        # The columns that foreign keys refer to, by the parent's name.
        self.referred: set[tuple[str, frozenset[str]]] = {
            (folded(key.parent), frozenset(folded(name) for name in key.parent_columns))
            for table in tables
            for key in table.source.foreign_keys
        }

    def skip(
        self,
        what: str,
        name: str,
        reason: str,
        sql: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        """Note that an object stays behind."""
        self.skipped.append(Skipped(what, name, reason, sql, suggestion))

    def name(self, relation: str) -> str:
        """Spell the name of a relation."""
        return ident(self.target.name, relation)

    def table_name(self, table: TablePlan) -> str:
        """Spell the name of a table."""
        return self.name(table.target)

    def relation(self, name: str, what: str) -> str:
        """Take a name for an index or a key; where it is in use, a similar one."""
        taken = shorten(name, self.taken)
        self.taken.add(taken)
        if taken != name:
            self.warnings.append(f"{what} {name} is called {taken}")
        return taken

    def constraint(
        self, table: TablePlan, name: str | None, usual: str, *, is_key: bool = False
    ) -> str:
        """
        Take a name for a constraint; return how ADD begins.

        Keys are relations, too; the names of others are only their table's. One
        without a name gets one from PostgreSQL: the ``usual`` one after the table's.
        Where the source gives that to another constraint, which is added later, we choose.
        """
        given = _given_constraints(table)
        if not name and not any(one.startswith(table.target[:20]) for one in given):
            return ""
        own = self._constraints[table.target]
        avoided: list[Container[str]] = [own]
        if is_key:
            avoided.append(self.taken)
        if not name:
            avoided += [given, self.indexes]
        taken = shorten(name or f"{table.target}_{usual}", *avoided)
        if is_key:
            self.taken.add(taken)
        own.add(taken)
        if name and taken != name:
            self.warnings.append(f"constraint {name} of {table.source.name} is called {taken}")
        return f"CONSTRAINT {ident(taken)} "

    def owners(self, begins: str) -> frozenset[str]:
        """Return the tables of the indexes and keys whose given names begin so."""
        first = bisect_left(self._sorted, begins)
        last = bisect_left(self._sorted, begins + "\U0010ffff", lo=first)
        return frozenset(self.indexes[name] for name in self._sorted[first:last])

    def note_unique(self, table: TablePlan, index: SourceIndex) -> None:
        """Note a unique index, whose keys are compared before the write."""
        columns = tuple(column for column in index.columns if column is not None)
        if len(columns) == len(index.columns):  # else PostgreSQL alone can tell
            name = (
                f"the unique index {index.name}" if index.origin == "c" else "a UNIQUE constraint"
            )
            folds = tuple(collation == "NOCASE" for collation in index.collations)
            key = UniqueKey(name, columns, folds, index.predicate)
            self.uniques[table.source.name].append(key)

    def note_key(
        self,
        table: TablePlan,
        columns: tuple[str, ...],
        label: str,
        index: SourceIndex | None = None,
    ) -> None:
        """Note the columns of a key; ``index`` is the one of the source that has its name."""
        self.index_keys.append(
            IndexKey(
                table.source.name,
                columns,
                index.name if index else label,
                label,
                index.predicate if index else None,
                optional=index is not None and not index.unique,
                source_sql=index.sql if index else None,
            )
        )


def _given_constraints(table: TablePlan) -> set[str]:
    """Return the names that the source gives to constraints of a table."""
    names = {name for name, _ in table.source.checks} | {table.source.primary_key_name}
    names |= {key.name for key in table.source.foreign_keys}
    names |= {index.constraint for index in table.source.indexes}
    return {name for name in names if name}


def _given_names(table: TablePlan) -> list[str | None]:
    names: list[str | None] = [index.name for index in table.source.indexes]
    names += [index.constraint for index in table.source.indexes]
    return [*names, table.source.primary_key_name]


def named(table: TablePlan) -> dict[str, Named]:
    """Return what the names of a table's columns mean, for conditions.py."""
    return {
        folded(column.source): Named(
            column.target, column.type, table.source.column(column.source).collation
        )
        for column in table.columns
    }


def after(*tables: TablePlan) -> frozenset[str]:
    """Return the tables that are filled before a statement, by their names in the target."""
    return frozenset(table.target for table in tables)


def after_names(table: TablePlan, writer: Writer) -> frozenset[str]:
    """Return the tables whose indexes have a name that PostgreSQL may choose for a key."""
    # PostgreSQL chooses the names of keys, which begin with the table's: indexes and keys of the
    # source that have such a name are created first.
    return after(table) | writer.owners(table.target[:20])
