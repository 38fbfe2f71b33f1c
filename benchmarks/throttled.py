"""
The quick benchmarks on a slow machine: with the processor throttled, and in the open.

A bound that is a ratio has to give the same verdict on both. The processor is
throttled by the kernel (a quota of the control group, which needs root), else
by processes that are as busy beside us as the processors allow.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import limits, starting
from benchmarks.result import OURS, SLOW, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

_PERIOD = 5_000  # microseconds: short, so that a step of 30 ms is slow, and not lucky or unlucky
_SHARE = 0.5  # of one processor
_NAMES = (OURS, "pgserver")  # no bound is beside another package
_GROUPS = Path("/sys/fs/cgroup")


def measure(base: Path, rounds: int) -> list[Result]:
    """Measure starts and limits with the processor throttled; keys begin with ``SLOW``."""
    home = base / "throttled"
    home.mkdir(mode=0o711)
    with _throttled() as how:
        found = [
            *starting.Starting(home, _NAMES).measure(rounds),
            *limits.measure(home, rounds),
        ]
    for result in found:
        result.key = SLOW + result.key
        result.what += f" ({how})"
    return found


@contextlib.contextmanager
def _throttled() -> Iterator[str]:
    """Slow this process and what it starts down; say how."""
    with contextlib.ExitStack() as stack:
        try:
            how = stack.enter_context(_quota())
        except OSError:
            how = stack.enter_context(_busy())
        yield how


@contextlib.contextmanager
def _quota() -> Iterator[str]:
    """Put this process into a control group with a quota; raises OSError where it cannot."""
    is_first_version = (_GROUPS / "cpu").is_dir()
    root = _GROUPS / "cpu" if is_first_version else _GROUPS
    home = root / f"oxy_pg-bench-{os.getpid()}"
    before = root / _group("cpu" if is_first_version else "").lstrip("/") / "cgroup.procs"
    home.mkdir()
    try:
        quota = int(_PERIOD * _SHARE)
        if is_first_version:
            (home / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (home / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (home / "cpu.max").write_text(f"{quota} {_PERIOD}")
        (home / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield f"{_SHARE:g} of a processor"
        finally:
            for pid in (home / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):  # it has ended
                    before.write_text(pid)
    finally:
        home.rmdir()


def _group(controller: str) -> str:
    """Return the control group of this process."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    raise OSError(f"no control group of {controller or 'version 2'}")


@contextlib.contextmanager
def _busy() -> Iterator[str]:
    """Keep three other processes for each processor busy."""
    count = 3 * (os.cpu_count() or 1)
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield f"beside {count} busy processes"
    finally:
        for other in others:
            other.kill()
            other.wait()
