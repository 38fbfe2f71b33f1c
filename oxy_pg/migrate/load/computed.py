"""
Columns that an existing table of the target computes: compared with what SQLite computed.

Nothing of them is sent, so a difference is no fault of the load: it is counted and shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.survey import exact_text, readable, row_name, show

if TYPE_CHECKING:
    import sqlite3

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
) -> dict[str, Difference]:
    """
    Compare the computed columns of a table whose rows lie in the order of the load.

    Returns what differs by the column's name in the source.
    """
    columns = table.computed_by_target
    terms = [f"t.{part}" for part in table.source.identity]
    keys = len(terms)
    terms += [f"t.{quoted(column.source)}" for column in columns]
    query = (
        f"SELECT {', '.join(terms)} FROM {quoted(table.source.name)} AS t NOT INDEXED "
        f"WHERE {rows.moving(table, 't')}"
    )
    names = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column.target)) for column in columns
    )
    found: dict[str, Difference] = {}
    with exact_text(source), server.cursor(name="oxy_pg_computed") as cursor:
        cursor.itersize = _FETCHED
        arrived = cursor.execute(
            sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(plan.schema, table.target))
        )
        for ours, theirs in zip_longest(source.cursor().execute(query), arrived):
            if ours is None or theirs is None:
                break  # the rows were counted already
            for column, raw, text in zip(columns, ours[keys:], theirs, strict=True):
                value = readable(raw)
                if not _agree(column, value, text):
                    where = row_name(table.source, tuple(readable(part) for part in ours[:keys]))
                    _note(found, column.source, f"{show(value)} is {show(text)} now, {where}")
    return found


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
