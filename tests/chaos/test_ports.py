"""A port is a loan: whoever has it, the URL leads to our own server or there is none."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until


@pytest.fixture
def stopped(state_dir):
    """A stopped server with one row in it."""
    server = oxy_pg.Server(state_dir)
    with psycopg.connect(server.ensure_database()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS text")
    server.stop()
    return state_dir


def served(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT text FROM kept").fetchone()[0]


def thief(port, address="127.0.0.1"):
    stolen = socket.socket()
    stolen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        stolen.bind((address, port))
        stolen.listen()
    except OSError:
        stolen.close()
        raise
    return stolen


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_the_port_of_last_time_is_taken(stopped, address):
    """
    Field note 11: another one is used, and comes back to the old one is not promised.
    """
    port = int((stopped / "port").read_text())
    with thief(port, address):
        url = oxy_pg.ensure(state_dir=stopped)

        assert port != urlsplit(url).port
        assert "kept" == served(url)
        assert f"{urlsplit(url).port}\n" == (stopped / "port").read_text()


def test_every_port_that_is_chosen_is_taken(stopped):
    """
    Field note 11: all that would be tried first are taken; any free one will do.
    """
    from oxy_pg import paths
    from oxy_pg.server.supervisor import ports

    with contextlib.ExitStack() as stack:
        for port in dict.fromkeys(ports.candidates(paths.StateDir(str(stopped)))):
            with contextlib.suppress(OSError):  # another process has it, which is as good
                stack.enter_context(thief(port))

        assert "kept" == served(oxy_pg.ensure(state_dir=stopped))


def test_a_thief_between_the_choice_and_the_bind(stopped):
    """
    Field note 11: a port that was free a moment ago is taken; the start is tried again.

    The thief takes whatever port PostgreSQL's command line names, as soon as
    it shows, and lets go of it when somebody else was faster.
    """
    from oxy_pg import paths
    from oxy_pg.server.supervisor import ports

    tried = ports.candidates(paths.StateDir(str(stopped)))
    over, caught = threading.Event(), []

    def steal():
        while not over.is_set():
            with contextlib.suppress(OSError):
                caught.append(thief(tried[len(caught) % 2]))
                over.wait(0.3)
                caught[-1].close()
            over.wait(0.0005)

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        for _ in range(6):
            url = oxy_pg.ensure(state_dir=stopped)
            assert "kept" == served(url)
            oxy_pg.Server(stopped).stop()
    finally:
        over.set()
        thread.join()
    assert caught


@pytest.mark.skipif(sys.platform != "linux", reason="finds the log collector in /proc")
def test_a_taken_port_whose_message_comes_late(stopped):
    """
    PostgreSQL's log collector writes why it could not start when it has ended, and may be slow.

    Here it is stopped for a while: the supervisor waits for what it says, and
    does not take the silence for a server that refuses to start.
    """
    data_dir = os.path.realpath(stopped / "postgres_data")
    over = threading.Event()
    slowed = []  # the postmasters whose collector was stopped

    def slow_down():
        for pid, parent in new_loggers(data_dir, over):
            os.kill(pid, signal.SIGSTOP)
            slowed.append(parent)
            time.sleep(0.5)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=slow_down)
    thread.start()
    try:
        for _ in range(60):  # until the collector of a start that fails has been stopped
            server = oxy_pg.Server(stopped)
            with thief(int((stopped / "port").read_text())):
                assert "kept" == served(server.ensure_database())
            ready = server.status().pid
            server.stop()
            if any(parent != ready for parent in slowed):
                return
            slowed.clear()
    finally:
        over.set()
        thread.join()
    pytest.fail("no collector was stopped in time")


def new_loggers(data_dir, over):
    """Log collectors of a data directory as soon as they are there, and their postmasters."""
    seen = set()
    while not over.is_set():
        for name in set(os.listdir("/proc")) - seen:
            with contextlib.suppress(OSError, IndexError, ValueError):
                words = Path(f"/proc/{name}/cmdline").read_bytes()
                if words.startswith(b"postgres: logger"):
                    seen.add(name)
                    if os.readlink(f"/proc/{name}/cwd") == data_dir:
                        fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                        yield int(name), int(fields[1])
                elif b"postgres" not in words:
                    seen.add(name)


def test_another_postgresql_on_the_port_of_last_time(stopped, base_dir):
    """
    Field note 12: a server that answers there is not ours, so its URL is never handed out.

    Not even when it has the same role, password and database.
    """
    port = int((stopped / "port").read_text())
    foreign = oxy_pg.Server(base_dir / "foreign")
    foreign.ensure_database()
    foreign.stop()
    for name in ("password", "port"):
        (base_dir / "foreign" / name).write_bytes((stopped / name).read_bytes())
    with psycopg.connect(foreign.ensure_database()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'foreign' AS text")
    try:
        assert port == foreign.status().port

        url = oxy_pg.ensure(state_dir=stopped)

        assert port != urlsplit(url).port
        assert "kept" == served(url)
        assert "foreign" == served(foreign.url())
    finally:
        foreign.destroy()


def test_a_thief_takes_the_port_of_a_crashed_server(stopped):
    """
    Field note 12: between a crash and the restart the port is lost; ensure() gives the new one.
    """
    url = oxy_pg.ensure(state_dir=stopped)
    port, pid = urlsplit(url).port, oxy_pg.Server(stopped).status().pid
    stolen = []

    def steal():
        with contextlib.suppress(OSError):
            stolen.append(thief(port))
        return bool(stolen)

    os.kill(pid, 9)
    wait_until(steal, 1)
    try:
        assert wait_until(lambda: oxy_pg.Server(stopped).status().pid not in (pid, None), 30)
        again = oxy_pg.ensure(state_dir=stopped)
        assert "kept" == served(again)
        assert (url != again) == bool(stolen)
    finally:
        for one in stolen:
            one.close()


def test_the_log_names_what_was_in_the_way(stopped):
    """
    The supervisor's log tells of the port that could not be had.
    """
    with thief(int((stopped / "port").read_text())):
        oxy_pg.ensure(state_dir=stopped)

    said = Path(stopped, "supervisor.log").read_text()
    assert "is ready on port" in said.splitlines()[-1]
