"""PostgreSQL's client programs as processes: how they end, and what they report."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest

from oxy_pg import errors
from oxy_pg.transfer import running, tools
from tests.conftest import wait_until


def test_a_failure_has_the_programs_words(server):
    """
    What pg_dump says is in the error, and the password is not.
    """
    url = server.url("no such database")

    with pytest.raises(errors.ToolFailed) as caught:
        running.run(tools.find(16), "pg_dump", url=url)

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
        with running.Running(tools.find(16), "psql", sleep, url=url) as program:
            process = psutil.Process(program.process.pid)
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
        "from oxy_pg.transfer import running, tools\n"
        f"options = ['--file=/dev/null']; url = {server.url()!r}\n"
        "with running.Running(tools.find(16), 'pg_dump', options, url=url) as program:\n"
        "    print(program.process.pid)\n"
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
        with running.Running(found, "pg_restore", ["--list"], stdin=subprocess.PIPE) as program:
            while time.monotonic() < end:
                program.stdin.write(b"no archive" * 10_000)

    with pytest.raises(errors.ToolFailed, match="valid archive"):
        write()


def password_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["password"])


def sleeping(server) -> int:
    return count(server, "query LIKE 'SELECT pg_sleep%'")


def waiting(server) -> int:
    return count(server, "wait_event_type = 'Lock'")


def count(server, condition) -> int:
    with psycopg.connect(server.superuser_url()) as connection:
        row = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {condition}")
        return row.fetchone()[0]
