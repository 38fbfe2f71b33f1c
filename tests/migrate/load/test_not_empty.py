"""Targets that have rows already, and roles that do not own everything."""

from __future__ import annotations

import uuid

import pytest

from oxy_pg.errors import (
    TargetNotEmpty,
)

SEED = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'lite'), (2, 'lite')"
)


def test_a_seeded_target_is_refused(move, pg):
    """
    Field note 3: rows that are there already are never mixed with ours unasked.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY, v text)")
    pg("INSERT INTO t VALUES (9, 'seed')")
    with pytest.raises(TargetNotEmpty, match=r"t: 1 row"):
        move(SEED)
    assert [(9, "seed")] == pg("SELECT * FROM t")


@pytest.mark.parametrize(("choice", "kept"), [("append", [1, 2, 9]), ("truncate", [1, 2])])
def test_a_seeded_target_is_added_to_or_emptied_when_asked(move, pg, choice, kept):
    """
    Field note 3: append and truncate do what they say, verified.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY, v text)")
    pg("INSERT INTO t VALUES (9, 'seed')")
    move(SEED, if_not_empty=choice)
    assert kept == [row[0] for row in pg("SELECT id FROM t ORDER BY id")]


EXISTING = """
CREATE TABLE parent (id uuid CONSTRAINT "odd name" PRIMARY KEY, code text);
CREATE UNIQUE INDEX parent_code ON parent (lower(code)) WHERE code IS NOT NULL;
CREATE TABLE child (id serial PRIMARY KEY, p uuid NOT NULL,
  CONSTRAINT "fk-parent" FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE DEFERRABLE);
CREATE INDEX child_p ON child USING btree (p DESC NULLS LAST) INCLUDE (id);
COMMENT ON CONSTRAINT "fk-parent" ON child IS 'it''s kept';
COMMENT ON INDEX child_p IS 'this too';
ALTER TABLE parent REPLICA IDENTITY USING INDEX "odd name";
ALTER TABLE child CLUSTER ON child_p;
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fired'; END $$;
CREATE TRIGGER t1 BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION no();
ALTER TABLE child ENABLE ALWAYS TRIGGER t1;
"""


DEFINITIONS = """
SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid),
  concat(obj_description(indexrelid, 'pg_class'), indisreplident, indisclustered, indisunique)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
WHERE NOT tgisinternal
ORDER BY 1, 2
"""


def test_an_ordinary_role_fills_an_existing_schema(move, pg):
    """
    Field note 18: constraints, indexes and triggers come back exactly, without superuser rights.
    """
    pg(EXISTING)
    before = pg(DEFINITIONS)
    key = uuid.uuid4()
    move(
        "CREATE TABLE parent (code text, id uuid_text PRIMARY KEY);"
        "CREATE TABLE child (id INTEGER PRIMARY KEY, p uuid_text REFERENCES parent (id));",
        {"parent": [("x", key.bytes)], "child": [(5, key.bytes)]},
    )
    assert before == pg(DEFINITIONS)
    assert [(5, key)] == pg("SELECT id, p FROM child")
