"""
What random targets have besides the tables: sequences and CHECKs, and whether a move minds them.

PostgreSQL itself is the oracle: the rows are there from a first move, so it
can say which of them a CHECK refuses, and which numbers are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from hypothesis import strategies as st
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oxy_pg.migrate.report.report import MigrationReport

CHECKS = (
    *("false", "{0} IS NOT NULL", "{0} IS NULL OR true", "length({0}::text) < 6"),
    *("{0}::text <> '1'", "{0}::text ~ '^[^aA]*$'", "coalesce({0}::text, '') >= ''"),
    "{0}::text = {0}::text",
)
# The statements before, with the sequence's name in the first brace; the default of the column.
SEQUENCES = {
    "unowned": ("CREATE SEQUENCE {0}", "nextval('{0}')"),
    "elsewhere": (
        "CREATE SCHEMA IF NOT EXISTS elsewhere; CREATE SEQUENCE elsewhere.{0}",
        "nextval('elsewhere.{0}')",
    ),
    "late": ("CREATE SEQUENCE {0}", "nextval('{0}'::text)"),
    "descending": (
        "CREATE SEQUENCE {0} INCREMENT -1 MINVALUE -9223372036854775808",
        "nextval('{0}')",
    ),
    "stepping": ("CREATE SEQUENCE {0} INCREMENT 50 START 7", "nextval('{0}')"),
    "computed": ("CREATE SEQUENCE {0}", "1000 + nextval('{0}')"),
}
_NUMBERS = ("smallint", "integer", "bigint")


@dataclass(frozen=True, slots=True)
class Wish:
    """What one column of the target is to have: a CHECK or a sequence, of one of those above."""

    table: int
    column: int
    what: str


wishes = st.lists(
    st.builds(
        Wish,
        st.integers(0, 5),
        st.integers(0, 6),
        st.sampled_from((*CHECKS, *SEQUENCES, *SEQUENCES)),
    ),
    max_size=3,
)


@dataclass(frozen=True, slots=True)
class Granted:
    """A wish that has come true: the quoted names of its table and its column."""

    what: str
    table: sql.Composable
    column: sql.Composable
    place: tuple[str, str]  # by the source's names
    name: str  # of the sequence or the CHECK


def grant_sequences(
    conn: psycopg.Connection[Any], report: MigrationReport, wanted: Sequence[Wish]
) -> list[Granted]:
    """Give columns of whole numbers their sequences."""
    granted = []
    for number, wish in enumerate(wanted):
        found = _granted(conn, report, wish, f"s_{number}") if wish.what in SEQUENCES else None
        if found is None or any(found.place == one.place for one in granted):
            continue
        create, default = SEQUENCES[wish.what]
        conn.execute(create.format(found.name).encode())
        conn.execute(
            sql.SQL(
                "ALTER TABLE {} ALTER COLUMN {} SET DEFAULT " + default.format(found.name)
            ).format(found.table, found.column)
        )
        granted.append(found)
    return granted


def grant_checks(
    conn: psycopg.Connection[Any], report: MigrationReport, wanted: Sequence[Wish]
) -> list[Granted]:
    """Add CHECKs, which the rows that are there need not satisfy."""
    granted = []
    for number, wish in enumerate(wanted):
        found = _granted(conn, report, wish, f"check {number}") if wish.what in CHECKS else None
        if found is not None:
            statement = "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({}) NOT VALID"
            conn.execute(
                sql.SQL(statement).format(found.table, sql.Identifier(found.name), _check(found))
            )
            granted.append(found)
    return granted


def _granted(
    conn: psycopg.Connection[Any], report: MigrationReport, wish: Wish, name: str
) -> Granted | None:
    if not report.tables:
        return None
    table = report.tables[wish.table % len(report.tables)]
    if not table.columns:
        return None
    column = table.columns[wish.column % len(table.columns)]
    row = conn.execute(
        "SELECT format_type(atttypid, NULL), attgenerated <> '' OR attidentity <> '' "
        "FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s",
        [sql.Identifier(table.target).as_string(conn), column.target],
    ).fetchone()
    assert row is not None
    if wish.what in SEQUENCES and (row[0] not in _NUMBERS or row[1]):
        return None
    names = sql.Identifier(table.target), sql.Identifier(column.target)
    return Granted(wish.what, *names, (table.name, column.name), name)


def _check(granted: Granted) -> sql.Composable:
    return sql.SQL(granted.what).format(granted.column)


def drop_check(conn: psycopg.Connection[Any], granted: Granted) -> None:
    """Remove it."""
    name = sql.Identifier(granted.name)
    conn.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(granted.table, name))


def refused_rows(conn: psycopg.Connection[Any], granted: Granted) -> int:
    """Count the rows that a CHECK would not let in."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE NOT ({})").format(granted.table, _check(granted))
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def sequence_states(
    conn: psycopg.Connection[Any], granted: Sequence[Granted]
) -> list[tuple[Any, ...]]:
    """Read how far sequences have come."""
    return [
        conn.execute(f"SELECT last_value, is_called FROM {_sequence(one)}".encode()).fetchone()
        or ()
        for one in granted
    ]


def _sequence(granted: Granted) -> str:
    return f"{'elsewhere.' * (granted.what == 'elsewhere')}{granted.name}"


def sequences_behind(
    conn: psycopg.Connection[Any], report: MigrationReport, granted: Sequence[Granted]
) -> Iterator[str]:
    """Say which sequences would give a number that is taken, or were not named."""
    for one in granted:
        sequence = _sequence(one)
        if one.what == "computed":
            if not any(one.name in warning for warning in report.warnings):
                yield f"{one}: not advanced, and not named in {report.warnings}"
            continue
        edge = "min" if one.what == "descending" else "max"
        query = sql.SQL(f"SELECT {edge}({{}}) FROM {{}}").format(one.column, one.table)
        (last,) = conn.execute(query).fetchone() or (None,)
        try:
            with conn.transaction():
                (following,) = conn.execute("SELECT nextval(%s)", [sequence]).fetchone() or (0,)
        except psycopg.errors.SequenceGeneratorLimitExceeded:
            continue  # every number is used up
        if last is not None and (following >= last if edge == "min" else following <= last):
            yield f"{one}: {following} follows {last}"
