"""A test session of its own, and a look at what it leaves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.conftest import processes_below, wait_until

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

    def run(code: str, *options: str, conftest: str = CONFTEST):
        pytester.makeconftest(conftest)
        pytester.makepyfile(code)
        # Nor other plugins that happen to be installed: some import psycopg, some warn.
        others = ("no:cacheprovider", "no:asyncio", "no:postgresql")
        options = (*(word for name in others for word in ("-p", name)), *options)
        return pytester.runpytest_subprocess(*options, timeout=100)

    yield run
    assert wait_until(lambda: not servers_left()), servers_left()


def servers_left():
    """What test servers of this run are still there: processes and directories."""
    processes = processes_below(Path(tempfile.gettempdir())).values()
    return server_directories() + [words for words in processes if "pytest-" in words]


def server_directories():
    return list(Path(tempfile.gettempdir()).glob("oxy_pg-*/temporary-pytest-*"))
