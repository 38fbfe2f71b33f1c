"""
Sequences, which continue where SQLite's keys ended.

They are found through the catalogs, not by their names, and set with ALTER
SEQUENCE … RESTART, which a rollback undoes; it does not undo setval().
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.report.values import SequenceReport
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.migrate.plan.plan import Plan, TablePlan


def advance(connection: psycopg.Connection[Any], plan: Plan) -> tuple[SequenceReport, ...]:
    """Set every sequence of a filled column to its next number; return them."""
    done = []
    for table in plan.tables:
        for column, name in _sequences(connection, plan, table):
            number = _next(connection, plan, table, column, name)
            if number is not None:
                restart(connection, name, number)
                done.append(SequenceReport(name.replace('"', ""), number))
    return tuple(done)


def restart(connection: psycopg.Connection[Any], name: str, number: int) -> None:
    """Let a sequence continue with this number."""
    row = connection.execute(
        "SELECT seqmax FROM pg_sequence WHERE seqrelid = %s::regclass", [name]
    ).fetchone()
    last = int(row[0]) if row else 2**63 - 1
    statement = f"ALTER SEQUENCE {name} RESTART WITH {min(number, last)}"
    connection.execute(statement)
    if number > last:
        # Every number is used up: the next nextval() must say so, not repeat the last one.
        connection.execute("SELECT nextval(%s::regclass)", [name])


def _sequences(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan
) -> list[tuple[str, str]]:
    found = []
    for column in table.columns:
        row = connection.execute(
            "SELECT pg_get_serial_sequence(%s, %s)",
            [ident(plan.schema, table.target), column.target],
        ).fetchone()
        if row and row[0]:
            found.append((column.target, str(row[0])))
    return found


def _next(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan, column: str, name: str
) -> int | None:
    query = f"SELECT max({ident(column)}) FROM {ident(plan.schema, table.target)}"
    row = connection.execute(query).fetchone()
    candidates = [int(row[0])] if row and row[0] is not None else []
    planned = table.by_target(column)
    if planned and table.source.rowid_alias == planned.source and table.source.sequence is not None:
        candidates.append(table.source.sequence)
    state = connection.execute(f"SELECT last_value, is_called FROM {name}").fetchone()
    if state and state[1] and table.existing is not None:
        candidates.append(int(state[0]))
    highest = max(candidates, default=0)
    return highest + 1 if highest > 0 else None
