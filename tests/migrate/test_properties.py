"""
Any SQLite database moves with every value, or is refused for a reason that holds.

Every run looks at the same 50 databases, so that it is red only for what was
changed. OXY_PG_EXAMPLES draws so many others at random (``nox -s properties``).
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings
from psycopg import sql

from oxy_pg.errors import BadValues, OrphanRows
from oxy_pg.migrate.migration import migrate
from tests.migrate.compare import differences, fits, schema_differences, source_values
from tests.migrate.databases import databases, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.report import MigrationReport

REQUIRED = "the column is NOT NULL in PostgreSQL"
# Numbers among texts that are times could count anything.
MIXED = "a number, and the other times in this column are text"
AT_RANDOM = "OXY_PG_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("OXY_PG_EXAMPLES", "50"))


@pytest.fixture(scope="module")
def target(server_url):
    """One database for all examples, and how to empty it: much faster than one for each."""
    name = "properties"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name} OWNER oxy")
    url = server_url.replace("admin:", "oxy:").removesuffix("/postgres") + f"/{name}"

    def emptied():
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("DROP SCHEMA public CASCADE")
            conn.execute("CREATE SCHEMA public")
        return url

    yield emptied
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.timeout(120 + 2 * EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    derandomize=not AT_RANDOM,
    # What a random run found belongs into test_regressions.py, not into a file on one machine.
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    # Explaining a failure takes minutes, and the smallest example says it already.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(database=databases())
def test_every_database_arrives_or_is_refused_for_a_reason(tmp_path_factory, target, database):
    """
    Verified in full, compared again by rules of our own, and the source is not touched.
    """
    path = str(tmp_path_factory.getbasetemp() / "random.db")
    database.create(path)
    note("\n".join([database.encoding, *database.script, *map(repr, database.rows)]))
    event(check_migration(path, target()))


def check_migration(path: str, url: str) -> str:
    """Migrate ``path`` into the empty ``url``; fail unless the outcome is right, and name it."""
    before = _digest(path)
    outcome = _outcome(path, url)
    if isinstance(outcome, BadValues):
        types = _planned_types(path, url)
        wrong = list(_wrongly_refused(path, url, outcome, types))
        assert not wrong, "\n".join(wrong)
        assert [] == _tables(url)
    elif isinstance(outcome, OrphanRows):
        wrong = list(_wrongly_orphaned(path, outcome))
        assert not wrong, "\n".join(wrong)
        assert [] == _tables(url)
    else:
        explained = {(skipped.kind, skipped.name): skipped.reason for skipped in outcome.skipped}
        wrong = [
            *differences(path, url),
            *schema_differences(path, url, allowed=explained),
            *_used_up_sequences(url),
        ]
        assert not wrong, "\n".join([*wrong, repr(explained)])
    if isinstance(outcome, BadValues | OrphanRows):
        wrong = list(_wrongly_skipped(path, url))
        assert not wrong, "\n".join(wrong)
    assert before == _digest(path)
    return type(outcome).__name__


def _outcome(path: str, url: str) -> MigrationReport | BadValues | OrphanRows:
    try:
        return migrate(path, url, verify="full")
    except (BadValues, OrphanRows) as error:
        return error


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _tables(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [
            row[0]
            for row in conn.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            )
        ]


def _planned_types(path: str, url: str) -> dict[tuple[str, str], str]:
    report = migrate(path, url, dry_run=True)
    return {
        (table.name, column.name): column.type
        for table in report.tables
        for column in table.columns
    }


def _wrongly_refused(
    path: str, url: str, error: BadValues, types: dict[tuple[str, str], str]
) -> Iterator[str]:
    """Say which values would have fitted, and which unfit ones were not named."""
    named: collections.Counter[tuple[str, str]] = collections.Counter(
        (value.table, value.column) for value in error.values
    )
    with contextlib.closing(sqlite3.connect(path)) as lite, psycopg.connect(url) as conn:
        for (table, column), pg_type in types.items():
            reasons = {
                value.reason
                for value in error.values
                if (value.table, value.column) == (table, column)
            }
            present = source_values(lite, table, column)
            verdicts = [
                (value, fits(lite, conn, (table, column), pg_type, value))
                for value in present
                if value is not None
            ]
            fitting = [value for value, fit in verdicts if fit]
            bad = [value for value, fit in verdicts if not fit]
            if REQUIRED in reasons:
                bad += [value for value in present if value is None]
            if MIXED in reasons and any(isinstance(value, bytes) for value in fitting):
                bad += [value for value in fitting if isinstance(value, int | float)]
            if len(bad) != named[table, column]:
                yield (
                    f"{table}.{column} {pg_type}: {named[table, column]} named, unfit are {bad!r}: "
                    f"{[v for v in error.values if (v.table, v.column) == (table, column)]}"
                )


def _wrongly_orphaned(path: str, error: OrphanRows) -> Iterator[str]:
    with contextlib.closing(sqlite3.connect(path)) as lite:
        for orphans in error.orphans:
            try:
                found = lite.execute(f"PRAGMA foreign_key_check({quote(orphans.table)})").fetchall()
            except sqlite3.OperationalError:
                continue  # "foreign key mismatch": SQLite never looked at them
            if not any(parent.lower() == orphans.parent.lower() for _, _, parent, _ in found):
                yield str(orphans)


def _wrongly_skipped(path: str, url: str) -> Iterator[str]:
    """Leave out what does not fit: say which of the other rows did not arrive as they were."""
    report = migrate(path, url, on_bad_value="skip", on_orphan="skip", verify="full")
    for difference in differences(path, url, limit=1000):
        if " in SQLite only: " not in difference and " rows in SQLite, " not in difference:
            yield difference
    for table in report.tables:
        if table.rows_read - table.rows_skipped != table.rows_written:
            yield f"{table.name}: {table}"


def _used_up_sequences(url: str) -> Iterator[str]:
    """Say which identity would give a number that is there already."""
    with psycopg.connect(url, autocommit=True) as conn:
        columns = conn.execute(
            """
            SELECT attrelid::regclass::text, attname
            FROM pg_attribute JOIN pg_class t ON t.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
            AND (attidentity <> ''
              OR pg_get_serial_sequence(quote_ident(relname), attname) IS NOT NULL)
            """
        ).fetchall()
        for table, column in columns:
            name = sql.Identifier(column)
            most = conn.execute(sql.SQL("SELECT max({}) FROM " + table).format(name)).fetchone()
            try:
                following = conn.execute(
                    "SELECT nextval(pg_get_serial_sequence(%s, %s))", [table, column]
                ).fetchone()
            except psycopg.errors.SequenceGeneratorLimitExceeded:
                continue  # SQLite's would say "database or disk is full"
            if most and following and most[0] is not None and following[0] <= most[0]:
                yield f"{table}.{column}: {following[0]} follows {most[0]}"
