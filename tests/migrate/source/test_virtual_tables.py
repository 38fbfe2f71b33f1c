"""Virtual tables that hold the only copy of their rows, and tables that look like a part of one."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from oxy_pg.migrate.migration import migrate


def tables(report):
    return {t.name: (t.rows_read, t.rows_written) for t in report.tables}


def kinds(report):
    return {(s.kind, s.name) for s in report.skipped}


@pytest.mark.parametrize(
    "using",
    [
        "fts5(title, body)",
        "fts5(title, body UNINDEXED, prefix = '2 3', tokenize = 'porter ascii')",
        'fts5("title", [body], columnsize = 0, detail = none)',
        "fts4(title TEXT, body VARCHAR(10), tokenize=porter)",
        "fts4(title, body, matchinfo=fts3, notindexed=body)",
        "fts3(title, body, tokenize unicode61)",
    ],
)
def test_the_rows_of_a_full_text_table_move(lite, pg_url, pg, using):
    """
    As an ordinary table with the rows' numbers, which other tables refer to.
    """
    path = lite(
        f"CREATE VIRTUAL TABLE f USING {using};"
        "INSERT INTO f (rowid, title, body) VALUES (7, 'a', 'b'), (9, 'c', NULL);"
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert {"f": (2, 0)} == tables(dry)
    assert {"f": (2, 2)} == tables(report)
    assert [("a", "b", 7), ("c", None, 9)] == pg("SELECT title, body, rowid FROM f ORDER BY title")
    (index,) = [s for s in report.skipped if s.kind == "full-text index"]
    pg(index.suggestion)
    assert [(1,)] == pg("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING gin%'")


def test_a_tokenizer_that_this_sqlite_does_not_have(lite, pg_url, pg):
    """
    Android's and Mozilla's: neither module nor tokenizer is asked for the rows.
    """
    path = lite(
        "CREATE VIRTUAL TABLE five USING fts5(x, tokenize = 'ascii');"
        "INSERT INTO five VALUES ('v');"
        "CREATE VIRTUAL TABLE four USING fts4(x, tokenize=simple); INSERT INTO four VALUES ('w');"
        "CREATE TABLE ok (id INTEGER PRIMARY KEY); INSERT INTO ok VALUES (1)"
    )
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'ascii', 'icu de')")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'simple', 'mozporter')")

    assert () == migrate(path, pg_url, dry_run=True).problems
    migrate(path, pg_url, verify="full")

    assert [("v",), ("w",), ("1",)] == pg(
        "SELECT x FROM five UNION ALL SELECT x FROM four UNION ALL SELECT id::text FROM ok"
    )


def test_a_language_column_and_a_table_without_named_columns(move, pg):
    """
    FTS4's languageid is a column; FTS3 without arguments has one called "content".
    """
    move(
        'CREATE VIRTUAL TABLE f USING fts4("the body", languageid="lid");'
        "INSERT INTO f (\"the body\", lid) VALUES ('x', 3);"
        "CREATE VIRTUAL TABLE g USING fts3; INSERT INTO g VALUES ('y');"
    )

    assert [("x", 3)] == pg('SELECT "the body", lid FROM f')
    assert [("y",)] == pg("SELECT content FROM g")


@pytest.mark.parametrize(
    ("using", "row", "expected"),
    [
        ("rtree(id, x0, x1)", (1, 0.5, 1.5), [(1, 0.5, 1.5)]),
        (
            "rtree(id, x0, x1, y0, y1, +name TEXT)",
            (1, 0.5, 1.5, 2, 3, "n"),
            [(1, 0.5, 1.5, 2, 3, "n")],
        ),
        ("rtree_i32(id, x0, x1, y0, y1)", (4, -1, 1, 2, 3), [(4, -1, 1, 2, 3)]),
    ],
)
def test_the_rows_of_an_rtree_move(lite, pg_url, pg, using, row, expected):
    """
    As an ordinary table; the suggested GiST index can be created.
    """
    path = lite(f"CREATE VIRTUAL TABLE r USING {using}", {"r": [row]})

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert {"r": (1, 0)} == tables(dry)
    assert {"r": (1, 1)} == tables(report)
    assert expected == pg("SELECT * FROM r")
    (index,) = [s for s in report.skipped if s.kind == "spatial index"]
    pg(index.suggestion)
    assert [(1,)] == pg("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING gist%'")


def test_an_rtree_with_a_text_that_is_not_valid_is_the_table_too(lite, pg_url, pg):
    """
    The row is named, and skipped when asked; the module's own tables are not moved instead.
    """
    path = lite(
        "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, +name);"
        "INSERT INTO r VALUES (1, 0, 1, CAST(x'ff' AS TEXT)), (2, 0, 1, 'n')"
    )

    (problem,) = migrate(path, pg_url, dry_run=True).problems
    report = migrate(path, pg_url, on_bad_value="skip")

    assert ("r", "name", "id 1") == (problem.table, problem.column, problem.row)
    assert {"r": (2, 1)} == tables(report)
    assert [(2, 0, 1, "n")] == pg("SELECT * FROM r")


def test_a_table_is_a_shadow_only_where_the_module_says_so(lite, pg_url, pg):
    """
    The content is the application's own; so is t_docsize, when the module keeps none.
    """
    path = lite(
        """
        CREATE TABLE docs_content (id INTEGER PRIMARY KEY, body TEXT, author TEXT);
        INSERT INTO docs_content VALUES (1, 'hello', 'bob'), (2, 'x', 'y');
        CREATE VIRTUAL TABLE docs USING fts5(body, content='docs_content', content_rowid='id');
        CREATE TABLE n_docsize (x INT); INSERT INTO n_docsize VALUES (5);
        CREATE VIRTUAL TABLE n USING fts5(body, columnsize=0); INSERT INTO n VALUES ('b');
        CREATE TABLE app_config (k TEXT); INSERT INTO app_config VALUES ('k');
        CREATE TABLE app (id INTEGER PRIMARY KEY);
        CREATE TABLE r_data (x INT); INSERT INTO r_data VALUES (6);
        CREATE VIRTUAL TABLE r USING rtree(id, a, b);
        CREATE VIRTUAL TABLE less USING fts4(body, content='');
        """
    )

    report = migrate(path, pg_url, verify="full")
    only = migrate(path, pg_url, tables=["docs_content"], dry_run=True)

    assert {
        "docs_content": (2, 2), "n_docsize": (1, 1), "n": (1, 1), "app_config": (1, 1),
        "app": (0, 0), "r_data": (1, 1), "r": (0, 0),
    } == tables(report)  # fmt: skip
    assert {("virtual", "docs"), ("virtual", "less"), ("shadow", "docs_data")} <= kinds(report)
    assert ["docs_content"] == list(tables(only))
    assert [(1, "hello", "bob"), (2, "x", "y")] == pg("SELECT * FROM docs_content ORDER BY id")


def test_rows_that_nobody_can_read_are_listed_with_their_number(lite, pg_url):
    """
    A module that this SQLite does not have; its own tables move, as nobody else knows them.
    """
    path = lite("CREATE TABLE v_chunks (id INTEGER PRIMARY KEY, b BLOB)", {"v_chunks": [(1, b"x")]})
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0,"
            " 'CREATE VIRTUAL TABLE v USING vec0(e float[3])')"
        )

    report = migrate(path, pg_url, verify="full")

    assert {"v_chunks": (1, 1)} == tables(report)
    assert "rows that this SQLite cannot count" in str([s for s in report.skipped if s.name == "v"])


def test_a_full_text_table_fills_a_table_of_the_target(lite, pg_url, pg):
    """
    The application's own table in PostgreSQL has no column for the rows' numbers: it is listed.
    """
    pg("CREATE TABLE f (title text, body text)")
    path = lite("CREATE VIRTUAL TABLE f USING fts5(title, body); INSERT INTO f VALUES ('a', 'b')")

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert ("column", "f.rowid") in kinds(dry)
    assert ("column", "f.rowid") in kinds(report)
    assert [("a", "b")] == pg("SELECT * FROM f")
