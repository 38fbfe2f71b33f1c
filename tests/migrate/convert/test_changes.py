"""What PostgreSQL would change is listed before the first write, and stops the migration."""

from __future__ import annotations

import pytest

from oxy_pg.errors import BadValues, ChangedValues
from oxy_pg.migrate.migration import migrate

# Type of the target, what SQLite holds, and what PostgreSQL makes of it.
CHANGED = [
    ('"char"', "TEXT", "yes", "y"),
    ("name", "TEXT", "é" * 40, "é" * 31),
    ("money", "REAL", 2.345, "$2.35"),
    ("money", "TEXT", "1,5", "$15.00"),
    ("real[]", "TEXT", "{0.12345678912}", "{0.12345679}"),
    ("numeric(4,1)[]", "TEXT", "{{1.25,1.5},{3,4}}", "{{1.3,1.5},{3.0,4.0}}"),
    ("timestamp(0)[]", "TEXT", '{"2024-01-01 00:00:00.6"}', '{"2024-01-01 00:00:01"}'),
    ("tstzrange", "TEXT", "[2024-01-01 00:00:00.1234567Z,)", None),
    ("double precision[]", "TEXT", "{9007199254740993}", "{9.007199254740992e+15}"),
    ("point", "TEXT", "(0.12345678901234567891,1)", "(0.12345678901234568,1)"),
    ("timetz(0)", "TEXT", "10:00:00.7+02", "10:00:01+02"),
    ("interval(3)", "TEXT", "00:00:01.23456", "00:00:01.235"),
    ("interval day to minute", "TEXT", "1 day 02:03:04", "1 day 02:03:00"),
    ("timestamptz(3)", "TEXT", "2024-01-01 10:00:00.123456", "2024-01-01 10:00:00.123+00"),
    ("timestamp(2)", "INTEGER", 1700000000123, "2023-11-14 22:13:20.12"),
    ("time(0)", "TEXT", "23:59:59.9", "24:00:00"),
    ("numeric(10,2)", "REAL", 0.1 + 0.2, "0.30"),
    ("numeric(10,2)", "TEXT", "1.005", "1.01"),
    ("numeric(5,-2)", "INTEGER", 12345, "12300"),
    ("real", "REAL", 3.14159265358979, "3.1415927"),
    ("real", "INTEGER", 16777217, "1.6777216e+07"),
    ("double precision", "INTEGER", 2**53 + 1, "9.007199254740992e+15"),
    ("double precision", "TEXT", "0.10000000000000000001", "0.1"),
    ("character(5)", "TEXT", "ab ", "ab"),
    ("cidr", "TEXT", "10.1", "10.1.0.0/16"),
    ("tsvector", "TEXT", "a:20000", "'a':16383"),
    ("macaddr8", "TEXT", "08:00:2b:01:02:03", "08:00:2b:ff:fe:01:02:03"),
    ("interval[]", "TEXT", "{00:00:00.1234567}", "{00:00:00.123457}"),
    ("character(3)[]", "TEXT", '{"a "}', '{"a  "}'),
    ("box", "TEXT", "(0,0),(1,0.12345678901234567891)", "(1,0.12345678901234568),(0,0)"),
    ("tstzrange", "TEXT", "[2024-01-01 10:00:00.1234567Z,infinity)", None),
    # Half of a step is rounded as PostgreSQL itself rounds it.
    ("timestamp(0)", "TEXT", "2024-01-01 10:00:00.5", "2024-01-01 10:00:01"),
    ("timestamp(0)", "TEXT", "1999-12-31 23:59:58.5", "1999-12-31 23:59:58"),
    ("timestamptz(3)", "TEXT", "2024-01-01 10:00:00.1245Z", "2024-01-01 10:00:00.125+00"),
    ("timestamptz(0)", "INTEGER", 1700000000500, "2023-11-14 22:13:21+00"),
    ("time(0)", "TEXT", "10:00:00.5", "10:00:01"),
    ("time(0)", "TEXT", "1970-01-01 10:00:00.5", "10:00:01"),
    ("date", "TEXT", "2024-01-01 10:00:00", "2024-01-01"),
    ("date", "TEXT", "2024-01-01T23:59:59.9Z", "2024-01-01"),
    ("date", "TEXT", "2024-01-01 00:00:00+02:00", "2024-01-01"),
    ("date", "INTEGER", 1700000000, "2023-11-14"),
]


@pytest.mark.parametrize(("pg_type", "declared", "value", "after"), CHANGED)
def test_a_changed_value_stops_the_migration(lite, pg_url, pg, pg_type, declared, value, after):
    """
    It is named with its column, its row, and both values; accepted, it arrives and is counted.
    """
    pg(f"CREATE TABLE t (id bigint PRIMARY KEY, v {pg_type})")
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", {"t": [(7, value)]})

    with pytest.raises(ChangedValues) as caught:
        migrate(path, pg_url)

    (change,) = caught.value.changes
    assert ("t", "v", 1, "id 7") == (change.table, change.column, change.total, change.row)
    assert [] == pg("SELECT * FROM t")
    assert ["changed values"] == [
        problem.kind for problem in migrate(path, pg_url, dry_run=True).problems
    ]

    report = migrate(path, pg_url, on_change="accept", verify="full")

    ((text,),) = pg("SELECT v::text FROM t")
    assert after is None or after == text
    assert [("v", 1, change.example)] == [(c.column, c.count, c.example) for c in report.changes]


# Type of the target, what SQLite holds, and how PostgreSQL spells the same.
SAME = [
    ("inet", "192.168.0.1", "192.168.0.1/32"),
    ("inet", "::0001", "::1/128"),
    ("macaddr", "08-00-2B-01-02-03", "08:00:2b:01:02:03"),
    ("money", "$1,234.50", "$1,234.50"),
    ("money", "(12.5)", "-$12.50"),
    ("integer[]", "{ 1, 02,NULL }", "{1,2,NULL}"),
    ("integer[]", "[0:1]={1,2}", "[0:1]={1,2}"),
    ("text[]", '{ "a", b c, "NULL", NULL}', '{a,"b c","NULL",NULL}'),
    ("boolean[]", "{true,f}", "{t,f}"),
    ("uuid[]", "{6BA7B8109DAD11D180B400C04FD430C8}", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}"),
    ("numeric(5,2)[]", "{1.5}", "{1.50}"),
    ("real[]", "{0.10000000149011612,1e3}", "{0.1,1000}"),
    ("timestamptz[]", '{"2024-01-01T12:00:00+02:00"}', '{"2024-01-01 10:00:00+00"}'),
    ("int4range", "[1,5]", "[1,6)"),
    ("int4range", "(1,2)", "empty"),
    ("daterange", "(2024-01-01,2024-01-31]", "[2024-01-02,2024-02-01)"),
    ("numrange", "[ 1.50 , 2 )", "[1.50,2)"),
    ("tsrange", "[2024-01-01,)", '["2024-01-01 00:00:00",)'),
    ("int4multirange", "{[3,4], [1,2]}", "{[1,5)}"),
    ("point", "3, 4.0", "(3,4)"),
    ("circle", "((1,2),3)", "<(1,2),3>"),
    ("bit(4)", "B1010", "1010"),
    ("bit varying(9)", "xF", "1111"),
    ("tsvector", "fat cat:3A fat:2", "'cat':3A 'fat':2"),
    ("timetz", "10:00:00Z", "10:00:00+00"),
    ("inet", "10/8", "10.0.0.0/8"),
    ("inet", "10.1/16", "10.1.0.0/16"),
    ("interval[]", '{02:00,"1 day 02:00",P1DT2H}', '{02:00:00,"1 day 02:00:00","1 day 02:00:00"}'),
    ("box", "(0,1),(1,0)", "(1,1),(0,0)"),
    ("character(3)[]", "{a,bcd,NULL}", '{"a  ",bcd,NULL}'),
    ("tstzrange", "[2024-01-01T10:00:00Z,infinity)", '["2024-01-01 10:00:00+00",infinity)'),
    ("tsquery", "fox:A & (dog|cat)", "'fox':A & ( 'dog' | 'cat' )"),
    ("jsonpath", "lax $.a[*] ? (@.b > 1)", '$."a"[*]?(@."b" > 1)'),
    # What Go's drivers write for a day.
    ("date", "2024-01-01 00:00:00+00:00", "2024-01-01"),
    ("date", "2024-01-01T00:00:00Z", "2024-01-01"),
]


@pytest.mark.parametrize(("pg_type", "text", "spelled"), SAME)
def test_another_spelling_of_the_same_value_arrives(move, pg, pg_type, text, spelled):
    """
    By a rule of the type that asks nobody: nothing has changed, and nothing is listed.
    """
    pg(f"CREATE TABLE t (v {pg_type})")

    report = move("CREATE TABLE t (v TEXT)", {"t": [(text,)]})

    assert [(spelled,)] == pg("SELECT v::text FROM t")
    assert () == report.changes


@pytest.mark.parametrize(
    ("made", "type_", "good", "bad", "after"),
    [
        ("CREATE DOMAIN d AS numeric(5,1)", "d", "1.5", "1.25", "1.3"),
        ("CREATE DOMAIN d AS real[]", "d", "{1}", "{1.23456789012}", "{1.2345679}"),
        ("CREATE TYPE d AS (a int, b real)", "d", "( 1,2.50)", "(1,0.123456789)", "(1,0.12345679)"),
        ("CREATE TYPE d AS RANGE (subtype = float4)", "d", "[1,2)", "[1.23456789012,2)", None),
    ],
)  # fmt: skip
def test_types_of_the_user_are_asked_too(lite, pg_url, pg, made, type_, good, bad, after):
    """
    Domains, rows and ranges: what PostgreSQL gives back is compared with what was sent.
    """
    pg(made)
    pg(f"CREATE TABLE t (id int, v {type_})")
    path = lite("CREATE TABLE t (id INTEGER, v TEXT)", {"t": [(1, good), (2, bad), (3, bad)]})

    with pytest.raises(ChangedValues) as caught:
        migrate(path, pg_url)

    assert [2] == [change.total for change in caught.value.changes]
    migrate(path, pg_url, on_change="accept", verify="full")
    assert after in {None, pg("SELECT v::text FROM t WHERE id = 3")[0][0]}


def test_words_of_an_enum_are_what_they_were(move, pg):
    """
    Nothing to list.
    """
    pg("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (v mood)")
    assert () == move("CREATE TABLE t (v TEXT)", {"t": [("ok",), ("sad",)] * 700}).changes


def test_a_word_that_an_enum_does_not_have_is_a_bad_value(move, pg):
    """
    PostgreSQL names it.
    """
    pg("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    with pytest.raises(BadValues, match="happy"):
        move("CREATE TABLE t (v TEXT)", {"t": [("happy",), ("ok",)]}, casts={"t.v": "mood"})


def test_bits_that_are_too_many_are_a_bad_value(lite, pg_url, pg):
    """
    PostgreSQL refuses them on its own, and cuts nothing.
    """
    pg("CREATE TABLE t (v bit(3))")
    with pytest.raises(BadValues, match="10101"):
        migrate(lite("CREATE TABLE t (v TEXT)", {"t": [("10101",)]}), pg_url)


def test_a_text_that_only_a_cast_refuses_is_a_bad_value(lite, pg_url, pg):
    """
    PostgreSQL's input takes the number of a table for a regclass, its cast of a text does not.
    """
    pg("CREATE TABLE t (id bigint PRIMARY KEY, v regclass)")
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        {"t": [(1, "pg_class"), (2, "1259"), (3, "nope"), (4, "a.b.c.d")]},
    )
    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)
    assert [("v", "id 2"), ("v", "id 3"), ("v", "id 4")] == [
        (b.column, b.row) for b in caught.value.values
    ]


@pytest.mark.parametrize(("text", "shown"), [("ab ", "'ab ' → 'ab'"), (" ", "' ' → ''")])
def test_the_example_of_lost_blanks_is_without_them(lite, pg_url, pg, text, shown):
    """
    What PostgreSQL compares and measures, and not what it pads the value with.
    """
    pg("CREATE TABLE t (v char(3))")
    path = lite("CREATE TABLE t (v TEXT)", {"t": [(text,)]})
    with pytest.raises(ChangedValues) as caught:
        migrate(path, pg_url)
    assert shown in str(caught.value)


@pytest.mark.parametrize("number", [2.0**64, 1e308, -1e19])
def test_a_real_beyond_a_whole_number_type_is_called_out_of_range(lite, pg_url, number):
    """
    It is a whole number: only the column is too narrow.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v BIGINT)", {"t": [(1, number), (2, "5")]})
    with pytest.raises(BadValues, match="out of the range of bigint"):
        migrate(path, pg_url)


def test_rounding_below_the_microsecond_is_listed_and_goes_on(move, pg):
    """
    No type of PostgreSQL's would hold more.
    """
    report = move(
        "CREATE TABLE t (at DATETIME, clock TIME)",
        {"t": [("2024-01-01 10:00:00.123456789", "10:00:00.1234567")] * 2},
    )
    assert {("at", 2), ("clock", 2)} == {(c.column, c.count) for c in report.changes}
    assert all("rowid 1: '" in change.example for change in report.changes)


def test_noise_in_a_decimal_column_is_listed_and_its_type_kept(move, pg):
    """
    0.1 + 0.2 in NUMERIC(10,2) means 0.3; 1.005 has a digit more, and widens the column.
    """
    script = "CREATE TABLE t (a NUMERIC(10,2), b DECIMAL(10,2))"
    report = move(script, {"t": [(0.1 + 0.2, 1.005), (1.1 * 3, 2.5)]})
    types = [column.type for column in report.tables[0].columns]
    assert ["numeric(10,2)", "numeric"] == types
    assert [("0.30", "1.005"), ("3.30", "2.5")] == pg("SELECT a::text, b::text FROM t")
    assert [("a", 2)] == [(change.column, change.count) for change in report.changes]


def test_many_different_values_are_all_counted(lite, pg_url, pg):
    """
    In several batches, of which some have nothing to list.
    """
    pg("CREATE TABLE t (v money)")
    rows = [(f"{i}.50",) for i in range(1200)] + [(f"{i}.505",) for i in range(700)]
    with pytest.raises(ChangedValues, match=r"t\.v: 700 values"):
        migrate(lite("CREATE TABLE t (v TEXT)", {"t": rows}), pg_url)


def test_servers_that_cannot_say_why_they_refuse_are_asked_by_halves(lite, pg_url, pg, monkeypatch):
    """
    As PostgreSQL 14 and 15: each bad value is named, and each changed one found.
    """
    monkeypatch.setattr("oxy_pg.migrate.check.judge._SOFT", 10**9)
    pg("CREATE TABLE t (id bigint, v inet, m money)")
    rows = [(i, f"10.0.0.{i}", "1.50") for i in range(200)]
    rows[17], rows[150] = (17, "ten", "1.50"), (150, "10.0.0", "1.50")
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, m TEXT)", {"t": rows})
    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)
    assert ["id 17", "id 150"] == [bad.row for bad in caught.value.values]

    migrate(path, pg_url, on_bad_value="skip", verify="full")

    assert [(198,)] == pg("SELECT count(*) FROM t")


@pytest.mark.parametrize(
    "document",
    [
        '{"a": 1, "a": 2}',
        '[{"b": {"a": 1, "c": 0, "a": 1}}]',
        r'{"a": 1, "\u0061": 2}',
        '{"": 1, "": null}',
    ],
)
@pytest.mark.parametrize("declared", ["TEXT", "JSONB"])
def test_a_repeated_key_is_a_change_in_jsonb(lite, pg_url, pg, document, declared):
    """
    It keeps the last value alone; json would keep the text.
    """
    if declared == "TEXT":
        pg("CREATE TABLE t (v jsonb)")
    path = lite(f"CREATE TABLE t (v {declared})", {"t": [('{"a": {"a": 1}}',), (document,)]})
    with pytest.raises(ChangedValues, match="repeated key") as caught:
        migrate(path, pg_url, schema="auto")
    (change,) = caught.value.changes
    assert (1, "rowid 2") == (change.total, change.row)
    assert change.before != change.after

    report = migrate(path, pg_url, on_change="accept", verify="full")

    assert [("v", 1)] == [(change.column, change.count) for change in report.changes]
    assert [(1,)] == pg("SELECT count(*) FROM t WHERE v = %s::jsonb", document)


def test_a_repeated_key_is_kept_by_json(move, pg):
    """
    Nothing to list.
    """
    rows = [('{"a": 1, "a": 2}',)]
    report = move("CREATE TABLE t (v JSONB)", {"t": rows}, casts={"t.v": "json"})
    assert () == report.changes
    assert rows == pg("SELECT v::text FROM t")
