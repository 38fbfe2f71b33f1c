"""What bit the users of other migration tools: each note, by its number."""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from oxy_pg.errors import (
    BadValues,
    OrphanRows,
    SchemaMismatch,
    TargetNotEmpty,
)
from oxy_pg.migrate.convert.types import parse_type
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.migration import migrate


def test_sequences_go_on_where_the_keys_ended(move, pg):
    """
    Field note 1: the next key is above max(id) and above what sqlite_sequence remembers.
    """
    move(
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);"
        "INSERT INTO a VALUES (50, 'gone'); DELETE FROM a; INSERT INTO a VALUES (7, 'x');"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO b VALUES (9, 'y')"
    )
    assert [(51,)] == pg("INSERT INTO a (v) VALUES ('new') RETURNING id")
    assert [(10,)] == pg("INSERT INTO b (v) VALUES ('new') RETURNING id")


def test_serial_of_an_existing_table_is_advanced(move, pg):
    """
    Field note 1: serial columns of an existing schema too.
    """
    pg("CREATE TABLE s (id serial PRIMARY KEY, v text)")
    move("CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT, v text)", {"s": [(41, "a")]})
    assert [(42,)] == pg("INSERT INTO s (v) VALUES ('b') RETURNING id")


def test_mixed_case_names_keep_their_sequences(move, pg):
    """
    Field note 2: quoted names, mixed case and reserved words all the way.
    """
    move(
        'CREATE TABLE "Order Items" '
        '("Id" INTEGER PRIMARY KEY, "references" TEXT, "it\'s ""odd""" INT)',
        {"Order Items": [(3, "r", 1)]},
    )
    assert [(4,)] == pg('INSERT INTO "Order Items" ("references") VALUES (\'x\') RETURNING "Id"')
    assert [(3, "r", 1)] == pg('SELECT * FROM "Order Items" WHERE "Id" = 3')


SEED = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'lite'), (2, 'lite')"
)


def test_a_seeded_target_is_refused(move, pg):
    """
    Field note 3: rows that are there already are never mixed with ours unasked.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY, v text)")
    pg("INSERT INTO t VALUES (9, 'seed')")
    with pytest.raises(TargetNotEmpty, match=r"t: 1 rows"):
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


def test_booleans_of_every_spelling(move, pg):
    """
    Field note 4: 0/1, t/f, true/false are read.
    """
    values = [0, 1, "t", "f", "true", "FALSE", None]
    move("CREATE TABLE t (b boolean)", {"t": [(v,) for v in values]})
    assert [(v,) for v in (False, True, True, False, True, False, None)] == pg("SELECT b FROM t")


def test_two_is_no_boolean(move):
    """
    Field note 4: 2 is an error that names the row.
    """
    with pytest.raises(BadValues, match=r"t\.b, rowid 2: 2: not a boolean"):
        move("CREATE TABLE t (b boolean)", {"t": [(1,), (2,)]})


def test_existing_integers_are_range_checked(move, pg):
    """
    Field note 5: a sized integer stays as it is; what does not fit is named.
    """
    pg("CREATE TABLE t (n integer)")
    with pytest.raises(BadValues, match=r"t\.n, rowid 2: 2147483648: out of the range of integer"):
        move("CREATE TABLE t (n bigint)", {"t": [(5,), (2**31,)]})


EPOCHS = [
    ("seconds", 1_700_000_000),
    ("milliseconds", 1_700_000_000_000),
    ("microseconds", 1_700_000_000_000_000),
    ("Julian day numbers", 2_460_263.425925926),
]


@pytest.mark.parametrize(("unit", "value"), EPOCHS)
def test_numbers_in_time_columns(move, pg, unit, value):
    """
    Field note 6: the unit is detected for the column and shown.
    """
    report = move("CREATE TABLE t (at datetime)", {"t": [(value,)]})
    assert [(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),)] == pg("SELECT at FROM t")
    assert any(unit in warning for warning in report.warnings)


def test_the_unit_can_be_overridden(move, pg):
    """
    Field note 6: a cast decides.
    """
    move("CREATE TABLE t (at datetime)", {"t": [(86_400_000,)]}, casts={"t.at": "timestamptz:ms"})
    assert [(datetime(1970, 1, 2, tzinfo=UTC),)] == pg("SELECT at FROM t")


@pytest.mark.parametrize("declared", ["datetime", "timestamptz", "numeric", "date", "integer"])
def test_empty_text_is_reported(move, pg, declared):
    """
    Field note 7: '' in a time or number is an error, and NULL only when asked.
    """
    good = "5" if declared in {"numeric", "integer"} else "2024-05-01"
    rows = {"t": [(1, good), (2, "")]}
    with pytest.raises(BadValues, match=r"id 2: ''"):
        move(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", rows)
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


def test_bad_values_are_emptied_when_asked(move, pg):
    """
    Field note 7: NULL when asked, and counted.
    """
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, v datetime)"
    rows = {"t": [(1, "2024-05-01 10:00:00"), (2, ""), (3, 0)]}
    report = move(script, rows, on_bad_value="null")
    assert [(1, datetime(2024, 5, 1, 10, tzinfo=UTC)), (2, None), (3, None)] == pg(
        "SELECT * FROM t"
    )
    assert 2 == sum(change.count for change in report.changes)


def test_bad_rows_are_skipped_when_asked(move, pg):
    """
    Field note 7: skip leaves out the row, and counts it.
    """
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, v integer)"
    report = move(script, {"t": [(1, 5), (2, "x"), (3, 6)]}, on_bad_value="skip")
    assert [(1, 5), (3, 6)] == pg("SELECT * FROM t")
    assert (3, 2, 1) == (
        report.tables[0].rows_read,
        report.tables[0].rows_written,
        report.tables[0].rows_skipped,
    )


def test_current_timestamp_is_utc(move, pg):
    """
    Field note 8: text without an offset is UTC, also where the server lives elsewhere.
    """
    pg("CREATE TABLE t (at timestamptz)")
    ((database,),) = pg("SELECT current_database()")
    pg(f"ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'")
    move("CREATE TABLE t (at timestamp_with_timezone_text)", {"t": [("2024-05-01 10:00:00",)]})
    assert [(datetime(2024, 5, 1, 10, tzinfo=UTC),)] == pg("SELECT at FROM t")


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2024-05-01T10:00:00.123456789+00:00", 123457),
        ("2024-05-01T10:00:00.1234565+00:00", 123456),
        ("2024-05-01T10:00:00.000000499Z", 0),
        ("2024-05-01T12:00:00.5+02:00", 500000),
    ],
)
def test_nine_fraction_digits_are_rounded_to_six(move, pg, text, microsecond):
    """
    Field note 8: one rule, half to even, for the load and for the verification.
    """
    move("CREATE TABLE t (at timestamp_with_timezone_text)", {"t": [(text,)]})
    assert [(datetime(2024, 5, 1, 10, 0, 0, microsecond, tzinfo=UTC),)] == pg("SELECT at FROM t")


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
    assert [("default", "t.v")] == [(s.what, s.name) for s in report.skipped]


def test_every_bad_value_is_named(move):
    """
    Field note 10: text in an integer column, all of it.
    """
    with pytest.raises(BadValues) as caught:
        move("CREATE TABLE t (n integer)", {"t": [(f"x{i}",) for i in range(50)]})
    assert 50 == caught.value.total == len(caught.value.values)
    assert "'x49'" in str(caught.value.values[49])
    assert "Failed to insert t into PostgreSQL" in str(caught.value)


def test_overlong_text_is_named_not_cut(move, pg):
    """
    Field note 10: text longer than an existing varchar(n), blanks at its end included.
    """
    pg("CREATE TABLE t (v varchar(5))")
    with pytest.raises(BadValues, match=r"rowid 2: 'hello ': 6 characters"):
        move("CREATE TABLE t (v varchar(5))", {"t": [("hello",), ("hello ",)]})


def test_overlong_text_widens_a_new_column(move, pg):
    """
    Field note 10: a table that is created gets a type that holds everything.
    """
    report = move("CREATE TABLE t (v varchar(5), w varchar(5))", {"t": [("hello world", "hello")]})
    assert ["text", "varchar(5)"] == [c.type for c in report.tables[0].columns]


def test_nul_in_text_is_an_error(move):
    """
    Field note 11: NUL bytes are named.
    """
    with pytest.raises(BadValues, match=r"t\.v, rowid 1.*NUL"):
        move("CREATE TABLE t (v text)", {"t": [("a\0b",)]})


@pytest.mark.parametrize(("option", "kept"), [("strip_nul", "ab"), ("replace_nul", "a\ufffdb")])
def test_nul_in_text_goes_when_asked(move, pg, option, kept):
    """
    Field note 11: stripped or replaced when asked, and counted.
    """
    rows = {"t": [("a\0b",), ("plain",)]}
    report = move("CREATE TABLE t (v text)", rows, casts={"t.v": f"text:{option}"})
    assert [(kept,), ("plain",)] == pg("SELECT v FROM t")
    assert [1] == [change.count for change in report.changes]


def test_escaped_nul_is_fine_in_json_only(move, pg):
    r"""
    Field note 11: \u0000 stays in json, and jsonb names it.
    """
    rows = {"t": [(r'{"a": "\u0000"}',)]}
    move("CREATE TABLE t (v json_text)", rows)
    assert [(r'{"a": "\u0000"}',)] == pg("SELECT v::text FROM t")


def test_escaped_nul_is_refused_by_jsonb(move):
    r"""
    Field note 11: \u0000 in jsonb.
    """
    with pytest.raises(BadValues, match=r"u0000"):
        move("CREATE TABLE t (v jsonb_text)", {"t": [(r'{"a": "\u0000"}',)]})


@pytest.mark.parametrize("text", ["{", "", "{'a': 1}", "NaN", '{"a": 1,}', "[1] x"])
def test_malformed_json_is_a_bad_value(move, text):
    """
    Field note 12: malformed JSON is never replaced.
    """
    with pytest.raises(BadValues, match=r"not valid JSON|invalid input syntax"):
        move("CREATE TABLE t (v json_text)", {"t": [("{}",), (text,)]})


def test_invalid_utf8_is_named(lite, pg_url):
    """
    Field note 13: bytes are read, and the row is named.
    """
    path = lite("CREATE TABLE t (v text); INSERT INTO t VALUES ('ok'), (CAST(x'61ff62' AS TEXT))")
    with pytest.raises(BadValues, match=r"t\.v, rowid 2: x'61ff62': not valid UTF-8 at byte 1"):
        migrate(path, pg_url)


def test_uuids_of_every_spelling(move, pg):
    """
    Field note 14: blobs, 32 digits, braces, upper case.
    """
    one = uuid.UUID("0123e567-e89b-12d3-a456-42661417400f")
    spelled = [one.bytes, str(one), one.hex, "{" + str(one).upper() + "}", one.hex.upper()]
    move("CREATE TABLE t (v uuid_text)", {"t": [(s,) for s in spelled]})
    assert [(one,)] * 5 == pg("SELECT v FROM t")


def test_a_uuid_that_became_a_number_is_an_error(move):
    """
    Field note 14: NUMERIC affinity destroyed it, and nobody can know what it was.
    """
    with pytest.raises(BadValues, match="NUMERIC affinity"):
        move("CREATE TABLE t (v uuid)", {"t": [("12345678901234567890123456789e12",)]})


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


def test_a_foreign_key_to_nowhere_is_left_out(move, pg):
    """
    Field note 16: a foreign key to a table that has gone.
    """
    report = move(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, r REFERENCES _runs_old (id))", {"t": [(1, 5)]}
    )
    assert any("_runs_old" in warning for warning in report.warnings)
    assert [(1, 5)] == pg("SELECT * FROM t")


def test_cycles_and_self_references(move, pg):
    """
    Field note 17: constraints come after the data.
    """
    move(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b (id));"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id), s REFERENCES b (id));"
        "INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (2, 1, 3), (3, 1, 2);"
    )
    assert [(3,)] == pg("SELECT count(*) FROM pg_constraint WHERE contype = 'f'")


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


def test_rows_of_the_wal_file_come_along(lite, pg_url, pg):
    """
    Field note 19: the source is opened in place, with its -wal.
    """
    path = lite("CREATE TABLE t (v text)")
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("INSERT INTO t VALUES ('only in the wal')")
    writer.commit()
    before = hashlib.sha256(Path(path).read_bytes()).digest()
    migrate(path, pg_url)
    assert [("only in the wal",)] == pg("SELECT v FROM t")
    assert before == hashlib.sha256(Path(path).read_bytes()).digest()
    writer.close()


def test_virtual_tables_and_their_shadows_are_reported(move):
    """
    Field note 20: FTS and R-tree tables stay behind, by name.
    """
    report = move(
        "CREATE VIRTUAL TABLE docs USING fts5(body);"
        "CREATE VIRTUAL TABLE geo USING rtree(id, a, b); CREATE TABLE t (v)"
    )
    kinds = {s.name: s.what for s in report.skipped}
    assert "virtual" == kinds["docs"] == kinds["geo"]
    assert "shadow" == kinds["docs_data"] == kinds["geo_node"]
    assert ["t"] == [t.name for t in report.tables]


def test_long_names_are_shortened_in_the_plan(move, pg):
    """
    Field note 21: names beyond 63 bytes that collide when cut.
    """
    long = "ä" * 40
    report = move(
        f'CREATE TABLE "{long}1" ("{long}a" text, "{long}b" text); CREATE TABLE "{long}2" (v)',
        {f"{long}1": [("1", "2")]},
    )
    names = {t.target for t in report.tables}
    assert 2 == len(names)
    assert all(len(name.encode()) <= 63 for name in names)
    assert any("is called" in warning for warning in report.warnings)


def test_duplicates_for_a_unique_index_of_the_target_are_listed(move, pg):
    """
    Field note 22: a partial unique index that SQLite lacks is checked before the write.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY, k text, n int)")
    pg("CREATE UNIQUE INDEX u ON t (k, n) WHERE n IS NOT NULL")
    rows = {"t": [(1, "a", 1), (2, "a", 1), (3, "a", None), (4, "a", None)]}
    with pytest.raises(BadValues, match=r"id 2: 'a', 1: the unique index u has this key already"):
        move("CREATE TABLE t (id INTEGER PRIMARY KEY, k text, n integer)", rows)


def test_nocase_uniqueness_is_kept(move, pg):
    """
    Field note 22: UNIQUE COLLATE NOCASE still refuses what differs in case alone.
    """
    move("CREATE TABLE t (email TEXT UNIQUE COLLATE NOCASE)", {"t": [("a@x.org",)]})
    with pytest.raises(psycopg.errors.UniqueViolation):
        pg("INSERT INTO t VALUES ('A@X.org')")


def test_null_in_a_primary_key_is_named(move, pg):
    """
    Field note 22: SQLite lets NULL into a TEXT PRIMARY KEY; an existing one in PostgreSQL does not.
    """
    pg("CREATE TABLE t (id text PRIMARY KEY, v int)")
    with pytest.raises(BadValues, match=r"t\.id, rowid 1: NULL: the column is NOT NULL"):
        move("CREATE TABLE t (id TEXT PRIMARY KEY, v INT)", {"t": [(None, 1)]})


def test_a_primary_key_with_nulls_becomes_unique(move, pg):
    """
    Field note 22: in a new table the key keeps its meaning as a UNIQUE constraint.
    """
    report = move("CREATE TABLE t (id TEXT PRIMARY KEY)", {"t": [(None,), (None,), ("a",)]})
    assert [("primary key", "t")] == [(s.what, s.name) for s in report.skipped]
    assert [("UNIQUE (id)",)] == pg(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass"
    )


def test_a_column_without_a_place_is_an_error(move, pg):
    """
    Field note 23: a source column with data and no column in the target.
    """
    pg("CREATE TABLE t (id int)")
    with pytest.raises(SchemaMismatch, match=r"t\.sandbox_info has 1 values and no column"):
        move("CREATE TABLE t (id int, sandbox_info text)", {"t": [(1, "{}"), (2, None)]})


def test_a_table_without_a_place_is_an_error(move):
    """
    Field note 23: a table without a place, where the schema must exist.
    """
    with pytest.raises(SchemaMismatch, match=r"table t does not exist in the target"):
        move("CREATE TABLE t (id int)", schema="existing")


def test_a_dry_run_writes_nothing(move, pg, tmp_path):
    """
    Field note 25: a dry run names every problem and changes nothing.
    """
    report = move(
        FAMILY + "CREATE TABLE bad (n integer); INSERT INTO bad VALUES ('x')", dry_run=True
    )
    assert {"bad value", "orphans"} == {problem.kind for problem in report.problems}
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    assert ["app.db"] == os.listdir(tmp_path)


def test_generated_columns_checks_views_and_triggers(move, pg):
    """
    Field note 26: carried over where certain, else listed.
    """
    report = move(
        "CREATE TABLE t (a INTEGER CHECK (a > 0), b INTEGER, "
        "c INTEGER GENERATED ALWAYS AS (a + b) STORED, d TEXT AS (upper(e)), e TEXT, "
        "CONSTRAINT named CHECK (b IN (1, 2, 3)), CHECK (e LIKE 'x%'));"
        "INSERT INTO t (a, b, e) VALUES (1, 2, 'xyz');"
        "CREATE VIEW v AS SELECT 1; CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;"
        "CREATE INDEX p ON t (a) WHERE b IS NOT NULL AND a > 0; CREATE INDEX x ON t (lower(e));"
        "CREATE INDEX y ON t (e || 'x')"
    )
    assert [(1, 2, 3, "XYZ", "xyz")] == pg("SELECT * FROM t")
    assert {"view", "trigger", "check", "generated column", "index"} == {
        s.what for s in report.skipped
    }
    indexes = {
        row[0]
        for row in pg(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass"
        )
    }
    assert {"p", "x"} == indexes
    with pytest.raises(psycopg.errors.CheckViolation):
        pg("INSERT INTO t (a, b) VALUES (0, 1)")
    with pytest.raises(psycopg.errors.CheckViolation, match="named"):
        pg("INSERT INTO t (a, b) VALUES (1, 9)")


def test_doubles_are_exact(move, pg):
    """
    Field note 27: every double comes back, infinities too.
    """
    values = [
        0.1,
        1e300,
        5e-324,
        -2.5,
        math.pi,
        1 / 3,
        math.inf,
        -math.inf,
        1e22,
        123456789.123456789,
    ]
    move("CREATE TABLE t (v real, n numeric)", {"t": [(v, v) for v in values]})
    assert values == [row[0] for row in pg("SELECT v FROM t")]
    assert values == [float(row[0]) for row in pg("SELECT n FROM t")]


def test_utf16_databases(move, pg):
    """
    Field note 28: UTF-16 databases.
    """
    move(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (v text, n real)",
        {"t": [("šž日本😀\t\n\\", 1.5)]},
    )
    assert [("šž日本😀\t\n\\", 1.5)] == pg("SELECT * FROM t")


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


def test_too_many_columns_are_refused(move):
    """
    Field note 28: SQLite takes 2,000 columns, PostgreSQL 1,600.
    """
    columns = ", ".join(f"c{i}" for i in range(1700))
    with pytest.raises(SchemaMismatch, match="1,700 columns"):
        move(f"CREATE TABLE t ({columns})")


def test_as_many_columns_as_postgres_takes(move, pg):
    """
    Field note 28: a table of 1,600 columns moves.
    """
    columns = ", ".join(f"c{i} int" for i in range(1600))
    report = move(f"CREATE TABLE t ({columns}); INSERT INTO t (c0, c1599) VALUES (1, 2)")
    assert 1 == report.rows
    assert [(1, 2)] == pg("SELECT c0, c1599 FROM t")


@pytest.mark.parametrize(("value", "kind"), [("x" * 2000, "text"), (b"x" * 600, "bytea")])
def test_a_value_beyond_the_limit_is_named(monkeypatch, value, kind):
    """
    Field note 29: what PostgreSQL cannot hold is found before the write (with a lower limit here).
    """
    monkeypatch.setattr("oxy_pg.migrate.convert.values.LARGEST", 1000)
    with pytest.raises(Unfit, match="limit of 1 GB"):
        to_text(value, parse_type(kind))


def test_dates_times_and_decimals(move, pg):
    """
    The remaining types keep their values.
    """
    move(
        "CREATE TABLE t (d date, c time, n decimal(10, 2), m decimal(4, 1))",
        {"t": [("2024-02-29", "23:59:59.5", 12.25, 99.125)]},
    )
    assert [
        (date(2024, 2, 29), time(23, 59, 59, 500000), Decimal("12.25"), Decimal("99.125"))
    ] == pg("SELECT * FROM t")
