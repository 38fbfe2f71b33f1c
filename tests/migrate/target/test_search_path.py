"""Which schema the tables go to, and what is said where that is none."""

from __future__ import annotations

import pytest

from oxy_pg.errors import ConfigurationError, TargetUnreachable
from oxy_pg.migrate.migration import migrate

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)"


@pytest.mark.parametrize(
    ("schema", "query"),
    [
        ("app", "?schema=app"),
        ("app", "?connection_limit=5&schema=app&pool_timeout=2"),
        ("My App", "?schema=My%20App"),
        ('a"b', "?schema=a%22b"),
        ("back\\slash", "?schema=back%5Cslash"),
        ("app", "?options=-csearch_path%3Dapp"),
        ("app", "?schema=app&options=-c%20work_mem%3D5MB&connect_timeout=9"),
    ],
)
def test_the_schema_of_a_url(lite, pg_url, pg, schema, query):
    """
    As Prisma writes it, and as libpq does.
    """
    name = '"' + schema.replace('"', '""') + '"'
    pg(f"CREATE SCHEMA {name}")

    migrate(lite(TABLE), pg_url + query, verify="full")

    assert [(1,)] == pg(f"SELECT id FROM {name}.t")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?schema=nope", "the schema nope"),
        ("?options=-csearch_path%3Dnope", "the schema nope"),
        ("?options=-csearch_path%3Dnope%2Cpublic", "the schema nope"),
        ("?options=-csearch_path%3D%22No%20pe%22", 'CREATE SCHEMA "No pe"'),
        ("?options=-csearch_path%3D%2C", "options"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_search_path_that_leads_nowhere(lite, pg_url, query, words, dry_run):
    """
    The schema is named, and how to create it; nothing goes to another one.
    """
    query = query.replace("No%20pe", "No%5C%20pe")
    with pytest.raises(TargetUnreachable) as caught:
        migrate(lite(TABLE), pg_url + query, dry_run=dry_run)

    assert words in str(caught.value)
    assert "Check host and port" not in str(caught.value)


@pytest.mark.parametrize("cast", ["nosuch", "nosuch(3)", "geometry(Point, 4326)", "int int", "''"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_type_that_does_not_exist(lite, pg_url, cast, dry_run):
    """
    The cast is named, before anything is read.
    """
    with pytest.raises(ConfigurationError, match=r"t\.id=") as caught:
        migrate(lite(TABLE), pg_url, casts={"t.id": cast}, dry_run=dry_run)

    assert "does not have" in str(caught.value)


@pytest.mark.parametrize("cast", ["varchar(5)", "numeric(10,2)", "int4", "timestamp(3)", "mood"])
def test_a_type_that_exists(lite, pg_url, pg, cast):
    """
    In every spelling, and one of the target's own.
    """
    pg("CREATE TYPE mood AS ENUM ('1', '2')")
    path = lite(
        "CREATE TABLE t (v); INSERT INTO t VALUES ('1')"
        if "time" not in cast
        else "CREATE TABLE t (v)"
    )
    migrate(path, pg_url, casts={"t.v": cast})
