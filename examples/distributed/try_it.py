"""
What of oxy_pg holds on your server: Citus, YugabyteDB, CockroachDB, or any that speaks PostgreSQL.

    python try_it.py postgresql://user:password@host/an-empty-database

The database has to be empty, and yours; what this makes in it is dropped again. At
the end it says what held and what did not, with the server's own words. Exit code 0:
all of it held.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

import oxy_pg

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1000


def make_sqlite(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"
        )
        connection.execute(
            "CREATE TABLE child (id INTEGER PRIMARY KEY AUTOINCREMENT,"
            " parent_id INTEGER REFERENCES parent (id), at TIMESTAMP, data JSON)"
        )
        rows = [(number, f"name {number}") for number in range(1, ROWS + 1)]
        connection.executemany("INSERT INTO parent VALUES (?, ?)", rows)
        connection.executemany(
            "INSERT INTO child (parent_id, at, data) VALUES (?, '2026-01-31 03:00:00', '{}')",
            [(number,) for number, _ in rows],
        )


def count(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


class Trial:
    """Tries one thing after the other, each on what the one before has left."""

    def __init__(self, url: str, place: Path) -> None:
        self.url = url
        self.sqlite = place / "source.db"
        self.place = place
        self.held: list[tuple[str, str]] = []
        make_sqlite(self.sqlite)

    def attempt(self, what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except (oxy_pg.OxyPgError, psycopg.Error, AssertionError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self.held.append((what, " ".join(lines[:3])))
        else:
            self.held.append((what, ""))
        said = self.held[-1][1]
        print(f"{'does not hold' if said else 'holds':14} {what}" + (f": {said}" * bool(said)))

    def run(self) -> None:
        self.attempt("ensure()", self.ensure)
        self.attempt("migrate_sqlite(), tables created", self.migrate)
        self.attempt("migrate_sqlite() again, into the tables that are there", self.migrate_again)
        self.attempt("migrate_sqlite(), undone as a whole when it fails", self.migrate_undone)
        self.attempt("backup(), and its restore elsewhere", self.back_up)
        self.attempt("pull()", self.pull)
        self.attempt("push()", self.push)
        self.attempt("databases for tests (CREATE DATABASE … TEMPLATE)", self.test_databases)
        self.attempt("advisory locks, as the pytest plugin uses them", self.advisory_locks)
        with contextlib.suppress(psycopg.Error):
            self.clear()

    def ensure(self) -> None:
        with psycopg.connect(self.url) as connection:
            tables = connection.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchone()
        if tables != (0,):
            sys.exit("The database is not empty: name one that is.")
        os.environ["OXY_DATABASE_URL"] = self.url
        try:
            assert oxy_pg.ensure(timeout=30).startswith("postgresql://")
        finally:
            del os.environ["OXY_DATABASE_URL"]

    def clear(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS child, parent CASCADE")

    def migrate(self) -> None:
        oxy_pg.migrate_sqlite(self.sqlite, self.url)
        assert count(self.url, "child") == count(self.url, "parent") == ROWS

    def migrate_again(self) -> None:
        oxy_pg.migrate_sqlite(self.sqlite, self.url, schema="existing", if_not_empty="truncate")
        assert count(self.url, "child") == ROWS

    def migrate_undone(self) -> None:
        bad = self.place / "bad.db"
        make_sqlite(bad)
        with contextlib.closing(sqlite3.connect(bad)) as connection, connection:
            connection.execute("INSERT INTO child (parent_id) VALUES (-1)")
        with contextlib.suppress(oxy_pg.MigrationError):
            oxy_pg.migrate_sqlite(bad, self.url, if_not_empty="truncate")
        assert count(self.url, "child") == ROWS, "rows were lost when it failed"

    def back_up(self) -> None:
        report = oxy_pg.backup(self.place, self.url)
        oxy_pg.check_backup(report.path, deep=True)

    def pull(self) -> None:
        with oxy_pg.temporary() as server:
            server.pull(self.url)
            assert count(server.url(), "child") == ROWS

    def push(self) -> None:
        with oxy_pg.temporary() as server:
            server.migrate_sqlite(self.sqlite)
            server.push(self.url, if_not_empty="replace")
        assert count(self.url, "child") == ROWS

    def test_databases(self) -> None:
        one, two = (f"oxy_trial_{uuid.uuid4().hex[:8]}" for _ in range(2))
        with psycopg.connect(self.url, autocommit=True) as connection:
            try:
                connection.execute(f"CREATE DATABASE {one}".encode())
                connection.execute(f"CREATE DATABASE {two} TEMPLATE {one}".encode())
            finally:
                for name in (two, one):
                    with contextlib.suppress(psycopg.Error):
                        connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())

    def advisory_locks(self) -> None:
        with psycopg.connect(self.url) as one, psycopg.connect(self.url) as other:
            one.execute("SELECT pg_advisory_lock(4711)")
            row = other.execute("SELECT pg_try_advisory_lock(4711)").fetchone()
        assert row == (False,), "a second session got the lock of the first"


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(sys.argv[1], Path(place))
        with contextlib.suppress(psycopg.Error), psycopg.connect(sys.argv[1]) as connection:
            print(*connection.execute("SELECT version()").fetchone() or (), sep="\n")
        trial.run()
    failed = [what for what, said in trial.held if said]
    print(f"\n{len(trial.held) - len(failed)} of {len(trial.held)} hold.")
    print(
        "Please tell us, with this output, what your server is." if failed else "All of it holds."
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
