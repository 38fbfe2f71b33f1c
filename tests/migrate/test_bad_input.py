"""What bad input gets: a typed error, the source byte for byte as it was, the target as it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import psycopg
import pytest

from oxy_pg.errors import (
    ConfigurationError,
    MigrationError,
    SourceUnreadable,
    TargetNotEmpty,
    TargetRefused,
    TargetUnreachable,
)
from oxy_pg.migrate.migration import migrate
from tests.migrate.conftest import running_server


@pytest.fixture
def untouched(tmp_path, pg_url):
    """After the test, every file is as it was, none is new, and the target holds no table."""

    def state() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in tmp_path.rglob("*")
            if path.is_file()
        }

    before: dict[str, str] = {}

    def begin() -> None:
        before.update(state())

    yield begin
    assert before == state()
    with psycopg.connect(pg_url) as conn:
        tables = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert tables == []


def filled(path, rows=2000) -> str:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)")
        db.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"note {n}" * 20) for n in range(rows)))
    return str(path)


# --- the source ----------------------------------------------------------------------------------


def test_text_file_is_no_database(tmp_path, pg_url, untouched):
    """
    A file that is something else is named as such.
    """
    path = tmp_path / "notes.txt"
    path.write_text("These are not the rows you are looking for.\n" * 100)
    untouched()

    with pytest.raises(SourceUnreadable, match="not a SQLite database"):
        migrate(str(path), pg_url)


def test_encrypted_database_is_said_to_be_one(tmp_path, pg_url, untouched):
    """
    Random bytes where the header should be: what SQLCipher leaves.
    """
    path = tmp_path / "cipher.db"
    path.write_bytes(os.urandom(8192))
    untouched()

    with pytest.raises(SourceUnreadable, match="encrypted"):
        migrate(str(path), pg_url)


@pytest.mark.parametrize("kept", [100, 4096, 20_000])
def test_truncated_database_is_refused(tmp_path, pg_url, untouched, kept):
    """
    The end of the file is missing.
    """
    path = filled(tmp_path / "a.db")
    os.truncate(path, kept)
    untouched()

    with pytest.raises(SourceUnreadable, match="its end is missing: "):
        migrate(path, pg_url)


def test_corrupt_page_is_refused(tmp_path, pg_url, untouched):
    """
    Garbage in the middle is found, and nothing half-read arrives.
    """
    path = filled(tmp_path / "a.db")
    with open(path, "r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xde\xad\xbe\xef" * 1024)
    untouched()

    with pytest.raises(SourceUnreadable):
        migrate(path, pg_url)


def test_corrupt_index_is_refused_or_harmless(tmp_path, pg_url):
    """
    A table is copied as it is, or not at all, when only an index is damaged.
    """
    path = str(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)")
        db.executemany("INSERT INTO t VALUES (?, ?)", ((n, str(n)) for n in range(1000)))
        db.execute("CREATE INDEX i ON t (note)")
        db.execute("PRAGMA writable_schema = ON")
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()[0]
        # The index now reads the table's pages.
        db.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = 'i'", (root,))
    before = Path(path).read_bytes()

    try:
        report = migrate(path, pg_url, verify="full")
    except SourceUnreadable:
        pass
    else:
        assert 1000 == report.rows
    assert before == Path(path).read_bytes()


def test_directory_is_refused(tmp_path, pg_url, untouched):
    """
    A directory is not opened as a database.
    """
    untouched()

    with pytest.raises(SourceUnreadable, match="directory"):
        migrate(str(tmp_path), pg_url)


def test_missing_file_is_not_created(tmp_path, pg_url, untouched):
    """
    SQLite would make an empty database of it; we do not.
    """
    untouched()

    with pytest.raises(SourceUnreadable, match="no such file"):
        migrate(str(tmp_path / "absent" / "a.db"), pg_url)
    with pytest.raises(SourceUnreadable, match="no such file"):
        migrate(str(tmp_path / "a.db"), pg_url)


def test_locked_database_is_refused_in_time(tmp_path, pg_url):
    """
    Another program's exclusive lock ends the wait with a typed error.
    """
    path = filled(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        before = Path(path).read_bytes()

        with pytest.raises(SourceUnreadable, match="lock"):
            migrate(path, pg_url, timeout=1)

        assert before == Path(path).read_bytes()


def test_lock_that_goes_away_is_waited_for(tmp_path, pg_url):
    """
    A writer that finishes within the time does not fail the migration.
    """
    path = filled(tmp_path / "a.db")
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.7, holder.rollback)
    release.start()
    try:
        assert 2000 == migrate(path, pg_url, timeout=20).rows
    finally:
        release.join()
        holder.close()


@pytest.mark.parametrize("content", ["nothing", "no tables"])
def test_empty_database_moves_nothing(tmp_path, pg_url, untouched, content):
    """
    Zero bytes and zero tables are an outcome, not a crash.
    """
    path = tmp_path / "a.db"
    path.touch()
    if content == "no tables":
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE t (a)")
            db.execute("DROP TABLE t")
    untouched()

    assert () == migrate(str(path), pg_url).tables


def given_away(*paths) -> None:
    """Let files belong to another user, where we are root."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, "nobody")


def unprivileged(path, url, home) -> dict[str, str]:
    """Migrate as a user to whom permissions apply; return the error's type and text."""
    program = textwrap.dedent(
        """
        import json, sys
        sys.path[:0] = json.loads(sys.argv[3])
        try:
            from oxy_pg.migrate.migration import migrate
            migrate(sys.argv[1], sys.argv[2])
        except Exception as error:
            print(json.dumps({"type": type(error).__name__, "text": str(error)}))
        else:
            print(json.dumps({"type": "", "text": ""}))
        """
    )
    command = [sys.executable, "-c", program, path, url, json.dumps(sys.path)]
    if os.geteuid() == 0:
        # Root that must obey permissions. Another user might not reach this interpreter.
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    result = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert 0 == result.returncode, result.stderr
    said: dict[str, str] = json.loads(result.stdout)
    return said


@pytest.fixture
def open_home():
    """A directory that every user can enter: pytest's own belong to root alone."""
    home = Path(tempfile.mkdtemp(prefix="oxy_pg-open-"))
    home.chmod(0o755)
    yield home
    # An ordinary user cannot delete what is in a directory without write permission.
    for directory in (home, *(path for path in home.iterdir() if path.is_dir())):
        directory.chmod(0o755)
    shutil.rmtree(home)


def test_unreadable_file_is_refused(open_home, pg_url):
    """
    No read permission: the error says so, and how to grant it.
    """
    path = filled(open_home / "a.db")
    os.chmod(path, 0)
    given_away(path)

    said = unprivileged(path, pg_url, open_home)

    assert "SourceUnreadable" == said["type"]
    assert "chmod" in said["text"]


def test_wal_database_in_a_read_only_directory(open_home, pg_url):
    """
    With its -wal file left behind, it is read whole or refused: never without the newest rows.
    """
    inside = open_home / "inside"
    inside.mkdir()
    path = str(inside / "a.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        db.execute("INSERT INTO t VALUES (1)")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("INSERT INTO t VALUES (2)")
        # As after a crash: the row is in the -wal file alone, and no -shm file is there.
        kept = {name: (inside / name).read_bytes() for name in ("a.db", "a.db-wal")}
    for file in inside.iterdir():
        file.unlink()
    for name, content in kept.items():
        (inside / name).write_bytes(content)
        (inside / name).chmod(0o444)
    inside.chmod(0o555)
    given_away(inside, *inside.iterdir())

    said = unprivileged(path, pg_url, open_home)

    if said["type"]:
        assert "SourceUnreadable" == said["type"]
        assert "WAL" in said["text"]
    else:
        with psycopg.connect(pg_url) as conn:
            assert [(1,), (2,)] == conn.execute("SELECT id FROM t ORDER BY 1").fetchall()
    assert kept == {name: (inside / name).read_bytes() for name in kept}


def test_newest_rows_of_a_live_wal_database_come_along(tmp_path, pg_url):
    """
    The application has it open, and the rows are in the -wal file only.
    """
    path = str(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        db.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(500)))
        before = Path(path).read_bytes()

        report = migrate(path, pg_url, verify="full")

        assert 500 == report.rows
        assert before == Path(path).read_bytes()


# --- the target ----------------------------------------------------------------------------------


def test_sqlite_url_is_no_target(tmp_path, pg_url, untouched):
    """
    A target that is SQLite is refused before anything is read.
    """
    path = filled(tmp_path / "a.db")
    untouched()

    with pytest.raises(ConfigurationError, match="PostgreSQL"):
        migrate(path, f"sqlite:///{tmp_path}/b.db")


def test_unreachable_server_is_said_to_be_so(tmp_path, pg_url, untouched):
    """
    Nobody listens; the password stays out of the message.
    """
    path = filled(tmp_path / "a.db")
    untouched()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(TargetUnreachable) as caught:
        migrate(path, f"postgresql://oxy:hunter2@127.0.0.1:{port}/oxy", timeout=1)

    assert "hunter2" not in str(caught.value)


def test_wrong_credentials_are_said_to_be_so(tmp_path, pg_url):
    """
    A role, a password or a database that is not there.
    """
    path = filled(tmp_path / "a.db")
    for url in (
        pg_url.replace("oxy:", "nobody_here:"),
        pg_url.replace("sesame", "guessed"),
        pg_url + "_not_there",
    ):
        with pytest.raises(TargetUnreachable) as caught:
            migrate(path, url, timeout=2)
        assert ("not_there" in url) == ("CREATE DATABASE" in str(caught.value))
        assert "sesame" not in str(caught.value)
        assert "guessed" not in str(caught.value)


def test_role_without_rights_is_told_which_grant(tmp_path, server_url, pg_url, untouched):
    """
    PostgreSQL 15's public schema is closed to others: the remedy is a GRANT.
    """
    path = filled(tmp_path / "a.db")
    untouched()
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS stranger")
        conn.execute("CREATE ROLE stranger LOGIN PASSWORD 'sesame'")
    try:
        with pytest.raises(
            MigrationError, match="GRANT ALL ON SCHEMA public TO stranger;"
        ) as caught:
            migrate(path, pg_url.replace("oxy:", "stranger:"))
        # Nobody has asked for the statement.
        assert "CREATE TABLE" not in str(caught.value)
    finally:
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute("DROP ROLE stranger")


def test_role_without_a_schema_is_told_what_to_do(tmp_path, server_url, pg_url):
    """
    No schema of the search path is there: the remedy makes one.
    """
    path = filled(tmp_path / "a.db")
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]
    with psycopg.connect(url) as conn:
        conn.execute("DROP SCHEMA public")

    with pytest.raises(TargetUnreachable, match="GRANT ALL ON SCHEMA public TO oxy;"):
        migrate(path, pg_url)


def test_standby_is_said_to_take_no_writes(tmp_path, server_url, pg_url, untouched):
    """
    A server that only reads is no reason to correct the source.
    """
    path = filled(tmp_path / "a.db")
    untouched()
    name = pg_url.rpartition("/")[2]
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(TargetRefused, match="takes no writes"):
        migrate(path, pg_url)


def test_server_without_room_for_another_is_said_to_have_none(tmp_path, server_url, pg_url):
    """
    Too many connections: neither the host nor the port is wrong.
    """
    path = filled(tmp_path / "a.db")
    name = pg_url.rpartition("/")[2]
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")

    with pytest.raises(TargetUnreachable, match="takes no more connections"):
        migrate(path, pg_url, timeout=0.5)


def test_second_run_says_that_the_target_is_not_empty(tmp_path, pg_url):
    """
    Nothing is written twice unless somebody asks for it.
    """
    path = filled(tmp_path / "a.db")
    migrate(path, pg_url)

    with pytest.raises(TargetNotEmpty):
        migrate(path, pg_url)

    with psycopg.connect(pg_url) as conn:
        assert (2000,) == conn.execute("SELECT count(*) FROM t").fetchone()


def test_target_that_goes_away_half_way(tmp_path, server_url, pg_url, untouched):
    """
    The connection is cut while rows are on their way: a typed error within seconds.
    """
    path = filled(tmp_path / "a.db", rows=150_000)
    untouched()
    cut = threading.Event()

    def cutter() -> None:
        with psycopg.connect(server_url, autocommit=True) as conn:
            while not cut.is_set():
                found = conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = %s AND query ILIKE 'COPY%%' AND state = 'active'",
                    [pg_url.rpartition("/")[2]],
                ).fetchall()
                if found:
                    cut.set()
                time.sleep(0.005)

    thread = threading.Thread(target=cutter)
    thread.start()
    try:
        with pytest.raises((TargetUnreachable, TargetRefused)):
            migrate(path, pg_url, timeout=5)
        assert cut.is_set()
    finally:
        cut.set()
        thread.join()


def test_server_that_is_killed_half_way(tmp_path):
    """
    kill -9 of the whole server: a typed error, and nothing is there after its recovery.
    """
    path = filled(tmp_path / "a.db", rows=300_000)
    with running_server() as url:
        with psycopg.connect(url) as conn:
            row = conn.execute("SHOW data_directory").fetchone()
        assert row is not None
        pid = int(Path(row[0], "postmaster.pid").read_text().splitlines()[0])
        loading = "SELECT FROM pg_stat_activity WHERE query ILIKE 'COPY%' AND state = 'active'"

        def kill() -> None:
            with psycopg.connect(url, autocommit=True) as conn:
                while not conn.execute(loading).fetchall():
                    time.sleep(0.005)
                os.kill(pid, 9)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises((TargetUnreachable, TargetRefused)):
            migrate(path, url, timeout=3)
        killer.join(10)


def test_more_tables_than_the_server_has_locks(tmp_path):
    """
    The setting that has to be raised, and to what.
    """
    path = tmp_path / "many.sqlite"
    with sqlite3.connect(path) as lite:
        for number in range(900):
            lite.execute(f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY)")
    few = {"max_connections": "10", "max_locks_per_transaction": "10"}
    with (
        running_server(**few) as url,
        pytest.raises(TargetRefused, match="max_locks_per_transaction = 512") as caught,
    ):
        migrate(str(path), url)
    assert "out of shared memory" in caught.value.reason


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None,
    reason="a small file system of its own takes root and mount(8)",
)
def test_full_disk_on_the_target(tmp_path):
    """
    The server runs out of space: its words, a typed error, and the target as it was.
    """
    small = Path(tempfile.mkdtemp(prefix="oxy_pg-small-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=1777", "none", small], check=True)
    try:
        path = filled(tmp_path / "a.db", rows=400_000)
        with running_server() as url, psycopg.connect(url, autocommit=True) as conn:
            conn.execute(f"CREATE TABLESPACE small LOCATION '{place(small)}'")
            conn.execute("CREATE DATABASE full_disk TABLESPACE small")
            target = url.rpartition("/")[0] + "/full_disk"

            with pytest.raises(TargetRefused, match="No space left on device"):
                migrate(path, target)

            with psycopg.connect(target) as there:
                assert (
                    []
                    == there.execute(
                        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                    ).fetchall()
                )
    finally:
        subprocess.run(["umount", small], check=True)
        small.rmdir()


def place(small: Path) -> Path:
    """A directory for a tablespace: empty, and the server's own."""
    inside = small / "tablespace"
    inside.mkdir()
    shutil.chown(inside, "postgres")
    return inside
