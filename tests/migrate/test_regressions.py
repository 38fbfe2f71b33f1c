"""Databases that were moved wrongly once: each stays right from now on."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from oxy_pg.errors import BadValues
from oxy_pg.migrate.migration import migrate
from tests.migrate.test_properties import check_migration


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("", [None, 0.0]),
        ("", [None, b""]),
        ("double", [None, 1.5]),
        ("uuid_text", [None, bytes(16)]),
        ("bytea", [None, b"\x00"]),
    ],
)
def test_null_stays_null(lite, pg_url, declared, values):
    """
    hex(NULL) is an empty text in SQLite: it must not become an empty value.
    """
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    fill(path, values)

    check_migration(path, pg_url)


def test_fractions_of_a_time_of_day_are_verified(lite, pg_url):
    """
    12:00:00.5 and 12:00:00.500000 are one time.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v time)")
    fill(path, ["00:00:00.5", "12:34:56.123", "23:59:59.9999996"])

    check_migration(path, pg_url)


def test_foreign_key_to_a_key_that_stays_behind(lite, pg_url):
    """
    json has no equality, so the key stays behind, and the foreign key with it.
    """
    path = lite(
        """
        CREATE TABLE t (
          id json_text NOT NULL PRIMARY KEY, parent json_text,
          FOREIGN KEY (parent) REFERENCES t (id)
        );
        INSERT INTO t VALUES ('{"a": 1}', NULL);
        """
    )

    report = migrate(path, pg_url, verify="full")

    assert {"primary key", "foreign key"} <= {skipped.kind for skipped in report.skipped}


def test_unique_over_text_and_json_stays_behind(lite, pg_url):
    """
    What PostgreSQL cannot index is reported, not raised.
    """
    path = lite(
        """
        CREATE TABLE t (name TEXT COLLATE NOCASE, data json_text, UNIQUE (name, data));
        INSERT INTO t VALUES ('a', '{}');
        """
    )

    check_migration(path, pg_url)


def test_primary_key_that_holds_null(lite, pg_url):
    """
    SQLite takes NULL in a key that is no rowid: it arrives, and the key is UNIQUE.
    """
    path = lite(
        """
        CREATE TABLE t (a TEXT, b INT, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('x', 1), ('x', NULL);
        """
    )

    check_migration(path, pg_url)


def test_verification_reads_both_sides_in_one_order(lite, pg_url):
    """
    An index with another collation over the key does not change the order of rows.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v "my own type");
        CREATE INDEX i ON t (id COLLATE NOCASE) WHERE id > 5;
        INSERT INTO t VALUES (-43014985, -2.1e16), (5, NULL), (1, 'x'), (52, 0), (100, 1), (9, 2);
        """
    )

    check_migration(path, pg_url)


def test_every_bad_value_is_named_at_once(lite, pg_url):
    """
    Malformed JSON is listed beside the bad number: one run shows all there is to correct.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, j JSON);
        INSERT INTO t VALUES (1, 'n/a', '{}'), (2, 2, 'LPT1'), (3, 3, '{}');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert {("t", "n"), ("t", "j")} == {(bad.table, bad.column) for bad in caught.value.values}


def test_one_bad_text_does_not_condemn_the_numbers_beside_it(lite, pg_url):
    """
    Seconds since 1970, and one empty text: the text is bad, the seconds are not.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp);
        INSERT INTO t VALUES (1, 1700000000), (2, 1700000001), (3, '');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["''"] == [bad.value for bad in caught.value.values]


def fill(path, values) -> None:
    """Add rows to ``t``, whose key numbers itself."""

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
