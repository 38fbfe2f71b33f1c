"""Rows as COPY takes them, whatever they hold."""

from __future__ import annotations

import random

import pytest

from oxy_pg.errors import BadValues

ODD_TABLES = [
    ("CREATE TABLE t (a INTEGER, b TEXT, c ANY) STRICT", [(1, "x", b"\1")]),
    ("CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID", [("a", 1), ("b", 2)]),
    ("CREATE TABLE t (a TEXT, b INT, v, PRIMARY KEY (b, a)) WITHOUT ROWID", [("a", 1, 2)]),
    ("CREATE TABLE t (u, v, w, x)", [(1, 1.5, "t", b"b"), (2, 2, "u", b"c")]),
    ("CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ TEXT)", [("a", "b", "c")]),
    ("CREATE TABLE t (v text)", []),
    (
        "CREATE TABLE t (id INTEGER, u uuid_text, r real, b blob, j json_text, d date)",
        [(1, None, None, None, None, None)],
    ),
    ("CREATE TABLE t (xmin text, ctid int)", [("a", 1)]),
]


@pytest.mark.parametrize(("script", "rows"), ODD_TABLES)
def test_odd_tables(move, pg, script, rows):
    """
    Field note 28: STRICT, WITHOUT ROWID, untyped columns, shadowed rowids, no rows.
    """
    report = move(script, {"t": rows} if rows else None)
    assert sorted(rows) == sorted(pg("SELECT * FROM t"))
    assert len(rows) == report.rows


def test_texts_that_look_like_copys_own_marks(move, pg):
    """
    Quotes, ends of data, line ends and NULLs inside texts are only texts.
    """
    texts = ["\\.", "", None, "\1", "\1\1", "a\1\t\1b", "x\n\\.\ny\r\n", "\\N", "\r", '"', "'"]
    move("CREATE TABLE t (v text)", {"t": [(text,) for text in texts]})
    assert [(text,) for text in texts] == pg("SELECT v FROM t")


def test_a_line_break_after_a_time_is_no_line_of_its_own(move, pg):
    """
    SQLite reads such a time, and so does PostgreSQL.
    """
    rows = [("2024-01-01 00:00:00",), ("2024-01-02 00:00:00\n",)]
    move("CREATE TABLE t (v timestamp)", {"t": rows})
    assert [("2024-01-01 00:00:00",), ("2024-01-02 00:00:00",)] == pg("SELECT v::text FROM t")


def test_rows_of_which_no_column_is_written_arrive(move, pg):
    """
    The target lacks the only column, which is empty: the rows get their defaults.
    """
    pg("CREATE TABLE t (id serial, note text DEFAULT 'x')")

    report = move("CREATE TABLE t (v TEXT)", {"t": [(None,), (None,)]})

    assert 2 == report.rows
    assert [(1, "x"), (2, "x")] == pg("SELECT * FROM t ORDER BY id")


@pytest.mark.parametrize("unique", ["", "UNIQUE"])
def test_a_limit_of_postgres_is_no_lost_connection(move, pg, unique):
    """
    An index row may have 2,704 bytes: a plain index is skipped, a value of a unique one is named.
    """
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    script = f"CREATE TABLE t (v text); CREATE {unique} INDEX on_v ON t (v)"
    if unique:
        with pytest.raises(BadValues, match="9,000 bytes: index row requires"):
            move(script, {"t": [(text,)]})
        assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")
        return
    report = move(script, {"t": [(text,)]})
    assert [("index", "on_v", "CREATE INDEX on_v ON t (v)")] == [
        (skipped.kind, skipped.name, skipped.sql) for skipped in report.skipped
    ]
    assert [(text,)] == pg("SELECT v FROM t")
