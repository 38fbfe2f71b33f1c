"""As root, whose own directories are closed to the user that PostgreSQL runs as."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg import installations
from oxy_pg.server.cluster import binaries

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="about being root")


@pytest.fixture
def closed(base_dir):
    """A directory like /root: nobody else passes."""
    path = Path(tempfile.mkdtemp(prefix="closed-", dir=base_dir / "tmp"))
    assert 0o700 == stat.S_IMODE(path.stat().st_mode)
    yield path
    shutil.rmtree(path)
    shutil.rmtree(base_dir / "tmp" / "oxy_pg-0", ignore_errors=True)


def homes():
    return list(Path(tempfile.gettempdir()).glob("oxy_pg-0/cluster-*"))


def test_postgresql_runs_as_somebody_else(server):
    """
    The server is not root's; the supervisor is.
    """
    status = server.status()

    assert "root" != psutil.Process(status.pid).username()
    assert "root" == psutil.Process(status.supervisor_pid).username()


def test_a_closed_state_dir_is_no_obstacle(closed):
    """
    The cluster stands where its user can reach it; nobody's mode is changed.
    """
    state_dir = closed / "state"
    server = oxy_pg.Server(state_dir, keep_alive=0)
    with psycopg.connect(server.ensure_database()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS text")
    server.stop()

    assert 0o700 == stat.S_IMODE(closed.stat().st_mode)
    assert (state_dir / "postgres_data").is_symlink()
    assert 1 == len(homes())
    with psycopg.connect(server.ensure_database()) as connection:
        assert ("kept",) == connection.execute("SELECT text FROM kept").fetchone()

    server.destroy()

    assert [] == homes()
    assert not os.path.lexists(state_dir / "postgres_data")


def test_a_closed_state_dir_that_was_removed_starts_afresh(closed):
    """
    Whoever deletes the state directory gets a new, empty cluster, and not the old one.
    """
    state_dir = closed / "state"
    server = oxy_pg.Server(state_dir, keep_alive=0)
    with psycopg.connect(server.ensure_database()) as connection:
        connection.execute("CREATE TABLE old ()")
    server.stop()
    shutil.rmtree(state_dir)

    with psycopg.connect(server.ensure_database()) as connection:
        assert (None,) == connection.execute("SELECT to_regclass('old')").fetchone()

    server.destroy()


def test_closed_programs_are_copied_once(closed, run_python, state_dir, base_dir):
    """
    A virtual environment below /root is closed to that user: its PostgreSQL is copied, once.
    """
    found = binaries.find()
    if found.provider not in dict(installations.PACKAGES):
        pytest.skip("only a PostgreSQL out of a Python package is copied")
    package = dict(installations.PACKAGES)[found.provider].partition("/")[0]
    site_packages = Path(found.bin_dir).parents[2]
    for name in (package, f"{package}.libs"):
        if (site_packages / name).exists():
            (closed / name).symlink_to(site_packages / name)
    code = (
        f"import sys; sys.path.insert(0, {str(closed)!r})\n"
        "import oxy_pg, psycopg\n"
        "print(psycopg.connect(oxy_pg.ensure()).execute('SELECT 1').fetchone())\n"
        "print(oxy_pg.Server().status().binaries.path); oxy_pg.Server().stop()\n"
    )
    cache = base_dir / "tmp" / "cache"
    for _ in range(2):
        said = run_python(code, OXY_STATE_DIR=state_dir, OXY_PG_CACHE_DIR=cache)
        assert ["(1,)", str(closed / package / "pginstall/bin")] == said.splitlines()

    copies = [path for path in (base_dir / "tmp/oxy_pg-0").glob("postgresql-*") if path.is_dir()]
    assert 1 == len(copies)
    shutil.rmtree(cache)
