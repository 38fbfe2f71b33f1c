"""Duplicate keys, also where SQLite spells one key in several ways."""

from __future__ import annotations

import contextlib
import random
import sqlite3

import pytest

from oxy_pg.errors import (
    BadValues,
    OrphanRows,
)
from oxy_pg.migrate.migration import migrate


def test_duplicates_for_a_unique_index_of_the_target_are_listed(move, pg):
    """
    Field note 22: a partial unique index that SQLite lacks is checked before the write.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY, k text, n int)")
    pg("CREATE UNIQUE INDEX u ON t (k, n) WHERE n IS NOT NULL")
    rows = {"t": [(1, "a", 1), (2, "a", 1), (3, "a", None), (4, "a", None)]}
    with pytest.raises(BadValues, match=r"id 2: 'a', 1: the unique index u has this key already"):
        move("CREATE TABLE t (id INTEGER PRIMARY KEY, k text, n integer)", rows)


def test_null_in_a_primary_key_is_named(move, pg):
    """
    Field note 22: SQLite lets NULL into a TEXT PRIMARY KEY; an existing one in PostgreSQL does not.
    """
    pg("CREATE TABLE t (id text PRIMARY KEY, v int)")
    with pytest.raises(BadValues, match=r"t\.id, rowid 1: NULL: the column is NOT NULL"):
        move("CREATE TABLE t (id TEXT PRIMARY KEY, v INT)", {"t": [(None, 1)]})


def test_keys_that_are_equal_as_numbers_alone_are_named(lite, pg_url):
    """
    1.0 and 1 are one key in SQLite, and among texts two: the row is named before anything moves.
    """
    path = lite(
        """
        CREATE TABLE p (id ANY PRIMARY KEY) STRICT;
        CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id));
        INSERT INTO p VALUES (1.0), ('x'); INSERT INTO c VALUES (1, 'x'), (2, 1);
        """
    )

    with pytest.raises(OrphanRows) as caught:
        migrate(path, pg_url)

    assert [("id 2",)] == [orphans.rows for orphans in caught.value.orphans]


LONG = random.Random(1).randbytes(4000).hex()  # 8,000 bytes that hardly get shorter
SAME = {
    "datetime": ("2024-01-01 00:00:00", "2024-01-01T01:00:00+01:00", "2024-01-01 00:00:00.0000001"),
    "timestamp": (1_704_067_200_000_001, 1_704_067_200_000_001.25),
    "uuid": ("0000000A-0000-0000-0000-000000000000", "0000000a" + "0" * 24),
    "decimal_text": ("1.00000000000000000001", "1.000000000000000000010"),
    "jsonb": ('{"a": 1}', '{"a":1.0}'),
    "boolean": (1, "true"),
}


@pytest.mark.parametrize("declared", SAME)
@pytest.mark.parametrize("key", ["PRIMARY KEY", "UNIQUE"])
def test_one_key_in_two_spellings_is_named(lite, pg_url, pg, declared, key):
    """
    Two keys for SQLite, one for PostgreSQL: the later row is named, or stays behind when asked.
    """
    values = SAME[declared]
    path = lite(f"CREATE TABLE t (v {declared} NOT NULL {key})")
    fill(path, values)

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    again = range(2, len(values) + 1)
    assert [("v", f"rowid {n}") for n in again] == [
        (bad.column, bad.row) for bad in caught.value.values
    ]
    assert all("has this key already" in bad.reason for bad in caught.value.values)
    assert len(again) == len(migrate(path, pg_url, dry_run=True).problems)
    report = migrate(path, pg_url, on_bad_value="skip", verify="full")
    assert (len(again), [(1,)]) == (report.tables[0].rows_skipped, pg("SELECT count(*) FROM t"))


@pytest.mark.parametrize(
    ("declared", "predicate", "values"),
    [
        ("time", "v > 5", ("12:00:00", "12:00")),
        ("uuid_text", "v <> ''", SAME["uuid"]),
        ("datetime", "v GLOB '2*'", SAME["datetime"]),
        ("jsonb", "v LIKE '{%'", SAME["jsonb"]),
        ("TEXT", "v > 5", ("a" + LONG, "b" + LONG)),
    ],
)
def test_keys_of_an_index_that_postgresql_refuses_are_not_in_the_way(
    lite, pg_url, pg, declared, predicate, values
):
    """
    It stays behind, for a condition on another type: two spellings, or a long value, matter to it
    no more; a value that does not fit is the only problem where there is one.
    """
    path = lite(
        f"CREATE TABLE t (v {declared}, n INTEGER); CREATE UNIQUE INDEX i ON t (v) "
        f"WHERE {predicate}"
    )
    fill(path, values)

    assert () == migrate(path, pg_url, dry_run=True).problems
    for options in ({"rehearse": True}, {"on_bad_value": "skip"}):
        report = migrate(path, pg_url, **options)
        assert (["i"], len(values)) == ([one.name for one in report.skipped], report.rows)
    pg("DROP TABLE t")
    with contextlib.closing(sqlite3.connect(path)) as source, source:
        source.execute("INSERT INTO t VALUES (NULL, 'x')")
    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url, casts={"t.n": "bigint"})
    assert ["n"] == [bad.column for bad in caught.value.values]


def test_unique_index_on_a_part_of_the_rows_is_checked(lite, pg_url):
    """
    Only rows that the predicate holds for are there twice; case counts where it did.
    """
    path = lite(
        """
        CREATE TABLE t (name TEXT COLLATE NOCASE, at datetime, gone INTEGER);
        CREATE UNIQUE INDEX i ON t (name, at) WHERE gone = 0;
        INSERT INTO t VALUES ('a', '2024-01-01', 0), ('A', '2024-01-01 00:00', 1),
          ('A', '2024-01-01T00:00', 0), ('b', '2024-01-01', 0);
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [("name, at", "rowid 3")] == [(bad.column, bad.row) for bad in caught.value.values]


def fill(path, values) -> None:
    """Add rows to ``t``, whose key numbers itself."""

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
