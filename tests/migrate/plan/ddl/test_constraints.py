"""Constraints keep their names and say when they are checked; what is lost of them is listed."""

from __future__ import annotations

import re

import psycopg
import pytest

from oxy_pg.migrate.migration import migrate

NAMES = """
SELECT conrelid::regclass::text, conname, contype::text, condeferrable, condeferred
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f', 'c')
ORDER BY 1, 2
"""


def names(pg):
    return {name for _, name, *_ in pg(NAMES)}


def test_names_are_kept_where_they_were_given(move, pg):
    """
    Of columns and of tables, quoted in four ways; PostgreSQL chooses the others.
    """
    move(
        """
        CREATE TABLE p (
          id INTEGER CONSTRAINT pk_p PRIMARY KEY, "v w" INT CONSTRAINT "uq v" UNIQUE,
          x INT CONSTRAINT [ck x] CHECK (x > 0), y INT UNIQUE,
          CONSTRAINT `uq y x` UNIQUE (y, x), CONSTRAINT 'ck y' CHECK (y < 5));
        CREATE TABLE c (
          a INT, b INT CONSTRAINT fk_b REFERENCES p (id), d INT REFERENCES p,
          CONSTRAINT pk_c PRIMARY KEY (a, b),
          CONSTRAINT fk_d FOREIGN KEY (d, a) REFERENCES p (y, x) ON DELETE CASCADE
          FOREIGN KEY (a) REFERENCES p (id));
        """
    )

    given = {"pk_p", "uq v", "ck x", "uq y x", "ck y", "pk_c", "fk_b", "fk_d"}
    assert given | {"p_y_key", "c_d_fkey", "c_a_fkey"} == names(pg)


def test_names_that_sqlite_lets_be_used_twice(move, pg):
    """
    In PostgreSQL a key's name is the schema's, a CHECK's the table's: all are kept, some changed.
    """
    report = move(
        """
        CREATE TABLE a (id INT CONSTRAINT pk PRIMARY KEY, v INT CONSTRAINT c CHECK (v > 0),
          w INT CONSTRAINT c CHECK (w > 0), b INT CONSTRAINT pk UNIQUE);
        CREATE TABLE b (id INT CONSTRAINT pk PRIMARY KEY, v INT CONSTRAINT c CHECK (v > 1),
          a INT CONSTRAINT a_pkey UNIQUE);
        CREATE TABLE d (id INT PRIMARY KEY, a INT CONSTRAINT d_b_fkey REFERENCES a (id),
          b INT REFERENCES b (id), e INT CONSTRAINT e UNIQUE);
        CREATE TABLE e (id INT PRIMARY KEY);
        CREATE INDEX d_pkey ON e (id);
        """
    )

    found = [(table, kind) for table, _, kind, *_ in pg(NAMES)]
    expected = (
        [("a", "c")] * 2 + [("a", "p"), ("a", "u"), ("b", "c"), ("b", "p"), ("b", "u")]
        + [("d", "f")] * 2 + [("d", "p"), ("d", "u"), ("e", "p")]
    )  # fmt: skip
    assert sorted(expected) == sorted(found)
    assert {"pk", "c", "a_pkey", "d_b_fkey"} <= names(pg)
    assert "constraint pk of b is called pk_2" in report.warnings


def test_a_name_that_is_too_long(move, pg):
    """
    It is cut, and that is said.
    """
    long = "a_constraint_whose_name_is_longer_than_the_sixty_three_bytes_of_postgresql"
    report = move(f"CREATE TABLE t (v INT CONSTRAINT {long} UNIQUE)")
    assert {long[:63]} == names(pg)
    assert long in str(report.warnings)


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("", (False, False)),
        ("DEFERRABLE", (True, False)),
        ("DEFERRABLE INITIALLY IMMEDIATE", (True, False)),
        ("DEFERRABLE INITIALLY DEFERRED", (True, True)),
        ("NOT DEFERRABLE INITIALLY DEFERRED", (False, False)),
        ("ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED", (True, True)),
        ("MATCH FULL DEFERRABLE INITIALLY IMMEDIATE", (True, False)),
    ],
)
@pytest.mark.parametrize("place", ["column", "table"])
def test_deferrability_is_that_of_each_foreign_key(move, pg, clause, expected, place):
    """
    Its neighbours keep their own.
    """
    own = f"y INT CONSTRAINT fk REFERENCES p (id) {clause}, z INT REFERENCES p (id)"
    if place == "table":
        own = (
            "y INT, z INT, FOREIGN KEY (z) REFERENCES p (id), "
            f"CONSTRAINT fk FOREIGN KEY (y) REFERENCES p (id) {clause}"
        )
    move(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c "
        "(x INT CONSTRAINT late REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED, " + own + ")"
    )

    found = {name: (able, late) for _, name, kind, able, late in pg(NAMES) if kind == "f"}
    assert {"late": (True, True), "fk": expected, "c_z_fkey": (False, False)} == found


def test_on_conflict_is_listed(lite, pg_url):
    """
    For every kind of constraint; ABORT is what PostgreSQL does.
    """
    path = lite(
        """
        CREATE TABLE t (
          id INTEGER PRIMARY KEY ON CONFLICT REPLACE, a INT NOT NULL ON CONFLICT IGNORE DEFAULT 1,
          b INT UNIQUE ON CONFLICT ABORT, c INT, CONSTRAINT u UNIQUE (b, c) ON CONFLICT FAIL);
        """
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url)

    listed = {s.sql for s in dry.skipped if s.kind == "on conflict"}
    assert {
        "PRIMARY KEY (id) ON CONFLICT REPLACE",
        "NOT NULL (a) ON CONFLICT IGNORE",
        "UNIQUE (b, c) ON CONFLICT FAIL",
    } == listed
    assert dry.skipped == report.skipped


def test_a_named_unique_that_ignores_case(move, pg):
    """
    The name is that of the index that keeps it.
    """
    move("CREATE TABLE t (e TEXT COLLATE NOCASE CONSTRAINT uq_e UNIQUE)")

    pg("INSERT INTO t VALUES ('a')")
    with pytest.raises(psycopg.errors.UniqueViolation, match="uq_e"):
        pg("INSERT INTO t VALUES ('A')")


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_plain_index_that_ignored_case_is_listed(move, pg, dry_run):
    """
    It is created, and one for queries with lower() is suggested.
    """
    report = move(
        "CREATE TABLE t (e TEXT COLLATE NOCASE, f TEXT);"
        "CREATE INDEX i ON t (e); CREATE INDEX j ON t (f COLLATE NOCASE, e);"
        "CREATE INDEX k ON t (f); CREATE UNIQUE INDEX u ON t (f COLLATE RTRIM);"
        "CREATE UNIQUE INDEX w ON t (f COLLATE NOCASE);",
        dry_run=dry_run,
    )

    listed = {s.name: s.suggestion for s in report.skipped if s.kind == "collation"}
    assert {"i", "j", "u"} == listed.keys()
    if not dry_run:
        for suggestion in listed.values():
            pg(suggestion)
        assert [(8,)] == pg("SELECT count(*) FROM pg_indexes WHERE tablename = 't'")


def test_a_comparison_is_stored_as_a_number(move, pg):
    """
    A generated column of numbers gets 1 and 0, as in SQLite.
    """
    move(
        "CREATE TABLE t (a INTEGER, b INTEGER, m INTEGER AS (a > b) STORED,"
        " h INTEGER AS (a + 0x10));"
        "INSERT INTO t (a, b) VALUES (1, 2), (3, 2);"
    )
    assert [(0, 17), (1, 19)] == pg("SELECT m, h FROM t ORDER BY a")


@pytest.mark.parametrize(
    "table",
    [
        # A name that PostgreSQL would choose for another constraint, in every pair of kinds.
        "p INTEGER PRIMARY KEY, a INT, CONSTRAINT t_pkey FOREIGN KEY (a) REFERENCES t",
        "p TEXT NOT NULL PRIMARY KEY, a INT, CONSTRAINT t_pkey CHECK (a > 0)",
        "p INTEGER PRIMARY KEY, a INT, CONSTRAINT t_pkey UNIQUE (a)",
        "p INTEGER PRIMARY KEY, a INT UNIQUE, CONSTRAINT t_a_key FOREIGN KEY (a) REFERENCES t",
        "p INTEGER PRIMARY KEY, a INT UNIQUE, CONSTRAINT t_a_key CHECK (a > 0)",
        "p INT, a INT UNIQUE, CONSTRAINT t_a_key PRIMARY KEY (p)",
        "p INT PRIMARY KEY, a INT CHECK (a > 1), CONSTRAINT t_a_check FOREIGN KEY (a) REFERENCES t",
        "p INT PRIMARY KEY, a INT CHECK (a > 1), CONSTRAINT t_a_check CHECK (a < 9)",
        "p INT PRIMARY KEY, a INT REFERENCES t, CONSTRAINT t_a_fkey CHECK (a < 9)",
        "p INT PRIMARY KEY, a INT REFERENCES t, b INT, CONSTRAINT t_a_fkey UNIQUE (b)",
        "p INT PRIMARY KEY, a INT REFERENCES t, b INT CONSTRAINT t_a_fkey REFERENCES t",
        "p INT PRIMARY KEY, a INT UNIQUE, b CONSTRAINT t_a_key1 UNIQUE CONSTRAINT t_pkey CHECK (a)",
    ],
)
def test_a_given_name_is_kept_that_postgresql_would_choose_for_another(move, pg, table):
    """
    As many constraints arrive as there were, of the same kinds; the given names stay.
    """
    given = set(re.findall(r"CONSTRAINT (\w+)", table))
    report = move(f"CREATE TABLE t ({table})")
    found = [(name, kind) for _, name, kind, *_ in pg(NAMES)]
    words = {"p": "PRIMARY KEY", "u": "UNIQUE", "c": "CHECK", "f": "REFERENCES"}
    wanted = {kind: table.count(word) for kind, word in words.items()}
    assert wanted == {kind: [one[1] for one in found].count(kind) for kind in words}
    assert given <= {name for name, _ in found}
    assert () == report.skipped
