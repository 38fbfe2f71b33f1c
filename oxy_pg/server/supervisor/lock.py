"""
The lock of a state directory: its holder may start the server.

The starting process hands it, still locked, to the supervisor, which holds it
as long as it lives. That is why this is flock(2) itself and not the filelock
library: the lock belongs to an open file, and that can be inherited.
"""

from __future__ import annotations

import fcntl
import os

from oxy_pg.system import cheap, files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.paths import StateDir


class attempt:  # noqa: N801 - used as a function
    """
    Try to take the lock; gives its descriptor, or None when another process has it.

    On leaving, our hold ends; a supervisor that has inherited it keeps it. None,
    too, when the file or its directory is removed at this moment (`oxy-pg reset`).
    """

    __slots__ = ("_held", "_state")

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._held: process.ClosedInChildren | None = None

    def __enter__(self) -> int | None:
        try:
            with process.forks_wait:
                descriptor = files.open_or_create(self._state.lock, os.O_RDWR)
                self._held = process.ClosedInChildren(descriptor)
        except FileNotFoundError:
            return None
        try:
            return descriptor if _take(self._state, descriptor) else None
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.close()


def _take(state: StateDir, descriptor: int) -> bool:
    """Lock the open file, and say in it who we are; False where it is another process's."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        words = f"its file system has no locks (flock: {error.strerror})"
        raise OSError(error.errno, words, state.lock) from error
    if not _is_there(state, descriptor):
        return False
    if os.getpid() == 1:
        _collect(named(state))
    with cheap.suppress(OSError):  # a full disk: only a message would have named us
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} starter\n".encode(), 0)
    return True


def named(state: StateDir) -> int:
    """Return the pid that the lock's text names, or 0; it may be that of one who held it before."""
    words = (files.read_text(state.lock) or "").split()
    return int(words[0]) if words and words[0].isdigit() else 0


def _collect(pid: int) -> None:
    """
    Collect the supervisor that held the lock before, a zombie.

    In a container whose first process we are, processes without a parent are
    our children, and nobody else waits for them.
    """
    if pid > 1 and not process.is_alive(pid):
        with cheap.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _is_there(state: StateDir, descriptor: int) -> bool:
    """Whether the file that was locked still has its name: another process may have a new one."""
    try:
        return os.path.samestat(os.stat(state.lock), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def is_held(state: StateDir) -> bool:
    """Whether a process holds the lock just now; changes nothing."""
    try:
        with process.forks_wait:
            descriptor = os.open(state.lock, os.O_RDWR | os.O_CLOEXEC)
            opened = process.ClosedInChildren(descriptor)
    except OSError:
        return False
    with opened:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def supervisor(state: StateDir) -> int:
    """Return the pid of the supervisor that holds the lock; 0 where it is not known to be one."""
    words = (files.read_text(state.lock) or "").split()
    if len(words) != 2 or words[1] != "supervisor" or not words[0].isdigit():
        return 0
    pid = int(words[0])
    # The number may be another process's by now: only one that was started for this directory.
    import psutil

    try:
        is_ours = f"state_dir={state.root}" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return 0
    return pid if is_ours and is_held(state) else 0


def nudge(state: StateDir) -> None:
    """Have the supervisor look whether its sockets are still there."""
    pid = supervisor(state)
    if pid:
        import signal

        with cheap.suppress(OSError):
            os.kill(pid, signal.SIGIO)  # as the kernel does; an older one prunes its logs


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
