"""
oxy_pg beside what PostgreSQL and the interpreter themselves take: the limit of each step.

A ratio to another package says as much about that package. No server can be
ready before its postmaster is, and no process can attach before its Python
has started. Contender and limit take turns on the same files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks import place
from benchmarks.result import OURS, Result

if TYPE_CHECKING:
    from collections.abc import Callable

INTERPRETER = "python -c pass"
BARE_START = "bare postmaster"
INITDB = "initdb --no-sync + bare postmaster"
COPY = "copy of the files + bare postmaster"
BY_HAND = "CREATE DATABASE … TEMPLATE by hand"
_FEW = 5  # rounds in which everything is measured: one figure alone says little
NAMES = (INTERPRETER, BARE_START, INITDB, COPY, BY_HAND)

_START = """
import time, oxy_pg, oxy_pg._api
began = time.perf_counter()
oxy_pg.ensure(state_dir={state!r}, keep_alive=0)
print(time.perf_counter() - began)
oxy_pg.Server({state!r}).stop()
"""
_ATTACH = "import oxy_pg; oxy_pg.ensure(state_dir={state!r})"
_HOLD = (
    "import oxy_pg, sys; print(oxy_pg.ensure(state_dir={state!r}), flush=True); sys.stdin.read()"
)


def measure(base: Path, rounds: int) -> list[Result]:
    """Measure every step and its limit, in turn."""
    home = base / "limits"
    home.mkdir(mode=0o711)
    return [*_starts(home, rounds), *_attaching(home, rounds), _databases(home, rounds)]


# --- starts ---


def _starts(home: Path, rounds: int) -> list[Result]:
    warm = Result("limit-warm-start", "warm start, in the process", "ms")
    first = Result("limit-first-start", "first start ever, in the process", "ms")
    new = Result("limit-new-cluster", "new cluster from the template, in the process", "ms")
    state = home / "warm"
    _ours(state, home / "cache")
    bare = _Bare(home, state / "postgres_data")
    for number in range(rounds):
        warm.add(OURS, _ours(state, home / "cache"))
        warm.add(BARE_START, bare.start(bare.cluster))
        if number % 3 and rounds > _FEW:
            continue  # each of these writes some hundred files
        # Ours syncs a new cluster, and would wait for what the others have only written, too.
        os.sync()
        first.add(OURS, _ours(home / f"first{number}", home / f"cache{number}"))
        first.add(INITDB, bare.timed(bare.initdb))
        os.sync()
        new.add(OURS, _ours(home / f"new{number}", home / "cache"))
        new.add(COPY, bare.timed(bare.copy))
    return [warm, first, new]


def _ours(state: Path, cache: Path) -> float:
    """Start our server and stop it; milliseconds of the start."""
    done = subprocess.run(
        [sys.executable, "-c", _START.format(state=str(state))],
        env=place.with_cache(cache),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout) * 1000


class _Bare:
    """PostgreSQL's own programs, run as the user that ours run as."""

    def __init__(self, home: Path, cluster: Path) -> None:
        from oxy_pg.server.cluster import binaries

        self.cluster = cluster.resolve()
        self._bin_dir = Path(binaries.find().bin_dir)
        found = self.cluster.stat()
        self._owner = found.st_uid, found.st_gid
        self._user: dict[str, object] = (
            {}
            if os.geteuid()
            else {"user": found.st_uid, "group": found.st_gid, "extra_groups": []}
        )
        self._home = home / "bare"
        self._home.mkdir(mode=0o700)
        os.chown(self._home, *self._owner)
        self._made = 0

    def start(self, cluster: Path) -> float:
        """Start a postmaster and stop it; milliseconds from exec until it says that it is ready."""
        pid_file = cluster / "postmaster.pid"
        command = [self._bin_dir / "postgres", "-D", cluster, "-p", "54329", "-k", self._home]
        began = time.perf_counter()
        with subprocess.Popen(
            command,
            cwd=self._home,
            env=place.environment(LC_ALL="C"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,  # type: ignore[call-overload]
        ) as postmaster:
            while not _is_ready(pid_file):
                if postmaster.poll() is not None:
                    raise RuntimeError(f"the bare postmaster of {cluster} has ended")
                time.sleep(0.0005)
            seconds = time.perf_counter() - began
            postmaster.terminate()
        return seconds * 1000

    def timed(self, make: Callable[[Path], None]) -> float:
        """Make a cluster and start it; milliseconds."""
        self._made += 1
        cluster = self._home / f"cluster{self._made}"
        began = time.perf_counter()
        make(cluster)
        seconds = time.perf_counter() - began
        return seconds * 1000 + self.start(cluster)

    def initdb(self, cluster: Path) -> None:
        """As ours is made."""
        subprocess.run(
            [
                *(self._bin_dir / "initdb", "--no-sync", "--username=postgres", "--encoding=UTF8"),
                *("--locale=C", "--auth=trust", "--wal-segsize=4", f"--pgdata={cluster}"),
            ],
            cwd=self._home,
            env=place.environment(LC_ALL="C"),
            stdout=subprocess.DEVNULL,
            check=True,
            **self._user,  # type: ignore[call-overload]
        )

    def copy(self, cluster: Path) -> None:
        """Copy the files of a cluster that is stopped."""
        shutil.copytree(self.cluster, cluster, symlinks=True)
        if not os.geteuid():
            for path in (cluster, *cluster.rglob("*")):
                os.chown(path, *self._owner, follow_symlinks=False)


def _is_ready(pid_file: Path) -> bool:
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


# --- a running server ---


def _attaching(home: Path, rounds: int) -> list[Result]:
    state = str(home / "running")
    program = [sys.executable, "-m", "oxy_pg"]
    results = {
        Result("limit-attach", "attach from a new process, whole", "ms"): [
            *(sys.executable, "-c", _ATTACH.format(state=state))
        ],
        Result("limit-url", "`oxy-pg url`, whole", "ms"): [*program, "url"],
        Result("limit-env", "`oxy-pg env`, whole", "ms"): [*program, "env"],
        Result("limit-status", "`oxy-pg status --json`, whole", "ms"): [
            *(*program, "status", "--json")
        ],
    }
    with _holder(state, home):
        for _ in range(rounds):
            interpreter = _whole([sys.executable, "-c", "pass"], state)
            for result, command in results.items():
                result.add(INTERPRETER, interpreter)
                result.add(OURS, _whole(command, state))
    return [*results]


def _whole(command: list[str], state: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        command, env=place.environment(OXY_STATE_DIR=state), capture_output=True, check=True
    )
    return (time.perf_counter() - began) * 1000


class _holder:  # noqa: N801 - a context
    """A server that runs meanwhile; gives its URL."""

    def __init__(self, state: str, home: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLD.format(state=state)],
            env=place.with_cache(home / "cache", OXY_PG_KEEP_ALIVE="0"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._state = state

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        import oxy_pg

        self._process.communicate()
        oxy_pg.Server(self._state).stop()  # `oxy-pg url` keeps it up


def _databases(home: Path, rounds: int) -> Result:
    """A database for a test: cloned, connected to, dropped."""
    import oxy_pg

    result = Result("limit-database", "a database for a test, cloned, used and dropped", "ms")
    state = str(home / "databases")
    with _holder(state, home) as url, oxy_pg.Server(state) as server:
        server.create_database("pattern")
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(rounds):
                result.add(OURS, _timed(lambda: _by_ours(server)))
                result.add(BY_HAND, _timed(lambda: _by_hand(connection, url)))
    return result


def _by_ours(server: object) -> None:
    import oxy_pg

    assert isinstance(server, oxy_pg.Server)
    server.create_database("cloned", template="pattern")
    psycopg.connect(server.url("cloned")).close()
    server.drop_database("cloned")


def _by_hand(connection: psycopg.Connection[tuple[object, ...]], url: str) -> None:
    connection.execute("CREATE DATABASE by_hand TEMPLATE pattern")
    psycopg.connect(url.rpartition("/")[0] + "/by_hand").close()
    connection.execute("DROP DATABASE by_hand WITH (FORCE)")


def _timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000
