"""What a terminal, an init system and a reloading web server send."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until

from .machine import Watch, is_zombie, postmasters, processes, supervisors


def data_dir(state_dir):
    return os.path.realpath(state_dir / "postgres_data")


def log_of(state_dir):
    logs = sorted(Path(data_dir(state_dir), "log").glob("postgresql-*"))
    return "".join(path.read_text() for path in logs)


IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
exec(sys.argv[1])
"""

APPLICATION = """
import oxy_pg, psycopg, sys, time
url = oxy_pg.ensure()
connection = psycopg.connect(url, autocommit=True)
connection.execute("CREATE TABLE kept (text text)")
try:
    print("up", flush=True)
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    time.sleep(1)  # a server that would stop now had time to
    connection.execute("INSERT INTO kept VALUES ('the last words')")
    psycopg.connect(oxy_pg.ensure()).close()
    print("down", flush=True)
"""


def test_ctrl_c_in_a_terminal(state_dir):
    """
    Field note 15: it reaches the application, which still writes its last row; not the database.
    """
    import pty

    leader, follower = pty.openpty()
    application = subprocess.Popen(
        [
            sys.executable,
            "-c",
            IN_A_TERMINAL,
            APPLICATION,
        ],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir), "OXY_PG_KEEP_ALIVE": "1"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    try:
        while b"up" not in shown:
            shown += os.read(leader, 1000)
        pids = [*supervisors(str(state_dir)), *processes(data_dir(state_dir))]
        os.write(leader, b"\x03")
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while data := os.read(leader, 1000):
                shown += data
    finally:
        os.close(leader)
        application.kill()
        application.wait()

    assert b"down" in shown, shown
    assert 3 <= len(pids)
    with psycopg.connect(oxy_pg.ensure(state_dir=state_dir)) as connection:
        assert ("the last words",) == connection.execute("SELECT text FROM kept").fetchone()


def test_sigint_to_the_process_group(state_dir, tmp_path):
    """
    Field note 15: as ``timeout -s INT`` or a CI runner does it, without a terminal.
    """
    application = subprocess.Popen(
        [sys.executable, "-c", APPLICATION],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir), "OXY_PG_KEEP_ALIVE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    assert "up\n" == application.stdout.readline()

    os.killpg(application.pid, signal.SIGINT)

    assert "down\n" == application.communicate(timeout=60)[0]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_to_the_supervisor(state_dir, server, name):
    """
    It stops PostgreSQL cleanly, as at a machine's shutdown, and goes.
    """
    (supervisor,) = supervisors(str(state_dir))

    os.kill(supervisor, getattr(signal, name))

    assert wait_until(lambda: is_zombie(supervisor), 30)
    assert {} == processes(data_dir(state_dir))
    assert "database system is shut down" in log_of(state_dir).splitlines()[-1]
    assert "interrupted" not in log_of(state_dir)


def test_a_signal_to_the_postmaster(state_dir, server):
    """
    Whoever stops PostgreSQL itself, as an init system may, is obeyed; the next ensure() starts it.
    """
    (postmaster,) = postmasters(data_dir(state_dir))

    os.kill(postmaster, signal.SIGTERM)

    assert wait_until(lambda: not supervisors(str(state_dir)), 30)
    psycopg.connect(oxy_pg.ensure(state_dir=state_dir)).close()


def test_no_pipe_is_handed_on(state_dir):
    """
    Field note 16: whoever reads the starter's output sees its end, though the server goes on.
    """
    code = "import oxy_pg; oxy_pg.ensure(keep_alive=600); print('started')"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=100,
        check=True,
    )

    assert b"started\n" == done.stdout
    assert 1 == len(postmasters(data_dir(state_dir)))
    for pid in (*supervisors(str(state_dir)), *postmasters(data_dir(state_dir))):
        targets = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        assert os.path.realpath(os.devnull) in targets
    oxy_pg.Server(state_dir).stop()


# --- uvicorn ---

WEB_APPLICATION = """
import os
import oxy_pg, psycopg
url = oxy_pg.ensure()
NUMBER = 0
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    with psycopg.connect(oxy_pg.ensure()) as connection:
        row = connection.execute(
            "SELECT pg_postmaster_start_time()::text || ' ' || inet_server_port()").fetchone()
    body = f"{NUMBER} {os.getpid()} {row[0]}".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode()),
                            (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
"""


class Uvicorn:
    """A web application below uvicorn."""

    def __init__(self, directory, state_dir, *arguments):
        pytest.importorskip("uvicorn")
        self.source = directory / "web_application.py"
        self.source.write_text(WEB_APPLICATION)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.output = directory / "uvicorn.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "web_application:app"),
                    *("--port", str(self.port), *arguments),
                ],
                cwd=directory,
                env={
                    **os.environ,
                    "OXY_STATE_DIR": str(state_dir),
                    "OXY_PG_KEEP_ALIVE": "3",
                    "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self):
        assert wait_until(self.answer, 60), self.output.read_text()
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart_workers(self):
        """
        Replace all four by SIGHUP.

        uvicorn gives that up where a new worker takes more than its five seconds: once more, then.
        """
        before = workers(self)
        for _ in range(6):
            given_up = self.restarts_given_up()
            self.process.send_signal(signal.SIGHUP)
            wait_until(lambda n=given_up: are_new(self, before) or self.restarts_given_up() > n, 60)
            if are_new(self, before):
                return
        raise AssertionError(self.output.read_text())

    def restarts_given_up(self):
        return self.output.read_text().count("aborting the restart")

    def answer(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}", timeout=20) as response:
                return response.read().decode().split(" ", 2)
        except OSError:
            return None

    def answers_with(self, number):
        found = self.answer()
        return found is not None and found[0] == str(number)

    def has_reloaded(self, number):
        """
        Whether it answers with what the source says now, five seconds later at most.

        The reloader forgets the times of files when it restarts, and misses a
        change that is made just then: if it does not answer so, there is another one.
        """
        if wait_until(lambda: self.answers_with(number), 5):
            return True
        self.source.touch()
        return False


@pytest.mark.timeout(240)
def test_uvicorn_reloads(state_dir, tmp_path):
    """
    Fifteen reloads, each a new process that asks anew: one postmaster serves them all.
    """
    with Uvicorn(tmp_path, state_dir, "--reload") as uvicorn:
        first = uvicorn.answer()
        with Watch(data_dir(state_dir)) as watch:
            for number in range(1, 16):
                time.sleep(0.3)  # the reloader compares times of files
                uvicorn.source.write_text(
                    re.sub(r"NUMBER = \d+", f"NUMBER = {number}", WEB_APPLICATION)
                )
                assert any(uvicorn.has_reloaded(number) for _ in range(12)), (
                    uvicorn.output.read_text()
                )
        last = uvicorn.answer()

    assert first[1] != last[1]
    assert first[2] == last[2]
    assert 1 == len(watch.seen)


@pytest.mark.timeout(240)
def test_uvicorn_with_four_workers(state_dir, tmp_path):
    """
    Two restarts of all four workers (SIGHUP): one postmaster serves them, then it goes too.
    """
    with Uvicorn(tmp_path, state_dir, "--workers", "4") as uvicorn:
        first = uvicorn.answer()
        with Watch(data_dir(state_dir)) as watch:
            for _ in range(2):
                uvicorn.restart_workers()
                assert wait_until(uvicorn.answer, 60)
        last = uvicorn.answer()

    assert first[2] == last[2]
    assert 1 == len(watch.seen)
    assert wait_until(lambda: not processes(data_dir(state_dir)), 30)


def are_new(uvicorn, before):
    now = workers(uvicorn)
    return 4 == len(now) and not before & now


def workers(uvicorn):
    found = set()
    for child in psutil.Process(uvicorn.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if not is_zombie(child.pid) and "resource_tracker" not in " ".join(child.cmdline()):
                found.add(child.pid)
    return found
