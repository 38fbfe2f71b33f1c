"""With ``like``, the new file has the schema and the forms of values of the old one."""

from __future__ import annotations

import contextlib
import sqlite3

import psycopg
import pytest

from oxy_pg.errors import BadExportValues, ExportDiffers
from oxy_pg.export.export import Order, export
from oxy_pg.migrate.migration import migrate

# What is declared, two values of SQLite, a new one in PostgreSQL, and what that becomes.
FORMS = [
    ("uuid_blob", (b"\x01" * 16, b"\x02" * 16), "'0303…'", b"\x03" * 16),
    ("uuid_text", ("01" * 16, "02" * 16), "'0303…'", "03" * 16),
    ("uuid_text", ("0A" * 16, "0B" * 16), "'0303…'", "03" * 16),
    ("uuid", ("{0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a}",) * 2, "'0303…'",
     "{03030303-0303-0303-0303-030303030303}"),
    ("boolean", (0, 1), "true", 1),
    ("boolean_text", ("True", "False"), "'True'", "True"),
    ("timestamptz", ("2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z"), "'2024-02-01 12:00+02'",
     "2024-02-01T10:00:00Z"),
    ("timestamptz", ("2024-01-01 00:00:00.123000+00:00",) * 2, "'2024-02-01 12:00+02'",
     "2024-02-01 10:00:00.000000+00:00"),
    ("datetime", ("2024-01-01 00:00:00", "2024-01-01 00:00:00.500000"), "'2024-02-01 12:00:00.25'",
     "2024-02-01 12:00:00.250000"),
    ("datetime", ("2024-01-01 00:00:00", "2024-01-01 00:00:01"), "'2024-02-01 12:00:00.25'",
     "2024-02-01 12:00:00.25"),
    ("timestamptz_text", ("2024-01-01T00:00:00.250+00:00", "2024-01-01T00:00:00.000250+00:00"),
     "'2024-02-01 12:00:00.5Z'", "2024-02-01T12:00:00.500+00:00"),
    ("datetime", (1_700_000_000, 1_700_000_001), "'2024-01-01 00:00Z'", 1_704_067_200),
    ("datetime", (1_700_000_000_123, 1_700_000_001_000), "'2024-01-01 00:00:00.5Z'",
     1_704_067_200_500),
    ("datetime", (1_700_000_000.25, 1_700_000_001.5), "'2024-01-01 00:00:00.5Z'",
     1_704_067_200.5),
    ("decimal(10,2)", (1, 2.5), "3.25", 3.25),
    ("decimal(10,2)", (1, 2.5), "4", 4),
    ("decimal_text(10,2)", ("1.00", "2.50"), "3.25", "3.25"),
    ("json", ('{"b": 1,  "a": 2}', "5"), "'6'", 6),
    ("text", ("007", "1e5"), "'08'", "08"),
    ("string", ("abc", "def"), "'ghi'", "ghi"),
    ("integer", (1, 2), "3", 3),
    ("real", (1.0, 2.5), "3", 3.0),
    ("blob", (b"\x00", b"\xff"), r"'\x01'", b"\x01"),
    ("date", ("2024-01-01", "2024-01-02"), "'2024-02-29'", "2024-02-29"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "values", "written", "becomes"), FORMS)
def test_values_come_back_in_their_form(lite, pg_url, tmp_path, declared, values, written, becomes):
    """
    The old ones as they were, and one that was written in PostgreSQL in the same form.
    """
    script = f"CREATE TABLE t (id INTEGER PRIMARY KEY, x {declared})"
    source = lite(script, {"t": list(enumerate(values, 1))})
    migrate(source, pg_url, verify="full")
    with psycopg.connect(pg_url) as connection:
        new = written.replace("0303…", "03" * 16)
        connection.execute(f"INSERT INTO t (x) VALUES ({new})")

    report = export(Order(str(tmp_path / "out.db"), pg_url, like=source))

    with contextlib.closing(sqlite3.connect(source)) as old:
        before = old.execute("SELECT id, typeof(x), x FROM t").fetchall()
        kind = old.execute("SELECT typeof(?)", [becomes]).fetchone()[0]
    with contextlib.closing(sqlite3.connect(report.path)) as lite_out:
        found = lite_out.execute("SELECT id, typeof(x), x FROM t ORDER BY id").fetchall()
        (definition,) = lite_out.execute("SELECT sql FROM sqlite_master").fetchone()
    assert [*before, (3, kind, becomes)] == found
    assert script == definition
    assert () == report.skipped


def test_times_that_are_numbers_and_texts_alike_come_back_as_texts(lite, pg_url, tmp_path):
    """
    Only the texts have moved; as a number, the year 1 would be read back in another unit.
    """
    rows = [(1, 1_000_000_000), (2, "0001-01-01 00:00:00")]
    source = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, x datetime)", {"t": rows})
    migrate(source, pg_url, on_bad_value="skip")

    report = export(Order(str(tmp_path / "out.db"), pg_url, like=source))

    with contextlib.closing(sqlite3.connect(report.path)) as lite_out:
        assert rows[1:] == lite_out.execute("SELECT * FROM t").fetchall()


SCRIPT = """
    PRAGMA user_version = 7;
    CREATE TABLE "Item" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE UNIQUE,
        twice INT GENERATED ALWAYS AS (id * 2) VIRTUAL, at TEXT DEFAULT (datetime('now')));
    CREATE TABLE pair (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TABLE log (rowid TEXT, what TEXT);
    CREATE INDEX by_name ON "Item" (name COLLATE NOCASE) WHERE name IS NOT NULL;
    CREATE VIEW names AS SELECT name FROM "Item";
    CREATE TRIGGER logged AFTER INSERT ON "Item" BEGIN
        INSERT INTO log VALUES (new.id, new.name);
    END;
    CREATE VIRTUAL TABLE words USING fts5(word);
    INSERT INTO "Item" (name) VALUES ('b'), ('a');
    DELETE FROM "Item" WHERE name = 'a';
    INSERT INTO pair VALUES ('z', 1), ('a', 2), ('a', 1);
"""


def test_schema_is_the_old_files(lite, pg_url, tmp_path):
    """
    Definitions, triggers that have not run, the next key, and what PostgreSQL has more or less.
    """
    source = lite(SCRIPT)
    migrate(source, pg_url, exclude=["words*"], verify="full")
    with psycopg.connect(pg_url) as connection:
        connection.execute('ALTER TABLE "Item" ADD COLUMN "new one" int')
        connection.execute("ALTER TABLE pair DROP COLUMN IF EXISTS nothing")
        connection.execute('INSERT INTO "Item" (name, "new one") VALUES (\'c\', 5)')
        connection.execute("CREATE TABLE fresh (x int)")
        connection.execute("INSERT INTO pair VALUES ('m', 3)")

    report = export(Order(str(tmp_path / "out.db"), pg_url, like=source))

    query = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'words%' ORDER BY 1, 2"
    with contextlib.closing(sqlite3.connect(source)) as one:
        old = one.execute(query).fetchall()
    with contextlib.closing(sqlite3.connect(report.path)) as one:
        new = one.execute(query).fetchall()
        items = one.execute('SELECT id, name, twice, "new one" FROM "Item" ORDER BY id').fetchall()
        pairs = one.execute("SELECT * FROM pair").fetchall()
        logged = one.execute("SELECT what FROM log").fetchall()
        one.execute("INSERT INTO \"Item\" (name) VALUES ('d')")
        (last,) = one.execute('SELECT max(id) FROM "Item"').fetchone()
        (version,) = one.execute("PRAGMA user_version").fetchone()
    assert [row for row in old if row[1] != "Item"] == [row for row in new if row[1] != "Item"]
    assert [(1, "b", 2, None), (3, "c", 6, 5)] == items
    assert [("a", 1), ("a", 2), ("m", 3), ("z", 1)] == pairs
    assert [("b",), ("a",)] == logged
    assert (4, 7) == (last, version)
    left = {(one.kind, one.name) for one in report.skipped}
    assert {("table", "public.fresh"), ("virtual table", "words")} <= left
    assert ("view", "names") not in left


@pytest.mark.parametrize(
    ("declared", "values", "written", "error"),
    [
        # A column of NUMERIC affinity makes 7 of '007'.
        ("string", ("abc", "def"), "'007'", ExportDiffers),
        ("decimal", (1, 2.5), "12345678901234567.89", BadExportValues),
        ("datetime", (1_700_000_000, 1_700_000_001), "'2024-01-01 00:00:00.5Z'", BadExportValues),
        ("datetime", ("2024-01-01 00:00:00",) * 2, "'infinity'", BadExportValues),
    ],
)
def test_what_the_old_column_would_change_is_refused(
    lite, pg_url, tmp_path, declared, values, written, error
):
    """
    And no file is written.
    """
    source = lite(f"CREATE TABLE t (x {declared})", {"t": [(value,) for value in values]})
    migrate(source, pg_url)
    with psycopg.connect(pg_url) as connection:
        connection.execute(f"INSERT INTO t (x) VALUES ({written})")

    with pytest.raises(error):
        export(Order(str(tmp_path / "out.db"), pg_url, like=source))

    assert not (tmp_path / "out.db").exists()
