"""docs/production.md: its SQL and Python run, and what it says fails does fail."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

import oxy_pg
from oxy_pg.cli.tune import tune
from oxy_pg.server import tuning
from oxy_pg.system.machine import Machine

DOCS = Path(__file__).parents[2] / "docs"
DOC = (DOCS / "production.md").read_text()
BLOCKS = re.findall(r"^```(\S*)([^\n]*)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
ORDINARY = [text for kind, rest, text in BLOCKS if (kind, rest) == ("sql", "")]
PRIVILEGED = [text for kind, rest, text in BLOCKS if rest == " as=administrator"]


def test_every_block_is_one_that_is_tried():
    """
    No block is skipped because its first line is spelled differently.
    """
    assert DOC.count("```") == 2 * len(BLOCKS)
    kinds = {(kind, rest) for kind, rest, _ in BLOCKS}
    assert {
        ("sql", ""),
        ("sql", " as=administrator"),
        ("python", ""),
        ("sh", ""),
        ("", ""),
    } == kinds
    assert len(ORDINARY) == 8
    assert len(PRIVILEGED) == 2


@pytest.fixture(scope="module")
def url(debian_15):
    return debian_15.new_database(rights="CREATEDB")


@pytest.mark.parametrize("statement", ORDINARY)
def test_an_ordinary_role_may_run_it(url, statement):
    """
    On Debian's PostgreSQL 15, with a table and an index to show.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS item (id int PRIMARY KEY, name text)")
        connection.execute("CREATE INDEX IF NOT EXISTS item_name ON item (name)")

        cursor = connection.execute(statement)

        assert cursor.description is None or cursor.fetchall() is not None


@pytest.mark.parametrize("statement", PRIVILEGED)
def test_this_takes_an_administrator(debian_15, url, statement):
    """
    An ordinary role may not, as the text says; an administrator may.
    """
    with debian_15.superuser() as superuser:
        superuser.execute("DROP ROLE IF EXISTS watcher")
        superuser.execute("CREATE ROLE watcher")
    try:
        with (
            psycopg.connect(url, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with debian_15.superuser(name) as superuser:
            superuser.execute(statement)
            superuser.execute("DROP EXTENSION IF EXISTS pg_stat_statements")
    finally:
        with debian_15.superuser() as superuser:
            superuser.execute("DROP ROLE watcher")


def test_psql_speaks_tls(url, cli):
    """
    The bundled psql cannot, so the system's is used for another server.
    """
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

    done = cli("psql", "--", "-X", "-At", "-c", query, OXY_DATABASE_URL=url)

    assert "t\n" == done.stdout, done.stderr


@pytest.fixture
def pooled(debian_15, pgbouncer):
    """The URL of a database behind PgBouncer in transaction mode."""
    url = debian_15.new_database(rights="CREATEDB").partition("?")[0]
    return url.replace(f":{debian_15.port}/", f":{pgbouncer(debian_15).port}/")


def test_prepared_statements_and_a_pool(pooled):
    """
    They fail, as the page says, and do not fail with its settings.
    """
    with (
        psycopg.connect(pooled, autocommit=True) as one,
        psycopg.connect(pooled, autocommit=True) as two,
        pytest.raises(psycopg.errors.DuplicatePreparedStatement),
    ):
        execute_often(one, two)

    (lines,) = (text for kind, _, text in BLOCKS if kind == "python")
    names = {"sqlalchemy": sqlalchemy, "psycopg": psycopg, "url": pooled}
    exec(lines, names)  # the page's own code
    with names["connection"] as one, psycopg.connect(pooled, prepare_threshold=None) as two:
        one.autocommit = two.autocommit = True
        execute_often(one, two)
    engine = names["engine"]
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two) * 10:
            connection.execute(sqlalchemy.text("SELECT :n"), {"n": 1})
            connection.commit()
    engine.dispose()


def execute_often(*connections):
    for connection in connections:
        for _ in range(10):
            connection.execute("SELECT %s::int", [1])


def test_a_session_and_a_pool(pooled):
    """
    Another client sees a session's settings, but not a transaction's.
    """
    with (
        psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as one,
        psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as two,
    ):
        one.execute("SET search_path TO pg_catalog")
        assert ("pg_catalog",) == two.execute("SHOW search_path").fetchone()
        one.execute("RESET search_path")
        one.execute("SELECT pg_advisory_lock(1)")
        assert (True,) == two.execute("SELECT pg_try_advisory_lock(1)").fetchone()
        one.execute("SELECT pg_advisory_unlock_all()")

        with one.transaction():
            one.execute("SET LOCAL search_path TO pg_catalog")
            one.execute("SELECT pg_advisory_xact_lock(1)")
            assert (False,) == two.execute("SELECT pg_try_advisory_xact_lock(1)").fetchone()
        assert ('"$user", public',) == two.execute("SHOW search_path").fetchone()


def test_a_migration_through_a_pool(pooled, tmp_path, monkeypatch):
    """
    It is one transaction, so it has one session.
    """
    source = tmp_path / "app.db"
    with sqlite3.connect(source) as connection:
        connection.executescript(
            "CREATE TABLE author (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);"
            "CREATE TABLE book (id INTEGER PRIMARY KEY, author INTEGER REFERENCES author (id));"
            "INSERT INTO author (name) VALUES ('Ada'), ('Bo');"
            "INSERT INTO book VALUES (1, 2);"
        )
    connection.close()
    monkeypatch.setenv("OXY_DATABASE_URL", pooled)

    report = oxy_pg.migrate_sqlite(source, verify="full")

    assert [1, 2] == sorted(table.rows_written for table in report.tables)
    with psycopg.connect(oxy_pg.ensure(), prepare_threshold=None) as target:
        assert (3,) == target.execute(
            "INSERT INTO author (name) VALUES ('C') RETURNING id"
        ).fetchone()


def test_the_plugin_through_a_pool(pooled, tmp_path):
    """
    Databases are copied from a template without connections: the pool closes its own.
    """
    (tmp_path / "conftest.py").write_text(
        "import psycopg, pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def oxy_pg_template(oxy_pg_template_url):\n"
        "    with psycopg.connect(oxy_pg_template_url) as connection:\n"
        "        connection.execute('CREATE TABLE item (id int)')\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(3))\n"
        "def test_it(oxy_pg_connection, number):\n"
        "    oxy_pg_connection.execute('INSERT INTO item VALUES (1)')\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "OXY_DATABASE_URL": pooled},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_table_of_settings_is_what_tune_proposes():
    """
    Every proposed setting is in the table, and every option in an example exists.
    """
    server = tuning.Server(18, linux=True, dedicated=True, max_connections=100)
    for one in tuning.propose(Machine(2**34, 8), server):
        assert re.search(rf"^\|.*`{one.name}`.*\|", DOC, re.MULTILINE), one.name
        chapter = one.source.rpartition(" ")[2]
        assert chapter in DOC
    known = {name for option in tune.params for name in option.opts}
    assert set(re.findall(r"^oxy-pg tune.*$", DOC, re.MULTILINE))
    for line in re.findall(r"^oxy-pg tune.*$", DOC, re.MULTILINE):
        assert set(re.findall(r"--[a-z]+", line)) <= known
