"""
The SQLite database that migrations are measured with, in the shape of Oxy's.

    python -m benchmarks.source PATH [--messages N] [--seed S]

N messages, N events, N/10 runs, N/50 threads and N/1000 users: N = 1,000,000
makes 2.1 million rows and about 630 MB. The same N and seed make the same rows.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = """
CREATE TABLE "users" (
  "id"             uuid_text                    NOT NULL PRIMARY KEY,
  "email"          varchar                      NOT NULL UNIQUE,
  "name"           varchar                      NOT NULL,
  "picture"        varchar                      NULL,
  "created_at"     timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "last_login_at"  timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "email_verified" boolean                      NOT NULL DEFAULT FALSE,
  "role"           varchar                      NOT NULL DEFAULT 'member'
);
CREATE INDEX "idx_users_role" ON "users" ("role");

CREATE TABLE "threads" (
  "id"            uuid_text                    NOT NULL PRIMARY KEY,
  "title"         varchar                      NOT NULL,
  "input"         varchar                      NOT NULL,
  "output"        varchar                      NOT NULL,
  "created_at"    timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "references"    text                         NOT NULL,
  "user_id"       uuid_text                    NULL,
  "is_processing" boolean                      NOT NULL DEFAULT FALSE,
  "project_id"    uuid_text                    NOT NULL
                  DEFAULT x'00000000000000000000000000000000',
  "sandbox_info"  json_text                    NULL,
  FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE
);
CREATE INDEX "idx_threads_user_id" ON "threads" ("user_id");

CREATE TABLE "messages" (
  "id"            uuid_text                    NOT NULL PRIMARY KEY,
  "content"       text                         NOT NULL,
  "is_human"      boolean                      NOT NULL,
  "thread_id"     uuid_text                    NOT NULL,
  "created_at"    timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "input_tokens"  integer                      NOT NULL DEFAULT 0,
  "output_tokens" integer                      NOT NULL DEFAULT 0,
  FOREIGN KEY ("thread_id") REFERENCES "threads" ("id") ON DELETE CASCADE
);

CREATE TABLE "runs" (
  "id"         uuid_text                    NOT NULL PRIMARY KEY,
  "source_id"  varchar                      NOT NULL,
  "run_index"  integer                      NULL,
  "metadata"   json_text                    NULL,
  "blocks"     json_text                    NULL,
  "error"      varchar                      NULL,
  "lookup_id"  uuid_text                    NULL,
  "user_id"    uuid_text                    NULL,
  "score"      real                         NULL,
  "created_at" timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE,
  FOREIGN KEY ("lookup_id") REFERENCES "messages" ("id") ON DELETE SET NULL
);
CREATE UNIQUE INDEX "idx_unique_source_runindex" ON "runs" ("source_id", "run_index")
  WHERE "run_index" IS NOT NULL;
CREATE INDEX "idx_runs_user_id" ON "runs" ("user_id");

CREATE TABLE "events" (
  "id"         integer                      NOT NULL PRIMARY KEY AUTOINCREMENT,
  "thread_id"  uuid_text                    NOT NULL,
  "kind"       varchar(40)                  NOT NULL,
  "payload"    json_text                    NOT NULL,
  "created_at" timestamp_with_timezone_text NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY ("thread_id") REFERENCES "threads" ("id") ON DELETE CASCADE
);
"""

_PROSE = """
the of and to in is that for it as with revenue by region per month which customers
churned last quarter show me a breakdown SELECT sum(amount) FROM orders GROUP BY 1 ORDER
BY 2 DESC; average basket size year-over-year forecast anomaly pipeline latency p99
dashboard please explain why dropped compared joined table column index semantic layer
agent workflow retry
"""
_WORDS = tuple(_PROSE.split())
# One word in sixteen is of the kind that breaks an escape.
_AWKWARD = (
    *("column\tone", "first\nsecond", "C:\\temp\\new", "\\N", "\\.", "it's", '"quoted"'),
    *(
        "naïve",
        "café",
        "Größe",
        "売上",
        "지역별",
        "доход",
        "الإيرادات",
        "הכנסות",
        "🚀",
        "👩‍👩‍👧",
        "e\u0301",
    ),
)
_KINDS = ("message.created", "run.started", "run.finished", "tool.called", "artifact.stored")
_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
_CHUNK = 20_000


class Counts(NamedTuple):
    """How many rows each table holds."""

    users: int
    threads: int
    messages: int
    runs: int
    events: int

    @classmethod
    def of(cls, messages: int) -> Counts:
        return cls(
            max(1, messages // 1000),
            max(1, messages // 50),
            messages,
            max(1, messages // 10),
            messages,
        )


class _Values:
    """The values of one database, drawn in a fixed order from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        words = [
            self.rng.choice(_AWKWARD if number % 16 == 0 else _WORDS) for number in range(200_000)
        ]
        self.prose = " ".join(words)
        self.starts = [0, *itertools.accumulate(len(word) + 1 for word in words)]
        self.clock = 0

    def uuid(self) -> bytes:
        bits = self.rng.getrandbits(128)
        # A random UUID, version 4.
        bits = bits & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62
        return bits.to_bytes(16, "big")

    def text(self, fewest: int, most: int) -> str:
        draw = self.rng.random
        first = int(draw() * (200_000 - most))
        last = first + fewest + int(draw() * (most - fewest + 1))
        return self.prose[self.starts[first] : self.starts[last] - 1]

    def time(self) -> str:
        # What chrono writes (as many digits as the clock gave, in threes), and what
        # CURRENT_TIMESTAMP writes.
        self.clock += 1
        step = self.clock
        moment = (_EPOCH + timedelta(seconds=step * 7)).isoformat()[:19]
        kind = step % 16
        if kind < 7:
            return f"{moment}.{step * 7_919 % 1_000_000:06}+00:00"
        if kind < 13:
            return f"{moment}.{step * 104_729 % 1_000_000_000:09}+00:00"
        if kind == 13:
            return f"{moment}.{step % 1000:03}+02:00"
        if kind == 14:
            return f"{moment}+00:00"
        return moment.replace("T", " ")


def generate(path: str, messages: int, seed: int = 16) -> Counts:
    """Write the database to ``path``, which must not exist; return its row counts."""
    if os.path.exists(path):
        raise FileExistsError(path)
    counts = Counts.of(messages)
    values = _Values(seed)
    users = [values.uuid() for _ in range(counts.users)]
    threads = [values.uuid() for _ in range(counts.threads)]
    # Only those that runs refer to are kept: memory stays flat as N grows.
    looked_up: list[bytes] = []

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "PRAGMA cache_size=-400000; PRAGMA foreign_keys=OFF;"
        )
        db.executescript(SCHEMA)
        db.execute("BEGIN")
        _fill(db, "users", _users(values, users))
        _fill(db, "threads", _threads(values, threads, users))
        _fill(db, "messages", _messages(values, counts.messages, threads, looked_up))
        _fill(db, "runs", _runs(values, counts.runs, users, looked_up))
        _fill(db, "events", _events(values, counts.events, threads))
        db.execute("COMMIT")
    return counts


def _fill(db: sqlite3.Connection, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    while chunk := list(itertools.islice(rows, _CHUNK)):
        holes = ",".join("?" * len(chunk[0]))
        db.executemany(f'INSERT INTO "{table}" VALUES ({holes})', chunk)


def _users(values: _Values, keys: list[bytes]) -> Iterator[tuple[object, ...]]:
    for number, key in enumerate(keys):
        yield (
            key,
            f"user{number}@example.com",
            values.text(2, 3),
            None if number % 3 else f"https://example.com/{number}.png",
            values.time(),
            values.time(),
            number % 2,
            "admin" if number % 50 == 0 else "member",
        )


def _threads(
    values: _Values, keys: list[bytes], users: list[bytes]
) -> Iterator[tuple[object, ...]]:
    for number, key in enumerate(keys):
        yield (
            key,
            values.text(3, 9),
            values.text(5, 80),
            values.text(5, 80),
            values.time(),
            "[]" if number % 4 else json.dumps([{"type": "sql", "query": values.text(5, 20)}]),
            None if number % 10 == 0 else users[number % len(users)],
            0,
            bytes(16) if number % 5 else values.uuid(),
            None if number % 7 else json.dumps({"kind": "v0", "id": number}),
        )


def _messages(
    values: _Values, count: int, threads: list[bytes], looked_up: list[bytes]
) -> Iterator[tuple[object, ...]]:
    spread = len(threads)
    for number in range(count):
        key = values.uuid()
        if number % 40 == 0:
            looked_up.append(key)
        yield (
            key,
            values.text(5, 80),
            number & 1,
            threads[number * 31 % spread],
            values.time(),
            number * 7 % 4001,
            number * 13 % 8009,
        )


def _runs(
    values: _Values, count: int, users: list[bytes], looked_up: list[bytes]
) -> Iterator[tuple[object, ...]]:
    for number in range(count):
        yield (
            values.uuid(),
            f"workflows/{number // 25}.yml",
            None if number % 25 == 24 else number % 25,
            json.dumps({"attempt": number % 3, "note": values.text(5, 20)}, ensure_ascii=False),
            None if number % 4 else json.dumps([{"type": "text", "value": values.text(5, 40)}]),
            None if number % 10 else values.text(5, 12),
            None if number % 4 else looked_up[number % len(looked_up)],
            users[number * 17 % len(users)] if number % 6 else None,
            None if number % 8 == 0 else values.rng.random() * 100,
            values.time(),
            values.time(),
        )


def _events(values: _Values, count: int, threads: list[bytes]) -> Iterator[tuple[object, ...]]:
    spread = len(threads)
    for number in range(count):
        # Built by hand: json.dumps() would take most of the whole run.
        note = values.text(5, 12).replace("\\", "\\\\").replace('"', '\\"')
        note = note.replace("\n", "\\n").replace("\t", "\\t")
        yield (
            number + 1,
            threads[number * 17 % spread],
            _KINDS[number % 5],
            f'{{"seq": {number}, "ms": {number * 37 % 9973 / 10}, "note": "{note}"}}',
            values.time(),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the benchmark database.")
    parser.add_argument("path")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=16)
    arguments = parser.parse_args()
    began = time.perf_counter()
    counts = generate(arguments.path, arguments.messages, arguments.seed)
    size = os.path.getsize(arguments.path) / 1e6
    took = time.perf_counter() - began
    print(f"{sum(counts):,} rows, {size:,.0f} MB in {took:.1f} s: {arguments.path}")


if __name__ == "__main__":
    main()
