"""The lock of a state directory, taken by threads of one process at the same time."""

from __future__ import annotations

import os
import threading

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
