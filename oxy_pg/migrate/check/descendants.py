"""
Rows that are skipped because the rows that they refer to are, and so on along the foreign keys.

A chain may be as long as a table. So which row refers to which is looked up once for each foreign
key, and each step asks only about the rows that the step before has added.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from oxy_pg.migrate.check.rowsets import NUMBERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import TablePlan


class Reference:
    """
    A foreign key from ``table`` to ``parent``.

    ``pairs`` returns the query for the identities of the parent's row and of
    the row that refers to it; it is asked for only where it is needed.
    """

    def __init__(self, table: TablePlan, parent: TablePlan, pairs: Callable[[], str]) -> None:
        self.table = table
        self.parent = parent
        self._pairs = pairs
        self._links: str | None = None

    def links(self, source: sqlite3.Connection) -> str:
        """Return the name of the temporary table of these pairs."""
        if self._links is None:
            self._links = f"oxy_links_{next(NUMBERS)}"
            parents, own = _names("p", self.parent), _names("c", self.table)
            source.execute(f"CREATE TEMP TABLE {self._links} ({parents}, {own})")
            source.execute(f"INSERT INTO temp.{self._links} {self._pairs()}")
            source.execute(f"CREATE INDEX temp.{self._links}_p ON {self._links} ({parents})")
            source.execute(f"CREATE INDEX temp.{self._links}_c ON {self._links} ({own})")
        return self._links


def skip_descendants(
    source: sqlite3.Connection, rows: RowSets, references: Sequence[Reference]
) -> None:
    """Skip every row that is left without one that it refers to."""
    tables = {table.source.name: table for r in references for table in (r.table, r.parent)}
    last = {name for name, table in tables.items() if rows.count(table)}
    if not last:
        return
    # All statements are made once: a new one in every step takes longer than running it.
    added = {name: _Added(source, rows, table) for name, table in tables.items()}
    lost: dict[Reference, str] = {}
    for step in itertools.count(1):
        fresh = set()
        for reference in references:
            name, parent = reference.table.source.name, reference.parent.source.name
            if parent not in last:
                continue
            if reference not in lost:
                lost[reference] = _lost(source, rows, reference, added)
            if source.execute(lost[reference], {"step": step}).rowcount:
                fresh.add(name)
        for name in fresh:
            source.execute(added[name].skip, {"step": step})
        if not fresh:
            break
        last = fresh
    for one in added.values():
        source.execute(f"DROP TABLE temp.{one.names}")


class _Added:
    """The rows of one table that each step has added: ``names`` is the temporary table of them."""

    def __init__(self, source: sqlite3.Connection, rows: RowSets, table: TablePlan) -> None:
        keys, skipped = _names("k", table), rows.skip_table(table)
        self.names = f"oxy_added_{next(NUMBERS)}"
        self.skip = (
            f"INSERT INTO temp.{skipped} SELECT {keys} FROM temp.{self.names} WHERE step = :step"
        )
        source.execute(f"CREATE TEMP TABLE {self.names} ({keys}, step, PRIMARY KEY ({keys}))")
        source.execute(f"INSERT INTO temp.{self.names} SELECT {keys}, 0 FROM temp.{skipped}")
        source.execute(f"CREATE INDEX temp.{self.names}_step ON {self.names} (step)")


def _lost(
    source: sqlite3.Connection,
    rows: RowSets,
    reference: Reference,
    added: Mapping[str, _Added],
) -> str:
    """Return the statement that adds the rows all of whose parents are skipped now."""
    links = reference.links(source)
    own = ", ".join(f"l.{name}" for name in _list("c", reference.table))
    names, before = (added[t.source.name].names for t in (reference.table, reference.parent))
    parents = rows.skip_table(reference.parent)
    return (
        f"INSERT OR IGNORE INTO temp.{names} SELECT {own}, :step FROM temp.{before} AS f "
        f"CROSS JOIN temp.{links} AS l ON {_same('l', 'p', 'f', 'k', reference.parent)} "
        f"WHERE f.step = :step - 1 AND NOT EXISTS (SELECT 1 FROM temp.{links} AS o "
        f"WHERE {_same('o', 'c', 'l', 'c', reference.table)} "
        f"AND NOT EXISTS (SELECT 1 FROM temp.{parents} AS s "
        f"WHERE {_same('s', 'k', 'o', 'p', reference.parent)}))"
    )


def _list(letter: str, table: TablePlan) -> list[str]:
    return [f"{letter}{number}" for number in range(len(table.source.identity))]


def _names(letter: str, table: TablePlan) -> str:
    return ", ".join(_list(letter, table))


def _same(one: str, letter: str, other: str, other_letter: str, table: TablePlan) -> str:
    return " AND ".join(
        f"{one}.{letter}{number} IS {other}.{other_letter}{number}"
        for number in range(len(table.source.identity))
    )
