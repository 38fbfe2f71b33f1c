"""
Migrations of many small tables: what a table costs, whatever is in it.

Beside pgloader, and beside ourselves with an eighth of the tables and with four
times as many: the time has to grow with their number, and not with its square.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import sys
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

import oxy_pg
from benchmarks import place, process
from benchmarks.process import CannotError
from benchmarks.result import OURS, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLES = 800
ROWS = 20
EIGHTH = f"{OURS}, an eighth of the tables"
FOUR_TIMES = f"{OURS}, four times the tables"
_ONCE = {FOUR_TIMES, "pgloader"}  # they take minutes
_OURS = "import sys, oxy_pg\noxy_pg.migrate_sqlite(sys.argv[1], sys.argv[2])\n"


def measure(base: Path, rounds: int, said: Callable[[str], None]) -> list[Result]:
    """Migrate ``TABLES`` tables ``rounds`` times, all contenders in turn; others' numbers once."""
    home = base / "tables"
    home.mkdir(mode=0o711)
    numbers = {OURS: TABLES, EIGHTH: TABLES // 8, FOUR_TIMES: TABLES * 4, "pgloader": TABLES}
    paths = {tables: home / f"{tables}.sqlite" for tables in numbers.values()}
    for tables, path in paths.items():
        _generate(path, tables)
    result = Result("tables", f"migration of {TABLES} tables of {ROWS} rows", "s")
    with oxy_pg.Server(home / "state", keep_alive=0) as server:
        for number in range(rounds):
            for name, tables in place.in_turn(number, list(numbers.items())):
                if name in result.failures or (number and name in _ONCE):
                    continue
                command = _command(name, paths[tables])
                try:
                    seconds = _turn(server, command, tables)
                except CannotError as error:
                    result.fail(name, str(error))
                    continue
                result.add(name, seconds)
                said(f"{tables} tables, {number + 1}/{rounds}, {name}: {seconds:.2f} s")
    return [result, *_growth(result, numbers)]


def _command(name: str, path: Path) -> list[str]:
    if name == "pgloader":
        return [shutil.which("pgloader") or "", f"sqlite://{path}"]
    return [sys.executable, "-c", _OURS, str(path)]


def _growth(result: Result, numbers: dict[str, int]) -> list[Result]:
    """Return how much longer a table takes among the most than among fewer."""
    found = []
    most = numbers[FOUR_TIMES]
    for name in (EIGHTH, OURS):
        few = numbers[name]
        one = Result(f"tables-growth-{few}", f"time for a table, of {most:,} and of {few:,}", "×")
        failed = [result.failures[who] for who in (name, FOUR_TIMES) if who in result.failures]
        if failed:
            one.fail(OURS, failed[0])
        else:
            one.add(OURS, result.median(FOUR_TIMES) / most / (result.median(name) / few))
        found.append(one)
    return found


def _generate(path: Path, tables: int) -> None:
    """Write tables that refer to each other, with an index and a default each."""
    with contextlib.closing(sqlite3.connect(path)) as lite, lite:
        for number in range(tables):
            lite.execute(
                f"CREATE TABLE item_{number} (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL,"
                " at DATETIME DEFAULT CURRENT_TIMESTAMP, amount REAL, other INTEGER"
                f" REFERENCES item_{max(0, number - 1)} (id))"
            )
            lite.execute(f"CREATE INDEX item_{number}_name ON item_{number} (name)")
            rows = [
                (row, f"item {row}", f"2026-01-{row:02} 10:00:00", row / 4, 1 + row // 2)
                for row in range(1, ROWS + 1)
            ]
            lite.executemany(f"INSERT INTO item_{number} VALUES (?, ?, ?, ?, ?)", rows)


def _turn(server: oxy_pg.Server, command: list[str], tables: int) -> float:
    """
    Run a contender into a new database, and look whether all has arrived.

    The database stays: what comes next would have to wait for the deletion of its files.
    """
    if not command[0]:
        raise CannotError("not installed: apt-get install pgloader")
    name = f"tables_{secrets.token_hex(4)}"
    server.create_database(name)
    place.settle(server)
    try:
        url = server.url(name)
        done = process.measure([*command, url], ("FATAL", "ERROR", "Heap exhausted"))
        with psycopg.connect(url) as connection:
            counts = [
                connection.execute(
                    sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(f"item_{number}"))
                ).fetchone()
                for number in range(tables)
            ]
    except psycopg.Error as error:
        raise CannotError(f"{type(error).__name__}: {error}") from error
    if counts != [(ROWS,)] * tables:
        raise CannotError("rows are missing")
    return done.seconds
