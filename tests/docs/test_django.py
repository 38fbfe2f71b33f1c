"""What docs/testing.md and docs/binaries.md say of Django: kept databases, and extensions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_testing import FILES
from tests.pytest_plugin.conftest import remove_cached_servers

BINARIES = (Path(__file__).parents[2] / "docs/binaries.md").read_text()
pytestmark = pytest.mark.timeout(400)  # several sessions each

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds=settings")
# It says that it has run.
SECOND = """
from django.db import migrations, models

def note(apps, schema_editor):
    with open("migrated", "a") as file:
        file.write("second\\n")

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("Item", "price", models.IntegerField(default=7)),
        migrations.RunPython(note),
    ]
"""
PRICED = """
import pytest
from shop.models import Item

@pytest.mark.django_db
def test_price():
    assert Item.objects.create(name="a chair").price == 7
"""


@pytest.fixture
def project(tmp_path, state_dir, request):
    """Write the files of an example; return its directory, and how to run Python there."""

    def write(example):
        for name, text in FILES.items():
            if name.startswith(f"{example}/"):
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return tmp_path / example

    def run(*command, **variables):
        return subprocess.run(
            [sys.executable, *command],
            cwd=next(path for path in tmp_path.iterdir() if (path / "settings.py").exists()),
            env={
                **os.environ,
                "OXY_STATE_DIR": str(state_dir),
                "OXY_PG_CACHE_DIR": str(tmp_path / "cache"),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    yield write, run
    remove_cached_servers(tmp_path / "cache")


def add_price(directory):
    models = directory / "shop/models.py"
    models.write_text(models.read_text() + "    price = models.IntegerField(default=7)\n")
    (directory / "shop/migrations/0002_price.py").write_text(SECOND)
    (directory / "test_price.py").write_text(PRICED)


def test_a_key_and_reuse_db(project):
    """
    A new migration runs, once, without --create-db; the next session runs none.
    """
    write, run = project
    directory = write("pytest-django")
    assert "2 passed" in run(*PYTEST, "--reuse-db").stdout
    add_price(directory)

    for _ in range(2):
        done = run(*PYTEST, "--reuse-db")
        assert "3 passed" in done.stdout, done.stdout + done.stderr

    assert (directory / "migrated").read_text() == "second\n"


def test_reuse_db_without_the_plugin(project):
    """
    In the database of Django's own a new migration runs; one that was changed needs --create-db.
    """
    write, run = project
    directory = write("pytest-django")
    (directory / "conftest.py").unlink()
    (directory / "settings.py").write_text(FILES["django/settings.py"])
    keep = {"OXY_PG_KEEP_ALIVE": "1"}
    assert "2 passed" in run(*PYTEST, "--reuse-db", **keep).stdout
    add_price(directory)
    assert "3 passed" in run(*PYTEST, "--reuse-db", **keep).stdout
    second = directory / "shop/migrations/0002_price.py"
    second.write_text(second.read_text().replace('"price"', '"cost"'))
    for path in (directory / "shop/models.py", directory / "test_price.py"):
        path.write_text(path.read_text().replace("price =", "cost =").replace(".price", ".cost"))

    stale = run(*PYTEST, "--reuse-db", **keep)
    assert 'column "cost"' in stale.stdout, stale.stdout + stale.stderr
    assert "3 passed" in run(*PYTEST, "--reuse-db", "--create-db", **keep).stdout


VECTOR = """
from django.db import connection
from django.test import TestCase

class VectorTest(TestCase):
    def test_distance(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector")
            self.assertEqual(cursor.fetchone(), (1.0,))
"""
CREATES = """
from django.db import migrations

class Migration(migrations.Migration):
    operations = [migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS vector")]
"""


@pytest.mark.parametrize("from_template", [True, False])
def test_extensions_in_djangos_test_database(project, from_template):
    """
    With the lines of docs/binaries.md its migration finds the extension; without them it fails.
    """
    write, run = project
    directory = write("django")
    (lines,) = re.findall(r"^DATABASES = (\{.*TEMPLATE.*\})  #", BINARIES, re.MULTILINE)
    settings = directory / "settings.py"
    if from_template:
        settings.write_text(
            f"{settings.read_text()}\noxy_pg.ensure('shop_template')\n"
            f"DATABASES['default'] |= {lines}['default']\n"
        )
    (directory / "shop/migrations").mkdir()
    (directory / "shop/migrations/__init__.py").touch()
    (directory / "shop/migrations/0001_initial.py").write_text(CREATES)
    (directory / "shop/models.py").write_text("")
    (directory / "shop/tests.py").write_text(VECTOR)

    done = run("manage.py", "test", "shop.tests", OXY_PG_EXTENSIONS="vector")

    assert (done.returncode == 0) is from_template, done.stdout + done.stderr
    expected = "Ran 1 test" if from_template else "permission denied to create extension"
    assert expected in done.stderr
