"""``ensure()``: one line, and a PostgreSQL 16 answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import psycopg
import psycopg2
import pytest
import sqlalchemy

import oxy_pg


def only_row(url, query):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()


@pytest.fixture
def url(state_dir):
    return oxy_pg.ensure(state_dir=state_dir)


def test_gives_a_running_postgresql_16(url):
    """
    The URL leads to a PostgreSQL 16 that keeps what is committed.
    """
    version, fsync, user, database = only_row(
        url, "SELECT version(), current_setting('fsync'), current_user, current_database()"
    )

    assert version.startswith("PostgreSQL 16.")
    assert ("on", "oxy", "oxy") == (fsync, user, database)


def test_every_driver_takes_the_url_as_it_is(url):
    """
    psycopg, psycopg2, asyncpg and SQLAlchemy connect with the same text.
    """

    async def with_asyncpg():
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval("SELECT 1")
        finally:
            await connection.close()

    with psycopg.connect(url) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()
    with contextlib.closing(psycopg2.connect(url)) as old, old.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert (1,) == cursor.fetchone()
    assert 1 == asyncio.run(with_asyncpg())
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as session:
        assert 1 == session.scalar(sqlalchemy.text("SELECT 1"))
        assert "psycopg" == session.dialect.driver
    engine.dispose()


@pytest.mark.parametrize("password", ["", "wrong", None])
def test_nobody_gets_in_without_the_password(url, password):
    """
    Field note 28: no trust authentication, not even on the loopback interface.
    """
    parts = urlsplit(url)
    credentials = "oxy" if password is None else f"oxy:{password}"
    wrong = url.replace(f"{parts.username}:{parts.password}", credentials)

    with pytest.raises(psycopg.OperationalError, match=r"password"):
        psycopg.connect(wrong, passfile="/nonexistent")


def test_the_superuser_cannot_be_reached_over_tcp(url):
    """
    Not even with the role's password: the private socket is the only way.
    """
    with pytest.raises(psycopg.OperationalError, match=r"reject"):
        psycopg.connect(url.replace("oxy:", "postgres:", 1))


def test_the_role_is_an_ordinary_one(url):
    """
    It makes databases, but runs no programs on the server (COPY … PROGRAM).
    """
    assert (False, True) == only_row(
        url, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    )
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("COPY (SELECT 1) TO PROGRAM 'true'")


def test_listens_on_the_loopback_interface_alone(url, state_dir):
    """
    Field note 13: 127.0.0.1 in the URL, and nothing else listens.
    """
    status = oxy_pg.Server(state_dir).status()
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(status.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert {"127.0.0.1"} == listening
    assert "127.0.0.1" == urlsplit(url).hostname


def test_other_users_find_closed_doors(url, state_dir):
    """
    The password is readable by its owner alone, the socket's directory is 0700.
    """
    socket_dir = parse_qs(urlsplit(oxy_pg.Server(state_dir).socket_url()).query)["host"][0]

    assert 0o600 == stat.S_IMODE((state_dir / "password").stat().st_mode)
    assert 0o700 == stat.S_IMODE(Path(socket_dir).stat().st_mode)
    assert 0o700 == stat.S_IMODE((state_dir / "postgres_data").stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("user", ["nobody", "daemon", "the server's own"])
def test_another_user_gets_nothing(url, state_dir, user):
    """
    Another user of the machine reads no password and does not get through the socket.

    Nor does what else runs under the account that PostgreSQL got because it refuses to be root.
    """
    if user == "the server's own":
        user = (state_dir / "postgres_data").owner()
    socket_url = oxy_pg.Server(state_dir).superuser_url()
    # The interpreter itself may be closed to that user, so it gets our modules by inheritance.
    pid = os.fork()
    if not pid:
        import pwd

        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        try:
            open(state_dir / "password").close()
            os._exit(2)
        except PermissionError:
            pass
        try:
            psycopg.connect(socket_url)
        except psycopg.OperationalError:
            os._exit(0)
        os._exit(3)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_again_is_the_same_and_holds(url, state_dir):
    """
    Asking again gives the same URL; so do other spellings of the directory.
    """
    assert url == oxy_pg.ensure(state_dir=state_dir)
    assert url == oxy_pg.ensure(state_dir=f"{state_dir}/../state/")


def test_comes_back_after_a_stop(url, state_dir):
    """
    A server that was stopped under our feet is started again, on the same port.
    """
    only_row(url, "SELECT 1")
    oxy_pg.Server(state_dir).stop()

    again = oxy_pg.ensure(state_dir=state_dir)

    assert url == again
    assert (1,) == only_row(again, "SELECT 1")


@pytest.mark.parametrize("name", ["other", "MiXed", "with space", "ünï/cödé", "a'b\"c"])
def test_makes_the_database_that_is_asked_for(state_dir, name):
    """
    Whatever PostgreSQL takes as a name; quoted in the URL as libpq understands it.
    """
    url = oxy_pg.ensure(name, state_dir=state_dir)

    assert (name, "oxy") == only_row(
        url,
        "SELECT datname, rolname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba"
        " WHERE datname = current_database()",
    )
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE mine (id int)")


@pytest.mark.parametrize("name", ["", "x" * 64, "nul\0"])
def test_refuses_a_name_that_would_be_changed(state_dir, name):
    """
    PostgreSQL shortens names beyond 63 bytes in silence; we do not.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match="63 bytes"):
        oxy_pg.ensure(name, state_dir=state_dir)


def test_makes_extensions(state_dir):
    """
    The superuser makes them, since the role may not.
    """
    url = oxy_pg.ensure(state_dir=state_dir, extensions=["vector"])

    assert ("[1,2]",) == only_row(url, "SELECT '[1,2]'::vector::text")


def test_names_the_extensions_that_there_are(state_dir):
    """
    An unknown one is a ConfigurationError that lists those that could be had.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match=r"(?s)nonsense.*plpgsql.*vector"):
        oxy_pg.ensure(state_dir=state_dir, extensions=["nonsense"])


def test_thirty_two_processes_get_one_server(state_dir, start_python):
    """
    Thirty-two processes from cold: the same URL, from one postmaster.
    """
    code = (
        "import oxy_pg, psycopg; url = oxy_pg.ensure(); print(url);"
        "print(psycopg.connect(url).execute("
        "'SELECT pg_postmaster_start_time()').fetchone()[0].timestamp()); input()"
    )
    processes = [start_python(code, OXY_STATE_DIR=state_dir) for _ in range(32)]

    answers = {(process.stdout.readline(), process.stdout.readline()) for process in processes}

    assert 1 == len(answers), answers
    assert next(iter(answers))[0].startswith("postgresql://")
    assert 32 == oxy_pg.Server(state_dir).status().clients


def test_threads_share_one_lease(state_dir):
    """
    From sixteen threads at once: one URL, and one lease for the process.
    """
    urls = []

    def ask():
        urls.append(oxy_pg.ensure(state_dir=state_dir))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 16 == len(urls)
    assert 1 == len(set(urls))
    assert 1 == oxy_pg.Server(state_dir).status().clients


def test_a_forked_child_has_a_lease_of_its_own(run_python, state_dir):
    """
    Field note 24: the child asks for itself, and its exit takes nothing from its parent.
    """
    code = (
        "import os, oxy_pg, psycopg\n"
        "url = oxy_pg.ensure()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    assert oxy_pg.ensure() == url\n"
        "    psycopg.connect(url).close()\n"
        "    os._exit(oxy_pg.Server().status().clients)\n"
        "clients = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "assert oxy_pg.ensure() == url\n"
        "psycopg.connect(url).close()\n"
        "print(clients, oxy_pg.Server().status().clients)\n"
    )

    # The parent's lease is held open by both, the child's by the child.
    assert "2 1" == run_python(code, OXY_STATE_DIR=state_dir)


@pytest.mark.parametrize(
    "name", ["psycopg", "sqlalchemy", "click", "rich", "platformdirs", "psutil", "filelock"]
)
def test_importing_loads_no_library(run_python, name):
    """
    ``import oxy_pg`` leaves the libraries for when they are needed.
    """
    code = f"import sys, oxy_pg; print({name!r} in sys.modules)"

    assert "False" == run_python(code)


def test_attaching_loads_no_library(run_python, server, state_dir):
    """
    A process that attaches to a running server loads neither a driver nor the CLI.
    """
    code = (
        "import sys, oxy_pg; oxy_pg.ensure();"
        "print(sorted({'psycopg', 'sqlalchemy', 'click', 'rich', 'json', 'subprocess', 'typing'}"
        " & set(sys.modules)))"
    )

    assert "[]" == run_python(code, OXY_STATE_DIR=state_dir)


def test_attaching_loads_little_of_the_standard_library(run_python, server, state_dir):
    """
    What attaching waits for is a server, and not modules that take as long as Python's start.
    """
    code = (
        "import sys; before = set(sys.modules); import oxy_pg; oxy_pg.ensure();"
        "ours = {name for name in sys.modules if name.startswith('oxy_pg')};"
        "print(*sorted(set(sys.modules) - before - ours))"
    )

    loaded = set(run_python(code, OXY_STATE_DIR=state_dir).split())

    assert loaded <= {"__future__", "_socket", "select", "atexit", "errno", "time"}


def test_importing_writes_nothing(run_python, tmp_path):
    """
    Importing and making a handle leave the disk alone.
    """
    code = "import oxy_pg; oxy_pg.Server(); oxy_pg.Server().status()"

    run_python(code, OXY_STATE_DIR=tmp_path / "state", HOME=tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_prints_and_logs_nothing(state_dir):
    """
    A quiet guest: no output on a first start, an attach and a stop.
    """
    code = "import oxy_pg; oxy_pg.ensure(); oxy_pg.ensure(); oxy_pg.Server().stop()"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        capture_output=True,
        check=True,
    )

    assert (b"", b"") == (done.stdout, done.stderr)
