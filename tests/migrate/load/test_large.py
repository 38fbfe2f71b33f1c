"""Rows that are too large for a query, and read in parts."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from oxy_pg.errors import MigrationError, VerificationFailed
from oxy_pg.migrate.load import large
from oxy_pg.migrate.source import readers

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, one BLOB, score REAL, two BLOB)"
# Texts in UTF-8, and bytes, whose parts end within a character.
TEXT = "\N{ROCKET}é" * 400_000


def _bytes(seed, size):
    return hashlib.shake_128(str(seed).encode()).digest(size)


@pytest.fixture(params=["1", "2"])
def parts(request, monkeypatch):
    """With one reading process, and several: the rowids that were read in parts."""
    monkeypatch.setattr(readers, "_WORTH", 0 if request.param == "2" else 1 << 60)
    read = []
    pieces = large.LargeRows.pieces

    def noted(self, first, last):
        for number, piece in enumerate(pieces(self, first, last)):
            read.append((last, number))
            yield piece

    monkeypatch.setattr(large.LargeRows, "pieces", noted)
    return read


ROWS = [
    (1, "small", b"\0", 0.5, b""),
    (2, "both", _bytes(2, 700_001), None, _bytes(3, 3_000_000)),
    (3, None, None, 1.5, _bytes(4, 262_144)),
    (4, "empty", b"", -0.0, _bytes(5, 600_000)),
    (5, "x" * 399, _bytes(6, 600_000), 1e300, None),
    (6, "last", b"\xff\0", None, None),
    *((number, f"file {number}", bytes([number % 251]), 0.0, None) for number in range(7, 2000)),
    (2000, None, _bytes(7, 5_000_000), None, b"end"),
]


@pytest.mark.parametrize("append", [False, True])
def test_large_values_arrive_among_small_ones(move, pg, parts, append):
    """
    NULL, empty and large values side by side, in a new table and in one that has rows.
    """
    if append:
        pg(
            "CREATE TABLE t (id bigint PRIMARY KEY, name text, one bytea, "
            "score double precision, two bytea)"
        )
        pg("INSERT INTO t (id) VALUES (0)")
    report = move(SCHEMA, {"t": ROWS}, if_not_empty="append")
    query = "SELECT id, name, one, score, two FROM t WHERE id > 0 ORDER BY id"
    assert ROWS == pg(query)
    assert len(ROWS) == report.verification.rows
    large_rows = {number for number, *_ in parts}
    assert {2, 2000} <= large_rows
    assert large_rows <= {2, 3, 4, 5, 2000}


def test_large_texts_arrive(move, pg, parts):
    """
    The text's bytes are read, in whatever part a character ends.
    """
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, doc JSON, body TEXT, v VARCHAR(900000))"
    document = '{"a": "' + "é" * 300_000 + '"}'
    rows = [(1, document, TEXT, "v"), (2, "[]", None, TEXT), (3, "{}", "", None)]
    move(script, {"t": rows})
    assert rows == pg("SELECT id, doc::text, body, v FROM t ORDER BY id")
    assert parts


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("CREATE TABLE t (g TEXT AS ('x' || id) VIRTUAL, id INTEGER PRIMARY KEY, v BLOB)", ""),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, g TEXT AS ('x' || id) STORED, v BLOB)", ""),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)", "ALTER TABLE t ADD g TEXT DEFAULT 'x'"),
    ],
)
def test_what_sqlite_does_not_open_is_read_as_a_whole(move, pg, script, more):
    """
    Tables with generated columns, and rows from before a column was added.
    """
    rows = ", ".join(f"({number}, randomblob({number * 400_000}))" for number in range(1, 5))
    move(f"{script}; INSERT INTO t (id, v) VALUES {rows}; {more}")
    assert [(n, n * 400_000) for n in range(1, 5)] == pg("SELECT id, length(v) FROM t ORDER BY id")
    assert [(4,)] == pg("SELECT count(*) FROM t WHERE g LIKE 'x%'")


def test_a_wrong_part_is_found(move, pg, monkeypatch):
    """
    The verification does not trust what was read in parts: the rows are read in another way.
    """
    read = large.LargeRows._read
    monkeypatch.setattr(
        large.LargeRows, "_read", lambda self, value: read(self, value).replace(b"\xaa", b"\xab")
    )
    with pytest.raises(VerificationFailed, match=r"t\.two, id 2: "):
        move(SCHEMA, {"t": ROWS})
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


def test_an_error_amid_a_row_stops_the_migration(move, pg, monkeypatch):
    """
    A part that cannot be read: nothing is written.
    """
    read = large.LargeRows._read

    def fail(self, value):
        if value.tell() > 500_000:
            raise sqlite3.OperationalError("disk I/O error")
        return read(self, value)

    monkeypatch.setattr(large.LargeRows, "_read", fail)
    with pytest.raises(MigrationError, match="disk I/O error"):
        move(SCHEMA, {"t": ROWS})
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")
