"""Databases that were moved wrongly once: each stays right from now on."""

from __future__ import annotations

import contextlib
import sqlite3

import psycopg
import pytest

from oxy_pg.errors import BadValues, OrphanRows, TargetNotEmpty
from oxy_pg.migrate.migration import migrate
from oxy_pg.migrate.source import database
from tests.migrate.test_properties import check_migration


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("", [None, 0.0]),
        ("", [None, b""]),
        ("double", [None, 1.5]),
        ("uuid_text", [None, bytes(16)]),
        ("bytea", [None, b"\x00"]),
    ],
)
def test_null_stays_null(lite, pg_url, declared, values):
    """
    hex(NULL) is an empty text in SQLite: it must not become an empty value.
    """
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    fill(path, values)

    check_migration(path, pg_url)


def test_fractions_of_a_time_of_day_are_verified(lite, pg_url):
    """
    12:00:00.5 and 12:00:00.500000 are one time.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v time)")
    fill(path, ["00:00:00.5", "12:34:56.123", "23:59:59.9999996"])

    check_migration(path, pg_url)


def test_foreign_key_to_a_key_that_stays_behind(lite, pg_url):
    """
    json has no equality, so the key stays behind, and the foreign key with it.
    """
    path = lite(
        """
        CREATE TABLE t (
          id json_text NOT NULL PRIMARY KEY, parent json_text,
          FOREIGN KEY (parent) REFERENCES t (id)
        );
        INSERT INTO t VALUES ('{"a": 1}', NULL);
        """
    )

    report = migrate(path, pg_url, verify="full")

    assert {"primary key", "foreign key"} <= {skipped.what for skipped in report.skipped}


def test_unique_over_text_and_json_stays_behind(lite, pg_url):
    """
    What PostgreSQL cannot index is reported, not raised.
    """
    path = lite(
        """
        CREATE TABLE t (name TEXT COLLATE NOCASE, data json_text, UNIQUE (name, data));
        INSERT INTO t VALUES ('a', '{}');
        """
    )

    check_migration(path, pg_url)


def test_primary_key_that_holds_null(lite, pg_url):
    """
    SQLite takes NULL in a key that is no rowid: it arrives, and the key is UNIQUE.
    """
    path = lite(
        """
        CREATE TABLE t (a TEXT, b INT, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('x', 1), ('x', NULL);
        """
    )

    check_migration(path, pg_url)


def test_verification_reads_both_sides_in_one_order(lite, pg_url):
    """
    An index with another collation over the key does not change the order of rows.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v "my own type");
        CREATE INDEX i ON t (id COLLATE NOCASE) WHERE id > 5;
        INSERT INTO t VALUES (-43014985, -2.1e16), (5, NULL), (1, 'x'), (52, 0), (100, 1), (9, 2);
        """
    )

    check_migration(path, pg_url)


def test_index_that_covers_the_columns_changes_no_order(lite, pg_url):
    """
    SQLite may read a table by its index in one query, and by its rows in another.
    """
    path = lite(
        """
        CREATE TABLE t (id point NOT NULL PRIMARY KEY, g point AS (id) VIRTUAL);
        INSERT INTO t (id) VALUES (8), (5), (0);
        CREATE TABLE w (id TEXT PRIMARY KEY, n INT UNIQUE) WITHOUT ROWID;
        INSERT INTO w VALUES ('a', 3), ('b', 2), ('c', 1);
        """
    )

    check_migration(path, pg_url)


def test_every_bad_value_is_named_at_once(lite, pg_url):
    """
    Malformed JSON is listed beside the bad number: one run shows all there is to correct.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, j JSON);
        INSERT INTO t VALUES (1, 'n/a', '{}'), (2, 2, 'LPT1'), (3, 3, '{}');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert {("t", "n"), ("t", "j")} == {(bad.table, bad.column) for bad in caught.value.values}


def test_one_bad_text_does_not_condemn_the_numbers_beside_it(lite, pg_url):
    """
    Seconds since 1970, and one empty text: the text is bad, the seconds are not.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp);
        INSERT INTO t VALUES (1, 1700000000), (2, 1700000001), (3, '');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["''"] == [bad.value for bad in caught.value.values]


@pytest.mark.parametrize("text", ["", "junk", "0000-00-00", "2023-02-31 00:00:00"])
def test_texts_that_are_no_times_do_not_condemn_a_number(lite, pg_url, text):
    """
    As many texts as numbers, and none of them is a time: the number still counts seconds.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp)",
        {"t": [(1, 1700000000), (2, text), (3, text)]},
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [repr(text)] * 2 == [bad.value for bad in caught.value.values]


def test_zero_dates_are_named_beside_other_bad_values(lite, pg_url):
    """
    0000-00-00 has the form of a date: it is listed in the first run all the same.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, d DATE);
        INSERT INTO t VALUES (1, 'n/a', '2024-02-29'), (2, 2, '0000-00-00'), (3, 3, '2023-02-30');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [("n", "id 1"), ("d", "id 2"), ("d", "id 3")] == [
        (bad.column, bad.row) for bad in caught.value.values
    ]


def test_generated_values_that_overflow_come_along(lite, pg_url, pg):
    """
    Infinite in SQLite, an error in PostgreSQL: the value is moved, the expression reported.
    """
    path = lite(
        """
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, n real, twice real GENERATED ALWAYS AS (n * 2) STORED
        );
        INSERT INTO t (n) VALUES (1.5), (1.79e308);
        """
    )

    report = migrate(path, pg_url, verify="full")

    assert [(3.0,), (float("inf"),)] == pg("SELECT twice FROM t ORDER BY id")
    assert ["generated column"] == [skipped.what for skipped in report.skipped]


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


def test_keys_that_are_equal_as_numbers_alone_are_named(lite, pg_url):
    """
    1.0 and 1 are one key in SQLite, and among texts two: the row is named before anything moves.
    """
    path = lite(
        """
        CREATE TABLE p (id ANY PRIMARY KEY) STRICT;
        CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id));
        INSERT INTO p VALUES (1.0), ('x'); INSERT INTO c VALUES (1, 'x'), (2, 1);
        """
    )

    with pytest.raises(OrphanRows) as caught:
        migrate(path, pg_url)

    assert [("id 2",)] == [orphans.rows for orphans in caught.value.orphans]


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


def test_shortened_names_are_found_again(lite, pg_url, pg):
    """
    A second run knows the table and the column whose names PostgreSQL could not hold.
    """
    long = "n" * 70
    path = lite(
        f"CREATE TABLE {long} (id INTEGER PRIMARY KEY, {long} TEXT, {long}2 TEXT, ctid INT)"
    )
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"INSERT INTO {long} VALUES (1, 'a', 'b', 2)")
    migrate(path, pg_url, verify="full")

    with pytest.raises(TargetNotEmpty):
        migrate(path, pg_url)
    migrate(path, pg_url, if_not_empty="truncate", verify="full")

    assert [(1, "a", "b", 2)] == pg(f'SELECT * FROM "{long[:63]}"')


def test_nanoseconds_are_rounded_exactly(lite, pg_url):
    """
    …782528 ns are nearer to 783 µs; as a double it would be a half, and 782.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at datetime)", {"t": [(1, 368760672738782528)]}
    )

    check_migration(path, pg_url)


def test_sound_file_is_not_called_damaged(lite):
    """
    The check is made by a connection that may be reading text as bytes.
    """
    path = lite("CREATE TABLE t (a)")

    for kind in (bytearray, bytes, str):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.text_factory = kind
            database.check(db, path)


@pytest.mark.parametrize("name", ["", "x" * 63, "user_id_seq"])
def test_empty_and_long_names_get_another(lite, pg_url, name):
    """
    SQLite knows a table and a column whose names are empty; PostgreSQL knows none such.
    """
    path = lite(f'CREATE TABLE "{name}" ("{name}" INTEGER PRIMARY KEY, v)', {name: [(1, "a")]})

    check_migration(path, pg_url)


def test_names_that_differ_in_more_than_ascii_case(lite, pg_url, pg):
    """
    "ü" and "Ü" are two columns in SQLite, which folds the letters A to Z alone.
    """
    path = lite(
        'CREATE TABLE t ("ü" TEXT, "Ü" INTEGER NOT NULL UNIQUE CHECK ("Ü" > 1), "É" AS ("Ü"))',
    )
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO t VALUES ('a', 2)")

    check_migration(path, pg_url)

    assert [("a", 2, 2)] == pg("SELECT * FROM t")


def test_table_that_is_called_like_a_sequence(lite, pg_url, pg):
    """
    PostgreSQL would call the sequence behind user.id just like the other table, or its index.
    """
    path = lite(
        """
        CREATE TABLE user (id INTEGER PRIMARY KEY, n INTEGER);
        CREATE TABLE user_id_seq (id INTEGER PRIMARY KEY);
        CREATE INDEX user_id_seq_id_seq ON user (n);
        INSERT INTO user VALUES (3, 4); INSERT INTO user_id_seq VALUES (5);
        """
    )

    check_migration(path, pg_url)

    assert [(5,)] == pg('INSERT INTO "user" (n) VALUES (1) RETURNING id')


@pytest.mark.parametrize("text", ["24:00:00", "23:59:59.9999999", "24:00"])
def test_midnight_at_the_end_of_a_day(lite, pg_url, pg, text):
    """
    24:00 is a time for PostgreSQL, if not for Python.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v time)")
    fill(path, [text, "23:59:59"])

    check_migration(path, pg_url)

    assert [("24:00:00",), ("23:59:59",)] == pg("SELECT v::text FROM t ORDER BY id")


SAME = {
    "datetime": ("2024-01-01 00:00:00", "2024-01-01T01:00:00+01:00", "2024-01-01 00:00:00.0000001"),
    "timestamp": (1_704_067_200_000_001, 1_704_067_200_000_001.25),
    "uuid": ("0000000A-0000-0000-0000-000000000000", "0000000a" + "0" * 24),
    "decimal_text": ("1.00000000000000000001", "1.000000000000000000010"),
    "jsonb": ('{"a": 1}', '{"a":1.0}'),
    "boolean": (1, "true"),
}


@pytest.mark.parametrize("declared", SAME)
@pytest.mark.parametrize("key", ["PRIMARY KEY", "UNIQUE"])
def test_one_key_in_two_spellings_is_named(lite, pg_url, pg, declared, key):
    """
    Two keys for SQLite, one for PostgreSQL: the later row is named, or stays behind when asked.
    """
    values = SAME[declared]
    path = lite(f"CREATE TABLE t (v {declared} NOT NULL {key})")
    fill(path, values)

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    again = range(2, len(values) + 1)
    assert [("v", f"rowid {n}") for n in again] == [
        (bad.column, bad.row) for bad in caught.value.values
    ]
    assert all("has this key already" in bad.reason for bad in caught.value.values)
    assert len(again) == len(migrate(path, pg_url, dry_run=True).problems)
    report = migrate(path, pg_url, on_bad_value="skip", verify="full")
    assert (len(again), [(1,)]) == (report.tables[0].rows_skipped, pg("SELECT count(*) FROM t"))


def test_unique_index_on_a_part_of_the_rows_is_checked(lite, pg_url):
    """
    Only rows that the predicate holds for are there twice; case counts where it did.
    """
    path = lite(
        """
        CREATE TABLE t (name TEXT COLLATE NOCASE, at datetime, gone INTEGER);
        CREATE UNIQUE INDEX i ON t (name, at) WHERE gone = 0;
        INSERT INTO t VALUES ('a', '2024-01-01', 0), ('A', '2024-01-01 00:00', 1),
          ('A', '2024-01-01T00:00', 0), ('b', '2024-01-01', 0);
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [("name, at", "rowid 3")] == [(bad.column, bad.row) for bad in caught.value.values]


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


def test_lone_surrogates_are_named(lite, pg_url):
    """
    Between UTF-16 and UTF-8, SQLite makes some other letter of them.
    """
    path = lite("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO t (v) VALUES ('🚀'), (CAST(x'00d84100' AS TEXT)), ('ü')")

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["id 2"] == [bad.row for bad in caught.value.values]
    migrate(path, pg_url, on_bad_value="skip", verify="full")


def test_broken_text_in_a_key_stays_behind_when_asked(lite, pg_url, pg):
    """
    The row is found again by a key that cannot be decoded.
    """
    path = lite("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT), 'a'), ('k', 'b')")

    migrate(path, pg_url, on_bad_value="skip", verify="full")

    assert [("k", "b")] == pg("SELECT * FROM t")


def test_row_without_a_name_stays_behind_when_asked(lite, pg_url, pg):
    """
    Where columns have taken all names of the rowid, all columns name the row, NULLs included.
    """
    path = lite(
        "CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ INTEGER)",
        {"t": [(None, "a", "x"), (None, "b", 1)]},
    )

    migrate(path, pg_url, on_bad_value="skip", verify="full")

    assert [(None, "b", 1)] == pg("SELECT * FROM t")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("decimal_text", "1_000"),
        ("decimal_text", "\uff11\uff12"),
        ("decimal_text", "nan"),
        ("decimal_text", "1e200000"),
        ("decimal_text", "1e-20000"),
        ("double", "1_0.5"),
        ("double", "\uff19"),
        ("integer", "9" * 5000),
    ],
)
def test_what_only_python_takes_for_a_number_is_named(lite, pg_url, declared, text):
    """
    Underscores, digits of other scripts, and more of them than PostgreSQL holds.
    """
    path = lite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    fill(path, [1, text])

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["id 2"] == [bad.row for bad in caught.value.values]


def test_long_number_in_a_document_is_no_bad_value(lite, pg_url, pg):
    """
    Python refuses to read more than 4,300 digits; they are JSON all the same.
    """
    path = lite(
        "CREATE TABLE t (n INTEGER, v json)", {"t": [(1, '{"n": ' + "9" * 5000 + "}"), ("x", "{}")]}
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["n"] == [bad.column for bad in caught.value.values]


@pytest.mark.parametrize(
    "text", ["9999-12-31 23:59:59-08:00", "0001-01-01 00:00:00+05:00", "2024-01-01 24:00:00.5"]
)
def test_times_beyond_the_years_that_python_knows_are_named(lite, pg_url, text):
    """
    PostgreSQL would read them, and the verification could not: they are named instead.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v datetime)",
        {"t": [(1, "9999-12-31 23:59:59"), (2, "0001-01-01 00:00:00"), (3, text)]},
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url, verify="full")

    assert ["id 3"] == [bad.row for bad in caught.value.values]


def test_negative_zero_keeps_its_sign(lite, pg_url, pg):
    """
    A column without a type keeps -0.0 as it is, and so does a double.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    fill(path, [-0.0, 0.0])

    check_migration(path, pg_url)

    assert [("-0",), ("0",)] == pg("SELECT v::text FROM t ORDER BY id")


def test_generated_values_of_another_type_are_named_by_the_dry_run_too(lite, pg_url):
    """
    A sum that overflows is a REAL in SQLite; PostgreSQL is not asked to compute it.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, more INTEGER AS (n + 1) STORED);
        INSERT INTO t (n) VALUES (1), (9223372036854775807);
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [("more", "id 2")] == [(bad.column, bad.row) for bad in caught.value.values]
    assert 1 == len(migrate(path, pg_url, dry_run=True).problems)


@pytest.mark.parametrize("reference", ["", "REFERENCES t (n)"])
def test_generated_values_of_what_is_emptied_come_along(lite, pg_url, pg, reference):
    """
    SQLite computed 0.0 from a text, or 10.0 from a reference to nothing; PostgreSQL would get NULL.
    """
    path = lite(
        f"""
        CREATE TABLE t (
          n REAL UNIQUE, other REAL {reference}, twice REAL AS (other * 2) STORED
        );
        INSERT INTO t VALUES (1.5, 1.5), (2.5, {5.0 if reference else "'nan'"});
        """
    )

    migrate(path, pg_url, on_bad_value="null", on_orphan="null", verify="full")

    wanted = 10.0 if reference else 0.0
    assert [(1.5, 3.0), (None, wanted)] == pg("SELECT other, twice FROM t ORDER BY n")


OTHERS = {
    "inet": ("192.168.0.1/32", "::0001"),
    "interval": ("1 day 02:00", "90 minutes"),
    "integer[]": ("{1, 2}", "{ }"),
    "point": ("(1.0, 2)", "3,4"),
    "bit varying(8)": ("101", "B11"),
}


@pytest.mark.parametrize("pg_type", OTHERS)
@pytest.mark.parametrize("append", [False, True])
def test_values_that_postgres_spells_in_another_way_are_verified(move, pg, pg_type, append):
    """
    192.168.0.1/32 arrives, and is 192.168.0.1: equal, because PostgreSQL says so.
    """
    pg(f"CREATE TABLE t (id int, v {pg_type})")
    if append:
        pg("INSERT INTO t VALUES (0, NULL)")

    report = move(
        "CREATE TABLE t (id INTEGER, v TEXT)",
        {"t": [(1, OTHERS[pg_type][0]), (2, OTHERS[pg_type][1]), (3, None)]},
        if_not_empty="append",
    )

    assert 3 == report.verification.rows


@pytest.mark.parametrize(
    ("pg_type", "good", "bad"),
    [("inet", "::1", "abc"), ("integer[]", "{1}", "{x}"), ("jsonb", "1", '"\\ud800"')],
)
def test_what_postgres_alone_can_judge_is_emptied_when_asked(move, pg, pg_type, good, bad):
    """
    Python has no objection; PostgreSQL has.
    """
    pg(f"CREATE TABLE t (id int, v {pg_type})")

    report = move(
        "CREATE TABLE t (id INTEGER, v TEXT)",
        {"t": [(1, bad), (2, good), (3, bad)]},
        on_bad_value="null",
    )

    assert [(1, True), (2, False), (3, True)] == pg("SELECT id, v IS NULL FROM t ORDER BY id")
    assert [("v", 2)] == [(change.column, change.count) for change in report.changes]


def test_rows_of_which_no_column_is_written_arrive(move, pg):
    """
    The target lacks the only column, which is empty: the rows get their defaults.
    """
    pg("CREATE TABLE t (id serial, note text DEFAULT 'x')")

    report = move("CREATE TABLE t (v TEXT)", {"t": [(None,), (None,)]})

    assert 2 == report.rows
    assert [(1, "x"), (2, "x")] == pg("SELECT * FROM t ORDER BY id")


def test_documents_are_verified_beside_rows_that_were_there(move, pg):
    """
    jsonb orders its keys in another way, and has only one way to write a number.
    """
    pg("CREATE TABLE t (v jsonb, c char(3))")
    pg("INSERT INTO t VALUES ('1', 'a')")

    report = move(
        "CREATE TABLE t (v jsonb, c text)",
        {"t": [('{"long": 1e2, "b": [1.0, {"y": 1, "x": 2}], "b": null}', "a")]},
        if_not_empty="append",
    )

    assert 1 == report.verification.rows


def test_rows_that_fill_holes_are_verified(move, pg, server_url, pg_url):
    """
    In a table that may not be truncated, new rows lie where old ones were deleted.
    """
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE TABLE t (id int, v text)")
        admin.execute("INSERT INTO t SELECT n, repeat('x', 2000) FROM generate_series(1, 100) n")
        # The last page stays, so that the pages before it are not given back.
        admin.execute("DELETE FROM t WHERE id < 100")
        admin.execute("VACUUM t")
        admin.execute("GRANT SELECT, INSERT ON t TO oxy")
        admin.execute("DELETE FROM t")

    move(
        "CREATE TABLE t (id INTEGER, v TEXT)",
        {"t": [(n, "y" * (10 if n % 3 else 3000)) for n in range(300)]},
    )

    assert [(300,)] == pg("SELECT count(DISTINCT id) FROM t")


def test_sound_key_of_a_table_without_rowid_is_not_called_damaged(lite, pg_url):
    """
    SQLite 3.40 itself says "NULL value in t.b" here when it is asked to check.
    """
    path = lite(
        """
        CREATE TABLE t (b TEXT, a TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE u (b datetime, a json, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE v (a bool, n numeric NOT NULL, b BLOB, PRIMARY KEY (b, a)) WITHOUT ROWID;
        CREATE INDEX i ON v (n) WHERE n = 1;
        INSERT INTO t VALUES ('x', 'y'); INSERT INTO u VALUES ('2024-01-01', '{}');
        INSERT INTO v VALUES (1, 2, x'01');
        """
    )

    assert () == migrate(path, pg_url, dry_run=True).problems


def test_values_that_break_a_promise_of_sqlite_are_no_damage(lite, pg_url, pg):
    """
    A CHECK that was added behind SQLite's back: every page is sound, and the rows are moved.
    """
    path = lite("CREATE TABLE t (n INTEGER CHECK (n > 0)); INSERT INTO t VALUES (1);")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("INSERT INTO t VALUES (-1)")

    assert () == migrate(path, pg_url, dry_run=True).problems
    report = migrate(path, pg_url, verify="full")

    assert ["check"] == [skipped.what for skipped in report.skipped]
    assert [(1,), (-1,)] == pg("SELECT n FROM t")


def fill(path, values) -> None:
    """Add rows to ``t``, whose key numbers itself."""

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
