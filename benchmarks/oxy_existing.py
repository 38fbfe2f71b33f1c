"""
An Oxy database migrated into the schema of its own schema migrations, and into a new one.

    python -m benchmarks.oxy_existing [--messages 200000] [--rounds 5]

The two take turns in new databases of one server. It also shows the disk space that
the migration needs: the figures in docs/migrating-from-sqlite.md are from here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

import oxy_pg
from tests import oxy_database

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1e6


@dataclass(frozen=True, slots=True)
class Turn:
    """One move: seconds, rows, the database's size, and the most that it took on the disk."""

    seconds: float
    rows: int
    database: int
    peak: int


def turn(server: oxy_pg.Server, source: str, *, existing: bool, verify: str) -> Turn:
    server.create_database("bench")
    url = server.url("bench")
    try:
        if existing:
            with psycopg.connect(url) as connection:
                connection.execute(oxy_database.POSTGRES_SCHEMA)
                oxy_database.record_migrations(connection)
        with psycopg.connect(server.superuser_url("bench"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        data_dir = str(server.status().data_dir)
        with _peak(data_dir) as sizes:
            began = time.perf_counter()
            report = oxy_pg.migrate_sqlite(source, url, verify=verify)  # type: ignore[arg-type]
            seconds = time.perf_counter() - began
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return Turn(seconds, report.rows, int(row[0]), max(sizes) - sizes[0])
    finally:
        server.drop_database("bench")


@contextlib.contextmanager
def _peak(directory: str) -> Iterator[list[int]]:
    """Collect the size of a directory that grows and shrinks, from before until after."""
    sizes = [_size(directory)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            sizes.append(_size(directory))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()
        sizes.append(_size(directory))


def _size(directory: str) -> int:
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_blocks * 512
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure moves into an existing schema.")
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--verify", choices=["counts", "full", "none"], default="counts")
    arguments = parser.parse_args()
    turns: dict[bool, list[Turn]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="oxy-bench-") as home:
        os.chmod(home, 0o711)  # as root, another user runs the server
        source = os.path.join(home, "db.sqlite")
        oxy_database.generate(source, arguments.messages)
        size = os.path.getsize(source)
        with oxy_pg.Server(os.path.join(home, "state")) as server:
            server.ensure_database()
            for number in range(arguments.rounds):
                order = (False, True) if number % 2 else (True, False)
                for existing in order:
                    one = turn(server, source, existing=existing, verify=arguments.verify)
                    turns[existing].append(one)
            server.destroy()
    print(f"SQLite: {size / MB:,.0f} MB; {arguments.rounds} rounds, medians\n")
    print("| schema | seconds | rows/s | database, MB | most on the disk, MB |")
    print("|---|---:|---:|---:|---:|")
    for existing, name in ((False, "created"), (True, "existing")):
        found = turns[existing]
        seconds = statistics.median(one.seconds for one in found)
        print(
            f"| {name} | {seconds:.2f} | {found[0].rows / seconds:,.0f} | "
            f"{found[0].database / MB:,.0f} | {max(one.peak for one in found) / MB:,.0f} |"
        )
    ratios = [e.seconds / c.seconds for c, e in zip(turns[False], turns[True], strict=True)]
    print(
        f"\nexisting / created: {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
        f"{max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
