"""What prevents the creation of one test database, or its drop, costs no other."""

from __future__ import annotations

import os
import subprocess

import psycopg
import pytest

import oxy_pg
from oxy_pg.errors import ServerError
from oxy_pg.pytest_plugin.clones import Clones
from tests.conftest import wait_until


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary() as server:
        yield server


@pytest.fixture
def clones(server):
    made = Clones(lambda: psycopg.connect(server.url(), autocommit=True), ours=True)
    yield made
    made.close()


def take_four(clones):
    for _ in range(4):
        clones.take()


def test_a_template_that_was_in_use_for_a_while(server, clones):
    """The test that waits gets the error; the next one a database."""
    server.create_database("template_in_use")
    clones.use_template("template_in_use")
    for _ in range(3):
        clones.take()
    # PostgreSQL waits five seconds for each; up to two were created ahead.
    in_use = pytest.raises(ServerError, match="being accessed")
    with psycopg.connect(server.url("template_in_use")), in_use:
        take_four(clones)
    assert clones.take() in server.databases()


def test_a_used_database_that_cannot_be_dropped_yet(server, clones):
    """The superuser looks at it; others are dropped, and that one at the end."""
    server.create_database("template_seen")
    clones.use_template("template_seen")
    seen, dropped = clones.take(), clones.take()
    with psycopg.connect(server.superuser_url(seen)):
        clones.give_back(seen)
        clones.give_back(dropped)
        assert wait_until(lambda: dropped not in server.databases(), 60)
        clones.take()
        assert seen in server.databases()
    clones.close()
    assert seen not in server.databases()


FULL = """
    import psycopg
    import pytest

    @pytest.mark.parametrize("number", range(30))
    def test_quick(oxy_pg_url, number):
        with psycopg.connect(oxy_pg_url) as connection:
            connection.execute("INSERT INTO item VALUES (2, 'two')")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_small_temporary_directory(session, base_dir, monkeypatch):
    """Used databases are dropped as soon as it is full: thirty would take twice the room."""
    small = base_dir / "small"
    small.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=110m,mode=1777", "tmpfs", small], check=True
    )
    try:
        monkeypatch.setenv("TMPDIR", str(small))
        session(FULL).assert_outcomes(passed=30)
        assert wait_until(lambda: not list(small.glob("oxy_pg-*/*")))
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
