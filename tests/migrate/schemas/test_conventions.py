"""EF Core's, Prisma's, Rails' and GORM's conventions: created, and into their own schema."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.migrate.migration import migrate
from tests.migrate.compare import differences, schema_differences
from tests.migrate.schemas import conventions


def following(pg_url):
    """The next number of every column that counts, by its table and column."""
    with psycopg.connect(pg_url) as conn:
        columns = conn.execute(
            "SELECT c.oid::regclass::text, attname, "
            "pg_get_serial_sequence(c.oid::regclass::text, attname) "
            "FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid "
            "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 "
            "AND pg_get_serial_sequence(c.oid::regclass::text, attname) IS NOT NULL"
        ).fetchall()
        return {
            (table, column): (
                conn.execute("SELECT nextval(%s)", [name]).fetchone()[0],
                conn.execute(f'SELECT coalesce(max("{column}"), 0) FROM {table}').fetchone()[0],
            )
            for table, column, name in columns
        }


@pytest.mark.parametrize("convention", conventions.ALL, ids=str)
def test_created(lite, pg_url, convention):
    """
    From SQLite's own definitions, with nothing left behind.
    """
    path = lite(convention.sqlite, convention.rows)
    planned = migrate(path, pg_url, dry_run=True)
    rehearsed = migrate(path, pg_url, rehearse=True)
    report = migrate(path, pg_url)
    assert [] == differences(path, pg_url)
    assert [] == schema_differences(path, pg_url)
    assert () == planned.problems
    assert () == report.skipped
    assert planned.statements == rehearsed.statements == report.statements
    types = {
        f"{table.name}.{column.name}": column.type
        for table in report.tables
        for column in table.columns
    }
    assert convention.types.items() <= types.items()
    numbers = following(pg_url)
    assert numbers
    assert all(number > greatest for number, greatest in numbers.values()), numbers


@pytest.mark.parametrize("convention", conventions.ALL, ids=str)
def test_into_its_own_schema(lite, pg_url, pg, convention):
    """
    The tables are those that its migrations make for PostgreSQL; their bookkeeping stays.
    """
    pg(convention.postgres)
    path = lite(convention.sqlite, convention.rows)
    planned = migrate(path, pg_url, dry_run=True)
    rehearsed = migrate(path, pg_url, rehearse=True)
    report = migrate(path, pg_url)
    moved = [table.name for table in report.tables]
    assert [] == differences(path, pg_url, tables=moved)
    assert {"fill"} == {table.action for table in report.tables}
    assert {*convention.rows} - {*convention.books} <= {*moved}
    assert () == planned.problems
    assert planned.changes == rehearsed.changes == report.changes == ()
    numbers = following(pg_url)
    assert numbers
    assert all(number > greatest for number, greatest in numbers.values()), numbers
