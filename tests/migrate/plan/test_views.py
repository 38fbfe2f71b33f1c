"""Views and conditions of indexes: translated, proven by their rows, or left behind."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from decimal import Decimal

import pytest

from oxy_pg.migrate.migration import migrate

SHOP = """
CREATE TABLE Users (Id INTEGER PRIMARY KEY, "Full Name" TEXT, active BOOLEAN, born DATE,
                    nick TEXT COLLATE NOCASE, joined DATETIME, seen DATETIME);
INSERT INTO Users VALUES
  (1, 'Ada', 1, '1815-12-10', 'ADA', '2024-01-31 23:30:00', 1700000000),
  (2, 'bob', 0, '1990-01-01', 'bob', '2024-02-01 00:30:00', 1710000000),
  (3, 'Änne', 1, NULL, NULL, NULL, NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES Users (Id),
                     total REAL, qty INTEGER, note TEXT, paid BOOLEAN NOT NULL DEFAULT 0);
INSERT INTO orders VALUES (1, 1, 10.1, 3, 'Blue', 1), (2, 1, 20.2, 0, 'blue', 0),
  (3, 2, 5.05, 7, NULL, 1), (4, NULL, 0.3, -2, 'Green', 1);
"""

KEPT = [
    "SELECT id, [full name], ACTIVE FROM users",
    "SELECT u.id, count(o.id) AS n FROM users u LEFT JOIN orders o ON o.User_Id = U.id GROUP BY 1",
    "SELECT cast(total + 0.6 AS INTEGER) AS a, CAST(total AS INT) AS b FROM orders",
    "SELECT sum(total) AS s, avg(qty) a, count(*) c, min(total), max(note) FROM orders",
    "SELECT * FROM users WHERE active = 1 AND born IS NOT NULL",
    "SELECT * FROM users WHERE active",
    "SELECT * FROM orders WHERE NOT paid OR qty",
    "SELECT sum(paid) AS paid, sum(qty > 1) AS several FROM orders",
    "SELECT id, CASE WHEN active THEN 'yes' ELSE 'no' END AS word FROM users",
    "SELECT * FROM orders WHERE note LIKE 'b%'",
    'SELECT id, "so", note || "!" AS loud FROM orders',
    "SELECT id, ifnull(note, 'none') AS note, iif(qty > 1, 'many', 'few') AS many FROM orders",
    "SELECT DISTINCT user_id FROM orders WHERE note IS NOT 'blue'",
    "SELECT note FROM orders WHERE note < 'b' ORDER BY note",
    "SELECT rowid AS r, qty / 2 AS half, qty % 2 AS odd FROM orders",
    'SELECT o.rowid, u."Full Name" AS who FROM orders AS o JOIN users AS u ON u.rowid = o.user_id',
    "SELECT id FROM users UNION ALL SELECT user_id FROM orders EXCEPT SELECT 2",
    "WITH big AS (SELECT * FROM orders WHERE total > 6) SELECT count(*) AS n, sum(Total) FROM BIG",
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT x FROM n",
    "SELECT id, row_number() OVER (PARTITION BY user_id ORDER BY total DESC) AS place FROM orders",
    "SELECT (SELECT count(*) FROM orders o WHERE o.user_id = users.id) AS n, id FROM users",
    "SELECT * FROM users WHERE EXISTS (SELECT 1 FROM orders WHERE user_id = users.id AND paid = 1)",
    "SELECT strftime('%Y-%m', joined) AS month, count(*) FROM users GROUP BY 1",
    "SELECT id, date(joined) AS day, datetime(joined) AS moment FROM users",
    "SELECT id, seen FROM users",
    "SELECT u.* FROM users u",
    "SELECT 1 AS one, NULL AS none, 'x' AS x, 2.5 AS f",
    "SELECT group_concat(note, ';') AS notes FROM orders WHERE note = 'Blue'",
    "SELECT total AS Qty, qty AS TOTAL FROM orders",
    "SELECT id FROM orders WHERE paid IN (1) AND total BETWEEN 1 AND 100",
    "VALUES (1, 'a'), (2, 'b')",
]


@pytest.mark.parametrize("query", KEPT)
def test_a_view_that_gives_the_same_rows_is_kept(lite, pg_url, pg, query):
    """
    With its columns' names as they are; the rows are compared here as Python has them.
    """
    path = lite(f'{SHOP} CREATE VIEW "The View" AS {query};')
    report = migrate(path, pg_url)
    assert [] == [skipped for skipped in report.skipped if skipped.kind == "view"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute('SELECT * FROM "The View"')
        names, here = [column[0] for column in cursor.description], cursor.fetchall()
    columns = pg(
        "SELECT attname FROM pg_attribute WHERE attrelid = '\"The View\"'::regclass AND attnum > 0 "
        "ORDER BY attnum"
    )
    assert names == [name for (name,) in columns]
    there = pg('SELECT * FROM "The View"')
    assert sorted(map(shown, here)) == sorted(map(shown, there))


def shown(row):
    return str([plain(value) for value in row])


def plain(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | Decimal):
        return f"{float(value):.9g}"
    if hasattr(value, "timestamp") and value.tzinfo is not None:
        # The numbers in "seen", and the texts in "joined" where it became timestamptz.
        seconds = value.timestamp()
        return (
            f"{seconds:.9g}" if seconds in {1.7e9, 1.71e9} else value.strftime("%Y-%m-%d %H:%M:%S")
        )
    return str(value)


LEFT = [
    ("SELECT max(total, qty) AS most FROM orders", "GREATEST means something else"),
    ("SELECT id FROM users WHERE nick = 'ada'", "by the collation NOCASE"),
    ('SELECT id, "Full Name" FROM users ORDER BY nick LIMIT 1', "by the collation NOCASE"),
    ("SELECT * FROM gone", "no such table"),
    ("SELECT note FROM orders WHERE note GLOB 'B*'", "GLOB means something else"),
    ("SELECT user_id, note FROM orders GROUP BY user_id", "PostgreSQL refuses it"),
    ("SELECT typeof(total) AS t FROM orders", "PostgreSQL refuses it"),
    ("SELECT substr(note, -2) AS n FROM orders", "gives other values"),
    ("SELECT value FROM json_each('[1,2]')", "table-valued function"),
]


@pytest.mark.parametrize(("query", "reason"), LEFT)
def test_what_is_not_the_same_is_left_behind(lite, pg_url, pg, query, reason):
    """
    By name, with its SQL and the reason; everything else moves.
    """
    path = lite(f"{SHOP} CREATE VIEW v AS {query};")
    report = migrate(path, pg_url)
    (left,) = [skipped for skipped in report.skipped if skipped.kind == "view"]
    assert ("v", f"CREATE VIEW v AS {query}") == (left.name, left.sql)
    assert reason in left.reason
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 'v'")
    assert [(4,)] == pg("SELECT count(*) FROM orders")


def test_views_of_views_are_created_in_order(lite, pg_url, pg):
    """
    What reads a view that is left behind is left behind, too.
    """
    path = lite(
        SHOP
        + "CREATE VIEW a AS SELECT n + 1 AS n FROM B; CREATE VIEW b AS SELECT qty AS N FROM orders;"
        "CREATE VIEW c AS SELECT * FROM d; CREATE VIEW d AS SELECT max(qty, 1) AS x FROM orders;"
    )
    report = migrate(path, pg_url)
    assert {"c", "d"} == {skipped.name for skipped in report.skipped}
    assert [(9,)] == pg("SELECT sum(n) - 3 FROM a")


def test_a_view_of_rows_that_are_left_out_is_left_behind(lite, pg_url, pg):
    """
    It would not give the same rows.
    """
    path = lite(
        "CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (1), ('x');"
        "CREATE VIEW v AS SELECT count(*) AS n FROM t;"
    )
    report = migrate(path, pg_url, on_bad_value="skip")
    assert [("view", "translated, it gives other values")] == [
        (skipped.kind, skipped.reason) for skipped in report.skipped
    ]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("CREATE VIEW v AS SELECT count(*) AS n FROM t", ("view", "", "v")),
        ("CREATE VIEW v AS SELECT v + 1 AS n FROM t", ("view", "", "v")),
        ("CREATE INDEX i ON t (v) WHERE round(v) = 1", ("index", "t", "i")),
    ],
)
@pytest.mark.parametrize("value", ["2", "'x'"])
def test_a_dry_run_says_that_rows_decide_what_is_kept(lite, pg_url, made, name, value):
    """
    Whether it gives the same rows is seen only where they are.
    """
    path = lite(f"CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (1), ({value}); {made};")
    planned = migrate(path, pg_url, on_bad_value="skip", dry_run=True)
    moved = migrate(path, pg_url, on_bad_value="skip")
    assert [name] == [(one.kind, one.table, one.name) for one in planned.unexamined]
    assert {(one.kind, one.name) for one in moved.skipped} <= {(name[0], name[2])}


def test_where_the_application_makes_the_tables_it_makes_the_views(lite, pg_url, pg):
    """
    Nothing is created; the translation is offered.
    """
    pg("CREATE TABLE orders (id bigint PRIMARY KEY, qty bigint)")
    path = lite(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, qty INTEGER);"
        "CREATE VIEW v AS SELECT sum(qty) AS s FROM orders;"
    )
    report = migrate(path, pg_url)
    (left,) = report.skipped
    assert "its own migrations create its views" in left.reason
    pg(left.suggestion)
    assert [(None,)] == pg("SELECT s FROM v")


def test_a_dry_run_shows_the_views_that_will_be_tried(lite, pg_url, pg):
    path = lite(f"{SHOP} CREATE VIEW v AS SELECT id FROM orders;")
    report = migrate(path, pg_url, dry_run=True)
    assert any(one.startswith('CREATE VIEW "public"."v"') for one in report.statements)
    assert () == report.skipped


def test_a_view_that_takes_for_ever_is_left_behind(lite, pg_url, pg, monkeypatch):
    monkeypatch.setattr("oxy_pg.migrate.load.proof.PATIENCE", 1)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    path = lite(f"{SHOP} CREATE VIEW v AS {endless}; CREATE VIEW w AS SELECT id FROM orders;")
    report = migrate(path, pg_url)
    assert ["it takes SQLite more than 1 s"] == [skipped.reason for skipped in report.skipped]
    assert [(4,)] == pg("SELECT count(*) FROM w")


INDEXES = [
    ("CREATE INDEX i ON orders (qty) WHERE note LIKE 'b%'", "~~*"),
    ("CREATE INDEX i ON orders (qty) WHERE ifnull(note, '') <> '' AND paid", "COALESCE"),
    ("CREATE INDEX i ON orders (qty) WHERE lower(note) = 'blue' AND paid = 1", "lower"),
    ("CREATE UNIQUE INDEX i ON orders (qty) WHERE qty + 0 > 1 AND note IS NOT NULL", "qty"),
    ("CREATE INDEX i ON orders (qty) WHERE CASE WHEN paid THEN qty ELSE 0 END > 2", "CASE"),
]


@pytest.mark.parametrize(("index", "part"), INDEXES)
def test_the_where_of_an_index_is_translated_and_proven(lite, pg_url, pg, index, part):
    """
    As many rows on both sides.
    """
    report = migrate(lite(SHOP + index), pg_url)
    assert () == report.skipped
    ((found,),) = pg("SELECT indexdef FROM pg_indexes WHERE indexname = 'i'")
    assert " WHERE " in found
    assert part.lower() in found.lower()


@pytest.mark.parametrize(
    "index",
    [
        "CREATE INDEX i ON orders (qty) WHERE typeof(total) = 'real'",
        "CREATE UNIQUE INDEX i ON orders (qty) WHERE note GLOB 'B*'",
        "CREATE INDEX i ON Users (Id) WHERE nick = 'ada' || ''",
        "CREATE INDEX i ON orders (qty) WHERE substr(note, -2) = 'ue'",
    ],
)
def test_an_index_with_another_where_is_left_behind(lite, pg_url, pg, index):
    report = migrate(lite(SHOP + index), pg_url)
    assert ["i"] == [skipped.name for skipped in report.skipped]
    assert [] == pg("SELECT indexdef FROM pg_indexes WHERE indexname = 'i'")


def test_sqlglot_is_loaded_only_for_what_it_translates(lite, pg_url):
    """
    Not for an ordinary database.
    """
    code = (
        "import sys; from oxy_pg.migrate.migration import migrate;"
        f"migrate({lite('CREATE TABLE t (v INTEGER CHECK (v > 0)); CREATE INDEX i ON t (v)')!r},"
        f"{pg_url!r}); sys.exit('sqlglot' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
