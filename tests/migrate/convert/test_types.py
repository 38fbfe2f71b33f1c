"""Which PostgreSQL type a SQLite column becomes."""

from __future__ import annotations

import pytest

from oxy_pg.errors import ConfigurationError
from oxy_pg.migrate.convert.kind import Facts
from oxy_pg.migrate.convert.types import choose, parse_cast, parse_type

NOTHING = Facts()
INTEGERS = Facts(integers=9, greatest=7, bits=False)
TEXTS = Facts(texts=9, longest=12)
BLOBS = Facts(blobs=9)
REALS = Facts(reals=9, greatest=1.25, plain_decimals=2)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("INTEGER", "bigint"),  # SQLite's integers have 64 bits
        ("INT UNSIGNED", "bigint"),
        ("smallint", "bigint"),
        ("uuid", "uuid"),  # affinity alone would say NUMERIC
        ("uuid_text", "uuid"),  # SeaORM
        ("timestamp_with_timezone_text", "timestamptz"),  # SeaORM
        ("datetime", "timestamp"),  # Django, Rails
        ("DATETIME", "timestamp"),
        ("datetime(6)", "timestamp"),  # Rails
        ("bool", "boolean"),  # Django
        ("BOOLEAN", "boolean"),
        ("tinyint(1)", "boolean"),  # Laravel
        ("VARCHAR(20)", "varchar(20)"),
        ("character varying (20)", "varchar(20)"),
        ("char(32)", "varchar(32)"),  # PostgreSQL's char would pad with blanks
        ("varchar", "text"),
        ("DECIMAL(10, 2)", "numeric(10,2)"),
        ("decimal", "numeric"),
        ("JSON", "json"),
        ("json_text", "json"),
        ("jsonb_text", "jsonb"),
        ("JSONB", "jsonb"),  # Prisma
        ("DOUBLE PRECISION", "double precision"),
        ("float", "double precision"),
        ("BLOB", "bytea"),
        ("varbinary(16)", "bytea"),
        ("date", "date"),
        ("time", "time"),
        ("", "text"),
        ("WHATEVER", "text"),
    ],
)
def test_declared_type_becomes(declared, expected):
    """
    Every SQLite declaration has exactly one PostgreSQL type.
    """
    assert expected == str(choose(declared, NOTHING))


@pytest.mark.parametrize(
    ("declared", "facts", "expected"),
    [
        ("", INTEGERS, "bigint"),
        ("", TEXTS, "text"),
        ("", BLOBS, "bytea"),
        ("", REALS, "double precision"),
        ("", Facts(integers=1, reals=1), "double precision"),
        ("", Facts(integers=1, reals=1, whole=False), "numeric"),
        ("", Facts(integers=1, texts=1), "text"),
        ("varchar(10)", TEXTS, "text"),  # one value is longer
        ("varchar(12)", TEXTS, "varchar(12)"),
        ("text", BLOBS, "bytea"),
        ("blob", TEXTS, "text"),
        ("datetime", INTEGERS, "timestamptz"),  # a count since 1970 in UTC
        ("datetime", Facts(texts=2, offsets=1), "timestamptz"),
        ("datetime", TEXTS, "timestamp"),
        ("decimal(10,2)", REALS, "numeric(10,2)"),
        ("decimal(10,1)", REALS, "numeric"),  # would round
        ("decimal(2,2)", REALS, "numeric"),  # would not fit
        ("tinyint(1)", INTEGERS, "bigint"),
        ("integer", TEXTS, "text"),  # no value is what was declared
        ("uuid_text", TEXTS, "uuid"),
        ("integer", Facts(texts=8, integers=1), "bigint"),  # and every text is a bad value
        ("integer", Facts(reals=1, integers=1, fractions=1), "numeric"),
        ("integer", Facts(reals=2, fractions=1, greatest=1e300), "bigint"),
        ("integer", Facts(reals=1, texts=1, fractions=1), "bigint"),
        ("int8", BLOBS, "bytea"),
        ("double", BLOBS, "bytea"),
        ("decimal(5,2)", Facts(reals=1, plain_decimals=1), "numeric(5,2)"),
    ],
)
def test_content_decides(declared, facts, expected):
    """
    What a column holds decides where the declaration does not, or is too narrow.
    """
    assert expected == str(choose(declared, facts))


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        ("uuid", Facts(blobs=3), "uuid"),
        ("user_guid", Facts(blobs=3), "uuid"),
        ("uuid", Facts(blobs=3, sixteen=False), "bytea"),
        ("uuid", Facts(blobs=3, integers=1), "numeric"),
        ("hash", Facts(blobs=3), "bytea"),  # sixteen bytes, and the name says nothing
    ],
)
def test_keys_of_bytes_in_a_column_of_numbers(name, facts, expected):
    """
    NUMERIC(16) of a column called uuid: its blobs alone, all of sixteen bytes, are uuids.
    """
    assert expected == str(choose("NUMERIC(16)", facts, name)).partition("(")[0]


@pytest.mark.parametrize(
    ("spelled", "kind", "size", "scale"),
    [
        ("character varying(20)", "varchar", 20, None),
        ("character(40)", "char", 40, None),
        ("timestamp(3) without time zone", "timestamp", 3, None),
        ("timestamp with time zone", "timestamptz", None, None),
        ("numeric(10,2)", "numeric", 10, 2),
        ("double precision", "double", None, None),
        ("integer[]", "other", None, None),
        ("interval(3)", "interval", 3, None),
        ("interval day to second(3)", "interval of fields", None, None),
        ("inet", "other", None, None),
        ('"Mood"', "other", None, None),
    ],
)
def test_types_of_the_target_are_read(spelled, kind, size, scale):
    """
    A type is read as format_type() spells it.
    """
    found = parse_type(spelled)
    assert (kind, size, scale) == (found.kind.name, found.size, found.scale)


@pytest.mark.parametrize(
    ("spelled", "sql"),
    [
        ("character varying", "character varying"),
        ("character", "character"),
        ("timestamp without time zone", "timestamp"),
        ("datetime", "timestamp"),
        ("double", "double precision"),
        ("decimal(10,2)", "decimal(10,2)"),
    ],
)
def test_types_are_spelled_as_postgres_knows_them(spelled, sql):
    """
    Also where a user writes another system's name in a cast.
    """
    assert sql == parse_type(spelled).sql


def test_an_unknown_cast_option_is_refused():
    """
    A cast's option is one that is known.
    """
    assert "ms" == parse_cast("timestamptz:ms").option
    with pytest.raises(ConfigurationError, match="hours"):
        parse_cast("timestamptz:hours")


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("integer:ms", "It has no options"),
        ("timestamptz:strip_nul", "s, ms, us, ns, julian"),
        ("bytea:strip_nul", "utf8"),
    ],
)
def test_an_option_that_means_nothing_for_the_type_is_refused(spelled, said):
    """
    With those that it has.
    """
    with pytest.raises(ConfigurationError, match=f"means nothing for .*{said}"):
        parse_cast(spelled)
