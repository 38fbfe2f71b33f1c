"""A backup that passed is one that restores: of any server, by any psql, and by a trial."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools
from oxy_pg.transfer.backup import backup, plain_script
from tests.transfer.compare import contents, differences

OPTIONS = """
    CREATE TABLE t (a int PRIMARY KEY, b text, "of (c)" int GENERATED ALWAYS AS (a * 2) STORED);
    INSERT INTO t SELECT g, 'SET (pg_attver=7);' FROM generate_series(1, 100) g;
    ALTER TABLE t ALTER b SET (n_distinct = 5, n_distinct_inherited = 3);
    CREATE TABLE part (k int) PARTITION BY LIST (k);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
    INSERT INTO part VALUES (1);
    CREATE MATERIALIZED VIEW m AS VALUES (1);
    CREATE INDEX ON t ((a + 1));
    CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$ SELECT '
ALTER TABLE t ALTER COLUMN b SET (x);
' $$;
"""
# What psql would take for a command of its own, and what only looks like one.
COMMANDS = ("\\! touch /tmp/x\n", "SELECT 1; \\gexec\n", "SELECT 'a' \\\\ FROM t;\n")
HARMLESS = (
    "SELECT 'a\n\\! b\n';\n",
    "SELECT E'\\'\\\\! b', E'it''s \\! b';\n",
    "SELECT 'a''\n\\! b', U&'\\0061';\n",
    'COMMENT ON TABLE "\n\\! b""\n\\! c" IS NULL;\n',
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_$\n\\! b $x$ \\! c\n$_$;\n",
    '-- \\! it\'s\nSELECT a$b$c, "x$y$" FROM t;\n',
    "/* \\! b\n\\! c */ SELECT name'\\';\n",
    "COPY public.t (a) FROM stdin;\n\\N\nit's\t\\\\! b\n\\.\nSELECT 1;\n",
)


@pytest.fixture
def old_client(monkeypatch):
    """The programs of 16.2 as those that a backup is made with, and psql of then."""
    found = next((one for one in tools.installed() if one.version == "16.2"), None)
    if found is None:
        pytest.skip("PostgreSQL 16.2 is not installed: pgserver has no wheel for this Python")
    monkeypatch.setenv("OXY_PG_BIN_DIR", found.bin_dir)
    monkeypatch.setattr(tools, "has_ssl", lambda _: True)
    return found


def local(server) -> str:
    """A URL of the server's socket, where no TLS is needed."""
    return f"postgresql://postgres@/options?host={server.home}&port={server.port}"


@pytest.fixture
def with_options(debian_15):
    """A database of 15.20, whose columns have options that only the server sets."""
    with debian_15.superuser() as connection:
        connection.execute("DROP DATABASE IF EXISTS options WITH (FORCE)")
        connection.execute("CREATE DATABASE options LC_COLLATE 'C' TEMPLATE template0")
    with debian_15.superuser("options") as connection:
        connection.execute(OPTIONS)
    return local(debian_15)


@pytest.mark.parametrize("in_place", [False, True], ids=["alongside", "in place"])
@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_options_of_a_newer_server(
    old_client, with_options, new_database, saved, tmp_path, plain, in_place
):
    """
    A pg_dump that does not know what 15.20 keeps among a column's options writes it down.
    """
    target = new_database()

    path = backup.backup(str(tmp_path), with_options, plain=plain).path
    saved.restore(path, target, in_place=in_place)

    assert oxy_pg.check_backup(path).tool_version == old_client.version
    assert {} == differences(contents(with_options), contents(target))
    with psycopg.connect(target) as connection:
        options = connection.execute(
            "SELECT attoptions FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
        ).fetchall()
    assert [(None,), (["n_distinct=5", "n_distinct_inherited=3"],), (None,)] == options


def psqls() -> list[str]:
    """Each psql of this machine, by its version."""
    return [one.program("psql") for one in tools.installed()]


@pytest.mark.parametrize("psql", psqls(), ids=lambda path: Path(path).parts[-4])
def test_a_plain_backup_is_for_every_psql(psql, old_client, new_database, saved, tmp_path):
    """
    Also one that does not know what newer pg_dumps write against commands in a script.
    """
    source, target = new_database(OPTIONS), new_database()
    path = saved.backup(source, tmp_path, plain=True).path

    with gzip.open(path) as script:
        done = subprocess.run(
            [psql, "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", target],
            input=script.read(),
            capture_output=True,
            check=False,
        )

    assert (0, b"") == (done.returncode, done.stderr)
    assert {} == differences(contents(source), contents(target))


@pytest.mark.parametrize("text", COMMANDS)
def test_a_script_with_commands_of_psql_is_refused(text):
    with pytest.raises(oxy_pg.TransferRefused, match="take for a command"):
        list(plain_script.without_commands(text.encode().splitlines(keepends=True)))


@pytest.mark.parametrize("text", HARMLESS)
@pytest.mark.parametrize("before", ["", "SELECT 'a', E'b\\'';\n"])
def test_what_only_looks_like_a_command_stays(text, before):
    lines = (before + text).encode().splitlines(keepends=True)
    assert lines == list(plain_script.without_commands(lines))
    for command in COMMANDS:  # it has found the end of each
        with pytest.raises(oxy_pg.TransferRefused):
            list(plain_script.without_commands([*lines, command.encode()]))


# --- a trial --------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_a_deep_check_restores_it(new_database, saved, tmp_path, cli, plain):
    """
    Into a server of its own, which is gone afterwards; the embedded one is not touched.
    """
    url = new_database(OPTIONS, extensions=("vector",))
    path = saved.backup(url, tmp_path, plain=plain).path

    done = cli("restore", "--check", "--deep", path)

    assert oxy_pg.check_backup(path, deep=True).rows == 101
    assert "restored    into a temporary server; row counts verified" in done.stdout


def test_a_deep_check_finds_what_a_check_does_not(new_database, saved, tmp_path, cli):
    """
    A backup that is intact, and that does not restore; with what would mend it, it does.
    """
    url = new_database(
        "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS"
        " 'BEGIN RETURN (SELECT count(*) FROM t); END'; CREATE MATERIALIZED VIEW m AS SELECT f()"
    )
    path = saved.backup(url, tmp_path).path
    assert oxy_pg.check_backup(path)

    with pytest.raises(oxy_pg.TransferRefused, match="--search-path"):
        oxy_pg.check_backup(path, deep=True)
    assert oxy_pg.check_backup(path, deep=True, search_path="public")
    assert cli("restore", path, "--deep", expected=2).stderr.endswith("--deep is for --check.\n")


def test_an_older_backup_stays_until_the_new_one_has_passed(new_database, embedded, tmp_path):
    """
    ``backup --check --deep --keep 1``: what does not restore deletes nothing.
    """
    url = new_database("CREATE TABLE t (a int)")
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    first = embedded.backup(tmp_path, database=name, keep=1)
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS"
            " 'BEGIN RETURN (SELECT count(*) FROM t); END'"
        )
        connection.execute("CREATE MATERIALIZED VIEW m AS SELECT f()")
    again = {"state_dir": embedded.state_dir, "database": name, "keep": 1, "deep": True}

    with pytest.raises(oxy_pg.TransferRefused):
        oxy_pg.backup(tmp_path, **again)
    assert Path(first.path).exists()
    with psycopg.connect(url) as connection:
        connection.execute("DROP MATERIALIZED VIEW m")
    assert 1 == len(oxy_pg.backup(tmp_path, **again).manifest.tables)
    assert not Path(first.path).exists()


# --- schemas ----------------------------------------------------------------------------------

PROVIDER = """
    CREATE TABLE ours (a int); INSERT INTO ours VALUES (1);
    CREATE SCHEMA more; CREATE TABLE more.ours (a int);
    CREATE SCHEMA vault; CREATE TABLE vault.secrets (a int); INSERT INTO vault.secrets VALUES (1);
    SELECT lo_from_bytea(0, 'x');
"""


@pytest.mark.parametrize(
    ("options", "tables", "large_objects"),
    [
        ({"schemas": ["public"]}, ["public.ours"], 0),
        ({"schemas": ["public", "more"]}, ["more.ours", "public.ours"], 0),
        ({"exclude_schemas": ["vault"]}, ["more.ours", "public.ours"], 1),
        ({"schemas": ["public", "vault"], "exclude_schemas": ["vault"]}, ["public.ours"], 0),
    ],
)
@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_some_schemas(new_database, saved, tmp_path, plain, options, tables, large_objects):
    source, target = new_database(PROVIDER), new_database()

    report = saved.backup(source, tmp_path, plain=plain, **options)
    saved.restore(report.path, target)

    assert tables == [str(one) for one in report.manifest.tables]
    found = contents(target)
    assert tables == sorted(one for one in found if one.endswith((".ours", ".secrets")))
    assert large_objects == len(found["large objects"]) == report.manifest.large_objects


def test_schemas_of_a_provider(debian_15, tmp_path, cli):
    """
    What the role may not read is named, with what leaves it out; and then it is left out.
    """
    url = debian_15.new_database()
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with debian_15.superuser(name) as connection:
        connection.execute("CREATE SCHEMA vault; CREATE TABLE vault.secrets (a int)")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE ours AS SELECT 1 AS a")

    with pytest.raises(
        oxy_pg.RightsMissing, match=r"SELECT on vault.secrets(?s:.*)--exclude-schema"
    ):
        oxy_pg.backup(tmp_path, url)
    path = cli("backup", tmp_path, "--from", url, "-N", "vault").stdout.strip()
    assert ["public.ours"] == [str(one) for one in oxy_pg.check_backup(path).tables]
    with pytest.raises(oxy_pg.ConfigurationError, match=r"has no schema vaults. It has: .*vault"):
        oxy_pg.backup(tmp_path, url, exclude_schemas=["vaults"])


def test_extensions_of_other_schemas_stay_there(new_database, saved, tmp_path):
    """
    Only those that something in the chosen schemas uses, or that are in one.
    """
    url = new_database("CREATE SCHEMA other; CREATE TABLE t (a int)", extensions=("vector",))
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE other.t (a public.vector(3))")
        connection.execute("CREATE SCHEMA none; CREATE TABLE none.t (a int)")

    used = {
        schema: [
            one.name for one in saved.backup(url, tmp_path, schemas=[schema]).manifest.extensions
        ]
        for schema in ("public", "other", "none")
    }

    assert {"public": ["vector"], "other": ["vector"], "none": []} == used


def test_keep_counts_backups_of_the_same_schemas(new_database, embedded, tmp_path):
    """
    One of a part of the database does not replace one of all of it.
    """
    url = new_database(PROVIDER)
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    whole = embedded.backup(tmp_path, database=name)
    part = embedded.backup(tmp_path, database=name, schemas=["public"], keep=1)
    again = embedded.backup(tmp_path, database=name, schemas=["public"], keep=1)

    assert [part.path] == list(again.deleted)
    assert Path(whole.path).exists()
