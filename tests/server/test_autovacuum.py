"""Databases that an autovacuum worker is at work in, dropped and closed by a role with CREATEDB."""

from __future__ import annotations

import itertools

import psycopg
import pytest

import oxy_pg
from oxy_pg.connection import drop_database
from oxy_pg.pytest_plugin import clones
from oxy_pg.server.external import ExternalServer
from tests.conftest import wait_until

# A worker begins within a second, and takes minutes.
SETTINGS = {
    "autovacuum_naptime": "1",
    "autovacuum_vacuum_cost_delay": "100",
    "autovacuum_vacuum_cost_limit": "1",
    "autovacuum_max_workers": "10",
}
WORKERS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = %s AND backend_type = 'autovacuum worker' AND query LIKE '%%item%%'"
)
numbers = itertools.count()


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary(settings=SETTINGS) as server:
        yield server


@pytest.fixture
def as_superuser(server):
    with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def vacuumed(server, as_superuser):
    """A database with an autovacuum worker in it."""
    name = f"vacuumed{next(numbers)}"
    server.create_database(name)
    with psycopg.connect(server.url(name)) as connection:
        connection.execute("CREATE TABLE item AS SELECT n FROM generate_series(1, 200000) n")
        connection.commit()
        connection.execute("UPDATE item SET n = n + 1")
    assert wait_until(lambda: as_superuser.execute(WORKERS, [name]).fetchall(), 60)
    return name


@pytest.fixture
def as_oxy(server):
    """What the role may do that applications have."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("connected", [False, True], ids=["alone", "with a client"])
def test_dropped_by_its_owner(server, vacuumed, as_oxy, connected):
    client = psycopg.connect(server.url(vacuumed) if connected else server.url())
    drop_database(as_oxy, vacuumed)
    assert vacuumed not in server.databases()
    client.close()


def test_dropped_on_an_external_server(server, vacuumed):
    ExternalServer(server.url()).drop_database(vacuumed)
    assert vacuumed not in server.databases()


def test_dropped_on_the_embedded_server(server, vacuumed):
    server.drop_database(vacuumed)
    assert vacuumed not in server.databases()


def test_a_template_is_closed_and_copied(server, vacuumed, as_oxy):
    client = psycopg.connect(server.url(vacuumed))
    clones.seal(as_oxy, vacuumed)
    as_oxy.execute(f"CREATE DATABASE copy_of_{vacuumed} TEMPLATE {vacuumed}")
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")


def test_a_snapshot_and_back(server, vacuumed):
    server.snapshot("before", database=vacuumed)
    server.rewind("before", database=vacuumed)
    with psycopg.connect(server.url(vacuumed)) as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (200000,)


def test_a_session_of_the_superuser_prevents_it(server, as_oxy):
    """It is not the role's to end; the error is PostgreSQL's own, and another client stays."""
    server.create_database("watched")
    with psycopg.connect(server.superuser_url("watched")) as watching:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            drop_database(as_oxy, "watched")
        assert watching.execute("SELECT 1").fetchone() == (1,)
    drop_database(as_oxy, "watched")


def test_a_database_of_another_owner_loses_no_session(server, as_oxy, as_superuser):
    as_superuser.execute("CREATE DATABASE foreign_one")
    as_superuser.execute("GRANT CONNECT ON DATABASE foreign_one TO oxy")
    with psycopg.connect(server.url("foreign_one")) as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="owner"):
            drop_database(as_oxy, "foreign_one")
        assert client.execute("SELECT 1").fetchone() == (1,)
