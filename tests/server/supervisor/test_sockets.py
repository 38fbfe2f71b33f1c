"""Programs that clean up remove sockets and shared memory: the supervisor notices, and mends it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg.paths import StateDir
from tests.conftest import wait_until


@pytest.fixture(scope="module")
def kept(base_dir):
    """A server for this module; some tests make its supervisor work."""
    server = oxy_pg.Server(base_dir / "sockets", keep_alive=60)
    server.ensure_database()
    yield server
    server.destroy()


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


@pytest.mark.parametrize("what", ["control", "s/.s.PGSQL.{port}", "s", ""])
def test_a_removed_name_comes_back(kept, what):
    """
    The sockets are made again, and open connections never notice.
    """
    state = StateDir(kept.state_dir)
    with psycopg.connect(kept.url()) as connection:
        remove(Path(state.run_dir) / what.format(port=kept.status().port))

        assert wait_until(lambda: oxy_pg.Server(kept.state_dir).status().state == "running")
        url = oxy_pg.Server(kept.state_dir).ensure_database()
        assert kept.url() == url
        assert (1,) == connection.execute("SELECT 1").fetchone()
    with psycopg.connect(oxy_pg.Server(kept.state_dir).socket_url()) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()


def test_the_second_name_is_closed_to_others(kept):
    """
    As root the state directory can be passed by others, and the socket is open to all.
    """
    first, _ = StateDir(kept.state_dir).socket_links

    assert Path(first).is_socket()
    assert 0o700 == Path(first).parent.stat().st_mode & 0o777


def test_all_names_removed(kept):
    """
    Where PostgreSQL's socket has lost its second name too, a restart makes it.
    """
    state = StateDir(kept.state_dir)
    before = kept.status().pid
    for link in state.socket_links:
        Path(link).unlink(missing_ok=True)
    shutil.rmtree(state.run_dir)

    with psycopg.connect(oxy_pg.Server(kept.state_dir).ensure_database(timeout=30)) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()
    assert before != kept.status().pid


def test_a_supervisor_that_was_not_told_is_nudged(kept, monkeypatch):
    """
    Where the kernel tells nothing (macOS), the next ensure() does.
    """
    state = StateDir(kept.state_dir)
    supervisor = psutil.Process(kept.status().supervisor_pid)
    supervisor.suspend()
    shutil.rmtree(state.run_dir)
    supervisor.resume()

    oxy_pg.Server(kept.state_dir).ensure_database(timeout=30)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stop_works_without_a_socket(server, state_dir, mode):
    """
    By the pid of the one who holds the lock, also when that cannot make its sockets again.
    """
    pid = server.status().pid
    Path(StateDir(str(state_dir)).control).unlink()
    server.stop(mode)

    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert "stopped" == server.status().state


@pytest.mark.parametrize("whose", ["supervisor_pid", "pid"])
def test_stop_ends_what_was_suspended(server, whose):
    """
    SIGSTOP for either does not stop `oxy-pg stop`, and status says what is true.
    """
    pid = getattr(server.status(), whose)
    os.kill(pid, signal.SIGSTOP)
    assert server.status().state in {"running", "starting"}

    server.stop()

    assert "stopped" == server.status().state


def test_status_while_no_supervisor_answers(server, state_dir):
    """
    As long as TCP serves, status does not say "stopped".
    """
    url, before = server.url(), server.status()
    os.kill(before.supervisor_pid, signal.SIGSTOP)
    try:
        shutil.rmtree(StateDir(str(state_dir)).run_dir)
        found = oxy_pg.Server(state_dir).status()

        assert ("running", before.pid, before.port) == (found.state, found.pid, found.port)
        psycopg.connect(url).close()
    finally:
        os.kill(before.supervisor_pid, signal.SIGCONT)


def mapped_memory(pid: int) -> set[Path]:
    """What a server has in /dev/shm: its processes have it mapped."""
    server = psutil.Process(pid)
    paths = set()
    for process in (server, *server.children()):
        with contextlib.suppress(psutil.NoSuchProcess):  # the end of a session takes its time
            paths |= {mapped.path for mapped in process.memory_maps()}
    paths = {path for path in paths if path.startswith("/dev/shm/PostgreSQL.")}
    assert paths
    return {Path(path) for path in paths}


@pytest.mark.parametrize("is_leased", [True, False])
def test_shared_memory_that_was_removed(state_dir, is_leased):
    """
    RemoveIPC of systemd: no session can begin any more; the server is restarted.
    """
    server = oxy_pg.Server(
        state_dir, settings={"dynamic_shared_memory_type": "posix"}, keep_alive=2
    )
    server.ensure_database()
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    before = server.status().pid
    memory = mapped_memory(before)
    for path in memory:
        path.unlink()
    if not is_leased:
        server.release()

    if is_leased:
        url = oxy_pg.Server(state_dir).ensure_database(timeout=30)
        with psycopg.connect(url) as connection:
            assert (1,) == connection.execute("SELECT a FROM t").fetchone()
        assert before != server.status().pid
        assert (
            "cannot be used: could not open shared memory"
            in (state_dir / "supervisor.log").read_text()
        )
    else:
        assert wait_until(lambda: "stopped" == server.status().state, 20)
    server.stop()


def test_crashes_are_counted(server, state_dir, cli, caplog):
    """
    Status and ensure() say how often the server has crashed, and what signal 9 means.
    """
    for _ in range(2):
        with psycopg.connect(server.ensure_database(), autocommit=True) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            time.sleep(0.3)
    crashed = server.status().pid
    assert wait_until(lambda: 2 == server.status().crashes_last_hour)
    os.kill(crashed, signal.SIGKILL)
    assert wait_until(lambda: server.status().pid not in {None, crashed})

    oxy_pg.Server(state_dir).ensure_database()

    assert "crashed 3 times in the last hour" in caplog.text
    assert "memory limit" in caplog.text
    found = server.status()
    assert 3 == found.crashes_last_hour
    assert "crashes: 3 in the last hour" in cli("status", OXY_STATE_DIR=state_dir).stdout
    answer = cli("doctor", OXY_STATE_DIR=state_dir).stdout
    assert "crashes: 3 crashes in the last hour" in answer
    assert "memory limit" in answer


def test_a_server_without_crashes_says_nothing(server, state_dir, caplog):
    """
    A restart and a stop are no crashes.
    """
    server.restart()
    server.stop()
    oxy_pg.Server(state_dir).ensure_database()

    assert 0 == server.status().crashes_last_hour
    assert "crash" not in caplog.text
