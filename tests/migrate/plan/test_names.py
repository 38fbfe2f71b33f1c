"""Names that PostgreSQL cannot hold, or has already."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from oxy_pg.errors import (
    TargetNotEmpty,
)
from oxy_pg.migrate.migration import migrate
from tests.migrate.test_properties import check_migration


def test_long_names_are_shortened_in_the_plan(move, pg):
    """
    Field note 21: names beyond 63 bytes that collide when cut.
    """
    long = "ä" * 40
    report = move(
        f'CREATE TABLE "{long}1" ("{long}a" text, "{long}b" text); CREATE TABLE "{long}2" (v)',
        {f"{long}1": [("1", "2")]},
    )
    names = {t.target for t in report.tables}
    assert 2 == len(names)
    assert all(len(name.encode()) <= 63 for name in names)
    assert any("is called" in warning for warning in report.warnings)


def test_shortened_names_are_found_again(lite, pg_url, pg):
    """
    A second run knows the table and the column whose names PostgreSQL could not hold.
    """
    long = "n" * 70
    path = lite(
        f"CREATE TABLE {long} (id INTEGER PRIMARY KEY, {long} TEXT, {long}2 TEXT, ctid INT)"
    )
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"INSERT INTO {long} VALUES (1, 'a', 'b', 2)")
    migrate(path, pg_url, verify="full")

    with pytest.raises(TargetNotEmpty):
        migrate(path, pg_url)
    migrate(path, pg_url, if_not_empty="truncate", verify="full")

    assert [(1, "a", "b", 2)] == pg(f'SELECT * FROM "{long[:63]}"')


@pytest.mark.parametrize("name", ["", "x" * 63, "user_id_seq"])
def test_empty_and_long_names_get_another(lite, pg_url, name):
    """
    SQLite knows a table and a column whose names are empty; PostgreSQL knows none such.
    """
    path = lite(f'CREATE TABLE "{name}" ("{name}" INTEGER PRIMARY KEY, v)', {name: [(1, "a")]})

    check_migration(path, pg_url)


def test_names_that_differ_in_more_than_ascii_case(lite, pg_url, pg):
    """
    "ü" and "Ü" are two columns in SQLite, which folds the letters A to Z alone.
    """
    path = lite(
        'CREATE TABLE t ("ü" TEXT, "Ü" INTEGER NOT NULL UNIQUE CHECK ("Ü" > 1), "É" AS ("Ü"))',
    )
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO t VALUES ('a', 2)")

    check_migration(path, pg_url)

    assert [("a", 2, 2)] == pg("SELECT * FROM t")


def test_table_that_is_called_like_a_sequence(lite, pg_url, pg):
    """
    PostgreSQL would call the sequence behind user.id just like the other table, or its index.
    """
    path = lite(
        """
        CREATE TABLE user (id INTEGER PRIMARY KEY, n INTEGER);
        CREATE TABLE user_id_seq (id INTEGER PRIMARY KEY);
        CREATE INDEX user_id_seq_id_seq ON user (n);
        INSERT INTO user VALUES (3, 4); INSERT INTO user_id_seq VALUES (5);
        """
    )

    check_migration(path, pg_url)

    assert [(5,)] == pg('INSERT INTO "user" (n) VALUES (1) RETURNING id')
