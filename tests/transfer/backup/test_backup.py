"""A backup: one file that is whole or not there, of one moment, and what is kept of them."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools
from oxy_pg.transfer.backup import backup, manifest
from tests.chaos.test_disk_full import in_a_small_disk
from tests.conftest import wait_until
from tests.transfer.compare import contents
from tests.transfer.conftest import superuser

ROWS = (
    "CREATE TABLE item AS SELECT g AS id, repeat(md5(g::text), 20) AS x"
    " FROM generate_series(1, {}) g"
)


def listed(directory) -> list[str]:
    return sorted(os.listdir(directory))


# --- the file ----------------------------------------------------------------------------


@pytest.mark.parametrize(("plain", "ending"), [(False, ".dump"), (True, ".sql.gz")])
def test_a_directory_gives_it_a_name(new_database, saved, tmp_path, plain, ending):
    """
    Database and moment, to the second and in UTC; only its owner may read it.
    """
    report = saved.backup(new_database(ROWS.format(10), name="shop"), tmp_path, plain=plain)

    stamp = report.manifest.time[:19].replace("-", "").replace(":", "")
    assert [f"shop-{stamp}Z{ending}"] == listed(tmp_path)
    assert str(tmp_path / listed(tmp_path)[0]) == report.path
    assert 0o600 == stat.S_IMODE(os.stat(report.path).st_mode)


def test_what_the_manifest_says(new_database, saved, tmp_path):
    """
    Versions, size, rows, extensions and SHA-256; read back from the file alone.
    """
    url = new_database(ROWS.format(123), extensions=("vector",))
    report = saved.backup(url, tmp_path / "a.dump")

    found = oxy_pg.check_backup(tmp_path / "a.dump")

    assert found == report.manifest
    assert (1, "custom", oxy_pg.__version__) == (found.format, found.kind, found.oxy_pg_version)
    assert [("public.item", 123)] == [(str(table), table.rows) for table in found.tables]
    assert ["vector"] == [one.name for one in found.extensions]
    assert found.server_version == tools.find(16).version == found.tool_version
    assert found.size < os.path.getsize(report.path) < found.size + 2000
    assert json.loads(report.to_json())["manifest"]["sha256"] == found.sha256


@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_an_extension_that_cannot_be_restored(new_database, saved, tmp_path, plain):
    """
    One in pg_catalog is named, with the statement that moves it; then it can be restored.
    """
    url, target = new_database(), new_database()
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    superuser_url = saved.server.superuser_url(name)
    with psycopg.connect(superuser_url) as connection:
        connection.execute("CREATE EXTENSION vector")  # as in oxy-pg psql --superuser
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t (v vector(3)); INSERT INTO t VALUES ('[1,2,3]')")
        connection.execute("CREATE INDEX ON t USING hnsw (v vector_l2_ops)")

    first = saved.backup(url, tmp_path / "first", plain=plain)
    (warning,) = first.warnings
    assert warning.startswith("the extension 'vector' is in the schema 'pg_catalog'")
    statement = warning[warning.index("ALTER EXTENSION") :]
    with pytest.raises(oxy_pg.TransferError, match=re.escape(statement)):
        saved.restore(first.path, target)

    with psycopg.connect(superuser_url) as connection:
        connection.execute(statement.encode())
    second = saved.backup(url, tmp_path / "second", plain=plain)
    assert () == second.warnings
    saved.restore(second.path, target)
    with psycopg.connect(target) as connection:
        nearest = connection.execute("SELECT v::text FROM t ORDER BY v <-> '[1,1,1]'")
        assert [("[1,2,3]",)] == nearest.fetchall()


def test_extensions_that_are_where_they_belong(new_database, saved, tmp_path):
    """
    Of public, and of a schema of one's own, nothing is said; nor of plpgsql, which is PostgreSQL's.
    """
    for schema in ("public", "own"):
        url = new_database("CREATE SCHEMA own; CREATE TABLE own.t ()")
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(saved.server.superuser_url(name)) as connection:
            connection.execute(f"CREATE EXTENSION vector SCHEMA {schema}")
        assert () == saved.backup(url, tmp_path / schema).warnings


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (
            "extrelocatable = false",
            "DROP EXTENSION vector; CREATE EXTENSION vector SCHEMA public",
        ),
        ("extname = 'A-b'", 'ALTER EXTENSION "A-b" SET SCHEMA public'),
    ],
)
def test_the_remedy_is_one_that_works(new_database, saved, tmp_path, change, remedy):
    """
    PostgreSQL moves not every extension, and names of some have to be quoted.
    """
    url = new_database("CREATE TABLE t ()")
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(saved.server.superuser_url(name)) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"UPDATE pg_extension SET {change} WHERE extname = 'vector'".encode())

    (warning,) = saved.backup(url, tmp_path / "a.dump").warnings

    assert warning.endswith(f": {remedy}")
    with psycopg.connect(saved.server.superuser_url(name)) as connection:
        connection.execute(remedy.encode())
        found = connection.execute(
            "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname <> 'plpgsql'"
        )
        assert ["public"] == [schema for (schema,) in found]


def test_an_existing_file_is_not_overwritten(new_database, saved, tmp_path):
    """
    It is refused before anything is done, and replaced in one go with ``force``.
    """
    url = new_database(ROWS.format(10))
    path = tmp_path / "a.dump"
    path.write_text("precious")

    with pytest.raises(oxy_pg.BackupExists, match="was not touched"):
        saved.backup(url, path)
    assert "precious" == path.read_text()

    saved.backup(url, path, force=True)
    assert oxy_pg.check_backup(path).rows == 10
    assert ["a.dump"] == listed(tmp_path)


def test_a_file_that_appears_meanwhile_is_not_overwritten(new_database, saved, tmp_path):
    """
    Two that write to one name: one wins, and the other one says so.
    """
    url = new_database(ROWS.format(10))
    path = tmp_path / "a.dump"

    def appear(progress):
        if progress.phase == "checksum":
            path.write_text("precious")

    with pytest.raises(oxy_pg.BackupExists):
        saved.backup(url, path, on_progress=appear)
    assert "precious" == path.read_text()
    assert ["a.dump"] == listed(tmp_path)


@pytest.mark.parametrize("place", ["none/", "none/a.dump", "file/a.dump"])
def test_places_that_do_not_exist(new_database, saved, tmp_path, place):
    """
    A directory that is missing is not made, and neither is a file in its place.
    """
    (tmp_path / "file").touch()

    with pytest.raises(oxy_pg.ConfigurationError, match="irectory"):
        saved.backup(new_database(), f"{tmp_path}/{place}")
    assert ["file"] == listed(tmp_path)


def test_nothing_to_back_up(state_dir, tmp_path, monkeypatch):
    """
    Where no server ever was, none is made in order to be backed up.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))

    with pytest.raises(oxy_pg.ConfigurationError, match="no server has been started there"):
        oxy_pg.backup(tmp_path)
    assert not state_dir.exists()


def test_a_database_that_is_not_there(saved, embedded, tmp_path):
    """
    The server's own words, and no file.
    """
    with pytest.raises(oxy_pg.TransferRefused, match='"no such" does not exist'):
        saved.backup(embedded.url("no such"), tmp_path)
    assert [] == listed(tmp_path)


# --- elsewhere ---------------------------------------------------------------------------


def test_pg_restore_alone_reads_it(new_database, saved, tmp_path, with_18):
    """
    The manifest at its end is ignored: by 16 and 18, from a file and a pipe, with jobs.
    """
    url = new_database(ROWS.format(1000))
    path = saved.backup(url, tmp_path / "a.dump").path
    before = contents(url)

    for programs in (one for one in tools.installed() if one.major >= 16):
        options = ["--no-owner", "--dbname"]
        by_file, by_pipe = new_database(), new_database()
        program = programs.program("pg_restore")
        subprocess.run(
            [program, "--jobs=2", *options, by_file, path],
            check=programs.major == 16,  # 18 complains of a setting that 16 does not know
            capture_output=True,
        )
        with open(path, "rb") as file:
            subprocess.run(
                [program, *options, by_pipe],
                stdin=file,
                check=programs.major == 16,
                capture_output=True,
            )
        assert before == contents(by_file) == contents(by_pipe)


def test_zcat_and_psql_read_it(new_database, saved, tmp_path):
    """
    The manifest is a comment of the script.
    """
    url, other = new_database(ROWS.format(1000)), new_database()
    path = saved.backup(url, tmp_path, plain=True).path

    words = f"zcat '{path}' | '{tools.find(16).program('psql')}' -X -v ON_ERROR_STOP=1 -d '{other}'"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", words], capture_output=True, text=True, check=True
    )

    assert "" == done.stderr
    assert contents(url) == contents(other)
    with gzip.open(path) as script:
        assert script.read().splitlines()[-1].startswith(b"-- oxy_pg backup manifest: {")


# --- one moment --------------------------------------------------------------------------


def test_counts_are_of_the_dumps_moment(new_database, saved, tmp_path):
    """
    While others write, the manifest's counts are those of the dump, for all tables at once.
    """
    url, other = new_database(ROWS.format(3000) + "; CREATE TABLE twin (LIKE item)"), new_database()
    over = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(10**6):
                connection.execute(
                    "WITH moved AS (DELETE FROM item WHERE id = %s RETURNING *)"
                    " INSERT INTO twin SELECT * FROM moved", [number],
                )  # fmt: skip
                if over.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reports = [saved.backup(url, tmp_path) for _ in range(3)]
    finally:
        over.set()
        writer.join()

    for report in reports:
        rows = {table.name: table.rows for table in report.manifest.tables}
        assert 3000 == rows["item"] + rows["twin"]
        saved.restore(report.path, other)
    assert len({str(report.manifest.tables) for report in reports}) > 1


def test_many_at_once_in_one_directory(new_database, saved, tmp_path):
    """
    In the same second and the same directory, each gets a name and is whole.
    """
    url = new_database(ROWS.format(1000), name="shop")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(saved.backup(url, tmp_path, keep=6)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 6 == len({report.path for report in found}) == len(listed(tmp_path))
    assert {1000} == {oxy_pg.check_backup(report.path).rows for report in found}


# --- keep --------------------------------------------------------------------------------


def test_keep_deletes_the_oldest(new_database, saved, tmp_path):
    """
    So many are kept, of either format; and what else lies there stays.
    """
    url, other = new_database(name="shop"), new_database(name="shop-2")
    precious = ["notes.txt", "shop-20200101T000000Z.dump", "before.dump", "shop-old.dump"]
    for name in precious[:2]:
        (tmp_path / name).write_text("precious")
    saved.backup(url, tmp_path / "before.dump")
    shutil.copy(tmp_path / "before.dump", tmp_path / "shop-old.dump")
    theirs = saved.backup(other, tmp_path).path
    made = [saved.backup(url, tmp_path, plain=number == 1).path for number in range(4)]

    report = saved.backup(url, tmp_path, keep=2)

    assert made[:3] == list(report.deleted)
    assert sorted([*precious, *map(os.path.basename, (theirs, made[3], report.path))]) == listed(
        tmp_path
    )


def test_keep_leaves_another_clusters_backups(new_database, saved, tmp_path, state_dir):
    """
    A database of the same name on another server is another database.
    """
    path = saved.backup(new_database(name="shop"), tmp_path).path
    with oxy_pg.Server(state_dir, keep_alive=1) as server:
        server.ensure_database("shop")
        backup.backup(str(tmp_path), server.superuser_url("shop"), keep=1)
        last = backup.backup(str(tmp_path), server.superuser_url("shop"), keep=1)

    assert 1 == len(last.deleted)
    assert sorted(map(os.path.basename, (path, last.path))) == listed(tmp_path)


def test_keep_does_not_count_what_is_damaged(new_database, saved, tmp_path):
    """
    A backup that was truncated is not deleted, nor taken for one of those to keep.
    """
    url = new_database(ROWS.format(10), name="shop")
    first = saved.backup(url, tmp_path).path
    second = saved.backup(url, tmp_path).path
    Path(second).write_bytes(Path(second).read_bytes()[:-1])

    saved.backup(url, tmp_path, keep=2)

    assert {first, second} < {str(path) for path in tmp_path.iterdir()}


def test_keep_on_a_server_that_does_not_tell_which_it_is(debian_15, tmp_path):
    """
    It is refused before anything is written: another server's backups might be deleted.
    """
    url = debian_15.new_database()
    with debian_15.superuser(psycopg.conninfo.conninfo_to_dict(url)["dbname"]) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")

    with pytest.raises(oxy_pg.TransferRefused, match="pg_control_system"):
        backup.backup(str(tmp_path), url, keep=1)
    assert [] == listed(tmp_path)
    backup.backup(str(tmp_path), url)


@pytest.mark.parametrize(("keep", "place"), [(0, ""), (-1, ""), (3, "a.dump")])
def test_keep_that_cannot_be(new_database, saved, tmp_path, keep, place):
    """
    It needs a directory, and a number of backups.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match="keep is"):
        saved.backup(new_database(), tmp_path / place, keep=keep)
    assert [] == listed(tmp_path)


# --- what goes wrong ----------------------------------------------------------------------


def locked(url):
    """Keep pg_dump waiting, so that a test can do to it what it wants."""
    connection = psycopg.connect(url)
    connection.execute("LOCK TABLE wait IN ACCESS EXCLUSIVE MODE")
    return contextlib.closing(connection)


WAIT = "CREATE TABLE wait (id int)"
STUCK = """
from oxy_pg.transfer import database
database.count = lambda *_: ()  # it would wait before pg_dump does
backup.backup(sys.argv[1] if len(sys.argv) > 1 else {path!r}, {url!r})
"""


def children(process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


@pytest.fixture
def stuck(new_database, embedded, in_a_process, tmp_path):
    """A backup that waits in pg_dump: its process, and pg_dump's."""
    url = new_database(WAIT)
    with locked(url):
        process = in_a_process(STUCK.format(path=str(tmp_path), url=superuser(embedded, url)))
        assert wait_until(lambda: dumping(embedded) == 1)
        assert 1 == len(listed(tmp_path))
        (child,) = children(process)
        yield process, child
    assert wait_until(lambda: dumping(embedded) == 0)


def dumping(server) -> int:
    with psycopg.connect(server.superuser_url()) as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name LIKE 'oxy_pg backup%' AND wait_event_type = 'Lock'"
        ).fetchone()[0]


def test_ctrl_c_leaves_nothing(stuck, tmp_path, embedded):
    """
    pg_dump goes with it, its query at the server too, and the half file.
    """
    process, child = stuck

    process.send_signal(signal.SIGINT)
    process.wait(20)

    assert "KeyboardInterrupt" in process.stderr.read()
    assert not child.is_running()
    assert [] == listed(tmp_path)
    assert wait_until(lambda: dumping(embedded) == 0)


def test_kill_9_leaves_a_half_file_that_the_next_one_removes(
    stuck, tmp_path, embedded, new_database, saved
):
    """
    The half one never has a backup's name; one that is still written to is left alone.
    """
    process, child = stuck
    url = new_database(ROWS.format(10), name="shop")
    saved.backup(url, tmp_path)
    assert [True, False] == [name.endswith(".oxy-part") for name in listed(tmp_path)]

    process.kill()
    process.wait(20)
    assert wait_until(lambda: not child.is_running())
    saved.backup(url, tmp_path)

    assert [".dump", ".dump"] == [os.path.splitext(name)[1] for name in listed(tmp_path)]


def test_sigterm_cleans_up_on_the_command_line(new_database, embedded, tmp_path):
    """
    A service manager's way to end it leaves no half file either.
    """
    url = new_database(WAIT)
    with locked(url):
        process = subprocess.Popen(
            [sys.executable, "-m", "oxy_pg", "backup", tmp_path,
             "--from", superuser(embedded, url)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        # It counts first, and waits there.
        assert wait_until(lambda: waiting(embedded) == 1)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]

    assert 143 == process.returncode
    assert "Traceback" not in said
    assert [] == listed(tmp_path)


def waiting(server) -> int:
    with psycopg.connect(server.superuser_url()) as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'oxy_pg' AND wait_event_type = 'Lock'"
        ).fetchone()[0]


def test_a_server_that_goes_away(new_database, embedded, in_a_process, tmp_path):
    """
    The error is typed, in PostgreSQL's words, and no file is left.
    """
    url = new_database(WAIT)
    stuck = STUCK.format(path=str(tmp_path), url=superuser(embedded, url))
    code = (
        "from oxy_pg.errors import TransferError\n"
        f"try:\n{textwrap.indent(stuck, '    ')}"
        "except TransferError as error:\n    print(type(error).__name__, error)\n"
    )
    with locked(url):
        process = in_a_process(code)
        assert wait_until(lambda: dumping(embedded) == 1)
        with psycopg.connect(embedded.superuser_url()) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'oxy_pg backup%'"
            )
        said = process.communicate(timeout=20)[0]

    assert said.startswith("TransferRefused Failed to back up postgresql://")
    assert "terminating connection due to administrator command" in said
    assert [] == listed(tmp_path)


def test_without_the_right_to_read(debian_15, tmp_path):
    """
    A role that may not read a table: which one, and no file.
    """
    url = debian_15.new_database()
    with debian_15.superuser(psycopg.conninfo.conninfo_to_dict(url)["dbname"]) as connection:
        connection.execute("CREATE TABLE secret (id int)")

    with pytest.raises(oxy_pg.RightsMissing, match=r"SELECT on public\.secret"):
        backup.backup(str(tmp_path), url)
    assert [] == listed(tmp_path)


def test_a_wrong_password_is_not_repeated(debian_15, tmp_path):
    """
    No password in the message, and none of the URL's.
    """
    url = debian_15.new_database().replace("w%C3%B6rd", "").replace("p%C3%A4ssword", "sesame")

    with pytest.raises(oxy_pg.TransferRefused, match="password authentication failed") as caught:
        backup.backup(str(tmp_path), url)
    assert "sesame" not in str(caught.value)


def test_tools_that_are_too_old_are_found_out_first(postgresql_18, tmp_path):
    """
    A server of 18, and nothing newer than 16 here: named before anything is done.
    """
    if any(one.major >= 18 for one in tools.installed()):
        pytest.skip("this machine has the client programs of 18")

    with pytest.raises(oxy_pg.ToolsNotFound, match="PostgreSQL 18 or newer are needed"):
        backup.backup(str(tmp_path), postgresql_18.new_database())
    assert [] == listed(tmp_path)


def test_a_pooler_in_transaction_mode_is_refused(debian_15, pgbouncer, tmp_path):
    """
    pg_dump would leave an empty search_path in the session of the next client.
    """
    url = debian_15.new_database().partition("?")[0]
    pool = pgbouncer(debian_15)
    pooled = url.replace(f":{debian_15.port}/", f":{pool.port}/")

    with pytest.raises(oxy_pg.TransferRefused, match="pooler in transaction mode"):
        backup.backup(str(tmp_path), pooled)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill")
@pytest.mark.parametrize("plain", [False, True], ids=["custom", "plain"])
def test_a_full_disk(new_database, embedded, state_dir, plain):
    """
    The error says so, nothing is left, an older backup stays, and with room the next one works.
    """
    url = superuser(embedded, new_database(ROWS.format(200_000)))
    code = (
        "from oxy_pg.transfer.backup import backup\n"
        f"def run(): return backup.backup(disk, {url!r}, plain={plain}, keep=1)\n"
        "open(disk + '/old', 'w').write('precious')\n"
        "try: run()\n"
        "except oxy_pg.TransferError as error:\n"
        "    assert 'No space left' in str(error), error\n"
        "    print(type(error).__name__, os.listdir(disk))\n"
        "subprocess.run(['mount', '-o', 'remount,size=200m', disk], check=True)\n"
        "print(oxy_pg.check_backup(run().path).rows)\n"
    )

    said = in_a_small_disk(code, state_dir.parent / "disk", size="1m")

    assert ["TransferRefused ['old']", "200000"] == said.splitlines()


# --- the manifest ------------------------------------------------------------------------


def test_a_manifest_of_a_newer_oxy_pg(new_database, saved, tmp_path):
    """
    One that is not known is not guessed at.
    """
    path = Path(saved.backup(new_database(ROWS.format(10)), tmp_path / "a.dump").path)
    found = manifest.read(str(path))
    newer = dataclasses.replace(found, format=2, oxy_pg_version="9.9")
    path.write_bytes(path.read_bytes()[: found.size] + manifest.trailer(newer))

    with pytest.raises(oxy_pg.BackupTooNew, match=r"a newer oxy_pg \(9\.9\)"):
        oxy_pg.check_backup(path)


def test_progress(new_database, saved, tmp_path):
    """
    Every phase in turn; rows never run backwards, nor beyond their number.
    """
    seen = []
    saved.backup(new_database(ROWS.format(100_000)), tmp_path, on_progress=seen.append)

    phases = list(dict.fromkeys(step.phase for step in seen))
    assert ["connect", "count", "dump", "checksum", "done"] == phases
    rows = [step.done for step in seen if step.phase == "dump"]
    assert rows == sorted(rows)
    assert rows[-1] <= 100_000
