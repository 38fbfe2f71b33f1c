"""What all tests share: places and processes of their own, and a look at what is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from oxy_pg import Server
from tests.other_servers import debian_15, pgbouncer, postgresql_18, standby  # noqa: F401

for name in ("OXY_DATABASE_URL", "OXY_STATE_DIR", "OXY_PG_KEEP_ALIVE"):
    os.environ.pop(name, None)


# nohup, and a shell that runs a command with `&`, have SIGINT ignored. The programs that tests
# start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the long tests; see noxfile.py")


def pytest_xdist_auto_num_workers(config):
    """
    How many workers ``--numprocesses=auto``, the default here, stands for.

    None for tests that are named one by one, where starting workers takes longer than it saves, and
    with ``-s``, because nothing that a worker prints is shown. Not more than there are processors:
    tests that measure time would fail.
    """
    named = config.args and all("::" in argument for argument in config.args)
    if named or config.option.capture == "no":
        return 0
    return min(4, os.cpu_count() or 1)


def pytest_collection_modifyitems(config, items):
    """Leave out the long tests unless --long is given; noxfile.py has a session for each kind."""
    if not config.getoption("--long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """
    Ctrl-C reaches what the tests start, also where the tests were started by nohup or with ``&``.

    A child inherits that SIGINT is ignored, and Python then leaves it so.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def base_dir():
    """
    A directory for all files of this run; at the end nothing else may be left.

    Under root, the user that PostgreSQL runs as can enter it.
    """
    started = time.time()
    base = Path(tempfile.mkdtemp(prefix="oxy_pg-tests-", dir=roomy_dir())).resolve()
    base.chmod(0o711)
    temp_dir = base / "tmp"
    temp_dir.mkdir()
    temp_dir.chmod(0o1777)
    # The template and temporary servers are created below it.
    os.environ["OXY_PG_CACHE_DIR"] = str(base / "cache")
    os.environ["OXY_PG_BINARIES_DIR"] = str(base / "binaries")
    os.environ["XDG_STATE_HOME"] = str(base / "xdg-state")
    os.environ["TMPDIR"] = tempfile.tempdir = str(temp_dir)
    # An editable installation may not have its bytecode yet, and tests must not measure compiling.
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", str(Path(__file__).parent.parent / "oxy_pg")],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        check=False,
    )
    yield base
    left = wait_until(lambda: not leftovers(base, started), 10) or leftovers(base, started)
    shutil.rmtree(base, ignore_errors=True)
    assert left is True, f"left behind: {left}"


def roomy_dir() -> str:
    """In memory, if there is enough: some disks take a second to delete a cluster."""
    try:
        return "/dev/shm" if shutil.disk_usage("/dev/shm").free > 4e9 else "/tmp"
    except OSError:
        return "/tmp"


def leftovers(base: Path, started: float) -> list[str]:
    """All that this run has left behind."""
    found = [f"process {pid}: {words[:120]}" for pid, words in processes_below(base).items()]
    found += [f"directory {path}" for path in (base / "tmp").glob("oxy_pg-*/*")]
    found += [f"socket {path}" for path in base.glob("**/.s.PGSQL.*")]
    found += [f"segment {line}" for line in abandoned_segments(started)]
    return found


def processes_below(base: Path) -> dict[int, str]:
    """The PostgreSQL processes and supervisors whose files are below a directory."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            words = " ".join(process.cmdline())
            ours = "postgres" in words or "oxy_pg.server" in words
            if ours and (str(base) in words or process.cwd().startswith(str(base))):
                found[process.pid] = words
    return found


def abandoned_segments(started: float) -> list[str]:
    """
    Shared memory that was created since then, and that no process is attached to.

    Only in CI: elsewhere other programs may have created it.
    """
    found: list[str] = []
    if "CI" not in os.environ:
        return found
    sysv = Path("/proc/sysvipc/shm")
    if sysv.exists():
        header, *lines = sysv.read_text().splitlines()
        names = header.split()
        for line in lines:
            segment = dict(zip(names, line.split(), strict=False))
            unused = segment["nattch"] == "0" and not psutil.pid_exists(int(segment["cpid"]))
            if unused and int(segment["ctime"]) >= started:
                found.append(f"shmid {segment['shmid']}")
    return found


def wait_until(condition, timeout: float = 10.0) -> bool:
    """Return whether a condition became true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def state_dir(base_dir):
    """A state directory for this test, without a server in it afterwards."""
    path = Path(tempfile.mkdtemp(prefix="state-", dir=base_dir))
    path.chmod(0o711)
    yield path / "state"
    stop_everything_below(path)
    shutil.rmtree(path, ignore_errors=True)


def stop_everything_below(path: Path) -> None:
    for pid, words in processes_below(path).items():
        if "oxy_pg.server" in words:
            send(pid, signal.SIGCONT)
            send(pid, signal.SIGTERM)
    if not wait_until(lambda: not processes_below(path), 20):
        for pid in processes_below(path):
            send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@pytest.fixture
def server(state_dir):
    """A running server for this test."""
    with Server(state_dir, keep_alive=1) as handle:
        handle.ensure_database()
        yield handle


@pytest.fixture
def run_python():
    """Run code in a new process; return its output, or fail with its errors."""

    def run(code: str, timeout: float = 60, **variables: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def start_python():
    """Start code in new processes, which are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **variables: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", code],
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def cli():
    """Run ``oxy-pg`` as a user does; returns the finished process."""

    def run(*arguments: object, timeout: float = 60, cwd=None, **variables: object):
        return subprocess.run(
            [sys.executable, "-m", "oxy_pg", *map(str, arguments)],
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
