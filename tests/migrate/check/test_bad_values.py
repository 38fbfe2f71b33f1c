"""Values that do not fit: named, emptied or skipped."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime

import pytest

from oxy_pg.errors import (
    BadValues,
)
from oxy_pg.migrate.migration import migrate


def test_bad_values_are_emptied_when_asked(move, pg):
    """
    Field note 7: NULL when asked, and counted.
    """
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, v datetime)"
    rows = {"t": [(1, "2024-05-01 10:00:00"), (2, ""), (3, 0)]}
    report = move(script, rows, on_bad_value="null")
    assert [(1, datetime(2024, 5, 1, 10, tzinfo=UTC)), (2, None), (3, None)] == pg(
        "SELECT * FROM t"
    )
    assert 2 == sum(change.count for change in report.changes)


def test_bad_rows_are_skipped_when_asked(move, pg):
    """
    Field note 7: skip leaves out the row, and counts it.
    """
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, v integer)"
    report = move(script, {"t": [(1, 5), (2, "x"), (3, 6)]}, on_bad_value="skip")
    assert [(1, 5), (3, 6)] == pg("SELECT * FROM t")
    assert (3, 2, 1) == (
        report.tables[0].rows_read,
        report.tables[0].rows_written,
        report.tables[0].rows_skipped,
    )


def test_every_bad_value_is_named(move):
    """
    Field note 10: text in an integer column, all of it.
    """
    with pytest.raises(BadValues) as caught:
        move("CREATE TABLE t (n integer)", {"t": [(1,), *((f"x{i}",) for i in range(50))]})
    assert 50 == caught.value.total == len(caught.value.values)
    assert "'x49'" in str(caught.value.values[49])
    assert "Failed to insert t into PostgreSQL" in str(caught.value)


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


def test_lone_surrogates_are_named(lite, pg_url):
    """
    Between UTF-16 and UTF-8, SQLite makes some other letter of them.
    """
    path = lite("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO t (v) VALUES ('🚀'), (CAST(x'00d84100' AS TEXT)), ('ü')")

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["id 2"] == [bad.row for bad in caught.value.values]
    migrate(path, pg_url, on_bad_value="skip", verify="full")


def test_broken_text_in_a_key_stays_behind_when_asked(lite, pg_url, pg):
    """
    The row is found again by a key that cannot be decoded.
    """
    path = lite("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT), 'a'), ('k', 'b')")

    migrate(path, pg_url, on_bad_value="skip", verify="full")

    assert [("k", "b")] == pg("SELECT * FROM t")


def test_row_without_a_name_stays_behind_when_asked(lite, pg_url, pg):
    """
    Where columns have taken all names of the rowid, all columns name the row, NULLs included.
    """
    path = lite(
        "CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ INTEGER)",
        {"t": [(None, "a", "x"), (None, "b", 1)]},
    )

    migrate(path, pg_url, on_bad_value="skip", verify="full")

    assert [(None, "b", 1)] == pg("SELECT * FROM t")


@pytest.mark.parametrize(
    ("pg_type", "good", "bad"),
    [("inet", "::1", "abc"), ("integer[]", "{1}", "{x}"), ("jsonb", "1", '"\\ud800"')],
)
def test_what_postgres_alone_can_judge_is_emptied_when_asked(move, pg, pg_type, good, bad):
    """
    Python has no objection; PostgreSQL has.
    """
    pg(f"CREATE TABLE t (id int, v {pg_type})")

    report = move(
        "CREATE TABLE t (id INTEGER, v TEXT)",
        {"t": [(1, bad), (2, good), (3, bad)]},
        on_bad_value="null",
    )

    assert [(1, True), (2, False), (3, True)] == pg("SELECT id, v IS NULL FROM t ORDER BY id")
    assert [("v", 2)] == [(change.column, change.count) for change in report.changes]
