"""Snapshots: a database goes back to what it was, and nothing else changes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.errors import ConfigurationError, TransferRefused
from oxy_pg.facts import SNAPSHOT
from oxy_pg.transfer import copying, git
from oxy_pg.transfer.snapshots import BEFORE_REWIND, name_in_cluster
from tests.conftest import wait_until
from tests.transfer.contents import RICH, everything

KILLS = int(os.environ.get("OXY_PG_KILLS", "2"))


@pytest.fixture
def database(embedded, new_database):
    """A database with one row; its snapshots are gone afterwards."""
    url = new_database("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
    name = url.rpartition("/")[2]
    yield name
    for one in embedded.snapshots(name):
        embedded.delete_snapshot(one.name, database=name)


def rows(server, name):
    with psycopg.connect(server.url(name)) as connection:
        return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY x")]


def write(server, name, statement):
    with psycopg.connect(server.url(name)) as connection:
        connection.execute(statement)


def holders(server):
    """The databases of snapshots, and what runs have left."""
    with psycopg.connect(server.superuser_url()) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [SNAPSHOT]
        )
        return {row[0] for row in found}


def test_rewind_puts_everything_back_as_often_as_wanted(embedded, database):
    """
    Rows, schema, sequences, owner and privileges; the snapshot stays, and is apart from databases.
    """
    write(embedded, database, RICH)
    before = everything(embedded.url(database))
    databases = embedded.databases()

    made = embedded.snapshot("clean", database=database)

    assert (made.name, made.database, 10_000_000 > made.size > 1_000_000) == (
        "clean",
        database,
        True,
    )
    assert databases == embedded.databases()
    assert all(not one.name.startswith(SNAPSHOT) for one in embedded.status().databases)
    for _ in range(2):
        write(embedded, database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        assert "clean" == embedded.rewind("clean", database=database).name
        assert before == everything(embedded.url(database))
        write(embedded, database, "CREATE TABLE more ()")
    assert databases == embedded.databases()


def test_rewind_can_be_undone(embedded, database):
    """
    What the database was is a snapshot too, unless it is not kept.
    """
    embedded.snapshot("one", database=database)
    write(embedded, database, "INSERT INTO t VALUES (2)")

    embedded.rewind("one", database=database)
    assert [1] == rows(embedded, database)
    embedded.rewind(BEFORE_REWIND, database=database)
    assert [1, 2] == rows(embedded, database)
    embedded.rewind(BEFORE_REWIND, database=database)
    assert [1] == rows(embedded, database)

    write(embedded, database, "INSERT INTO t VALUES (3)")
    embedded.rewind("one", database=database, keep=False)
    embedded.rewind(BEFORE_REWIND, database=database)
    assert [1, 2] == rows(embedded, database)
    assert {name_in_cluster(database, name) for name in ("one", BEFORE_REWIND)} == {
        name_in_cluster(database, one.name) for one in embedded.snapshots(database)
    }


def test_sessions_are_ended_or_named(embedded, database):
    """
    An idle session does not keep a snapshot from being made, one at work does, a rewind ends both.
    """
    idle = psycopg.connect(embedded.url(database), autocommit=True)
    embedded.snapshot("one", database=database)
    with pytest.raises(psycopg.OperationalError):
        idle.execute("SELECT 1")

    busy = psycopg.connect(embedded.url(database), application_name="worker 7")
    busy.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(TransferRefused, match="worker 7") as caught:
        embedded.snapshot("two", database=database)
    assert "--force" in str(caught.value)
    busy.execute("SELECT 1")
    embedded.snapshot("two", database=database, force=True)
    with pytest.raises(psycopg.OperationalError):
        busy.execute("SELECT 1")

    busy = psycopg.connect(embedded.url(database))
    busy.execute("INSERT INTO t VALUES (3)")
    embedded.rewind("two", database=database)
    assert [1] == rows(embedded, database)
    with pytest.raises(psycopg.OperationalError):
        busy.execute("SELECT 1")


def test_clients_that_come_back_at_once_get_the_new_database(embedded, database, start_python):
    """
    A pool that reconnects in a loop stops no rewind, and the database is never missing.

    PostgreSQL tells a client that connects while the name changes that the database "seems to have
    just been renamed"; the next attempt finds the new one.
    """
    client = start_python(
        "import psycopg\n"
        "print('ready')\n"
        "while True:\n"
        "    try:\n"
        "        with psycopg.connect(URL, autocommit=True) as c:\n"
        "            for _ in range(50): c.execute('SELECT x FROM t')\n"
        "    except psycopg.OperationalError as error:\n"
        "        text = str(error)\n"
        "        if 'does not exist' in text and 'just been' not in text: print(error); break\n"
        "    except psycopg.Error as error: print(error); break\n".replace(
            "URL", repr(embedded.url(database))
        )
    )
    assert "ready\n" == client.stdout.readline()

    for number in range(5):
        embedded.snapshot(f"s{number}", database=database, force=True)
        embedded.rewind(f"s{number}", database=database)

    assert client.poll() is None, client.stdout.read()


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_impossible_name_is_refused(embedded, database, name):
    """
    Before anything is copied.
    """
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        embedded.snapshot(name, database=database)


@pytest.mark.parametrize("name", ["before-rewind", "postgresql://u:pw@h/x", "u:pw@h"])
def test_a_name_that_a_rewind_gives_or_that_may_have_a_password_is_refused(
    embedded, database, name
):
    """
    The next rewind would replace the one; the other would stand in every list.
    """
    with pytest.raises(ConfigurationError) as caught:
        embedded.snapshot(name, database=database)
    assert "pw" not in str(caught.value)
    assert () == embedded.snapshots(database)


def test_wrong_names_are_refused_with_the_near_one(embedded, database):
    """
    A snapshot that exists, or does not; a database that does not.
    """
    embedded.snapshot("feature/x 'ü'", database=database)

    with pytest.raises(ConfigurationError, match="already"):
        embedded.snapshot("feature/x 'ü'", database=database)
    with pytest.raises(ConfigurationError, match="Did you mean"):
        embedded.rewind("feature/x 'u'", database=database)
    with pytest.raises(ConfigurationError, match="snapshots"):
        embedded.delete_snapshot("other", database=database)
    with pytest.raises(ConfigurationError, match=f"Did you mean '{database}'"):
        embedded.snapshot("x", database=database + "x")
    assert [1] == rows(embedded, database)


def test_default_name_is_the_branch_and_the_time(embedded, database, tmp_path, monkeypatch):
    """
    Also in a worktree; outside of a repository it is the database.
    """
    monkeypatch.chdir(tmp_path)
    assert embedded.snapshot(database=database).name.startswith(f"{database}-20")

    subprocess.run(["git", "init", "--quiet", "-b", "feature/x"], check=True)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert embedded.snapshot(database=database).name.startswith("feature/x-20")

    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *author, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    subprocess.run(["git", "worktree", "add", "--quiet", "-b", "other", "../tree"], check=True)
    assert "other" == git.branch(str(tmp_path / "tree"))
    subprocess.run(["git", "checkout", "--quiet", "--detach"], check=True)
    assert git.branch(".") is None


def test_settings_of_the_database_stay(embedded, database):
    """
    They belong to the database, and not to what is in it.
    """
    embedded.snapshot("one", database=database)
    with psycopg.connect(embedded.superuser_url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} SET work_mem = '7MB'")
        connection.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")

    embedded.rewind("one", database=database)

    with psycopg.connect(embedded.url(database)) as connection:
        assert ("7MB",) == connection.execute("SHOW work_mem").fetchone()
        found = connection.execute(
            "SELECT pg_get_userbyid(datdba), has_database_privilege('oxy_monitor', oid, 'CONNECT')"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert ("oxy", False) == found


def test_commands(embedded, database, cli, tmp_path):
    """
    What a person does: make, list, rewind, delete; and JSON for programs.
    """

    def run(*words):
        done = cli(*words, "-d", database, OXY_STATE_DIR=embedded.state_dir, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    assert (0, "one\n") == run("snapshot", "one")[:2]
    write(embedded, database, "DELETE FROM t")
    code, listed, _ = run("snapshots")
    assert (0, True, True) == (code, listed.startswith("one  "), listed.endswith(" ago\n"))
    code, said, _ = run("rewind", "one")
    assert (0, True) == (code, "before-rewind" in said)
    assert [1] == rows(embedded, database)
    found = json.loads(run("snapshots", "--json")[1])
    assert {"one", "before-rewind"} == {one["name"] for one in found}
    assert {"name", "database", "time", "age", "size"} == set(found[0])
    assert 0 == run("snapshot", "--delete", "one")[0]
    assert 1 == run("rewind", "one")[0]
    assert 2 == run("snapshot", "--delete")[0]
    assert ["before-rewind"] == [one.name for one in embedded.snapshots(database)]


LARGE = """
    CREATE TABLE large (x text);
    ALTER TABLE large ALTER x SET STORAGE EXTERNAL;
    INSERT INTO large SELECT repeat('x', 1000000) FROM generate_series(1, 60)
"""


@pytest.fixture
def at_once(monkeypatch):
    """Progress is told from the beginning on, as often as can be."""
    monkeypatch.setattr(copying, "AFTER", 0.0)
    monkeypatch.setattr(copying, "EVERY", 0.0)


def test_progress_is_that_of_the_copy(embedded, database, at_once):
    """
    Bytes of the database's size, never fewer than before; what a crash has left is not counted.
    """
    write(embedded, database, LARGE)
    left = Path(embedded.status().data_dir, "base", "999999999")
    left.mkdir()
    try:
        left.joinpath("1").write_bytes(bytes(200_000_000))
        for copy in (embedded.snapshot, embedded.rewind):
            seen = []
            copy("one", database=database, on_progress=seen.append)
            done = [progress.done for progress in seen]
            assert {("copy", True)} == {(one.phase, one.of > 60_000_000) for one in seen}
            assert sorted(done) == done
            assert 0 < max(done) <= seen[-1].of
    finally:
        shutil.rmtree(left)


def test_what_progress_raises_ends_the_snapshot(embedded, database, at_once):
    """
    It is not lost in a thread, and there is no snapshot then.
    """
    write(embedded, database, LARGE)

    def enough(progress):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        embedded.snapshot("one", database=database, on_progress=enough)
    assert () == embedded.snapshots(database)
    assert set() == holders(embedded)


PROGRAM = """
import sys, oxy_pg
from oxy_pg.transfer import snapshots, swap
server = oxy_pg.Server(sys.argv[1])
server.start()
print("ready", flush=True)
if sys.argv[3] == "snapshot":
    server.snapshot(sys.argv[4], database=sys.argv[2])
else:
    server.rewind(sys.argv[4], database=sys.argv[2])
"""


def started(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    return process


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("verb", ["snapshot", "rewind"])
def test_killed_at_any_moment_it_is_the_old_state_or_the_new(embedded, database, verb):
    """
    A snapshot is there or not, the database is the old one or the new; the next run sweeps.
    """
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    write(embedded, database, "INSERT INTO t SELECT 1 FROM generate_series(1, 200000)")
    embedded.snapshot("base", database=database)
    took = 0.0
    for number in range(KILLS + 1):
        write(embedded, database, "UPDATE t SET x = 2")
        name = f"s{number}" if verb == "snapshot" else "base"
        began = time.monotonic()
        process = started(embedded.state_dir, database, verb, name)
        if number:
            time.sleep(took * (number - chosen.random()) / KILLS * 1.1)
            process.kill()
        _, said = process.communicate(timeout=60)
        if not number:
            assert 0 == process.returncode, said
            took = time.monotonic() - began

        found = value(embedded, database)
        assert found in ({2} if verb == "snapshot" else {1, 2}), f"kill {number}, seed {seed}"
        known = {one.name for one in embedded.snapshots(database)}
        assert {"base"} <= known <= {"base", BEFORE_REWIND, *(f"s{n}" for n in range(number + 1))}
        if name in known and verb == "snapshot":
            embedded.rewind(name, database=database)
            assert 2 == value(embedded, database), f"kill {number}, seed {seed}"
    assert wait_until(lambda: not at_work(embedded))
    embedded.rewind("base", database=database)
    assert 1 == value(embedded, database)
    expected = {name_in_cluster(database, one.name) for one in embedded.snapshots(database)}
    assert expected == holders(embedded), f"seed {seed}"


def at_work(server):
    with psycopg.connect(server.superuser_url()) as connection:
        return connection.execute(
            "SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND state <> 'idle'"
        ).fetchall()


def value(server, name):
    """The value of all rows, of which none is missing."""
    with psycopg.connect(server.url(name)) as connection:
        found = connection.execute("SELECT count(*), min(x), max(x) FROM t").fetchone()
    assert found is not None
    assert (200001, found[1]) == (found[0], found[2])
    return found[1]


def test_temporary_server_has_snapshots_too():
    """
    And nothing of them is in the next server of the process.
    """
    with oxy_pg.temporary() as server:
        write(server, "oxy", "CREATE TABLE t (x int)")
        server.snapshot("one")
        write(server, "oxy", "INSERT INTO t VALUES (1)")
        server.rewind("one")
        assert [] == rows(server, "oxy")
    with oxy_pg.temporary() as server:
        assert () == server.snapshots()


@pytest.mark.parametrize(
    "forged",
    [{"name": "forged", "epoch": 1e300}, {"name": "forged"}, {"name": "f", "epoch": 1.0}, {}],
    ids=["a time that is none", "no time", "a snapshot of its own", "nothing"],
)
def test_a_snapshot_of_the_application_itself_is_none(embedded, database, forged):
    """
    The owner of a database writes its comment: it neither breaks the list nor gets into it.
    """
    embedded.snapshot("true", database=database)
    known = {"database": database, **forged}
    name = psycopg.sql.Identifier(name_in_cluster(database, forged.get("name", "")))
    comment = psycopg.sql.Literal(json.dumps({"oxy_pg_snapshot": known}))
    with psycopg.connect(embedded.url(), autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name))
        for words in ("ALTER DATABASE {} ALLOW_CONNECTIONS false", "COMMENT ON DATABASE {} IS {}"):
            connection.execute(psycopg.sql.SQL(words).format(name, comment))
        try:
            assert ["true"] == [one.name for one in embedded.snapshots(database)]
        finally:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {}").format(name))


@pytest.mark.parametrize("name", ["taken", BEFORE_REWIND])
def test_a_database_of_the_application_with_the_name_of_a_snapshot(embedded, database, name):
    """
    It is named, and never dropped, neither for a snapshot of that name nor by a rewind.
    """
    embedded.snapshot("true", database=database)
    taken = name_in_cluster(database, name)
    with psycopg.connect(embedded.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{taken}"')
    try:
        write(embedded, taken, "CREATE TABLE kept (x int)")
        verb, what = (embedded.snapshot, name) if name == "taken" else (embedded.rewind, "true")
        with pytest.raises(ConfigurationError, match=f"'{taken}' of the role 'oxy'"):
            verb(what, database=database)

        assert [1] == rows(embedded, database)
        assert ["true"] == [one.name for one in embedded.snapshots(database)]
        with psycopg.connect(embedded.url(taken)) as connection:
            assert [] == connection.execute("SELECT x FROM kept").fetchall()
        embedded.rewind("true", database=database, keep=False)
    finally:
        embedded.drop_database(taken)
