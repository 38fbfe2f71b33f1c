"""
A fresh database for each of 50 trivial tests: this plugin beside others.

    python benchmarks/test_databases.py [--tests 50] [--rounds 5]

Each contender runs the same tests in a pytest session of its own, in turn, so
that all of them see the same machine. What is measured is the whole session,
from the start of the interpreter to its end. Prints a Markdown table.

Contenders: pytest-postgresql (a database copied from its template for each
test) on Debian's PostgreSQL 15 where it is installed, else on the same
binaries as ours; and a server of its own for each test, with
testing.postgresql, which is what one can do without either plugin. Neither can
run as root, so as root everything runs as an ordinary user.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCHEMA = "CREATE TABLE item (id int PRIMARY KEY, name text)"

TESTS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_trivial(connection, number):
    connection.execute("INSERT INTO item VALUES (1, 'one')")
    connection.commit()
    assert connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
"""

OURS = f"""
import psycopg, pytest

@pytest.fixture(scope="session")
def oxy_pg_template(oxy_pg_template_url):
    with psycopg.connect(oxy_pg_template_url) as connection:
        connection.execute("{SCHEMA}")

@pytest.fixture
def connection(oxy_pg_connection):
    return oxy_pg_connection
"""

PYTEST_POSTGRESQL = f"""
import psycopg
from pytest_postgresql import factories

def load(**options):
    options.pop("options", None)
    with psycopg.connect(**options) as connection:
        connection.execute("{SCHEMA}")

server = factories.postgresql_proc(load=[load], executable="{{pg_ctl}}")
connection = factories.postgresql("server")
"""

SERVER_FOR_EACH = f"""
import psycopg, pytest, testing.postgresql

# What it does by itself each time, done once: initdb.
Server = testing.postgresql.PostgresqlFactory(
    cache_initialized_db=True, initdb="{{initdb}}", postgres="{{postgres}}",
    initdb_args="-U postgres -A trust", postgres_args="-h 127.0.0.1 -F -c logging_collector=off",
)

@pytest.fixture
def connection():
    with Server() as server, psycopg.connect(server.url()) as connection:
        connection.execute("{SCHEMA}")
        connection.commit()
        yield connection
"""

DEBIAN = Path("/usr/lib/postgresql/15/bin")


def our_bin_dir() -> Path:
    from oxy_pg.server import binaries

    return Path(binaries.find().bin_dir)


def contenders() -> dict[str, str]:
    theirs = DEBIAN if DEBIAN.exists() else our_bin_dir()
    words = {name: theirs / name for name in ("pg_ctl", "initdb", "postgres")}
    return {
        "oxy_pg": OURS,
        "pytest-postgresql": PYTEST_POSTGRESQL.replace("{pg_ctl}", str(words["pg_ctl"])),
        "testing.postgresql, a server for each test": SERVER_FOR_EACH.replace(
            "{initdb}", str(words["initdb"])
        ).replace("{postgres}", str(words["postgres"])),
    }


def as_user(base: Path) -> dict[str, object]:
    """What makes subprocess run as an ordinary user, when we are root."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("postgres" if DEBIAN.exists() else "nobody")
    for path in (base, *base.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def interpreter() -> list[str]:
    """This Python, or the system's of the same version if an ordinary user cannot run this one."""
    if not os.geteuid() and str(Path(sys.executable).resolve()).startswith("/root"):
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        found = shutil.which(name, path="/usr/bin:/usr/local/bin")
        if found is None:
            sys.exit(f"An ordinary user cannot run {sys.executable}, and there is no {name}.")
        return [found]
    return [sys.executable]


def run(directory: Path, count: int, user: dict[str, object]) -> float:
    """One session; returns its seconds."""
    paths = [str(Path(__file__).resolve().parents[1]), *(path for path in sys.path if path)]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    started = time.perf_counter()
    done = subprocess.run(
        [*interpreter(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        cwd=directory,
        env={
            **kept,
            "HOME": str(directory.parent),
            "TMPDIR": str(directory.parent),
            # Where it can be written: pytest compiles plugins anew in every session otherwise.
            "PYTHONPYCACHEPREFIX": str(directory.parent / "bytecode"),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        },
        capture_output=True,
        text=True,
        check=False,
        **user,  # type: ignore[call-overload]
    )
    seconds = time.perf_counter() - started
    if f"{count} passed" not in done.stdout:
        sys.exit(f"{directory.name} failed:\n{done.stdout}{done.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="a fresh database for each of many trivial tests")
    parser.add_argument("--tests", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="where the servers' files go (default: the temp dir)")
    arguments = parser.parse_args()

    base = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.dir)).resolve()
    times: dict[str, list[float]] = {}
    try:
        directories = {}
        for number, (name, conftest) in enumerate(contenders().items()):
            directory = directories[name] = base / f"contender{number}"
            directory.mkdir()
            (directory / "conftest.py").write_text(conftest)
            (directory / "test_it.py").write_text(TESTS.format(count=arguments.tests))
        user = as_user(base)
        for number in range(arguments.rounds + 1):
            for name, directory in directories.items():
                seconds = run(directory, arguments.tests, user)
                if number:  # the first round fills caches
                    times.setdefault(name, []).append(seconds)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print_table(times, arguments.tests)


def print_table(times: dict[str, list[float]], count: int) -> None:
    ours = times["oxy_pg"]
    print(f"| {count} tests, each with a fresh database | median | ours : theirs |")
    print("|---|---|---|")
    for name, theirs in times.items():
        # The ratio of each round, because the machine may change between rounds.
        ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
        print(f"| {name} | {statistics.median(theirs):.2f} s | {ratio:.2f} |")


if __name__ == "__main__":
    main()
