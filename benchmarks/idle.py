"""An idle supervisor: its memory, and how often it wakes up."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import place
from benchmarks.result import OURS, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLD = """
import sys, oxy_pg
oxy_pg.ensure(state_dir={state!r}, keep_alive=0)
print(flush=True)
sys.stdin.read()
"""


def measure(base: Path, seconds: float) -> list[Result]:
    """Hold a server for some seconds and look at its supervisor (proc(5), so on Linux only)."""
    memory = Result("idle-memory", "idle: the supervisor's resident memory", "MB")
    wakeups = Result("idle-wakeups", f"idle: the supervisor's wake-ups in {seconds:g} s", "")
    if sys.platform != "linux":
        for result in (memory, wakeups):
            result.fail(OURS, "not measured: there is no /proc")
        return [memory, wakeups]
    with held(base, base / "idle") as supervisor:
        time.sleep(1.0)  # the client that started it has left nothing to do
        resident, woken = watched(supervisor, seconds)
    memory.add(OURS, resident)
    wakeups.add(OURS, woken)
    return [memory, wakeups]


@contextlib.contextmanager
def held(base: Path, state: Path) -> Iterator[Path]:
    """Hold a server with one client; give its supervisor's place in proc(5)."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD.format(state=str(state))],
        env=place.environment(OXY_PG_CACHE_DIR=str(base / "cache")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield Path("/proc") / (state / "lock").read_text().split()[0]
    finally:
        holder.communicate()


def watched(process: Path, seconds: float) -> tuple[float, int]:
    """Look at a process for some seconds; return its megabytes, and how often it has woken up."""
    before = _facts(process / "status")
    time.sleep(seconds)
    after = _facts(process / "status")
    woken = after["voluntary_ctxt_switches"] - before["voluntary_ctxt_switches"]
    return after["VmRSS"] * 1024 / 1e6, woken


def _facts(status: Path) -> dict[str, int]:
    lines = (line.split(":", 1) for line in status.read_text().splitlines())
    return {
        name: int(value.split()[0])
        for name, value in lines
        if value.split()[:1] and value.split()[0].isdigit()
    }
