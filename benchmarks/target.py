"""
The benchmark database in PostgreSQL: its schema, its rows as files for COPY, the expected counts.

The files are written in advance, so that the limit measures PostgreSQL's own work only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

    from benchmarks.source import Counts

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


def write_files(source: str, home: str) -> None:
    """Write each table as COPY reads it: as text into TABLE below ``home``."""
    escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
    with contextlib.closing(sqlite3.connect(source)) as db:
        for table, columns in SPELLED.items():
            uuids = [number for number, c in enumerate(columns.split(", ")) if "hex(" in c]
            with open(os.path.join(home, table), "w", encoding="utf-8", newline="\n") as file:
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


def write_binary_files(connection: psycopg.Connection, home: str) -> None:
    """Write each table as COPY (FORMAT binary) reads it, into TABLE.binary next to the text."""
    connection.execute(BARE)
    for table in TABLES:
        path, name = os.path.join(home, table), sql.Identifier(table)
        connection.execute(sql.SQL("COPY {} FROM {}").format(name, sql.Literal(path)))
        statement = "COPY {} TO {} (FORMAT binary)"
        connection.execute(sql.SQL(statement).format(name, sql.Literal(f"{path}.binary")))
    connection.rollback()


def missing(connection: psycopg.Connection, counts: Counts) -> str:
    """Say which rows are missing, or "": a contender that copied half of them is not fast."""
    for table, count in zip(TABLES, counts, strict=True):
        statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        row = connection.execute(statement).fetchone()
        if row != (count,):
            return f"{table}: {row} of {count} rows arrived"
    return ""


def lost(connection: psycopg.Connection) -> str:
    """Say what of the schema has not arrived; "" if all has."""
    names = [
        name for name, query in _FACTS.items() if connection.execute(query).fetchone() == (False,)
    ]
    return "lost: " + ", ".join(names) if names else ""


_FACTS = {
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
