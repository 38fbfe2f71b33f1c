"""Where and when the benchmarks ran: machine, versions, date."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

from benchmarks import starting
from oxy_pg.server.cluster import binaries

_OTHERS = ("pytest-postgresql", "testing.postgresql", "duckdb", "psycopg")


def description(base: Path) -> dict[str, str]:
    """Describe this machine; ``base`` is where the servers' files are."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {_file_system(base)}",
        "load when it began": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "PostgreSQL": binaries.find().version,
        **starting.versions(),
        **_versions(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    best = max(
        (part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)),
        key=lambda part: len(part.mountpoint),
        default=None,
    )
    if best is None:
        return "unknown file system"
    device = os.path.basename(os.path.realpath(best.device))
    # It makes files slowly after others were deleted: their inodes are not used again for minutes.
    journals = [path.name.rpartition("-")[0] for path in Path("/proc/fs/jbd2").glob("*")]
    lacks = best.fstype == "ext4" and device not in journals
    return best.fstype + (" without a journal" if lacks else "")


def _versions() -> dict[str, str]:
    found = {}
    for name in _OTHERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if shutil.which("pgloader"):
        done = subprocess.run(
            ["pgloader", "--version"], capture_output=True, text=True, check=False
        )
        found["pgloader"] = done.stdout.partition('"')[2].partition('"')[0]
    return found
