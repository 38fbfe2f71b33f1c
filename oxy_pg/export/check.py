"""Before the first write: how many rows there are, and which values SQLite cannot hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.report import BadValue

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.export.plan import Stored, TablePlan

_SHOWN = 5
# What one batch of rows may take, in bytes as PostgreSQL stores them; it may have compressed them.
_BATCH = 8_000_000
_MOST_ROWS = 5_000
_HAS_LONG_VALUES = "SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE oid = %s"


@dataclass(frozen=True, slots=True)
class Found:
    """A table's rows, how many of them are fetched at a time, and its values that do not fit."""

    rows: int
    batch: int
    bad_values: tuple[BadValue, ...]


def look(connection: psycopg.Connection[Any], plan: TablePlan) -> Found:
    """Read a table once. Raises psycopg.Error."""
    unfit = [stored for stored in plan.columns if stored.form.unfit is not None]
    counts: list[sql.Composable] = [sql.SQL("count(*)"), _widest(connection, plan)]
    counts += [sql.SQL("count(*) FILTER (WHERE {})").format(_unfit(stored)) for stored in unfit]
    query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(counts), plan.source)
    rows, widest, *bad = connection.execute(query).fetchone() or (0, 0)
    values: list[BadValue] = []
    for stored, count in zip(unfit, bad, strict=True):
        if count:
            values += _examples(connection, plan, stored, count)
    batch = min(_MOST_ROWS, max(1, _BATCH // max(widest or 1, 1)))
    return Found(rows, batch, tuple(values))


def _widest(connection: psycopg.Connection[Any], plan: TablePlan) -> sql.Composable:
    """Spell the size of the largest row; that of a table without long values is small."""
    row = connection.execute(_HAS_LONG_VALUES, [plan.table.oid]).fetchone()
    is_short = not plan.table.is_partitioned and not (row and row[0])
    if is_short or not plan.columns:
        return sql.SQL("0")
    sizes = [
        sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier(stored.column.name))
        for stored in plan.columns
    ]
    return sql.SQL("max({})").format(sql.SQL(" + ").join(sizes))


def _unfit(stored: Stored) -> sql.Composed:
    assert stored.form.unfit is not None
    return sql.SQL(stored.form.unfit).format(x=sql.Identifier(stored.column.name))


def _examples(
    connection: psycopg.Connection[Any], plan: TablePlan, stored: Stored, count: int
) -> list[BadValue]:
    """Return the first values that do not fit; the reason says how many there are."""
    key = next((one.columns for one in plan.table.constraints if one.kind == "p"), ())
    names = [plan.table.column(number).name for number in key]
    columns: list[sql.Composable] = [
        sql.SQL("{}::text").format(sql.Identifier(name)) for name in names
    ]
    query = sql.SQL("SELECT {}::text, {} FROM {} WHERE {} LIMIT {}").format(
        sql.Identifier(stored.column.name),
        sql.SQL(", ").join(columns or [sql.SQL("ctid::text")]),
        plan.source,
        _unfit(stored),
        _SHOWN,
    )
    noun = "value" if count == 1 else "values"
    return [
        BadValue(
            plan.target,
            stored.column.name,
            ", ".join(f"{n} {v}" for n, v in zip(names or ["ctid"], row, strict=True)),
            value,
            f"{stored.form.reason} ({count:,} {noun})",
        )
        for value, *row in connection.execute(query)
    ]


def without(plan: TablePlan, bad_values: tuple[BadValue, ...]) -> TablePlan:
    """Return the plan with NULL for the values that do not fit."""
    bad = {value.column for value in bad_values}
    return dataclasses.replace(
        plan,
        columns=tuple(
            dataclasses.replace(stored, form=_emptied(stored))
            if stored.column.name in bad
            else stored
            for stored in plan.columns
        ),
    )


def _emptied(stored: Stored) -> Any:
    read = f"CASE WHEN NOT ({stored.form.unfit}) THEN {stored.form.read} END"
    return dataclasses.replace(stored.form, read=read)


def required(plan: TablePlan, bad_values: tuple[BadValue, ...]) -> tuple[BadValue, ...]:
    """Return those that cannot be NULL."""
    must = {stored.column.name for stored in plan.columns if stored.column.not_null}
    return tuple(value for value in bad_values if value.column in must)
