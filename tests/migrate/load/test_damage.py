"""
What was damaged on its way is found before the commit, and nothing stays in the target.

An event trigger of the superuser's does the damage: inside the migration's
own transaction, after the rows have arrived and before they are compared.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from oxy_pg.errors import VerificationFailed

SCRIPT = """
CREATE TABLE t (
  id INTEGER, note TEXT, more TEXT, ratio REAL, price NUMERIC, at DATETIME, data BLOB, doc JSONB
);
CREATE TABLE z (id INTEGER PRIMARY KEY);
INSERT INTO z VALUES (7);
"""
ROWS = [
    (n, f"note {n}", f"more {n}", n - 3, -n, f"2024-01-0{n} 00:00:00", bytes([n]), f'{{"n": {n}}}')
    for n in range(1, 6)
]
# The same tables, as an application's own migrations make them.
EXISTING = """
CREATE TABLE t (
  id bigint, note text, more text, ratio double precision, price numeric, at timestamp,
  data bytea, doc jsonb
);
CREATE TABLE z (id bigint PRIMARY KEY);
"""
# Once, as soon as the rows are there: when the key of z is made.
TRIGGER = """
CREATE FUNCTION damage() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF to_regclass('t') IS NOT NULL AND current_setting('test.damaged', true) IS NULL THEN
    IF EXISTS (SELECT FROM t WHERE id = 2) THEN
      PERFORM set_config('test.damaged', 'yes', true);
      EXECUTE {};
    END IF;
  END IF;
END $$;
CREATE EVENT TRIGGER damage ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
  EXECUTE FUNCTION damage();
"""
LOST = "DELETE FROM t WHERE id = 2"
DOUBLED = "INSERT INTO t SELECT * FROM t WHERE id = 3"
DAMAGE = {
    "text changed": "UPDATE t SET note = 'note 22' WHERE id = 2",
    "blank added": "UPDATE t SET note = note || ' ' WHERE id = 2",
    "emptied": "UPDATE t SET note = '' WHERE id = 2",
    "gone": "UPDATE t SET note = NULL WHERE id = 2",
    "number changed": "UPDATE t SET id = 22 WHERE id = 2",
    "double one bit off": "UPDATE t SET ratio = 1.0000000000000002 WHERE id = 4",
    "sign lost": "UPDATE t SET ratio = '-0' WHERE id = 3",
    # hash(-1) == hash(-2) in Python.
    "double minus one": "UPDATE t SET ratio = -2 WHERE ratio = -1",
    "decimal minus one": "UPDATE t SET price = -2 WHERE price = -1",
    "a microsecond": "UPDATE t SET at = at + interval '1 microsecond' WHERE id = 2",
    "a byte": "UPDATE t SET data = '\\x03' WHERE id = 2",
    "inside a document": "UPDATE t SET doc = '{\"n\": 22}' WHERE id = 2",
    "row lost": LOST,
    "row doubled": DOUBLED,
    "one lost and one doubled": f"WITH x AS ({LOST}) {DOUBLED}",
    "swapped between rows": (
        "UPDATE t SET note = (SELECT o.note FROM t o WHERE o.id = 5 - t.id) WHERE id IN (2, 3)"
    ),
    "swapped between columns": "UPDATE t SET note = more, more = note WHERE id = 2",
}


@pytest.fixture
def damaged(server_url, pg_url):
    """Let a statement run in the middle of the next migration."""
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]

    def install(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(sql.SQL(TRIGGER).format(sql.Literal(statement)))

    return install


WAYS = ("create", "fill", "append")


def prepared(pg, way) -> dict[str, str]:
    """The target as this way needs it; return the options."""
    if way == "create":
        return {}
    pg(EXISTING)
    if way == "fill":
        return {}
    pg("INSERT INTO t SELECT 100, 'kept', '', 0.5, 1.50, now(), '\\x', '{\"a\": 1e2, \"B\": []}'")
    return {"if_not_empty": "append"}


def content(pg) -> list[tuple[object, ...]]:
    """Every relation, and every row of ``t`` where there is one."""
    found: list[tuple[object, ...]] = pg(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    return found + (pg("SELECT t::text FROM t ORDER BY 1") if ("t",) in found else [])


@pytest.mark.parametrize("way", WAYS)
def test_undamaged_rows_pass(move, pg, damaged, way):
    """
    The trigger alone, which runs in each of these tests, is not what is found.
    """
    options = prepared(pg, way)
    damaged("SELECT 1")

    report = move(SCRIPT, {"t": ROWS}, **options)

    assert 5 + 1 == report.verification.rows
    assert [("yes",)] == pg("SELECT 'yes' WHERE EXISTS (SELECT FROM t WHERE id = 2)")


@pytest.mark.parametrize(
    ("way", "damage"),
    [
        # Compared row by row, and where there were rows before by the sum of their digests.
        *((way, damage) for way in ("create", "append") for damage in DAMAGE),
        *(("fill", damage) for damage in ("text changed", "row lost", "swapped between rows")),
    ],
)
def test_damage_is_found(move, pg, damaged, way, damage):
    """
    A value changed, a row lost or doubled, values swapped: the migration is rolled back.
    """
    options = prepared(pg, way)
    before = content(pg)
    damaged(DAMAGE[damage])

    with pytest.raises(VerificationFailed, match=r"\bt\b"):
        move(SCRIPT, {"t": ROWS}, **options)

    assert before == content(pg)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("damage", ["row lost", "row doubled"])
def test_counts_find_what_changes_the_number(move, pg, damaged, way, damage):
    """
    The verification that is always made sees that a row is missing, or one too many.
    """
    options = prepared(pg, way)
    damaged(DAMAGE[damage])

    with pytest.raises(VerificationFailed, match=r"[56] rows expected"):
        move(SCRIPT, {"t": ROWS}, verify="counts", **options)


def test_one_damaged_value_is_named(move, damaged):
    """
    The message says which table, column and row, and what became of the value.
    """
    # In place: an UPDATE would move the row to the end.
    damaged("UPDATE t SET note = 'note 22' WHERE id = 5")

    with pytest.raises(VerificationFailed) as caught:
        move(SCRIPT, {"t": ROWS})

    assert ("t.note, rowid 5: 'note 5' became 'note 22'",) == caught.value.differences


def test_damage_that_a_trigger_of_the_target_does_is_found(move, pg, server_url, pg_url):
    """
    A table of somebody else's, with a trigger that the role may not put aside.
    """
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(EXISTING)
        admin.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO oxy")
        admin.execute(
            """
            CREATE FUNCTION upper_case() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN NEW.note = upper(NEW.note); RETURN NEW; END $$;
            CREATE TRIGGER upper_case BEFORE INSERT ON t
              FOR EACH ROW EXECUTE FUNCTION upper_case();
            """
        )

    with pytest.raises(VerificationFailed, match=r"\bt\b"):
        move(SCRIPT, {"t": ROWS})

    assert [] == pg("SELECT * FROM t")
