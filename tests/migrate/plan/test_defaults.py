"""Defaults: translated, or skipped by name."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("default", ["(random())", "(hex(randomblob(16)))", "(1 || 'x')"])
def test_other_defaults_are_left_behind_by_name(move, default):
    """
    Field note 9: what is not certain is dropped, and listed.
    """
    report = move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v text DEFAULT {default})")
    assert [("default", "t.v")] == [(s.kind, s.name) for s in report.skipped]
