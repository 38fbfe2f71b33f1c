"""Defaults: translated, or skipped by name."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from datetime import UTC, datetime

import pytest

from oxy_pg.migrate.migration import migrate

DEFAULTS = [
    ("timestamptz", "CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"),
    ("timestamptz", "current_timestamp", "CURRENT_TIMESTAMP"),
    ("datetime", "(datetime('now'))", "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC'::text)"),
    ("text", "(strftime('%Y-%m-%d %H:%M:%f', 'now'))", "to_char("),
    ("integer", "(strftime('%s', 'now'))", "floor(EXTRACT(epoch FROM CURRENT_TIMESTAMP))"),
    ("integer", "(unixepoch())", "floor(EXTRACT(epoch FROM CURRENT_TIMESTAMP))"),
    ("boolean", "FALSE", "false"),
    ("boolean", "1", "true"),
    (
        "uuid_text",
        "x'00000000000000000000000000000000'",
        "'00000000-0000-0000-0000-000000000000'::uuid",
    ),
    ("varchar", "'member'", "'member'::text"),
    ("integer", "-5", "'-5'::integer"),
    ("json_text", "'{}'", "'{}'::json"),
    ("real", "1.5", "1.5"),
    ("blob", "x'00ff'", r"'\x00ff'::bytea"),
]


@pytest.mark.parametrize(("declared", "default", "expected"), DEFAULTS)
def test_defaults_are_translated(move, pg, declared, default, expected):
    """
    Field note 9: defaults that other tools stop at.
    """
    move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared} DEFAULT {default})")
    ((found,),) = pg(
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 't'::regclass"
    )
    assert expected in found
    pg("INSERT INTO t DEFAULT VALUES")


# What the column's numbers count, its default, and the moment that it is.
MOMENTS = [
    ("datetime", 1700000000, "0", "1970-01-01 00:00:00+00"),
    ("datetime", 1700000000123, "(1700000000000)", "2023-11-14 22:13:20+00"),
    ("timestamp", 1700000000, "-62135596800", "0001-01-01 00:00:00+00"),
    ("datetime", 1700000000, "'2024-01-01 10:00:00'", "2024-01-01 10:00:00+00"),
]


@pytest.mark.parametrize(("declared", "value", "default", "moment"), MOMENTS)
def test_the_default_of_a_time_is_read_as_its_values_are(
    move, pg, declared, value, default, moment
):
    """
    A NOT NULL column without its default would stop the application's INSERTs.
    """
    script = f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared} NOT NULL DEFAULT {default})"
    report = move(script, {"t": [(1, value)]})
    assert [] == [s for s in report.skipped if s.kind == "default"]
    pg("INSERT INTO t (id) VALUES (2)")
    assert [(moment,)] == pg("SELECT v::text FROM t WHERE id = 2")


def test_a_default_that_a_type_would_cut_is_left_behind(move):
    """
    A day has no time: the rows would stop the migration, and the default is not cut either.
    """
    report = move("CREATE TABLE t (v DATE DEFAULT '2024-01-01 10:00:00')")
    assert ["t.v"] == [s.name for s in report.skipped if s.kind == "default"]


@pytest.mark.parametrize(
    ("default", "type_"),
    [
        ("5000000000", "bigint"),
        ("(unixepoch() * 1000)", "bigint"),
        ("'7'", "integer"),
        ("-1", "integer"),
        ("NULL", "integer"),
    ],
)
def test_integers_become_narrow_only_if_their_default_fits(move, pg, default, type_):
    """
    The values are small, and those of the next rows may not be.
    """
    script = f"CREATE TABLE t (id INTEGER PRIMARY KEY, v INT NOT NULL DEFAULT {default})"
    report = move(script, {"t": [(1, 1)]}, integers="auto")
    assert [] == [s for s in report.skipped if s.kind == "default"]
    assert [(type_,)] == pg(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attname = 'v'"
    )


OTHERS = [
    "(julianday('now'))",
    "(typeof(1))",
    "(date('now', 'weekday 0'))",
    "(date('2024-01-01', '+1 day'))",
    "(strftime('%W', 'now'))",
    "(strftime('%Y\"', 'now'))",
    "(substr('abc', 0))",
    "(1 / 0)",
    "(1 + random() % 0)",
    "(lower('É'))",
    "(randomblob(4))",
    "(1 = 1)",
    "(sqlite_version())",
]


@pytest.mark.parametrize("default", OTHERS)
def test_other_defaults_are_left_behind_by_name(move, default):
    """
    Field note 9: what is not certain is dropped, and listed.
    """
    report = move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v text DEFAULT {default})")
    assert [("default", "t.v")] == [(s.kind, s.name) for s in report.skipped]


def moment(text):
    """The seconds since 1970 of a time as either side writes it, without an offset or in UTC."""
    if re.fullmatch(r"-?[\d.]+", text):
        number = float(text)
        if 2_400_000 < number < 2_500_000:
            return (number - 2_440_587.5) * 86_400
        for unit in (1e6, 1e3, 1):
            if number / unit > 1e9:
                return number / unit
        return number * 86_400  # days
    plain = re.sub(r"(Z|\+00(:00)?)$", "", text.replace("T", " "))
    return datetime.fromisoformat(plain).replace(tzinfo=UTC).timestamp()


def now(lite, target):
    return abs(moment(lite) - moment(target)) < 10


def same(lite, target):
    return lite == target


def like(pattern):
    """Both are random, in this form."""

    def check(lite, target):
        return re.fullmatch(pattern, lite) and re.fullmatch(pattern, target)

    return check


V4 = (
    "(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || "
    "substr(lower(hex(randomblob(2))), 2) || '-' || substr('89ab', abs(random()) % 4 + 1, 1) || "
    "substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))"
)
V4_FORM = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
COMPUTED = [
    ("TEXT", "('r' || lower(hex(randomblob(7))))", like(r"r[0-9a-f]{14}")),
    ("TEXT", "(hex(randomblob(40)))", like(r"[0-9A-F]{80}")),
    ("TEXT", "(HEX(RANDOMBLOB(0)))", like(r"[0-9A-F]{2}")),
    ("TEXT", V4, like(V4_FORM)),
    ("VARCHAR(40)", "(upper(hex(randomblob(3))) || '_' || 7)", like(r"[0-9A-F]{6}_7")),
    ("char(36)", V4, like(V4_FORM)),
    ("INTEGER", "(random())", like(r"-?\d+")),
    ("INTEGER", "(abs(random()) % 6 + 1)", like(r"[1-6]")),
    ("BIGINT", "(abs(random()))", like(r"\d+")),
    ("TEXT", "(random())", like(r"-?\d+")),
    ("INTEGER", "(unixepoch()*1000)", now),
    ("INTEGER", "(1000 * unixepoch())", now),
    ("INTEGER", "(unixepoch('now') * 1000000)", now),
    ("INTEGER", "(strftime('%s', 'now') * 1000)", now),
    ("INTEGER", "(cast(strftime('%s', 'now') as int) * 1000)", now),
    ("INTEGER", "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))", now),
    ("INTEGER", "(unixepoch() / 86400)", now),
    ("INTEGER", "(unixepoch() + 5)", now),
    ("TEXT", "(strftime('%s', 'now'))", now),
    ("REAL", "(julianday('now'))", now),
    ("REAL", "(julianday())", now),
    ("REAL", "(unixepoch() / 1.0)", now),
    ("NUMERIC", "(unixepoch())", now),
    ("DATETIME", "(unixepoch())", now),
    ("DATETIME", "(unixepoch() * 1000)", now),
    ("TIMESTAMP", "(julianday('now'))", now),
    ("timestamptz", "(strftime('%s', 'now'))", now),
    ("TEXT", "(strftime('%Y-%m-%d %H:%M:%fZ'))", now),
    ("TEXT", "(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", now),
    ("TEXT", "(strftime('%Y-%m-%d %H:%M:%S', 'now', '+1 day', '-86400 seconds'))", now),
    ("TEXT", "(strftime('day %d of month %m, %Y'))", same),
    ("TEXT", "(date('now', 'start of month'))", same),
    ("TEXT", "(datetime('now', 'start of year', '-1 second'))", same),
    ("DATE", "(date('now', '+30 days'))", same),
    ("DATETIME", "(datetime('now', 'start of day'))", same),
    ("DATETIME", "(datetime('now', 'utc'))", now),
    ("TEXT", "CURRENT_TIMESTAMP", now),
    ("TEXT", '"plain"', same),
    ("TEXT", '"a ""quoted"" word"', same),
    ("TEXT", "('it''s ' || 'so' || 1)", same),
    ("TEXT", "(upper('abc'))", same),
    ("TEXT", "(substr('abcdef', 2, 3))", same),
    ("INTEGER", "(7 * 6 - 2)", same),
    ("INTEGER", "(-7 / 2)", same),
    ("INTEGER", "(-7 % 3)", same),
    ("JSON", "(json_array())", same),
    ("JSON", "(json('{}'))", same),
]


@pytest.mark.parametrize(("declared", "default", "check"), COMPUTED)
def test_a_computed_default_gives_what_it_gives_in_sqlite(
    lite, pg_url, pg, declared, default, check
):
    """
    A row that is inserted on either side; what is random is another value in each row.
    """
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared} NOT NULL DEFAULT {default})")
    report = migrate(path, pg_url)
    assert () == report.skipped
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t DEFAULT VALUES")
        ((here,),) = connection.execute("SELECT CAST(v AS TEXT) FROM t")
    pg("INSERT INTO t DEFAULT VALUES; INSERT INTO t SELECT generate_series(10, 40)")
    there = [row[0] for row in pg("SELECT v::text FROM t ORDER BY id")]
    for one in there:
        assert check(here, one), (here, one)
    if "random" in default.lower():
        assert len(set(there)) > 1


@pytest.mark.parametrize(
    ("declared", "default", "zoned"),
    [
        ("TEXT", "(datetime('now', 'localtime'))", "to_char(now(), 'YYYY-MM-DD HH24')"),
        ("DATETIME", "(datetime('now', 'localtime'))", "to_char(now(), 'YYYY-MM-DD HH24')"),
        (
            "TEXT",
            "(strftime('%Y-%m-%d %H', 'now', 'localtime'))",
            "to_char(now(), 'YYYY-MM-DD HH24')",
        ),
        ("DATE", "(date('now', 'localtime'))", "to_char(now(), 'YYYY-MM-DD')"),
    ],
)
def test_local_time_is_that_of_the_session(move, pg, declared, default, zoned):
    report = move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared} DEFAULT {default})")
    assert () == report.skipped
    pg("SET TimeZone = 'Pacific/Kiritimati'")  # fourteen hours ahead
    pg("INSERT INTO t DEFAULT VALUES")
    ((found, wanted),) = pg(f"SELECT v::text, {zoned} FROM t")
    assert found.startswith(wanted)


def test_random_bytes_of_a_uuid_are_one(move, pg):
    move(
        "CREATE TABLE t (id uuid_text DEFAULT (randomblob(16)),"
        "v uuid DEFAULT (lower(hex(randomblob(16)))))"
    )
    pg("INSERT INTO t DEFAULT VALUES")
    ((one, two),) = pg("SELECT * FROM t")
    assert one != two
    assert [("uuid", "uuid")] == pg("SELECT pg_typeof(id)::text, pg_typeof(v)::text FROM t")


V4 = (
    "hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) "
    "|| '-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))"
)


@pytest.mark.parametrize(
    ("declared", "expression", "is_kept"),
    [
        ("uuid", V4, True),
        ("uuid", "hex(randomblob(16))", True),
        ("uuid", "lower(hex(randomblob(4)))", False),
        ("uuid", "'x' || hex(randomblob(16))", False),
        ("varchar(32)", "hex(randomblob(16))", True),
        ("varchar(20)", "hex(randomblob(16))", False),
        ("char(8)", "datetime('now')", False),
    ],
)
def test_a_default_whose_values_do_not_fit_is_left_behind(move, pg, declared, expression, is_kept):
    """
    PostgreSQL would refuse the first row that takes it.
    """
    report = move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared} DEFAULT ({expression}))")
    assert ["default"] * (not is_kept) == [one.kind for one in report.skipped]
    pg("INSERT INTO t (id) VALUES (1)")
    assert [(is_kept,)] == pg("SELECT v IS NOT NULL FROM t")
