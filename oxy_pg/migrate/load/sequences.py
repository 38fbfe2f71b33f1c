"""
Sequences, which continue where the keys ended.

They are found through the catalogs (target/sequences.py), and set with ALTER
SEQUENCE … RESTART, which a rollback undoes; it does not undo setval(). Those of
new tables go with the rollback altogether, and setval() makes no new file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import errors as pg

from oxy_pg.migrate.report.values import SequenceReport
from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan


@dataclass(slots=True)
class Advanced:
    """The sequences that were set, and what could not be done, in words."""

    done: list[SequenceReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def advance(connection: psycopg.Connection[Any], plan: Plan) -> Advanced:
    """Set every sequence with which a filled column counts to its next number."""
    advanced = Advanced()
    columns: dict[str, list[tuple[TablePlan, ColumnPlan]]] = defaultdict(list)
    for table in plan.tables:
        for column in table.columns:
            for name in _sequences(connection, plan, table, column):
                columns[name].append((table, column))
    for name, users in columns.items():
        numbers = [n for table, column in users for n in _numbers(connection, plan, table, column)]
        if not numbers:
            continue
        if all(table.existing is None for table, _ in users):
            _advance(connection, name, numbers, advanced, is_new=True)
        else:
            _advance_if_allowed(connection, name, numbers, advanced)
    return advanced


def _sequences(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan, column: ColumnPlan
) -> list[str]:
    if table.existing is not None:
        found = table.existing.column(column.target)
        return [c.name for c in found.counters if c.plain] if found else []
    if table.source.rowid_alias != column.source:
        return []
    row = connection.execute(
        "SELECT pg_get_serial_sequence(%s, %s)", [ident(plan.schema, table.target), column.target]
    ).fetchone()
    return [str(row[0])] if row and row[0] else []


def _numbers(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan, column: ColumnPlan
) -> list[int]:
    """Return the least and the greatest number of a column, and the last one that SQLite gave."""
    name = ident(column.target)
    query = f"SELECT min({name}), max({name}) FROM {ident(plan.schema, table.target)}"
    row = connection.execute(query).fetchone() or ()
    found = [int(number) for number in row if number is not None]
    if table.source.rowid_alias == column.source and table.source.sequence is not None:
        found.append(table.source.sequence)
    return found


def _advance_if_allowed(
    connection: psycopg.Connection[Any], name: str, numbers: list[int], advanced: Advanced
) -> None:
    try:
        # Without the right to a sequence the rows are moved all the same.
        with connection.transaction():
            _advance(connection, name, numbers, advanced, is_new=False)
    except pg.InsufficientPrivilege as error:
        advanced.warnings.append(
            f"the sequence {name} is not advanced ({error.diag.message_primary}); as its owner: "
            f"SELECT setval({literal(name)}, {max(numbers)});"
        )


def _advance(
    connection: psycopg.Connection[Any],
    name: str,
    numbers: list[int],
    advanced: Advanced,
    *,
    is_new: bool,
) -> None:
    row = connection.execute(
        "SELECT last_value, is_called, seqstart, seqincrement, seqmin, seqmax "
        f"FROM {name}, pg_sequence WHERE seqrelid = {literal(name)}::regclass"
    ).fetchone()
    if row is None:
        return
    last, is_called, start, step, least, most = row
    number = _next(last, is_called, start, step, numbers)
    if number is None:
        return
    within = min(max(number, least), most)
    if is_new:
        connection.execute(f"SELECT setval({literal(name)}, {within}, false)")
    else:
        connection.execute(f"ALTER SEQUENCE {name} RESTART WITH {within}")
    if number != within:
        # Every number is used up: the next nextval() must say so, not repeat the last one.
        connection.execute(f"SELECT nextval({literal(name)})")
    advanced.done.append(SequenceReport(name.replace('"', ""), number))
    # Beyond the end of bigint there is nothing to warn of.
    if number != within and -(2**63) < within < 2**63 - 1:
        advanced.warnings.append(
            f"the sequence {name} ends at {within}, and the values that were moved reach that: an "
            f"INSERT that takes its next number fails; ALTER SEQUENCE {name} AS bigint NO "
            "MAXVALUE NO MINVALUE, or other values, helps"
        )


def _next(last: int, is_called: bool, start: int, step: int, numbers: list[int]) -> int | None:  # noqa: FBT001
    """Return the number that comes next; None where the sequence has not begun, and need not."""
    comes = last + step if is_called else last
    # Applications take "step" numbers at a time (Hibernate), or one of them on each of several
    # servers: all numbers that exist are passed by a whole step, and the rhythm is kept.
    edge = (max(numbers) if step > 0 else min(numbers)) + step
    wanted = start + -(-(edge - start) // step) * step
    ahead = wanted > comes if step > 0 else wanted < comes
    return wanted if ahead else comes if is_called else None
