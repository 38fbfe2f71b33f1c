"""A plain backup of a database that strangers have written to, given to psql as the docs say."""

from __future__ import annotations

import gzip
import subprocess

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools

# Called for each row that psql copies: from then on psql reads texts and letters differently.
OTHER_SETTINGS = """
    CREATE FUNCTION other() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      PERFORM set_config('standard_conforming_strings', 'off', false);
      PERFORM set_config('client_encoding', 'SJIS', false);
      RETURN true;
    END $$;
    CREATE TABLE first (id integer CHECK (other()));
    INSERT INTO first VALUES (1);
    CREATE INDEX one ON first (id);
    CREATE INDEX two ON first (id);
    CREATE INDEX three ON first (id);
    SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;
"""
# In psql's eyes the first text would end before the command, and so would the second: in SJIS the
# last byte of this letter and the quote are one letter.
COMMENTS = ("a\\' \\! touch {} #", "\u0101' \\! touch {} #", "a\\'\n\\! touch {} #")
# Rows of a table that cannot be created, whose letters psql would take for \f, \timing, \reset.
ROWS = (
    "\f `touch {}`",
    "\timing `touch {}`",
    "\reset `touch {}`",
    "\bind `touch {}`",
    "\\! touch {}",
)
NOT_CREATED = """
    CREATE FUNCTION fails(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      ASSERT to_regclass('public.marker') IS NOT NULL;
      RETURN true;
    END $$;
    CREATE TABLE marker ();
    CREATE DOMAIN checked AS integer CHECK (fails(VALUE));
    CREATE TABLE lost (words text, more checked[] DEFAULT '{1}');
"""


def psqls() -> list[str]:
    return [one.program("psql") for one in tools.installed()]


def run_psql(psql: str, path: str, url: str, *options: str) -> str:
    with gzip.open(path) as script:
        words = [psql, "--quiet", "--no-psqlrc", *options, url]
        done = subprocess.run(
            words, input=script.read(), capture_output=True, check=False, timeout=60
        )
    return done.stderr.decode(errors="replace")


def created(server, name: str) -> str:
    server.create_database(name)
    return server.url(name)


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary() as one:
        yield one


@pytest.mark.parametrize("psql", psqls())
def test_functions_that_change_how_psql_reads(server, psql, tmp_path):
    source, target = created(server, "a"), created(server, "b")
    ran = tmp_path / "ran"
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(OTHER_SETTINGS)
        for name, text in zip(("one", "two", "three"), COMMENTS, strict=True):
            literal = psycopg.sql.Literal(text.format(ran))
            words = psycopg.sql.SQL("COMMENT ON INDEX {} IS {}")
            connection.execute(words.format(psycopg.sql.Identifier(name), literal))
    path = oxy_pg.backup(tmp_path / "a.sql.gz", url=source, plain=True).path

    said = run_psql(psql, path, target, "-v", "ON_ERROR_STOP=1")

    assert not ran.exists(), said
    with psycopg.connect(target) as connection:
        query = "SELECT obj_description(to_regclass(%s), 'pg_class')"
        found = [
            connection.execute(query, [name]).fetchone()[0] for name in ("one", "two", "three")
        ]
    assert [text.format(ran) for text in COMMENTS] == found
    for name in ("a", "b"):
        server.drop_database(name)


@pytest.mark.parametrize("psql", psqls())
def test_rows_of_a_table_that_was_not_created(server, psql, tmp_path):
    source, target = created(server, "a"), created(server, "b")
    ran = tmp_path / "ran"
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(NOT_CREATED)
        for row in ROWS:
            connection.execute("INSERT INTO lost (words) VALUES (%s)", [row.format(ran)])
        rows = connection.execute("SELECT words FROM lost").fetchall()
    path = oxy_pg.backup(tmp_path / "a.sql.gz", url=source, plain=True).path

    said = run_psql(psql, path, target)  # and not as the docs say: it goes on after an error

    assert 'relation "public.lost" does not exist' in said
    assert not ran.exists(), said
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute("CREATE TABLE lost (words text, more integer[])")
        with gzip.open(path) as script, connection.cursor().copy("COPY lost FROM stdin") as copy:
            lines = script.readlines()
            begin = next(n for n, line in enumerate(lines) if line.startswith(b"COPY public.lost"))
            for line in lines[begin + 1 : lines.index(b"\\.\n", begin)]:
                copy.write(line)
        assert rows == connection.execute("SELECT words FROM lost").fetchall()
    for name in ("a", "b"):
        server.drop_database(name)
