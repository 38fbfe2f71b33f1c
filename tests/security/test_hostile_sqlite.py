"""A SQLite file of a stranger: nothing in it runs in PostgreSQL, and nothing hangs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg
import pytest

import oxy_pg

# A function of PostgreSQL whose work no rollback undoes. SQLite does not have it; with one of the
# same name, as the application of a file may bring it along, it takes the definitions.
CALLED = "nextval('marker')"

EVERYWHERE = f"""
    CREATE TABLE t (
        a INTEGER PRIMARY KEY,
        b INTEGER DEFAULT ({CALLED}),
        c INTEGER AS ({CALLED}) STORED,
        CHECK ({CALLED} IS NULL), CHECK ("nextval"('marker') IS NULL)
    );
    INSERT INTO t (a, b) VALUES (1, NULL);
    CREATE INDEX i ON t ({CALLED});
    CREATE INDEX p ON t (a) WHERE {CALLED} IS NULL;
    CREATE UNIQUE INDEX u ON t (a) WHERE "nextval"('marker') IS NULL;
    CREATE VIEW plain AS SELECT {CALLED} AS x FROM t;
    CREATE VIEW quoted AS SELECT "nextval"('marker') AS x FROM t;
    CREATE VIEW bracketed AS SELECT [nextval]('marker') AS x FROM t;
    CREATE VIEW backticked AS SELECT `NextVal` ('marker') AS x FROM t;
    CREATE VIEW commented AS SELECT nextval /* */ ('marker') AS x FROM t;
    CREATE VIEW conditional AS SELECT a FROM t WHERE {CALLED} IS NULL;
    CREATE VIEW nested AS SELECT coalesce(abs({CALLED}), 1) AS x FROM t;
    CREATE VIEW counted AS SELECT count({CALLED}) AS x FROM t;
    CREATE VIEW filtered AS SELECT count(*) FILTER (WHERE {CALLED} IS NULL) AS x FROM t;
    CREATE VIEW sorted AS SELECT a FROM t ORDER BY {CALLED};
    CREATE VIEW limited AS SELECT a FROM t LIMIT coalesce({CALLED}, 1);
    CREATE VIEW grouped AS SELECT a FROM t GROUP BY a HAVING {CALLED} IS NULL;
    CREATE VIEW joined AS SELECT x.a FROM t x JOIN t y ON {CALLED} IS NULL;
    CREATE VIEW below AS SELECT (SELECT {CALLED}) AS x FROM t;
    CREATE VIEW common AS WITH w AS (SELECT {CALLED} AS x) SELECT x FROM w;
    CREATE VIEW cases AS SELECT CASE WHEN a THEN {CALLED} ELSE 1 END AS x FROM t;
    CREATE VIEW cast_ AS SELECT CAST({CALLED} AS TEXT) AS x FROM t;
    CREATE VIEW united AS SELECT a FROM t UNION ALL SELECT {CALLED};
    CREATE VIEW of_view AS SELECT x FROM plain;
    CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT {CALLED}; END;
"""


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary() as running:
        yield running


@pytest.fixture
def target(server):
    """A superuser's URL, by which a function could do anything; and a sequence that tells."""
    name = "hostile"
    server.create_database(name)
    url = server.socket_url(name).replace("//oxy@", "//postgres@")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SEQUENCE marker")
    yield url
    server.drop_database(name)


def was_called(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT is_called FROM marker").fetchone()
    assert row is not None
    return bool(row[0])


@pytest.fixture
def source(tmp_path):
    def make(script: str):
        path = tmp_path / "hostile.db"
        with closing(sqlite3.connect(path)) as lite:
            lite.create_function("nextval", -1, lambda *_: None, deterministic=True)
            lite.executescript(script)
        return path

    return make


def test_the_sequence_tells(target):
    """
    The test's own means: what a rolled back transaction has called is seen.
    """
    with psycopg.connect(target) as connection:
        connection.execute(f"SELECT {CALLED}")
        connection.rollback()

    assert was_called(target)


@pytest.mark.parametrize("option", [{}, {"dry_run": True}, {"rehearse": True}])
def test_no_function_that_sqlite_lacks_is_called(source, target, option):
    """
    In views, checks, defaults, indexes and generated columns; the rows are moved all the same.
    """
    report = oxy_pg.migrate_sqlite(source(EVERYWHERE), target, **option)

    assert not was_called(target)
    assert [table.name for table in report.tables] == ["t"]
    left = {one.name for one in report.skipped if one.kind == "view"}
    assert {"plain", "quoted", "conditional", "joined", "of_view"} <= left
    if not option:
        with psycopg.connect(target) as connection:
            assert [(1,)] == connection.execute("SELECT a FROM t").fetchall()
            views = "SELECT count(*) FROM pg_views WHERE schemaname = 'public'"
            assert (0,) == connection.execute(views).fetchone()


INSERT = (
    "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) "
    "VALUES (CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?, CAST(? AS TEXT))"
)


@pytest.mark.parametrize(
    "row",
    [
        (b"table", b"\xff", b"\xff", 2, b'CREATE TABLE "\xff" (a)'),  # two tables on one page
        (b"view", b"\xff", b"\xff", 0, b'CREATE VIEW "\xff" AS SELECT * FROM "\xfe"'),
        (b"view", b"v", b"v", 0, b'CREATE VIEW v AS SELECT "\xff".x FROM t'),
        (b"trigger", b"\xff", b"t", 0, b"CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END"),
        (b"table", b"z", b"z", 9, b'CREATE TABLE z ("\xff" TEXT COLLATE "\xfe")'),
        (b"index", b"i", b"t", 0, b'CREATE INDEX i ON t ("\xff"(a))'),
        (b"nonsense", b"\xff", b"\xff", -1, b"\xff"),
    ],
)
def test_a_schema_that_is_not_text(source, server, tmp_path, row):
    """
    SQLite's message about it is not text, either: a typed error, or the name is replaced.
    """
    path = source("CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    with closing(sqlite3.connect(path)) as lite:
        lite.execute("PRAGMA writable_schema = ON")
        lite.execute(INSERT, row)
        lite.commit()
    name = "untext"
    server.create_database(name)
    try:
        for verb in (
            lambda: oxy_pg.migrate_sqlite(path, server.url(name), dry_run=True),
            lambda: oxy_pg.migrate_sqlite(path, server.url(name)),
            lambda: oxy_pg.export_sqlite(tmp_path / "out.db", server.url(name), like=path),
        ):
            try:
                verb()
            except oxy_pg.OxyPgError as error:
                assert str(error).isascii() or "\ufffd" in str(error)  # noqa: PT017 - or it works
    finally:
        server.drop_database(name)


STATEMENTS = (
    "CREATE TABLE t (a INTEGER PRIMARY KEY); ATTACH '{}' AS other",
    "CREATE TABLE t (a INTEGER PRIMARY KEY); VACUUM INTO '{}'",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_an_original_of_an_export_writes_no_other_file(source, server, tmp_path, statement):
    """
    The schema of --like is executed: one statement for each object, and no more.
    """
    other = tmp_path / "other.db"
    path = source("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    with closing(sqlite3.connect(path)) as lite:
        lite.execute("PRAGMA writable_schema = ON")
        lite.execute("UPDATE sqlite_master SET sql = ?", [statement.format(other)])
        lite.commit()

    with pytest.raises(oxy_pg.OxyPgError):
        oxy_pg.export_sqlite(tmp_path / "out.db", server.url(), like=path)

    assert not other.exists()
    assert not (tmp_path / "out.db").exists()
