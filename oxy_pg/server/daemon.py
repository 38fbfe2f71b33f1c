"""
The supervisor's process: how it comes to be, seen from both sides.

Whoever starts a server spawns it first and hands it its plan when the cluster
is ready, so that its interpreter starts while the cluster is made.
"""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from oxy_pg.paths import StateDir
    from oxy_pg.server.plan import Plan

# What it inherits.
_LOCK_FD = 3
_CONTROL_FD = 4
_PLAN_FD = 5

# -I -S: nothing of the caller's environment, and no site-packages: 3 ms and 3 MB less.
_MAIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from oxy_pg.server.daemon import become_supervisor; become_supervisor()"
)


class Daemon:
    """A process that becomes the supervisor when it is told to go."""

    def __init__(self, pid: int, control: socket.socket, plan_fd: int) -> None:
        self.pid = pid  # of our child, which then forks the supervisor and ends
        self.has_gone = False
        self._control = control
        self._plan_fd = plan_fd

    def go(self, plan: Plan) -> None:
        """Listen on the control socket, and hand over; raises OSError."""
        # What an earlier supervisor left is replaced.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(plan.control)
        self._control.bind(plan.control)
        os.chmod(plan.control, 0o600)
        self._control.listen(1024)
        self._tell(plan.encode())
        self.has_gone = True

    def dismiss(self) -> None:
        """Let it end, since it is not needed."""
        self._tell(b"")
        with contextlib.suppress(ChildProcessError):  # an application that reaps all children
            os.waitpid(self.pid, 0)

    def _tell(self, message: bytes) -> None:
        # With its size, and not until we hang up: a process that another thread forks may hold
        # the pipe for longer.
        with contextlib.suppress(BrokenPipeError):  # killed; whoever asks for a lease finds out
            os.write(self._plan_fd, len(message).to_bytes(4) + message)


@contextlib.contextmanager
def spawned(state: StateDir, lock_fd: int) -> Iterator[Daemon]:
    """
    Give a daemon that waits for its plan.

    It holds the lock of the state directory, too, from its beginning. If it is
    not told to go, it has ended on leaving; it also ends when we are killed.
    """
    import socket

    from oxy_pg.server import lock

    with contextlib.ExitStack() as stack:
        control = stack.enter_context(socket.socket(socket.AF_UNIX))
        reader, writer = os.pipe()
        stack.callback(os.close, writer)
        for descriptor in (control.fileno(), writer):
            stack.enter_context(lock.held_by_us(descriptor))
        try:
            pid = _spawn(state, (lock_fd, control.fileno(), reader))
        finally:
            os.close(reader)
        daemon = Daemon(pid, control, writer)
        try:
            yield daemon
        finally:
            if not daemon.has_gone:
                daemon.dismiss()


def _spawn(state: StateDir, inherited: tuple[int, int, int]) -> int:
    import fcntl
    import signal

    from oxy_pg.server import lock
    from oxy_pg.server.postmaster import environment

    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    argv = [sys.executable, "-I", "-S", "-c", _MAIN, package_root, f"state_dir={state.root}"]
    with contextlib.ExitStack() as stack:
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_OPEN, 2, _log_file(state), os.O_WRONLY | os.O_APPEND, 0),
        ]
        for number, descriptor in enumerate(inherited, start=_LOCK_FD):
            # Above the numbers that they get there, so that none overwrites another.
            copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)
            stack.callback(os.close, copy)
            stack.enter_context(lock.held_by_us(copy))
            actions.append((os.POSIX_SPAWN_DUP2, copy, number))
        # posix_spawn() and not subprocess: it takes a quarter of the time to import nothing.
        return os.posix_spawn(
            argv[0],
            argv,
            environment(),
            file_actions=actions,
            setsid=True,
            # A caller that blocks or ignores signals must not make the supervisor deaf.
            setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM),
        )


def _log_file(state: StateDir) -> str:
    """Return the supervisor's log, cut when it has grown."""
    path = f"{state.root}/supervisor.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    if os.fstat(descriptor).st_size > 1024 * 1024:
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
    return path


# --- in the process itself ---


def become_supervisor() -> None:
    """Wait for the plan; become a daemon, and supervise."""
    for name in os.listdir("/dev/fd"):
        if int(name) > _PLAN_FD:
            try:
                os.close(int(name))  # a pipe of the caller's that it had not closed on exec
            except OSError:
                continue  # the one that listed them
    os.umask(0o077)
    os.chdir("/")

    from oxy_pg.server.plan import Plan, start_postmaster

    plan = Plan.decode(_read(_PLAN_FD))
    if plan is None:
        return  # we are not needed, or whoever has spawned us was killed
    os.close(_PLAN_FD)
    if os.fork():
        os._exit(0)  # so that nobody has to wait for us
    os.set_inheritable(_LOCK_FD, False)
    os.set_inheritable(_CONTROL_FD, False)
    _sign_the_lock()
    _allow_many_files()
    # PostgreSQL starts while we import what supervising takes.
    started = None if plan.adopt else start_postmaster(plan, plan.ports[0])

    import socket

    from oxy_pg.server.supervisor import Supervisor

    control = socket.socket(fileno=_CONTROL_FD)
    control.listen(1024)  # again: the peer that clients see is now this process
    Supervisor(plan, control).run(started)


def _read(descriptor: int) -> bytes:
    """Read one message with its size before it; as much as there is when the writer is gone."""
    size = int.from_bytes(os.read(descriptor, 4))
    message = b""
    while len(message) < size and (part := os.read(descriptor, size - len(message))):
        message += part
    return message


def _sign_the_lock() -> None:
    try:
        os.ftruncate(_LOCK_FD, 0)
        os.pwrite(_LOCK_FD, f"{os.getpid()} supervisor\n".encode(), 0)
    except OSError:
        return  # a full disk: only a message would have named us


def _allow_many_files() -> None:
    """Every lease takes one."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):
        return  # macOS: "unlimited" is more than it grants
