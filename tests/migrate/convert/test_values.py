"""What SQLite values become: each kind of type, with the spellings that programs really store."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest

from oxy_pg.errors import (
    BadValues,
)
from oxy_pg.migrate.convert.types import parse_type
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.migration import migrate
from tests.migrate.test_properties import check_migration


def test_booleans_of_every_spelling(move, pg):
    """
    Field note 4: 0/1, t/f, true/false are read.
    """
    values = [0, 1, "t", "f", "true", "FALSE", None]
    move("CREATE TABLE t (b boolean)", {"t": [(v,) for v in values]})
    assert [(v,) for v in (False, True, True, False, True, False, None)] == pg("SELECT b FROM t")


def test_two_is_no_boolean(move):
    """
    Field note 4: 2 is an error that names the row.
    """
    with pytest.raises(BadValues, match=r"t\.b, rowid 2: 2: not a boolean"):
        move("CREATE TABLE t (b boolean)", {"t": [(1,), (2,)]})


def test_existing_integers_are_range_checked(move, pg):
    """
    Field note 5: a sized integer stays as it is; what does not fit is named.
    """
    pg("CREATE TABLE t (n integer)")
    with pytest.raises(BadValues, match=r"t\.n, rowid 2: 2147483648: out of the range of integer"):
        move("CREATE TABLE t (n bigint)", {"t": [(5,), (2**31,)]})


EPOCHS = [
    ("seconds", 1_700_000_000),
    ("milliseconds", 1_700_000_000_000),
    ("microseconds", 1_700_000_000_000_000),
    ("Julian day numbers", 2_460_263.425925926),
]


@pytest.mark.parametrize(("unit", "value"), EPOCHS)
def test_numbers_in_time_columns(move, pg, unit, value):
    """
    Field note 6: the unit is detected for the column and shown.
    """
    report = move("CREATE TABLE t (at datetime)", {"t": [(value,)]})
    assert [(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),)] == pg("SELECT at FROM t")
    assert any(unit in warning for warning in report.warnings)


def test_the_unit_can_be_overridden(move, pg):
    """
    Field note 6: a cast decides.
    """
    move("CREATE TABLE t (at datetime)", {"t": [(86_400_000,)]}, casts={"t.at": "timestamptz:ms"})
    assert [(datetime(1970, 1, 2, tzinfo=UTC),)] == pg("SELECT at FROM t")


@pytest.mark.parametrize("declared", ["datetime", "timestamptz", "numeric", "date", "integer"])
def test_empty_text_is_reported(move, pg, declared):
    """
    Field note 7: '' in a time or number is an error, and NULL only when asked.
    """
    good = "5" if declared in {"numeric", "integer"} else "2024-05-01"
    rows = {"t": [(1, good), (2, "")]}
    with pytest.raises(BadValues, match=r"id 2: ''"):
        move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", rows)
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


def test_current_timestamp_is_utc(move, pg):
    """
    Field note 8: text without an offset is UTC, also where the server lives elsewhere.
    """
    pg("CREATE TABLE t (at timestamptz)")
    ((database,),) = pg("SELECT current_database()")
    pg(f"ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'")
    move("CREATE TABLE t (at timestamp_with_timezone_text)", {"t": [("2024-05-01 10:00:00",)]})
    assert [(datetime(2024, 5, 1, 10, tzinfo=UTC),)] == pg("SELECT at FROM t")


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2024-05-01T10:00:00.123456789+00:00", 123457),
        ("2024-05-01T10:00:00.1234565+00:00", 123456),
        ("2024-05-01T10:00:00.000000499Z", 0),
        ("2024-05-01T12:00:00.5+02:00", 500000),
    ],
)
def test_nine_fraction_digits_are_rounded_to_six(move, pg, text, microsecond):
    """
    Field note 8: one rule, half to even, for the load and for the verification.
    """
    move("CREATE TABLE t (at timestamp_with_timezone_text)", {"t": [(text,)]})
    assert [(datetime(2024, 5, 1, 10, 0, 0, microsecond, tzinfo=UTC),)] == pg("SELECT at FROM t")


def test_overlong_text_is_named_not_cut(move, pg):
    """
    Field note 10: text longer than an existing varchar(n), blanks at its end included.
    """
    pg("CREATE TABLE t (v varchar(5))")
    with pytest.raises(BadValues, match=r"rowid 2: 'hello ': 6 characters"):
        move("CREATE TABLE t (v varchar(5))", {"t": [("hello",), ("hello ",)]})


def test_overlong_text_widens_a_new_column(move, pg):
    """
    Field note 10: a table that is created gets a type that holds everything.
    """
    report = move("CREATE TABLE t (v varchar(5), w varchar(5))", {"t": [("hello world", "hello")]})
    assert ["text", "varchar(5)"] == [c.type for c in report.tables[0].columns]


def test_nul_in_text_is_an_error(move):
    """
    Field note 11: NUL bytes are named.
    """
    with pytest.raises(BadValues, match=r"t\.v, rowid 1.*NUL"):
        move("CREATE TABLE t (v text)", {"t": [("a\0b",)]})


@pytest.mark.parametrize(("option", "kept"), [("strip_nul", "ab"), ("replace_nul", "a\ufffdb")])
def test_nul_in_text_goes_when_asked(move, pg, option, kept):
    """
    Field note 11: stripped or replaced when asked, and counted.
    """
    rows = {"t": [("a\0b",), ("plain",)]}
    report = move("CREATE TABLE t (v text)", rows, casts={"t.v": f"text:{option}"})
    assert [(kept,), ("plain",)] == pg("SELECT v FROM t")
    assert [1] == [change.count for change in report.changes]


def test_escaped_nul_is_fine_in_json_only(move, pg):
    r"""
    Field note 11: \u0000 stays in json, and jsonb names it.
    """
    rows = {"t": [(r'{"a": "\u0000"}',)]}
    move("CREATE TABLE t (v json_text)", rows)
    assert [(r'{"a": "\u0000"}',)] == pg("SELECT v::text FROM t")


def test_escaped_nul_is_refused_by_jsonb(move):
    r"""
    Field note 11: \u0000 in jsonb.
    """
    with pytest.raises(BadValues, match=r"u0000"):
        move("CREATE TABLE t (v jsonb_text)", {"t": [(r'{"a": "\u0000"}',)]})


@pytest.mark.parametrize("text", ["{", "", "{'a': 1}", "NaN", '{"a": 1,}', "[1] x"])
def test_malformed_json_is_a_bad_value(move, text):
    """
    Field note 12: malformed JSON is never replaced.
    """
    with pytest.raises(BadValues, match=r"not valid JSON|invalid input syntax"):
        move("CREATE TABLE t (v json_text)", {"t": [("{}",), (text,)]})


def test_invalid_utf8_is_named(lite, pg_url):
    """
    Field note 13: bytes are read, and the row is named.
    """
    path = lite("CREATE TABLE t (v text); INSERT INTO t VALUES ('ok'), (CAST(x'61ff62' AS TEXT))")
    with pytest.raises(BadValues, match=r"t\.v, rowid 2: x'61ff62': not valid UTF-8 at byte 1"):
        migrate(path, pg_url)


def test_uuids_of_every_spelling(move, pg):
    """
    Field note 14: blobs, 32 digits, braces, upper case.
    """
    one = uuid.UUID("0123e567-e89b-12d3-a456-42661417400f")
    spelled = [one.bytes, str(one), one.hex, "{" + str(one).upper() + "}", one.hex.upper()]
    move("CREATE TABLE t (v uuid_text)", {"t": [(s,) for s in spelled]})
    assert [(one,)] * 5 == pg("SELECT v FROM t")


def test_a_uuid_that_became_a_number_is_an_error(move):
    """
    Field note 14: NUMERIC affinity destroyed it, and nobody can know what it was.
    """
    with pytest.raises(BadValues, match="NUMERIC affinity"):
        move("CREATE TABLE t (v uuid)", {"t": [("12345678901234567890123456789e12",)]})


def test_doubles_are_exact(move, pg):
    """
    Field note 27: every double comes back, infinities too.
    """
    values = [
        0.1,
        1e300,
        5e-324,
        -2.5,
        math.pi,
        1 / 3,
        math.inf,
        -math.inf,
        1e22,
        123456789.123456789,
    ]
    move("CREATE TABLE t (v real, n numeric)", {"t": [(v, v) for v in values]})
    assert values == [row[0] for row in pg("SELECT v FROM t")]
    assert values == [float(row[0]) for row in pg("SELECT n FROM t")]


@pytest.mark.parametrize(("value", "kind"), [("x" * 2000, "text"), (b"x" * 600, "bytea")])
def test_a_value_beyond_the_limit_is_named(monkeypatch, value, kind):
    """
    Field note 29: what PostgreSQL cannot hold is found before the write (with a lower limit here).
    """
    monkeypatch.setattr("oxy_pg.migrate.convert.values.LARGEST", 1000)
    with pytest.raises(Unfit, match="limit of 1 GB"):
        to_text(value, parse_type(kind))


def test_dates_times_and_decimals(move, pg):
    """
    The remaining types keep their values.
    """
    move(
        "CREATE TABLE t (d date, c time, n decimal(10, 2), m decimal(4, 1))",
        {"t": [("2024-02-29", "23:59:59.5", 12.25, 99.125)]},
    )
    assert [
        (date(2024, 2, 29), time(23, 59, 59, 500000), Decimal("12.25"), Decimal("99.125"))
    ] == pg("SELECT * FROM t")


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("", [None, 0.0]),
        ("", [None, b""]),
        ("double", [None, 1.5]),
        ("uuid_text", [None, bytes(16)]),
        ("bytea", [None, b"\x00"]),
    ],
)
def test_null_stays_null(lite, pg_url, declared, values):
    """
    hex(NULL) is an empty text in SQLite: it must not become an empty value.
    """
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    fill(path, values)

    check_migration(path, pg_url)


def test_fractions_of_a_time_of_day_are_verified(lite, pg_url):
    """
    12:00:00.5 and 12:00:00.500000 are one time.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v time)")
    fill(path, ["00:00:00.5", "12:34:56.123", "23:59:59.9999996"])

    check_migration(path, pg_url)


def test_nanoseconds_are_rounded_exactly(lite, pg_url):
    """
    …782528 ns are nearer to 783 µs; as a double it would be a half, and 782.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at datetime)", {"t": [(1, 368760672738782528)]}
    )

    check_migration(path, pg_url)


@pytest.mark.parametrize("text", ["24:00:00", "23:59:59.9999999", "24:00"])
def test_midnight_at_the_end_of_a_day(lite, pg_url, pg, text):
    """
    24:00 is a time for PostgreSQL, if not for Python.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v time)")
    fill(path, [text, "23:59:59"])

    check_migration(path, pg_url)

    assert [("24:00:00",), ("23:59:59",)] == pg("SELECT v::text FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("decimal_text", "1_000"),
        ("decimal_text", "\uff11\uff12"),
        ("decimal_text", "nan"),
        ("decimal_text", "1e200000"),
        ("decimal_text", "1e-20000"),
        ("double", "1_0.5"),
        ("double", "\uff19"),
        ("integer", "9" * 5000),
    ],
)
def test_what_only_python_takes_for_a_number_is_named(lite, pg_url, declared, text):
    """
    Underscores, digits of other scripts, and more of them than PostgreSQL holds.
    """
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    fill(path, [1, text])

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["id 2"] == [bad.row for bad in caught.value.values]


def test_long_number_in_a_document_is_no_bad_value(lite, pg_url, pg):
    """
    Python refuses to read more than 4,300 digits; they are JSON all the same.
    """
    path = lite(
        "CREATE TABLE t (n INTEGER, v json)", {"t": [(1, '{"n": ' + "9" * 5000 + "}"), ("x", "{}")]}
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["n"] == [bad.column for bad in caught.value.values]


@pytest.mark.parametrize(
    "text", ["9999-12-31 23:59:59-08:00", "0001-01-01 00:00:00+05:00", "2024-01-01 24:00:00.5"]
)
def test_times_beyond_the_years_that_python_knows_are_named(lite, pg_url, text):
    """
    PostgreSQL would read them, and the verification could not: they are named instead.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v datetime)",
        {"t": [(1, "9999-12-31 23:59:59"), (2, "0001-01-01 00:00:00"), (3, text)]},
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url, verify="full")

    assert ["id 3"] == [bad.row for bad in caught.value.values]


def test_negative_zero_keeps_its_sign(lite, pg_url, pg):
    """
    A column without a type keeps -0.0 as it is, and so does a double.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    fill(path, [-0.0, 0.0])

    check_migration(path, pg_url)

    assert [("-0",), ("0",)] == pg("SELECT v::text FROM t ORDER BY id")


def fill(path, values) -> None:
    """Add rows to ``t``, whose key numbers itself."""

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
