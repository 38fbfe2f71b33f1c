"""What was left behind: with its SQL, the reason and a suggestion, in every form of the report."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys

import psycopg
import pytest

from oxy_pg.migrate.migration import migrate

SCRIPT = """
CREATE TABLE Item (Id INTEGER PRIMARY KEY, name TEXT, qty INTEGER, age TEXT DEFAULT (typeof(1)),
                   CHECK (name LIKE 'a%'));
CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT, n INTEGER);
INSERT INTO Item (Id, name, qty) VALUES (1, 'apple', 3);
CREATE INDEX name_index ON Item (name || 'x');
CREATE VIEW most AS SELECT max(qty, 1) AS m FROM item;
CREATE TRIGGER added AFTER INSERT ON item WHEN new.QTY > 5
BEGIN
  INSERT INTO log (what, n) VALUES ('added; ' || NEW.name, new.qty);
  UPDATE log SET n = n + 1 WHERE what = 'total';
END;
CREATE TRIGGER no_delete BEFORE DELETE ON Item
BEGIN SELECT RAISE(ABORT, 'never delete it''s') WHERE old.qty > 0; END;
CREATE TRIGGER checks BEFORE UPDATE OF qty, name ON Item
BEGIN SELECT CASE WHEN NEW.qty < 0 THEN RAISE(FAIL, 'negative') END; END;
"""
NAMES = {"Item.age", "name_index", "most", "added", "no_delete", "checks"}


@pytest.fixture
def report(lite, pg_url):
    return migrate(lite(SCRIPT), pg_url)


def test_everything_has_its_sql_a_reason_and_a_suggestion(report):
    """
    Views, triggers, indexes, checks and defaults.
    """
    assert NAMES < {left.name for left in report.skipped}
    assert {"default", "index", "view", "trigger", "check"} == {s.kind for s in report.skipped}
    for left in report.skipped:
        assert left.sql, left.name
        assert left.reason, left.name
        assert left.suggestion, left.name
    listed = json.loads(report.to_json())["skipped"]
    assert [left.suggestion for left in report.skipped] == [one["suggestion"] for one in listed]


def test_the_page_shows_both_forms_of_sql(report):
    page = report.to_html()
    assert "CREATE TRIGGER no_delete BEFORE DELETE ON Item" in page
    assert "RAISE EXCEPTION USING MESSAGE" in page
    assert "&#x27;never delete it&#x27;&#x27;s&#x27;" in page


def test_suggested_triggers_do_what_the_triggers_do(report, pg, tmp_path):
    """
    The same statements on both sides; those that SQLite aborts, PostgreSQL refuses.
    """
    for left in report.skipped:
        if left.kind == "trigger":
            pg(left.suggestion)
    statements = [
        "INSERT INTO log (id, what, n) VALUES (90, 'total', 0)",
        "INSERT INTO \"Item\" (\"Id\", name, qty, age) VALUES (2, 'axe', 9, '')",
        "INSERT INTO \"Item\" (\"Id\", name, qty, age) VALUES (3, 'arm', 1, '')",
        'UPDATE "Item" SET qty = -1 WHERE "Id" = 3',
        'DELETE FROM "Item" WHERE "Id" = 2',
        'UPDATE "Item" SET qty = 0 WHERE "Id" = 3',
        'DELETE FROM "Item" WHERE "Id" = 3',
    ]
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        refused = [fails(connection.execute, one, sqlite3.IntegrityError) for one in statements]
        assert refused == [fails(pg, one, psycopg.errors.RaiseException) for one in statements]
        assert [False, False, False, True, True, False, False] == refused
        for query in ('SELECT "Id", name, qty FROM "Item" ORDER BY 1', "SELECT what, n FROM log"):
            assert sorted(connection.execute(query).fetchall()) == sorted(pg(query))


def fails(run, statement, error):
    try:
        run(statement)
    except error:
        return True
    return False


def test_suggested_indexes_and_checks_can_be_run(report, pg):
    for left in report.skipped:
        if left.kind == "index":
            pg(left.suggestion)
    ((found,),) = pg("SELECT indexdef FROM pg_indexes WHERE indexname = 'name_index'")
    assert "name || 'x'" in found
    for left in report.skipped:
        if left.kind == "check":
            pg(left.suggestion)
    with pytest.raises(psycopg.errors.CheckViolation):
        pg("INSERT INTO \"Item\" (name, qty) VALUES ('bee', 1)")


def test_the_option_writes_a_script_that_psql_reads(lite, pg_url, pg, tmp_path):
    """
    What is not commented out is SQL; each object is in it.
    """
    to = tmp_path / "left.sql"
    start = [sys.executable, "-m", "oxy_pg", "migrate-sqlite", "--from", lite(SCRIPT)]
    done = subprocess.run(
        [*start, "--to", pg_url, "--left-behind", str(to)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    text = to.read_text()
    for name in NAMES:
        assert f" {name}\n" in text
    assert "--   Reason: " in text
    assert "--   SQLite: CREATE VIEW most AS SELECT max(qty, 1) AS m FROM item\n" in text
    assert "sesame" not in text
    statements = [line for line in text.splitlines() if not line.startswith("--")]
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("\n".join(statements).partition("ALTER TABLE")[0] or "SELECT 1")


def test_nothing_left_behind_is_said(lite, pg_url):
    report = migrate(lite("CREATE TABLE t (v INTEGER)"), pg_url)
    assert "Nothing was left behind" in report.to_left_behind()


@pytest.mark.parametrize("name", ["left.txt", "no/such/dir/left.sql"])
def test_the_scripts_name_is_checked_first(lite, pg_url, pg, tmp_path, name):
    start = [sys.executable, "-m", "oxy_pg", "migrate-sqlite", "--from", lite(SCRIPT)]
    done = subprocess.run(
        [*start, "--to", pg_url, "--left-behind", str(tmp_path / name)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert 2 == done.returncode
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 'Item'")


ODD = [
    "CREATE VIEW v AS SELECT " + "(" * 40 + "1" + ")" * 40 + " AS x",
    "CREATE VIEW v AS SELECT 1 AS a, 2 AS a",
    "CREATE VIEW v(x, y) AS SELECT id, what FROM log",
    'CREATE VIEW [as] AS SELECT 1 AS [as], 2 AS "select"',
    "CREATE VIEW v AS SELECT main.log.id, log.what FROM main.log",
    "CREATE VIEW v AS SELECT 'x' 'alias', -- a comment; with AS in it\n 1 /* AS */ AS n FROM log",
    "CREATE TRIGGER r AFTER DELETE ON log BEGIN SELECT 1; END",
    "CREATE TRIGGER r INSTEAD OF INSERT ON v2 BEGIN DELETE FROM log; END",
    "CREATE TRIGGER r UPDATE ON log BEGIN UPDATE log SET n = (CASE n WHEN 1 THEN 2 END); END",
    "CREATE INDEX i ON log (what COLLATE NOCASE, n) WHERE n > (1 + 1) * 2",
    "CREATE INDEX i ON log (abs(n) DESC, what || n)",
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_sql_never_stops_the_move(lite, pg_url, pg, odd):
    """
    It is created or listed, and the rows arrive.
    """
    before = "CREATE VIEW v2 AS SELECT id FROM log;" if " v2 " in odd else ""
    path = lite(SCRIPT + before + odd)
    report = migrate(path, pg_url, verify="full")
    assert [(1,)] == pg('SELECT count(*) FROM "Item"')
    name = odd.split()[2].partition("(")[0].strip("[]")
    made = pg("SELECT relname FROM pg_class WHERE relname = %s", name)
    left = {left.name for left in report.skipped if left.kind != "collation"}
    assert bool(made) != (name in left)
