"""Rows whose parent is missing: listed, emptied or skipped."""

from __future__ import annotations

import contextlib
import sqlite3
import time

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
        migrate(path, pg_url, on_change="accept")

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


LENGTH = 6000
COUNT = f"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {LENGTH})"
# Each row refers to the one before; the first is broken, or is not.
CHAINS = {
    "one table": (
        f"""
        CREATE TABLE n (id INTEGER PRIMARY KEY, prev INT REFERENCES n (id));
        {COUNT} INSERT INTO n SELECT i, nullif(i - 1, 0) FROM c;
        """,
        "UPDATE n SET prev = 999999 WHERE id = 1",
        {"n": LENGTH},
    ),
    "a value that does not fit": (
        f"""
        CREATE TABLE n (id INTEGER PRIMARY KEY, v INT, prev INT REFERENCES n (id));
        {COUNT} INSERT INTO n SELECT i, 1, nullif(i - 1, 0) FROM c;
        """,
        "UPDATE n SET v = 'bad' WHERE id = 1",
        {"n": LENGTH},
    ),
    "two tables": (
        f"""
        CREATE TABLE n (id INTEGER PRIMARY KEY, m INT REFERENCES m (id));
        CREATE TABLE m (id INTEGER PRIMARY KEY, n INT REFERENCES n (id));
        {COUNT} INSERT INTO n SELECT i, nullif(i - 1, 0) FROM c;
        INSERT INTO m SELECT id, id FROM n;
        """,
        "UPDATE n SET m = 999999 WHERE id = 1",
        {"m": LENGTH, "n": LENGTH},
    ),
    "keys of text": (
        f"""
        CREATE TABLE n (k TEXT, v INT, prev TEXT, w INT, PRIMARY KEY (k, v),
          FOREIGN KEY (prev, w) REFERENCES n (k, v)) WITHOUT ROWID;
        {COUNT} INSERT INTO n SELECT 'k' || i, 1, CASE WHEN i > 1 THEN 'k' || (i - 1) END, 1 FROM c;
        """,
        "UPDATE n SET prev = 'lost' WHERE k = 'k1'",
        {"n": LENGTH},
    ),
}


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("kind", CHAINS)
def test_a_long_chain_takes_about_as_long_as_rows_without_one(tmp_path, pg_url, kind, dry_run):
    """
    6,000 rows, each of which refers to the one before, and the first to nothing.
    """
    script, breaking, skipped = CHAINS[kind]
    times = []
    for broken in (False, True):
        path = str(tmp_path / f"{broken}.db")
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript(script + breaking * broken)
        began = time.process_time()
        report = migrate(
            path,
            pg_url,
            on_orphan="skip",
            on_bad_value="skip",
            dry_run=dry_run,
            if_not_empty="truncate",
        )
        times.append(time.process_time() - began)
        found = {table.name: table.rows_skipped for table in report.tables}
        assert found == (skipped if broken else dict.fromkeys(skipped, 0))

    # It was minutes. The time of this process: a busy machine does not change that.
    assert times[1] < 15 * times[0]


def test_descendants_along_several_keys_and_tables(move, pg):
    """
    A row is left only if all that it refers to are; keys of two columns, and of text.
    """
    report = move(
        """
        CREATE TABLE a (x TEXT, y INT, up INT REFERENCES b (id), PRIMARY KEY (x, y)) WITHOUT ROWID;
        CREATE TABLE b (id INTEGER PRIMARY KEY, x TEXT, y INT, c TEXT REFERENCES c (k),
          FOREIGN KEY (x, y) REFERENCES a (x, y));
        CREATE TABLE c (k TEXT PRIMARY KEY, b INT REFERENCES b (id));
        INSERT INTO a VALUES ('p', 1, 99), ('q', 1, NULL), ('r', 1, 3);
        INSERT INTO b VALUES (1, 'p', 1, NULL), (2, 'q', 1, 'ok'), (3, 'q', 1, 'lost'),
          (4, 'r', 1, NULL), (5, NULL, 7, 'ok');
        INSERT INTO c VALUES ('ok', NULL), ('lost', 1), ('more', 4), ('fine', 5);
        """,
        on_orphan="skip",
    )

    assert [("q", 1, None)] == pg("SELECT * FROM a")
    assert [(2,), (5,)] == pg("SELECT id FROM b ORDER BY id")
    assert [("fine",), ("ok",)] == pg("SELECT k FROM c ORDER BY k")
    assert {"a": 2, "b": 3, "c": 2} == {t.name: t.rows_skipped for t in report.tables}


def test_descendants_of_keys_with_several_spellings(move, pg):
    """
    1.5 and '1.50' are one key; the chain is followed through what they become.
    """
    move(
        """
        CREATE TABLE t (id decimal PRIMARY KEY NOT NULL, up decimal REFERENCES t (id));
        INSERT INTO t VALUES (1.5, 77), ('2.50', '1.50'), (3, 2.5), ('x3', NULL), (4, NULL),
          (5, '4.0');
        """,
        on_orphan="skip",
        on_bad_value="skip",
    )

    assert [(4, None), (5, 4)] == pg("SELECT * FROM t ORDER BY id")


@pytest.mark.parametrize("foreign", ["FOREIGN KEY (p) REFERENCES p (id)", ""])
def test_rows_whose_key_is_no_valid_text_are_named(lite, pg_url, pg, foreign):
    """
    A key of a table WITHOUT ROWID may be any bytes: orphans and NULLs are listed all the same.
    """
    pg("CREATE TABLE p (id text PRIMARY KEY); CREATE TABLE c (k bytea, p text NOT NULL)")
    if foreign:
        pg("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p, ALTER p DROP NOT NULL")
    value = "'gone'" if foreign else "NULL"
    path = lite(
        f"""
        CREATE TABLE p (id TEXT PRIMARY KEY);
        CREATE TABLE c (k BLOB PRIMARY KEY, p TEXT {"," if foreign else ""} {foreign})
          WITHOUT ROWID;
        INSERT INTO c VALUES (CAST(x'd8004100' AS TEXT), {value}), (x'01', {value});
        """
    )

    problems = [str(problem) for problem in migrate(path, pg_url, dry_run=True).problems]

    assert any("c.k, k x'd8004100': x'd8004100': not valid UTF-8" in one for one in problems)
    listed = "c (p) → p: 2 rows (k x'" if foreign else "c.p, k x'd8004100': NULL"
    assert any(listed in one for one in problems), problems
    report = migrate(path, pg_url, on_bad_value="skip", on_orphan="skip")
    assert (2, []) == (sum(t.rows_skipped for t in report.tables), pg("SELECT * FROM c"))
