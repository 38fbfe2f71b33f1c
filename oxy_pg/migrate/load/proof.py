"""
The proof that a translated view or condition means the same: it gives the same rows on both sides.

It looks at the rows that there are. What gives other rows, or takes too long
to compare, is left behind.
"""

from __future__ import annotations

import hashlib
import sqlite3
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from psycopg import errors as pg
from psycopg import sql

from oxy_pg.migrate.convert.types import parse_type
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.names import folded
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.plan.plan import Plan, Proof

PATIENCE = 30  # seconds for each side
_STEPS = 10_000  # of SQLite's machine, between two looks at the clock
_FETCHED = 1000


class Unproven(Exception):
    """The two sides give different rows, or could not be compared."""


def prove(
    lite: sqlite3.Connection, server: psycopg.Connection[Any], plan: Plan, proof: Proof
) -> None:
    """Compare both sides. Raises Unproven."""
    deadline = Deadline(PATIENCE)
    lite.set_progress_handler(lambda: not deadline.remaining(), _STEPS)
    try:
        server.execute(f"SET LOCAL statement_timeout = '{PATIENCE}s'")
        if proof.is_count:
            here = (lite.execute(proof.source).fetchone()[0], 0)
            row = server.execute(proof.target.encode()).fetchone()
            there = (row[0] if row else 0, 0)
        else:
            types = _types(server, proof.target)
            here = _lite_rows(lite, proof.source, _options(plan, types), types)
            there = _server_rows(server, proof.target, types)
    except sqlite3.OperationalError as error:
        slow = "interrupted" in str(error)
        reason = (
            f"it takes SQLite more than {PATIENCE} s" if slow else f"SQLite cannot use it: {error}"
        )
        raise Unproven(reason) from error
    except sqlite3.Error as error:
        raise Unproven(f"SQLite cannot use it: {error}") from error
    except pg.QueryCanceled as error:
        raise Unproven(f"it takes PostgreSQL more than {PATIENCE} s") from error
    finally:
        lite.set_progress_handler(None, 0)
    server.execute("SET LOCAL statement_timeout = 0")
    if here != there:
        other = f"{many(there[0], 'row')} instead of {here[0]:,}"
        what = "other values" if here[0] == there[0] else other
        raise Unproven(f"translated, it gives {what}")


def _types(server: psycopg.Connection[Any], name: str) -> list[tuple[str, PgType]]:
    rows = server.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        [name],
    )
    return [(column, parse_type(spelled)) for column, spelled in rows]


def _options(plan: Plan, types: Sequence[tuple[str, PgType]]) -> list[str | None]:
    """Return how the numbers of each column are read: as the tables' column of its name."""
    known: dict[str, set[str | None]] = {}
    for table in plan.tables:
        for column in table.columns:
            known.setdefault(folded(column.source), set()).add(column.survey.option)
    found = [known.get(folded(name), {None}) for name, _ in types]
    return [next(iter(options)) if len(options) == 1 else None for options in found]


def _lite_rows(
    lite: sqlite3.Connection,
    query: str,
    options: Sequence[str | None],
    types: Sequence[tuple[str, PgType]],
) -> tuple[int, int]:
    """Count the rows, and add up their digests."""
    count = total = 0
    for row in lite.execute(query):
        if len(row) != len(types):
            raise Unproven("it has other columns")
        cells = zip(row, types, options, strict=True)
        total += _digest([_meant(value, type_, option) for value, (_, type_), option in cells])
        count += 1
    return count, total % 2**128


def _server_rows(
    server: psycopg.Connection[Any], name: str, types: Sequence[tuple[str, PgType]]
) -> tuple[int, int]:
    columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c)) for c, _ in types)
    query = sql.SQL("SELECT {} FROM ").format(columns) + sql.SQL(name)
    count = total = 0
    with server.cursor(name="oxy_pg_proof") as cursor:
        cursor.itersize = _FETCHED
        for row in cursor.execute(query):
            total += _digest([_said(text, t) for text, (_, t) in zip(row, types, strict=True)])
            count += 1
    return count, total % 2**128


def _digest(row: list[object]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=16).digest())


def _meant(value: Any, type_: PgType, option: str | None) -> object:
    """Return what a value of SQLite is, for the comparison."""
    kind = type_.kind
    if value is None:
        return None
    if kind.is_boolean or (kind.is_number and isinstance(value, int | float)):
        return _number(value) if isinstance(value, int | float) else ("not a number", value)
    try:
        return repr(kind.canonical(to_text(value, type_, option)))
    except Unfit:
        return ("not such a value", repr(value))


def _said(text: str | None, type_: PgType) -> object:
    """Return what a value of PostgreSQL is, for the comparison."""
    if text is None:
        return None
    if type_.kind.is_boolean:
        return _number(int(text == "true"))
    if type_.kind.is_number:
        return _number(Decimal(text) if text.lstrip("-")[:1].isdigit() else float(text))
    return repr(type_.kind.canonical(text))


def _number(value: float | Decimal) -> str:
    # PostgreSQL adds up in another order, and divides numeric where SQLite divides doubles.
    if isfinite(value) and value == int(value) and -(2**63) <= int(value) < 2**63:
        return str(int(value))
    return f"{float(value):.12g}"
