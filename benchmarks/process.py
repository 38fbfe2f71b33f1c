"""A program run to its end: how long it took, how much memory, and what it said when it failed."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple

import psutil

from benchmarks import place


class CannotError(Exception):
    """A contender cannot do it; the text is its own."""


class Measured(NamedTuple):
    """One contender's turn."""

    seconds: float
    peak_mb: float | None = None  # of the client's processes together, the server not counted
    note: str = ""


def measure(command: list[str], words: tuple[str, ...] = ()) -> Measured:
    """
    Run ``command``; CannotError if it fails, or says one of the ``words``.

    Its memory is the sum over its process tree, looked at five times a second.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        peak = _Peak(process.pid)
        with peak:
            code = process.wait()
        seconds = time.perf_counter() - began
        output.seek(0)
        lines = output.read().splitlines()
    said = [line for line in lines if any(word in line for word in words)]
    if code != 0 or said:
        raise CannotError((said or _error(lines) or [f"exit code {code}"])[0].strip()[-300:])
    return Measured(seconds, peak.megabytes)


def _error(lines: list[str]) -> list[str]:
    """Return the line that says what failed: of a traceback the last that names an error."""
    named = [line for line in lines if re.match(r"[\w.]+: ", line)]
    return named[-1:] if "Traceback (most recent call last):" in lines else lines[-1:]


class _Peak(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._bytes = 0

    @property
    def megabytes(self) -> float:
        return self._bytes / 1e6

    def run(self) -> None:
        while not self._over.wait(0.2):
            with contextlib.suppress(psutil.Error):
                tree = [self._root, *self._root.children(recursive=True)]
                self._bytes = max(self._bytes, sum(_resident(process) for process in tree))

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
