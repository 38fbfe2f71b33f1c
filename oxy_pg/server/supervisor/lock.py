"""
The lock of a state directory: its holder may start the server.

The starting process hands it, still locked, to the supervisor, which holds it
as long as it lives. That is why this is flock(2) itself and not the filelock
library: the lock belongs to an open file, and that can be inherited.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from oxy_pg.system import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir


@contextlib.contextmanager
def attempt(state: StateDir) -> Iterator[int | None]:
    """
    Try to take the lock; gives its descriptor, or None when another process has it.

    On leaving, our hold ends; a supervisor that has inherited it keeps it.
    """
    descriptor = files.open_or_create(state.lock, os.O_RDWR)
    with process.ClosedInChildren(descriptor) as held:
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            with contextlib.suppress(OSError):  # a full disk: only a message would have named us
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} starter\n".encode(), 0)
            yield descriptor
        finally:
            if held.is_open:
                os.close(descriptor)


def is_held(state: StateDir) -> bool:
    """Whether a process holds the lock just now; changes nothing."""
    try:
        descriptor = os.open(state.lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(state: StateDir) -> str:
    """Say who holds the lock, for a message."""
    text = files.read_text(state.lock) or ""
    word = text.split()[0] if text.split() else ""
    if not word.isdigit():
        return "a process that has not said its name"
    import psutil

    try:
        found = psutil.Process(int(word))
        command = " ".join(found.cmdline()[:6]) or found.name()
        return f"process {word} ({found.status()}): {command[:200]}"
    except psutil.Error:
        return f"process {word}, which is not running on this machine"
