"""
Processes: whether one is alive, ending one, and starting our own Python in another.

Every start of a server waits for this module's import: no ``contextlib`` and
no ``signal`` here (2 ms each).
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import Self
else:
    import _signal as signal

# The directory that the package oxy_pg is in.
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# The inode of the namespace that all others are in (PROC_PID_INIT_INO, linux/proc_ns.h).
_FIRST_PID_NAMESPACE = 0xEFFFFFFC

# By who holds them: another thread may open a descriptor under the number of one just closed.
_closed_in_children: dict[ClosedInChildren, int] = {}

# Held while a descriptor is opened and noted there, or closed and forgotten: no fork comes between.
forks_wait = _thread.RLock()


def environment() -> dict[str, str]:
    """
    Return the environment that PostgreSQL's programs get.

    None of the caller's: secrets in it would be readable for as long as the
    server runs, and PG* variables would change what is run.
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}


def is_alive(pid: int) -> bool:
    """Whether there is a process with this pid that is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except (OSError, IndexError):
        return False


def exists(pid: int) -> bool:
    """Whether there is such a process as PostgreSQL asks it: a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def command_line(pid: int) -> list[str]:
    """Return the words of a process on Linux; none where they cannot be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read()).split("\0")
    except OSError:
        return []


def parent_of(pid: int) -> int:
    """Return the pid of the parent of a process on Linux, or 0."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def kill(pid: int) -> None:
    """Kill a child of ours, and reap it."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


class ClosedInChildren:
    """
    A descriptor that children which another thread forks close; closed by us on leaving.

    One that was forked while we hold a lock or a pipe would hold it for as
    long as it lives. To be made in the same ``with forks_wait`` that opens it.
    """

    def __init__(self, descriptor: int, close: Callable[[], object] | None = None) -> None:
        self._close = close or (lambda: os.close(descriptor))
        _closed_in_children[self] = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it, the first time; in a child that was forked meanwhile it is not ours."""
        with forks_wait:
            if _closed_in_children.pop(self, None) is not None:
                self._close()


def _close_in_child() -> None:
    for descriptor in {*_closed_in_children.values()}:
        try:  # noqa: SIM105 - contextlib takes 2 ms to import
            os.close(descriptor)
        except OSError:  # its owner had closed it by another way
            pass
    _closed_in_children.clear()
    forks_wait.release()


os.register_at_fork(
    before=forks_wait.acquire,
    after_in_parent=forks_wait.release,
    after_in_child=_close_in_child,
)


def command(module: str, call: str, *arguments: str) -> list[str]:
    """
    Return the command that imports a function from ``module`` and makes the ``call``.

    The arguments are in sys.argv[2:]. -I -S: nothing of the caller's
    environment, and no site-packages: 3 ms and 3 MB less.
    """
    name = call.partition("(")[0]
    # After the standard library: the packages beside ours may have names of its modules (enum34).
    main = f"import sys; sys.path.append(sys.argv[1]); from {module} import {name}; {call}"
    return [python(), "-I", "-S", "-c", main, _ROOT, *arguments]


class NoPython(OSError):
    """There is no Python to run our own processes with; the message says what to do."""


def python() -> str:
    """
    Return the Python for our own processes: OXY_PG_PYTHON, or the one that runs this.

    In a frozen application, in uWSGI and where Python is embedded,
    ``sys.executable`` is the application, and to run it would start a second
    one. Raises NoPython.
    """
    given = os.environ.get("OXY_PG_PYTHON")
    if given:
        if os.path.isabs(given) and os.access(given, os.X_OK):
            if not (os.path.isdir(f"{_ROOT}/oxy_pg") or os.path.isfile(_ROOT)):
                raise NoPython(
                    f"The package oxy_pg is not there as files in {_ROOT}, and {given} cannot run "
                    "it: have the application's builder collect them (PyInstaller: --collect-all "
                    "oxy_pg)."
                )
            return given
        raise NoPython(f"OXY_PG_PYTHON is {given!r}, which is not the full path of a program.")
    if not getattr(sys, "frozen", False):
        if _is_python(sys.executable or ""):
            return sys.executable
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix):
            for name in (f"python{version}", "python3"):
                if _is_python(path := f"{prefix}/bin/{name}"):
                    return path
    raise NoPython(
        f"oxy_pg runs its supervisor with Python, and {sys.executable or 'nothing'} "
        "(sys.executable) is not one: this is a frozen or an embedding application. Set "
        "OXY_PG_PYTHON to the full path of a Python 3.11 or newer; the package oxy_pg has to be "
        "there as files (PyInstaller: --collect-all oxy_pg)."
    )


def has_python() -> bool:
    """Whether there is one; what works without is then done in this process."""
    try:
        python()
    except NoPython:
        return False
    return True


def _is_python(path: str) -> bool:
    name = os.path.basename(path)
    return name.startswith(("python", "pypy")) and os.access(path, os.X_OK)


def spawn(
    argv: list[str],
    descriptors: Mapping[int, int],
    errors: str = os.devnull,
    variables: Mapping[str, str] | None = None,
) -> int:
    """
    Start a command() in a session of its own, and return its pid. Raises OSError.

    ``descriptors`` are ours by the numbers that they get there; what is not
    given of 0, 1 and 2 is /dev/null, and standard error is added to ``errors``.
    ``variables`` are added to its environment().
    """
    import fcntl

    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_OPEN, 2, errors, os.O_WRONLY | os.O_APPEND, 0),
    ]
    copies: list[ClosedInChildren] = []
    try:
        for number, descriptor in descriptors.items():
            # Above the numbers that they get there, so that none overwrites another.
            with forks_wait:
                copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)
                copies.append(ClosedInChildren(copy))
            actions.append((os.POSIX_SPAWN_DUP2, copy, number))
        # posix_spawn() and not subprocess: it takes a quarter of the time to import nothing, and
        # does not wait on a pipe that another thread's fork may hold (program.py).
        return os.posix_spawn(
            argv[0],
            argv,
            environment() | dict(variables or {}),
            file_actions=actions,
            setsid=True,  # Ctrl-C in a terminal is for us
            # A caller that blocks or ignores signals must not make it deaf.
            setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM),
        )
    finally:
        for guarded in copies:
            guarded.close()


def sees_all() -> bool:
    """Whether every process of this machine is visible, and not only those of a container."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return sys.platform != "linux"
