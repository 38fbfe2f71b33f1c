"""Tables, keys, constraints and generated columns as the target gets them."""

from __future__ import annotations

import contextlib
import sqlite3

import psycopg
import pytest

from oxy_pg.errors import (
    BadValues,
    SchemaMismatch,
)
from oxy_pg.migrate.migration import migrate
from tests.migrate.test_properties import check_migration


def test_a_foreign_key_to_nowhere_is_left_out(move, pg):
    """
    Field note 16: a foreign key to a table that has gone.
    """
    report = move(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, r REFERENCES _runs_old (id))", {"t": [(1, 5)]}
    )
    assert any("_runs_old" in warning for warning in report.warnings)
    assert [(1, 5)] == pg("SELECT * FROM t")


def test_cycles_and_self_references(move, pg):
    """
    Field note 17: constraints come after the data.
    """
    move(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b (id));"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id), s REFERENCES b (id));"
        "INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (2, 1, 3), (3, 1, 2);"
    )
    assert [(3,)] == pg("SELECT count(*) FROM pg_constraint WHERE contype = 'f'")


def test_nocase_uniqueness_is_kept(move, pg):
    """
    Field note 22: UNIQUE COLLATE NOCASE still refuses what differs in case alone.
    """
    move("CREATE TABLE t (email TEXT UNIQUE COLLATE NOCASE)", {"t": [("a@x.org",)]})
    with pytest.raises(psycopg.errors.UniqueViolation):
        pg("INSERT INTO t VALUES ('A@X.org')")


def test_a_primary_key_with_nulls_becomes_unique(move, pg):
    """
    Field note 22: in a new table the key keeps its meaning as a UNIQUE constraint.
    """
    report = move("CREATE TABLE t (id TEXT PRIMARY KEY)", {"t": [(None,), (None,), ("a",)]})
    assert [("primary key", "t")] == [(s.kind, s.name) for s in report.skipped]
    assert [("UNIQUE (id)",)] == pg(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass"
    )


def test_generated_columns_checks_views_and_triggers(move, pg):
    """
    Field note 26: carried over where certain, else listed.
    """
    report = move(
        "CREATE TABLE t (a INTEGER CHECK (a > 0), b INTEGER, "
        "c INTEGER GENERATED ALWAYS AS (a + b) STORED, d TEXT AS (upper(e)), e TEXT, "
        "CONSTRAINT named CHECK (b IN (1, 2, 3)), CHECK (e LIKE 'x%'));"
        "INSERT INTO t (a, b, e) VALUES (1, 2, 'xyz');"
        "CREATE VIEW v AS SELECT 1; CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;"
        "CREATE INDEX p ON t (a) WHERE b IS NOT NULL AND a > 0; CREATE INDEX x ON t (lower(e));"
        "CREATE INDEX y ON t (e || 'x')"
    )
    assert [(1, 2, 3, "XYZ", "xyz")] == pg("SELECT * FROM t")
    assert {"trigger", "check", "generated column", "index"} == {s.kind for s in report.skipped}
    assert [(1,)] == pg("SELECT * FROM v")
    indexes = {
        row[0]
        for row in pg(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass"
        )
    }
    assert {"p", "x"} == indexes
    with pytest.raises(psycopg.errors.CheckViolation):
        pg("INSERT INTO t (a, b) VALUES (0, 1)")
    with pytest.raises(psycopg.errors.CheckViolation, match="named"):
        pg("INSERT INTO t (a, b) VALUES (1, 9)")


def test_too_many_columns_are_refused(move):
    """
    Field note 28: SQLite takes 2,000 columns, PostgreSQL 1,600.
    """
    columns = ", ".join(f"c{i}" for i in range(1700))
    with pytest.raises(SchemaMismatch, match="1,700 columns"):
        move(f"CREATE TABLE t ({columns})")


def test_as_many_columns_as_postgres_takes(move, pg):
    """
    Field note 28: a table of 1,600 columns moves.
    """
    columns = ", ".join(f"c{i} int" for i in range(1600))
    report = move(f"CREATE TABLE t ({columns}); INSERT INTO t (c0, c1599) VALUES (1, 2)")
    assert 1 == report.rows
    assert [(1, 2)] == pg("SELECT c0, c1599 FROM t")


def test_foreign_key_to_a_key_that_stays_behind(lite, pg_url):
    """
    json has no equality, so the key stays behind, and the foreign key with it.
    """
    path = lite(
        """
        CREATE TABLE t (
          id json_text NOT NULL PRIMARY KEY, parent json_text,
          FOREIGN KEY (parent) REFERENCES t (id)
        );
        INSERT INTO t VALUES ('{"a": 1}', NULL);
        """
    )

    report = migrate(path, pg_url, verify="full")

    assert {"primary key", "foreign key"} <= {skipped.kind for skipped in report.skipped}


def test_unique_over_text_and_json_stays_behind(lite, pg_url):
    """
    What PostgreSQL cannot index is reported, not raised.
    """
    path = lite(
        """
        CREATE TABLE t (name TEXT COLLATE NOCASE, data json_text, UNIQUE (name, data));
        INSERT INTO t VALUES ('a', '{}');
        """
    )

    check_migration(path, pg_url)


def test_primary_key_that_holds_null(lite, pg_url):
    """
    SQLite takes NULL in a key that is no rowid: it arrives, and the key is UNIQUE.
    """
    path = lite(
        """
        CREATE TABLE t (a TEXT, b INT, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('x', 1), ('x', NULL);
        """
    )

    check_migration(path, pg_url)


@pytest.mark.parametrize(
    ("expression", "number", "is_kept"),
    [
        ("n * 2", 1.79e308, False),
        ("n * n", -1e200, False),
        ("n / 1e-10", 1e300, False),
        ("n * 1e-10", 1e-320, False),
        ("n * 2", float("inf"), True),
        ("n * 2", 0.0, True),
        ("n - 1.5", 1.5, True),
    ],
)
def test_generated_values_that_overflow_come_along(lite, pg_url, pg, expression, number, is_kept):
    """
    Infinite in SQLite, an error in PostgreSQL: the value is moved, the expression reported.
    """
    path = lite(
        f"""
        CREATE TABLE t (id INTEGER PRIMARY KEY, n real, other real AS ({expression}) STORED);
        INSERT INTO t (n) VALUES (1.5);
        """
    )
    with contextlib.closing(sqlite3.connect(path)) as source:
        source.execute("INSERT INTO t (n) VALUES (?)", (number,))
        source.commit()
        wanted = source.execute("SELECT other FROM t ORDER BY id").fetchall()

    planned = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert wanted == pg("SELECT other FROM t ORDER BY id")
    assert ["generated column"] * (not is_kept) == [skipped.kind for skipped in report.skipped]
    assert (planned.statements, planned.skipped) == (report.statements, report.skipped)


def test_generated_values_of_another_type_are_named_by_the_dry_run_too(lite, pg_url):
    """
    A sum that overflows is a REAL in SQLite; PostgreSQL is not asked to compute it.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, more INTEGER AS (n + 1) STORED);
        INSERT INTO t (n) VALUES (1), (9223372036854775807);
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [("more", "id 2")] == [(bad.column, bad.row) for bad in caught.value.values]
    assert 1 == len(migrate(path, pg_url, dry_run=True).problems)


@pytest.mark.parametrize("reference", ["", "REFERENCES t (n)"])
def test_generated_values_of_what_is_emptied_come_along(lite, pg_url, pg, reference):
    """
    SQLite computed 0.0 from a text, or 10.0 from a reference to nothing; PostgreSQL would get NULL.
    """
    path = lite(
        f"""
        CREATE TABLE t (
          n REAL UNIQUE, other REAL {reference}, twice REAL AS (other * 2) STORED
        );
        INSERT INTO t VALUES (1.5, 1.5), (2.5, {5.0 if reference else "'nan'"});
        """
    )

    migrate(path, pg_url, on_bad_value="null", on_orphan="null", verify="full")

    wanted = 10.0 if reference else 0.0
    assert [(1.5, 3.0), (None, wanted)] == pg("SELECT other, twice FROM t ORDER BY n")


def test_a_double_quoted_string_in_a_check_is_a_string(move, pg):
    """
    A name in double quotes that names no column, as old files have it.
    """
    report = move(
        'CREATE TABLE t (v TEXT CHECK (v IN ("on", "off")), "w" TEXT, CHECK ("w" <> "no"))'
    )
    assert () == report.skipped
    pg("INSERT INTO t VALUES ('on', 'yes')")
    with pytest.raises(psycopg.errors.CheckViolation):
        pg("INSERT INTO t VALUES ('broken', 'yes')")
    with pytest.raises(psycopg.errors.CheckViolation):
        pg("INSERT INTO t VALUES ('on', 'no')")
