"""One postmaster process: spawn it, signal it, read what its pid file says."""

from __future__ import annotations

import itertools
import os
import sys

from oxy_pg.system import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # signal itself imports enum: two more milliseconds in every start

# PostgreSQL 16 manual, 19.5: how a postmaster is told to go.
STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}

_FOR_A_POSTMASTER = (*STOP_SIGNALS.values(), signal.SIGHUP, signal.SIGCHLD, signal.SIGIO)

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
_IPC_RMID = 0  # shmctl(2)


class PidFile:
    """
    What ``postmaster.pid`` says (src/include/utils/pidfile.h); a claim, not a proof.

    Pids are reused, and the file survives its writer.
    """

    __slots__ = ("data_dir", "pid", "port", "segment", "socket_dir", "started_at", "status")

    def __init__(self, lines: list[str]) -> None:
        self.pid = int(lines[0])
        self.data_dir = lines[1]
        self.started_at = int(lines[2])
        self.port = int(lines[3])
        self.socket_dir = lines[4]
        self.segment = lines[6] if len(lines) > 6 else ""  # another one after a backend's crash
        self.status = lines[7].strip() if len(lines) > 7 else "starting"


def _pid_file(data_dir: str) -> str:
    return f"{data_dir}/postmaster.pid"


def read_pid_file(data_dir: str) -> PidFile | None:
    """Return what ``postmaster.pid`` says; None where there is none, or it is half written."""
    try:
        with open(_pid_file(data_dir), "rb") as file:
            lines = file.read(4096).decode(errors="surrogateescape").split("\n")
        return PidFile(lines)
    except (OSError, ValueError, IndexError):
        return None


def spawn(argv: list[str], stderr_path: str, uid: int, gid: int) -> int:
    """
    Start ``postgres`` under the given user, and return its pid.

    On Linux it gets a fast shutdown when this process dies, however it dies
    (prctl(2), PR_SET_PDEATHSIG; only for a process with one thread, because
    it is the thread's death that counts).
    """
    parent = os.getpid()
    # A shutdown that comes before the child has its own handlers would be taken by ours, and lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_A_POSTMASTER)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid
    try:
        die_with_parent = _parent_death_signal()
        if os.geteuid() != uid:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        os.umask(0o077)
        null = os.open(os.devnull, os.O_RDWR)
        stderr = os.open(stderr_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(stderr, 2)
        signal.set_wakeup_fd(-1)
        for number in _FOR_A_POSTMASTER:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # After the user has changed, which would clear it, and before exec, which keeps it.
        if die_with_parent is not None:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
        os.execve(argv[0], argv, process.environment())  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - this process must not go on
        os.write(2, f"could not start {argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _parent_death_signal() -> Callable[[], object] | None:
    """Return what asks the kernel for a fast shutdown at the parent's death; None elsewhere."""
    if sys.platform != "linux":
        return None
    # Imported in the child alone: it would stay in the supervisor's memory. And before
    # the user changes, who may not be able to read the standard library of root's Python.
    prctl = _bare_prctl() or _full_prctl()
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _bare_prctl() -> Callable[[int, int], int] | None:
    """Return prctl(2) without all of ctypes, which every start would wait for; or None."""
    try:
        import _ctypes

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL

        ourselves = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        return Function(_ctypes.dlsym(ourselves, "prctl"))
    except (ImportError, AttributeError, TypeError, OSError):  # not CPython, or another one
        return None


def _full_prctl() -> Callable[[int, int], int]:
    import ctypes

    found: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return found


def collect_orphans() -> None:
    """
    Make this process the parent of those that lose theirs, the log collector for one.

    Process 1 of a container may not wait for anything, and they would stay as
    zombies (prctl(2), PR_SET_CHILD_SUBREAPER).
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def running(data_dir: str) -> int:
    """
    Return the pid of a postmaster that serves this data directory, or 0.

    Only for the holder of the lock. A pid file that lies is removed: when its
    pid belongs to a process that has nothing to do with this directory, when
    it is a zombie, or when it cannot be read, and no PostgreSQL process
    works in the directory. What is left of a postmaster that was killed is
    left to PostgreSQL.
    """
    found = read_pid_file(data_dir)
    path = _pid_file(data_dir)
    if found is None and not os.path.lexists(path):
        return 0
    if found is not None and found.pid > 0 and not process.exists(found.pid):
        return 0
    working = serving(data_dir)
    if found is not None and found.pid in working:
        return found.pid
    if not working:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return 0  # it ended just now, and removed its file
    return 0


def serving(data_dir: str) -> list[int]:
    """
    Return the pids of every PostgreSQL process that works in this data directory.

    They all have it as their working directory; that, and not a pid in a
    file, tells that they are there.
    """
    if sys.platform == "linux":  # without psutil, which the supervisor does not have
        pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in pids if _works_in(pid, data_dir)]
    import contextlib

    import psutil

    found = []
    for candidate in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error, OSError):
            if candidate.info["name"].startswith("postgres") and _same(candidate.cwd(), data_dir):
                found.append(candidate.pid)
    return found


def _works_in(pid: int, data_dir: str) -> bool:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            if not file.read().startswith(b"postgres"):
                return False
        return os.path.samefile(f"/proc/{pid}/cwd", data_dir)
    except PermissionError:
        # Root in a container has no CAP_SYS_PTRACE, and cannot see where another user's process
        # works. Command lines are open to all; a backend's says nothing, but its parent's does.
        return _was_started_for(pid, data_dir) or _was_started_for(process.parent_of(pid), data_dir)
    except OSError:
        return False  # it has gone, or is a zombie


def _was_started_for(pid: int, data_dir: str) -> bool:
    return any(
        option == "-D" and _same(directory, data_dir)
        for option, directory in itertools.pairwise(process.command_line(pid))
    )


def launched(data_dir: str) -> list[int]:
    """
    Return the pids of postmasters that were started for this data directory.

    Unlike ``running()`` it finds one that has been started just now, and has
    neither written its pid file nor gone into its directory.
    """
    import contextlib

    import psutil

    found = []
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, IndexError):
            words = candidate.cmdline()
            if os.path.basename(words[0]) == "postgres" and any(
                option == "-D" and _same(directory, data_dir)
                for option, directory in itertools.pairwise(words)
            ):
                found.append(candidate.pid)
    return found


def dies_with_supervisor(pid: int, socket_dir: str) -> bool:
    """Whether ``spawn()`` started this postmaster, so that its supervisor's death is its end."""
    return sys.platform == "linux" and _socket_option(socket_dir) in process.command_line(pid)


def command(postgres: str, data_dir: str, socket_dir: str, port: int) -> list[str]:
    """Return the command line of a postmaster of ours."""
    # In full: postgres finds its own files from argv[0].
    return [postgres, "-D", data_dir, "-p", str(port), "-c", _socket_option(socket_dir)]


def _socket_option(socket_dir: str) -> str:
    return f"unix_socket_directories={socket_dir}"


def _same(one: str, other: str) -> bool:
    try:
        return bool(one) and os.path.samefile(one, other)
    except OSError:
        return False


def remove_sockets(socket_dir: str) -> None:
    """
    Remove the sockets of a postmaster that has gone, and their lock files.

    As root this is in a directory of another user: no link is followed, and
    nothing is touched but what PostgreSQL makes.
    """
    directory = os.open(socket_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in os.listdir(directory):
            if name.startswith(".s.PGSQL."):
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def signal_stop(pid: int, mode: str) -> None:
    """Tell a postmaster to go, also one that was stopped with SIGSTOP; it may be gone already."""
    try:
        os.kill(pid, STOP_SIGNALS[mode])
        os.kill(pid, signal.SIGCONT)  # it would not learn of the other one
    except ProcessLookupError:
        return


def remove_segment(data_dir: str) -> None:
    """
    Remove the shared memory of a postmaster that was killed, before its directory goes.

    The next start would do it, but there will be none. Its number is in
    the seventh line of the pid file, which a clean shutdown removes.
    """
    try:
        with open(_pid_file(data_dir), "rb") as file:
            segment = int(file.read(4096).split(b"\n")[6].split()[1])
    except (OSError, ValueError, IndexError):
        return
    if os.geteuid() == 0 and not _is_segment_of(segment, os.stat(data_dir).st_uid):
        return  # the pid file is another user's, and may name any segment
    import ctypes

    ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)


def _is_segment_of(segment: int, uid: int) -> bool:
    try:
        with open("/proc/sysvipc/shm", "rb") as file:
            header, *lines = (line.split() for line in file.read().splitlines())
    except (OSError, ValueError):
        return False
    key, owner = header.index(b"shmid"), header.index(b"uid")
    return any(int(line[key]) == segment and int(line[owner]) == uid for line in lines)
