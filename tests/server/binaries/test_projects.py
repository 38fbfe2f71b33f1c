"""Projects whose migrations ask for citext and pgvector: Django; FastAPI with Alembic."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
[tool.oxy-pg]
database = "shop"
extensions = ["citext", "vector"]
"""
DJANGO = {
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
""",
    "settings.py": """
import oxy_pg
from psycopg.conninfo import conninfo_to_dict
url = conninfo_to_dict(oxy_pg.ensure())
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": url["dbname"], "USER": url["user"],
    "PASSWORD": url["password"], "HOST": url["host"], "PORT": url["port"],
}}
INSTALLED_APPS = ["shop"]
SECRET_KEY = "only for tests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
""",
    "shop/__init__.py": "",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_items.py": """
from django.contrib.postgres.operations import CITextExtension, CreateExtension
from django.db import migrations
class Migration(migrations.Migration):
    operations = [
        CITextExtension(),
        CreateExtension("vector"),
        migrations.RunSQL("CREATE TABLE item (name citext UNIQUE, meaning vector(2))"),
    ]
""",
    "shop/tests.py": """
from django.db import connection
from django.test import TestCase
class ItemTest(TestCase):
    def test_is_found(self):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO item VALUES ('Chair', '[1,2]')")
            cursor.execute("SELECT meaning <-> '[1,3]' FROM item WHERE name = 'CHAIR'")
            self.assertEqual(cursor.fetchone(), (1.0,))
""",
}
FASTAPI = {
    "alembic.ini": "[alembic]\nscript_location = migrations\n",
    "database.py": """
import oxy_pg, sqlalchemy
url = sqlalchemy.make_url(oxy_pg.ensure()).set(drivername="postgresql+psycopg")
engine = sqlalchemy.create_engine(url)
""",
    "migrations/env.py": """
from alembic import context
from database import engine
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
""",
    "migrations/versions/0001_items.py": """
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS citext")
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute("CREATE TABLE item (name citext UNIQUE, meaning vector(2))")
""",
    "app.py": """
import fastapi, sqlalchemy
from database import engine
app = fastapi.FastAPI()
@app.get("/{name}")
def distance(name: str) -> float:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO item VALUES ('Chair', '[1,2]')"))
        query = sqlalchemy.text("SELECT meaning <-> '[1,3]' FROM item WHERE name = :name")
        return connection.scalar(query, {"name": name})
""",
    "use.py": """
from fastapi.testclient import TestClient
from app import app
assert TestClient(app).get("/CHAIR").json() == 1.0
""",
}
PROJECTS = {
    "django": (DJANGO, [["manage.py", "migrate"], ["manage.py", "test", "shop.tests"]]),
    "fastapi": (FASTAPI, [["-m", "alembic", "upgrade", "head"], ["use.py"]]),
}


@pytest.fixture(params=PROJECTS)
def project(request, tmp_path, state_dir):
    """Write a project; call it with its variables to run its migrations and its test."""
    files, commands = PROJECTS[request.param]
    for name, text in {**files, "pyproject.toml": PROJECT}.items():
        path: Path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(*prefix: str) -> list[subprocess.CompletedProcess[str]]:
        variables = {"OXY_STATE_DIR": str(state_dir), "PYTHONPATH": os.getcwd()}
        return [
            subprocess.run(
                [*prefix, sys.executable, "-W", "ignore", *command],
                cwd=tmp_path,
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                check=False,
                timeout=100,
            )
            for command in commands
        ]

    return run


def test_migrations_ask_for_citext_and_vector(project, contrib):
    """
    On an added PostgreSQL they pass, by hand and by `oxy-pg run`; also in Django's test database.
    """
    del contrib
    for done in (*project(), project(sys.executable, "-m", "oxy_pg", "run", "--")[0]):
        assert 0 == done.returncode, done.stdout + done.stderr


def test_without_it_the_message_leads_there(project, nothing_added):
    """
    Which extension is missing, and the command that adds a PostgreSQL that has it.
    """
    for prefix in ((), (sys.executable, "-m", "oxy_pg", "run", "--")):
        first = project(*prefix)[0]

        assert first.returncode
        assert "The extension 'citext' cannot be used" in first.stderr
        assert "`oxy-pg binaries add npm` adds a PostgreSQL 16 that has it" in first.stderr
