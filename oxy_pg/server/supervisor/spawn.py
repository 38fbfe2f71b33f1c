"""
Spawn the supervisor's process, and tell it to go.

The starter of a server spawns it first and hands it its order when the cluster
is ready, so that its interpreter starts while the cluster is made.
"""

from __future__ import annotations

import os

from oxy_pg.server.supervisor.daemon import LOCK_FD
from oxy_pg.system import cheap, files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from oxy_pg.paths import StateDir
    from oxy_pg.server.supervisor.order import Order


class Daemon:
    """A process that becomes the supervisor when it is told to go."""

    def __init__(self, pid: int, control: socket.socket, order_fd: int) -> None:
        self.pid = pid  # of our child, which then forks the supervisor and ends
        self.has_gone = False
        self._control = control
        self._order_fd = order_fd

    def go(self, order: Order) -> None:
        """Listen on the control socket, and hand over; raises OSError."""
        # What an earlier supervisor left is replaced.
        with cheap.suppress(FileNotFoundError):
            os.unlink(order.control)
        self._control.bind(order.control)
        files.set_mode(order.control, 0o600, order.control)
        self._control.listen(1024)
        self._tell(order.encode())
        self.has_gone = True

    def dismiss(self) -> None:
        """Let it end, since it is not needed."""
        self._tell(b"")
        with cheap.suppress(ChildProcessError):  # an application that reaps all children
            os.waitpid(self.pid, 0)

    def _tell(self, message: bytes) -> None:
        # With its size, and not until we hang up: a process that another thread forks may hold
        # the pipe for longer.
        with cheap.suppress(BrokenPipeError):  # killed; asking for a lease will tell
            os.write(self._order_fd, len(message).to_bytes(4) + message)


class daemon:  # noqa: N801 - used as a function
    """
    Give a daemon that waits for its order.

    It holds the lock of the state directory, too, from its beginning. If it is
    not told to go, it has ended on leaving; it also ends when we are killed.
    """

    __slots__ = ("_guarded", "_lock_fd", "_spawned", "_state")

    def __init__(self, state: StateDir, lock_fd: int) -> None:
        self._state = state
        self._lock_fd = lock_fd

    def __enter__(self) -> Daemon:
        with process.forks_wait:
            control = cheap.unix_socket()
            self._guarded = [process.ClosedInChildren(control.fileno(), control.close)]
            reader, writer = os.pipe()
            self._guarded += [process.ClosedInChildren(writer)]
            reading = process.ClosedInChildren(reader)
        try:
            pid = _spawn(self._state, (self._lock_fd, control.fileno(), reader))
        except BaseException:
            self._close()
            raise
        finally:
            reading.close()
        self._spawned = Daemon(pid, control, writer)
        return self._spawned

    def __exit__(self, *_: object) -> None:
        try:
            if not self._spawned.has_gone:
                self._spawned.dismiss()
        finally:
            self._close()

    def _close(self) -> None:
        for one in self._guarded:
            one.close()


def _spawn(state: StateDir, inherited: tuple[int, int, int]) -> int:
    argv = process.command(
        "oxy_pg.server.supervisor.daemon", "become_supervisor()", f"state_dir={state.root}"
    )
    return process.spawn(argv, dict(enumerate(inherited, start=LOCK_FD)), _log_file(state))


def _log_file(state: StateDir) -> str:
    """Return the supervisor's log, cut when it has grown."""
    path = state.supervisor_log
    descriptor = files.open_or_create(path, os.O_WRONLY)
    if os.fstat(descriptor).st_size > 1024 * 1024:
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
    return path
