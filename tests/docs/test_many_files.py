"""The recipe of docs/migrating-from-sqlite.md for many SQLite files with the same tables."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg

GUIDE = (Path(__file__).parents[2] / "docs/migrating-from-sqlite.md").read_text()
(MERGE,) = re.findall(r"```python file=merge\.py\n(.*?)```", GUIDE, flags=re.DOTALL)

SCHEMA = """
CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT UNIQUE);
CREATE TABLE "event logs" (id INTEGER PRIMARY KEY, run INTEGER REFERENCES runs (id),
  parent INTEGER REFERENCES "event logs", text TEXT);
CREATE INDEX by_run ON "event logs" (run);
CREATE TABLE tags (name TEXT PRIMARY KEY, run INTEGER REFERENCES runs);
CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('a1b2');
"""


@pytest.fixture
def shards(tmp_path):
    paths = []
    for shard in ("x", "y", "z"):
        path = str(tmp_path / f"{shard}.db")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(SCHEMA)
            connection.execute("INSERT INTO runs (run_id) VALUES (?)", (f"run {shard}",))
            connection.execute("INSERT INTO runs (run_id) VALUES (?)", (f"second {shard}",))
            connection.execute("INSERT INTO tags VALUES (?, 2)", (f"tag {shard}",))
            rows = [(1, 2, None, f"first of {shard}"), (5, 1, 1, f"last of {shard}")]
            connection.executemany('INSERT INTO "event logs" VALUES (?, ?, ?, ?)', rows)
            connection.commit()
        paths.append(path)
    return paths


def merge(tmp_path, *paths):
    (tmp_path / "merge.py").write_text(MERGE)
    words = [sys.executable, str(tmp_path / "merge.py"), str(tmp_path / "merged.db"), *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return str(tmp_path / "merged.db")


def test_many_files_become_one_with_new_numbers(shards, tmp_path):
    """
    Every row refers to what it referred to; the version is there once.
    """
    path = merge(tmp_path, *shards)
    with oxy_pg.temporary() as server:
        url = server.ensure_database("app")
        oxy_pg.migrate_sqlite(path, url, verify="full")
        with psycopg.connect(url) as connection:
            found = connection.execute(
                'SELECT e.text, r.run_id, p.text FROM "event logs" e JOIN runs r ON r.id = e.run '
                'LEFT JOIN "event logs" p ON p.id = e.parent ORDER BY 1'
            ).fetchall()
            tags = connection.execute(
                "SELECT name, run_id FROM tags JOIN runs ON runs.id = run ORDER BY 1"
            ).fetchall()
            versions = connection.execute("SELECT * FROM alembic_version").fetchall()
    first = [(f"first of {s}", f"second {s}", None) for s in "xyz"]
    assert first + [(f"last of {s}", f"run {s}", f"first of {s}") for s in "xyz"] == found
    assert [(f"tag {s}", f"second {s}") for s in "xyz"] == tags
    assert [("a1b2",)] == versions


def test_the_files_stay_as_they_were(shards, tmp_path):
    before = [Path(path).read_bytes() for path in shards]
    merge(tmp_path, *shards)
    assert before == [Path(path).read_bytes() for path in shards]


def test_keys_that_are_no_numbers_and_clash_are_refused(shards, tmp_path):
    (tmp_path / "merge.py").write_text(MERGE)
    words = [sys.executable, str(tmp_path / "merge.py"), str(tmp_path / "merged.db")]
    done = subprocess.run(
        [*words, shards[0], shards[0]], capture_output=True, text=True, check=False
    )
    assert "UNIQUE constraint failed" in done.stderr
