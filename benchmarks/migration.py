"""
Moving a SQLite database into PostgreSQL: everyone who can, side by side, in one run.

    python -m benchmarks.migration [--messages 1000000] [--rounds 3] [--only NAME ...]
                                   [--json FILE] [--database FILE]

The contenders take turns, so that a busy machine is busy for all of them; the
table shows medians, and the ratios are what carries over to another machine.
A contender that cannot do the job stands there with its own words.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import psycopg
from psycopg import sql

from benchmarks import migration_database, postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLES = ("users", "threads", "messages", "runs", "events")

BARE = """
CREATE TABLE users (
  id uuid NOT NULL, email varchar NOT NULL, name varchar NOT NULL, picture varchar,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  last_login_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  email_verified boolean NOT NULL DEFAULT false, role varchar NOT NULL DEFAULT 'member');
CREATE TABLE threads (
  id uuid NOT NULL, title varchar NOT NULL, input varchar NOT NULL, output varchar NOT NULL,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, "references" text NOT NULL,
  user_id uuid, is_processing boolean NOT NULL DEFAULT false,
  project_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', sandbox_info json);
CREATE TABLE messages (
  id uuid NOT NULL, content text NOT NULL, is_human boolean NOT NULL, thread_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  input_tokens integer NOT NULL DEFAULT 0, output_tokens integer NOT NULL DEFAULT 0);
CREATE TABLE runs (
  id uuid NOT NULL, source_id varchar NOT NULL, run_index integer, metadata json, blocks json,
  error varchar, lookup_id uuid, user_id uuid, score double precision,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE events (
  id serial NOT NULL, thread_id uuid NOT NULL, kind varchar(40) NOT NULL, payload json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP);
"""

INDEXES = """
ALTER TABLE users ADD PRIMARY KEY (id), ADD UNIQUE (email);
ALTER TABLE threads ADD PRIMARY KEY (id);
ALTER TABLE messages ADD PRIMARY KEY (id);
ALTER TABLE runs ADD PRIMARY KEY (id);
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE INDEX idx_users_role ON users (role);
CREATE INDEX idx_threads_user_id ON threads (user_id);
CREATE UNIQUE INDEX idx_unique_source_runindex ON runs (source_id, run_index)
  WHERE run_index IS NOT NULL;
CREATE INDEX idx_runs_user_id ON runs (user_id);
"""

FOREIGN_KEYS = """
ALTER TABLE threads ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
ALTER TABLE messages ADD FOREIGN KEY (thread_id) REFERENCES threads ON DELETE CASCADE;
ALTER TABLE runs ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
  ADD FOREIGN KEY (lookup_id) REFERENCES messages ON DELETE SET NULL;
ALTER TABLE events ADD FOREIGN KEY (thread_id) REFERENCES threads ON DELETE CASCADE;
"""

SEQUENCES = "SELECT setval('events_id_seq', (SELECT max(id) FROM events));"

# How each table's columns are spelled for PostgreSQL, by SQLite itself.
SPELLED = {
    "users": "hex(id), email, name, picture, created_at, last_login_at, email_verified, role",
    "threads": 'hex(id), title, input, output, created_at, "references", hex(user_id), '
    "is_processing, hex(project_id), sandbox_info",
    "messages": "hex(id), content, is_human, hex(thread_id), created_at, input_tokens, "
    "output_tokens",
    "runs": "hex(id), source_id, run_index, metadata, blocks, error, hex(lookup_id), "
    "hex(user_id), score, created_at, updated_at",
    "events": "id, hex(thread_id), kind, payload, created_at",
}


@dataclass(frozen=True, slots=True)
class Case:
    """What every contender is given."""

    server: postgres.Server
    source: str
    counts: migration_database.Counts
    files: str  # for COPY, made beforehand: text as TABLE, binary as TABLE.binary


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender's turn."""

    seconds: float
    peak_mb: float | None  # of the client's processes together, the server not counted
    note: str = ""


class CannotError(Exception):
    """A contender cannot do it; the text is its own."""


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    description: str
    run: Callable[[Case, str], Measured]
    # What stands in the target before the clock starts.
    before: str = ""
    # A part of the work was done and the rest computed: its counts are not looked at.
    extrapolated: bool = False


# --- the contenders ------------------------------------------------------------------------------


def oxy_pg(case: Case, database: str) -> Measured:
    program = (
        "import sys\n"
        "from oxy_pg.migrate.migration import migrate\n"
        "migrate(sys.argv[1], sys.argv[2])\n"
    )
    return _process([sys.executable, "-c", program, case.source, case.server.url(database)])


def server_side_text(case: Case, database: str) -> Measured:
    """Everything inside the server, in one transaction: no client that sends text is faster."""
    return _server_side(case, database, "", "")


def server_side_text_freeze(case: Case, database: str) -> Measured:
    return _server_side(case, database, "", "(FREEZE)")


def server_side_binary(case: Case, database: str) -> Measured:
    return _server_side(case, database, ".binary", "(FORMAT binary)")


def _server_side(case: Case, database: str, suffix: str, options: str) -> Measured:
    with psycopg.connect(case.server.superuser_url(database)) as conn:
        began = time.perf_counter()
        conn.execute(BARE)
        for table in TABLES:
            path = os.path.join(case.files, table + suffix)
            conn.execute(
                sql.SQL("COPY {} FROM {} " + options).format(
                    sql.Identifier(table), sql.Literal(path)
                )
            )
        conn.execute(INDEXES)
        conn.execute(FOREIGN_KEYS)
        conn.execute(SEQUENCES)
        conn.commit()
        return Measured(time.perf_counter() - began, None)


_CASTS = """
cast type uuid_text to uuid using byte-vector-to-hexstring,
     type timestamp_with_timezone_text to timestamptz,
     type json_text to json
"""


def pgloader_alone(case: Case, database: str) -> Measured:
    """As its manual begins: one command, nothing prepared."""
    return _pgloader(["sqlite://" + case.source, case.server.url(database)])


def pgloader_creating(case: Case, database: str) -> Measured:
    """With the casts that this schema needs, and the schema left to it."""
    return _pgloader_file(
        case,
        f"with include drop, create tables, create indexes, reset sequences,\n"
        f"prefetch rows = 10000, batch rows = 10000\n{_CASTS}",
        database,
    )


def pgloader_existing(case: Case, database: str) -> Measured:
    """Into a schema made for it, foreign keys and indexes in place."""
    options = "with data only, reset sequences, prefetch rows = 10000, batch rows = 10000"
    return _pgloader_file(case, options + _CASTS, database)


def pgloader_best(case: Case, database: str) -> Measured:
    """The fastest that was found: it drops and makes indexes and keys again, as superuser."""
    # The default prefetch of 100,000 rows exhausts its heap ("Heap exhausted, game over.").
    options = (
        "with data only, drop indexes, disable triggers, reset sequences, workers = 2, "
        "concurrency = 1, batch rows = 10000, batch size = 8MB, prefetch rows = 10000"
    )
    return _pgloader_file(case, options + _CASTS, database, superuser=True)


def _pgloader_file(case: Case, options: str, database: str, *, superuser: bool = False) -> Measured:
    url = case.server.superuser_url(database) if superuser else case.server.url(database)
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "migration.load")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"load database from sqlite://{case.source} into {url}\n{options};\n")
        return _pgloader([path])


def _pgloader(arguments: list[str]) -> Measured:
    program = shutil.which("pgloader")
    if program is None:
        raise CannotError("not installed: apt-get install pgloader")
    return _process([program, *arguments], words=("FATAL", "ERROR", "Heap exhausted"))


def row_inserts(case: Case, database: str) -> Measured:
    """One INSERT for each row and no transaction around them, as the original tool did."""
    share = {table: max(1, count // 500) for table, count in zip(TABLES, case.counts, strict=True)}
    seconds = 0.0
    with (
        contextlib.closing(sqlite3.connect(case.source)) as source,
        psycopg.connect(case.server.url(database), autocommit=True) as conn,
    ):
        for table, total in zip(TABLES, case.counts, strict=True):
            rows = source.execute(
                f'SELECT {SPELLED[table]} FROM "{table}" LIMIT {share[table]}'
            ).fetchall()
            types = [
                row[0]
                for row in conn.execute(
                    "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                    "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                    [table],
                )
            ]
            holes = ", ".join(f"%s::text::{kind}" for kind in types)
            statement = f'INSERT INTO "{table}" VALUES ({holes})'
            began = time.perf_counter()
            for row in rows:
                conn.execute(statement, [value if value != "" else None for value in row])
            seconds += (time.perf_counter() - began) * total / share[table]
    return Measured(seconds, None, "0.2 % measured, the rest computed; no foreign keys")


def duckdb(case: Case, database: str) -> Measured:
    """DuckDB reads SQLite and writes PostgreSQL through its extensions."""
    paths = []
    for provider in ("duckdb-extension-sqlite-scanner", "duckdb-extension-postgres-scanner"):
        try:
            files = importlib.metadata.files(provider) or []
        except importlib.metadata.PackageNotFoundError as error:
            raise CannotError(f"not installed: {provider}") from error
        paths += [str(file.locate()) for file in files if file.suffix == ".duckdb_extension"]
    program = f"""
import sys, duckdb, psycopg
db = duckdb.connect()
for path in {paths!r}:
    db.execute(f"LOAD '{{path}}'")
db.execute("SET TimeZone = 'UTC'")
db.execute(f"ATTACH '{{sys.argv[1]}}' AS source (TYPE sqlite, READ_ONLY)")
db.execute(f"ATTACH '{{sys.argv[2]}}' AS target (TYPE postgres)")
for table, columns in {SPELLED!r}.items():
    query = f'SELECT {{columns}} FROM "{{table}}"'.replace("'", "''")
    if "duckdb-casts":
        columns = [row[0] for row in db.execute(
            f"DESCRIBE SELECT * FROM sqlite_query('source', '{{query}}')").fetchall()]
        chosen = ", ".join(
            f'NULLIF("{{c}}", \\'\\')' if c.startswith("hex(") else f'"{{c}}"' for c in columns)
    db.execute(f"INSERT INTO target.public.{{table}} SELECT {{chosen}} "
               f"FROM sqlite_query('source', '{{query}}')")
db.close()
with psycopg.connect(sys.argv[2]) as conn:
    conn.execute({INDEXES + FOREIGN_KEYS + SEQUENCES!r})
"""
    return _process([sys.executable, "-c", program, case.source, case.server.url(database)])


CONTENDERS = (
    Contender(
        "limit", "PostgreSQL: server-side text COPY + indexes + foreign keys", server_side_text
    ),
    Contender("limit-freeze", "the same with COPY … FREEZE", server_side_text_freeze),
    Contender("limit-binary", "the same with binary COPY", server_side_binary),
    Contender("oxy_pg", "oxy_pg, schema created", oxy_pg),
    Contender(
        "oxy_pg-existing",
        "oxy_pg, into the existing schema",
        oxy_pg,
        before=BARE + INDEXES + FOREIGN_KEYS,
    ),
    Contender("pgloader-alone", "pgloader, one command", pgloader_alone),
    Contender("pgloader-creating", "pgloader, cast file, schema created", pgloader_creating),
    Contender(
        "pgloader",
        "pgloader, cast file, existing schema, superuser, keys and indexes dropped by it",
        pgloader_best,
        before=BARE + INDEXES + FOREIGN_KEYS,
    ),
    Contender(
        "pgloader-in-place",
        "pgloader, cast file, existing schema, keys and indexes in place",
        pgloader_existing,
        before=BARE + INDEXES + FOREIGN_KEYS,
    ),
    Contender("duckdb", "DuckDB with its sqlite and postgres extensions", duckdb, before=BARE),
    Contender(
        "row-inserts",
        "one INSERT for each row",
        row_inserts,
        before=BARE + INDEXES,
        extrapolated=True,
    ),
)


# --- measuring -----------------------------------------------------------------------------------


def _process(command: list[str], words: tuple[str, ...] = ()) -> Measured:
    """Run ``command`` to its end; peak memory is the sum over its process tree."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        peak = _Peak(process.pid)
        with peak:
            code = process.wait()
        seconds = time.perf_counter() - began
        output.seek(0)
        lines = output.read().splitlines()
    said = [line for line in lines if any(word in line for word in words)]
    if code != 0 or said:
        raise CannotError((said or lines[-1:] or [f"exit code {code}"])[0].strip()[-300:])
    return Measured(seconds, peak.megabytes)


class _Peak(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._bytes = 0

    @property
    def megabytes(self) -> float:
        return self._bytes / 1e6

    def run(self) -> None:
        while not self._over.wait(0.05):
            with contextlib.suppress(psutil.Error):
                tree = [self._root, *self._root.children(recursive=True)]
                self._bytes = max(self._bytes, sum(_resident(process) for process in tree))

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _turn(contender: Contender, case: Case) -> Measured | str:
    with case.server.database() as database:
        with psycopg.connect(case.server.superuser_url(database), autocommit=True) as conn:
            if contender.before:
                conn.execute("SET ROLE oxy")
                conn.execute(contender.before)
                conn.execute("RESET ROLE")
            conn.execute("CHECKPOINT")
        try:
            measured = contender.run(case, database)
        except CannotError as error:
            return str(error)
        except psycopg.Error as error:
            return f"{type(error).__name__}: {error}"
        if contender.extrapolated:
            return measured
        return _complete(case, database, measured)


def _complete(case: Case, database: str, measured: Measured) -> Measured | str:
    """Say what is missing: a contender that did half of the work is not fast."""
    with psycopg.connect(case.server.superuser_url(database)) as conn:
        for table, count in zip(TABLES, case.counts, strict=True):
            row = conn.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            ).fetchone()
            if row != (count,):
                return f"{table}: {row} of {count} rows arrived"
        lost = [
            name
            for name, query in _SCHEMA_FACTS.items()
            if conn.execute(query).fetchone() == (False,)
        ]
    note = "; ".join([measured.note] * bool(measured.note) + [f"lost: {name}" for name in lost])
    return dataclasses.replace(measured, note=note)


_SCHEMA_FACTS = {
    "primary keys": "SELECT count(*) >= 5 FROM pg_constraint WHERE contype = 'p'",
    "foreign keys": "SELECT count(*) >= 5 FROM pg_constraint WHERE contype = 'f' AND convalidated",
    "NOT NULL": """
        SELECT bool_and(attnotnull) FROM pg_attribute
        WHERE attrelid IN ('messages'::regclass, 'threads'::regclass)
        AND attname IN ('content', 'thread_id', 'created_at', 'title', 'references')""",
    "the partial unique index": """
        SELECT count(*) = 1 FROM pg_index
        WHERE indrelid = 'runs'::regclass AND indisunique AND indpred IS NOT NULL""",
    "defaults": """
        SELECT count(*) >= 10 FROM pg_attrdef JOIN pg_class t ON t.oid = adrelid
        WHERE relname IN ('threads', 'messages', 'users')""",
}


@contextlib.contextmanager
def _files(source: str, user: str | None) -> Iterator[str]:
    """Write what COPY reads, so that the limit pays for nothing but PostgreSQL's own work."""
    escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
    with tempfile.TemporaryDirectory(prefix="oxy-bench-files-") as home:
        os.chmod(home, 0o755)
        with contextlib.closing(sqlite3.connect(source)) as db:
            for table, columns in SPELLED.items():
                uuids = [number for number, c in enumerate(columns.split(", ")) if "hex(" in c]
                path = os.path.join(home, table)
                with open(path, "w", encoding="utf-8", newline="\n") as file:
                    for row in db.execute(f'SELECT {columns} FROM "{table}"'):
                        values = [
                            "\\N"
                            if value is None
                            else value.translate(escapes)
                            if isinstance(value, str)
                            else str(value)
                            for value in row
                        ]
                        for number in uuids:
                            values[number] = values[number] or "\\N"
                        file.write("\t".join(values) + "\n")
        if user:
            # COPY … TO writes here as well.
            shutil.chown(home, user)
        yield home


def _add_binary_files(case: Case) -> None:
    with (
        case.server.database() as database,
        psycopg.connect(case.server.superuser_url(database)) as conn,
    ):
        conn.execute(BARE)
        for table in TABLES:
            path = os.path.join(case.files, table)
            name = sql.Identifier(table)
            conn.execute(sql.SQL("COPY {} FROM {}").format(name, sql.Literal(path)))
            conn.execute(
                sql.SQL("COPY {} TO {} (FORMAT binary)").format(name, sql.Literal(f"{path}.binary"))
            )
        conn.rollback()


# --- the table -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    contender: Contender
    turns: list[Measured] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        return statistics.median(turn.seconds for turn in self.turns)

    @property
    def peak(self) -> float | None:
        peaks = [turn.peak_mb for turn in self.turns if turn.peak_mb is not None]
        return max(peaks, default=None)


def markdown(results: list[Result]) -> str:
    medians = {r.contender.name: r.median for r in results if r.turns}
    limit, pgloader = medians.get("limit"), medians.get("pgloader")
    lines = [
        "| contender | median | fastest to slowest | × limit | × pgloader | peak memory |",  # noqa: RUF001
        "|---|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        name = result.contender.description
        if result.failure:
            lines.append(f"| {name} | cannot: {result.failure.replace('|', '/')} | | | | |")
            continue
        seconds = [turn.seconds for turn in result.turns]
        note = f" ({result.turns[0].note})" if result.turns[0].note else ""
        lines.append(
            f"| {name}{note} | {result.median:.2f} s | {min(seconds):.2f} to {max(seconds):.2f} s "
            f"| {_ratio(result.median, limit)} | {_ratio(result.median, pgloader)} "
            f"| {f'{result.peak:.0f} MB' if result.peak else ''} |"
        )
    return "\n".join(lines)


def _ratio(value: float, base: float | None) -> str:
    return f"{value / base:.2f}" if base else ""


def measure(case: Case, contenders: list[Contender], rounds: int) -> list[Result]:
    results = [Result(contender) for contender in contenders]
    for number in range(rounds):
        for result in results:
            if result.failure or (result.contender.extrapolated and number):
                continue
            outcome = _turn(result.contender, case)
            if isinstance(outcome, str):
                result.failure = outcome
            else:
                result.turns.append(outcome)
            said = outcome if isinstance(outcome, str) else f"{outcome.seconds:.2f} s"
            print(f"[{number + 1}/{rounds}] {result.contender.name}: {said}", file=sys.stderr)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure migrations side by side.")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[c.name for c in CONTENDERS])
    parser.add_argument("--json")
    parser.add_argument("--database", help="keep the SQLite database here, and use it again")
    arguments = parser.parse_args()
    contenders = [c for c in CONTENDERS if not arguments.only or c.name in arguments.only]

    with tempfile.TemporaryDirectory(prefix="oxy-bench-source-") as home:
        source = os.path.abspath(arguments.database or os.path.join(home, "db.sqlite"))
        if not os.path.exists(source):
            migration_database.generate(source, arguments.messages)
        counts = migration_database.Counts.of(arguments.messages)
        with (
            _files(source, postgres.unprivileged()) as files,
            postgres.temporary() as server,
        ):
            case = Case(server, source, counts, files)
            _add_binary_files(case)
            results = measure(case, contenders, arguments.rounds)
            with psycopg.connect(server.superuser_url()) as conn:
                row = conn.execute("SHOW server_version").fetchone()
        megabytes = os.path.getsize(source) / 1e6

    print(f"{sum(counts):,} rows, {megabytes:,.0f} MB of SQLite; {arguments.rounds} rounds\n")
    print(markdown(results))
    if arguments.json:
        document = {
            "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "postgresql": row[0] if row else None,
            "rows": sum(counts),
            "megabytes": megabytes,
            "results": [
                {
                    "name": result.contender.name,
                    "description": result.contender.description,
                    "failure": result.failure or None,
                    "turns": [dataclasses.asdict(turn) for turn in result.turns],
                }
                for result in results
            ],
        }
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)


if __name__ == "__main__":
    main()
