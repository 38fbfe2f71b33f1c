"""Each kind of type: what it says about itself holds, in SQLite, in Python and in PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
import struct
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import oxy_pg.migrate
from oxy_pg.migrate.convert import codec
from oxy_pg.migrate.convert.kind import Facts
from oxy_pg.migrate.convert.kinds.other import OTHER
from oxy_pg.migrate.convert.options import OPTIONS
from oxy_pg.migrate.convert.types import KINDS, parse_type
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.source.functions import install_functions

# Of every storage class: what programs store, what they should not, and what is close to a limit.
VALUES = (
    *(0, 1, -1, 2, 2**15 - 1, 2**15, -(2**31), 2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 0.5, 0.1, 1e300, 2_460_263.425925926, float("inf")),
    *("", "0", "1", "12.50", "-0", "1e5", "0x10", "true", "No", "a\ttab", "\x01", "a\0b", "ß" * 9),
    *("2024-02-29", "2023-02-30", "2024-02-29 10:11:12", "2024-02-29T10:11:12.5Z", "0000-01-01"),
    *("2024-02-29 10:11:12.1234565", "2024-02-29 24:00:00", "2024-02-29 10:11+05:30"),
    *("9999-12-31 23:59:59.9999999", "10:11:12", "24:00:00", "29:11:12", "10:11"),
    *("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "{6BA7B8109DAD11D180B400C04FD430C8}"),
    *('{"a": [1, 2.50, null]}', '"\\u0000"', "NaN", "{", "a  "),
    *(b"", b"\x00\xff", bytes(range(16))),
)
WITH_SIZE = (
    *("varchar(3)", "character(3)", "character", "numeric(5,2)"),
    *("timestamp(0)", "time(3)", "timestamptz(3)"),
)
TYPES = [kind.type for kind in KINDS] + [parse_type(sql) for sql in WITH_SIZE]
STORAGES = {int: "integer", float: "real", str: "text", bytes: "blob"}


def read(value, type_):
    try:
        return to_text(value, type_)
    except Unfit:
        return None


@pytest.fixture
def sqlite():
    connection = sqlite3.connect(":memory:")
    install_functions(connection)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def postgres(server_url):
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def spelled(postgres, texts, type_):
    """Return what PostgreSQL makes of these texts."""
    query = (
        f"SELECT t::{type_.sql}::text FROM unnest(%s::text[]) WITH ORDINALITY u(t, n) ORDER BY n"
    )
    return [row[0] for row in postgres.execute(query, [texts])]


def asked(sqlite, sql, value):
    """Return what SQLite makes of a template."""
    return sqlite.execute(f"SELECT {sql.replace('{x}', ':x')}", {"x": value}).fetchone()[0]


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_postgres_reads_what_is_sent_as_what_was_meant(postgres, type_):
    """
    No text that is sent is refused, and canonical() finds both spellings equal.
    """
    texts = [text for value in VALUES if (text := read(value, type_)) is not None]
    assert texts
    for sent, found in zip(texts, spelled(postgres, texts, type_), strict=True):
        assert type_.kind.canonical(sent) == type_.kind.canonical(found)


# Of columns whose longest text has so many characters: times without a fraction, with six digits
# of one at most, and all others.
LONGEST = (19, 26, 40)


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("storage", STORAGES.values())
@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_the_fast_way_gives_what_the_exact_way_gives(sqlite, postgres, type_, storage, longest):
    """
    What ``fits`` accepts is sent by ``text`` as PostgreSQL reads it from read(); nothing else.
    """
    facts = Facts(**{f"{storage}s": 1}, longest=longest)
    fast = type_.fast(facts, None, "UTF-8")
    if fast is None:
        assert type_.kind.fast(type_, storage, facts) is None
        return
    quick, exact = [], []
    for value in VALUES:
        if asked(sqlite, fast.fits, value) and "\0" not in str(value):
            quick.append(unquoted(asked(sqlite, fast.text, value)))
            exact.append(read(value, type_))
    known = [(a, b) for a, b in zip(quick, exact, strict=True) if b is not None]
    assert known
    refused = [a for a, b in zip(quick, exact, strict=True) if b is None]
    # What the exact way refuses and the fast way does not, PostgreSQL refuses as it arrives.
    for text in refused:
        with pytest.raises(psycopg.Error):
            spelled(postgres, [text], type_)
    ours, theirs = (spelled(postgres, list(texts), type_) for texts in zip(*known, strict=True))
    assert ours == theirs


def unquoted(field) -> str:
    text = str(field)
    if text.startswith(codec.QUOTE):
        return text[1:-1].replace(codec.QUOTE * 2, codec.QUOTE)
    return text


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_binary_fields_are_those_of_postgres(sqlite, postgres, type_, longest):
    """
    A number goes as struct packs it, a text as its bytes: what PostgreSQL sends for the value too.
    """
    for storage in STORAGES.values():
        fast = type_.fast(Facts(**{f"{storage}s": 1}, longest=longest), None, "UTF-8")
        if fast is None or fast.field is None:
            continue
        for value in VALUES:
            text = read(value, type_)
            if text is None or not asked(sqlite, fast.fits, value):
                continue
            made = asked(sqlite, fast.field.sql, value)
            if fast.field.code is not None:
                made = struct.pack(f">{fast.field.code}", made)
            cursor = postgres.cursor(binary=True).execute(f"SELECT %s::{type_.sql}", [text])
            sent = cursor.pgresult.get_value(0, 0)
            assert sent == (made.encode() if isinstance(made, str) else made), value


# Times, and what has as many characters as one of them has.
LIKE_TIMES = (
    *("2024-02-29 10:11:12", "2024-02-29T23:59:59", "0001-01-01 00:00:00", "2023-02-29 10:11:12"),
    *("2024-04-31 10:11:12", "2024-01-01 24:00:00", "9999-12-31 23:59:59", "2024-01-01   10:11:12"),
    *(
        "2024-01-01T10:11Z  ",
        "2024-01-01 10:11\0\0\0",
        "2024-01-01 1:1\0:12",
        "2451545.00000000000",
    ),
    *("10:11:12.0000000000", "-024-01-01 10:11:12", "2024-01-01 10:11:1ß", "2024-01-01 10:11:60"),
    *("2024-13-01 10:11:12", "2024-00-10 10:11:12", "2024-01-00 10:11:12", "٢٠٢٤-01-01 10:11:12"),
    *("2024-01-01 10:11:12.123456", "2024-01-01 10:11:12.12345\0", "2024-01-01 10:11:12.1234567"),
    *(1_234_567_890_123_456_789, b"2024-01-01 10:11:12"),
)


@pytest.mark.parametrize("value", LIKE_TIMES)
@pytest.mark.parametrize("longest", LONGEST)
def test_the_shorter_ways_take_no_other_times(sqlite, value, longest):
    """
    Of 19 characters, and of 26, only what the exact way reads, as it reads it; and no rounding.
    """
    type_ = parse_type("timestamp")
    fast = type_.fast(Facts(texts=1, longest=longest), None, "UTF-8")
    assert fast.is_exact == (longest < 40)
    if not asked(sqlite, fast.fits, value):
        return
    text = read(value, type_)
    micros = asked(sqlite, fast.field.sql, value)
    assert datetime.fromisoformat(text) == datetime(2000, 1, 1) + timedelta(microseconds=micros)  # noqa: DTZ001
    assert not (fast.is_exact and asked(sqlite, type_.kind.rounding(type_).sql, value))


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_keys_are_equal_where_postgres_says_so(postgres, type_):
    """
    Of the kinds that have a family; the others are left to PostgreSQL.
    """
    if type_.kind.family is None:
        return
    texts = [text for value in VALUES if (text := read(value, type_)) is not None]
    query = (
        f"SELECT a = b FROM (SELECT t::{type_.sql} AS a, n FROM unnest(%s::text[]) "
        f"WITH ORDINALITY u(t, n)) AS l, (SELECT t::{type_.sql} AS b, n FROM unnest(%s::text[]) "
        "WITH ORDINALITY u(t, n)) AS r ORDER BY l.n, r.n"
    )
    theirs = [row[0] for row in postgres.execute(query, [texts, texts])]
    keys = [type_.kind.key(text) for text in texts]
    assert theirs == [a == b for a in keys for b in keys]


@pytest.mark.parametrize("kind", [*KINDS, OTHER], ids=repr)
def test_a_kind_is_ordered_where_postgres_has_an_order(postgres, kind):
    """
    And its options exist.
    """
    assert kind.options <= OPTIONS.keys()
    if kind is OTHER:
        return
    query = (
        "SELECT EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod "
        "WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype IN (%s::regtype, "
        "CASE %s WHEN 'varchar' THEN 'text' ELSE %s END::regtype))"
    )
    (found,) = postgres.execute(query, [kind.type.sql] + 2 * [kind.type.sql]).fetchone()
    assert found is kind.is_ordered


def test_names_and_declarations_mean_one_kind_each():
    """
    No name leads to two kinds.
    """
    names = [name for kind in KINDS for name in {kind.name, kind.type.sql, *kind.spellings}]
    words = [word for kind in KINDS for word in kind.declarations.split()]
    assert len(names) == len(set(names))
    assert len(words) == len(set(words))


def test_nobody_else_compares_the_names_of_kinds():
    """
    Outside of ``convert/`` a kind is asked; else a new kind would have to be added there too.
    """
    root = Path(oxy_pg.migrate.__file__).parent
    names = "|".join(kind.name for kind in KINDS)
    compared = re.compile(rf"kind(?:\.name)?\s*(?:==|!=|in)\s*\W?[\"'](?:{names}|other)[\"']")
    found = [
        f"{path}: {match[0]}"
        for path in root.rglob("*.py")
        if "convert" not in path.parts
        for match in compared.finditer(path.read_text())
    ]
    assert [] == found
