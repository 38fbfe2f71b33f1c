"""
However a push or a pull ends, the target is what it was, or a complete copy.

OXY_PG_KILLS sets how often each is killed (default 2).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until
from tests.other_servers import postgresql_18_bin
from tests.transfer.contents import RICH, differences, everything

KILLS = int(os.environ.get("OXY_PG_KILLS", "2"))

PROGRAM = """
import sys, oxy_pg
from oxy_pg.transfer.copy import copy_database
verb, url, swap = sys.argv[1:]
print("ready", flush=True)
options = {"swap": swap == "swap"} if verb == "push" else {}
getattr(oxy_pg, verb)(url, if_not_empty="replace", **options)
"""


@pytest.fixture
def home(state_dir, monkeypatch):
    """The embedded server of this test, with the fork of pgserver beside it."""
    monkeypatch.syspath_prepend(str(postgresql_18_bin().parents[2]))
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    with oxy_pg.Server(state_dir, keep_alive=5) as server:
        with psycopg.connect(server.ensure_database(), autocommit=True) as connection:
            connection.execute(RICH)
            connection.execute("CREATE TABLE bulk AS SELECT generate_series(1, 200000) AS a")
            connection.execute("CREATE INDEX ON bulk (a)")
        yield server


def started(*words: str) -> subprocess.Popen[str]:
    """A transfer in a process group of its own, past its imports."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    return process


def undisturbed(*words: str) -> float:
    """How long one takes that is not killed."""
    began = time.monotonic()
    process = started(*words)
    _, said = process.communicate(timeout=100)
    assert 0 == process.returncode, said
    return time.monotonic() - began


def alone(url: str) -> None:
    """Wait until the server has seen that its client is gone."""

    def is_alone() -> bool:
        with psycopg.connect(url, autocommit=True) as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            return connection.execute(query).fetchone() == (0,)

    assert wait_until(is_alone, 30)


def old_content(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('DROP SCHEMA IF EXISTS public, "Ünusual ""name""" CASCADE')
        connection.execute("CREATE SCHEMA public")
        connection.execute("CREATE TABLE parent AS SELECT generate_series(1, 10) AS old")
        connection.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("way", ["in place", pytest.param("swap", marks=pytest.mark.long)])
def test_killed_push_leaves_the_old_or_the_new(home, postgresql_18, way):
    """
    kill -9 at random moments, the commit or the swap included: never half, never nothing.
    """
    chosen = random.Random(7)
    target = postgresql_18.new_database(rights="CREATEDB")
    new = everything(home.superuser_url("oxy"))
    old_content(target)
    old = everything(target)
    took = undisturbed("push", target, way)
    outcomes = []
    for number in range(KILLS):
        old_content(target)
        process = started("push", target, way)
        time.sleep(took * (number + chosen.random()) / KILLS * 1.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        alone(target)

        found = everything(target)
        is_old, is_new = differences(old, found) == [], differences(new, found) == []
        assert is_old or is_new, (number, differences(new, found))
        outcomes.append(is_new)
    undisturbed("push", target, way)

    assert [] == differences(new, everything(target))
    assert False in outcomes  # a test in which every kill came too late would show nothing
    nothing_left(postgresql_18.superuser())


@pytest.mark.long
@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_pull_leaves_the_old_or_the_new(home, postgresql_18):
    """
    The same for what is here: the database keeps its name and its rows, or has the new ones.
    """
    chosen = random.Random(8)
    source = postgresql_18.new_database()
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(RICH)
        connection.execute("CREATE TABLE bulk AS SELECT generate_series(1, 200000) AS a")
    new = everything(source)
    url = home.url()
    took = undisturbed("pull", source, "")
    for number in range(KILLS):
        old_content(url)
        old = everything(home.superuser_url("oxy"))
        process = started("pull", source, "")
        time.sleep(took * (number + chosen.random()) / KILLS * 1.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        alone(url)

        found = everything(home.superuser_url("oxy"))
        is_old, is_new = differences(old, found) == [], differences(new, found) == []
        assert is_old or is_new, (number, differences(new, found))
    undisturbed("pull", source, "")

    assert [] == differences(new, everything(home.superuser_url("oxy")))
    nothing_left(psycopg.connect(home.superuser_url(), autocommit=True))


def nothing_left(connection: psycopg.Connection) -> None:
    """The last run has removed what the killed ones have left: databases and directories."""
    with connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '_oxy_'")
        assert [] == left.fetchall()
    assert [] == list(Path(tempfile.gettempdir()).glob("oxy_pg-*/transfer-*"))
