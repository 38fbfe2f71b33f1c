"""PostgreSQL's client programs: pg_dump, pg_restore and psql, found for a server and run."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from psycopg import conninfo

from oxy_pg import installations
from oxy_pg.errors import ConfigurationError, ToolFailed, ToolsNotFound
from oxy_pg.url import check, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

PROGRAMS = ("pg_dump", "pg_restore", "psql")

# More places than the server's: a machine may have the client programs alone.
_CLIENT_DIRS = (
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/{}/bin",
)
_NO_SSL = "SSL support is not compiled in"  # libpq, src/interfaces/libpq/fe-connect.c
_KEPT_LINES = 60  # of what a program says, from its beginning and from its end
# Asks the kernel for SIGTERM when the parent dies (prctl(2), PR_SET_PDEATHSIG), and becomes the
# program. Not a preexec_fn of subprocess: that is not safe in a process with threads.
_DIES_WITH_US = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_PATIENCE = 10.0  # seconds that a program has to cancel its query at the server, and go


@dataclass(frozen=True, slots=True)
class Tools:
    """The client programs of one installed PostgreSQL."""

    provider: str  # "OXY_PG_BIN_DIR", a Python package's name, "system", "PATH"
    version: str  # "16.14"
    bin_dir: str

    @property
    def major(self) -> int:
        """The major version: what decides which servers and archives they can serve."""
        return installations.major_of(self.version)

    def program(self, name: str) -> str:
        """Return the full path of one of them."""
        return f"{self.bin_dir}/{name}"

    def has_ssl(self) -> bool:
        """
        Whether their libpq can speak TLS; the provider packages' cannot.

        Asked of the program itself, which answers before it connects anywhere:
        libpq checks sslmode first, and the place named does not exist.
        """
        try:
            answer = subprocess.run(
                [self.program("psql"), "--no-password", "host=/nonexistent sslmode=require"],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=20,
                env={**os.environ, "LC_ALL": "C"},
            ).stderr
        except (OSError, subprocess.SubprocessError):
            return False
        return _NO_SSL not in answer


def find(needed: int, *, ssl: bool = False) -> Tools:
    """
    Return the client programs that can serve a server, or an archive, of major version ``needed``.

    pg_dump refuses a server that is newer than itself, and pg_restore an
    archive that a newer one wrote. Of all that will do, those nearest to
    ``needed`` are taken, and of these the newest: what a newer major version
    writes contains settings that an older server does not know. OXY_PG_BIN_DIR
    comes first if it will do; then the provider packages of this Python, the
    system's own, and PATH.

    With ``ssl`` they have to be built with SSL: for a connection that is
    encrypted, or has to be (``needs_ssl()``). Raises ToolsNotFound, which
    lists what there is, and why it will not do.
    """
    refused = []
    suitable = []
    for tools in installed():
        reason = _why_not(tools, needed, ssl=ssl)
        if reason is None:
            suitable.append(tools)
        else:
            refused.append(f"{tools.bin_dir} ({tools.provider}): {tools.version}, {reason}")
    if not suitable:
        raise ToolsNotFound(needed, (*refused, *_places()), ssl=ssl)
    return min(suitable, key=_preference)


def installed() -> list[Tools]:
    """Return all client programs that this machine has, each directory once."""
    found = {}
    for provider, bin_dir in _candidates():
        real = os.path.realpath(bin_dir)
        if real in found or not all(_is_program(f"{bin_dir}/{name}") for name in PROGRAMS):
            continue
        # Not what a header says: /usr/include beside /usr/bin may belong to another version.
        version = installations.told_version(f"{bin_dir}/pg_dump")
        if version:
            found[real] = Tools(provider, version, bin_dir)
    return list(found.values())


def at(bin_dir: str, version: str) -> Tools | None:
    """Return the client programs that stand beside a server's; None where one is missing."""
    if not all(_is_program(f"{bin_dir}/{name}") for name in (*PROGRAMS, "pg_dumpall")):
        return None
    return Tools("server", version, bin_dir)


def _candidates() -> Iterator[tuple[str, str]]:
    given = os.environ.get("OXY_PG_BIN_DIR")
    if given:
        yield "OXY_PG_BIN_DIR", os.path.abspath(os.path.expanduser(given))
    packages = (*installations.PACKAGES, *installations.OTHER_PACKAGES)
    yield from installations.packaged(packages, "pg_dump")
    for place in (*installations.SYSTEM_DIRS, *_CLIENT_DIRS):
        for bin_dir in sorted(glob.glob(place.format("*"))):
            yield "system", bin_dir
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(entry):
            yield "PATH", entry


def _is_program(path: str) -> bool:
    # Debian's /usr/bin/pg_dump is a script that chooses the version by itself.
    is_wrapper = os.path.basename(os.path.realpath(path)) == "pg_wrapper"
    return os.access(path, os.X_OK) and not is_wrapper


def _why_not(tools: Tools, needed: int, *, ssl: bool) -> str | None:
    if tools.major < needed:
        return f"older than {needed}"
    if ssl and not tools.has_ssl():
        return "built without SSL, which this connection needs"
    return None


def _preference(tools: Tools) -> tuple[bool, int, int]:
    given = tools.provider == "OXY_PG_BIN_DIR"
    return not given, tools.major, -installations.minor_of(tools.version)


def _places() -> Iterator[str]:
    if not os.environ.get("OXY_PG_BIN_DIR"):
        yield "OXY_PG_BIN_DIR: not set"
    yield f"nothing more in the Python packages of {sys.prefix} ({_package_names()})"
    yield "nothing more in " + ", ".join(place.format("*") for place in installations.SYSTEM_DIRS)
    yield "nothing more in PATH"


def _package_names() -> str:
    return ", ".join(name for name, _ in installations.PACKAGES)


def needs_ssl(url: str) -> bool:
    """Whether a URL, or PGSSLMODE, demands an encrypted connection."""
    mode = conninfo.conninfo_to_dict(url).get("sslmode") or os.environ.get("PGSSLMODE", "")
    return str(mode) == "require" or str(mode).startswith("verify")


# --- run one ---------------------------------------------------------------------


class Running:
    """
    One of the programs at work; a context manager that never leaves it behind.

    ``stdin`` and ``stdout`` are as for subprocess.Popen; a pipe is ``self.stdin``
    and ``self.stdout``. ``url`` is the server's, if it has to connect to one:
    everything but the password stands in its arguments, and the password in its
    environment, which only this user and root can read. ``application`` is its
    application_name at the server. ``on_line`` gets each line that it says
    (``--verbose``), in another thread.

    An exception inside the block, Ctrl-C among them, ends the program; it
    cancels its query at the server and goes. When this process is killed it goes
    too, on Linux (prctl(2), PR_SET_PDEATHSIG: the death of the thread that
    started it counts). At the end of the block ToolFailed is raised with its
    words if it failed.
    """

    def __init__(
        self,
        tools: Tools,
        name: str,
        arguments: Sequence[str] = (),
        *,
        url: str | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        application: str = "oxy_pg",
        on_line: Callable[[str], object] | None = None,
    ) -> None:
        self.name = name
        self.first: list[str] = []
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lines = 0
        self._on_line = on_line
        self._password = ""
        words = [tools.program(name), *arguments]
        environment = {**os.environ, "LC_ALL": "C"}
        if url is not None:
            address, self._password = _address(url, application)
            words += ["--no-password", f"--dbname={address}"]
            if self._password:
                environment["PGPASSWORD"] = self._password
        if sys.platform == "linux":
            ours = str(os.getpid())
            words = [sys.executable, "-I", "-S", "-c", _DIES_WITH_US, ours, *words]
        self.process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment,
            # Ctrl-C is ours to pass on: else it might fail before we know why.
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
        """What it has said on standard error, shortened in the middle."""
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
        if kind is BrokenPipeError:  # it went first, and says why
            self._close_pipes()
            self.wait()
        if kind is None:
            self.wait()
        else:
            self.stop()

    def works_on(self, seconds: float) -> bool:
        """Wait so long at most; return whether it is still at work."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def wait(self) -> None:
        """Wait until it has ended; raises ToolFailed if it did so with an error."""
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
        """End it: it cancels its query and goes, or is killed."""
        try:
            # Before its input ends: psql would take that for the end of the script.
            self.process.terminate()
            self._close_pipes()
            self.process.wait(_PATIENCE)
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
        self._listener.join(_PATIENCE)
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
    tools: Tools,
    name: str,
    arguments: Sequence[str] = (),
    *,
    url: str | None = None,
    stdin: int | IO[Any] = subprocess.DEVNULL,
) -> bytes:
    """Run one of the programs to its end and return what it prints; raises ToolFailed."""
    with Running(tools, name, arguments, url=url, stdin=stdin, stdout=subprocess.PIPE) as program:
        return program.stdout.read()


def _address(url: str, application: str) -> tuple[str, str]:
    """Return a connection string that everybody may see, and the password."""
    address = plain(url, "The URL")
    check(address, "The URL")
    if "sslpassword" in conninfo.conninfo_to_dict(address):
        raise ConfigurationError(
            "The URL has an sslpassword, which PostgreSQL's client programs take on their command "
            "line alone, where everybody can read it. Use a key without a password, in a file "
            "that only you can read."
        )
    parts = conninfo.conninfo_to_dict(address)
    password = str(parts.pop("password", None) or "")
    parts["application_name"] = application
    return conninfo.make_conninfo("", **parts), password
