"""The comparer that other tests trust: what it must call equal, and what it must not."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from psycopg import sql

from tests.migrate.compare import differences, schema_differences

KEY = bytes(range(16))


def fill(path, url, pg_type, value, text) -> None:
    """One column on each side: ``value`` in SQLite, ``text`` in PostgreSQL."""
    with sqlite3.connect(path) as lite:
        lite.execute("CREATE TABLE t (v)")
        lite.execute("INSERT INTO t VALUES (?)", (value,))
    lite.close()
    with psycopg.connect(url) as conn:
        conn.execute(f"CREATE TABLE t (v {pg_type})")
        conn.execute(sql.SQL("INSERT INTO t VALUES ({})").format(sql.Literal(text)))


@pytest.mark.parametrize(
    ("pg_type", "value", "text"),
    [
        ("bigint", 2**63 - 1, str(2**63 - 1)),
        ("bigint", None, None),
        ("double precision", 0.1, "0.1"),
        ("double precision", 5e-324, "5e-324"),
        ("double precision", float("inf"), "Infinity"),
        ("real", 0.1, "0.1"),
        ("numeric", 0.1, "0.1"),
        ("numeric", 1e22, "10000000000000000000000"),
        ("numeric", 2**62 + 1, str(2**62 + 1)),
        ("text", "tab\t\\N\n\u202e", "tab\t\\N\n\u202e"),
        ("text", 1e20, "1e20"),
        ("char(40)", "abc", "abc"),
        ("bytea", b"\x00\xff", "\\x00ff"),
        ("boolean", 1, "t"),
        ("boolean", "false", "f"),
        ("uuid", KEY, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("uuid", "{00010203-0405-0607-0809-0A0B0C0D0E0F}", KEY.hex()),
        ("json", '{"a":  1}', '{"a":  1}'),
        ("jsonb", '{"b": 1.0, "a": []}', '{"a": [], "b": 1.00}'),
        ("timestamptz", "2024-02-29T23:30:00.123456-08:00", "2024-03-01 07:30:00.123456+00"),
        ("timestamptz", "2024-02-29 23:30:00", "2024-02-29 23:30:00+00"),
        ("timestamptz", "2024-01-01T00:00:00.123456789+00:00", "2024-01-01 00:00:00.123457+00"),
        ("timestamptz", 1_700_000_000, "2023-11-14 22:13:20+00"),
        ("timestamptz", 1_700_000_000_123, "2023-11-14 22:13:20.123+00"),
        ("timestamp", 2_460_310.5, "2024-01-01 00:00:00"),
        ("date", "2024-02-29", "2024-02-29"),
        ("time", "12:34:56.5", "12:34:56.5"),
        ("interval", 90_000_500_000, "1 day 01:00:00.5"),
        ("interval", "-1.02:00:00", "-1 days -02:00:00"),
        ("interval", "1970-01-02 01:00:00.5", "1 day 01:00:00.5"),
        ("interval", -1, "-1 microsecond"),
        ("inet", "10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_same_in_two_spellings_is_equal(tmp_path, pg_url, pg_type, value, text):
    """
    A value and its PostgreSQL form are not a difference.
    """
    path = str(tmp_path / "a.db")
    fill(path, pg_url, pg_type, value, text)

    assert [] == differences(path, pg_url)


@pytest.mark.parametrize(
    ("pg_type", "value", "text"),
    [
        ("bigint", 1, "2"),
        ("interval", 1, "1 second"),
        ("interval", "02:00:00", "-02:00:00"),
        ("interval", "1970-01-01 00:00:01", "2 seconds"),
        ("inet", "10.0.0.1", "10.0.0.1/24"),
        ("bigint", None, "0"),
        ("bigint", 0, None),
        ("double precision", 0.1, "0.10000000000000002"),
        ("double precision", 2**53 + 1, str(2**53)),
        ("real", 0.123456789012, "0.1234"),
        ("numeric", 2**62 + 1, str(2**62)),
        ("text", "a", "a "),
        ("text", "e\u0301", "\u00e9"),
        ("text", "1e20", "1e+20"),
        ("text", b"bytes", "bytes"),
        ("text", "", None),
        ("bytea", "text", "\\x74657874"),
        ("bytea", b"\x00", "\\x"),
        ("boolean", 1, "f"),
        ("boolean", 2, "t"),
        ("uuid", KEY, "00010203-0405-0607-0809-0a0b0c0d0e0e"),
        ("json", '{"a":  1}', '{"a": 1}'),
        ("jsonb", '{"a": 9007199254740993}', '{"a": 9007199254740992}'),
        ("timestamptz", "2024-01-01T00:00:00.123456+00:00", "2024-01-01 00:00:00.123457+00"),
        ("timestamptz", "2024-01-01T00:00:00.1234569+00:00", "2024-01-01 00:00:00.123456+00"),
        ("timestamptz", "2024-01-01T00:00:00+01:00", "2024-01-01 00:00:00+00"),
        ("timestamptz", 1_700_000_000_123, "55840-12-11 03:35:23+00"),
        ("timestamp", "0000-00-00 00:00:00", "0001-01-01 00:00:00"),
        ("date", "2024-02-29", "2024-03-01"),
        ("date", "2024-02-29 12:00:00", "2024-02-29"),
        ("time", "12:34:56.5", "12:34:56"),
    ],
)
def test_another_value_is_a_difference(tmp_path, pg_url, pg_type, value, text):
    """
    Whatever was rounded, cut, shifted or invented is found.
    """
    path = str(tmp_path / "a.db")
    fill(path, pg_url, pg_type, value, text)

    assert 1 == len(differences(path, pg_url))


def test_rows_are_counted_as_often_as_they_stand_there(tmp_path, pg_url):
    """
    Tables without a key are compared as bags: a lost duplicate is a difference.
    """
    path = str(tmp_path / "a.db")
    with sqlite3.connect(path) as lite:
        lite.execute("CREATE TABLE t (v)")
        lite.executemany("INSERT INTO t VALUES (?)", [(1,), (1,), (2,)])
    lite.close()
    with psycopg.connect(pg_url) as conn:
        conn.execute("CREATE TABLE t (v bigint)")
        conn.execute("INSERT INTO t VALUES (1), (2), (2)")

    assert 1 == len(differences(path, pg_url))


@pytest.mark.parametrize(
    "broken",
    [
        "t (a bigint PRIMARY KEY, c text NOT NULL, b bigint UNIQUE REFERENCES t ON DELETE CASCADE)",
        "t (a bigint UNIQUE NOT NULL, b bigint UNIQUE, c text NOT NULL)",
        "t (a bigint PRIMARY KEY, b bigint UNIQUE REFERENCES t ON DELETE CASCADE, c text)",
        "t (a bigint PRIMARY KEY, b bigint REFERENCES t ON DELETE CASCADE, c text NOT NULL)",
        "t (a bigint PRIMARY KEY, b bigint UNIQUE REFERENCES t, c text NOT NULL)",
        "t (a bigint PRIMARY KEY, b bigint UNIQUE, c text NOT NULL)",
        "u (a bigint)",
    ],
)
def test_a_lost_promise_is_a_difference(tmp_path, pg_url, broken):
    """
    Order, keys, NOT NULL, uniqueness and actions are compared; equal ones are equal.
    """
    path = str(tmp_path / "a.db")
    whole = (
        "CREATE TABLE t (a bigint PRIMARY KEY, b bigint UNIQUE REFERENCES t(a) ON DELETE CASCADE, "
        "c text NOT NULL)"
    )
    with sqlite3.connect(path) as lite:
        lite.execute(whole)
    lite.close()
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(whole)
        assert [] == schema_differences(path, pg_url)
        conn.execute("DROP TABLE t")
        conn.execute(f"CREATE TABLE {broken}")

    assert [] != schema_differences(path, pg_url)


def test_row_without_counterpart_takes_no_other_rows(tmp_path, pg_url):
    """
    Of two rows only one arrived, spelled in another way: the other one is what differs.
    """
    path = str(tmp_path / "a.db")
    with sqlite3.connect(path) as lite:
        lite.execute("CREATE TABLE t (id, v)")
        lite.execute("""INSERT INTO t VALUES (1, '{"b": 1.0}'), (2, '{"b":  1.00}')""")
    lite.close()
    with psycopg.connect(pg_url) as conn:
        conn.execute("CREATE TABLE t (id bigint, v jsonb)")
        conn.execute("""INSERT INTO t VALUES (2, '{"b": 1.00}')""")

    found = differences(path, pg_url)

    assert ["t: 2 rows in SQLite, 1 in PostgreSQL"] == found[:1]
    assert found[1].startswith("t: in SQLite only: (1,")
    assert 2 == len(found)
