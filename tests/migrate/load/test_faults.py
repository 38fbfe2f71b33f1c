"""
A fault of the loading's own conversion is found, although what is stored is what was sent.

Each test breaks one conversion on purpose. The verification must not use it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from oxy_pg.errors import VerificationFailed
from oxy_pg.migrate.convert.codec import Field
from oxy_pg.migrate.convert.kinds import booleans, documents, numbers, strings, times, uuids

ROWS = 1200  # more than are compared value by value

# The kind, the values of its column, and the field as a fault would make it.
FIELDS = {
    "bigint one off": (numbers._Integer, "BIGINT", lambda n: n, Field("{x} + 1", "q")),
    "double rounded": (numbers.Double, "REAL", lambda n: n + 0.123, Field("round({x}, 2)", "d")),
    "text trimmed": (strings.Text, "TEXT", lambda n: f"{n} ", Field("rtrim({x})")),
    "text folded": (strings.Text, "TEXT", lambda n: f"Ab{n}", Field("lower({x})")),
    "bytes swapped": (strings.Bytea, "BLOB", lambda _: b"ab", Field("CAST('ba' AS BLOB)")),
    "boolean inverted": (booleans.Boolean, "BOOLEAN", lambda n: n % 2, Field("NOT {x}", "?")),
    "uuid of zeros": (
        uuids.Uuid, "UUID",
        lambda n: bytes([n % 250 + 1] * 16), Field("zeroblob(16)", "16s"),
    ),
    "JSON compacted": (
        documents.Json, "JSON", lambda n: f"[1, {n}]", Field("replace({x}, ' ', '')"),
    ),
    "an hour": (
        times.Timestamptz, "TIMESTAMPTZ", lambda n: f"2024-01-01 00:00:{n % 60:02}",
        Field(f"({times._INSTANT}) + 3600000000", "q"),
    ),
    "a microsecond": (
        times.Timestamp, "DATETIME", lambda n: f"2024-01-01 00:00:{n % 60:02}",
        Field(f"({times._INSTANT}) + 1", "q"),
    ),
    "a day": (
        times.Date, "DATE", lambda n: f"2024-01-{n % 28 + 1:02}",
        Field("CAST(julianday({x}) - 2451544.5 AS INTEGER) + 1", "i"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FIELDS)
@pytest.mark.parametrize("form", ["records", "lines"])
def test_a_fault_in_the_fast_way_is_found(move, pg, monkeypatch, fault, form):
    """
    SQLite's own conversion is wrong in every row: the sample that is read again shows it.
    """
    kind, declared, value, field = FIELDS[fault]
    fast = kind.fast

    def faulty(self, type_, storage, facts):
        found = fast(self, type_, storage, facts)
        return found and replace(found, field=field)

    monkeypatch.setattr(kind, "fast", faulty)
    other = "" if form == "records" else ", n NUMERIC DEFAULT 0.5"
    move_of = [(value(n), *([n + 0.5] if other else [])) for n in range(ROWS)]

    if form == "records":
        with pytest.raises(VerificationFailed, match=r"t\.v, rowid 1: .* became"):
            move(f"CREATE TABLE t (v {declared}{other})", {"t": move_of})
        assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")
    else:  # the lines have the text of the values, and only the digest is wrong: compared again
        report = move(f"CREATE TABLE t (v {declared}{other})", {"t": move_of})
        assert ("v", "n") == report.verification.compared[0].values


# The kind, a value of its column, and what a fault makes of the text for PostgreSQL.
TEXTS = {
    "numeric rounded": (numbers.Numeric, "NUMERIC", 1.25, lambda text: text[:-1]),
    "numeric with another sign": (numbers.Numeric, "NUMERIC", 1.25, lambda text: "-" + text),
    "jsonb without a member": (
        documents.Jsonb, "JSONB", '{"a": 1, "b": 2}', lambda _: '{"a": 1}',
    ),
    "jsonb with text for a number": (documents.Jsonb, "JSONB", "[1]", lambda _: '["1"]'),
    "seconds as milliseconds": (
        times.Timestamptz, "TIMESTAMPTZ", 1_700_000_000, lambda _: "1970-01-20 16:13:20+00",
    ),
    "another day": (
        times.Timestamptz, "TIMESTAMPTZ", 1_700_000_000, lambda _: "2023-11-15 22:13:20+00",
    ),
    "text cut": (strings._Characters, "STRING", 1.5, lambda text: text[:1]),
}  # fmt: skip


@pytest.mark.parametrize("fault", TEXTS)
@pytest.mark.parametrize("rows", [3, ROWS])
def test_a_fault_in_the_exact_way_is_found(move, pg, monkeypatch, fault, rows):
    """
    Kind.read() is wrong: the value is read again by other rules, in small and large tables.
    """
    kind, declared, value, broken = TEXTS[fault]
    read = kind.read
    monkeypatch.setattr(
        kind, "read", lambda self, value, type_, option: broken(read(self, value, type_, option))
    )

    with pytest.raises(VerificationFailed, match=r"t\.v, rowid 1: .* became"):
        move(f"CREATE TABLE t (n INTEGER, v {declared})", {"t": [(n, value) for n in range(rows)]})

    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")
