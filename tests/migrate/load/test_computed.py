"""Columns that the target computes: compared as computed; what differs is listed."""

from __future__ import annotations

import pytest

from oxy_pg.migrate.migration import migrate


def computed(report):
    return {(c.table, c.column): (c.count, c.what) for c in report.changes if "computed" in c.what}


SALES = """
CREATE TABLE o (id INTEGER PRIMARY KEY, price DECIMAL(10,2), qty INT,
  total DECIMAL(14,2) GENERATED ALWAYS AS (price * qty) STORED);
INSERT INTO o (price, qty) VALUES (17.17, 17), (33.33, 33), (0.1, 3), (NULL, 1);
"""


@pytest.mark.parametrize("verify", ["counts", "full"])
@pytest.mark.parametrize(
    "type_", ["numeric(14,2)", "double precision", "numeric", "real", "numeric(14,1)"]
)
def test_the_same_formula_agrees(move, pg, type_, verify):
    """
    SQLite computes 291.89000000000004; PostgreSQL rounds it as its column says.
    """
    pg(
        "CREATE TABLE o (id bigint PRIMARY KEY, price numeric(10,2), qty int, "
        f"total {type_} GENERATED ALWAYS AS (price * qty) STORED)"
    )

    report = move(SALES, verify=verify)

    assert {} == computed(report)
    assert 4 == report.rows


def test_another_formula_is_listed(lite, pg_url, pg):
    """
    With the number of rows and the first example.
    """
    pg(
        "CREATE TABLE o (id bigint PRIMARY KEY, price numeric(10,2), qty int, "
        "total numeric(14,2) GENERATED ALWAYS AS (price * qty + 1) STORED)"
    )

    path = lite(SALES)

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    ((column, (count, what)),) = computed(report).items()
    assert (("o", "total"), 3) == (column, count)
    assert "292.89" in what
    assert "id 1" in what
    assert "o.total is computed by PostgreSQL" in " ".join(dry.warnings)


def test_texts_times_and_nulls(move, pg):
    """
    Texts agree character by character; a NULL that SQLite computes is none of a NOT NULL's.
    """
    pg(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text, "
        "f text NOT NULL GENERATED ALWAYS AS (coalesce(a, '') || coalesce(b, '')) STORED, "
        "u text GENERATED ALWAYS AS (upper(a)) STORED)"
    )

    report = move(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, f TEXT AS (a || b), "
        "u TEXT AS (upper(a)) STORED);"
        "INSERT INTO t (a, b) VALUES ('x', 'y'), ('é', NULL);"
    )

    assert [("xy", "X"), ("é", "É")] == pg("SELECT f, u FROM t ORDER BY id")
    assert {("t", "f"): 1, ("t", "u"): 1} == {
        key: count for key, (count, _) in computed(report).items()
    }


def test_append_compares_what_was_sent(move, pg):
    """
    The rows that were there have other computed values, which do not count.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY, a int, d int GENERATED ALWAYS AS (a * 2) STORED)")
    pg("INSERT INTO t VALUES (1, 5)")

    move(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, d INT AS (a + 1));"
        "INSERT INTO t VALUES (2, 7)",
        if_not_empty="append",
    )

    assert [(1, 5, 10), (2, 7, 14)] == pg("SELECT * FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ("id INTEGER PRIMARY KEY", 3),
        ("id INTEGER, PRIMARY KEY (id, qty)", 3),
        ("id INTEGER", None),
    ],
)
def test_rows_that_are_added_to_others_are_compared_by_their_key(lite, pg_url, pg, key, count):
    """
    Old rows do not count; without a key it is said that nothing was compared.
    """
    pg(
        "CREATE TABLE o (id bigint, price numeric(10,2), qty int, "
        "total numeric(14,2) GENERATED ALWAYS AS (price * qty + 1) STORED); "
        "INSERT INTO o (id, price, qty) SELECT n, 1, 1 FROM generate_series(100, 120) n; "
        "DELETE FROM o WHERE id % 2 = 0"
    )
    name, _, constraint = key.partition(", ")
    columns = f"{name}, price DECIMAL(10,2), qty INT, total DECIMAL(14,2) AS (price * qty) STORED"
    values = SALES.partition("INSERT INTO o (price, qty) VALUES")[2]
    path = lite(
        f"CREATE TABLE o ({columns}{', ' * bool(constraint)}{constraint});"
        f"INSERT INTO o (price, qty) VALUES {values}; UPDATE o SET id = rowid;"
    )

    report = migrate(path, pg_url, if_not_empty="append")

    assert ([count] if count else []) == [total for total, _ in computed(report).values()]
    assert (count is None) == any("not compared" in warning for warning in report.warnings)
