"""Conditions mean in PostgreSQL what they mean in SQLite, or stay behind: SQLite is the oracle."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from oxy_pg.migrate.migration import migrate

TABLE = """
CREATE TABLE t (
  id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, r REAL, ok BOOLEAN,
  s TEXT, o TEXT, n TEXT COLLATE NOCASE, p TEXT COLLATE RTRIM
  {check}
);
"""
ROWS = [
    (1, 5, 2, 1.5, 1, "open", "open", "open", "open"),
    (2, 0, 0, 0.0, 0, "Open", "open", "Open", "open  "),
    (3, None, 1, None, None, None, None, None, None),
    (4, -1, None, -2.5, 1, "zebra", "É", "ÉTÉ", " open"),
    (5, 7, 7, 7.0, 0, "", "", "", ""),
    (6, 1, 5, 100.0, 1, "b", "B", "CLOSED", "closed "),
    (7, 2, 2, 0.1, 0, "été", "ETE", "été", "Closed"),
    (8, 3, None, 9.5, None, "Zulu", "a", "zULU", "zulu"),
]
KEPT = [
    "a > 0",
    "a",
    "NOT a",
    "r",
    "ok",
    "NOT ok",
    "ok = 1",
    "ok IS 1",
    "ok IN (0, 1)",
    "a IS NOT 5",
    "a IS 5",
    "a IS b",
    "a IS NOT b",
    "s IS 'open'",
    "a NOT NULL",
    "a NOTNULL OR b ISNULL",
    "a IS NOT NULL AND b IS NOT NULL",
    "a IS TRUE",
    "a IS NOT TRUE",
    "(a IS NULL) + (b IS NULL) = 1",
    "(a > 1) = 1",
    "(a > 1) = (b > 1)",
    "a + b > 5 OR a * 2 = b - 1",
    "a < 5 = 1",
    "NOT a = 5",
    "NOT a IN (1, 2) AND b",
    "a NOT IN (1, 2, 3)",
    "a BETWEEN 1 AND 5",
    "a NOT BETWEEN b AND 5",
    "a = -1",
    "a > -2 AND r < 1e2",
    "r BETWEEN -3 AND 0x10",
    "s IN ('open', 'closed')",
    's IN ("open", "zebra")',
    "s = o",
    "s < o",
    "s BETWEEN 'A' AND 'Z'",
    "s >= 'a' AND s <= 'z'",
    "s > 'Z' OR s IS NULL",
    "n IN ('open', 'closed')",
    "n = 'OPEN'",
    "n <> s",
    "n BETWEEN 'a' AND 'p'",
    "n < 'p'",
    "p = 'open'",
    "p IN ('open', 'closed')",
    "p < 'open!'",
    "lower(s) = 'open'",
    "upper(s) = 'ÉTÉ' OR lower(n) = 'Été'",
    "lower(n) = 'OPEN'",
    "length(s) > 3 AND length(n) = length(o)",
    "abs(a) = 1",
    "coalesce(s, 'x') = 'x'",
    "ifnull(a, 0) > 0",
    "trim(p) = 'open' OR rtrim(p) = p",
    "(s = 'open' OR a > 2) AND (b < 6 OR b IS NULL)",
    "s COLLATE NOCASE IN ('OPEN', 'b')",
    "s = 'OPEN' COLLATE NOCASE",
    "n COLLATE BINARY = 'open'",
    "n = 'open' COLLATE BINARY",
    "s = p COLLATE RTRIM OR p COLLATE NOCASE = s",
    "s COLLATE NOCASE BETWEEN 'B' AND 'p'",
    "s COLLATE NOCASE < o COLLATE BINARY",
    "1",
    "a = 1 OR NULL",
]
LEFT = [
    "s LIKE 'o%'",
    "s GLOB '[a-z]*'",
    "s",
    "typeof(a) = 'integer'",
    "a / 2 = 1",
    "a % 2 = 1",
    "s = 1",
    "a = s",
    "s || o = 'x'",
    "CASE WHEN a THEN 1 ELSE 0 END",
    "a COLLATE NOCASE = 1",
    "s = 'x' COLLATE unheard_of",
    "s > 5",
    "json_valid(s)",
    "length(a) > 1",
    "date(s) IS NOT NULL",
]


def falls_short(path: str, condition: str) -> list[int]:
    """The rows of which SQLite says that they break a CHECK."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute(f"SELECT id FROM t WHERE NOT ({condition}) ORDER BY id")
        return [row[0] for row in rows]


@pytest.mark.parametrize("condition", KEPT)
def test_what_is_kept_means_the_same(lite, pg_url, pg, condition):
    """
    The CHECK in PostgreSQL is broken by exactly the rows that break it in SQLite.
    """
    path = lite(TABLE.format(check=""), {"t": ROWS})
    broken = falls_short(path, condition)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        made = TABLE.format(check=f", CONSTRAINT wanted CHECK ({condition})").strip().rstrip(";")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 't'", (made,))

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert [] == [str(s) for s in dry.skipped if s.kind == "check"]
    (statement,) = [s for s in report.statements if "CONSTRAINT" in s and "CHECK" in s]
    check = statement.partition("CHECK ")[2]
    assert [(id_,) for id_ in broken] == pg(f"SELECT id FROM t WHERE NOT {check} ORDER BY id")
    if not broken:
        assert [(1,)] == pg("SELECT count(*) FROM pg_constraint WHERE conname = 'wanted'")


@pytest.mark.parametrize("condition", LEFT)
def test_what_is_uncertain_is_listed_by_the_dry_run_too(lite, pg_url, condition):
    """
    With SQLite's own SQL.
    """
    path = lite(TABLE.format(check=f", CHECK ({condition})"))

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url)

    (left,) = [s for s in dry.skipped if s.kind == "check"]
    assert left in report.skipped
    assert left.sql is not None
    assert left.sql.startswith("CHECK (")


@pytest.mark.parametrize(
    ("index", "allowed", "refused"),
    [
        ("UNIQUE INDEX i ON t (s) WHERE s BETWEEN 'A' AND 'Z'", ("b", "b"), ("B", "B")),
        ("UNIQUE INDEX i ON t (lower(s))", ("É", "é"), ("E", "e")),
        ("UNIQUE INDEX i ON t (a) WHERE s IN ('x') AND a", ("y", "y"), ("x", "x")),
        ("UNIQUE INDEX i ON t (a) WHERE n = 'open'", ("shut", "SHUT"), ("open", "OPEN")),
    ],
)
def test_unique_indexes_refuse_what_they_refused(move, pg, index, allowed, refused):
    """
    Whatever the server's collation: the predicate and the term are SQLite's.
    """
    move(f"CREATE TABLE t (a INT, s TEXT, n TEXT COLLATE NOCASE); CREATE {index};")

    for value in allowed:
        pg("INSERT INTO t VALUES (1, %s, %s)", value, value)
    assert [(2,)] == pg("SELECT count(*) FROM t")
    pg("INSERT INTO t VALUES (2, %s, %s)", refused[0], refused[0])
    with pytest.raises(Exception, match="duplicate key"):
        pg("INSERT INTO t VALUES (2, %s, %s)", refused[1], refused[1])
