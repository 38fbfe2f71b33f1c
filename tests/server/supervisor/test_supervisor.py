"""The supervisor: small, asleep, and longest-lived for the client that asked for longest."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import psutil
import psycopg

import oxy_pg
from tests.conftest import wait_until


def supervisor(server):
    return psutil.Process(server.status().supervisor_pid)


def test_it_is_small(server):
    """
    At most 12 MB resident, with everything imported that it ever imports.
    """
    server.restart()

    assert supervisor(server).memory_info().rss <= 12 * 2**20


def test_it_sleeps(server):
    """
    While a lease is held and nothing happens, it does not wake up once.
    """
    process = supervisor(server)
    time.sleep(0.5)  # it has answered our question, and goes back to sleep
    before = process.num_ctx_switches()

    time.sleep(3)

    assert before == process.num_ctx_switches()


def test_the_longest_keep_alive_counts(state_dir):
    """
    Whoever comes later and asks for less takes nothing from whoever asked for more.
    """
    patient = oxy_pg.Server(state_dir, keep_alive=3)
    hasty = oxy_pg.Server(state_dir, keep_alive=0)
    patient.start()
    hasty.start()
    patient.release()
    hasty.release()

    time.sleep(1.5)

    assert "running" == patient.status().state
    assert wait_until(lambda: "stopped" == patient.status().state, 10)


def test_whoever_is_connected_keeps_it_up(state_dir):
    """
    A connection counts as use, whoever it is, also without a lease.
    """
    server = oxy_pg.Server(state_dir, keep_alive=0.5)
    with psycopg.connect(server.ensure_database()) as connection:
        server.release()
        time.sleep(3)
        assert (1,) == connection.execute("SELECT 1").fetchone()

    assert wait_until(lambda: "stopped" == server.status().state, 10)


def test_a_directory_that_goes_meanwhile_is_stopped(state_dir):
    """
    A temporary server's supervisor may remove the directory while another process stops it.
    """
    for _ in range(100):
        state_dir.mkdir()
        thread = threading.Thread(
            target=shutil.rmtree, args=(state_dir,), kwargs={"onerror": print}
        )
        thread.start()
        oxy_pg.Server(state_dir).stop()
        thread.join()
        shutil.rmtree(state_dir, ignore_errors=True)  # where a lock was made just before


def test_a_server_that_has_just_died_is_not_handed_out(server):
    """
    The client sees the postmaster's end as early as the supervisor, and waits for it to speak.
    """
    server.ensure_database()
    watching, postmaster = supervisor(server), psutil.Process(server.status().pid)
    watching.suspend()  # it has not learnt of the end yet, as on a busy machine
    try:
        postmaster.kill()
        assert wait_until(lambda: psutil.STATUS_ZOMBIE == postmaster.status())
        threading.Timer(0.3, watching.resume).start()
        url = server.ensure_database()
    finally:
        watching.resume()

    with psycopg.connect(url) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()


def test_packages_that_shadow_the_standard_library(run_python, state_dir, tmp_path):
    """
    A package beside ours may have the name of a module of the standard library, such as enum34.
    """
    package = Path(oxy_pg.__file__).parent
    (tmp_path / "oxy_pg").symlink_to(package)
    for name in ("enum", "selectors", "socket", "contextlib", "signal"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not this one')")

    answer = run_python(
        f"""
import importlib.util, sys
place = {str(tmp_path / "oxy_pg")!r}
spec = importlib.util.spec_from_file_location(
    "oxy_pg", place + "/__init__.py", submodule_search_locations=[place])
sys.modules["oxy_pg"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["oxy_pg"])
from oxy_pg.system import process
assert process._ROOT == {str(tmp_path)!r}, process._ROOT
print(sys.modules["oxy_pg"].ensure())
""",
        OXY_STATE_DIR=state_dir,
    )

    assert answer.startswith("postgresql://")
