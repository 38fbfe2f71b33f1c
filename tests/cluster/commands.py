"""The commands that a failover meets: how each is started, and what it may leave behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

import oxy_pg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.patroni import Cluster

ROWS = 20_000
PLUGIN = """
import psycopg

def test_rows(oxy_pg_url):
    with psycopg.connect(oxy_pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
        for _ in range(30):
            row = connection.execute("SELECT count(*), pg_sleep(0.05) FROM t").fetchone()
            assert row[0] == 1000
"""


@dataclass(frozen=True)
class Command:
    """One command: ``prepare`` makes what it moves, ``state`` tells which run's rows are there."""

    name: str
    words: Callable[[int], list[object]]
    prepare: Callable[[int], object] = lambda _: None
    state: Callable[[], object] | None = None


class Commands:
    """All of them, with the places that they use."""

    def __init__(self, cluster: Cluster, place: Path, state_dir: Path) -> None:
        self.cluster, self.place, self.state_dir = cluster, place, state_dir
        self.server = oxy_pg.Server(state_dir, keep_alive=600)
        self.backups = place / "backups"
        (place / "test_plugin.py").write_text(PLUGIN)
        url = cluster.url
        for name in ("migrated", "pushed", "swapped", "pulled"):
            with psycopg.connect(url(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
        for target in (url("pulled"), self.server.ensure_database()):
            fill(target, 0)
        python = [sys.executable, "-c"]
        ours = [sys.executable, "-m", "oxy_pg"]
        source = ["--state-dir", state_dir]
        sqlite = place / "source.db"
        copy = [*source, "--if-not-empty", "replace"]
        kept = self.backups
        self.all = (
            Command("ensure", lambda _: [*python, "import oxy_pg; oxy_pg.ensure(timeout=60)"]),
            Command("status", lambda _: [*ours, "status", "--json"]),
            Command(
                "pytest plugin",
                lambda _: [*ours[:2], "pytest", "-q", "-p", "no:cacheprovider", "-n0", place],
            ),
            Command(
                "migrate-sqlite",
                lambda _: [
                    *(*ours, "migrate-sqlite", "--from", sqlite, "--to", url("migrated")),
                    *("--if-not-empty", "truncate"),
                ],
                lambda run: make_sqlite(sqlite, run),
                lambda: runs(url("migrated")),
            ),
            Command(
                "push",
                lambda _: [*ours, "push", "--to", url("pushed"), *copy],
                lambda run: fill(self.server.url(), run),
                lambda: runs(url("pushed")),
            ),
            Command(
                "push through HAProxy",
                lambda _: [*ours, "push", "--to", cluster.proxied("pushed"), *copy],
                lambda run: fill(self.server.url(), run),
                lambda: runs(url("pushed")),
            ),
            Command(
                "push --swap",
                lambda _: [*ours, "push", "--swap", "--to", url("swapped"), *copy],
                lambda run: fill(self.server.url(), run),
                lambda: runs(url("swapped")),
            ),
            Command(
                "pull",
                lambda _: [*ours, "pull", "--from", url("pulled"), "-d", "pulled", *copy],
                lambda run: fill(url("pulled"), run),
                lambda: runs(self.server.ensure_database("pulled")),
            ),
            Command(
                "backup from the primary",
                lambda _: [*ours, "backup", kept, "--from", url("pulled")],
                lambda _: empty(kept),
                lambda: backed_up(kept),
            ),
            Command(
                "backup from a standby",
                lambda _: [*ours, "backup", kept, "--from", url("pulled", "prefer-standby")],
                lambda _: empty(kept),
                lambda: backed_up(kept),
            ),
        )

    def start(self, command: Command, run: int) -> subprocess.Popen[str]:
        words = list(map(str, command.words(run)))
        if command.name not in {"ensure", "status", "pytest plugin"}:
            words += ["--timeout", "60"]
        return subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.place,
            env={**os.environ, "OXY_DATABASE_URL": self.cluster.url()},
        )

    def close(self) -> None:
        self.server.destroy()


def fill(url: str, run: int) -> None:
    """Let a database hold the rows of a run."""
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS item")
        connection.execute(
            "CREATE TABLE item AS SELECT g AS id, %s::int AS run, repeat(md5(g::text), 8) AS x"
            " FROM generate_series(1, %s) g",
            (run, ROWS),
        )
        connection.execute("ALTER TABLE item ADD PRIMARY KEY (id)")


def make_sqlite(path: Path, run: int) -> None:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, run INTEGER, x TEXT)")
        rows = ((number, run, f"{number}" * 40) for number in range(1, ROWS + 1))
        connection.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
    connection.close()


def runs(url: str) -> object:
    """Whose rows are there: one run's, all of them, or none."""
    with psycopg.connect(url) as connection:
        try:
            found = connection.execute("SELECT run, count(*) FROM item GROUP BY 1").fetchall()
        except psycopg.errors.UndefinedTable:
            return None
    if not found:
        return None
    assert [count for _, count in found] == [ROWS], found
    return found[0][0]


def empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


def backed_up(directory: Path) -> object:
    """Whether there is a backup, which is whole then; nothing else may be there."""
    found = list(directory.iterdir())
    assert len(found) <= 1, found
    return [oxy_pg.check_backup(path).rows == ROWS for path in found]
