"""Snapshots and rewinds of a database of 1 GB, beside DSLR, pg_dump, and a copy of its files."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
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

DSLR, DUMP, FILES = "DSLR", "pg_dump and pg_restore", "copy of the files"
_ROW = 1_000  # bytes, with what PostgreSQL adds
_FILL = """
    CREATE TABLE item AS
    SELECT g AS id, repeat(md5(g::text), 28) AS text FROM generate_series(1, %s) g;
    ALTER TABLE item ADD PRIMARY KEY (id);
    CREATE TABLE log AS SELECT g AS id, now() AS at FROM generate_series(1, 100000) g;
"""


def measure(base: Path, megabytes: int, rounds: int, said: Callable[[str], None]) -> list[Result]:
    """Make a snapshot of a database and rewind to it, ``rounds`` times, by all in turn."""
    size = f"{megabytes:,} MB"
    results = (
        Result("snapshot", f"snapshot: time, {size}", "s"),
        Result("rewind", f"rewind: time, {size}", "s"),
    )
    home = base / "snapshots"
    home.mkdir(mode=0o711)
    with oxy_pg.Server(home / "state", keep_alive=0) as server:
        url = server.ensure_database()
        with psycopg.connect(url) as connection:
            # As it is when it has been used for a while: no rows without hint bits.
            connection.execute("SET max_parallel_workers_per_gather = 0")
            connection.execute(_FILL.replace("%s", str(megabytes * 1_000_000 // _ROW)))
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE")
        for number in range(rounds):
            for name, steps in place.in_turn(number, list(_contenders(server, url, home).items())):
                for result, step in zip(results, steps, strict=True):
                    _turn(server, result, name, step, said)
        server.stop()
    return list(results)


def _turn(
    server: oxy_pg.Server,
    result: Result,
    name: str,
    step: Callable[[], Measured],
    said: Callable[[str], None],
) -> None:
    if name in result.failures:
        return
    place.settle(server)
    try:
        outcome = step()
    except (CannotError, OSError, subprocess.SubprocessError) as error:
        result.fail(name, str(error))
        said(f"  {result.key} {name}: {error}")
        return
    result.add(name, outcome.seconds)
    said(f"  {result.key} {name}: {outcome.seconds:.2f} s")


def _contenders(
    server: oxy_pg.Server, url: str, home: Path
) -> dict[str, tuple[Callable[[], Measured], Callable[[], Measured]]]:
    name = f"s{secrets.token_hex(4)}"
    python = (sys.executable, "-m")
    ours = [*python, "oxy_pg", "--state-dir", server.state_dir]
    dslr = [sys.executable, "-c", "from dslr.cli import cli; cli()", "--url", url]
    dump = home / f"{name}.dump"
    return {
        OURS: (
            lambda: process.measure([*ours, "snapshot", name]),
            lambda: _then(
                process.measure([*ours, "rewind", name]),
                [*ours, "snapshot", "--delete", name],
            ),
        ),
        DSLR: (
            lambda: process.measure([*dslr, "snapshot", name], ("Error",)),
            lambda: _then(
                process.measure([*dslr, "restore", name], ("Error",)), [*dslr, "delete", name]
            ),
        ),
        DUMP: (lambda: _dump(url, dump), lambda: _restore(server, url, dump)),
        FILES: (
            lambda: _copy(server, url, home / name),
            lambda: _copied(home / name, home / f"{name}-2"),
        ),
    }


def _then(measured: Measured, command: list[str]) -> Measured:
    subprocess.run(command, env=place.environment(), capture_output=True, check=True)
    return measured


def _program(name: str, url: str, *words: str) -> Measured:
    began = time.perf_counter()
    subprocess.run(
        [f"{binaries.find().bin_dir}/{name}", *words],
        env=connections.libpq_variables(url, place.environment()),
        capture_output=True,
        check=True,
    )
    return Measured(time.perf_counter() - began)


def _dump(url: str, path: Path) -> Measured:
    return _program("pg_dump", url, "--format=custom", "--compress=0", f"--file={path}")


def _restore(server: oxy_pg.Server, url: str, path: Path) -> Measured:
    """Restore into a new database, which then has to take the name: that is not measured."""
    server.create_database("restored")
    jobs = f"--jobs={os.cpu_count() or 1}"
    try:
        return _program("pg_restore", url, jobs, "--dbname=restored", str(path))
    finally:
        server.drop_database("restored")
        path.unlink()


def _copy(server: oxy_pg.Server, url: str, to: Path) -> Measured:
    """Copy the database's directory, and sync it: what a snapshot cannot do without."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT oid FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    status = server.status()
    assert status.data_dir is not None
    return _copied(status.data_dir / "base" / str(row[0]), to, keep=True)


def _copied(source: Path, to: Path, *, keep: bool = False) -> Measured:
    began = time.perf_counter()
    shutil.copytree(source, to)
    for path in (*to.iterdir(), to, to.parent):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    seconds = time.perf_counter() - began
    if not keep:
        shutil.rmtree(source)
        shutil.rmtree(to)
    return Measured(seconds)
