"""
A new database for each of 50 trivial tests: oxy_pg's pytest plugin and others.

Each contender runs the same tests in a pytest session of its own, in turn.
The time of the whole session is measured, from the start of the interpreter to its
end. Each has its server where it puts it by itself: oxy_pg in memory, the others in
the temporary directory; oxy_pg once more beside them there. The others cannot run as
root, so under root all run as an ordinary user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import place
from benchmarks.result import OURS, Result

_SCHEMA = "CREATE TABLE item (id int PRIMARY KEY, name text)"

_TESTS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_trivial(connection, number):
    connection.execute("INSERT INTO item VALUES (1, 'one')")
    connection.commit()
    assert connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
"""

_OURS = f"""
import psycopg, pytest

@pytest.fixture(scope="session")
def oxy_pg_template(oxy_pg_template_url):
    with psycopg.connect(oxy_pg_template_url) as connection:
        connection.execute("{_SCHEMA}")

@pytest.fixture
def connection(oxy_pg_connection):
    return oxy_pg_connection
"""

# A database copied from its template for each test.
_PYTEST_POSTGRESQL = f"""
import psycopg
from pytest_postgresql import factories

def load(**options):
    options.pop("options", None)
    with psycopg.connect(**options) as connection:
        connection.execute("{_SCHEMA}")

server = factories.postgresql_proc(load=[load], executable="{{bin_dir}}/pg_ctl")
connection = factories.postgresql("server")
"""

# A server for each test: what one can do without a plugin.
_TESTING_POSTGRESQL = f"""
import psycopg, pytest, testing.postgresql

# What it does by itself each time, done once: initdb.
Server = testing.postgresql.PostgresqlFactory(
    cache_initialized_db=True, initdb="{{bin_dir}}/initdb", postgres="{{bin_dir}}/postgres",
    initdb_args="-U postgres -A trust", postgres_args="-h 127.0.0.1 -F -c logging_collector=off",
)

@pytest.fixture
def connection():
    with Server() as server, psycopg.connect(server.url()) as connection:
        connection.execute("{_SCHEMA}")
        connection.commit()
        yield connection
"""

BESIDE = f"{OURS}, in the temporary directory too"
_CONTENDERS = {
    OURS: ("oxy_pg", _OURS),
    BESIDE: ("oxy_pg", _OURS),
    "pytest-postgresql": ("pytest_postgresql", _PYTEST_POSTGRESQL),
    "testing.postgresql, a server for each test": ("testing.postgresql", _TESTING_POSTGRESQL),
}
# A session loads the plugin of its own contender alone, as where the others are not installed.
_PLUGINS = {OURS: "oxy_pg", BESIDE: "oxy_pg", "pytest-postgresql": "postgresql"}
_SLOW = {"testing.postgresql, a server for each test"}  # once is enough
_DEBIAN = Path("/usr/lib/postgresql/15/bin")


def measure(base: Path, tests: int, rounds: int, names: tuple[str, ...] = ()) -> Result:
    """Run the suites ``rounds`` times after a first time that fills caches."""
    key, what = "suite", f"{tests} tests, each with a new database, session included"
    if tests == 1:
        key, what = "suite-cold", "cold start: a session with one test"
    result = Result(key, what, "s")
    home = base / f"suites{tests}"
    home.mkdir()
    directories = {}
    for number, (name, (module, conftest)) in enumerate(_CONTENDERS.items()):
        if names and name not in names:
            continue
        if not _is_installed(module):
            result.fail(name, "not installed")
            continue
        directories[name] = home / f"contender{number}"
        directories[name].mkdir()
        text = conftest.replace("{bin_dir}", str(_their_bin_dir()))
        (directories[name] / "conftest.py").write_text(text)
        (directories[name] / "test_it.py").write_text(_TESTS.format(count=tests))
    user = _as_user(home)
    for number in range(rounds + 1):
        for name, directory in directories.items():
            if name in result.failures or (number > 1 and name in _SLOW):
                continue
            others = {*_PLUGINS.values()} - {_PLUGINS.get(name)}
            # One that is given is obeyed.
            temporary = {} if name == OURS else {"TMPDIR": str(home)}
            outcome = _session(directory, tests, sorted(others), temporary, user)
            if isinstance(outcome, str):
                result.fail(name, outcome)
            elif number:
                result.add(name, outcome)
    return result


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def _their_bin_dir() -> Path:
    """Return Debian's PostgreSQL where it is installed, as their users have it, else ours."""
    from oxy_pg.server.cluster import binaries

    return _DEBIAN if _DEBIAN.exists() else Path(binaries.find().bin_dir)


def _as_user(home: Path) -> dict[str, object]:
    """Return what makes subprocess run as an ordinary user, when we are root."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("postgres" if _DEBIAN.exists() else "nobody")
    for path in (home, *home.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _interpreter() -> str:
    """This Python, or the system's of the same version if an ordinary user cannot run this one."""
    if not os.geteuid() and str(Path(sys.executable).resolve()).startswith("/root"):
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        found = shutil.which(name, path="/usr/bin:/usr/local/bin")
        if found is None:
            sys.exit(f"An ordinary user cannot run {sys.executable}, and there is no {name}.")
        return found
    return sys.executable


def _session(
    directory: Path,
    count: int,
    without: list[str],
    temporary: dict[str, str],
    user: dict[str, object],
) -> float | str:
    """Run one session; return its seconds, or what it said when it failed."""
    paths = [str(place.ROOT), *(path for path in sys.path if path)]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    options = [f"-pno:{name}" for name in ("cacheprovider", "asyncio", *without)]
    began = time.perf_counter()
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [_interpreter(), "-m", "pytest", "-q", *options],
        cwd=directory,
        env={
            **kept,
            **temporary,
            "HOME": str(directory.parent),
            # Where it can be written: pytest compiles plugins anew in every session otherwise.
            "PYTHONPYCACHEPREFIX": str(directory.parent / "bytecode"),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        },
        capture_output=True,
        text=True,
        check=False,
        **user,  # type: ignore[call-overload]
    )
    seconds = time.perf_counter() - began
    if f"{count} passed" not in done.stdout:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        words = [line for line in lines if line.startswith(("E  ", "ERROR"))] or lines[-1:]
        return words[0].removeprefix("E").strip()[:300]
    return seconds
