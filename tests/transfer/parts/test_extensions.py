"""What a target's extensions lack is told before anything is copied: schema and version."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools
from oxy_pg.transfer.copy import copy_database
from oxy_pg.transfer.copy.copy_plan import Order
from tests.other_servers import OtherServer


@pytest.fixture(scope="module")
def older(base_dir):
    """PostgreSQL 16.2 with vector 0.6.2, which has no halfvec."""
    found = next((one for one in tools.installed() if one.version == "16.2"), None)
    if found is None:
        pytest.skip("PostgreSQL 16.2 is not installed: pgserver has no wheel for this Python")
    from pathlib import Path

    server = OtherServer(Path(found.bin_dir), base_dir / "postgresql-16.2", tls=False)
    yield server
    server.stop()


def extend(server, url: str, statement: str) -> None:
    with server.superuser(psycopg.conninfo.conninfo_to_dict(url)["dbname"]) as connection:
        connection.execute(statement.encode())


def dry_run(embedded, source: str, target: str, **options):
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
    order = Order("push", embedded.reader_url(name), target, **options)
    return copy_database.run(order, dry_run=True, on_progress=None)


def test_another_schema(embedded, new_database, postgresql_18):
    """
    vector in "extensions" there, as Supabase has it, and in "public" here.
    """
    source = new_database("SELECT 1", extensions=("vector",))
    target = postgresql_18.new_database()
    extend(
        postgresql_18, target, "CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions"
    )

    (problem,) = dry_run(embedded, source, target).problems

    assert "it is in the schema extensions there, and in public in the source" in problem
    assert "ALTER EXTENSION vector SET SCHEMA public" in problem
    extend(postgresql_18, target, "ALTER EXTENSION vector SET SCHEMA public")
    assert () == dry_run(embedded, source, target).problems


@pytest.mark.parametrize("present", [False, True], ids=["to be created", "present"])
@pytest.mark.parametrize(
    ("objects", "lacking"),
    [
        ("CREATE TABLE t (a halfvec(3))", "type halfvec"),
        ("CREATE FUNCTION f(sparsevec) RETURNS int LANGUAGE sql AS 'SELECT 1'", "type sparsevec"),
        (
            "CREATE TABLE t (a vector(3)); CREATE INDEX ON t USING hnsw (a vector_l1_ops)",
            "vector_l1",
        ),
        ("CREATE TABLE t (a vector(3)); CREATE INDEX ON t USING hnsw (a vector_l2_ops)", None),
    ],
)
def test_an_older_version(embedded, new_database, older, objects, lacking, present):
    """
    What it lacks of what is used; an older version that has all of it will do.
    """
    source = new_database("SELECT 1", extensions=("vector",))
    with psycopg.connect(source) as connection:
        connection.execute(objects)
    target = older.new_database()
    if present:
        extend(older, target, "CREATE EXTENSION vector")
    else:  # where the role itself may create it
        role = psycopg.conninfo.conninfo_to_dict(target)["user"]
        extend(older, target, f"ALTER ROLE {role} SUPERUSER")

    problems = dry_run(embedded, source, target).problems

    with older.superuser(psycopg.conninfo.conninfo_to_dict(target)["dbname"]) as connection:
        there = connection.execute("SELECT count(*) FROM pg_extension").fetchone()
    assert (1 + present,) == there  # a dry run writes nothing
    if lacking is None:
        assert () == problems
    else:
        assert lacking in problems[0]
        assert "it is 0.6.2 there" in problems[0]
        assert "ALTER EXTENSION vector UPDATE" in problems[0]


def test_a_push_is_refused_before_anything_is_written(embedded, new_database, older):
    source = new_database("SELECT 1", extensions=("vector",))
    with psycopg.connect(source) as connection:
        connection.execute("CREATE TABLE t (a halfvec(3))")
    target = older.new_database()
    extend(older, target, "CREATE EXTENSION vector")
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]

    with pytest.raises(oxy_pg.ExtensionsMissing, match="halfvec"):
        copy_database.run(
            Order("push", embedded.reader_url(name), target), dry_run=False, on_progress=None
        )
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
