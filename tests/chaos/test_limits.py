"""Limits that any user may run into: of the size of files, and of what a clock tells."""

from __future__ import annotations

import os
import time

import pytest

from oxy_pg import paths
from oxy_pg.server import place, temporary

LIMITED = """
import os, resource, oxy_pg
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, most))
try:
    oxy_pg.ensure(timeout=30)
except oxy_pg.OxyPgError as error:
    words = str(error)
    assert os.environ["OXY_STATE_DIR"] in words, words
    print(type(error).__name__)
else:
    print("none")
"""
ENSURED = "import oxy_pg, psycopg; psycopg.connect(oxy_pg.ensure()).close(); print('good')"


@pytest.mark.parametrize("cached", [True, False], ids=["template", "initdb"])
def test_a_limit_on_the_size_of_files_while_the_cluster_is_made(
    state_dir, run_python, tmp_path, cached
):
    """
    ``ulimit -f``, a quota's nearest relative: a typed error, nothing stays, the next try works.
    """
    places = {"OXY_STATE_DIR": state_dir}
    if not cached:
        places["OXY_PG_CACHE_DIR"] = state_dir.parent / "cache"
    else:
        run_python(ENSURED, OXY_STATE_DIR=state_dir.parent / "another")  # leaves a template

    assert "InitdbFailed" == run_python(LIMITED.format(size=100_000), **places)

    assert not (state_dir / "postgres_data").exists()
    assert not list(state_dir.glob("*.new*"))
    assert "good" == run_python(ENSURED, **places)


def test_a_limit_on_the_size_of_files_at_a_start(state_dir, run_python):
    """
    A server that may not write its files says so, and loses nothing.
    """
    run_python(
        "import oxy_pg, psycopg\n"
        "with psycopg.connect(oxy_pg.ensure(keep_alive=0)) as connection:\n"
        "    connection.execute('CREATE TABLE kept AS SELECT 42 AS id')\n"
        "oxy_pg.Server().stop()",
        OXY_STATE_DIR=state_dir,
    )

    assert "StartFailed" == run_python(LIMITED.format(size=10), OXY_STATE_DIR=state_dir)

    assert "42" == run_python(
        "import oxy_pg, psycopg\n"
        "with psycopg.connect(oxy_pg.ensure()) as connection:\n"
        "    print(connection.execute('SELECT id FROM kept').fetchone()[0])",
        OXY_STATE_DIR=state_dir,
    )


def test_a_clock_that_runs_backwards(state_dir, run_python):
    """
    Nobody waits by the time of day: a clock that is set back all the time delays nothing.
    """
    code = (
        "import itertools, time\n"
        "seconds = itertools.count(2e9, -3600.0)\n"
        "time.time = lambda: next(seconds)\n"
        "import oxy_pg, psycopg\n"
        "for _ in range(3):\n"
        "    server = oxy_pg.Server(keep_alive=30)\n"
        "    psycopg.connect(server.ensure_database()).close()\n"
        "    server.stop()\n"
        "with oxy_pg.temporary() as server:\n"
        "    psycopg.connect(server.url()).close()\n"
        "print('good')"
    )

    assert "good" == run_python(code, OXY_STATE_DIR=state_dir)


def test_what_comes_from_the_future_stays():
    """
    A directory that is younger than now, since the clock was set back, is not called abandoned.
    """
    path = temporary._make_dir(place.choose(), None)
    tomorrow = time.time() + 86_400
    os.utime(path, (tomorrow, tomorrow))
    try:
        temporary.sweep()
        assert os.path.exists(path)

        os.utime(path, (tomorrow - 200_000, tomorrow - 200_000))
        temporary.sweep()
        assert not os.path.exists(path)
    finally:
        temporary._remove_if_abandoned(paths.StateDir(path))
