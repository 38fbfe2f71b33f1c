"""The machine that a server runs on: its memory, cores and disk, as far as a container lets us."""

from __future__ import annotations

import os
import sys

from oxy_pg.system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SSD, HDD = "ssd", "hdd"
_MOUNTS = "/sys/fs/cgroup"
_GROUPS = "/proc/self/cgroup"
_MEMINFO = "/proc/meminfo"
# Disks of virtual machines say "rotational" for any kind of storage.
_VIRTUAL = ("vd", "xvd", "nbd", "loop", "zram")


class Machine:
    """Memory in bytes, cores, and the kind of disk: a value."""

    __slots__ = ("cpus", "disk", "memory")

    def __init__(self, memory: int, cpus: int, disk: str | None = SSD) -> None:
        self.memory = memory
        self.cpus = cpus
        self.disk = disk

    def __repr__(self) -> str:
        return f"Machine({self.memory}, {self.cpus}, {self.disk!r})"


def here(path: str) -> Machine:
    """Return this machine, with the disk that ``path`` is on."""
    return Machine(memory(), cpus(), disk(path))


def memory(groups: str = _GROUPS, mounts: str = _MOUNTS) -> int:
    """Bytes of memory that this machine, or this container, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for text in _limits("memory", "memory.max", "memory.limit_in_bytes", groups, mounts):
        if text.isdecimal():  # else "max"
            total = min(total, int(text))
    return total


def available(groups: str = _GROUPS, mounts: str = _MOUNTS, meminfo: str = _MEMINFO) -> int:
    """
    Bytes of memory that programs here could still use, without swap; 0 where that is not known.

    Linux alone tells. In a control group, what only caches files counts as free.
    """
    rows = (files.read_text(meminfo) or "").splitlines()
    sizes = {name: size.split()[0] for name, _, size in (row.partition(":") for row in rows)}
    free = int(sizes.get("MemAvailable", "0")) * 1024
    new = "memory.max memory.current memory.stat"
    old = "memory.limit_in_bytes memory.usage_in_bytes memory.stat"
    for text in _limits("memory", new, old, groups, mounts):
        limit, used, *stat = text.split()
        if limit.isdecimal():  # else "max"
            found = dict(zip(stat[::2], stat[1::2], strict=False))
            cached = sum(
                int(found.get(f"total_{name}", found.get(name, "0")))  # total_…: cgroup v1
                for name in ("active_file", "inactive_file")
            )
            free = min(free, max(0, int(limit) - int(used) + cached))
    return free


def cpus(groups: str = _GROUPS, mounts: str = _MOUNTS) -> int:
    """Cores that this process, or this container, may use at once; part of one counts as one."""
    # Not everywhere is there a sched_getaffinity(2): macOS.
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for text in _limits("cpu", "cpu.max", "cpu.cfs_quota_us cpu.cfs_period_us", groups, mounts):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):  # else "max", or -1
            count = min(count, max(1, -(-int(quota) // int(period))))
    return count


def _limits(controller: str, new: str, old: str, groups: str, mounts: str) -> Iterator[str]:
    """
    Give what each control group that we are in says, from ours to the root of what we see.

    ``new`` is the file's name in cgroup v2, ``old`` what it is called in v1 (cgroups(7)); of
    several names the contents are joined.
    """
    for line in (files.read_text(groups) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = f"{mounts}/{controllers}" if controllers else mounts
        names = (old if controllers else new).split()
        # In a container the path may be that of the host, of which we see the root alone.
        while True:
            texts = [files.read_text(f"{root}{path.rstrip('/')}/{name}") for name in names]
            if None not in texts:
                yield " ".join(str(text).strip() for text in texts)
            if path in {"", "/"}:
                break
            path = os.path.dirname(path)


def disk(path: str) -> str | None:
    """
    Return ``ssd`` or ``hdd`` for the disk that ``path`` is on; None where that cannot be known.

    Linux alone tells, and not of file systems without a disk of their own, nor truthfully of the
    disks of virtual machines.
    """
    while not os.path.exists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    block = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for place in (block, os.path.dirname(block)):  # a disk, or a partition of one
        answer = files.read_text(f"{place}/queue/rotational")
        if answer is not None:
            if answer.strip() == "0":
                return SSD
            return None if os.path.basename(place).startswith(_VIRTUAL) else HDD
    return None


def is_memory(path: str) -> bool:
    """Whether ``path``, or what exists of it, is on a tmpfs."""
    try:
        while not os.path.exists(path):
            path = os.path.dirname(path)
        device = os.stat(path).st_dev
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in (files.read_text("/proc/self/mountinfo", limit=1 << 24) or "").splitlines():
        mount, _, file_system = line.partition(" - ")  # proc_pid_mountinfo(5)
        if mount.split()[2] == number:
            return file_system.startswith("tmpfs ")
    return False


def boot() -> str:
    """Return what is another text after each start of the machine."""
    found = files.read_text("/proc/sys/kernel/random/boot_id")
    if found is not None:
        return found.strip()
    import psutil

    return f"{psutil.boot_time():.0f}"
