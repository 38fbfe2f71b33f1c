"""
Oxy SQLite databases of any size, with or without what makes them hard to move.

    python -m tests.oxy_database PATH [--messages N] [--seed S] [--trap NAME ...]

With no trap set, every row fits Oxy's PostgreSQL schema exactly. Each trap
adds rows of one kind that does not, or that a careless tool gets wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import itertools
import json
import os
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_HERE = Path(__file__).parent / "oxy"
SQLITE_SCHEMA = (_HERE / "oxy_sqlite.sql").read_text(encoding="utf-8")
POSTGRES_SCHEMA = (_HERE / "oxy_postgres.sql").read_text(encoding="utf-8")

TABLES = (
    "seaql_migrations",
    "users",
    "workspaces",
    "git_namespaces",
    "tasks",
    "settings",
    "workspace_users",
    "project_repos",
    "projects",
    "branches",
    "threads",
    "secrets",
    "api_keys",
    "messages",
    "artifacts",
    "logs",
    "runs",
    "checkpoints",
    "a2a_tasks",
    "a2a_messages",
    "a2a_task_status",
    "a2a_artifacts",
    "slack_channel_bindings",
    "slack_user_identities",
    "slack_conversation_contexts",
)

MIGRATIONS = tuple(
    f"m2025{1 + number // 25:02}{1 + number % 25:02}_000001_step_{number + 1}"
    for number in range(49)
)

ZERO_UUID = bytes(16)


class Trap(enum.StrEnum):
    """What real Oxy databases hold, and a tool may trip over."""

    # Moves as it is, when nothing is lost on the way.
    ZERO_UUIDS = "zero-uuids"  # the all-zero default in project_id
    NANOSECONDS = "nanoseconds"  # nine fraction digits; PostgreSQL keeps six
    SANDBOX_INFO = "sandbox-info"  # a column that the original tool dropped
    SETTINGS_SEQUENCE = "settings-sequence"  # sqlite_sequence is ahead of max(id)
    JSON_NUL = "json-nul"  # "\u0000" in JSON text: json takes it, jsonb does not
    LONG_MESSAGES = "long-messages"  # 1 MB each
    TEXT_UUIDS = "text-uuids"  # UUIDs as text: canonical, 32 digits, braces, upper case
    SHORT_CHAR = "short-char"  # fewer than 40 characters in char(40)
    LOST_LOOKUPS = "lost-lookups"  # runs.lookup_id, a foreign key in SQLite only

    # Rows that PostgreSQL's constraints refuse.
    DUPLICATE_RUNS = "duplicate-runs"
    ORPHAN_MESSAGES = "orphan-messages"  # messages.thread_id, NOT NULL
    ORPHAN_THREADS = "orphan-threads"  # threads.user_id, nullable
    STALE_RUN_IDS = "stale-run-ids"  # a2a_tasks.run_id, for which SQLite has no parent table

    # Values that no column of the target can hold.
    LONG_VARCHAR = "long-varchar"  # varchar(20), varchar(255)
    LONG_CHAR = "long-char"  # char(40)
    BAD_JSON = "bad-json"
    BAD_UUID = "bad-uuid"  # 15 bytes, and text that is none
    BAD_BOOLEAN = "bad-boolean"  # 2
    BAD_TIMESTAMP = "bad-timestamp"  # '' and 'yesterday-ish'
    BIG_INTEGER = "big-integer"  # beyond 32 bits
    TEXT_INTEGER = "text-integer"  # 'n/a' in an integer column
    NUL_TEXT = "nul-text"  # U+0000
    INVALID_UTF8 = "invalid-utf8"

    # Things without a place in the target.
    LEFTOVER_COLUMN = "leftover-column"
    LEFTOVER_TABLE = "leftover-table"
    OLD_MIGRATIONS = "old-migrations"  # the last five versions are missing


HARMLESS = frozenset(
    {
        Trap.ZERO_UUIDS,
        Trap.NANOSECONDS,
        Trap.SANDBOX_INFO,
        Trap.SETTINGS_SEQUENCE,
        Trap.JSON_NUL,
        Trap.LONG_MESSAGES,
        Trap.TEXT_UUIDS,
        Trap.SHORT_CHAR,
        Trap.LOST_LOOKUPS,
    }
)
VIOLATIONS = frozenset(
    {Trap.DUPLICATE_RUNS, Trap.ORPHAN_MESSAGES, Trap.ORPHAN_THREADS, Trap.STALE_RUN_IDS}
)
BAD_VALUES = frozenset(
    {
        Trap.LONG_VARCHAR,
        Trap.LONG_CHAR,
        Trap.BAD_JSON,
        Trap.BAD_UUID,
        Trap.BAD_BOOLEAN,
        Trap.BAD_TIMESTAMP,
        Trap.BIG_INTEGER,
        Trap.TEXT_INTEGER,
        Trap.NUL_TEXT,
        Trap.INVALID_UTF8,
    }
)

_FRAGMENTS = (
    *("show revenue by region", "why did churn rise?", "SELECT sum(amount) FROM orders;"),
    *("first line\nsecond line", "left\tright", "C:\\temp\\new", "\\N", "\\.", 'it\'s "fine"'),
    *(
        "naïve café",
        "売上を地域別に",
        "доход по регионам",
        "الإيرادات حسب المنطقة",
        "הכנסות לפי אזור",
    ),
    *(
        "🚀 done 👩\u200d👩\u200d👧",
        "e\u0301 and é",
        "carriage\r\nreturn",
        "  spaces  ",
        "a,b;c|d",
        "\x01\x1f\x7f",
    ),
)
_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
_CHUNK = 5_000

Row = tuple[object, ...]


class _Values:
    """The values of one database, drawn in a fixed order from one seed."""

    def __init__(self, seed: int, traps: frozenset[Trap]) -> None:
        self.rng = random.Random(seed)
        self.traps = traps
        self.clock = 0
        self._texts = [
            " ".join(self.rng.choices(_FRAGMENTS, k=self.rng.randint(1, 20))) for _ in range(2000)
        ]
        self._jsons = [
            json.dumps(
                {
                    "text": text,
                    "n": self.rng.randint(-(2**53), 2**53),
                    "score": self.rng.random(),
                    "tags": [None, True, {"nested": []}],
                },
                ensure_ascii=bool(number % 2),
            )
            for number, text in enumerate(self._texts[:500])
        ]

    def uuid(self) -> bytes:
        return self.rng.randbytes(16)

    def uuids(self, count: int) -> list[bytes]:
        return [self.uuid() for _ in range(count)]

    def text(self) -> str:
        return self._texts[int(self.rng.random() * 2000)]

    def json(self) -> str:
        return self._jsons[int(self.rng.random() * 500)]

    def maybe(self, value: object, share: float = 0.5) -> object:
        return value if self.rng.random() < share else None

    def time(self) -> str:
        self.clock += 1
        step = self.clock
        moment = (_EPOCH + timedelta(seconds=step * 61)).isoformat()[:19]
        match step % 8:
            case 0:
                return moment.replace("T", " ")  # CURRENT_TIMESTAMP filled it
            case 1:
                return f"{moment}+00:00"
            case 2:
                return f"{moment}.{step % 1000:03}+00:00"
            case 3:
                return f"{moment}.{step * 7919 % 1_000_000:06}+05:30"
            case 4:
                return f"{moment}.{step * 7919 % 1_000_000:06}-08:00"
            case 5 if Trap.NANOSECONDS in self.traps:
                return f"{moment}.{step * 104_729 % 1_000_000_000:09}+00:00"
            case _:
                return f"{moment}.{step * 104_729 % 1_000_000:06}+00:00"

    def project(self) -> bytes:
        if Trap.ZERO_UUIDS in self.traps and self.rng.random() < 0.5:
            return ZERO_UUID
        return self.uuid()


class _Keys:
    """The keys that rows refer to."""

    def __init__(self, values: _Values, messages: int) -> None:
        self.users = values.uuids(max(3, messages // 500))
        self.threads = values.uuids(max(3, messages // 20))
        self.messages = values.uuids(messages)
        self.runs = values.uuids(max(3, messages // 10))
        self.tasks = values.uuids(max(3, messages // 50))
        self.task_messages = values.uuids(max(6, messages // 25))
        self.workspaces = values.uuids(3)
        self.namespaces = values.uuids(3)
        self.repos = values.uuids(4)
        self.projects = values.uuids(6)


def generate(
    path: str | os.PathLike[str],
    messages: int = 200,
    traps: frozenset[Trap] = frozenset(),
    seed: int = 25,
) -> dict[str, int]:
    """Write a database to ``path``, which must not exist; return each table's row count."""
    if os.path.exists(path):
        raise FileExistsError(path)
    values = _Values(seed, traps)
    keys = _Keys(values, messages)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF;"
        )
        db.executescript(SQLITE_SCHEMA)
        db.execute("BEGIN")
        for table, rows in _tables(values, keys):
            while chunk := list(itertools.islice(rows, _CHUNK)):
                holes = ", ".join("?" * len(chunk[0]))
                db.executemany(f'INSERT INTO "{table}" VALUES ({holes})', chunk)
        for trap in sorted(traps):
            _spring(db, trap, values, keys)
        db.execute("COMMIT")
        return {
            table: db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in TABLES
        }


def record_migrations(conn: psycopg.Connection[Any]) -> None:
    """Write into PostgreSQL what the application's own migrations leave there."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO seaql_migrations VALUES (%s, %s)",
            [(version, 1_760_000_000) for version in MIGRATIONS],
        )


def _tables(values: _Values, keys: _Keys) -> Iterator[tuple[str, Iterator[Row]]]:
    text, time, uuid, maybe = values.text, values.time, values.uuid, values.maybe
    users, threads = keys.users, keys.threads

    yield (
        "seaql_migrations",
        ((version, 1_735_689_600 + n * 86_400) for n, version in enumerate(MIGRATIONS)),
    )
    yield (
        "users",
        (
            (
                key,
                f"user{n}@example.com",
                text(),
                maybe(f"https://example.com/{n}.png"),
                time(),
                time(),
                maybe("$argon2id$v=19$m=19456"),
                n % 2,
                maybe(f"{n:032x}", 0.2),
                "owner" if n == 0 else "member",
                "active" if n % 5 else "deleted",
            )
            for n, key in enumerate(users)
        ),
    )
    yield "workspaces", ((key, text(), time(), time()) for key in keys.workspaces)
    yield (
        "git_namespaces",
        (
            (key, 2**40 + n, text(), "User", "github", f"org-{n}", users[n % len(users)], "token")
            for n, key in enumerate(keys.namespaces)
        ),
    )
    yield "tasks", ((uuid(), text(), text(), text(), f"tasks/{n}.yml", time()) for n in range(5))
    yield (
        "settings",
        (
            (n, text(), maybe(2**33 + n), n % 2, maybe(f"{n:040x}"), "synced", time(), time())
            for n in range(1, 4)
        ),
    )
    yield (
        "workspace_users",
        (
            (uuid(), keys.workspaces[n % 3], users[n % len(users)], "member", time(), time())
            for n in range(6)
        ),
    )
    yield (
        "project_repos",
        (
            (key, f"owner/repo-{n}", keys.namespaces[n % 3], time(), time())
            for n, key in enumerate(keys.repos)
        ),
    )
    yield (
        "projects",
        (
            (
                key,
                text(),
                keys.workspaces[n % 3],
                time(),
                time(),
                values.project(),
                maybe(keys.repos[n % 4]),
            )
            for n, key in enumerate(keys.projects)
        ),
    )
    yield (
        "branches",
        (
            (uuid(), keys.projects[n % 6], f"feature/{n}-ü", f"{n:040x}", "synced", time(), time())
            for n in range(8)
        ),
    )
    yield (
        "threads",
        (
            (
                key,
                text(),
                text(),
                text(),
                "agents/default.agent.yml",
                time(),
                json.dumps([{"type": "sql", "query": text()}]),
                "agent" if n % 3 else "",
                maybe(users[n % len(users)], 0.8),
                int(n % 50 == 0),
                values.project(),
                json.dumps({"kind": "v0", "preview_url": f"https://example.com/{n}"})
                if Trap.SANDBOX_INFO in values.traps and n % 2 == 0
                else None,
            )
            for n, key in enumerate(threads)
        ),
    )
    yield (
        "secrets",
        (
            (
                uuid(),
                f"SECRET_{n}",
                text(),
                maybe(text()),
                time(),
                time(),
                users[n % len(users)],
                n % 2,
                values.project(),
            )
            for n in range(5)
        ),
    )
    yield (
        "api_keys",
        (
            (
                uuid(),
                users[n % len(users)],
                f"{n:064x}",
                text(),
                maybe(time()),
                maybe(time()),
                time(),
                time(),
                n % 2,
                values.project(),
            )
            for n in range(5)
        ),
    )
    yield (
        "messages",
        (
            (
                key,
                text(),
                n & 1,
                threads[n * 31 % len(threads)],
                time(),
                n * 7 % 4001,
                n * 13 % 8009,
            )
            for n, key in enumerate(keys.messages)
        ),
    )
    yield (
        "artifacts",
        (
            (
                uuid(),
                values.json(),
                "execute_sql",
                keys.messages[n * 7 % len(keys.messages)],
                threads[n % len(threads)],
                time(),
            )
            for n in range(max(3, len(keys.messages) // 10))
        ),
    )
    yield (
        "logs",
        (
            (
                uuid(),
                users[n % len(users)],
                text(),
                threads[n % len(threads)],
                values.json(),
                time(),
                time(),
            )
            for n in range(max(3, len(keys.messages) // 20))
        ),
    )
    yield (
        "runs",
        (
            (
                key,
                f"workflows/{n // 10}.workflow.yml",
                n % 10 if n % 10 != 9 else None,
                maybe(f"workflows/{n // 10}.workflow.yml"),
                maybe(n % 10),
                maybe(f"tasks.{n}"),
                maybe(values.json()),
                maybe(values.json()),
                maybe(values.json()),
                maybe(values.json()),
                maybe(values.json()),
                maybe(text(), 0.1),
                ZERO_UUID if Trap.ZERO_UUIDS in values.traps else keys.projects[0],
                keys.projects[1],
                maybe(keys.messages[n * 3 % len(keys.messages)]),
                time(),
                time(),
                maybe(users[n % len(users)], 0.8),
            )
            for n, key in enumerate(keys.runs)
        ),
    )
    yield (
        "checkpoints",
        (
            (
                uuid(),
                keys.runs[n % len(keys.runs)],
                f"replay-{n}",
                f"{n:064x}",
                maybe(values.json()),
                maybe(values.json()),
                maybe(values.json()),
                maybe(values.json()),
                time(),
                time(),
            )
            for n in range(max(3, len(keys.messages) // 20))
        ),
    )
    yield (
        "a2a_tasks",
        (
            (
                key,
                f"agent-{n % 3}",
                maybe(threads[n % len(threads)]),
                maybe(keys.runs[n % len(keys.runs)]),
                maybe(f"context-{n}"),
                "completed",
                values.json(),
                time(),
                time(),
            )
            for n, key in enumerate(keys.tasks)
        ),
    )
    yield (
        "a2a_messages",
        (
            (
                key,
                maybe(keys.tasks[n % len(keys.tasks)], 0.9),
                maybe(f"context-{n}"),
                f"agent-{n % 3}",
                "user" if n % 2 else "agent",
                n,
                values.json(),
                maybe(values.json()),
                time(),
            )
            for n, key in enumerate(keys.task_messages)
        ),
    )
    yield (
        "a2a_task_status",
        (
            (
                uuid(),
                key,
                f"agent-{n % 3}",
                "working",
                maybe(keys.task_messages[n % len(keys.task_messages)]),
                maybe(values.json()),
                time(),
            )
            for n, key in enumerate(keys.tasks)
        ),
    )
    yield (
        "a2a_artifacts",
        (
            (
                uuid(),
                key,
                f"agent-{n % 3}",
                n,
                maybe(text()),
                values.json(),
                maybe(f"s3://bucket/{n}"),
                maybe(2**34 + n),
                maybe(values.json()),
                time(),
            )
            for n, key in enumerate(keys.tasks)
        ),
    )
    yield (
        "slack_channel_bindings",
        (
            (uuid(), "T0001", f"C{n:04}", keys.projects[n % 6], "default", f"U{n:04}", time())
            for n in range(4)
        ),
    )
    yield (
        "slack_user_identities",
        ((uuid(), "T0001", f"U{n:04}", key, time(), time()) for n, key in enumerate(users)),
    )
    yield (
        "slack_conversation_contexts",
        (
            (
                uuid(),
                "T0001",
                f"C{n % 4:04}",
                f"{1_700_000_000 + n}.000100",
                key,
                maybe(f"{1_700_000_000 + n}.000200"),
                time(),
                time(),
            )
            for n, key in enumerate(threads[:50])
        ),
    )


def _text_uuid(key: bytes, form: int) -> str:
    digits = key.hex()
    dashed = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return (dashed, digits, "{" + dashed + "}", dashed.upper())[form % 4]


def _spring(db: sqlite3.Connection, trap: Trap, values: _Values, keys: _Keys) -> None:  # noqa: C901, PLR0912, PLR0915  # one arm for each trap
    """Add the rows, or change them, so that the trap is there at least twice where it can be."""

    def message(**changed: object) -> None:
        row: dict[str, object] = {
            "id": values.uuid(),
            "content": "trap",
            "is_human": 1,
            "thread_id": keys.threads[0],
            "created_at": values.time(),
            **changed,
        }
        names = ", ".join(row)
        holes = ", ".join("?" * len(row))
        db.execute(f"INSERT INTO messages ({names}) VALUES ({holes})", tuple(row.values()))

    match trap:
        case Trap.ZERO_UUIDS | Trap.NANOSECONDS | Trap.SANDBOX_INFO:
            pass  # among the ordinary rows
        case Trap.SETTINGS_SEQUENCE:
            db.execute(
                "INSERT INTO settings (id, github_token, sync_status) VALUES (41, 't', 'idle')"
            )
            db.execute("DELETE FROM settings WHERE id = 41")
        case Trap.JSON_NUL:
            for table, column in (("artifacts", "content"), ("logs", "log"), ("runs", "metadata")):
                db.execute(
                    f"UPDATE {table} SET {column} = ? WHERE rowid <= 2",
                    (r'{"text": "before\u0000after"}',),
                )
        case Trap.LONG_MESSAGES:
            for unit in ("x", "é🚀\\\t\n"):
                message(content=unit * (1_000_000 // len(unit.encode())))
        case Trap.TEXT_UUIDS:
            for form in range(4):
                message(
                    id=_text_uuid(values.uuid(), form),
                    thread_id=_text_uuid(keys.threads[form % 3], form),
                )
        case Trap.SHORT_CHAR:
            db.execute("UPDATE branches SET revision = 'abc123' WHERE rowid = 1")
            db.execute("UPDATE branches SET revision = '' WHERE rowid = 2")
        case Trap.LOST_LOOKUPS:
            db.execute("UPDATE runs SET lookup_id = randomblob(16) WHERE rowid <= 2")
        case Trap.DUPLICATE_RUNS:
            for number in (1, 2):
                db.execute(
                    """
                    INSERT INTO runs (id, source_id, run_index, project_id, branch_id)
                    SELECT ?, source_id, run_index, project_id, branch_id
                    FROM runs WHERE rowid = ?
                    """,
                    (values.uuid(), number),
                )
        case Trap.ORPHAN_MESSAGES:
            message(thread_id=values.uuid())
            message(thread_id=values.uuid())
        case Trap.ORPHAN_THREADS:
            for number in (1, 2):
                db.execute(
                    "UPDATE threads SET user_id = ? WHERE rowid = ?", (values.uuid(), number)
                )
        case Trap.STALE_RUN_IDS:
            for number in (1, 2):
                db.execute(
                    "UPDATE a2a_tasks SET run_id = ? WHERE rowid = ?", (values.uuid(), number)
                )
        case Trap.LONG_VARCHAR:
            db.execute("UPDATE settings SET sync_status = ? WHERE id = 1", ("ü" * 21,))
            db.execute("UPDATE branches SET name = ? WHERE rowid = 1", ("n" * 256,))
        case Trap.LONG_CHAR:
            db.execute("UPDATE branches SET revision = ? WHERE rowid = 1", ("f" * 41,))
        case Trap.BAD_JSON:
            db.execute("UPDATE artifacts SET content = '{''single'': 1}' WHERE rowid = 1")
            db.execute("UPDATE artifacts SET content = '' WHERE rowid = 2")
        case Trap.BAD_UUID:
            message(id=b"fifteen bytes..")
            message(id="not-a-uuid")
        case Trap.BAD_BOOLEAN:
            message(is_human=2)
            message(is_human="maybe")
        case Trap.BAD_TIMESTAMP:
            message(created_at="")
            message(created_at="yesterday-ish")
        case Trap.BIG_INTEGER:
            message(input_tokens=2**31)
            message(output_tokens=-(2**31) - 1)
        case Trap.TEXT_INTEGER:
            message(input_tokens="n/a")
        case Trap.NUL_TEXT:
            message(content="before\x00after")
        case Trap.INVALID_UTF8:
            message()
            db.execute(
                "UPDATE messages SET content = CAST(x'61ff62' AS TEXT) "
                "WHERE rowid = last_insert_rowid()"
            )
        case Trap.LEFTOVER_COLUMN:
            db.execute("ALTER TABLE tasks ADD COLUMN forgotten text")
            db.execute("UPDATE tasks SET forgotten = 'worth keeping' WHERE rowid = 1")
        case Trap.LEFTOVER_TABLE:
            db.execute("CREATE TABLE old_notes (id integer PRIMARY KEY, note text)")
            db.execute("INSERT INTO old_notes (note) VALUES ('worth keeping')")
        case Trap.OLD_MIGRATIONS:
            for version in MIGRATIONS[-5:]:
                db.execute("DELETE FROM seaql_migrations WHERE version = ?", (version,))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an Oxy SQLite database.")
    parser.add_argument("path")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=25)
    parser.add_argument("--trap", action="append", default=[], type=Trap, choices=list(Trap))
    arguments = parser.parse_args()
    generate(arguments.path, arguments.messages, frozenset(arguments.trap), arguments.seed)


if __name__ == "__main__":
    main()
