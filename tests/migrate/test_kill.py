"""
Whatever ends a migration half-way, the target is empty or complete.

OXY_PG_KILLS sets how often the migrating process is killed (default 6).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import psycopg
import pytest

from tests import oxy_database
from tests.migrate.compare import differences

KILLS = int(os.environ.get("OXY_PG_KILLS", "6"))
MESSAGES = 6_000
MOVED = [name for name in oxy_database.TABLES if name != "seaql_migrations"]

DEFINITIONS = (
    """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    """,
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    """
    SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger
    WHERE NOT tgisinternal
    """,
    """
    SELECT table_name, column_name, concat_ws(' ', data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
    """,
)

# Says which phase begins; that of the commit is everything after the last comparison.
PHASES = ("plan", "check", "load", "index", "verify", "commit")
PROGRAM = """
import signal
import sys
# A shell lets what it starts in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from oxy_pg.migrate.source import readers; from oxy_pg.migrate.load import transaction
from oxy_pg.migrate.migration import migrate

# As if the source were large: other processes read it.
readers._WORTH = 0
readers.cpus = lambda: 2

def tell(phase, seen=set()):
    if phase not in seen:
        seen.add(phase)
        print(phase, flush=True)

verify = transaction.Transaction._verify

def verify_and_tell(self, *args):
    verify(self, *args)
    tell("commit")

transaction.Transaction._verify = verify_and_tell
print("ready", flush=True)
migrate(sys.argv[1], sys.argv[2], schema=sys.argv[3], on_progress=lambda at: tell(at.phase))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """An Oxy database, and its SHA-256."""
    path = str(tmp_path_factory.mktemp("kill") / "oxy.db")
    oxy_database.generate(path, MESSAGES)
    return path


def started(source, url, schema="auto") -> subprocess.Popen[str]:
    """A migration in a process group of its own, past its imports."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, source, url, schema],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    return process


def finished(process: subprocess.Popen[str]) -> None:
    """Reap it, whatever became of it."""
    process.communicate(timeout=60)


def alone(url) -> None:
    """Wait until the server has seen that its client is gone."""
    deadline = time.monotonic() + 30
    with psycopg.connect(url, autocommit=True) as conn:
        while time.monotonic() < deadline:
            row = conn.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
            if row == (0,):
                return
            time.sleep(0.02)
    pytest.fail("the server still works for a client that was killed 30 s ago")


def unread(path) -> None:
    """Wait until the processes that were reading for a migration have seen that it is gone."""
    deadline = time.monotonic() + 30
    while any(reads(process, path) for process in psutil.process_iter()):
        assert time.monotonic() < deadline, "the source is still read after 30 s"
        time.sleep(0.02)


def reads(process: psutil.Process, path) -> bool:
    with contextlib.suppress(psutil.Error):
        return "source.readers" in " ".join(process.cmdline()) and any(
            file.path == str(path) for file in process.open_files()
        )
    return False


def definitions(conn) -> list[tuple[str, ...]]:
    """Everything that a schema promises, as PostgreSQL spells it."""
    rows: list[tuple[str, ...]] = []
    for query in DEFINITIONS:
        rows += conn.execute(query).fetchall()
    return sorted(rows)


class Killer:
    """Kills migrations at moments that are spread over all that they do."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lasts: dict[str, float] = {}
        self.killed_in: Counter[str] = Counter()

    def measure(self, source, url, schema) -> None:
        """See how long each phase lasts when nothing disturbs it."""
        process = started(source, url, schema)
        assert process.stdout is not None
        began = [(line.strip(), time.monotonic()) for line in process.stdout]
        finished(process)
        assert 0 == process.returncode
        began.append(("", time.monotonic()))
        for (phase, start), (_, end) in itertools.pairwise(began):
            self.lasts[phase] = end - start
        assert {*PHASES} <= self.lasts.keys()

    def kill(self, source, url, schema, number) -> None:
        """Kill one; at a random moment of the phases in turn."""
        phase = PHASES[number % len(PHASES)]
        process = started(source, url, schema)
        assert process.stdout is not None
        while process.stdout.readline().strip() != phase:
            assert process.poll() is None
        time.sleep(self.lasts[phase] * self.random.random())
        os.killpg(process.pid, signal.SIGKILL)
        told, _ = process.communicate(timeout=60)
        last = told.split()[-1] if told.split() else phase
        self.killed_in["load" if last == "table" else last] += 1
        alone(url)
        unread(source)


@pytest.mark.timeout(60 + 5 * KILLS)
def test_killed_migration_leaves_nothing_or_everything(source, pg_url):
    """
    kill -9 at random moments: no table of ours, or all of them with every row.
    """
    before = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    killer = Killer(9)
    killer.measure(source, pg_url, "create")
    outcomes: Counter[str] = Counter()
    for number in range(KILLS):
        emptied(pg_url)
        killer.kill(source, pg_url, "create", number)

        with psycopg.connect(pg_url) as conn:
            relations = conn.execute(
                "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                "WHERE nspname !~ '^pg_|^information_schema'"
            ).fetchone()
        outcomes["empty" if relations == (0,) else "complete"] += 1
        assert relations == (0,) or [] == differences(source, pg_url), number

    assert before == hashlib.sha256(Path(source).read_bytes()).hexdigest()
    told(killer, outcomes)


@pytest.mark.timeout(60 + 5 * KILLS)
def test_killed_migration_leaves_the_existing_schema_as_it_was(source, pg_url):
    """
    kill -9 while keys and indexes are put aside: they are all back, and the rows none or all.
    """
    with psycopg.connect(pg_url) as conn:
        conn.execute(oxy_database.POSTGRES_SCHEMA)
        oxy_database.record_migrations(conn)
        promised = definitions(conn)
    killer = Killer(10)
    killer.measure(source, pg_url, "existing")
    outcomes: Counter[str] = Counter()
    for number in range(KILLS):
        truncate(pg_url)
        killer.kill(source, pg_url, "existing", number)

        with psycopg.connect(pg_url) as conn:
            assert promised == definitions(conn)
            full = [
                table
                for table in MOVED
                if conn.execute(f'SELECT FROM "{table}" LIMIT 1').fetchone() is not None
            ]
        outcomes["complete" if full else "empty"] += 1
        assert full == [] or [] == differences(source, pg_url, tables=MOVED), number

    told(killer, outcomes)


def told(killer: Killer, outcomes: Counter[str]) -> None:
    """Show when it was killed, and make sure that it was in every phase."""
    print(dict(killer.killed_in), dict(outcomes))  # noqa: T201
    # A test in which every kill came too late would show nothing.
    assert outcomes["empty"]
    assert KILLS < 2 * len(PHASES) or killer.killed_in.keys() >= {*PHASES}, killer.killed_in


def test_reader_never_sees_half_of_it(source, pg_url):
    """
    Another connection sees no table of ours while it runs, and all of them afterwards.
    """
    seen = set()
    over = threading.Event()

    def watch() -> None:
        with psycopg.connect(pg_url, autocommit=True) as conn:
            while not over.is_set():
                rows = conn.execute(
                    "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                    "WHERE relkind = 'r' AND nspname = 'public'"
                ).fetchall()
                seen.add(len(rows))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        process = started(source, pg_url)
        finished(process)
        assert 0 == process.returncode
    finally:
        over.set()
        watcher.join()

    assert seen <= {0, len(oxy_database.TABLES), len(MOVED)}
    assert 0 in seen


def test_interrupt_leaves_nothing(source, pg_url):
    """
    Ctrl-C ends it within seconds, with the target as it was.
    """
    process = started(source, pg_url)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    finished(process)
    alone(pg_url)

    with psycopg.connect(pg_url) as conn:
        rows = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert rows == []
    assert 0 != process.returncode


def emptied(url) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE")
        conn.execute("CREATE SCHEMA public")


def truncate(url) -> None:
    names = ", ".join(f'"{table}"' for table in MOVED)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"TRUNCATE {names} CASCADE")
