"""A CHECK that is translated decides the same in SQLite; what could not is left out."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3

import psycopg
import pytest

from oxy_pg.export.export import Order, export

TABLE = "CREATE TABLE t (n int, x numeric, s text, v varchar(9), b boolean, d float8, {})"
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
]


def rows():
    for (n, x, s, v), b in itertools.product(ROWS, (None, False, True)):
        yield n, x, s, v, b, x


@pytest.mark.parametrize("check", TRANSLATED)
def test_check_decides_the_same(pg_url, tmp_path, check):
    """
    For every row, SQLite accepts it if and only if PostgreSQL does.
    """
    statement = "INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)"
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
