"""
Migrations of one extreme table: very wide, of large blobs, of very many small rows.

Beside the server's own COPY of the same rows from a file, with the table's
key: no client can be faster. It compares nothing; ours compares every value,
and with ``--verify counts`` the number of rows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import sqlite3
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

import oxy_pg
from benchmarks import process
from benchmarks.process import CannotError, Measured
from benchmarks.result import COUNTS, OURS, Result
from oxy_pg.paths import StateDir
from oxy_pg.server.cluster.account import account_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALONE = "PostgreSQL alone"
_WIDTH = 200  # columns, the key among them
_SIZES = (1_000, 20_000, 300_000, 3_000_000)  # bytes of the blobs, in turn
_PROGRAM = "import sys, oxy_pg\noxy_pg.migrate_sqlite(*sys.argv[1:3], verify=sys.argv[3])\n"


@dataclass(frozen=True, slots=True)
class Shape:
    """One table: in SQLite, in PostgreSQL as ours creates it, and its rows."""

    key: str
    what: str
    columns: str
    types: str  # PostgreSQL's
    width: int
    rows: Callable[[], Iterator[tuple[object, ...]]]
    proof: str  # an expression over the rows that is the same in both databases


def wide(count: int) -> Shape:
    """Return a table of 200 columns of five types."""
    of = {
        "INTEGER": "bigint",
        "REAL": "double precision",
        "TEXT": "text",
        "BOOLEAN": "boolean",
        "DATETIME": "timestamp",
    }
    declared = [list(of)[number % 5] for number in range(_WIDTH - 1)]
    began = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - as applications store them

    def rows() -> Iterator[tuple[object, ...]]:
        for row in range(1, count + 1):
            at = str(began + dt.timedelta(seconds=row))
            five = (row * 7, row / 4, f"text {row % 1000}", row % 2, at)
            yield (row, *(five[number % 5] for number in range(_WIDTH - 1)))

    return Shape(
        "wide",
        f"one table of {_WIDTH} columns, {count:,} rows",
        ", ".join(f"c{number} {name}" for number, name in enumerate(declared)),
        ", ".join(f"c{number} {of[name]}" for number, name in enumerate(declared)),
        _WIDTH,
        rows,
        "sum(c0) + sum(c195) + sum(length(c197))",
    )


def blobs(megabytes: int) -> Shape:
    """Return a table of binary values of 1 kB to 3 MB, which cannot be compressed."""

    def rows() -> Iterator[tuple[object, ...]]:
        numbers = random.Random(1)
        left, row = megabytes * 1_000_000, 0
        while left > 0:
            size = min(left, _SIZES[row % len(_SIZES)])
            left, row = left - size, row + 1
            yield row, f"file {row}", numbers.randbytes(size)

    return Shape(
        "blobs",
        f"one table of blobs, {megabytes:,} MB",
        "name TEXT, content BLOB",
        "name text, content bytea",
        3,
        rows,
        "sum(length(content))",
    )


def small(count: int) -> Shape:
    """Return a table of rows of three numbers."""
    return Shape(
        "small-rows",
        f"one table of {count:,} small rows",
        "thread INTEGER, score REAL",
        "thread bigint, score double precision",
        3,
        lambda: ((row, row % 9973, row / 8) for row in range(1, count + 1)),
        "sum(thread) + sum(score)",
    )


def measure(
    base: Path, shapes: tuple[Shape, ...], rounds: int, said: Callable[[str], None]
) -> list[Result]:
    """Migrate each table ``rounds`` times, all contenders in turn."""
    home = base / "shapes"
    home.mkdir(mode=0o711)
    results: list[Result] = []
    with oxy_pg.Server(home / "state", keep_alive=0) as server:
        for shape in shapes:
            results += _Bench(server, home, shape).measure(rounds, said)
        server.stop()
    return results


class _Bench:
    """One table as a SQLite database and as a file for COPY, and who moves it."""

    def __init__(self, server: oxy_pg.Server, home: Path, shape: Shape) -> None:
        self._server = server
        self._shape = shape
        self._source = home / f"{shape.key}.sqlite"
        self._file = home / f"{shape.key}.copy"

    def measure(self, rounds: int, said: Callable[[str], None]) -> tuple[Result, Result]:
        shape = self._shape
        wanted = self._generate()
        size = f"{shape.what}, {os.path.getsize(self._source) / 1e6:,.0f} MB of SQLite"
        times = Result(shape.key, f"migration: time, {size}", "s")
        memory = Result(f"{shape.key}-memory", f"migration: peak memory, {size}", "MB")
        contenders = {
            ALONE: lambda _: self._copy(),
            OURS: lambda url: self._ours(url, "full"),
            COUNTS: lambda url: self._ours(url, "counts"),
        }
        for number in range(rounds):
            for name, move in contenders.items():
                try:
                    outcome = self._turn(move, wanted)
                except (CannotError, psycopg.Error) as error:
                    times.fail(name, str(error))
                    continue
                times.add(name, outcome.seconds)
                if outcome.peak_mb is not None:
                    memory.add(name, outcome.peak_mb)
                peak = f", {outcome.peak_mb:.0f} MB" if outcome.peak_mb is not None else ""
                said(f"  {shape.key}, {number + 1}/{rounds}, {name}: {outcome.seconds:.2f} s{peak}")
        self._source.unlink()
        self._file.unlink()
        return times, memory

    def _generate(self) -> tuple[object, ...]:
        """Write the database, and the same rows as COPY reads them; what SQLite says of them."""
        holes = ", ".join("?" * self._shape.width)
        with (
            contextlib.closing(sqlite3.connect(self._source)) as lite,
            open(self._file, "w", encoding="utf-8", newline="\n") as file,
        ):
            lite.execute("PRAGMA journal_mode = OFF")
            lite.execute("PRAGMA synchronous = OFF")
            lite.execute(f"CREATE TABLE item (id INTEGER PRIMARY KEY, {self._shape.columns})")
            lite.executemany(
                f"INSERT INTO item VALUES ({holes})", _written(self._shape.rows(), file)
            )
            lite.commit()
            found: tuple[object, ...] = lite.execute(self._proof).fetchone()
        account_for(StateDir(self._server.state_dir)).own(str(self._file))
        return found

    @property
    def _proof(self) -> str:
        return f"SELECT count(*), {self._shape.proof} FROM item"

    def _turn(self, move: Callable[[str], Measured], wanted: tuple[object, ...]) -> Measured:
        """Let a contender fill a new database, and look whether all has arrived."""
        self._server.create_database("shape")
        try:
            with psycopg.connect(self._server.superuser_url(), autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            measured = move(self._server.url("shape"))
            with psycopg.connect(self._server.superuser_url("shape")) as connection:
                connection.execute("SET search_path = public")
                found = connection.execute(self._proof.encode()).fetchone()
        finally:
            self._server.drop_database("shape")
        if found is None or [float(one) for one in found] != [float(str(one)) for one in wanted]:
            raise CannotError(f"{found} arrived instead of {wanted}")
        return measured

    def _copy(self) -> Measured:
        """Everything inside the server, in one transaction."""
        with psycopg.connect(self._server.superuser_url("shape")) as connection:
            connection.execute("SET search_path = public")
            began = time.perf_counter()
            table = f"CREATE TABLE item (id bigint, {self._shape.types})"
            connection.execute(table.encode())
            connection.execute(f"COPY item FROM '{self._file}'".encode())
            connection.execute("ALTER TABLE item ADD PRIMARY KEY (id)")
            connection.commit()
            return Measured(time.perf_counter() - began)

    def _ours(self, url: str, verify: str) -> Measured:
        """As in an application; its process, imports and all, is in the time."""
        return process.measure([sys.executable, "-c", _PROGRAM, str(self._source), url, verify])


def _written(rows: Iterator[tuple[object, ...]], file: object) -> Iterator[tuple[object, ...]]:
    """Pass rows on, and write each into the file: no value of ours needs an escape."""
    write = file.write  # type: ignore[attr-defined]
    for row in rows:
        write("\t".join(f"\\\\x{v.hex()}" if isinstance(v, bytes) else str(v) for v in row) + "\n")
        yield row
