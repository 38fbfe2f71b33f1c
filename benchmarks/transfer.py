"""
Backup, restore, push and pull of a database, beside PostgreSQL's own programs.

These neither count the rows that have arrived nor collect statistics; ours do both
in the time that is measured. Where ours creates the database, theirs has one created.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

import oxy_pg
from benchmarks import place, process
from benchmarks.process import CannotError, Measured
from benchmarks.result import OURS, Result
from oxy_pg import connection as connections
from oxy_pg.server.cluster import binaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DUMP, RESTORE, PIPE = "pg_dump -Fc", "pg_restore -j2", "pg_dump | psql"
SWAPPED = f"{OURS}, --swap"
QUICK_DUMP = "pg_dump -Fc -Z1"  # compressed as ours are
_ROW = 250  # bytes, with what PostgreSQL adds
_TABLES = ("item", "event")  # two, so that two jobs have something to do
# Hexadecimal digits: they are compressed to about half, as much of what people store is.
_FILL = """
    CREATE TABLE {table} (
        id bigint PRIMARY KEY, number int NOT NULL, price float8, at timestamptz, text text);
    INSERT INTO {table}
    SELECT g, g % 9973, g * 0.37, timestamptz '2026-01-01' + g * interval '1 s', md5(g::text)
        || md5((g + 1)::text) || md5((g + 2)::text) || md5((g + 3)::text) || md5((g + 4)::text)
    FROM generate_series(1, {rows}) g;
    CREATE INDEX ON {table} (number);
"""
_PROOF = "SELECT count(*), sum(id), max(at)::text, sum(length(text)) FROM {}"


def measure(base: Path, megabytes: int, rounds: int, said: Callable[[str], None]) -> list[Result]:
    """Copy a database in each of the four ways ``rounds`` times, ours and theirs in turn."""
    size = f"{megabytes:,} MB"
    results = {
        key: Result(key, f"{key}: time, {size}", "s")
        for key in ("backup", "restore", "push", "pull")
    }
    memory = Result("transfer-memory", f"push of {size}: peak memory", "MB")
    home = base / "transfer"
    home.mkdir(mode=0o711)
    with (
        oxy_pg.Server(home / "near", keep_alive=0) as near,
        oxy_pg.Server(home / "far", keep_alive=0) as far,
    ):
        bench = _Bench(home, near, far, megabytes)
        for number in range(rounds):
            for turn in bench.turns(number):
                result = results[turn.key]
                if turn.name in result.failures:
                    continue
                try:
                    outcome = bench.take(turn)
                except (CannotError, psycopg.Error) as error:
                    result.fail(turn.name, str(error))
                    continue
                result.add(turn.name, outcome.seconds)
                if turn.key == "push" and outcome.peak_mb is not None and turn.name == OURS:
                    memory.add(OURS, outcome.peak_mb)
                said(f"  {turn.key}, {number + 1}/{rounds}, {turn.name}: {outcome.seconds:.2f} s")
        near.stop()
        far.stop()
    return [*results.values(), memory]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One contender's way; ``at`` is where the database then is, if it has been copied."""

    key: str
    name: str
    run: Callable[[], Measured]
    at: Callable[[], str] | None = None


class _Bench:
    """
    Two servers: ``near`` with the database, and ``far`` as the other one of push and pull.

    Each turn ends in an empty place: what it has made is looked at, and dropped.
    """

    def __init__(self, home: Path, near: oxy_pg.Server, far: oxy_pg.Server, megabytes: int) -> None:
        self._home = home
        self._near, self._far = near, far
        self._source = near.ensure_database("source")
        self._backup = home / "ours.backup"
        self._dump = home / "quick.dump"  # what pg_restore restores
        self._bin_dir = binaries.find().bin_dir
        rows = max(1, megabytes * 1_000_000 // _ROW // len(_TABLES))
        with psycopg.connect(self._source, autocommit=True) as connection:
            for table in _TABLES:
                connection.execute(_FILL.format(table=table, rows=rows).encode())
            connection.execute("VACUUM ANALYZE")
        self._wanted = _proof(self._source)

    def turns(self, number: int) -> list[_Turn]:
        """All turns of a round: a restore needs the backup before it."""
        turns = (
            _Turn("backup", OURS, self._our_backup),
            _Turn("backup", DUMP, lambda: self._pg_dump(self._home / "theirs.dump")),
            _Turn("backup", QUICK_DUMP, lambda: self._pg_dump(self._dump, "--compress=1")),
            _Turn("restore", OURS, self._our_restore, lambda: self._near.url("copy")),
            _Turn("restore", RESTORE, self._pg_restore, lambda: self._near.url("copy")),
            _Turn("push", OURS, self._our_push, lambda: self._far.url("copy")),
            _Turn("push", SWAPPED, lambda: self._our_push("--swap"), lambda: self._far.url("copy")),
            _Turn("push", PIPE, self._pipe_there, lambda: self._far.url("copy")),
            _Turn("pull", OURS, self._our_pull, lambda: self._far.url("copy")),
            _Turn("pull", PIPE, self._pipe_to_new, lambda: self._far.url("copy")),
        )
        return [
            turn
            for _, same in itertools.groupby(turns, lambda turn: turn.key)
            for turn in place.in_turn(number, list(same))
        ]

    def take(self, turn: _Turn) -> Measured:
        """Let a contender do it; CannotError if not all has arrived."""
        place.settle(self._near, self._far)
        try:
            measured = turn.run()
            if turn.at is not None and (found := _proof(turn.at())) != self._wanted:
                raise CannotError(f"{found} arrived instead of {self._wanted}")
        finally:
            for server in (self._near, self._far):
                if "copy" in server.databases():
                    server.drop_database("copy")
        return measured

    def _ours(self, server: oxy_pg.Server, *words: str) -> Measured:
        program = [sys.executable, "-m", "oxy_pg", "--state-dir", server.state_dir]
        return process.measure([*program, *words])

    def _our_backup(self) -> Measured:
        self._backup.unlink(missing_ok=True)
        return self._ours(self._near, "backup", str(self._backup), "--database", "source")

    def _our_restore(self) -> Measured:
        return self._ours(self._near, "restore", str(self._backup), "--database", "copy")

    def _our_push(self, *words: str) -> Measured:
        self._far.create_database("copy")
        to = self._far.url("copy")
        return self._ours(self._near, "push", "--database", "source", "--to", to, *words)

    def _our_pull(self) -> Measured:
        return self._ours(self._far, "pull", "--from", self._source, "--database", "copy")

    def _program(self, name: str, url: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [f"{self._bin_dir}/{name}", *words],
            env=connections.libpq_variables(url, place.environment()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def _pg_dump(self, to: Path, *words: str) -> Measured:
        began = time.perf_counter()
        arguments = ("--format=custom", *words, f"--file={to}")
        _end(self._program("pg_dump", self._source, *arguments))
        return Measured(time.perf_counter() - began)

    def _pg_restore(self) -> Measured:
        began = time.perf_counter()
        self._near.create_database("copy")  # as ours does
        url = self._near.url("copy")
        _end(self._program("pg_restore", url, "--jobs=2", "--dbname=copy", str(self._dump)))
        return Measured(time.perf_counter() - began)

    def _pipe_to_new(self) -> Measured:
        began = time.perf_counter()
        self._far.create_database("copy")  # as a pull does
        self._pipe()
        return Measured(time.perf_counter() - began)

    def _pipe_there(self) -> Measured:
        self._far.create_database("copy")
        began = time.perf_counter()
        self._pipe()
        return Measured(time.perf_counter() - began)

    def _pipe(self) -> None:
        reading = subprocess.Popen(
            [f"{self._bin_dir}/pg_dump"],
            env=connections.libpq_variables(self._source, place.environment()),
            stdout=subprocess.PIPE,
        )
        writing = subprocess.Popen(
            [f"{self._bin_dir}/psql", "--quiet", "--set=ON_ERROR_STOP=1", "--no-psqlrc"],
            env=connections.libpq_variables(self._far.url("copy"), place.environment()),
            stdin=reading.stdout,
            stdout=subprocess.DEVNULL,
        )
        assert reading.stdout is not None
        reading.stdout.close()
        _end(writing)
        _end(reading)


def _end(program: subprocess.Popen[bytes]) -> None:
    if code := program.wait():
        raise CannotError(f"{os.path.basename(str(program.args[0]))}: exit code {code}")  # type: ignore[index]


def _proof(url: str) -> list[object]:
    with psycopg.connect(url) as connection:
        return [connection.execute(_PROOF.format(t).encode()).fetchone() for t in _TABLES]
