"""
Keys that have several spellings in SQLite, compared by what they become in PostgreSQL.

1 and '1.00' are one key of a numeric column, and a uuid may be text in one row
and sixteen bytes in another. Every value is converted in Python, so this is
used only where SQLite's own comparison would be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.check.rowsets import NUMBERS
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import decode, to_text
from oxy_pg.migrate.names import quoted

if TYPE_CHECKING:
    import sqlite3

    from oxy_pg.migrate.plan.plan import ColumnPlan, ForeignKey, TablePlan, UniqueKey


def typed(name: str) -> str:
    """Spell a column of SQLite as two arguments of a function: its storage class, its bytes."""
    return (
        f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
    )


def sent(column: ColumnPlan, storage: str, raw: Any, encoding: str) -> str:
    """Return the text that a value, given by ``typed()``, becomes. Raises Unfit."""
    value = decode(raw, encoding) if storage == "text" else raw
    return to_text(value, column.type, column.survey.option)


def comparable(table: TablePlan, parent: TablePlan, key: ForeignKey) -> bool:
    """Whether this module knows how PostgreSQL compares the columns of a foreign key."""
    for name, wanted in zip(key.columns, key.parent_columns, strict=True):
        own, other = table.column(name), parent.column(wanted)
        if own is None or other is None:
            return False
        family = own.type.kind.family
        if family is None or family != other.type.kind.family:
            return False
    return True


def is_plain(column: ColumnPlan) -> bool:
    """Whether all keys of a column that are equal in PostgreSQL are equal in SQLite too."""
    survey = column.survey
    return (
        survey.fast is not None
        and not survey.unfit
        and column.type.kind.has_plain_keys(survey.facts)
    )


class Keys:
    """Lets one connection of the source compare keys as PostgreSQL does."""

    def __init__(self, source: sqlite3.Connection, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        self._columns: list[ColumnPlan] = []
        source.create_function("oxy_key", 3, self._convert)

    def missing(self, table: TablePlan, parent: TablePlan, key: ForeignKey, there: str) -> str:
        """
        Return the condition that a row of ``table AS t`` refers to no row.

        ``there`` is the condition on the rows of ``parent AS p`` that count. Their
        converted keys are kept in a temporary table.
        """
        name = f"oxy_keys_{next(NUMBERS)}"
        parts = range(len(key.columns))
        names = ", ".join(f"k{part}" for part in parts)
        found = ", ".join(self._term(parent, column, "p") for column in key.parent_columns)
        self._source.execute(f"CREATE TEMP TABLE {name} ({names}, PRIMARY KEY ({names}))")
        self._source.execute(
            f"INSERT OR IGNORE INTO temp.{name} "
            f"SELECT {found} FROM {quoted(parent.source.name)} AS p WHERE {there}"
        )
        own = [self._term(table, column, "t") for column in key.columns]
        present = " AND ".join(f"{term} NOTNULL" for term in own)
        same = " AND ".join(f"s.k{part} = {term}" for part, term in zip(parts, own, strict=True))
        return f"{present} AND NOT EXISTS (SELECT 1 FROM temp.{name} AS s WHERE {same})"

    def pairs(self, table: TablePlan, parent: TablePlan, key: ForeignKey) -> str:
        """
        Return the query for the identities of the rows referred to, and of those that refer.

        The converted keys of the parent are kept in a temporary table.
        """
        name = f"oxy_keys_{next(NUMBERS)}"
        parts = range(len(key.columns))
        names = [f"k{part}" for part in parts]
        rows = [f"p{number}" for number in range(len(parent.source.identity))]
        found = [self._term(parent, column, "p") for column in key.parent_columns]
        found += [f"p.{part}" for part in parent.source.identity]
        self._source.execute(f"CREATE TEMP TABLE {name} ({', '.join(names + rows)})")
        self._source.execute(
            f"INSERT INTO temp.{name} SELECT {', '.join(found)} "
            f"FROM {quoted(parent.source.name)} AS p"
        )
        self._source.execute(f"CREATE INDEX temp.{name}_k ON {name} ({', '.join(names)})")
        own = [self._term(table, column, "t") for column in key.columns]
        same = " AND ".join(f"s.k{part} = {term}" for part, term in zip(parts, own, strict=True))
        wanted = [f"s.{row}" for row in rows] + [f"t.{part}" for part in table.source.identity]
        return (
            f"SELECT {', '.join(wanted)} FROM {quoted(table.source.name)} AS t "
            f"CROSS JOIN temp.{name} AS s ON {same}"
        )

    def repeated(self, table: TablePlan, unique: UniqueKey, there: str) -> str:
        """
        Return the query for the rows whose key an earlier row has: identity, then the values.

        ``there`` is the condition on the rows of ``table AS t`` that count.
        """
        identity = [f"t.{part} AS i{n}" for n, part in enumerate(table.source.identity)]
        values = [f"t.{quoted(column)} AS v{n}" for n, column in enumerate(unique.columns)]
        keys = [
            f"lower({term})" if folds else term
            for term, folds in zip(self._terms(table, unique), unique.folds, strict=True)
        ]
        present = " AND ".join(f"{key} NOTNULL" for key in keys)
        wanted = [f"i{n}" for n in range(len(identity))] + [f"v{n}" for n in range(len(values))]
        return (
            f"SELECT {', '.join(wanted)} FROM (SELECT {', '.join(identity + values)}, "
            f"row_number() OVER (PARTITION BY {', '.join(keys)} "
            f"ORDER BY {', '.join(table.source.identity)}) AS number "
            f"FROM {quoted(table.source.name)} AS t WHERE {there} AND {present}) WHERE number > 1"
        )

    def _terms(self, table: TablePlan, unique: UniqueKey) -> list[str]:
        planned = [table.column(column) for column in unique.columns]
        if all(column is not None and is_plain(column) for column in planned):
            return [f"t.{quoted(column)} COLLATE BINARY" for column in unique.columns]
        return [self._term(table, column, "t") for column in unique.columns]

    def _term(self, table: TablePlan, column: str, alias: str) -> str:
        planned = table.column(column)
        if planned is None:
            raise KeyError(column)  # comparable() has checked it
        self._columns.append(planned)
        return f"oxy_key({len(self._columns) - 1}, {typed(f'{alias}.{quoted(planned.source)}')})"

    def _convert(self, number: int, storage: str, raw: Any) -> str | None:
        if raw is None:
            return None
        column = self._columns[number]
        try:
            return column.type.kind.key(sent(column, storage, raw, self._encoding))
        except Unfit:
            return None  # a bad value: listed elsewhere, emptied, or its row is skipped
