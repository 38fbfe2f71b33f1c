"""The variables that libpq reads are for other servers; the embedded one never notices them."""

from __future__ import annotations

import os
import sqlite3
import threading

import psycopg
import pytest

import oxy_pg
from oxy_pg.connection import connect
from oxy_pg.system import libpq
from oxy_pg.system.deadline import Deadline

# One that is not in the environment of a shell by chance, for each way in which it could hurt.
HOSTILE = {
    "PGSSLMODE": "verify-full",
    "PGCHANNELBINDING": "require",
    "PGSERVICE": "prod",
    "PGHOSTADDR": "127.0.0.9",
    "PGOPTIONS": "-c default_transaction_read_only=on -c search_path=nowhere",
    "PGPASSFILE": "/nonexistent",
    "PGTARGETSESSIONATTRS": "standby",
    "PGREQUIREAUTH": "none",
    "PGREQUIRESSL": "1",
    "PGGSSENCMODE": "require",
    "PGTZ": "nonsense",
    "PGDATESTYLE": "nonsense",
    "PGCLIENTENCODING": "nonsense",
    "PGUSER": "bob",
    "PGPASSWORD": "wrong",
    "PGPORT": "1",
    "PGDATABASE": "nowhere",
    "PGMINPROTOCOLVERSION": "3.2",
}


@pytest.fixture
def hostile(monkeypatch):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)


def test_all_of_them_are_known():
    """
    What the installed libpq reads is in the list.
    """
    read = {
        option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar is not None
    }

    assert read <= libpq.VARIABLES


def test_every_wing_works(hostile, server, state_dir, tmp_path, cli):
    """
    Migration, backup, restore, pull and the command line use our server as if none was set.
    """
    source = tmp_path / "source.db"
    with sqlite3.connect(source) as connection:
        connection.executescript("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2)")
    connection.close()

    server.migrate_sqlite(source)
    server.backup(tmp_path / "t.dump")
    server.restore(tmp_path / "t.dump", confirm=lambda _: True)
    with oxy_pg.temporary() as other:
        server.push(other.url())
        assert 2 == other.pull(server.url(), if_not_empty="replace").tables[0].rows
    answer = cli("psql", "--", "-Atc", "SELECT count(*) FROM t", OXY_STATE_DIR=state_dir)

    assert "2\n" == answer.stdout, answer.stderr
    assert HOSTILE == {name: os.environ[name] for name in HOSTILE}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_each_alone(monkeypatch, shared_server, cli, name):
    """
    None of them reaches a session of ours, nor a program that we start.
    """
    monkeypatch.setenv(name, HOSTILE[name])

    answer = cli("psql", "--", "-Atc", "SELECT 1", OXY_STATE_DIR=shared_server.state_dir)
    assert "1\n" == answer.stdout, answer.stderr
    with connect(shared_server.superuser_url(), Deadline(5)) as connection:
        assert ("off",) == connection.execute("SHOW default_transaction_read_only").fetchone()


@pytest.fixture(scope="module")
def shared_server(base_dir):
    server = oxy_pg.Server(base_dir / "libpq", keep_alive=1)
    server.ensure_database()
    yield server
    server.destroy()


def test_they_are_back_after_the_last_of_many(monkeypatch):
    """
    Connections in many threads at once, and none of them brings them back too early.
    """
    monkeypatch.setenv("PGSERVICE", "prod")
    seen = []
    barrier = threading.Barrier(8)

    def look():
        for _ in range(50):
            barrier.wait()
            with libpq.hidden():
                seen.append(os.environ.get("PGSERVICE"))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {None} == set(seen)
    assert "prod" == os.environ["PGSERVICE"]


def test_a_child_that_is_forked_meanwhile_has_them(monkeypatch):
    """
    A process that is forked while a connection is being made keeps its environment.
    """
    monkeypatch.setenv("PGSERVICE", "prod")
    with libpq.hidden():
        pid = os.fork()
        if not pid:
            os._exit(0 if os.environ.get("PGSERVICE") == "prod" else 1)
        assert 0 == os.waitpid(pid, 0)[1]
        assert "PGSERVICE" not in os.environ


def test_they_apply_to_an_external_server_and_errors_name_them(debian_15, monkeypatch):
    """
    With another server's URL they mean what libpq's manual says; a refusal names them.
    """
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", "/nonexistent")
    monkeypatch.setenv("OXY_DATABASE_URL", debian_15.new_database().partition("?")[0])

    with pytest.raises(oxy_pg.ExternalServerUnavailable, match="PGSSLMODE"):
        oxy_pg.ensure(timeout=20)


def test_psql_for_an_external_server_gets_them(debian_15, cli):
    """
    The programs that are started for another server read them too.
    """
    answer = cli(
        *("psql", "--", "-Atc", "SHOW application_name"),
        OXY_DATABASE_URL=debian_15.new_database(),
        PGAPPNAME="of the shell",
    )

    assert "of the shell\n" == answer.stdout, answer.stderr


def test_the_plugin_hides_them(pytester, monkeypatch):
    """
    The tests' own connections are to the server of the session, and need no variables.
    """
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGSERVICE", "prod")
    pytester.makepyfile(
        """
        import psycopg

        def test_it(oxy_pg_url, oxy_pg_connection, oxy_pg_engine):
            with psycopg.connect(oxy_pg_url) as connection:
                assert (1,) == connection.execute("SELECT 1").fetchone()
            assert (1,) == oxy_pg_connection.execute("SELECT 1").fetchone()
            oxy_pg_engine.connect().close()
        """
    )

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
