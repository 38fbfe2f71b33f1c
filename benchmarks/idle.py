"""An idle supervisor: its memory, and how often it wakes up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks import place
from benchmarks.result import OURS, Result

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
    state = str(base / "idle")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD.format(state=state)],
        env=place.environment(OXY_PG_CACHE_DIR=str(base / "cache")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        process = Path("/proc") / (Path(state) / "lock").read_text().split()[0] / "status"
        time.sleep(1.0)  # the client that started it has left nothing to do
        before = _facts(process)
        time.sleep(seconds)
        after = _facts(process)
    finally:
        holder.communicate()
    memory.add(OURS, after["VmRSS"] * 1024 / 1e6)
    wakeups.add(OURS, after["voluntary_ctxt_switches"] - before["voluntary_ctxt_switches"])
    return [memory, wakeups]


def _facts(status: Path) -> dict[str, int]:
    lines = (line.split(":", 1) for line in status.read_text().splitlines())
    return {
        name: int(value.split()[0])
        for name, value in lines
        if value.split()[:1] and value.split()[0].isdigit()
    }
