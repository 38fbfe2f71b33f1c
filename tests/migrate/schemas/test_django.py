"""Django 5.2's own schema, and a model of every field: created, and into what Django makes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oxy_pg.migrate.migration import migrate
from tests.migrate.compare import differences, schema_differences

ROOT = Path(__file__).parents[3]
SITE = (sys.executable, "-m", "tests.migrate.schemas.django_site")


def manage(place, *command):
    done = subprocess.run(
        [*SITE, place, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("django") / "db.sqlite3")
    manage(path, "migrate", "--run-syncdb")
    manage(path, "fill")
    return path


def test_created(source, pg_url):
    """
    Every value, key and index; what SQLite has no type for stays as it was written.
    """
    planned = migrate(source, pg_url, dry_run=True)
    report = migrate(source, pg_url)
    left = {(one.kind, one.name): one.reason for one in report.skipped}
    assert [] == differences(source, pg_url)
    assert [] == schema_differences(source, pg_url, allowed=left)
    assert {"check"} >= {kind for kind, _ in left}, left
    assert () == planned.problems
    types = {
        f"{table.name}.{column.name}": column.type
        for table in report.tables
        for column in table.columns
    }
    assert ["varchar(32)", "varchar(32)", "bigint", "timestamp"] == [
        types[f"shop_{name}"]
        for name in ("order.id", "order_tags.order_id", "order.took", "order.at")
    ]
    assert any("What Django declares otherwise" in warning for warning in report.warnings)


def test_prepared(source, pg_url):
    """
    Its content types and permissions are seeds; Django reads the same from both.
    """
    site = f'{shlex.join(SITE)} "$OXY_DATABASE_URL"'
    # An app without migrations comes first, and refers to users.
    commands = f"{site} migrate auth && {site} migrate --run-syncdb"
    options = {"prepare": f"cd {shlex.quote(str(ROOT))} && {commands}"}
    planned = migrate(source, pg_url, dry_run=True, **options)
    rehearsed = migrate(source, pg_url, rehearse=True, **options)
    report = migrate(source, pg_url, **options)
    assert [] == differences(source, pg_url, tables=[table.name for table in report.tables])
    assert () == planned.problems
    assert planned.seeds == rehearsed.seeds == report.seeds
    assert {"auth_permission", "django_content_type"} == {one.table for one in report.seeds}
    assert ["django_migrations"] == [one.name for one in report.skipped if one.kind == "table"]
    here, there = (json.loads(manage(place, "dumpdata")) for place in (source, pg_url))
    assert here == there
    assert "No migrations to apply" in manage(pg_url, "migrate")
