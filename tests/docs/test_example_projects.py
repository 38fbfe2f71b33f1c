"""Two example projects side by side, with Alembic and with Django, each with its own database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg

EXAMPLES = Path(__file__).parents[2] / "examples"
# Each project with its two commands, and what the second prints when it is run for the n-th time.
PROJECTS = {
    "alembic_project": (
        (sys.executable, "-m", "alembic", "upgrade", "head"),
        (sys.executable, "app.py"),
        "shop: {} item(s)",
    ),
    "django_project": (
        (sys.executable, "manage.py", "migrate"),
        (sys.executable, "manage.py", "post"),
        "blog: {} post(s)",
    ),
}


@pytest.fixture
def projects(tmp_path):
    """Both projects, in a directory of their own."""
    for name in PROJECTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored)
    return tmp_path


@pytest.mark.parametrize("first", PROJECTS)
def test_each_keeps_to_its_own_database(projects, state_dir, first):
    """
    By hand and under ``oxy-pg run``, whichever comes first, on one server of one machine.
    """
    environment = {**os.environ, "OXY_STATE_DIR": str(state_dir)}
    under_run = (sys.executable, "-m", "oxy_pg", "run", "--")
    order = sorted(PROJECTS, key=lambda name: name != first)

    def say(name, *command):
        done = subprocess.run(
            command,
            cwd=projects / name,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout.strip()

    for name in order:
        migrate, use, printed = PROJECTS[name]
        say(name, *(migrate if name == first else (*under_run, *migrate)))
        assert printed.format(1) == say(name, *under_run, *use)
    for name in order:
        migrate, use, printed = PROJECTS[name]
        say(name, *under_run, *migrate)  # "Can't locate revision", were it another's database
        say(name, *migrate)
        assert printed.format(2) == say(name, *use)
    with oxy_pg.Server(state_dir) as server:
        assert ["alembic_version", "item"] == tables(server.url("shop"))
        assert ["blog_post", "django_migrations"] == tables(server.url("blog"))
        assert not {"oxy", "postgres"} & {
            name for name in server.databases() if tables(server.url(name))
        }


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        return [name for (name,) in connection.execute(query)]
