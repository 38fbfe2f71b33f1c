"""
Rows that are skipped because the rows that they refer to are, and so on along the foreign keys.

A chain may be as long as a table. So which row refers to which is looked up once for each foreign
key, and each step asks only about the rows that the step before has added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.check.rowsets import NUMBERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

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
    last = {
        name: names
        for name, names in rows.skipped.items()
        if source.execute(f"SELECT EXISTS (SELECT 1 FROM temp.{names})").fetchone()[0]
    }
    while last:
        fresh: dict[str, str] = {}
        for reference in references:
            before = last.get(reference.parent.source.name)
            if before is None:
                continue
            name = reference.table.source.name
            added = fresh.get(name) or rows.temporary(reference.table)
            if source.execute(_lost(source, rows, reference, before, added)).rowcount:
                fresh[name] = added
                rows.skip_all(reference.table, f"SELECT * FROM temp.{added}")
            elif name not in fresh:
                source.execute(f"DROP TABLE temp.{added}")
        for names in last.values():
            if names not in rows.skipped.values():
                source.execute(f"DROP TABLE temp.{names}")
        last = fresh


def _lost(
    source: sqlite3.Connection, rows: RowSets, reference: Reference, before: str, added: str
) -> str:
    """Return the statement that adds the rows all of whose parents are skipped now."""
    links = reference.links(source)
    own = ", ".join(f"l.{name}" for name in _list("c", reference.table))
    skipped = rows.skip_table(reference.table)
    parents = rows.skip_table(reference.parent)
    return (
        f"INSERT OR IGNORE INTO temp.{added} SELECT {own} FROM temp.{before} AS f "
        f"CROSS JOIN temp.{links} AS l ON {_same('l', 'p', 'f', 'k', reference.parent)} "
        f"WHERE NOT EXISTS (SELECT 1 FROM temp.{skipped} AS s "
        f"WHERE {_same('s', 'k', 'l', 'c', reference.table)}) "
        f"AND NOT EXISTS (SELECT 1 FROM temp.{links} AS o "
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
