"""
Projects of npm: made on SQLite, moved, compared, and used on PostgreSQL.

OXY_PG_NODE is the directory that has what their package.json names, installed in
a directory for each (``nox -s applications`` makes it).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from tests.applications.program import run
from tests.migrate.compare import differences

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
MODULES = Path(os.environ.get("OXY_PG_NODE", HERE))
QUIET = {"CHECKPOINT_DISABLE": "1", "PRISMA_HIDE_UPDATE_MESSAGE": "1"}


class Project:
    """A copy of a project, whose programs find the database by DATABASE_URL; without it, SQLite."""

    def __init__(self, name, folder):
        self.folder = folder / name
        shutil.copytree(HERE / name, self.folder, ignore=shutil.ignore_patterns("node_modules"))
        (self.folder / "node_modules").symlink_to(MODULES / name / "node_modules")
        self.path = str(self.folder / "app.db")

    def run(self, *words, url=None):
        where = QUIET if url is None else QUIET | {"DATABASE_URL": url}
        return run("npx", "--no-install", *words, folder=self.folder, **where)

    def write(self, path, text):
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def used(self, url):
        """What the application reads and writes, in a copy of the file and on PostgreSQL."""
        kept = shutil.copy(self.path, f"{self.path}.kept")
        here = self.run("tsx", "app.ts", "use")
        shutil.move(kept, self.path)
        return here, self.run("tsx", "app.ts", "use", url=url)


def moved(project, url, **options):
    """Move a project's file, after a dry run that found the same; all values are there."""
    tried = oxy_pg.migrate_sqlite(project.path, url, dry_run=True, **options)
    report = oxy_pg.migrate_sqlite(project.path, url, **options)
    assert () == tried.problems
    assert tried.seeds == report.seeds
    assert [] == differences(project.path, url, tables=[table.name for table in report.tables])
    return report


def rows(url, query):
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()


# --- Drizzle ---------------------------------------------------------------------------

SEEDS = "INSERT INTO settings (key, value) VALUES ('title', '\"Untitled\"'), ('theme', '\"dark\"');"
JOURNAL = "SELECT hash, created_at FROM drizzle.__drizzle_migrations ORDER BY id"


@pytest.fixture
def drizzle(tmp_path):
    """A project with a migration of its schema and one of seeds, for each database."""
    project = Project("drizzle", tmp_path)
    for side in ("sqlite", "postgres"):
        config = ("--config", f"{side}.config.ts")
        project.run("drizzle-kit", "generate", *config, "--name", "init", url="postgresql://")
        project.run("drizzle-kit", "generate", *config, "--custom", "--name", "seed", url="none")
        project.write(f"{side}/0001_seed.sql", SEEDS)
    project.run("drizzle-kit", "migrate", "--config", "sqlite.config.ts")
    project.run("tsx", "app.ts", "make")
    return project


def test_drizzle(server, drizzle):
    """
    Its journal is in a schema of its own, and stays as its migrations have written it.
    """
    url = server.ensure_database("drizzle")
    migrate = ("drizzle-kit", "migrate", "--config", "postgres.config.ts")
    report = moved(
        drizzle, url, prepare=f"cd {drizzle.folder} && npx --no-install {' '.join(migrate)}"
    )
    assert [("settings", "replaced")] == [(one.table, one.action) for one in report.seeds]
    [left] = [one for one in report.skipped if one.name == "__drizzle_migrations"]
    assert "the target has drizzle.__drizzle_migrations" in left.reason
    here, there = drizzle.used(url)
    assert here == there
    journal = rows(url, JOURNAL)
    drizzle.run(*migrate, url=url)
    assert journal == rows(url, JOURNAL)
    said = drizzle.run("drizzle-kit", "generate", "--config", "postgres.config.ts", url=url)
    assert "nothing to migrate" in said


def test_drizzle_into_an_empty_database(server, drizzle):
    """
    With the types that the project's other schema has; its journal is written as Drizzle does.
    """
    url = server.ensure_database("drizzle_empty")
    casts = {
        "users.is_active": "boolean",
        "users.created_at": "timestamptz",
        "posts.id": "uuid",
        "posts_to_tags.post_id": "uuid",
        "posts.meta": "jsonb",
        "posts.published_at": "timestamptz",
        "posts.price": "numeric(12,2)",
        "posts.day": "date",
        "posts.updated_at": "timestamp",
        "settings.value": "jsonb",
    }
    moved(drizzle, url, casts=casts, exclude=["__drizzle_migrations"])
    with psycopg.connect(url) as conn:
        conn.execute("CREATE SCHEMA drizzle")
        conn.execute(
            "CREATE TABLE drizzle.__drizzle_migrations "
            "(id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)"
        )
        for entry in json.loads((drizzle.folder / "postgres/meta/_journal.json").read_text())[
            "entries"
        ]:
            sql = (drizzle.folder / f"postgres/{entry['tag']}.sql").read_bytes()
            conn.execute(
                "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES (%s, %s)",
                [hashlib.sha256(sql).hexdigest(), entry["when"]],
            )
    journal = rows(url, JOURNAL)
    drizzle.run("drizzle-kit", "migrate", "--config", "postgres.config.ts", url=url)
    assert journal == rows(url, JOURNAL)
    here, there = drizzle.used(url)
    assert here == there


# --- Prisma ----------------------------------------------------------------------------

SETTINGS = """INSERT INTO "Setting" VALUES ('title', 'Untitled'), ('theme', 'dark');"""


def write_migrations(project, side, url=None):
    """Have Prisma write the SQL of its schema; `migrate dev` would do so, on a second database."""
    shutil.copy(project.folder / "models.prisma", project.folder / side)
    words = ("migrate", "diff", "--from-empty", "--to-schema-datamodel", side, "--script")
    path = f"{side}/migrations/20260101000000_init/migration.sql"
    project.write(path, "")
    project.run("prisma", *words, "--output", path, url=url)
    project.write(f"{side}/migrations/20260102000000_seed/migration.sql", SETTINGS)
    provider = "sqlite" if side == "sqlite" else "postgresql"
    project.write(f"{side}/migrations/migration_lock.toml", f'provider = "{provider}"\n')
    project.run("prisma", "generate", url=url)


@pytest.fixture
def prisma(tmp_path):
    project = Project("prisma", tmp_path)
    write_migrations(project, "sqlite")
    project.run("prisma", "migrate", "deploy")
    project.run("tsx", "app.ts", "make")
    return project


@pytest.mark.parametrize("way", ["create", "prepare"])
def test_prisma(server, prisma, way):
    """
    Either way its client reads and writes there, and `migrate deploy` has nothing to do.
    """
    url = server.ensure_database(f"prisma_{way}")
    write_migrations(prisma, "postgres", url)
    command = f"cd {prisma.folder} && npx --no-install prisma migrate deploy"
    report = moved(prisma, url, **({"prepare": command} if way == "prepare" else {}))
    seeds = [("Setting", "replaced")] if way == "prepare" else []
    assert seeds == [(one.table, one.action) for one in report.seeds]
    here, there = prisma.used(url)
    assert here == there
    assert "No pending migrations" in prisma.run("prisma", "migrate", "deploy", url=url)
    assert "up to date" in prisma.run("prisma", "migrate", "status", url=url)
