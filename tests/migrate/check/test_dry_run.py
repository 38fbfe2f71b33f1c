"""A dry run."""

from __future__ import annotations

import os

import pytest

from oxy_pg.errors import OxyPgError
from oxy_pg.migrate.migration import migrate

FAMILY = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent (id));
CREATE TABLE grandchild (id INTEGER PRIMARY KEY, child_id INTEGER NOT NULL REFERENCES child (id));
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (10, 1), (11, 99), (12, NULL);
INSERT INTO grandchild VALUES (100, 10), (101, 11);
"""


def test_a_dry_run_writes_nothing(move, pg, tmp_path):
    """
    Field note 25: a dry run names every problem and changes nothing.
    """
    report = move(
        FAMILY + "CREATE TABLE bad (n integer); INSERT INTO bad VALUES (1), ('x')", dry_run=True
    )
    assert {"bad value", "orphans"} == {problem.kind for problem in report.problems}
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    assert ["app.db"] == os.listdir(tmp_path)


# The target, a table of two rows that it refuses, and what the dry run lists.
UNCOMPARED = [
    ("a inet UNIQUE", ["10.0.0.1", "10.0.0.1/32"], ("unique index", "t_a_key")),
    ("a int4range UNIQUE", ["[1,5]", "[1,6)"], ("unique index", "t_a_key")),
    ("a interval UNIQUE", ["24:00:00", "1 day"], ("unique index", "t_a_key")),
    ("a word REFERENCES words", ["a", "b"], ("foreign key", "t_a_fkey")),
]


@pytest.mark.parametrize(("column", "texts", "listed"), UNCOMPARED)
def test_keys_that_only_postgres_compares_are_listed(lite, pg_url, pg, column, texts, listed):
    """
    A dry run that finds nothing in them says that it has not looked.
    """
    pg("CREATE TYPE word AS ENUM ('a', 'b')")
    pg("CREATE TABLE words (w word PRIMARY KEY)")
    pg(f"CREATE TABLE t (id bigint PRIMARY KEY, {column})")
    path = lite(
        "CREATE TABLE words (w TEXT PRIMARY KEY); INSERT INTO words VALUES ('a');"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        {"t": list(enumerate(texts))},
    )
    dry = migrate(path, pg_url, dry_run=True)
    assert () == dry.problems
    assert listed in [(one.kind, one.name) for one in dry.unexamined]
    with pytest.raises(OxyPgError):
        migrate(path, pg_url, rehearse=True)
    with pytest.raises(OxyPgError):
        migrate(path, pg_url)


def test_a_condition_that_sqlite_cannot_read_is_listed(lite, pg_url, pg):
    """
    One that it can read is examined.
    """
    pg("CREATE TABLE t (id bigint, a text, s varchar(3))")
    pg("CREATE UNIQUE INDEX readable ON t (a) WHERE s = 'x'")
    pg("CREATE UNIQUE INDEX other ON t (a) WHERE s = ANY (ARRAY['y', 'z'])")
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, s TEXT)",
        {"t": [(1, "a", "x"), (2, "a", "w")]},
    )
    dry = migrate(path, pg_url, dry_run=True)
    assert ["other"] == [one.name for one in dry.unexamined]


def test_what_is_only_spelled_otherwise_is_not_to_be_skipped(lite, pg_url, pg):
    """
    Such rows are right: the message proposes no option that would lose them.
    """
    pg("CREATE TABLE u (n text PRIMARY KEY); CREATE TABLE p (n text REFERENCES u)")
    path = lite(
        "CREATE TABLE u (n TEXT COLLATE NOCASE PRIMARY KEY); CREATE TABLE p (n TEXT REFERENCES u)",
        {"u": [("Al",)], "p": [("AL",)]},
    )
    with pytest.raises(OxyPgError, match="correct the spelling") as caught:
        migrate(path, pg_url, on_orphan="skip")
    assert "--on-orphan" not in str(caught.value)
