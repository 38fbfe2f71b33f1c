"""Databases that were moved wrongly once: each stays right from now on."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from oxy_pg.errors import BadValues, OrphanRows, TargetNotEmpty
from oxy_pg.migrate import source
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


def test_index_that_covers_the_columns_changes_no_order(lite, pg_url):
    """
    SQLite may read a table by its index in one query, and by its rows in another.
    """
    path = lite(
        """
        CREATE TABLE t (id point NOT NULL PRIMARY KEY, g point AS (id) VIRTUAL);
        INSERT INTO t (id) VALUES (8), (5), (0);
        CREATE TABLE w (id TEXT PRIMARY KEY, n INT UNIQUE) WITHOUT ROWID;
        INSERT INTO w VALUES ('a', 3), ('b', 2), ('c', 1);
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


@pytest.mark.parametrize("text", ["", "junk", "0000-00-00", "2023-02-31 00:00:00"])
def test_texts_that_are_no_times_do_not_condemn_a_number(lite, pg_url, text):
    """
    As many texts as numbers, and none of them is a time: the number still counts seconds.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp)",
        {"t": [(1, 1700000000), (2, text), (3, text)]},
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [repr(text)] * 2 == [bad.value for bad in caught.value.values]


def test_zero_dates_are_named_beside_other_bad_values(lite, pg_url):
    """
    0000-00-00 has the form of a date: it is listed in the first run all the same.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, d DATE);
        INSERT INTO t VALUES (1, 'n/a', '2024-02-29'), (2, 2, '0000-00-00'), (3, 3, '2023-02-30');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [("n", "id 1"), ("d", "id 2"), ("d", "id 3")] == [
        (bad.column, bad.row) for bad in caught.value.values
    ]


def test_generated_values_that_overflow_come_along(lite, pg_url, pg):
    """
    Infinite in SQLite, an error in PostgreSQL: the value is moved, the expression reported.
    """
    path = lite(
        """
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, n real, twice real GENERATED ALWAYS AS (n * 2) STORED
        );
        INSERT INTO t (n) VALUES (1.5), (1.79e308);
        """
    )

    report = migrate(path, pg_url, verify="full")

    assert [(3.0,), (float("inf"),)] == pg("SELECT twice FROM t ORDER BY id")
    assert ["generated column"] == [skipped.kind for skipped in report.skipped]


@pytest.mark.parametrize("declared", ["BLOB", "datetime", "decimal", "decimal(10,2)", "uuid", ""])
def test_orphans_beside_unfit_values_follow_the_policy(lite, pg_url, declared):
    """
    Keys that are spelled in several ways are compared too, before the write.
    """
    path = lite(
        f"""
        CREATE TABLE t (
          id {declared} NOT NULL PRIMARY KEY, v, parent_id {declared} REFERENCES t (id)
        );
        INSERT INTO t VALUES (0, NULL, 0), (x'', 0, x'00'), (1000000001.0, 1, 1000000000.0),
          (1.5, 2, '1.50'), ('x', NULL, NULL), (2, 3, 2.0);
        """
    )

    report = migrate(path, pg_url, on_bad_value="skip", on_orphan="skip", verify="full")

    (table,) = report.tables
    assert table.rows_read == table.rows_written + table.rows_skipped
    assert table.rows_skipped


def test_orphans_in_decimal_columns_are_named(lite, pg_url):
    """
    1 and 1.00 are one key; 2.5 refers to nothing, and its row is named.
    """
    path = lite(
        """
        CREATE TABLE p (id decimal NOT NULL PRIMARY KEY);
        CREATE TABLE c (id INTEGER PRIMARY KEY, p decimal REFERENCES p (id));
        INSERT INTO p VALUES (1), (0.1);
        INSERT INTO c VALUES (1, 1.0), (2, '0.10'), (3, 2.5), (4, NULL);
        """
    )

    with pytest.raises(OrphanRows) as caught:
        migrate(path, pg_url)
    assert [("id 3",)] == [orphans.rows for orphans in caught.value.orphans]

    report = migrate(path, pg_url, on_orphan="null", verify="full")
    assert [("c", "p", 1)] == [(c.table, c.column, c.count) for c in report.changes]


def test_orphans_among_documents_are_named(lite, pg_url):
    """
    jsonb compares documents by what they mean.
    """
    path = lite(
        """
        CREATE TABLE t (id JSONB NOT NULL PRIMARY KEY, parent JSONB REFERENCES t (id));
        INSERT INTO t VALUES ('{"a": 1.0, "b": [{}, []]}', NULL),
          ('1', '{"b": [{}, []], "a": 0, "a": 1}'), ('2', '{"a": 1}'), ('"1"', '1.00'), ('3', 7);
        """
    )

    with pytest.raises(OrphanRows) as caught:
        migrate(path, pg_url)

    assert [("rowid 3", "rowid 5")] == [orphans.rows for orphans in caught.value.orphans]


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


def test_nanoseconds_are_rounded_exactly(lite, pg_url):
    """
    …782528 ns are nearer to 783 µs; as a double it would be a half, and 782.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at datetime)", {"t": [(1, 368760672738782528)]}
    )

    check_migration(path, pg_url)


def test_sound_file_is_not_called_damaged(lite):
    """
    The check is made by a connection that may be reading text as bytes.
    """
    path = lite("CREATE TABLE t (a)")

    for kind in (bytearray, bytes, str):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.text_factory = kind
            source.check(db, path)


def fill(path, values) -> None:
    """Add rows to ``t``, whose key numbers itself."""

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
