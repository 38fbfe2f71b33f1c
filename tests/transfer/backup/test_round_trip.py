"""What comes back is what was there: value by value, and every definition."""

from __future__ import annotations

import gzip
import os

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools
from oxy_pg.transfer.backup import backup, restore
from tests.migrate.test_real_databases import PYTHON, fetch
from tests.transfer.compare import contents, differences
from tests.transfer.conftest import KINDS, superuser

LARGE_OBJECTS = "SELECT lo_from_bytea(0, decode(repeat('00ff5c', 3000), 'hex'))"


def same(one, other):
    return {} == differences(one, other)


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_oxy_database_comes_back_after_a_reset(state_dir, oxy_sqlite, tmp_path, plain, monkeypatch):
    """
    Backup, reset, restore: the Oxy test database, migrated from SQLite, is the same.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    url = oxy_pg.ensure(keep_alive=1)
    oxy_pg.migrate_sqlite(oxy_sqlite, url)
    before = contents(url)
    report = oxy_pg.backup(tmp_path, plain=plain)
    oxy_pg.Server().destroy()

    restored = oxy_pg.restore(report.path)

    assert "oxy" == restored.database
    assert same(before, contents(oxy_pg.ensure()))
    assert len(before) > 20
    oxy_pg.Server().destroy()


@pytest.mark.skipif(
    os.environ.get("OXY_PG_TESTS_OFFLINE") == "1", reason="OXY_PG_TESTS_OFFLINE=1: from PyPI"
)
def test_proj_db_comes_back(new_database, saved, tmp_path):
    """
    The same with a published database.
    """
    url = new_database()
    oxy_pg.migrate_sqlite(fetch(PYTHON[0]), url)
    before = contents(url)

    report = saved.backup(url, tmp_path)
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    saved.restore(report.path, url)

    assert same(before, contents(url))


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_all_kinds_of_objects_come_back(new_database, saved, tmp_path, plain):
    """
    Schemas, types, keys, partitions, heirs, policies, large objects, names that need quotes.
    """
    url = new_database(KINDS + LARGE_OBJECTS)
    before = contents(url)

    report = saved.backup(url, tmp_path, plain=plain)
    restored = saved.restore(report.path, url)

    assert same(before, contents(url))
    assert restored.replaced
    assert not restored.warnings
    assert 1 == report.manifest.large_objects
    assert {'Ü b.Tab "le': 501, "public.child": 100, "public.heir": 1, "public.part_1": 10,
            "public.part_2": 10, "public.none": 1, "public.fleeting": 1} == {
        str(table): table.rows for table in report.manifest.tables
    }  # fmt: skip


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
@pytest.mark.parametrize("schema", ["public", '"Ver eine"'])
def test_pgvector_comes_back(new_database, saved, tmp_path, plain, schema):
    """
    Extensions are created by the superuser, in their schema; their comments are not set.
    """
    url = new_database()
    with psycopg.connect(superuser(saved.server, url)) as connection:
        connection.execute(
            f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION oxy;"
            f"CREATE EXTENSION vector SCHEMA {schema}"
        )
    with psycopg.connect(url) as connection:
        connection.execute(
            f"CREATE TABLE item (id int, at {schema}.vector(3));"
            f"INSERT INTO item SELECT g, format('[%s,1,2]', g)::{schema}.vector"
            " FROM generate_series(1, 50) g;"
            f"CREATE INDEX ON item USING hnsw (at {schema}.vector_l2_ops)"
        )
    before = contents(url)

    report = saved.backup(url, tmp_path, plain=plain)
    saved.restore(report.path, url)

    assert same(before, contents(url))
    assert [("vector", schema.strip('"'))] == [
        (one.name, one.schema) for one in report.manifest.extensions
    ]


def test_rows_that_their_owner_may_not_see(new_database, saved, tmp_path):
    """
    Row-level security that is forced on the owner hides nothing from a backup.
    """
    url = new_database(
        "CREATE TABLE secret AS SELECT g AS id FROM generate_series(1, 100) g;"
        "ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY few ON secret USING (id < 10)"
    )
    before = contents(superuser(saved.server, url))

    report = saved.backup(url, tmp_path)
    saved.restore(report.path, url)

    assert same(before, contents(superuser(saved.server, url)))
    assert 100 == report.manifest.rows
    assert 9 == len(contents(url)["public.secret"])


def test_names_with_spaces_and_beyond_ascii(new_database, saved, tmp_path):
    """
    In the database's name, in the directory's and in the file's.
    """
    name = "Größe 100% /ヘ 'x' \"y\""
    directory = tmp_path / "Bücher & und\tmehr ✓"
    directory.mkdir()
    url = new_database("CREATE TABLE t AS SELECT 1 AS one", name=name)
    before = contents(url)

    report = saved.backup(url, directory, keep=1)
    saved.restore(report.path, url)

    assert same(before, contents(url))
    assert name == report.manifest.database
    assert os.path.basename(report.path).startswith("Größe 100%25 %2Fヘ ")
    again = saved.backup(url, directory, keep=1)
    assert [report.path] == [*again.deleted]


def test_the_longest_name(new_database, saved, tmp_path):
    """
    Names of 63 bytes leave no room beside: what is made beside is called otherwise.
    """
    url = new_database("CREATE TABLE t AS SELECT 1 AS one", name="ä" * 31 + "x")
    report = saved.backup(url, tmp_path)

    kept = saved.restore(report.path, url, keep_old=True)
    saved.restore(report.path, url)

    assert kept.kept_as is not None
    assert kept.kept_as.startswith("ä" * 15 + "_") or "_before_" in kept.kept_as
    assert same(contents(url), contents(url.rpartition("/")[0] + "/" + kept.kept_as))


# --- servers of other versions ------------------------------------------------------


def test_postgresql_15_behind_tls(debian_15, tmp_path):
    """
    sslmode=verify-full and an ordinary role: only programs with SSL are used.
    """
    url = debian_15.new_database(rights="CREATEDB")
    with psycopg.connect(url) as connection:
        connection.execute(KINDS)
    before = contents(url)

    report = backup.backup(str(tmp_path), url)
    restored = restore.restore(report.path, url)

    assert same(before, contents(url))
    assert restored.replaced
    assert "15" == report.manifest.server_version.partition(".")[0]


@pytest.mark.parametrize(
    "options",
    [
        "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'",
        "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    ],
)
def test_encodings_and_locales(debian_15, new_database, saved, tmp_path, options):
    """
    The new database has the old one's; into one of another encoding the texts are converted.
    """
    url, ours = debian_15.new_database(rights="CREATEDB"), new_database()
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with debian_15.superuser() as connection:
        connection.execute(f"DROP DATABASE {name}")
        connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0 {options}")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'Größe' AS x")
    before = contents(url), locale_of(url)

    path = backup.backup(str(tmp_path), url, keep=1).path
    restore.restore(path, url)
    saved.restore(path, ours)

    assert before == (contents(url), locale_of(url))
    assert ["(Größe)"] == contents(ours)["public.t"]


def locale_of(url):
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT encoding, datlocprovider, datcollate, datctype, daticulocale FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()


def test_postgresql_18_in_plain_text(postgresql_18, with_18, tmp_path):
    """
    Two major versions ahead: the programs that the fork carries are found and used.
    """
    url = postgresql_18.new_database(rights="CREATEDB")
    with psycopg.connect(url) as connection:
        connection.execute(KINDS)
    before = contents(url)

    for plain in (False, True):
        report = backup.backup(str(tmp_path), url, plain=plain)
        restore.restore(report.path, url)

        assert same(before, contents(url))
        assert "18" == report.manifest.tool_version.partition(".")[0]


def test_from_15_to_16_to_18(debian_15, new_database, saved, postgresql_18, with_18, tmp_path):
    """
    Upwards it always goes: the programs of each backup's version read it.
    """
    old = debian_15.new_database()
    with psycopg.connect(old) as connection:
        connection.execute(KINDS)
    rows = {name: rows for name, rows in contents(old).items() if "." in name}

    ours = new_database()
    saved.restore(backup.backup(str(tmp_path), old).path, ours)
    assert same(rows, {name: contents(ours)[name] for name in rows})

    new = postgresql_18.new_database(rights="CREATEDB")
    restore.restore(saved.backup(ours, tmp_path).path, new)
    assert same(rows, {name: contents(new)[name] for name in rows})


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
def test_programs_that_are_newer_than_the_server(
    new_database, saved, tmp_path, with_18, monkeypatch, plain, in_place
):
    """
    What 18 writes sets what 16 does not know (transaction_timeout): it is restored all the same.
    """
    url, other = new_database(KINDS), new_database()
    programs = next(one for one in tools.installed() if one.major == 18)
    monkeypatch.setenv("OXY_PG_BIN_DIR", programs.bin_dir)

    report = saved.backup(url, tmp_path, plain=plain)
    saved.restore(report.path, other, in_place=in_place)

    assert ("18", "16") == (report.manifest.tool_version[:2], report.manifest.server_version[:2])
    assert same(contents(url), contents(other))


@pytest.mark.skipif(
    not any(one.provider == "pgserver" for one in tools.installed()),
    reason="pgserver, whose psql is the oldest, has no wheel for this Python and platform",
)
def test_a_script_without_commands(debian_15, new_database, saved, tmp_path, monkeypatch):
    r"""
    Newer minor versions write \restrict, which the psql of 16.2 takes for an error; backups do not.
    """
    old, ours = debian_15.new_database(), new_database()
    with psycopg.connect(old) as connection:
        connection.execute(KINDS)
    path = backup.backup(str(tmp_path), old, plain=True).path
    programs = next(one for one in tools.installed() if one.provider == "pgserver")
    monkeypatch.setenv("OXY_PG_BIN_DIR", programs.bin_dir)

    saved.restore(path, ours)

    with gzip.open(path) as script:
        assert b"\n\\restrict" not in script.read()
    assert "16.2" == programs.version
    assert contents(old)["public.child"] == contents(ours)["public.child"]
