"""One of PostgreSQL's client programs as a process of ours: started, listened to, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from psycopg import conninfo

from oxy_pg.errors import ConfigurationError, ToolFailed
from oxy_pg.system import process
from oxy_pg.transfer.tools import environment
from oxy_pg.url import check, plain, session_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from oxy_pg.installations import Installation

_KEPT_LINES = 60  # of standard error, from its beginning and from its end
# Asks the kernel for SIGTERM when the parent dies (prctl(2), PR_SET_PDEATHSIG), and becomes the
# program. Not a preexec_fn of subprocess: that is not safe in a process with threads.
_DIES_WITH_US = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_ENDS_WITHIN = 10.0  # seconds for a program to cancel its query at the server, and end


class Running:
    """
    A program that runs; a context manager that never leaves it behind.

    ``stdin`` and ``stdout`` are as for subprocess.Popen; a pipe is ``self.stdin``
    and ``self.stdout``. ``url`` is the server's, if it has to connect to one:
    all of it is in the program's arguments, except the password, which is in
    its environment, which only this user and root can read. ``application`` is
    its application_name at the server, ``settings`` what its sessions begin with,
    which a pooler may not take. ``on_line`` gets each line of its
    standard error (``--verbose``), in another thread.

    An exception inside the block, such as KeyboardInterrupt, ends the program,
    which cancels its query at the server first. When this process is killed, it
    ends too, on Linux (prctl(2), PR_SET_PDEATHSIG: the end of the thread that
    started it counts). At the end of the block ToolFailed is raised if it
    failed, with what it has written to standard error.
    """

    def __init__(
        self,
        tools: Installation,
        name: str,
        arguments: Sequence[str] = (),
        *,
        url: str | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        application: str = "oxy_pg",
        settings: Mapping[str, str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> None:
        self.name = name
        self.first: list[str] = []
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lines = 0
        self._on_line = on_line
        self._password = ""
        words = [tools.program(name), *arguments]
        variables = {**environment(url), "LC_ALL": "C"}
        if url is not None:
            address, self._password = _address(url, application, settings or {})
            words += ["--no-password", f"--dbname={address}"]
            if self._password:
                variables["PGPASSWORD"] = self._password
        if sys.platform == "linux":
            ours = str(os.getpid())
            words = [process.python(), "-I", "-S", "-c", _DIES_WITH_US, ours, *words]
        self.process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=variables,
            # Ctrl-C is for us to pass on: else it might fail before we know why.
            process_group=0,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to its standard input."""
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def output(self) -> str:
        """What it has written to standard error, shortened in the middle."""
        return "\n".join((*self.first, *self.last)).replace(self._password or "\0", "***")

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._lines += 1
            (self.first if len(self.first) < _KEPT_LINES else self.last).append(line)
            if self._on_line is not None:
                self._on_line(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is BrokenPipeError:  # it has ended, and says why
            self._close_pipes()
            self.wait()
        if kind is None:
            self.wait()
        else:
            self.stop()

    def is_running_after(self, seconds: float) -> bool:
        """Wait that long at most; return whether it is still running."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def wait(self) -> None:
        """Wait until it has ended; raises ToolFailed if it has failed."""
        try:
            self.process.wait()
        except BaseException:
            self.stop()
            raise
        self._reap()
        if self.process.returncode:
            raise ToolFailed(
                self.name,
                self.output,
                self.process.returncode,
                shortened=self._lines > 2 * _KEPT_LINES,
            )

    def stop(self) -> None:
        """End it: it cancels its query first; one that takes too long is killed."""
        try:
            # Before its input ends: psql would take that for the end of the script.
            self.process.terminate()
            self._close_pipes()
            self.process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
        except BaseException:
            self.process.kill()
            raise
        finally:
            self.process.wait()
            self._reap()

    def _reap(self) -> None:
        self._close_pipes()
        # A worker of a parallel dump that outlives its leader may hold the pipe a moment longer.
        self._listener.join(_ENDS_WITHIN)
        if self.process.stderr is not None and not self._listener.is_alive():
            self.process.stderr.close()

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


def run(
    tools: Installation,
    name: str,
    arguments: Sequence[str] = (),
    *,
    url: str | None = None,
) -> bytes:
    """Run a program to its end and return its standard output; raises ToolFailed."""
    with Running(tools, name, arguments, url=url, stdout=subprocess.PIPE) as program:
        return program.stdout.read()


def _address(url: str, application: str, settings: Mapping[str, str]) -> tuple[str, str]:
    """Return a connection string without the password, and the password."""
    address = plain(url, "The URL")
    check(address, "The URL")
    parts = conninfo.conninfo_to_dict(address)
    if parts.pop("sslpassword", None) is not None:
        raise ConfigurationError(
            "The URL has an sslpassword, which PostgreSQL's client programs take only on their "
            "command line, where every user can read it. Use a key without a password, in a file "
            "that only you can read."
        )
    password = str(parts.pop("password", None) or "")
    parts["application_name"] = application
    if settings:
        parts["options"] = f"{parts.get('options') or ''} {session_options(settings)}".strip()
    return conninfo.make_conninfo("", **parts), password
