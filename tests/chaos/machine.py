"""What the machine itself says of a server: its processes, memory and sockets. No pid files."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self

import psutil


class Process(NamedTuple):
    """One PostgreSQL process."""

    pid: int
    parent: int
    title: str

    @property
    def is_postmaster(self) -> bool:
        return " -D " in self.title

    @property
    def is_client_backend(self) -> bool:
        return self.title.startswith("postgres: oxy ")


def processes(data_dir: str) -> dict[int, Process]:
    """Every process that works in a data directory and is not a zombie."""
    found = {}
    for pid in psutil.pids():
        try:
            if os.path.exists("/proc/self/cwd"):
                # Forty times faster than psutil, and this looks all the time.
                if os.readlink(f"/proc/{pid}/cwd") != data_dir:
                    continue
                title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[pid] = Process(pid, int(fields[1]), title)
            else:
                process = psutil.Process(pid)
                if process.cwd() == data_dir:
                    found[pid] = Process(pid, process.ppid(), " ".join(process.cmdline()))
        except (OSError, psutil.Error):
            continue
    return found


def postmasters(data_dir: str) -> list[int]:
    """The postmasters among them; a child that has not got its title yet is none."""
    found = processes(data_dir)
    return [one.pid for one in found.values() if one.is_postmaster and one.parent not in found]


def supervisors(state_dir: str) -> list[int]:
    """The supervisors of a state directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if f"state_dir={state_dir}" in words and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def is_zombie(pid: int) -> bool:
    """Whether a process is over: its files are closed, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_listening(pid: int) -> bool:
    """Whether a process accepts connections over TCP."""
    try:
        return any(
            one.status == psutil.CONN_LISTEN for one in psutil.Process(pid).net_connections("tcp")
        )
    except psutil.Error:
        return False


def segments(pid: int) -> set[str]:
    """The shared memory of a postmaster, as ``sysv:ID`` and as paths below /dev/shm."""
    found = set()
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) < 6:
                continue
            if fields[5].startswith("/SYSV"):
                found.add(f"sysv:{fields[4]}")  # the inode of a System V segment is its id
            elif fields[5].startswith("/dev/shm/PostgreSQL."):
                found.add(fields[5].split()[0])
    return found


def is_there(segment: str) -> bool:
    """Whether a piece of shared memory still exists."""
    kind, _, number = segment.partition(":")
    if kind != "sysv":
        return os.path.exists(segment)
    table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return number in {line.split()[1] for line in table}


class Watch:
    """
    Looks at a data directory all the time, and remembers what must not be.

    ``two_at_once`` lists every moment at which two postmasters served it.
    """

    def __init__(self, data_dir: str, pause: float = 0.02) -> None:
        self.data_dir = data_dir
        self.pause = pause
        self.looks = 0
        self.seen: set[int] = set()
        self.segments: set[str] = set()
        self.two_at_once: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(self.pause):
            self.looks += 1
            found = postmasters(self.data_dir)
            self.seen.update(found)
            for pid in found:
                self.segments |= segments(pid)
            # A second one may be there for a moment: it finds the first, and refuses to serve.
            if len(found) > 1 and sum(map(is_listening, found)) > 1:
                self.two_at_once.append(f"{time.time():.3f}: {found}")
