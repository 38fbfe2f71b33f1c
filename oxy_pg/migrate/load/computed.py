"""
Columns that an existing table of the target computes: compared with what SQLite computed.

Nothing of them is sent, so a difference is no fault of the load: it is counted and shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.survey import exact_text, readable, row_name, show

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan

_FETCHED = 2000
# By which two ways to compute a number may differ, relative to it: a double's digits, and a real's.
_DOUBLE, _REAL = Decimal("1e-12"), Decimal("1e-6")


@dataclass(slots=True)
class Difference:
    """How many values of a column differ, and the first of them in words."""

    count: int
    example: str


def differences(
    source: sqlite3.Connection,
    server: psycopg.Connection[Any],
    plan: Plan,
    rows: RowSets,
    table: TablePlan,
    *,
    in_order: bool,
) -> dict[str, Difference] | None:
    """
    Compare the computed columns of a table; return what differs by the column's name.

    ``in_order`` where its rows lie in the order of the load; others are found by
    their key. None where they have none.
    """
    target = _Target(server, plan, table)
    if not in_order and not target.keys:
        return None
    columns = table.computed_by_target
    terms = [f"t.{part}" for part in table.source.identity]
    keys = len(terms)
    terms += [f"t.{quoted(column.source)}" for column in (*columns, *target.keys)]
    query = (
        f"SELECT {', '.join(terms)} FROM {quoted(table.source.name)} AS t NOT INDEXED "
        f"WHERE {rows.moving(table, 't')}"
    )
    found: dict[str, Difference] = {}
    with exact_text(source):
        ours = (tuple(map(readable, row)) for row in source.cursor().execute(query))
        both = zip_longest(ours, target.in_order()) if in_order else target.by_key(ours)
        for row, theirs in both:
            if row is None or theirs is None:
                break  # the rows were counted already
            for column, value, text in zip(columns, row[keys:], theirs, strict=False):
                if not _agree(column, value, text):
                    where = row_name(table.source, row[:keys])
                    _note(found, column.source, f"{show(value)} is {show(text)} now, {where}")
    return found


class _Target:
    """The rows of the target: the texts of their computed columns."""

    def __init__(self, server: psycopg.Connection[Any], plan: Plan, table: TablePlan) -> None:
        self._server = server
        self._name = sql.Identifier(plan.schema, table.target)
        self._columns = sql.SQL(", ").join(
            sql.SQL("t.{}::text").format(sql.Identifier(column.target))
            for column in table.computed_by_target
        )
        found = [table.column(name) for name in table.source.primary_key]
        known = [column for column in found if column is not None and not column.generated]
        self.keys = tuple(known) if len(known) == len(found) else ()

    def in_order(self) -> Iterator[tuple[str | None, ...]]:
        """Yield all rows as they lie."""
        query = sql.SQL("SELECT {} FROM {} AS t").format(self._columns, self._name)
        with self._server.cursor(name="oxy_pg_computed") as cursor:
            cursor.itersize = _FETCHED
            yield from cursor.execute(query)

    def by_key(
        self, rows: Iterator[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], tuple[str | None, ...]]]:
        """Yield rows of the source, whose last values are their key, with those of the target."""
        width = len(self.keys)
        terms = [
            sql.SQL("t.{} = u.k{}::{}").format(
                sql.Identifier(key.target), sql.SQL(str(number)), sql.SQL(key.type.sql)
            )
            for number, key in enumerate(self.keys)
        ]
        query = sql.SQL(
            "SELECT u.n, {} FROM unnest({}) WITH ORDINALITY AS u ({}, n) JOIN {} AS t ON {} "
            "WHERE t.xmin = pg_current_xact_id()::xid"
        ).format(
            self._columns,
            sql.SQL(", ").join([sql.SQL("%s::text[]")] * width),
            sql.SQL(", ").join(sql.SQL(f"k{number}") for number in range(width)),
            self._name,
            sql.SQL(" AND ").join(terms),
        )
        while batch := list(islice(rows, _FETCHED)):
            texts = [
                [_text(row[place - width], key) for row in batch]
                for place, key in enumerate(self.keys)
            ]
            for number, *theirs in self._server.execute(query, texts).fetchall():
                yield batch[number - 1], tuple(theirs)


def _text(value: Any, column: ColumnPlan) -> str | None:
    try:
        return None if value is None else values.to_text(value, column.type, column.survey.option)
    except Unfit:
        return None  # emptied, as --on-bad-value null asked


def _note(found: dict[str, Difference], column: str, example: str) -> None:
    difference = found.setdefault(column, Difference(0, example))
    difference.count += 1


def _agree(column: ColumnPlan, value: Any, text: str | None) -> bool:
    if value is None or text is None:
        return value is None and text is None
    if column.type.kind.is_number and isinstance(value, int | float):
        digits = _REAL if column.type.sql == "real" else _DOUBLE
        return _near(value, text, digits, column.type.scale)
    try:
        meant = values.to_text(value, column.type, column.survey.option)
    except Unfit:
        return str(value) == text
    canonical = column.type.kind.canonical
    return meant == text or canonical(meant) == canonical(text)


def _near(value: float, text: str, digits: Decimal, scale: int | None) -> bool:
    """Whether a number is the other one as PostgreSQL computes and rounds it."""
    try:
        ours, theirs = Decimal(repr(value)), Decimal(text)
        within = abs(ours) * digits + (Decimal(5).scaleb(-scale - 1) if scale is not None else 0)
        return abs(ours - theirs) <= within
    except InvalidOperation:  # an infinity
        return str(value).lower().startswith(text.lower()[:3])
