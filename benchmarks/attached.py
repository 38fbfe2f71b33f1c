"""Many clients attached to one server: its supervisor's memory and wake-ups, and one more."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import idle, place
from benchmarks.result import OURS, Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = f"{OURS}, beside one client"
# Each client is a process of its own, forked: only its lease matters to the supervisor.
_CLIENTS = """
import os, sys, oxy_pg
children = []
for _ in range({clients}):
    child = os.fork()
    if not child:
        oxy_pg.ensure(state_dir={state!r}, keep_alive=0)
        os.write(1, b".")
        sys.stdin.read()
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
_ATTACH = """
import time, oxy_pg, oxy_pg._api
began = time.perf_counter()
oxy_pg.ensure(state_dir={state!r}, keep_alive=0)
print(time.perf_counter() - began)
"""


def measure(base: Path, clients: int, rounds: int, seconds: float) -> list[Result]:
    """Attach to a server that has ``clients`` others and to one that has a single one, in turn."""
    memory = Result("attached-memory", f"{clients} clients: the supervisor's resident memory", "MB")
    wakeups = Result(
        "attached-wakeups", f"{clients} clients: the supervisor's wake-ups in {seconds:g} s", ""
    )
    attach = Result("attached", f"attach, in the process, beside {clients} clients", "ms")
    results = [memory, wakeups, attach]
    if sys.platform != "linux":
        for result in results:
            result.fail(OURS, "not measured: there is no /proc")
        return results
    crowded, quiet = base / "attached", base / "alone"
    with idle.held(base, crowded) as supervisor, _crowd(base, crowded, clients):
        with idle.held(base, quiet):
            for _ in range(rounds):
                attach.add(OURS, _attach(base, crowded))
                attach.add(SECOND, _attach(base, quiet))
        time.sleep(1.0)  # they have left nothing to do
        resident, woken = idle.watched(supervisor, seconds)
    memory.add(OURS, resident)
    wakeups.add(OURS, woken)
    return results


@contextlib.contextmanager
def _crowd(base: Path, state: Path, clients: int) -> Iterator[None]:
    """Keep so many processes attached."""
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENTS.format(clients=clients, state=str(state))],
        env=place.environment(OXY_PG_CACHE_DIR=str(base / "cache")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        if len(parent.stdout.read(clients)) < clients:
            raise RuntimeError("not all clients could attach")
        yield
        parent.stdin.close()


def _attach(base: Path, state: Path) -> float:
    """Attach with a new process; milliseconds, without its imports."""
    done = subprocess.run(
        [sys.executable, "-c", _ATTACH.format(state=str(state))],
        env=place.environment(OXY_PG_CACHE_DIR=str(base / "cache")),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout) * 1000
