"""The contenders of the migration, and PostgreSQL alone as the limit."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from benchmarks import process
from benchmarks.process import CannotError, Measured
from benchmarks.result import COUNTS, OURS
from benchmarks.target import BARE, FOREIGN_KEYS, INDEXES, SEQUENCES, SPELLED, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.source import Counts

EXISTING = BARE + INDEXES + FOREIGN_KEYS


@dataclass(frozen=True, slots=True)
class Case:
    """What every contender gets."""

    source: str  # the SQLite database
    files: str  # its rows for COPY: text as TABLE, binary as TABLE.binary
    counts: Counts
    url: str  # of an empty database, for its owner
    superuser_url: str  # of the same


@dataclass(frozen=True, slots=True)
class Mover:
    name: str
    run: Callable[[Case], Measured]
    before: str = ""  # run in the target before the time is taken
    once: bool = False  # not compared with, or slow: one round is enough
    extrapolated: bool = False  # a part was done and the rest computed: nothing has arrived


def _ours(case: Case) -> Measured:
    """As in an application; its process, imports and all, is in the time."""
    program = "import sys, oxy_pg\noxy_pg.migrate_sqlite(sys.argv[1], sys.argv[2])\n"
    return process.measure([sys.executable, "-c", program, case.source, case.url])


def _counts_alone(case: Case) -> Measured:
    """The same, and row counts alone are compared before the commit."""
    program = "import sys, oxy_pg\noxy_pg.migrate_sqlite(*sys.argv[1:], verify='counts')\n"
    return process.measure([sys.executable, "-c", program, case.source, case.url])


def _server_side(suffix: str, options: str) -> Callable[[Case], Measured]:
    """Everything inside the server, in one transaction: no client can be faster."""

    def run(case: Case) -> Measured:
        with psycopg.connect(case.superuser_url) as connection:
            began = time.perf_counter()
            connection.execute(BARE)
            for table in TABLES:
                statement = sql.SQL("COPY {} FROM {} " + options).format(
                    sql.Identifier(table), sql.Literal(os.path.join(case.files, table + suffix))
                )
                connection.execute(statement)
            connection.execute(INDEXES)
            connection.execute(FOREIGN_KEYS)
            connection.execute(SEQUENCES)
            connection.commit()
            return Measured(time.perf_counter() - began)

    return run


_CASTS = """
cast type uuid_text to uuid using byte-vector-to-hexstring,
     type timestamp_with_timezone_text to timestamptz,
     type json_text to json
"""
_BATCHES = "prefetch rows = 10000, batch rows = 10000"
# The fastest that was found: it drops indexes and keys and makes them again, as superuser.
# The default prefetch of 100,000 rows exhausts its heap ("Heap exhausted, game over.").
_BEST = (
    "with data only, drop indexes, disable triggers, reset sequences, workers = 2, "
    f"concurrency = 1, batch size = 8MB, {_BATCHES}"
)


def _pgloader(options: str, *, superuser: bool = False) -> Callable[[Case], Measured]:
    """With a cast file, as this schema needs it."""

    def run(case: Case) -> Measured:
        url = case.superuser_url if superuser else case.url
        with tempfile.TemporaryDirectory() as home:
            path = os.path.join(home, "migration.load")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"load database from sqlite://{case.source} into {url}\n")
                file.write(f"{options}\n{_CASTS};\n")
            return _run_pgloader(path)

    return run


def _pgloader_alone(case: Case) -> Measured:
    """As at the beginning of its manual: one command, nothing prepared."""
    return _run_pgloader("sqlite://" + case.source, case.url)


def _run_pgloader(*arguments: str) -> Measured:
    program = shutil.which("pgloader")
    if program is None:
        raise CannotError("not installed: apt-get install pgloader")
    return process.measure([program, *arguments], ("FATAL", "ERROR", "Heap exhausted"))


def _row_inserts(case: Case) -> Measured:
    """One INSERT for each row and no transaction around them, as the original tool did."""
    seconds = 0.0
    with (
        contextlib.closing(sqlite3.connect(case.source)) as source,
        psycopg.connect(case.url, autocommit=True) as connection,
    ):
        for table, total in zip(TABLES, case.counts, strict=True):
            share = max(1, total // 500)
            query = f'SELECT {SPELLED[table]} FROM "{table}" LIMIT {share}'
            rows = source.execute(query).fetchall()
            types = connection.execute(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                [table],
            ).fetchall()
            holes = ", ".join(f"%s::text::{kind}" for (kind,) in types)
            statement = sql.SQL(f'INSERT INTO "{table}" VALUES ({holes})')
            began = time.perf_counter()
            for row in rows:
                connection.execute(statement, [value if value != "" else None for value in row])
            seconds += (time.perf_counter() - began) * total / share
    return Measured(seconds, None, "0.2 % measured, the rest computed; no foreign keys")


_DUCKDB = """
import sys, duckdb, psycopg
source, target, *extensions = sys.argv[1:]
db = duckdb.connect()
for path in extensions:
    db.execute(f"LOAD '{{path}}'")
db.execute("SET TimeZone = 'UTC'")
db.execute(f"ATTACH '{{source}}' AS source (TYPE sqlite, READ_ONLY)")
db.execute(f"ATTACH '{{target}}' AS target (TYPE postgres)")
for table, columns in {spelled!r}.items():
    query = f'SELECT {{columns}} FROM "{{table}}"'.replace("'", "''")
    described = db.execute(f"DESCRIBE SELECT * FROM sqlite_query('source', '{{query}}')").fetchall()
    chosen = ", ".join(
        f"NULLIF(\\"{{c}}\\", '')" if c.startswith("hex(") else f'"{{c}}"' for c, *_ in described)
    db.execute(f"INSERT INTO target.public.{{table}} SELECT {{chosen}} "
               f"FROM sqlite_query('source', '{{query}}')")
db.close()
with psycopg.connect(target) as connection:
    connection.execute({after!r})
"""


def _duckdb(case: Case) -> Measured:
    """DuckDB reads SQLite and writes PostgreSQL through its extensions."""
    paths = []
    for provider in ("duckdb-extension-sqlite-scanner", "duckdb-extension-postgres-scanner"):
        try:
            files = importlib.metadata.files(provider) or []
        except importlib.metadata.PackageNotFoundError as error:
            raise CannotError(f"not installed: {provider}") from error
        paths += [str(file.locate()) for file in files if file.suffix == ".duckdb_extension"]
    program = _DUCKDB.format(spelled=SPELLED, after=INDEXES + FOREIGN_KEYS + SEQUENCES)
    return process.measure([sys.executable, "-c", program, case.source, case.url, *paths])


MOVERS = (
    Mover("PostgreSQL alone", _server_side("", "")),
    Mover("PostgreSQL alone, binary COPY", _server_side(".binary", "(FORMAT binary)"), once=True),
    Mover(OURS, _ours),
    Mover(COUNTS, _counts_alone),
    Mover(f"{OURS}, existing schema", _ours, before=EXISTING),
    Mover("pgloader", _pgloader(_BEST, superuser=True), before=EXISTING),
    Mover("pgloader, one command", _pgloader_alone, once=True),
    Mover(
        "pgloader, cast file, creating the schema",
        _pgloader(f"with include drop, create tables, create indexes, reset sequences, {_BATCHES}"),
        once=True,
    ),
    Mover(
        "pgloader, keys and indexes in place",
        _pgloader(f"with data only, reset sequences, {_BATCHES}"),
        before=EXISTING,
        once=True,
    ),
    Mover("DuckDB, its sqlite and postgres extensions", _duckdb, before=BARE, once=True),
    Mover(
        "one INSERT for each row", _row_inserts, before=BARE + INDEXES, once=True, extrapolated=True
    ),
)
DESCRIPTIONS = {
    "PostgreSQL alone": "COPY from text files on the server, then indexes and foreign keys",
    "pgloader": "cast file, existing schema, as superuser: drops and recreates keys and indexes",
}
