"""
Another process of ours that answers questions, as one of ``migrate`` or ``export``.

A process, where threads do not help: Python code, and SQLite's allocator, wait
for a lock. It ends when it is told to, or when the one that asks has ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

from oxy_pg.system import process

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

_PIPE = 1024 * 1024  # bytes: the most that Linux gives an ordinary user (pipe(7))
# Answers are of a megabyte or so. glibc would give the memory of each back to the kernel, which
# clears it again for the next: a tenth of the processor time (mallopt(3)). Others do not read it.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 1024 * 1024),
}


class Ended(Exception):
    """The process has ended before it answered."""


class Worker:
    """A process that runs a function, which reads questions() and calls answer() for each."""

    def __init__(self, module: str, call: str) -> None:
        """Start it. Raises OSError."""
        self._ours = contextlib.ExitStack()
        with contextlib.ExitStack() as theirs:
            asked, self._to = _pipe(theirs, self._ours)
            self._from, answers = _pipe(self._ours, theirs)
            try:
                self._pid = process.spawn(
                    process.command(module, call),
                    {0: asked.fileno(), 1: answers.fileno()},
                    variables=_KEEP_MEMORY,
                )
            except OSError:
                self._ours.close()
                raise

    def send(self, question: object) -> None:
        """Ask; one more question may wait while another is answered."""
        # That the process has ended is noticed when its answer is read.
        with contextlib.suppress(OSError):
            pickle.dump(question, self._to)
            self._to.flush()

    def receive(self) -> Any:
        """Wait for the answer to the oldest open question; raise it if it is an error, or Ended."""
        try:
            # It comes from our own process, through a pipe that no other process can write to.
            answer = pickle.load(self._from)  # noqa: S301
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise Ended from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> None:
        """End the process at once: it only reads."""
        process.kill(self._pid)
        with contextlib.suppress(OSError):  # it may hold a question that was not read
            self._to.close()
        self._ours.close()


def _pipe(
    reader: contextlib.ExitStack, writer: contextlib.ExitStack
) -> tuple[io.BufferedReader, io.BufferedWriter]:
    """Open a pipe whose two ends are closed with these stacks."""
    # Else a process that another thread forks at this moment would keep it open.
    with process.forks_wait:
        read_fd, write_fd = os.pipe()
        reading, writing = os.fdopen(read_fd, "rb"), os.fdopen(write_fd, "wb")
        reader.enter_context(process.ClosedInChildren(read_fd, reading.close))
        writer.enter_context(process.ClosedInChildren(write_fd, writing.close))
    with contextlib.suppress(OSError, AttributeError):  # macOS does not have it
        # So that an answer does not delay the next one, and its writer need not wait.
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE)
    return reading, writing


# --- in the other process -------------------------------------------------------------


def questions() -> Iterator[Any]:
    """Give the questions, without end: the process ends when the asking one has ended."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(found,), daemon=True).start()
    while True:
        yield found.get()


def answer(found: object) -> None:
    """Send the answer, or an exception that is to be raised there."""
    pickle.dump(found, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _listen(found: queue.SimpleQueue[Any]) -> None:
    """Receive questions; end at once when the asking process has ended, even during a query."""
    try:
        while True:
            found.put(pickle.load(sys.stdin.buffer))  # noqa: S301
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)
