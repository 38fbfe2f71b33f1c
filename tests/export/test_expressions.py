"""A CHECK that is translated decides the same in SQLite; what could not is left out."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3

import psycopg
import pytest

from oxy_pg.errors import ExportRefused
from oxy_pg.export.export import Order, export

TABLE = (
    "CREATE TABLE t (n int, x numeric, s text, v varchar(9), b boolean, d float8, "
    "c char(4) DEFAULT 'a', {})"
)
ROWS = list(
    itertools.product(
        (None, -5, 0, 7), (None, -2.5, 3.0), (None, "", "a", "B'c"), (None, "a", "b ")
    ),
)
TRANSLATED = [
    "n > 0",
    "n >= -5 AND NOT n = 0",
    "n IN (1, 7)",
    "n NOT IN (0, 7)",
    "n BETWEEN -5 AND 5",
    "n % 2 = 1 OR n / 2 = 0",
    "d > 0",
    "d <> -2.5 AND d < 3.5",
    "s IN ('a', 'B''c')",
    "v IN ('a', 'c')",
    "v <> ALL (ARRAY['x', 'b '])",
    "s = v",
    "s IS NULL OR n IS NOT NULL",
    "b",
    "b = true OR n > 5",
    "length(s) < 2",
    "coalesce(s, '') <> ''",
    "s || v <> 'aa'",
    "CASE WHEN n > 0 THEN s = 'a' ELSE s <> 'a' END",
    "abs(n) = 5",
    "d - 0.8 > 5::float8 / 2::float8",
    "x IS NULL OR n > 0",
    "n + 1 > -10 AND n * 2 < 10",
]
LEFT = [
    "s ~ 'a'",
    "s LIKE 'a%'",
    "lower(s) = 'a'",
    "x::int = 3",
    "s::bytea = 'a'",
    "s > ANY (ARRAY['a', 'b'])",
    "n = ANY ('{1,2}'::int[])",
    "s COLLATE \"C\" > 'a'",
    "current_date > '2000-01-01'",
    "(n > 0) IS NOT TRUE",
    "x BETWEEN 0 AND 100",
    "n > 0 AND abs(x) < 5",
    "coalesce(x, 0) IS NOT NULL AND nullif(x, 1) IS NULL",
    "n << 3 > 0",
    "n::text < '5'",
    "b::text = 'true'",
    "length(s::varchar(2)) = 2",
    "n > 2.5::int",
    "s > 'B'",
    "v BETWEEN 'a' AND 'c'",
    "coalesce(s, 'b') > v",
    "n * 2 < 1e40",
    "((n * 2)::float8 < 1.5) = (s = v)",
    "n + abs(n * 3)::numeric > 2.5",
    "n > 0 OR 2.5 % 2 > 1",
    "c = v",
    "c IN (v, 'a')",
]


def rows():
    for (n, x, s, v), b in itertools.product(ROWS, (None, False, True)):
        yield n, x, s, v, b, x


@pytest.mark.parametrize("check", TRANSLATED)
def test_check_decides_the_same(pg_url, tmp_path, check):
    """
    For every row, SQLite accepts it if and only if PostgreSQL does.
    """
    statement = "INSERT INTO t (n, x, s, v, b, d) VALUES (%s, %s, %s, %s, %s, %s)"
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute(TABLE.format(f"CHECK ({check})"))
        path = str(tmp_path / "out.db")
        report = export(Order(path, pg_url))
        decided = connection.execute(
            f"SELECT ({check.replace('%', '%%')}) IS NOT FALSE FROM unnest("
            "%s::int[], %s::numeric[], %s::text[], %s::varchar[], %s::bool[], %s::float8[])"
            " WITH ORDINALITY AS t (n, x, s, v, b, d, place) ORDER BY place",
            [list(column) for column in zip(*rows(), strict=True)],
        ).fetchall()

    assert () == report.skipped
    with contextlib.closing(sqlite3.connect(path)) as lite:
        accepted = []
        for row in rows():
            try:
                lite.execute(statement.replace("%s", "?"), row)
            except sqlite3.IntegrityError:
                accepted.append((False,))
            else:
                accepted.append((True,))
    assert accepted == decided
    assert {(True,), (False,)} == set(accepted)


@pytest.mark.parametrize("check", LEFT)
def test_check_without_a_counterpart_is_listed(pg_url, tmp_path, check):
    """
    With its definition, and the table arrives without it.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute(TABLE.format(f"CONSTRAINT one CHECK ({check})"))

    report = export(Order(str(tmp_path / "out.db"), pg_url))

    assert [("check", "t.one")] == [(left.kind, left.name) for left in report.skipped]
    assert (report.skipped[0].sql or "").startswith("CHECK")


# Types, a CHECK that holds for the values, and these: each failed or lied in SQLite.
STORED_OTHERWISE = [
    ("numeric", "x <= y", "9", "10"),
    ("numeric", "x = y", "1.0", "1.00"),
    ("numeric(10,2)", "x + x + x = y", "0.10", "0.30"),
    ("numeric(20,2)", "x < y", "9", "10"),
    ("real", "x > 0.1", "0.1", "0.1"),
    ("interval", "x < y", "'9 days'", "'10 days'"),
    ("int[]", "x < y", "'{9}'", "'{10}'"),
    ("jsonb", "x = y", "'1.0'", "'1.00'"),
    ("jsonb", "x ->> 'a' = 'true'", """'{"a": true}'""", "'1'"),
    ("inet", "x < y", "'9.0.0.0'", "'10.0.0.0'"),
    ("time with time zone", "x < y", "'12:00+02'", "'11:00+00'"),
    ("money", "x < y", "9", "10"),
    ("size", "x < y", "'small'", "'large'"),
    ("date", "x - y > 300", "'2024-12-31'", "'2024-01-01'"),
]


@pytest.mark.parametrize(("kind", "check", "x", "y"), STORED_OTHERWISE)
def test_check_and_index_on_what_is_stored_otherwise_are_listed(
    pg_url, exported, kind, check, x, y
):
    """
    And the row, which is right in PostgreSQL, arrives.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TYPE size AS ENUM ('small', 'large')")
        connection.execute(f"CREATE TABLE t (x {kind}, y {kind}, CONSTRAINT one CHECK ({check}))")
        connection.execute(f"CREATE INDEX two ON t (x) WHERE {check}")
        connection.execute(f"CREATE INDEX three ON t (({check}))")
        connection.execute(f"INSERT INTO t VALUES ({x}, {y})")

    ask, report = exported()

    assert [("check", "t.one"), ("index", "t.three"), ("index", "t.two")] == [
        (left.kind, left.name) for left in report.skipped if left.kind != "enum"
    ]
    assert all(left.sql and left.reason for left in report.skipped if left.kind != "enum")
    assert [(1,)] == ask("SELECT count(*) FROM t")


@pytest.mark.parametrize(
    ("kind", "less", "more"),
    [
        ("date", "0999-12-31", "2024-02-29"),
        ("time", "09:00", "09:00:00.5"),
        ("timestamp", "2024-02-29 12:00:00.45", "2024-02-29 12:00:00.5"),
        ("timestamptz", "2024-02-29 12:00:00+02", "2024-02-29 10:00:00.5+00"),
        ("uuid", "00000000-0000-0000-0000-00000000000A", "00000000-0000-0000-0000-0000000000B0"),
        ("bytea", r"\x00ff", r"\x0100"),
    ],
)
def test_what_keeps_its_order_keeps_its_check(pg_url, exported, kind, less, more):
    """
    SQLite has it too, and it decides the same: as written, and with the values exchanged.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute(f"CREATE TABLE t (x {kind}, y {kind}, CHECK (x < y))")
        connection.execute("INSERT INTO t VALUES (%s, %s)", [less, more])

    _, report = exported()

    assert () == report.skipped
    with contextlib.closing(sqlite3.connect(report.path)) as lite:
        lite.execute("INSERT INTO t SELECT x, y FROM t")
        with pytest.raises(sqlite3.IntegrityError):
            lite.execute("INSERT INTO t SELECT y, x FROM t")


def test_times_of_two_types_are_not_compared(pg_url, exported):
    """
    A day is less than its midnight, as texts.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TABLE t (x date, y timestamp, CONSTRAINT one CHECK (x = y))")
        connection.execute("INSERT INTO t VALUES ('2024-01-01', '2024-01-01')")

    _, report = exported()

    assert ["t.one"] == [left.name for left in report.skipped]


def test_check_that_is_not_validated_is_listed(pg_url, exported):
    """
    The rows that contradict it arrive.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TABLE t (x int)")
        connection.execute("INSERT INTO t VALUES (-1)")
        connection.execute("ALTER TABLE t ADD CONSTRAINT one CHECK (x > 0) NOT VALID")

    ask, report = exported()

    assert ["t.one"] == [left.name for left in report.skipped]
    assert [(-1,)] == ask("SELECT x FROM t")


def test_check_that_sqlite_refuses_is_named(pg_url, exported, tmp_path):
    """
    One of the file of --like, which PostgreSQL does not have.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TABLE t (x int)")
        connection.execute("INSERT INTO t VALUES (-1)")
    with contextlib.closing(sqlite3.connect(tmp_path / "like.db")) as lite:
        lite.execute("CREATE TABLE t (x int CONSTRAINT one CHECK (x > 0))")

    with pytest.raises(ExportRefused, match=r"(?s)CHECK .*\bone\b.*CHECK.*--exclude"):
        exported(like=str(tmp_path / "like.db"))


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("int DEFAULT 5", (5,)),
        ("int DEFAULT -5", (-5,)),
        ("numeric(4,1) DEFAULT 1.5", (1.5,)),
        ("text DEFAULT 'it''s'", ("it's",)),
        ("text DEFAULT '007'", ("007",)),
        ("varchar(3) DEFAULT 'x'", ("x",)),
        ("boolean DEFAULT false", (0,)),
        ("bytea DEFAULT '\\x00ff'", (b"\x00\xff",)),
        ("jsonb DEFAULT '{\"a\": 1}'", ('{"a": 1}',)),
        ("date DEFAULT '2024-01-01'", ("2024-01-01",)),
        ("text[] DEFAULT '{}'", ("{}",)),
        ("text DEFAULT E'a\\\\b'", ("a\\b",)),
        ("text DEFAULT NULL", (None,)),
        ("uuid DEFAULT gen_random_uuid()", None),
        ("timestamptz DEFAULT now() + interval '1 day'", None),
    ],
)
def test_default_gives_the_same(pg_url, tmp_path, declared, expected):
    """
    A row without the column has PostgreSQL's default in SQLite too, or the default is listed.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute(f"CREATE TABLE t (x {declared}, y int)")

    report = export(Order(str(tmp_path / "out.db"), pg_url))

    with contextlib.closing(sqlite3.connect(report.path)) as lite:
        lite.execute("INSERT INTO t (y) VALUES (1)")
        assert [expected or (None,)] == lite.execute("SELECT x FROM t").fetchall()
    assert (expected is None) == bool(report.skipped)
