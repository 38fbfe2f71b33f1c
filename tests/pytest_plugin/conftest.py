"""A test session of its own, and a look at what it leaves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

import oxy_pg
from tests.conftest import processes_below, wait_until

OTHERS = ("asyncio", "anyio", "django", "postgresql", "socket")
CONFTEST = """
    import psycopg
    import pytest

    @pytest.fixture(scope="session")
    def oxy_pg_template(oxy_pg_template_url):
        with psycopg.connect(oxy_pg_template_url) as connection:
            connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
            connection.execute("INSERT INTO item VALUES (1, 'from the template')")
"""


@pytest.fixture
def session(pytester):
    """Run a test session in a process of its own, and see that its server has gone with it."""

    def run(code: str, *options: str, conftest: str = CONFTEST, plugins: tuple[str, ...] = ()):
        pytester.makeconftest(conftest)
        pytester.makepyfile(code)
        # Other plugins only where a test is about them: some import psycopg, some warn.
        others = [f"no:{name}" for name in ("cacheprovider", *OTHERS) if name not in plugins]
        options = (*(word for name in others for word in ("-p", name)), *options)
        return pytester.runpytest_subprocess(*options, timeout=100)

    yield run
    assert wait_until(lambda: not servers_left()), servers_left()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache directory of this test's own, for servers that are there in the next session."""
    monkeypatch.setenv("OXY_PG_CACHE_DIR", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    # They stop when their last user has gone.
    assert wait_until(lambda: not processes_below(tmp_path)), processes_below(tmp_path)
    remove_cached_servers(tmp_path / "cache")


def remove_cached_servers(cache):
    """As root, their clusters are in another place."""
    for directory in cache.glob("pytest/*"):
        oxy_pg.Server(directory).destroy()


def servers_left():
    """What test servers of this run are still there: processes and directories."""
    processes = processes_below(Path(tempfile.gettempdir())).values()
    return server_directories() + [words for words in processes if "pytest-" in words]


def server_directories():
    return list(Path(tempfile.gettempdir()).glob("oxy_pg-*/temporary-pytest-*"))
