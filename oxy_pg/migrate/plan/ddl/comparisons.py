"""
Foreign keys whose two sides SQLite compares in another way than PostgreSQL will.

With the parent's collation, which may ignore case, and between texts and numbers. What the rows
hold decides: it is asked before the first write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.kinds.uuids import UUID
from oxy_pg.migrate.convert.types import parse_cast
from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.source.stand_ins import is_unknown_collation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from oxy_pg.migrate.convert.types import Cast
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan


class Comparisons:
    """Asks the source about the rows of foreign keys."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self._source = source

    def differ(
        self, table: TablePlan, columns: Sequence[str], parent: TablePlan, others: Sequence[str]
    ) -> str:
        """Return why PostgreSQL would refuse rows that SQLite holds to be right, or ""."""
        collations = {parent.source.column(name).collation for name in others} - {"BINARY"}
        if not collations:
            return ""
        present = " AND ".join(f"t.{quoted(column)} NOTNULL" for column in columns)
        pairs = [
            (f"p.{quoted(other)}", f"t.{quoted(own)}")
            for own, other in zip(columns, others, strict=True)
        ]
        there = f"SELECT 1 FROM {quoted(parent.source.name)} AS p WHERE "
        loosely = " AND ".join(f"{one} = {other}" for one, other in pairs)
        exactly = " AND ".join(f"{one} = {other} COLLATE BINARY" for one, other in pairs)
        unknown = [name for name in collations if is_unknown_collation(name)]
        # A row that only the collation lets refer to another; of an unknown one nobody can tell.
        # The looser condition can use the index of the key.
        missing = f"{exactly}" if unknown else f"{loosely} AND {exactly}"
        query = f"SELECT count(*) FROM {quoted(table.source.name)} AS t WHERE {present}"
        query += f" AND NOT EXISTS ({there}{missing})"
        if not unknown:
            query += f" AND EXISTS ({there}{loosely})"
        count = int(self._source.execute(query).fetchone()[0])
        if not count:
            return ""
        rows = f"{count:,} {'row refers' if count == 1 else 'rows refer'}"
        name = ", ".join(sorted(collations))
        if unknown:
            return f"{rows} to a key that is spelled otherwise, if the collation {name} says so"
        return (
            f"{rows} to a key that is spelled otherwise; {name} allows it, PostgreSQL does not "
            "(with the parent's spelling in SQLite it is kept)"
        )


def casts_for_references(
    source: sqlite3.Connection, tables: list[TablePlan], fixed: set[tuple[str, str]]
) -> Iterator[tuple[str, str, Cast, str]]:
    """
    Yield the casts with which foreign keys between texts and whole numbers or uuids can be kept.

    Table, column and cast, and the reason in words; ``fixed`` are the columns
    whose types the user chose. The child's column gets the type of the
    parent's, if all its values fit.
    """
    by_name = {folded(table.source.name): table for table in tables}
    for table in tables:
        if table.existing is not None:
            continue
        for key in table.source.foreign_keys:
            parent = by_name.get(folded(key.parent))
            if parent is None:
                continue
            others = key.parent_columns or parent.source.primary_key
            for name, other in zip(key.columns, others, strict=False):
                own, its = table.column(name), parent.column(other)
                if own is None or its is None or (table.source.name, own.source) in fixed:
                    continue
                if _is_between(own, its) and _fits(source, table, own, its):
                    why = (
                        f"{table.source.name}.{own.source} is {its.type} and not {own.type}, as it "
                        f"refers to {parent.source.name}.{its.source} and all its values fit"
                    )
                    yield table.source.name, own.source, parse_cast(its.type.sql), why


def _is_between(own: ColumnPlan, other: ColumnPlan) -> bool:
    kinds = (own.type.kind, other.type.kind)
    return own.group != other.group and (
        (kinds[0].is_text and kinds[1].is_integer)
        or (kinds[0].is_integer and kinds[1].is_text)
        or (kinds[0].is_text and kinds[1] is UUID)
    )


def _fits(source: sqlite3.Connection, table: TablePlan, own: ColumnPlan, other: ColumnPlan) -> bool:
    name = quoted(own.source)
    if other.type.kind.is_text:
        # Every whole number has one spelling.
        unfit = f"typeof({name}) NOT IN ('integer', 'text')"
    elif other.type.kind is UUID:
        hexadecimal = f"replace({name}, '-', '')"
        unfit = (
            f"typeof({name}) <> 'text' OR length({hexadecimal}) <> 32 "
            f"OR {hexadecimal} GLOB '*[^0-9a-fA-F]*'"
        )
    else:
        # "01" is not 1.
        unfit = (
            f"typeof({name}) <> 'integer' AND "
            f"(typeof({name}) <> 'text' OR CAST(CAST({name} AS INTEGER) AS TEXT) <> {name})"
        )
    query = f"SELECT EXISTS (SELECT 1 FROM {quoted(table.source.name)} "
    query += f"WHERE {name} NOTNULL AND ({unfit}))"
    return not source.execute(query).fetchone()[0]
