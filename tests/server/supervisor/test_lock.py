"""The lock of a state directory, taken by threads of one process at the same time."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from oxy_pg.paths import StateDir
from oxy_pg.server.supervisor import lock


def test_threads_leave_no_lock_behind(tmp_path):
    """
    Descriptors' numbers are used again at once: no thread gives up another one's.
    """
    state = StateDir(str(tmp_path))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    taken = []

    def take() -> None:
        for _ in range(3000):
            with lock.attempt(state) as descriptor:
                taken.append(descriptor is not None)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert any(taken)
    assert not lock.is_held(state)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_a_lock_that_is_removed_while_it_is_asked_for_is_not_held(state_dir, monkeypatch):
    """
    `oxy-pg reset` removes it: two processes would each lock a file of their own.
    """
    state_dir.mkdir()
    state = StateDir(str(state_dir))
    real = fcntl.flock

    def reset_is_faster(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        os.unlink(state.lock)
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", reset_is_faster)
    with lock.attempt(state) as first:
        assert first is None
    with lock.attempt(state) as second:
        assert second is not None
        os.unlink(state.lock)
        os.rmdir(state.root)
        with lock.attempt(state) as third:
            assert third is None


@pytest.mark.parametrize("late", ["open", "close"])
def test_no_fork_comes_between_opening_and_noting(state_dir, run_python, late):
    """
    A child forked by another thread at any moment leaves the lock to us.

    ``os.open`` and ``os.close`` take half a second here, in which the child is
    forked; it lives on while the lock is asked for again.
    """
    code = (
        "import fcntl, os, threading, time\n"
        "from oxy_pg import paths\n"
        "from oxy_pg.server.supervisor import lock\n"
        f"state = paths.StateDir({str(state_dir)!r})\n"
        "os.makedirs(state.root)\n"
        f"real = os.{late}\n"
        "reached = threading.Event()\n"
        "def slow(*arguments, **options):\n"
        "    found = real(*arguments, **options)\n"
        "    if threading.current_thread() is thread: reached.set(); time.sleep(0.5)\n"
        "    return found\n"
        "def take():\n"
        "    with lock.attempt(state) as descriptor: assert descriptor\n"
        "thread = threading.Thread(target=take)\n"
        f"os.{late} = slow\n"
        "thread.start(); reached.wait()\n"
        "child = os.fork()\n"
        "if not child: time.sleep(60); os._exit(0)\n"
        "thread.join()\n"
        # The child may not have run yet, which closes its copy before anything else.
        "until = time.monotonic() + 20\n"
        "while lock.is_held(state) and time.monotonic() < until: time.sleep(0.01)\n"
        "print(lock.is_held(state))\n"
        "os.kill(child, 9)\n"
    )

    assert run_python(code, PYTHONWARNINGS="ignore") == "False"
