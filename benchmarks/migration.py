"""
Migrations from SQLite to PostgreSQL by all tools that can do it, side by side, in one run.

The contenders take turns on the embedded server as users have it, fsync on.
One that cannot do it is listed with its own message.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

import oxy_pg
from benchmarks import source, target
from benchmarks.movers import MOVERS, Case, Mover
from benchmarks.process import CannotError, Measured
from benchmarks.result import COUNTS, OURS, Result
from oxy_pg.paths import StateDir
from oxy_pg.server.cluster.account import account_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

FEW = tuple(m for m in MOVERS if m.name in {"PostgreSQL alone", OURS, COUNTS, "pgloader"})


def measure(
    base: Path, sizes: dict[int, tuple[int, tuple[Mover, ...]]], said: Callable[[str], None]
) -> list[Result]:
    """
    Move databases of several sizes: messages -> how many rounds, and by whom.

    The largest one's results are ``migration`` and ``migration-memory``.
    """
    results: dict[int, tuple[Result, Result]] = {}
    with Bench(base) as bench:
        for messages, (rounds, movers) in sizes.items():
            results[messages] = bench.measure(messages, movers, rounds, said)
    largest = max(sizes)
    for result, key in zip(results[largest], ("migration", "migration-memory"), strict=True):
        result.key = key
    found = [result for pair in results.values() for result in pair]
    if largest // 4 in sizes:
        found.append(_growth(results[largest][0], results[largest // 4][0]))
    return found


def _growth(large: Result, quarter: Result) -> Result:
    """Return the ratio of times for four times the rows, for each contender."""
    result = Result(
        "growth", f"migration time: {large.size:,} rows compared with {quarter.size:,}", "×"
    )
    for name in large.figures.keys() & quarter.figures.keys():
        result.add(name, large.median(name) / quarter.median(name))
    return result


class Bench:
    """A server, and below ``base`` the files of the migrations."""

    def __init__(self, base: Path) -> None:
        self._base = base / "migration"
        self._server = oxy_pg.Server(self._base / "state", keep_alive=0)

    def __enter__(self) -> Self:
        self._base.mkdir(mode=0o711)
        self._server.start()
        self._password = secrets.token_hex(16)
        with psycopg.connect(self._server.superuser_url(), autocommit=True) as connection:
            # pgloader at its best has to be a superuser, and postgres itself may not use TCP.
            statement = "CREATE ROLE bench SUPERUSER LOGIN PASSWORD {}"
            connection.execute(sql.SQL(statement).format(sql.Literal(self._password)))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def measure(
        self, messages: int, movers: tuple[Mover, ...], rounds: int, said: Callable[[str], None]
    ) -> tuple[Result, Result]:
        """Migrate one database ``rounds`` times, by all contenders in turn."""
        path = str(self._base / f"{messages}.sqlite")
        counts = source.generate(path, messages)
        files = self._files(path, messages)
        rows = sum(counts)
        size = f"{rows:,} rows, {os.path.getsize(path) / 1e6:,.0f} MB of SQLite"
        times = Result(f"migration-{messages}", f"migration: time, {size}", "s", size=rows)
        memory = Result(
            f"migration-memory-{messages}", f"migration: peak memory, {size}", "MB", size=rows
        )
        for number in range(rounds):
            for mover in movers:
                if mover.name in times.failures or (mover.once and number):
                    continue
                outcome = self._turn(mover, path, files, counts)
                if isinstance(outcome, str):
                    times.fail(mover.name, outcome)
                else:
                    times.add(mover.name, outcome.seconds)
                    if outcome.peak_mb is not None:
                        memory.add(mover.name, outcome.peak_mb)
                    if outcome.note:
                        times.notes[mover.name] = outcome.note
                words = outcome if isinstance(outcome, str) else f"{outcome.seconds:.2f} s"
                said(f"{messages:,} messages, {number + 1}/{rounds}, {mover.name}: {words}")
        return times, memory

    def _files(self, path: str, messages: int) -> str:
        """Write what COPY reads on the server, where its user can read and write it."""
        home = self._base / f"files-{messages}"
        home.mkdir()
        target.write_files(path, str(home))
        account_for(StateDir(str(self._base / "state"))).own(str(home))
        with psycopg.connect(self._server.superuser_url()) as connection:
            connection.execute("SET LOCAL search_path = public")  # its own has no place for tables
            target.write_binary_files(connection, str(home))
        return str(home)

    def _turn(self, mover: Mover, path: str, files: str, counts: source.Counts) -> Measured | str:
        name = f"bench_{secrets.token_hex(6)}"
        self._server.create_database(name)
        url = self._server.url(name)
        case = Case(path, files, counts, url, self._superuser_url(url))
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                if mover.before:
                    connection.execute(mover.before)
            with psycopg.connect(case.superuser_url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            measured = mover.run(case)
            if mover.extrapolated:
                return measured
            with psycopg.connect(case.superuser_url) as connection:
                if words := target.missing(connection, counts):
                    return words
                notes = [note for note in (measured.note, target.lost(connection)) if note]
            return measured._replace(note="; ".join(notes))
        except CannotError as error:
            return str(error)
        except psycopg.Error as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._server.drop_database(name)

    def _superuser_url(self, url: str) -> str:
        return f"postgresql://bench:{self._password}@{url.rpartition('@')[2]}"
