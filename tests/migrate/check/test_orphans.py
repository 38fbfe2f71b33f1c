"""Rows whose parent is missing: listed, emptied or skipped."""

from __future__ import annotations

import pytest

from oxy_pg.errors import (
    OrphanRows,
)
from oxy_pg.migrate.migration import migrate

FAMILY = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent (id));
CREATE TABLE grandchild (id INTEGER PRIMARY KEY, child_id INTEGER NOT NULL REFERENCES child (id));
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (10, 1), (11, 99), (12, NULL);
INSERT INTO grandchild VALUES (100, 10), (101, 11);
"""


def test_orphans_are_listed(move, pg):
    """
    Field note 15: orphans are listed before the first write.
    """
    with pytest.raises(OrphanRows, match=r"child \(parent_id\) → parent: 1 row \(id 11\)"):
        move(FAMILY)
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 'child'")


def test_orphans_lose_their_reference_when_asked(move, pg):
    """
    Field note 15: null empties the reference, counted.
    """
    report = move(FAMILY, on_orphan="null")
    assert [(10, 1), (11, None), (12, None)] == pg("SELECT * FROM child ORDER BY id")
    assert [("child", "parent_id", 1)] == [(c.table, c.column, c.count) for c in report.changes]


def test_orphans_are_skipped_with_what_depends_on_them(move, pg):
    """
    Field note 15: skip leaves out the row, and then the rows that refer to it.
    """
    report = move(FAMILY, on_orphan="skip")
    assert [(10,), (12,)] == pg("SELECT id FROM child ORDER BY id")
    assert [(100,)] == pg("SELECT id FROM grandchild")
    assert {"child": 1, "grandchild": 1, "parent": 0} == {
        t.name: t.rows_skipped for t in report.tables
    }


@pytest.mark.parametrize("declared", ["BLOB", "datetime", "decimal", "decimal(10,2)", "uuid", ""])
def test_orphans_beside_unfit_values_follow_the_policy(lite, pg_url, declared):
    """
    Keys that are spelled in several ways are compared too, before the write.
    """
    path = lite(
        f"""
        CREATE TABLE t (
          id {declared} NOT NULL PRIMARY KEY, v, parent_id {declared} REFERENCES t (id)
        );
        INSERT INTO t VALUES (0, NULL, 0), (x'', 0, x'00'), (1000000001.0, 1, 1000000000.0),
          (1.5, 2, '1.50'), ('x', NULL, NULL), (2, 3, 2.0);
        """
    )

    report = migrate(path, pg_url, on_bad_value="skip", on_orphan="skip", verify="full")

    (table,) = report.tables
    assert table.rows_read == table.rows_written + table.rows_skipped
    assert table.rows_skipped


def test_orphans_in_decimal_columns_are_named(lite, pg_url):
    """
    1 and 1.00 are one key; 2.5 refers to nothing, and its row is named.
    """
    path = lite(
        """
        CREATE TABLE p (id decimal NOT NULL PRIMARY KEY);
        CREATE TABLE c (id INTEGER PRIMARY KEY, p decimal REFERENCES p (id));
        INSERT INTO p VALUES (1), (0.1);
        INSERT INTO c VALUES (1, 1.0), (2, '0.10'), (3, 2.5), (4, NULL);
        """
    )

    with pytest.raises(OrphanRows) as caught:
        migrate(path, pg_url)
    assert [("id 3",)] == [orphans.rows for orphans in caught.value.orphans]

    report = migrate(path, pg_url, on_orphan="null", verify="full")
    assert [("c", "p", 1)] == [(c.table, c.column, c.count) for c in report.changes]


def test_orphans_among_documents_are_named(lite, pg_url):
    """
    jsonb compares documents by what they mean.
    """
    path = lite(
        """
        CREATE TABLE t (id JSONB NOT NULL PRIMARY KEY, parent JSONB REFERENCES t (id));
        INSERT INTO t VALUES ('{"a": 1.0, "b": [{}, []]}', NULL),
          ('1', '{"b": [{}, []], "a": 0, "a": 1}'), ('2', '{"a": 1}'), ('"1"', '1.00'), ('3', 7);
        """
    )

    with pytest.raises(OrphanRows) as caught:
        migrate(path, pg_url)

    assert [("rowid 3", "rowid 5")] == [orphans.rows for orphans in caught.value.orphans]


def test_row_that_stays_behind_takes_no_other_with_it(lite, pg_url, pg):
    """
    The first of two rows with one key has a bad value: the second one is kept.
    """
    path = lite(
        """
        CREATE TABLE t (at datetime UNIQUE, n INTEGER);
        INSERT INTO t VALUES ('2024-01-01', 'x'), ('2024-01-01 00:00', 2);
        """
    )

    migrate(path, pg_url, on_bad_value="skip", verify="full")

    assert [(2,)] == pg("SELECT n FROM t")


def test_references_in_another_spelling_are_no_orphans(lite, pg_url, pg):
    """
    Upper and lower case, or two forms of a time, are one key in PostgreSQL.
    """
    path = lite(
        """
        CREATE TABLE p (id uuid NOT NULL PRIMARY KEY, at datetime NOT NULL UNIQUE);
        CREATE TABLE c (id INTEGER PRIMARY KEY, p uuid REFERENCES p (id),
          at datetime REFERENCES p (at), n INTEGER);
        INSERT INTO p VALUES ('0000000A-0000-0000-0000-000000000000', '2024-01-01 00:00:00');
        INSERT INTO c VALUES (1, '0000000a-0000-0000-0000-000000000000', '2024-01-01T00:00:00', 1);
        """
    )

    assert () == migrate(path, pg_url, dry_run=True).problems
    migrate(path, pg_url, on_orphan="skip", verify="full")
    assert [(1,)] == pg("SELECT count(*) FROM c")
    pg("TRUNCATE p, c")

    # And into the tables that are there now.
    assert 2 == migrate(path, pg_url, verify="full").rows
