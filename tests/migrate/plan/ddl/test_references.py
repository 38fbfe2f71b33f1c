"""Foreign keys that SQLite compares in another way: with a collation, or a text with a number."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.errors import OrphanRows
from oxy_pg.migrate.migration import migrate

KEYS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"


@pytest.mark.parametrize(
    ("collation", "key", "spelled"),
    [("NOCASE", "Alice", "alice"), ("RTRIM", "Alice", "Alice  "), ("NOCASE", "É", "É")],
)
@pytest.mark.parametrize("policy", ["error", "skip", "null"])
def test_the_parents_collation_counts(lite, pg_url, pg, collation, key, spelled, policy):
    """
    No row is an orphan that SQLite finds the parent of; what PostgreSQL cannot keep is listed.
    """
    path = lite(
        f"CREATE TABLE users (name TEXT COLLATE {collation} PRIMARY KEY, n INT);"
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, author TEXT REFERENCES users (name));",
        {"users": [(key, 1)], "posts": [(1, spelled), (2, key), (3, None)]},
    )

    dry = migrate(path, pg_url, dry_run=True, on_orphan=policy)
    report = migrate(path, pg_url, verify="full", on_orphan=policy)

    kept = key == spelled
    assert () == dry.problems
    for found in (dry, report):
        assert kept == (not [s for s in found.skipped if s.kind == "foreign key"])
    assert [(int(kept),)] == pg(KEYS)
    assert [(1, spelled), (2, key), (3, None)] == pg("SELECT * FROM posts ORDER BY id")


def test_orphans_beside_a_collation(lite, pg_url, pg):
    """
    Where every other row is spelled as its parent, the key is kept, and the orphan is one.
    """
    path = lite(
        "CREATE TABLE users (name TEXT COLLATE NOCASE PRIMARY KEY);"
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, author TEXT REFERENCES users (name));",
        {"users": [("Alice",)], "posts": [(1, "Alice"), (2, "nobody")]},
    )

    report = migrate(path, pg_url, on_orphan="skip", verify="full")

    assert [1] == [t.rows_skipped for t in report.tables if t.name == "posts"]
    assert [(1,)] == pg(KEYS)


def test_a_unique_column_that_ignores_case_can_be_referred_to(move, pg):
    """
    It is unique in both ways: without case, and as PostgreSQL needs it for the foreign key.
    """
    move(
        "CREATE TABLE u (id INTEGER PRIMARY KEY, mail TEXT UNIQUE COLLATE NOCASE);"
        "CREATE TABLE p (id INTEGER PRIMARY KEY, mail TEXT REFERENCES u (mail));",
        {"u": [(1, "a@x")], "p": [(1, "a@x")]},
    )

    assert [(1,)] == pg(KEYS)
    with pytest.raises(psycopg.errors.UniqueViolation):
        pg("INSERT INTO u VALUES (2, 'A@X')")


@pytest.mark.parametrize(
    ("parent", "child", "rows", "type_"),
    [
        ("INTEGER", "TEXT", ["1", "2", None], "bigint"),
        ("INTEGER", "VARCHAR(20)", ["1", "-2"], "bigint"),
        ("TEXT", "INTEGER", [1, 2, None], "text"),
    ],
)
def test_texts_and_numbers_that_fit(lite, pg_url, pg, parent, child, rows, type_):
    """
    The child's column gets the type of the parent's, and that is said.
    """
    keys = sorted({row for row in rows if row is not None})
    path = lite(
        f"CREATE TABLE p (id {parent} PRIMARY KEY);"
        f"CREATE TABLE c (id INTEGER PRIMARY KEY, p {child} REFERENCES p (id));"
        f"CREATE TABLE d (id INTEGER PRIMARY KEY, c {child}, FOREIGN KEY (c) REFERENCES p);",
        {"p": [(key,) for key in keys], "c": list(enumerate(rows))},
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    for found in (dry, report):
        assert type_ in {c.type for t in found.tables if t.name == "c" for c in t.columns[1:]}
        assert any("refers to p.id" in warning for warning in found.warnings)
    assert [(2,)] == pg(KEYS)


def test_a_chain_of_casts(move, pg):
    """
    What refers to a column that got another type gets it too.
    """
    move(
        "CREATE TABLE a (id INTEGER PRIMARY KEY);"
        "CREATE TABLE b (a TEXT UNIQUE REFERENCES a (id));"
        "CREATE TABLE c (a TEXT REFERENCES b (a));",
        {"a": [(1,)], "b": [("1",)], "c": [("1",)]},
    )
    assert [(2,)] == pg(KEYS)


@pytest.mark.parametrize("value", ["01", "x", "1.0", " 1", "99999999999999999999"])
def test_texts_that_are_no_numbers_keep_their_type(move, pg, value):
    """
    Nothing is changed for the sake of a foreign key; it is listed.
    """
    report = move(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p TEXT REFERENCES p (id));",
        {"p": [(1,)], "c": [(value,), ("1",)]},
    )

    assert ["foreign key"] == [s.kind for s in report.skipped]
    assert {(value,), ("1",)} == set(pg("SELECT p FROM c"))


def test_a_type_that_the_user_chose_stays(move, pg):
    """
    The cast is the user's, so the foreign key is listed.
    """
    report = move(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p TEXT REFERENCES p (id));",
        {"p": [(1,)], "c": [("1",)]},
        casts={"c.p": "varchar(5)"},
    )

    assert ["foreign key"] == [s.kind for s in report.skipped]
    assert [("1",)] == pg("SELECT p FROM c")


@pytest.mark.parametrize("policy", ["error", "skip", "null"])
def test_the_targets_own_foreign_key_compares_exactly(lite, pg_url, pg, policy):
    """
    Rows that are right in SQLite are never skipped or emptied: they are named, with what to do.
    """
    pg("CREATE TABLE users (name text PRIMARY KEY)")
    pg("CREATE TABLE posts (id int PRIMARY KEY, author text REFERENCES users)")
    path = lite(
        "CREATE TABLE users (name TEXT COLLATE NOCASE PRIMARY KEY);"
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, author TEXT REFERENCES users (name));",
        {"users": [("Alice",)], "posts": [(1, "alice"), (2, "Alice")]},
    )

    (problem,) = migrate(path, pg_url, dry_run=True, on_orphan=policy).problems
    with pytest.raises(OrphanRows, match=r"id 1.*spelled otherwise"):
        migrate(path, pg_url, on_orphan=policy)

    assert "1 row (id 1)" in problem.message
    assert [] == pg("SELECT * FROM posts")


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        ("F47AC10B-58CC-4372-A567-0E02B2C3D479", True),
        ("f47ac10b58cc4372a5670e02b2c3d479", True),
        ("f47ac10b58cc4372a5670e02b2c3d47", False),
        ("mine", False),
    ],
)
def test_a_reference_to_a_key_that_the_target_has_as_uuid(lite, pg_url, pg, value, is_kept):
    """
    The created column is a uuid too, if all its values are; else the key is listed.
    """
    pg("CREATE TABLE p (id uuid PRIMARY KEY)")
    key = "F47AC10B-58CC-4372-A567-0E02B2C3D479"
    path = lite(
        "CREATE TABLE p (id TEXT PRIMARY KEY); CREATE TABLE c (p char(36) REFERENCES p (id));",
        {"p": [(key,)], "c": [(value,), (None,)]},
    )

    report = migrate(path, pg_url)

    assert ["foreign key"] * (not is_kept) == [one.kind for one in report.skipped]
    assert [("uuid" if is_kept else "character varying",)] == pg(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = 'c'::regclass AND attname = 'p'"
    )
