"""Filling tables that somebody else made, with whatever rights there are."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.errors import SchemaMismatch, TargetRefused

TREE = """
CREATE TABLE a_leaf (id INTEGER PRIMARY KEY, branch INTEGER REFERENCES m_branch (id));
CREATE TABLE m_branch (id INTEGER PRIMARY KEY, root INTEGER REFERENCES z_root (id));
CREATE TABLE z_root (id INTEGER PRIMARY KEY);
INSERT INTO z_root VALUES (1); INSERT INTO m_branch VALUES (2, 1); INSERT INTO a_leaf VALUES (3, 2);
"""
PG_TREE = """
CREATE TABLE z_root (id int PRIMARY KEY);
CREATE TABLE m_branch (id int PRIMARY KEY, root int REFERENCES z_root);
CREATE TABLE a_leaf (id int PRIMARY KEY, branch int REFERENCES m_branch);
"""


@pytest.fixture
def admin(server_url, pg_url):
    """The superuser, in the target's database."""
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_tables_of_another_owner_are_filled_parents_first(move, pg, admin):
    """
    A role that may only insert fills the tables with their constraints in place.
    """
    admin.execute(PG_TREE)
    admin.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO oxy")
    report = move(TREE)
    assert ["z_root", "m_branch", "a_leaf"] == [table.name for table in report.tables]
    assert [(3, 2)] == pg("SELECT * FROM a_leaf")


def test_a_role_without_rights_learns_which(move, admin):
    """
    The remedy names the GRANT that is missing.
    """
    admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")
    with pytest.raises(TargetRefused, match="GRANT ALL ON SCHEMA public TO") as caught:
        move(TREE)
    assert "Failed to run migrations on PostgreSQL" in str(caught.value)


def test_columns_map_by_name_and_defaults_fill_the_rest(move, pg):
    """
    Order does not matter, case need not match, and what the source lacks gets its default.
    """
    pg("CREATE TABLE t (extra text DEFAULT 'd', \"b\" int, id int PRIMARY KEY, more text)")
    report = move("CREATE TABLE T (Id INTEGER PRIMARY KEY, B INTEGER)", {"T": [(1, 2)]})
    assert [("d", 2, 1, None)] == pg("SELECT * FROM t")
    assert 2 == len([w for w in report.warnings if "does not exist in the source" in w])


def test_a_column_that_needs_a_value_is_a_mismatch(move, pg):
    """
    NOT NULL without a default, and nothing to put there.
    """
    pg("CREATE TABLE t (id int, must text NOT NULL)")
    with pytest.raises(SchemaMismatch, match=r"t\.must needs a value"):
        move("CREATE TABLE t (id int)", {"t": [(1,)]})


def test_identity_always_and_generated_columns(move, pg):
    """
    Identity columns keep the source's numbers; generated ones are computed again, and compared.
    """
    pg(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "n int, twice int GENERATED ALWAYS AS (n * 2) STORED)"
    )
    move("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, twice INT)", {"t": [(5, 4, 8)]})
    assert [(5, 4, 8)] == pg("SELECT * FROM t")
    assert [(6,)] == pg("INSERT INTO t (n) VALUES (1) RETURNING id")


def test_bookkeeping_is_compared_and_left_alone(move, pg):
    """
    The migration tool's own table keeps its rows; a difference is a warning.
    """
    pg("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    pg("INSERT INTO alembic_version VALUES ('b2')")
    report = move(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL); CREATE TABLE t (v);"
        "INSERT INTO alembic_version VALUES ('a1')",
        schema="create",
    )
    assert [("b2",)] == pg("SELECT * FROM alembic_version")
    assert any("the target lacks 1 versions: a1" in w for w in report.warnings)


def test_a_day_that_does_not_exist_is_named(move, pg):
    """
    What only PostgreSQL refuses is rolled back, and then named like the rest.
    """
    with pytest.raises(Exception, match=r"t\.at, rowid 2: '2023-02-30 10:00:00': not a time"):
        move(
            "CREATE TABLE t (at datetime)",
            {"t": [("2023-02-28 24:00:00",), ("2023-02-30 10:00:00",)]},
        )
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")
