"""
The verification: source and target are compared before the commit.

``counts`` compares the number of rows. ``full`` also streams both sides and
compares every value: rows arrive in the order in which they were read, so a
table that was empty is compared row by row; one that had rows already, by a
sum over the digests of all rows, in any order.
"""

from __future__ import annotations

import hashlib
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.errors import VerificationFailed
from oxy_pg.migrate.check.rowsets import is_among
from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.survey import exact, exact_text, readable, row_name, show

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan

_SHOWN = 20
_FETCHED = 200  # rows at a time; large ones must not fill the memory


def count(connection: psycopg.Connection[Any], schema: str, table: str) -> int:
    """Count the rows of one table of the target."""
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


class Comparison:
    """The source's rows as they should be in the target."""

    def __init__(self, source: sqlite3.Connection, rows: RowSets) -> None:
        self._source = source
        self._rows = rows

    def expected(
        self, table: TablePlan
    ) -> Iterator[tuple[tuple[Any, ...], tuple[str | None, ...]]]:
        """Yield each row's identity and its values, in the order in which they were loaded."""
        keys = len(table.source.identity)
        terms = [f"t.{part}" for part in table.source.identity]
        terms += [self._cell(table, column.source) for column in table.columns]
        query = (
            f"SELECT {', '.join(terms)} FROM {quoted(table.source.name)} AS t NOT INDEXED "
            f"WHERE {self._rows.moving(table, 't')}"
        )
        with exact_text(self._source):
            for row in self._source.cursor().execute(query):
                cells = zip(row[keys:], table.columns, strict=True)
                yield row[:keys], tuple(_expected(raw, column) for raw, column in cells)

    def _cell(self, table: TablePlan, column: str) -> str:
        name = exact(self._source, f"t.{quoted(column)}")
        emptied = self._rows.nulled.get((table.source.name, column), [])
        if not emptied:
            return name
        is_emptied = " OR ".join(is_among(table, names, "t") for names in emptied)
        return f"CASE WHEN NOT ({is_emptied}) THEN {name} END"


def _expected(raw: Any, column: ColumnPlan) -> str | None:
    if raw is None:
        return None
    try:
        value = values.decode(raw) if isinstance(raw, bytearray) else raw
        return values.to_text(value, column.type, column.survey.option)
    except Unfit:
        return None  # emptied, as --on-bad-value null asked


def _as_spelled(
    connection: psycopg.Connection[Any],
    table: TablePlan,
    rows: Iterator[tuple[tuple[Any, ...], tuple[str | None, ...]]],
) -> Iterator[tuple[tuple[Any, ...], tuple[str | None, ...]]]:
    """Let PostgreSQL spell the values of types without a kind, as it does in its output."""
    others = [
        n for n, column in enumerate(table.columns) if column.type.kind.is_spelled_by_postgres
    ]
    if not others:
        yield from rows
        return
    while batch := list(islice(rows, _FETCHED)):
        cells = [list(row) for _, row in batch]
        for number in others:
            query = (
                f"SELECT t::{table.columns[number].type.sql}::text "
                "FROM unnest(%s::text[]) WITH ORDINALITY AS u (t, place) ORDER BY place"
            )
            spelled = connection.execute(query, [[row[number] for row in cells]]).fetchall()
            for row, (text,) in zip(cells, spelled, strict=True):
                row[number] = text
        yield from ((key, tuple(row)) for (key, _), row in zip(batch, cells, strict=True))


def _same(wanted: str | None, found: str | None, column: ColumnPlan) -> bool:
    # Most values are spelled alike on both sides; the others are compared by what they mean.
    if wanted == found:
        return True
    if wanted is None or found is None:
        return False
    canonical = column.type.kind.canonical
    return canonical(wanted) == canonical(found)


def arrived(
    connection: psycopg.Connection[Any], schema: str, table: TablePlan
) -> Iterator[tuple[str | None, ...]]:
    """Yield the target's rows as text, in their physical order."""
    columns = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column.target)) for column in table.columns
    )
    query = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(schema, table.target))
    # A cursor of the server is read in one process, page after page; COPY would give the rows
    # one by one, which takes ten times as long.
    with connection.cursor(name="oxy_pg_verify") as cursor:
        cursor.itersize = _FETCHED
        yield from cursor.execute(query)


def compare_rows(
    connection: psycopg.Connection[Any], plan: Plan, comparison: Comparison, table: TablePlan
) -> int:
    """
    Compare a table that was empty, row by row; return the number of rows.

    Raises VerificationFailed.
    """
    differences: list[str] = []
    rows = 0
    expected_rows = _as_spelled(connection, table, comparison.expected(table))
    pairs = zip_longest(expected_rows, arrived(connection, plan.schema, table), fillvalue=None)
    for expected, found in pairs:
        rows += 1
        if expected is None or found is None:
            side = "source" if expected is None else "target"
            differences.append(f"{table.source.name}: row {rows:,} is missing in the {side}")
            break
        identity, wanted = expected
        if wanted == found:
            continue
        where = row_name(table.source, tuple(readable(part) for part in identity))
        for column, left, right in zip(table.columns, wanted, found, strict=True):
            if not _same(left, right, column):
                what = f"{show(left)} became {show(right)}"
                differences.append(f"{table.source.name}.{column.source}, {where}: {what}")
        if len(differences) >= _SHOWN:
            break
    if differences:
        raise VerificationFailed(tuple(differences))
    return rows


def _digest(row: tuple[str | None, ...], table: TablePlan) -> int:
    meant = [
        None if text is None else column.type.kind.canonical(text)
        for text, column in zip(row, table.columns, strict=True)
    ]
    return int.from_bytes(hashlib.blake2b(repr(meant).encode(), digest_size=16).digest())


def digests_arrived(connection: psycopg.Connection[Any], schema: str, table: TablePlan) -> int:
    """Add up the digests of all rows of a table of the target."""
    return sum(_digest(row, table) for row in arrived(connection, schema, table)) % 2**128


def compare_digests(
    connection: psycopg.Connection[Any],
    plan: Plan,
    comparison: Comparison,
    table: TablePlan,
    before: int,
) -> int:
    """Compare a table that had rows already, whose digests add up to ``before``."""
    rows = 0
    wanted = before
    for _, row in _as_spelled(connection, table, comparison.expected(table)):
        wanted += _digest(row, table)
        rows += 1
    if wanted % 2**128 != digests_arrived(connection, plan.schema, table):
        raise VerificationFailed((f"{table.source.name}: the rows are not the same",))
    return rows
