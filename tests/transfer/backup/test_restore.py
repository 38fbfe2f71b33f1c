"""A restore: checked before anything changes, and then the old database or the new one."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import random
import signal
import tarfile
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import contents as values
from oxy_pg.transfer import running, swap, tools
from oxy_pg.transfer.backup import backup, manifest, restore
from tests.chaos.test_disk_full import in_a_small_disk
from tests.conftest import wait_until
from tests.transfer.compare import contents
from tests.transfer.conftest import superuser

KILLS = int(os.environ.get("OXY_PG_KILLS", "3"))
SEED = int(os.environ.get("OXY_PG_SEED", str(random.randrange(10**6))))

OLD = "CREATE TABLE item AS SELECT 'old' AS x; CREATE TABLE more AS SELECT 1 AS one"
NEW = (
    "CREATE TABLE item AS SELECT g AS id, repeat(md5(g::text), 20) AS x"
    " FROM generate_series(1, {}) g; CREATE INDEX ON item (x); CREATE INDEX ON item (id)"
)


def name_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def all_databases(server) -> set[str]:
    with psycopg.connect(server.superuser_url()) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


@pytest.fixture
def old(new_database):
    """The database that is there, with other contents than the backup's."""
    return new_database(OLD)


@pytest.fixture
def made(new_database, saved, tmp_path):
    """A backup, of a database that is still there: its path, and what it holds."""
    url = new_database(NEW.format(2000))
    return Path(saved.backup(url, tmp_path / "made.dump").path), contents(url)


@pytest.fixture
def unchanged(old, embedded):
    """What a refused restore may not change: the old database, and the list of all."""

    @contextlib.contextmanager
    def look():
        before, names = contents(old), all_databases(embedded)
        yield
        assert before == contents(old)
        assert names == all_databases(embedded)

    return look


def test_the_superuser_comes_by_the_database_itself(made, old, saved, embedded):
    """
    Its session is not among those that are in the way of the new one's name.
    """
    path, new = made

    saved.restore(path, old, superuser_url=superuser(embedded, old))

    assert new == contents(old)


def test_the_log_warns_of_nothing(server, tmp_path):
    """
    Statistics are collected of what is restored, and of nothing else.
    """
    path = tmp_path / "one.dump"
    with psycopg.connect(server.ensure_database("mine")) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 1 AS one; CREATE MATERIALIZED VIEW m AS SELECT * FROM t;"
            'CREATE SCHEMA "S"; CREATE TABLE "S"."%s" (id int)'
        )
    server.backup(path, database="mine")

    server.restore(path, database="mine")

    log = "".join(one.read_text() for one in server.status().log_dir.iterdir())
    assert "WARNING" not in log
    with psycopg.connect(server.url("mine")) as connection:
        rows = connection.execute("SELECT relname FROM pg_stat_user_tables WHERE analyze_count > 0")
        assert {("t",), ("m",), ("%s",)} <= set(rows)


# --- refused before anything changes -------------------------------------------------------


def test_a_flipped_byte(made, old, saved, unchanged):
    """
    Wherever it is: in the dump, in the manifest, at the end.
    """
    path, _ = made
    whole = path.read_bytes()
    chosen = random.Random(SEED)
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    places = [0, 5, 11, 60, manifest.read(str(path)).size - 1]
    places += [-1 - number for number in range(0, 300, 13)]
    places += [chosen.randrange(len(whole)) for _ in range(30)]
    with unchanged():
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << chosen.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises((oxy_pg.BackupDamaged, oxy_pg.NotABackup)):
                saved.restore(path, old)


def test_a_truncated_one(made, old, saved, unchanged):
    """
    Half-copied, or short of a byte; and one with a byte more.
    """
    path, _ = made
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole[:-1],
        whole[:3],
        whole[:200],
        b"",
        whole + b"x",
    ):
        path.write_bytes(damaged)
        with unchanged(), pytest.raises((oxy_pg.BackupDamaged, oxy_pg.NotABackup)):
            saved.restore(path, old)


def test_the_end_of_another_backup(made, old, saved, new_database, tmp_path, unchanged):
    """
    A manifest that belongs to another dump is found out by size, or by SHA-256.
    """
    path, _ = made
    other = Path(saved.backup(new_database(NEW.format(2001)), tmp_path / "other.dump").path)
    found = manifest.read(str(path))
    dump = other.read_bytes()[: found.size]
    path.write_bytes(dump + path.read_bytes()[found.size :])

    with unchanged(), pytest.raises(oxy_pg.BackupDamaged, match="SHA-256"):
        saved.restore(path, old)


@pytest.mark.parametrize("kind", ["sqlite", "text", "tar", "pg_dump", "gzip", "directory", "none"])
def test_foreign_files(kind, old, saved, embedded, tmp_path, oxy_sqlite, unchanged):
    """
    What no `oxy-pg backup` has made is not restored; what to do with it is said.
    """
    path = tmp_path / "foreign"
    if kind == "sqlite":
        path = oxy_sqlite
    elif kind == "text":
        path.write_text("CREATE TABLE x ();" * 100)
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(__file__)
    elif kind == "pg_dump":
        arguments = [f"--file={path}", "--format=custom"]
        running.run(tools.find(16), "pg_dump", arguments, url=superuser(embedded, old))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(b"SELECT 1;\n" * 100))
    elif kind == "directory":
        path.mkdir()

    expected = (oxy_pg.NotABackup, oxy_pg.BackupDamaged, oxy_pg.ConfigurationError)
    with unchanged(), pytest.raises(expected) as caught:
        saved.restore(path, old)
    said = str(caught.value)
    assert str(path) in said
    assert "pg_restore" in said or kind in {"directory", "none"}


def test_a_newer_servers_backup(postgresql_18, with_18, old, saved, tmp_path, unchanged):
    """
    A dump of 18 is not tried on 16.
    """
    path = backup.backup(str(tmp_path), postgresql_18.new_database()).path

    with unchanged(), pytest.raises(oxy_pg.BackupTooNew, match=r"PostgreSQL 18\.\d.* 16\.\d"):
        saved.restore(path, old)


def test_an_archive_that_pg_restore_cannot_read(made, old, saved, unchanged):
    """
    SHA-256 is right, and yet it is none: `pg_restore --list` is asked before anything changes.
    """
    path, _ = made
    dump = b"PGDMP" + bytes(1000)
    rewritten(path, dump=dump)

    with unchanged(), pytest.raises(oxy_pg.BackupDamaged, match="pg_restore cannot read it"):
        saved.restore(path, old)


def rewritten(path, dump=None, **changes):
    """Give a backup another dump, or another manifest, that fit together."""
    found = manifest.read(str(path))
    dump = path.read_bytes()[: found.size] if dump is None else dump
    digest = hashlib.sha256(dump).hexdigest()
    found = dataclasses.replace(found, size=len(dump), sha256=digest, **changes)
    path.write_bytes(dump + manifest.trailer(found))


def test_an_extension_that_the_server_lacks(made, old, saved, unchanged):
    """
    It is named before anything changes.
    """
    path, _ = made
    rewritten(path, extensions=(values.Extension("postgis", "3.4.0", "public"),))

    with unchanged(), pytest.raises(oxy_pg.TransferRefused, match=r"postgis 3\.4\.0"):
        saved.restore(path, old)


def test_declined(made, old, saved, unchanged):
    """
    Who is asked, and says no, keeps what is there.
    """
    asked = []

    with unchanged(), pytest.raises(oxy_pg.TransferError, match="not confirmed"):
        saved.restore(made[0], old, confirm=asked.append)
    assert name_of(old) in asked[0]
    assert "dropped" in asked[0]


# --- fails on the way ----------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_other_counts_than_the_manifests(
    new_database, saved, embedded, tmp_path, unchanged, old, plain, in_place
):
    """
    What arrives is counted before it takes the old one's place, or is committed.
    """
    source, empty = new_database(NEW.format(10)), new_database()
    path = Path(saved.backup(source, tmp_path, plain=plain).path)
    rewritten(path, tables=(values.TableRows("public", "item", 11),))

    with unchanged(), pytest.raises(oxy_pg.CountsDiffer, match=r"public\.item: 10 "):
        saved.restore(path, empty if in_place else old, in_place=in_place)
    assert [] == contents(empty)["columns"]


def test_a_statement_that_fails(made, old, saved, unchanged, tmp_path, new_database):
    """
    PostgreSQL's words, and the old database as it was.
    """
    source = new_database(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM pg_class';"
        "CREATE TABLE t (id int CHECK (f() > 0)); INSERT INTO t VALUES (1);"
        # Checked when the rows have arrived, and by then not true.
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT -1'"
    )
    path = saved.backup(source, tmp_path).path

    with unchanged(), pytest.raises(oxy_pg.TransferRefused, match="violated by some row"):
        saved.restore(path, old)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill")
def test_a_full_disk(new_database, saved, tmp_path, state_dir):
    """
    The server has no room for the new database: the old one is as it was, and so is the disk.
    """
    path = saved.backup(new_database(NEW.format(120_000)), tmp_path).path
    code = (
        "server = oxy_pg.Server(keep_alive=30)\n"
        "with psycopg.connect(server.ensure_database()) as connection:\n"
        "    connection.execute('CREATE TABLE kept AS SELECT 42 AS id')\n"
        "try: oxy_pg.restore("
        f"{path!r}, database='oxy')\n"
        "except oxy_pg.TransferError as error:\n"
        "    assert 'No space left' in str(error) or 'closed' in str(error), error\n"
        "    print(type(error).__name__)\n"
        "with psycopg.connect(oxy_pg.ensure(timeout=60)) as connection:\n"
        "    print(connection.execute('SELECT id FROM kept').fetchone()[0])\n"
        "subprocess.run(['mount', '-o', 'remount,size=600m', disk], check=True)\n"
        f"print(oxy_pg.restore({path!r}, database='oxy').manifest.rows)\n"
        "print([name for name in server.databases() if '_oxy_' in name])\n"
    )

    said = in_a_small_disk(code, state_dir.parent / "disk", size="110m")

    assert ["TransferRefused", "42", "120000", "[]"] == said.splitlines()


@pytest.mark.parametrize("phase", ["load", "verify", "swap"])
def test_the_server_is_killed(made, server, phase):
    """
    kill -9 of PostgreSQL itself: a typed error, and after its recovery the old database.

    With its processes: one that outlives the postmaster may still commit what it is at.
    """
    path, new = made
    url = server.ensure_database("mine")
    with psycopg.connect(url) as connection:
        connection.execute(OLD)
    before = contents(url)

    postmaster = psutil.Process(server.status().pid)

    def kill(step):
        if step.phase == phase and postmaster.is_running():
            for process in [postmaster, *postmaster.children()]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    with pytest.raises(oxy_pg.TransferRefused):
        restore.restore(str(path), url, superuser_url=server.superuser_url(), on_progress=kill)

    assert wait_until(lambda: answers(server.ensure_database("mine")), 30)
    assert before == contents(server.url("mine"))
    report = restore.restore(str(path), server.url("mine"), superuser_url=server.superuser_url())
    assert new == contents(server.url("mine"))
    assert len(report.removed) == 1


@pytest.mark.parametrize("phase", ["load", "verify", "swap"])
def test_interrupted(made, old, saved, unchanged, phase):
    """
    Ctrl-C at any step: the new database goes, the old one stays.
    """

    def interrupt(step):
        if step.phase == phase:
            raise KeyboardInterrupt

    with unchanged(), pytest.raises(KeyboardInterrupt):
        saved.restore(made[0], old, on_progress=interrupt)


def test_ctrl_c_in_a_terminal(new_database, saved, old, unchanged, tmp_path, cli_process, embedded):
    """
    Exit code 130, one line, nothing left.
    """
    path = saved.backup(new_database(NEW.format(30_000)), tmp_path).path
    with unchanged():
        process = cli_process("restore", path, "--to", old, "--yes")
        assert wait_until(lambda: any("_oxy_restore_" in name for name in all_databases(embedded)))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
        assert 130 == process.returncode
        assert "Interrupted." == said.splitlines()[-1]
        assert "Traceback" not in said


# --- whose database ------------------------------------------------------------------------


def test_sessions_are_ended_however_many_come_back(made, old, saved):
    """
    An application that connects again and again does not keep the old database alive.
    """
    over, errors = threading.Event(), set()

    def insist() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(old, autocommit=True) as connection:
                    while not over.is_set():
                        connection.execute("SELECT 1")
            except psycopg.Error as error:
                errors.add(type(error).__name__)

    applications = [threading.Thread(target=insist) for _ in range(4)]
    for application in applications:
        application.start()
    try:
        saved.restore(made[0], old)
        time.sleep(0.2)
    finally:
        over.set()
        for application in applications:
            application.join()

    assert made[1] == contents(old)
    assert errors


def test_keep_old(made, old, saved, embedded):
    """
    The old database is there under another name, with all that it holds.
    """
    before = contents(old)

    report = saved.restore(made[0], old, keep_old=True)
    again = saved.restore(made[0], old)

    assert report.kept_as in embedded.databases()
    assert before == contents(embedded.url(report.kept_as))
    assert () == again.removed
    assert made[1] == contents(old)


@pytest.mark.parametrize("superuser", [True, False], ids=["superuser", "ordinary role"])
def test_what_is_the_databases_own_stays(made, old, saved, embedded, superuser):
    """
    Its settings, privileges, limit and comment, which no dump has; what cannot be set is named.
    """
    name = name_of(old)
    with psycopg.connect(embedded.superuser_url(), autocommit=True) as connection:
        for statement in (
            'SET search_path TO "$user", public, "My Schema"',
            "SET work_mem TO '7MB'",
            "SET my.setting TO 'it''s'",
            "CONNECTION LIMIT 17",
        ):
            connection.execute(f'ALTER DATABASE "{name}" {statement}')
        connection.execute(f'ALTER ROLE oxy IN DATABASE "{name}" SET jit TO off')
        connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO pg_monitor')
        connection.execute(f"COMMENT ON DATABASE \"{name}\" IS 'it''s mine'")
    before = own(embedded, name)

    options = {} if superuser else {"superuser_url": None}
    report = saved.restore(made[0], old, **options)

    after = own(embedded, name)
    assert before[:3] == after[:3]
    left = set() if superuser else {"my.setting=it's"}
    assert set(before[3]) - set(after[3]) == left
    assert len(left) == len(report.warnings) == str(report.warnings).count("my.setting")


def answers(url) -> bool:
    """Whether the server is back; its supervisor may not know yet that it has gone."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def own(server, name):
    """What belongs to a database and not to what is in it."""
    with psycopg.connect(server.superuser_url()) as connection:
        return connection.execute(
            "SELECT datacl::text[], datconnlimit, shobj_description(d.oid, 'pg_database'),"
            " array(SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setdatabase = d.oid)"
            " FROM pg_database d WHERE datname = %s",
            [name],
        ).fetchone()


def test_two_at_once(made, old, saved, embedded):
    """
    One does it; the other one is told, or does it afterwards.
    """
    outcomes = []

    def run() -> None:
        try:
            outcomes.append(saved.restore(made[0], old).replaced)
        except oxy_pg.TransferError as error:
            outcomes.append("under way" in str(error))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [True] * 3 == outcomes
    assert made[1] == contents(old)
    assert not [name for name in all_databases(embedded) if "_oxy_" in name]


def test_a_database_that_is_not_there_yet(made, embedded, saved):
    """
    It is made.
    """
    url = embedded.url("not there yet")
    try:
        report = saved.restore(made[0], url)
        assert not report.replaced
        assert made[1] == contents(url)
    finally:
        embedded.drop_database("not there yet")


# --- rights ---------------------------------------------------------------------------------


@pytest.fixture
def theirs(debian_15, tmp_path):
    """A backup of a server that is not managed by oxy_pg."""
    url = debian_15.new_database()
    with psycopg.connect(url) as connection:
        connection.execute(NEW.format(100))
    return backup.backup(str(tmp_path), url).path, contents(url)


@pytest.mark.parametrize(
    ("rights", "owner", "wanted"),
    [("", True, "CREATEDB"), ("CREATEDB", False, "OWNER TO"), ("", False, "CREATEDB; ALTER DATA")],
)
def test_rights_that_are_missing(debian_15, theirs, rights, owner, wanted):
    """
    What an administrator has to write is said, and that --in-place does without.
    """
    url = debian_15.new_database(rights=rights, owner=owner)

    with pytest.raises(oxy_pg.TransferRefused, match=wanted) as caught:
        restore.restore(theirs[0], url)
    assert "--in-place" in str(caught.value)


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_in_place(debian_15, theirs, tmp_path, plain):
    """
    Into an empty database, for a role that may make none; a full one is refused.
    """
    url = debian_15.new_database()
    path = theirs[0]
    if plain:
        source = debian_15.new_database()
        restore.restore(path, source, in_place=True)
        path = backup.backup(str(tmp_path), source, plain=True).path

    report = restore.restore(path, url, in_place=True)

    assert theirs[1] == contents(url)
    assert (False, True) == (report.replaced, report.in_place)
    with pytest.raises(oxy_pg.TransferRefused, match=r"not empty: public\.item"):
        restore.restore(path, url, in_place=True)


def test_in_place_and_clean(debian_15, theirs):
    """
    What is in the backup replaces what is there, and the rest stays.
    """
    url = debian_15.new_database()
    with psycopg.connect(url) as connection:
        connection.execute(OLD)

    restore.restore(theirs[0], url, in_place=True, clean=True)

    found = contents(url)
    assert theirs[1]["public.item"] == found["public.item"]
    assert ["(1)"] == found["public.more"]


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_in_place_that_fails(debian_15, theirs, tmp_path, plain):
    """
    One transaction: nothing of it remains.
    """
    url, source = debian_15.new_database(), debian_15.new_database()
    for one, function in ((source, "SELECT 1"), (url, "SELECT 2")):
        with psycopg.connect(one) as connection:
            connection.execute(f"CREATE FUNCTION zz() RETURNS int LANGUAGE sql AS '{function}'")
    with psycopg.connect(source) as connection:
        connection.execute("CREATE TABLE aa AS SELECT 1 AS id")
    path = backup.backup(str(tmp_path), source, plain=plain).path

    with pytest.raises(oxy_pg.TransferRefused, match='function "zz" already exists'):
        restore.restore(path, url, in_place=True)
    assert "public.aa" not in contents(url)


def test_options_that_do_not_go_together(made, old, saved, unchanged):
    """
    Said before anything is done.
    """
    for options in ({"clean": True}, {"in_place": True, "keep_old": True}, {"jobs": 0}):
        with unchanged(), pytest.raises(oxy_pg.ConfigurationError):
            saved.restore(made[0], old, **options)


# --- killed ---------------------------------------------------------------------------------

PROGRAM = """
restore.restore(
    {path!r}, {url!r}, superuser_url={superuser!r}, in_place={in_place}, clean={in_place}
)
"""


@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
def test_kill_9_leaves_the_old_or_the_new(
    new_database, saved, embedded, in_a_process, tmp_path, in_place
):
    """
    At random moments: one of the two, whole; and the next run removes what was left.
    """
    print(f"seed {SEED}, kills {KILLS}")  # noqa: T201 - shown when it fails
    chosen = random.Random(SEED)
    source, old = new_database(NEW.format(5000)), new_database()
    emptied(old, OLD)
    path = saved.backup(source, tmp_path).path
    # In place, what the backup has not stays.
    new, before = contents(source), contents(old)
    if in_place:
        restored = new_database(OLD)
        saved.restore(path, restored, in_place=True, clean=True)
        new = contents(restored)
    code = PROGRAM.format(path=path, url=old, superuser=embedded.superuser_url(), in_place=in_place)
    began = time.monotonic()
    process = in_a_process(code)
    assert 0 == process.wait(60), process.stderr.read()
    took = time.monotonic() - began
    assert new == contents(old)

    outcomes = []
    for number in range(KILLS):
        emptied(old, OLD)
        process = in_a_process(code)
        # Spread over the whole run, the swap included; the first one comes at once.
        time.sleep(took * (number + chosen.random()) / KILLS if number else 0)
        process.kill()
        process.wait(20)
        assert wait_until(lambda: not busy(embedded, old), 30)

        found = contents(old)
        outcomes.append("old" if found == before else "new" if found == new else "neither")

    assert "neither" not in outcomes, (SEED, outcomes)
    assert "old" in outcomes, (SEED, outcomes)  # else every kill came too late
    report = saved.restore(path, old, in_place=in_place, clean=in_place)
    assert new == contents(old)
    assert not [name for name in all_databases(embedded) if "_oxy_" in name], report.removed


def emptied(url, script) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
            "COMMENT ON SCHEMA public IS 'standard public schema';" + script
        )


def busy(server, url) -> bool:
    """Whether programs of a killed run are still at work."""
    with psycopg.connect(server.superuser_url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND application_name LIKE 'oxy_pg%%' AND pid <> pg_backend_pid()"
        )
        return row.fetchone()[0] > 0


@pytest.mark.parametrize("moment", ["created", "swapped"])
def test_killed_at_the_worst_moments(made, old, saved, embedded, in_a_process, moment, tmp_path):
    """
    Just after the new database is made, and just after the swap, before the old one is dropped.
    """
    function = {"created": "create", "swapped": "swap"}[moment]
    code = (
        "import os, signal\nfrom oxy_pg.transfer import swap\n"
        f"real = swap.{function}\n"
        "def killed(*given, **options):\n"
        "    real(*given, **options); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"swap.{function} = killed\n"
    ) + PROGRAM.format(
        path=str(made[0]), url=old, superuser=embedded.superuser_url(), in_place=False
    )
    before = contents(old)

    assert -9 == in_a_process(code).wait(60)

    assert (made[1] if moment == "swapped" else before) == contents(old)
    (left,) = [name for name in all_databases(embedded) if "_oxy_" in name]
    report = saved.restore(made[0], old)
    assert (left,) == report.removed
    assert not [name for name in all_databases(embedded) if "_oxy_" in name]


def test_only_leftovers_of_this_database_are_removed(made, old, saved, new_database, embedded):
    """
    Another database's are not touched: its restore may be under way.
    """
    other = swap._named("another", "restore", "0" * 8)
    lookalike = "another_oxy_restore_of_mine"
    for name in (other, lookalike):
        new_database(name=name)

    saved.restore(made[0], old)

    assert {other, lookalike} < all_databases(embedded)
