"""Computed values that are an error in PostgreSQL: SQLite has Infinity, or 0 for what is tiny."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.source import tokens

if TYPE_CHECKING:
    import sqlite3

    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan


def overflows(source: sqlite3.Connection, plan: Plan) -> bool:
    """Whether a generated column of a new table has values that are an error in PostgreSQL."""
    return any(
        source.execute(_query(table, column)).fetchone() is not None
        for table in plan.tables
        if table.action == "create"
        for column in table.columns
        if column.generated and not column.type.kind.is_integer
    )


def _query(table: TablePlan, column: ColumnPlan) -> str:
    found = tokens.tokenize(table.source.column(column.source).generated or "")
    used = {folded(token.value) for token in found}
    sources = [quoted(c.source) for c in table.columns if folded(c.source) in used]
    value = quoted(column.source)
    finite = " AND ".join([f"abs({value}) = 9e999", *(f"abs({name}) < 9e999" for name in sources)])
    query = f"SELECT 1 FROM {quoted(table.source.name)} WHERE ({finite})"
    if not any(token.text in {"+", "-"} for token in found):
        # A product of numbers that are not 0 is not 0, unless it is too small for a double.
        query += (
            " OR (" + " AND ".join([f"{value} = 0", *(f"{name} <> 0" for name in sources)]) + ")"
        )
    return query + " LIMIT 1"
