"""SQLite files: WAL, encodings, and what is not damage."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path

from oxy_pg.migrate.migration import migrate
from oxy_pg.migrate.source import database


def test_rows_of_the_wal_file_come_along(lite, pg_url, pg):
    """
    Field note 19: the source is opened in place, with its -wal.
    """
    path = lite("CREATE TABLE t (v text)")
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("INSERT INTO t VALUES ('only in the wal')")
    writer.commit()
    before = hashlib.sha256(Path(path).read_bytes()).digest()
    migrate(path, pg_url)
    assert [("only in the wal",)] == pg("SELECT v FROM t")
    assert before == hashlib.sha256(Path(path).read_bytes()).digest()
    writer.close()


def test_utf16_databases(move, pg):
    """
    Field note 28: UTF-16 databases.
    """
    move(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (v text, n real)",
        {"t": [("šž日本😀\t\n\\", 1.5)]},
    )
    assert [("šž日本😀\t\n\\", 1.5)] == pg("SELECT * FROM t")


def test_sound_file_is_not_called_damaged(lite):
    """
    The check is made by a connection that may be reading text as bytes.
    """
    path = lite("CREATE TABLE t (a)")

    for kind in (bytearray, bytes, str):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.text_factory = kind
            database.check(db, path)


def test_sound_key_of_a_table_without_rowid_is_not_called_damaged(lite, pg_url):
    """
    SQLite 3.40 itself says "NULL value in t.b" here when it is asked to check.
    """
    path = lite(
        """
        CREATE TABLE t (b TEXT, a TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE u (b datetime, a json, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE v (a bool, n numeric NOT NULL, b BLOB, PRIMARY KEY (b, a)) WITHOUT ROWID;
        CREATE INDEX i ON v (n) WHERE n = 1;
        INSERT INTO t VALUES ('x', 'y'); INSERT INTO u VALUES ('2024-01-01', '{}');
        INSERT INTO v VALUES (1, 2, x'01');
        """
    )

    assert () == migrate(path, pg_url, dry_run=True).problems


def test_values_that_break_a_promise_of_sqlite_are_no_damage(lite, pg_url, pg):
    """
    A CHECK that was added behind SQLite's back: every page is sound, and the rows are moved.
    """
    path = lite("CREATE TABLE t (n INTEGER CHECK (n > 0)); INSERT INTO t VALUES (1);")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("INSERT INTO t VALUES (-1)")

    assert () == migrate(path, pg_url, dry_run=True).problems
    report = migrate(path, pg_url, verify="full")

    assert ["check"] == [skipped.kind for skipped in report.skipped]
    assert [(1,), (-1,)] == pg("SELECT n FROM t")
