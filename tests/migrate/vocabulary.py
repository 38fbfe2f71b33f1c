"""What random SQLite databases are made of: declarations, names, values, defaults."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

# Declarations by what they mean, as their authors write them: SQLite's documentation, SQLAlchemy,
# Django, Rails, Prisma, SeaORM, Laravel, EF Core.
DECLARED = {
    "integer": (
        *("INTEGER", "integer", "INT", "BIGINT", "bigint", "SMALLINT", "TINYINT", "INT8"),
        *("UNSIGNED BIG INT", "integer unsigned", "smallint unsigned", "MEDIUMINT", "int(11)"),
    ),
    "boolean": ("boolean", "BOOLEAN", "bool", "tinyint(1)", "BOOL"),
    "real": ("REAL", "real", "DOUBLE", "double precision", "FLOAT", "float", "DOUBLE PRECISION"),
    "numeric": (
        *("NUMERIC", "numeric", "DECIMAL(10,2)", "decimal", "DECIMAL(10,5)", "NUMERIC(18, 4)"),
        *("real_money", "numeric(5)", "number"),
    ),
    "text": (
        *("TEXT", "text", "VARCHAR", "varchar(255)", "VARCHAR(20)", "character varying(30)"),
        *("NVARCHAR(100)", "CLOB", "char(32)", "CHARACTER(20)", "string", "TEXT COLLATE NOCASE"),
        *("NATIVE CHARACTER(70)", "varying character(255)", "citext"),
    ),
    "uuid": ("uuid_text", "char(36)", "UUID", "uuid", "uuid_blob", "CHAR(32)", "GUID"),
    "time": (
        *("datetime", "DATETIME", "timestamp", "TIMESTAMP", "timestamp_with_timezone_text"),
        *("datetime_text", "datetime(6)", "timestamp with time zone", "timestamp_text"),
    ),
    "date": ("date", "DATE", "date_text"),
    "clock": ("time", "TIME", "time_text"),
    "json": ("JSON", "json", "json_text", "jsonb", "jsonb_text", "JSONB"),
    "blob": ("BLOB", "blob", "BINARY(16)", "varbinary(100)", "bytea"),
    "any": ("", "ANY", "GEOMETRY", "my own type", "point", "xml"),
}
STRICT = {
    "integer": ("INT", "INTEGER"),
    "real": ("REAL",),
    "text": ("TEXT",),
    "blob": ("BLOB",),
    "any": ("ANY",),
}

STRICT_WORDS = frozenset(word for words in STRICT.values() for word in words)

NAMES = (
    *("id", "name", "select", "user", "order", "Mixed Case", 'quo"te', "üñïçødé", "a.b", "100%s"),
    *("UPPER", "references", "it's", "tab\there", "desc", "values", "ключ", "back\\slash", ""),
    # SQLite folds the letters A to Z alone: another name than the one in small letters.
    "ÜÑÏÇØDÉ",
    # PostgreSQL's names end after 63 bytes.
    *("x" * 63, "y" * 63 + "1", "y" * 63 + "2", "ü" * 40),
    # What PostgreSQL's own columns, and the indexes and sequences that it makes, are called.
    *("ctid", "xmin", "tableoid", "id_pkey", "id_id_seq", "user_id_seq"),
    # One begins like another: so do the names that PostgreSQL chooses for their keys.
    *("user_a", "user_b", "user_id"),
    *("rowid", "_rowid_", "oid"),
)

# Tables whose names share a prefix, and are what PostgreSQL calls the keys of others.
SHARED = ("u", "u_a", "u_b", "u_id", "u_id_key", "u_pkey", "u_id_seq", "u_a_id_fkey", "u_a_pkey")

_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.one_of(
    st.text(_characters, max_size=12),
    st.sampled_from(
        (
            "",
            "\\N",
            "\\.",
            "\\",
            "a\tb",
            "a\nb",
            "a\r\nb",
            "NULL",
            "'",
            '"',
            " ",
            "🚀",
            "\ufeff",
            "\x01",
            "\x01\x01a",
            "x" * 21,
            "🚀" * 20,
        )
    ),
)
_integers = st.one_of(
    st.integers(-100, 100),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 0, 1)),
)
_reals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        (0.1, 1e22, 5e-324, 2.2250738585072e-308, 1.7976931348623157e308, -0.0, 1e16, 123.456)
    ),
)
_days = st.dates().map(str)
_clocks = st.builds(
    "{:02}:{:02}:{:02}{}".format,
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(("", ".5", ".123", ".123456", ".123456789", ".9999996")),
)
_moments = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.dates(min_value=date(1, 1, 2), max_value=date(9999, 12, 30)),
        st.sampled_from((" ", "T")),
        _clocks,
        st.sampled_from(("", "+00:00", "Z", "+05:30", "-08:00", " +01:00", "+14", "-0330")),
    ),
    st.sampled_from(
        (
            *("0001-01-01 00:00:00", "9999-12-31 23:59:59", "9999-12-31T23:59:59.999999Z"),
            *("1969-12-31 23:59:59", "2024-02-29 24:00:00", "2024-03-31 02:30", "2024-01-01"),
        )
    ),
)
_documents = st.one_of(
    st.sampled_from(
        (
            '{"a": 1}',
            "[]",
            '"x"',
            '{"b":  [1.50, null, true], "ü": "🚀"}',
            '{"n": 12345678901234567890}',
        )
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=5,
    ).map(json.dumps),
)
_blobs = st.one_of(st.binary(max_size=20), st.sampled_from((b"", b"\x00", b"\x00a")))
_uuid_blobs = st.binary(min_size=16, max_size=16)
_uuid_texts = st.uuids().flatmap(
    lambda u: st.sampled_from((str(u), u.hex, "{" + str(u) + "}", str(u).upper()))
)

VALUES: dict[str, st.SearchStrategy[object]] = {
    "integer": _integers,
    "boolean": st.sampled_from((0, 1)),
    "real": st.one_of(_reals, st.sampled_from((float("inf"), float("-inf")))),
    "numeric": st.one_of(
        st.integers(-(10**6), 10**6), st.decimals(-(10**6), 10**6, places=2).map(str), _reals
    ),
    "text": TEXTS,
    "uuid": st.one_of(_uuid_blobs, _uuid_texts),
    "time": st.one_of(_moments, _moments, st.integers(1_000_000_000, 1_900_000_000)),
    "date": _days,
    "clock": st.one_of(_clocks, st.sampled_from(("24:00:00", "07:30"))),
    "json": _documents,
    "blob": _blobs,
    "any": st.one_of(_integers, _reals, TEXTS, _blobs),
}
# What a text-typed time column is likely to hold: one form throughout.
TIME_FORMS: tuple[st.SearchStrategy[object], ...] = (
    _moments,
    _moments,
    st.integers(1_000_000_000, 1_900_000_000),
    st.integers(1_000_000_000_000, 1_900_000_000_000),
    st.floats(1_000_000_000, 1_900_000_000),
    st.floats(2_440_000, 2_470_000),
    # Units that do not agree: an old program wrote seconds, a new one milliseconds.
    st.integers(1_000_000_000, 1_900_000_000) | st.integers(10**12, 19 * 10**11),
    st.integers(1_000_000_000, 1_900_000_000) | _moments,
    st.sampled_from((0, 2**63 - 1, 253_402_300_799)) | st.integers(10**15, 19 * 10**14),
)


class Raw(bytes):
    """The bytes of a text as SQLite keeps them, valid or not."""

    __slots__ = ()


_broken = st.sampled_from(
    (
        # Never UTF-8: a stray byte, a letter cut off, an overlong form, a surrogate, too great.
        *(b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
        # Never UTF-16: a surrogate alone or the wrong way round; and a byte too many.
        *(b"\x00\xd8", b"\xd8\x00A\x00", b"\x00\xdc\x00\xd8", b"A\x00B"),
    )
).map(Raw)
NOISE = st.one_of(
    _integers,
    _reals,
    TEXTS,
    _blobs,
    _broken,
    st.sampled_from(("nul\0inside", "n/a", "2024-13-45", "0000-00-00", "{not json", 2, b"\xff")),
)
# What looks like a value of the family: some are, in a way that one side knows and the other not.
ODD: dict[str, Sequence[object]] = {
    "integer": (
        "9" * 5000,
        "+5",
        " 5",
        "5 ",
        "\uff11",
        "0x10",
        "1_0",
        1e18,
        9.3e18,
        2.5,
        "1e3",
        "",
    ),
    "boolean": ("t", "YES", "oFf", " true", 1.0, -1, 2, "1", "", "y"),
    "real": ("1.5", "nan", "inf", "0.1", "1e400", "\uff19", "1_0.5", 2**53 + 1, ""),
    "numeric": (
        *(
            "9" * 5000,
            "1_000",
            "\uff11\uff12",
            "nan",
            "-inf",
            "1e200000",
            "1e-20000",
            " 12 ",
            "0x1F",
        ),
        *("+5", ".5", "5.", "1,5", "", "1e131071", "1" + "0" * 400 + ".5", float("inf")),
    ),
    "text": (5, 1e16, 0.1, -0.0, 2**62),
    "uuid": ("urn:uuid:" + "0" * 32, "0" * 31, "{" + "a" * 32, "g" * 32, "a-" * 16 + "a" * 16, 7),
    "time": (
        *("0001-01-01 00:00:00+05:00", "9999-12-31 23:59:59-08:00", "2024-02-30 10:00:00"),
        *("9999-12-31 23:59:59.9999999", "2024-06-30 23:59:60", "2024-01-01 10:00:00 UTC"),
        *("10000-01-01 00:00:00", "-0044-03-15 00:00:00", "2024-01-01 10:00:00\n", "infinity", ""),
        *("2024-01-01 10:00:00z", "2024-01-01 10:00:00+16:00", "2024-01-01 25:00:00", "now"),
        *("2024-1-1 1:00:00", "20240101T100000", "0000-01-01 00:00:00", float("inf"), -1, 0),
        *("2024-01-01 10:00:00.5.5", "2024-01-01 10:00:00+05:30:15", "12:30", 1e300),
    ),
    "date": (
        *("0001-01-01", "9999-12-31", "2023-02-29", "2024-02-29 00:00:00", "2024-02-29T12:00"),
        *(
            "",
            "\n",
            "2024-01-01\0",
            "24-02-29",
            "2024-02-29Z",
            "2024-060",
            "today",
            1700000000,
            1700006400,
            19782,
        ),
    ),
    "clock": ("24:00:01", "23:59:60", "25:00", "12", "1:2:3", "12:00:00Z", "12:00 PM", 43200),
    "json": (
        *('"\\ud800"', '"\\ud83d\\ude80"', '{"a": 1e999}', "NaN", "[1,]", "9" * 5000, "1_0"),
        *('"\\u0000"', "\ufeff{}", "[" * 2000 + "]" * 2000, ' {"a":1,"a":2} ', "'x'", "", 5, 0.5),
        *("1e400000", '"\t"', '{"a":\x0b1}', "-0", "01", '"\\x"'),
    ),
    "blob": ("", "text", 5),
    "any": (-0.0, float("inf"), 2**53 + 1),
}
# One value in several spellings: where PostgreSQL knows better, no longer unique.
TWINS: dict[str, Sequence[object]] = {
    "boolean": (1, "1", "t", "true", 1.0),
    "numeric": (1, "1", "1.0", "1.00", "01", "1e0"),
    "uuid": (bytes(range(16)), bytes(range(16)).hex(), str(UUID(bytes=bytes(range(16)))).upper()),
    "time": (
        *("2024-01-01 00:00:00", "2024-01-01T00:00:00Z", "2024-01-01", "2024-01-01 00:00"),
        *("2024-01-01 00:00:00.0000001", "2024-01-01 01:00:00+01:00"),
    ),
    "date": ("2024-01-01", "2024-01-01 00:00:00", "2024-01-01T00:00"),
    "clock": ("12:00:00", "12:00", "12:00:00.0", "12:00:00.0000001"),
    "json": ('{"a": 1}', '{"a":1}', '{"a": 2, "a": 1}', '{"a": 1.0}'),
    "any": (1, 1.0, "1"),
}

DEFAULTS = (
    *("0", "1", "-1", "1.5", "''", "'it''s'", "NULL", "TRUE", "false", "CURRENT_TIMESTAMP"),
    *(
        "current_date",
        "(datetime('now'))",
        "x'00ff'",
        "(1 + 1)",
        "'0'",
        "(lower(hex(randomblob(4))))",
    ),
    *("(strftime('%s','now'))", "-9223372036854775808", "0x10", "1e3", "+1", "'a' COLLATE NOCASE"),
)
ACTIONS = (
    "",
    " ON DELETE CASCADE",
    " ON DELETE SET NULL",
    " ON DELETE RESTRICT",
    " ON UPDATE CASCADE ON DELETE SET DEFAULT",
    " DEFERRABLE INITIALLY DEFERRED",
    " ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE",
    " NOT DEFERRABLE",
)
