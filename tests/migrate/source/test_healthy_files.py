"""A healthy file is never called damaged, whatever this SQLite does not know."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from oxy_pg.errors import SourceUnreadable
from oxy_pg.migrate.migration import migrate


@pytest.fixture
def foreign(tmp_path):
    """Make a database with the collation ``icu_root`` and the functions of an application."""

    def make(script: str, *, rows: tuple[str, ...] = ()) -> str:
        path = str(tmp_path / "app.db")
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.create_collation(
                "icu_root", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower())
            )
            db.create_function("score", 1, lambda text: len(text or ""), deterministic=True)
            db.create_function("regexp", 2, lambda _, __: True, deterministic=True)
            db.executescript(script)
            for row in rows:
                db.execute(row)
            db.commit()
        return path

    return make


def skipped(report, kind):
    return [s.name for s in report.skipped if s.kind == kind]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE INDEX i ON e (json_extract(p, '$.type'))",
        "CREATE INDEX i ON e (p ->> '$.type')",
        "CREATE INDEX i ON e (n) WHERE json_extract(p, '$.type') = 'x'",
        "CREATE INDEX i ON e (n) WHERE p -> 'type' IS NOT NULL",
        "CREATE UNIQUE INDEX i ON e (json_array_length(p))",
        "CREATE INDEX i ON e (strftime('%Y', '2020-01-01'), n)",
    ],
)
def test_indexes_over_json_and_others(lite, pg_url, pg, made):
    """
    SQLite 3.40 holds json_extract() to be unsafe in a schema that is not trusted.
    """
    path = lite(
        "CREATE TABLE e (id INTEGER PRIMARY KEY, n INT, p TEXT);"
        """INSERT INTO e VALUES (1, 2, '{"type": "x"}');""" + made
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert () == dry.problems
    assert skipped(dry, "index") + skipped(dry, "unique index") == ["i"]
    assert dry.skipped == report.skipped
    assert [(1, 2, '{"type": "x"}')] == pg("SELECT * FROM e")


def test_generated_columns_over_json(move, pg):
    """
    Their values are computed by SQLite and moved.
    """
    move(
        "CREATE TABLE e (id INTEGER PRIMARY KEY, p TEXT, v TEXT AS (p ->> 'x'),"
        " s TEXT AS (json_extract(p, '$.y')) STORED, CHECK (json_valid(p)));"
        """INSERT INTO e (p) VALUES ('{"x": "a", "y": "b"}'), ('{}');"""
    )

    assert [("a", "b"), (None, None)] == pg("SELECT v, s FROM e ORDER BY id")


def test_a_generated_column_that_sqlite_cannot_compute(lite, pg_url, pg):
    """
    One row's text is not JSON: the column is listed, the rest moves.
    """
    path = lite(
        "CREATE TABLE e (id INTEGER PRIMARY KEY, p TEXT);"
        "INSERT INTO e (p) VALUES ('{}'), ('not JSON');"
        "ALTER TABLE e ADD COLUMN v AS (json_extract(p, '$.x'));"
        "CREATE TABLE ok (id INTEGER PRIMARY KEY); INSERT INTO ok VALUES (7);"
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert ["e.v"] == skipped(dry, "generated column") == skipped(report, "generated column")
    assert "malformed JSON" in str(report.skipped)
    assert [(1, "{}"), (2, "not JSON")] == pg("SELECT * FROM e ORDER BY id")
    assert [(7,)] == pg("SELECT * FROM ok")


def test_a_collation_of_the_application(foreign, pg_url, pg):
    """
    On a column, a key, an index and in a CHECK; with WITHOUT ROWID it even orders the rows.
    """
    path = foreign(
        """
        CREATE TABLE t (n TEXT COLLATE icu_root UNIQUE, k INT CHECK (k COLLATE icu_root <> 'x'));
        CREATE INDEX i ON t (k COLLATE "icu_root");
        CREATE TABLE w (n TEXT COLLATE icu_root PRIMARY KEY, v INT) WITHOUT ROWID;
        CREATE TABLE ok (id INTEGER PRIMARY KEY, t TEXT REFERENCES w (n));
        INSERT INTO t VALUES ('b', 1), ('A', 2), ('C', 3);
        INSERT INTO w VALUES ('b', 1), ('A', 2), ('C', 3);
        INSERT INTO ok VALUES (1, 'A');
        """
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert () == dry.problems
    assert (
        {"t.n", "w.n", "i"} == set(skipped(dry, "collation")) == set(skipped(report, "collation"))
    )
    assert [("A", 2), ("C", 3), ("b", 1)] == pg('SELECT * FROM t ORDER BY n COLLATE "C"')
    assert [("A", 2), ("C", 3), ("b", 1)] == pg('SELECT * FROM w ORDER BY n COLLATE "C"')
    assert [(1, "A")] == pg("SELECT * FROM ok")


@pytest.mark.parametrize(
    "columns",
    [
        "g AS (score(n)), h AS (g + 1), k AS (coalesce(h, 0))",
        'k AS (coalesce(H, 0)), h AS ("g" + 1), g AS (score(n))',
        "g AS (c = 'abc'), h AS (iif(g, 1, 2)), k AS (h)",
        "g AS (max(c, 'abc')), h AS (CASE c WHEN 'abc' THEN 1 END), k AS (n COLLATE icu_root < '')",
    ],
)
def test_columns_that_only_the_application_can_compute(foreign, pg_url, pg, columns):
    """
    Through another column, or by comparing with its collation: a stand-in's value is not moved.
    """
    path = foreign(
        f"CREATE TABLE u (id INTEGER PRIMARY KEY, n TEXT, c TEXT COLLATE icu_root, {columns},"
        " size AS (length(c)), twice AS (size * 2), s AS (score(n) + 1) STORED);",
        rows=("INSERT INTO u (n, c) VALUES ('Abc', 'ABC')",),
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    not_moved = [s.name for s in report.skipped if "its values are not moved" in s.reason]
    assert {"u.g", "u.h", "u.k"} == set(not_moved)
    assert dry.skipped == report.skipped
    assert [(1, "Abc", "ABC", 3, 6, "4")] == pg("SELECT id, n, c, size, twice, s::text FROM u")
    assert [(6,)] == pg("SELECT count(*) FROM information_schema.columns WHERE table_name = 'u'")


def test_functions_of_the_application(foreign, pg_url, pg):
    """
    In a generated column, an index, a partial predicate, a CHECK; also as a quoted name.
    """
    path = foreign(
        """
        CREATE TABLE u (id INTEGER PRIMARY KEY, n TEXT, g AS (score(n)),
          q AS ("score"(n) + 1), s INT AS (score(n)) STORED, UNIQUE (n, s),
          CHECK (score(n) < 100), CHECK (n REGEXP 'a+'));
        CREATE INDEX i ON u (score(n));
        CREATE INDEX j ON u (n) WHERE score(n) > 1;
        CREATE TABLE ok (id INTEGER PRIMARY KEY);
        """,
        rows=("INSERT INTO u (n) VALUES ('Abc')", "INSERT INTO ok VALUES (3)"),
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert () == dry.problems
    assert {"u.g", "u.q", "u.s"} == set(skipped(report, "generated column"))
    assert {"i", "j"} == set(skipped(report, "index"))
    assert 2 == len(skipped(report, "check"))
    assert set(map(str, dry.skipped)) == set(map(str, report.skipped))
    assert [(1, "Abc", 3)] == pg("SELECT * FROM u")
    assert [(3,)] == pg("SELECT * FROM ok")


def break_schema(path: str, name: str, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, name))


def test_a_view_that_only_a_newer_sqlite_can_parse(lite, pg_url, pg):
    """
    It is listed, and the rest moves; quick_check finds no damage.
    """
    path = lite("CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT 1")
    break_schema(path, "v", "CREATE VIEW v AS SELECT a FROM t OVERLAPPING JOIN t")

    report = migrate(path, pg_url, verify="full")

    assert ["v"] == skipped(report, "view")
    assert [("1",)] == pg("SELECT a::text FROM t")


def test_a_table_that_only_a_newer_sqlite_can_parse(lite, pg_url):
    """
    Its rows would be lost, so it is refused by its name, and not as damage.
    """
    path = lite("CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE TABLE n (a)")
    break_schema(path, "n", "CREATE TABLE n (a) WITH FANCY STORAGE")

    with pytest.raises(SourceUnreadable, match="the table n") as raised:
        migrate(path, pg_url)

    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("dry_run", [True, False])
def test_damage_is_still_called_so(lite, pg_url, dry_run):
    """
    A page in the middle of the file is overwritten; SQLite's check finds it.
    """
    path = lite(
        "CREATE TABLE t (a); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c"
        " WHERE i < 2000) INSERT INTO t SELECT hex(randomblob(100)) FROM c"
    )
    raw = bytearray(Path(path).read_bytes())
    raw[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    Path(path).write_bytes(raw)

    with pytest.raises(SourceUnreadable, match="the file is damaged"):
        migrate(path, pg_url, dry_run=dry_run)
