"""
One of PostgreSQL's programs, run to its end.

Not with subprocess: it waits on a pipe until its child has begun, and a
process that another thread forks at that moment holds that pipe as long as it
lives (bpo-2320). A pool of workers would have kept the first start waiting.
"""

from __future__ import annotations

import os
import signal
import tempfile

from oxy_pg.system import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oxy_pg.server.cluster.account import Account
    from oxy_pg.system.deadline import Deadline

# posix_spawn() cannot change the user, and the new user may not be able to enter our directory.
_AS_USER = """
import os, sys
uid, gid, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.chdir("/")
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
try:
    os.execv(program, sys.argv[3:])
except FileNotFoundError:
    sys.exit(f"{program} cannot be run: it, or its interpreter, is missing")
except OSError as error:
    sys.exit(f"{program} cannot be run: {error.strerror}")
"""


def run(
    command: list[str],
    account: Account,
    deadline: Deadline,
    environment: dict[str, str],
    said_to_it: str = "",
) -> str | None:
    """
    Run a program under ``account``; return None when it has worked, or else what it said.

    ``command`` begins with the program's full path, ``said_to_it`` is what it
    reads. At the deadline it is killed. It stays in our process group: a
    kill of that group means all of it. Raises OSError where it cannot be run.
    """
    name = os.path.basename(command[0])
    if account.demoted:
        words = (str(account.uid), str(account.gid), *command)
        command = [process.python(), "-I", "-S", "-c", _AS_USER, *words]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
        said.write(said_to_it.encode())
        said.seek(0)
        pid = _spawn(
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, said.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, answer.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, answer.fileno(), 2),
            ],
            setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM),
        )
        try:
            code = _wait(pid, deadline)
        except BaseException:
            _kill(pid)
            raise
        if code is None:
            _kill(pid)
            return f"{name} had not finished when the {deadline.timeout:g} s of `timeout` were over"
        answer.seek(0)
        output = answer.read().decode(errors="replace")
    if code == 0:
        return None
    return output if code > 0 else f"{output}\n{name} was ended by signal {-code}"


def _spawn(command: list[str], environment: dict[str, str], **options: Any) -> int:
    try:
        return os.posix_spawn(command[0], command, environment, **options)
    except FileNotFoundError as error:
        if not os.path.exists(command[0]):
            raise
        words = f"its interpreter {_interpreter(command[0])} is missing"
        raise FileNotFoundError(error.errno, words, command[0]) from error


def _interpreter(path: str) -> str:
    """Return the loader that a program names for itself (ELF), as far as it can be found."""
    import re

    with open(path, "rb") as file:
        found = re.search(rb"(/[\w./-]*/ld[\w.-]*)\0", file.read(4096))
    return found[1].decode() if found else "(in its first line, or its loader)"


def _kill(pid: int) -> None:
    """Kill a program and what it has started; initdb runs PostgreSQL."""
    import contextlib

    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill(pid)


def _wait(pid: int, deadline: Deadline) -> int | None:
    """Return the exit code; None when the time is up before it ends."""
    for _ in deadline.attempts(0.001, 0.002):
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # an application that reaps all children, or ignores SIGCHLD
            return 0  # as subprocess has it; if it has failed, the next step tells
        if ended:
            return os.waitstatus_to_exitcode(status)
    return None
