"""The verification: what it compares, and in which order."""

from __future__ import annotations

import psycopg
import pytest

from tests.migrate.test_properties import check_migration


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


OTHERS = {
    "inet": ("192.168.0.1/32", "::0001"),
    "interval": ("1 day 02:00", "90 minutes"),
    "integer[]": ("{1, 2}", "{ }"),
    "point": ("(1.0, 2)", "3,4"),
    "bit varying(8)": ("101", "B11"),
}


@pytest.mark.parametrize("pg_type", OTHERS)
@pytest.mark.parametrize("append", [False, True])
def test_values_that_postgres_spells_in_another_way_are_verified(move, pg, pg_type, append):
    """
    192.168.0.1/32 arrives, and is 192.168.0.1: equal, because PostgreSQL says so.
    """
    pg(f"CREATE TABLE t (id int, v {pg_type})")
    if append:
        pg("INSERT INTO t VALUES (0, NULL)")

    report = move(
        "CREATE TABLE t (id INTEGER, v TEXT)",
        {"t": [(1, OTHERS[pg_type][0]), (2, OTHERS[pg_type][1]), (3, None)]},
        if_not_empty="append",
    )

    assert 3 == report.verification.rows


def test_documents_are_verified_beside_rows_that_were_there(move, pg):
    """
    jsonb orders its keys in another way, and has only one way to write a number.
    """
    pg("CREATE TABLE t (v jsonb, c char(3))")
    pg("INSERT INTO t VALUES ('1', 'a')")

    report = move(
        "CREATE TABLE t (v jsonb, c text)",
        {"t": [('{"long": 1e2, "b": [1.0, {"y": 1, "x": 2}], "b": null}', "a")]},
        if_not_empty="append",
        on_change="accept",
    )

    assert 1 == report.verification.rows


def test_rows_that_fill_holes_are_verified(move, pg, server_url, pg_url):
    """
    In a table that may not be truncated, new rows lie where old ones were deleted.
    """
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE TABLE t (id int, v text)")
        admin.execute("INSERT INTO t SELECT n, repeat('x', 2000) FROM generate_series(1, 100) n")
        # The last page stays, so that the pages before it are not given back.
        admin.execute("DELETE FROM t WHERE id < 100")
        admin.execute("VACUUM t")
        admin.execute("GRANT SELECT, INSERT ON t TO oxy")
        admin.execute("DELETE FROM t")

    move(
        "CREATE TABLE t (id INTEGER, v TEXT)",
        {"t": [(n, "y" * (10 if n % 3 else 3000)) for n in range(300)]},
    )

    assert [(300,)] == pg("SELECT count(DISTINCT id) FROM t")


def test_an_index_that_has_all_columns_gives_no_other_order(move, pg):
    """
    Numbers that became text are compared alone, and PostgreSQL might read them by their key.
    """
    rows = [(n if n % 2 else f"{n}.x", f"note {n}") for n in range(3000)]

    report = move(
        "CREATE TABLE t (code INTEGER_OR_TEXT NOT NULL PRIMARY KEY, note TEXT) WITHOUT ROWID",
        {"t": rows},
    )

    (compared,) = report.verification.compared
    assert (("note",), ("code",)) == (compared.bytes, compared.values)
    assert [(3000,)] == pg("SELECT count(*) FROM t")


def test_columns_that_the_target_computes_are_compared_as_computed(move, pg):
    """
    What a double's arithmetic and the target's own rounding make different is no fault.
    """
    pg(
        "CREATE TABLE o (id bigint PRIMARY KEY, price numeric(10,2), qty int, "
        "total numeric(14,2) GENERATED ALWAYS AS (price * qty) STORED)"
    )

    report = move(
        """
        CREATE TABLE o (id INTEGER PRIMARY KEY, price DECIMAL(10,2), qty INT,
          total DECIMAL(14,2) GENERATED ALWAYS AS (price * qty) STORED);
        INSERT INTO o (price, qty) VALUES (0.1, 3), (19.99, 7), (2, 2);
        """
    )

    assert [] == [c for c in report.changes if c.column == "total"]
    assert [("0.30",), ("139.93",), ("4.00",)] == pg("SELECT total::text FROM o ORDER BY id")
