"""The tables of migration tools are known by name and shape; an application's own are moved."""

from __future__ import annotations

import pytest

from oxy_pg.migrate.migration import migrate

TOOLS = {
    "typeorm": (
        "migrations",
        "id integer PRIMARY KEY, timestamp bigint NOT NULL, name varchar NOT NULL",
        (1, 1700000000000, "Init1700000000000"),
    ),
    "laravel": (
        "migrations",
        "id integer PRIMARY KEY, migration varchar NOT NULL, batch integer NOT NULL",
        (1, "2014_10_12_000000_create_users_table", 1),
    ),
    "wiki.js": (
        "migrations",
        "id integer PRIMARY KEY, name varchar(255), batch integer, migration_time timestamp",
        (1, "2.0.0.js", 1, "2026-01-01 00:00:00"),
    ),
    "wiki.js lock": ("migrations_lock", '"index" integer PRIMARY KEY, is_locked integer', (1, 0)),
    "drizzle": (
        "__drizzle_migrations",
        "id integer PRIMARY KEY, hash text NOT NULL, created_at numeric",
        (1, "abc", 1700000000000),
    ),
    "liquibase lock": (
        "databasechangeloglock",
        "id integer PRIMARY KEY, locked boolean, lockgranted timestamp, lockedby varchar(255)",
        (1, False, None, None),
    ),
    "payload": (
        "payload_migrations",
        "id integer PRIMARY KEY, name text, batch numeric, updated_at text, created_at text",
        (1, "dev", -1, "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"),
    ),
    "strapi": (
        "strapi_migrations_internal",
        "id integer PRIMARY KEY, name varchar(255), time timestamp",
        (1, "5.0.0-rename", "2026-01-01 00:00:00"),
    ),
    "strapi schema": (
        "strapi_database_schema",
        "id integer PRIMARY KEY, schema json, time timestamp, hash varchar(255)",
        (1, "{}", "2026-01-01 00:00:00", "x"),
    ),
    "golang-migrate": ("schema_migrations", "version bigint, dirty boolean", (3, False)),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_table_keeps_the_targets_rows(lite, pg_url, pg, tool):
    """
    It is listed with the number of rows that stay, and the target's is not "not empty".
    """
    name, columns, row = TOOLS[tool]
    pg(f'CREATE TABLE "{name}" ({columns})')
    pg("CREATE TABLE t (id bigint PRIMARY KEY)")
    marks = ", ".join(["%s"] * len(row))
    pg(f'INSERT INTO "{name}" VALUES ({marks})', *row)
    path = lite(
        f'CREATE TABLE "{name}" ({columns}); CREATE TABLE t (id INTEGER PRIMARY KEY);',
        {name: [row], "t": [(5,)]},
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert () == dry.problems
    for found in (dry, report):
        (kept,) = [s for s in found.skipped if s.name == name]
        assert "1 row is not moved" in kept.reason
    assert [(1,)] == pg(f'SELECT count(*) FROM "{name}"')
    assert [(5,)] == pg("SELECT id FROM t")


@pytest.mark.parametrize(
    ("name", "columns", "row"),
    [
        ("migrations", "id bigint PRIMARY KEY, species text NOT NULL, birds int", (1, "stork", 9)),
        ("migrations", "id bigint PRIMARY KEY, name text, batch int, people int", (1, "a", 2, 3)),
        ("aerich", "id bigint PRIMARY KEY, painter text", (1, "A. Erich")),
        ("version_info", "version text", ("1",)),
        ("schema_info", "name text, url text", ("a", "b")),
        ("alembic_version", "version_num text, distilled_at text", ("1", "noon")),
    ],
)
def test_an_applications_own_table_of_that_name_is_moved(lite, pg_url, pg, name, columns, row):
    """
    Another shape: its rows are the application's.
    """
    pg(f"CREATE TABLE {name} ({columns})")
    path = lite(f"CREATE TABLE {name} ({columns})", {name: [row]})

    report = migrate(path, pg_url, verify="full")

    assert [name] == [t.name for t in report.tables]
    assert [row] == pg(f"SELECT * FROM {name}")


def test_a_table_that_is_asked_for_by_name_is_moved(lite, pg_url, pg):
    """
    A pattern is no name: "*" leaves a tool's table where it is.
    """
    script = "CREATE TABLE alembic_version (version_num text); CREATE TABLE t (id int);"
    pg("CREATE TABLE alembic_version (version_num text)")
    path = lite(script, {"alembic_version": [("abc",)]})

    every = migrate(path, pg_url, tables=["*"], dry_run=True)
    migrate(path, pg_url, tables=["alembic_version"], verify="full")

    assert ["t"] == [t.name for t in every.tables]
    assert [("abc",)] == pg("SELECT * FROM alembic_version")


def test_no_table_of_the_target_yet(lite, pg_url):
    """
    With an existing schema the tool makes its own; when tables are created, it is moved.
    """
    path = lite(
        "CREATE TABLE __drizzle_migrations (id INTEGER PRIMARY KEY, hash text, created_at int);"
        "INSERT INTO __drizzle_migrations VALUES (1, 'a', 2), (2, 'b', 3)"
    )

    created = migrate(path, pg_url, dry_run=True)
    existing = migrate(path, pg_url, schema="existing", dry_run=True)

    assert ["__drizzle_migrations"] == [t.name for t in created.tables]
    assert () == existing.tables
    assert "2 rows are not moved" in existing.skipped[0].reason


@pytest.mark.parametrize(
    ("locks", "books"),
    [
        (
            ("__EFMigrationsLock", '"Id" integer PRIMARY KEY, "Timestamp" text NOT NULL'),
            ("__EFMigrationsHistory", '"MigrationId" text, "ProductVersion" text'),
        ),
        (
            ("kysely_migration_lock", "id text PRIMARY KEY, is_locked integer"),
            ("kysely_migration", "name text, timestamp text"),
        ),
        (
            ("ar_internal_metadata", "key text, value text, created_at text, updated_at text"),
            ("schema_migrations", "version text"),
        ),
    ],
)
def test_a_tool_needs_not_all_of_its_tables_in_the_target(lite, pg_url, pg, locks, books):
    """
    What the tool has not made there is not created, and listed; without the tool it is.
    """
    create = 'CREATE TABLE "{}" ({});'
    script = create.format(*locks) + create.format(*books) + "CREATE TABLE t (v TEXT);"
    path = lite(script)
    pg(create.format(*books))
    report = migrate(path, pg_url)
    assert ["t"] == [table.name for table in report.tables]
    assert {locks[0], books[0]} == {one.name for one in report.skipped}

    pg(f'DROP TABLE t, "{books[0]}"')

    assert 3 == len(migrate(path, pg_url).tables)


@pytest.mark.parametrize("tool", ["drizzle", "typeorm", "payload", "golang-migrate"])
def test_a_tool_may_have_its_table_in_another_schema(lite, pg_url, pg, tool):
    """
    Drizzle has a schema of its own; its table is left there, and none is created.

    Where the target has none of the source's tables, the other schema is another
    application's, and the table is moved with the rest.
    """
    name, columns, row = TOOLS[tool]
    path = lite(f"CREATE TABLE {name} ({columns}); CREATE TABLE t (v TEXT);", {name: [row]})
    pg(f"CREATE SCHEMA journal; CREATE TABLE journal.{name} ({columns})")
    alone = migrate(path, pg_url, dry_run=True)
    pg("CREATE TABLE t (v TEXT)")

    report = migrate(path, pg_url)

    assert {name, "t"} == {table.name for table in alone.tables}
    assert ["t"] == [table.name for table in report.tables]
    [left] = report.skipped
    assert f"the target has journal.{name}, and 1 row is not moved" in left.reason


def test_a_table_in_another_schema_that_is_no_tools(lite, pg_url, pg):
    """
    The name alone does not make it one.
    """
    name, columns, row = TOOLS["drizzle"]
    path = lite(f"CREATE TABLE {name} ({columns}); CREATE TABLE t (v TEXT);", {name: [row]})
    pg(f"CREATE TABLE t (v TEXT); CREATE SCHEMA other; CREATE TABLE other.{name} (a int, b int)")

    report = migrate(path, pg_url, if_not_empty="append")

    assert {name, "t"} == {table.name for table in report.tables}
