"""What a target's extensions lack is told before anything is copied: schema and version."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools
from oxy_pg.transfer.backup import backup, restore
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


@pytest.fixture
def newer(postgresql_18, with_18):
    """Make a database with vector 0.8, and these objects in it."""

    def make(objects: str) -> str:
        url = postgresql_18.new_database()
        extend(postgresql_18, url, "CREATE EXTENSION vector")
        with psycopg.connect(url) as connection:
            connection.execute(objects.encode())
        return url

    return make


def push(source: str, target: str, *, dry_run: bool):
    return copy_database.run(Order("push", source, target), dry_run=dry_run, on_progress=None)


def test_another_schema(embedded, new_database, postgresql_18):
    """
    vector in "extensions" there, as Supabase has it, and in "public" here.
    """
    source = new_database("SELECT 1", extensions=("vector",))
    target = postgresql_18.new_database()
    extend(
        postgresql_18, target, "CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions"
    )

    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
    source = embedded.reader_url(name)

    (problem,) = push(source, target, dry_run=True).problems

    assert "it is in the schema extensions there, and in public in the source" in problem
    assert "ALTER EXTENSION vector SET SCHEMA public" in problem
    extend(postgresql_18, target, "ALTER EXTENSION vector SET SCHEMA public")
    assert () == push(source, target, dry_run=True).problems


@pytest.mark.parametrize("there", [None, "public", "pg_catalog"])
def test_in_pg_catalog(embedded, new_database, postgresql_18, with_18, there):
    """
    It is to be moved in the source, and never into pg_catalog; a warning where both have it there.
    """
    name = psycopg.conninfo.conninfo_to_dict(new_database("CREATE TABLE t ()"))["dbname"]
    with psycopg.connect(embedded.superuser_url(name)) as connection:
        connection.execute("CREATE EXTENSION vector")
    target = postgresql_18.new_database()
    if there is not None:
        extend(postgresql_18, target, f"CREATE EXTENSION vector SCHEMA {there}")

    report = push(embedded.reader_url(name), target, dry_run=True)

    told, other = report.problems, report.warnings
    if there == "pg_catalog":
        told, other = other, told
    assert ((), 1) == (other, len(told))
    assert "ALTER EXTENSION vector SET SCHEMA public" in told[0]
    assert "SET SCHEMA pg_catalog" not in told[0]


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
def test_an_older_version(newer, older, objects, lacking, present):
    """
    What it lacks of what is used; an older version that has all of it will do.
    """
    source = newer(objects)
    target = older.new_database()
    if present:
        extend(older, target, "CREATE EXTENSION vector")
    else:  # where the role itself may create it
        role = psycopg.conninfo.conninfo_to_dict(target)["user"]
        extend(older, target, f"ALTER ROLE {role} SUPERUSER")

    problems = push(source, target, dry_run=True).problems

    with older.superuser(psycopg.conninfo.conninfo_to_dict(target)["dbname"]) as connection:
        there = connection.execute("SELECT count(*) FROM pg_extension").fetchone()
    assert (1 + present,) == there  # a dry run writes nothing
    if lacking is None:
        assert () == problems
    else:
        assert lacking in problems[0]
        assert "it is 0.6.2 there" in problems[0]
        assert "ALTER EXTENSION vector UPDATE" in problems[0]


def test_a_push_is_refused_before_anything_is_written(newer, older):
    source = newer("CREATE TABLE t (a halfvec(3))")
    target = older.new_database()
    extend(older, target, "CREATE EXTENSION vector")

    with pytest.raises(oxy_pg.ExtensionsMissing, match="halfvec"):
        push(source, target, dry_run=False)
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)


@pytest.mark.parametrize("in_place", [False, True], ids=["new database", "in place"])
@pytest.mark.parametrize("plain", [False, True], ids=["archive", "plain"])
@pytest.mark.parametrize(
    ("objects", "lacking"),
    [
        ("CREATE TABLE t (a halfvec(3))", "type halfvec"),
        (
            "CREATE TABLE t (a vector(3)); CREATE INDEX ON t USING hnsw (a vector_l1_ops)",
            "vector_l1",
        ),
        (
            "CREATE TABLE t AS SELECT '[1]'::vector(1) a; CREATE INDEX ON t USING ivfflat (a)",
            None,
        ),
    ],
)
def test_a_restore_into_an_older_version(
    embedded, new_database, older, objects, lacking, plain, in_place, tmp_path
):
    """
    It is refused before anything is created, also what only an index at the end would show.
    """
    source = new_database(objects, extensions=("vector",))
    source = embedded.reader_url(psycopg.conninfo.conninfo_to_dict(source)["dbname"])
    path = backup.backup(str(tmp_path / "b"), source, plain=plain).path
    target = older.new_database(rights="CREATEDB")
    name = psycopg.conninfo.conninfo_to_dict(target)["dbname"]
    superuser = f"postgresql://postgres@/postgres?host={older.home}&port={older.port}"

    def databases():
        with older.superuser() as connection:
            query = "SELECT oid, datname, (SELECT count(*) FROM pg_shdepend) FROM pg_database"
            return sorted(connection.execute(query).fetchall())

    before = databases()

    def restore_it():
        restore.restore(path, target, in_place=in_place, superuser_url=superuser)

    if lacking is None:
        restore_it()
        with psycopg.connect(target) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
        return
    with pytest.raises(oxy_pg.ExtensionsMissing, match=lacking) as caught:
        restore_it()
    assert "it is 0.6.2 there and 0.8" in str(caught.value)
    assert before == databases()
    with older.superuser(name) as connection:
        assert connection.execute("SELECT to_regtype('vector')").fetchone() == (None,)
