"""Tables: which are copied in their binary form, and that nothing is lost by it."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer.parts import tables

# Of each type what is easily lost: the ends of its range, what has no number, what looks empty.
EXTREMES = {
    "bool": ["t", "f"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "float4": ["NaN", "-Infinity", "-0", "1e-45", "3.4028235e+38", "0.1"],
    "float8": ["NaN", "Infinity", "-0", "5e-324", "1.7976931348623157e+308", "0.1"],
    "numeric": ["NaN", "-Infinity", "0.000", "1e-16383", "-1.10", "1e131071"],
    "numeric(12, 3)": ["-0.001", "123456789.120"],
    "text": ["", r"\N", "\t\n\r\\.\n", "€😀", "x" * 100_000],
    "varchar(5)": ["", "ab  ", "€😀"],
    "char(5)": ["", "ab", "€😀"],
    "bytea": ["", r"\x00ff5c", r"\x" + "00" * 100_000],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "date": ["4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "2000-02-29"],
    "time": ["00:00:00", "24:00:00", "12:34:56.789012"],
    "time(2)": ["12:34:56.78"],
    "timestamp": ["4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity"],
    "timestamptz": ["4713-01-02 BC", "294276-12-31 23:59:59.999999+00", "-infinity"],
    "interval": ["-178000000 years", "1 mon -1 day 00:00:00.000001", "0"],
    "interval hour to minute": ["-13:05:00"],
    "json": ['{"a": 1,  "a": 2}', "[]", "null", '"\\u0000"'],
    "jsonb": ['{"b": 1e2, "a": []}', "null", '"€"'],
}


def rows(url, table):
    """A table as text, as COPY writes it, which says every value exactly."""
    query = f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT"
    with psycopg.connect(url) as connection, connection.cursor().copy(query) as out:
        return [bytes(row) for row in out]


def fill(url, table, kind, values):
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE {table} (id int, value {kind})")
        for number, value in enumerate([None, *values]):
            connection.execute(f"INSERT INTO {table} VALUES (%s, %s::{kind})", [number, value])


def binary(url):
    with psycopg.connect(url) as connection:
        return {table.name for table in tables.tables(connection) if table.is_binary}


@pytest.mark.parametrize("swap", [False, True])
def test_every_value_arrives_in_a_server_of_the_same_version(embedded, swap):
    """
    The ends of every type that is copied in its binary form: the same text afterwards.
    """
    source = embedded.ensure_database(f"extremes_{swap}")
    names = {f"t{number}": kind for number, kind in enumerate(EXTREMES)}
    for table, kind in names.items():
        fill(source, table, kind, EXTREMES[kind])
    before = {table: rows(source, table) for table in names}

    with oxy_pg.temporary() as other:
        target = other.ensure_database("copy")
        embedded.push(target, database=f"extremes_{swap}", swap=swap)

        assert binary(source) == set(names)
        assert before == {table: rows(target, table) for table in names}
        assert sum(map(len, before.values())) == sum(len(v) + 1 for v in EXTREMES.values())


def test_no_type_of_binary_form_is_without_an_example():
    """
    Whoever adds a type to the list adds what is easily lost of it.
    """
    known = {kind.partition("(")[0].split()[0] for kind in EXTREMES}
    assert set(tables.BINARY) == known - {"char"} | {"bpchar"}


def test_types_of_users_are_copied_as_text(embedded):
    """
    Domains, enums, arrays, composites and what is less known: not in their binary form.
    """
    url = embedded.ensure_database("of_users")
    with psycopg.connect(url) as connection:
        connection.execute(
            """
            CREATE DOMAIN positive AS int CHECK (VALUE > 0);
            CREATE TYPE mood AS ENUM ('ok');
            CREATE TYPE pair AS (a int, b int);
            CREATE TABLE built_in (id int, name text);
            CREATE TABLE a (id positive);
            CREATE TABLE b (id mood);
            CREATE TABLE c (id int[]);
            CREATE TABLE d (id pair);
            CREATE TABLE e (id inet);
            CREATE TABLE f (id int, of_it mood GENERATED ALWAYS AS ('ok') STORED);
            CREATE TABLE g (id int, gone mood);
            ALTER TABLE g DROP COLUMN gone;
            """
        )

    assert {"built_in", "f", "g"} == binary(url)


def first_row(url, table):
    """Where the first row of a table begins in its file, as the server has it (68.6)."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        [(page,)] = connection.execute(
            "SELECT pg_read_binary_file(pg_relation_filepath(%s), 0, 8192)", [table]
        ).fetchall()
    return page[int.from_bytes(page[24:26], "little") & 0x7FFF :]


def test_rows_of_a_new_database_are_frozen(embedded, tmp_path):
    """
    After a pull the first readers have no marks to write: t_infomask has HEAP_XMIN_FROZEN.
    """
    source = embedded.ensure_database("marked")
    with psycopg.connect(source) as connection:
        connection.execute("CREATE TABLE item AS SELECT generate_series(1, 100000) AS id")
    with oxy_pg.Server(tmp_path / "other", keep_alive=0) as other:
        other.pull(source, database="pulled")

        infomask = int.from_bytes(
            first_row(other.superuser_url("pulled"), "public.item")[20:22], "little"
        )
        other.stop()
    assert infomask & 0x0300 == 0x0300


def test_an_older_snapshot_does_not_see_what_was_pushed_in_place(embedded):
    """
    A transaction of the target that began before the push sees none of its rows.
    """
    source = embedded.ensure_database("newer")
    with psycopg.connect(source) as connection:
        connection.execute("CREATE TABLE item AS SELECT generate_series(1, 1000) AS id")
    with oxy_pg.temporary() as other:
        target = other.ensure_database("copy")
        with psycopg.connect(target) as older:
            older.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            older.execute("SELECT count(*) FROM pg_class")

            embedded.push(target, database="newer")

            assert older.execute("SELECT count(*) FROM item").fetchone() == (0,)
            older.commit()
            assert older.execute("SELECT count(*) FROM item").fetchone() == (1000,)
