"""Runs that are unlike others: forked, in any order, cut short, without a test, in one another."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import CONFTEST

# What pytest-forked does, in a few lines: each of these tests runs in a child of its own.
FORKED = (
    CONFTEST
    + """
    import os, sys
    from _pytest.runner import runtestprotocol

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        if "forked" not in item.name:
            return None
        pid = os.fork()
        if not pid:
            try:
                reports = runtestprotocol(item, nextitem={nextitem}, log=False)
                for report in reports:
                    sys.__stdout__.write(report.longreprtext)
                sys.__stdout__.flush()
                os._exit(any(report.failed for report in reports))
            finally:
                os._exit(2)
        failed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        report = pytest.TestReport(
            item.nodeid, item.location, {{}}, "failed" if failed else "passed", None, "call"
        )
        item.ihook.pytest_runtest_logreport(report=report)
        return True
"""
)
IN_CHILDREN = """
    import pytest

    def insert(connection):
        connection.execute("INSERT INTO item VALUES (2, 'two')")
        connection.commit()

    {before}
    @pytest.mark.parametrize("number", range(3))
    def test_forked(oxy_pg_connection, number):
        insert(oxy_pg_connection)

    def test_between(oxy_pg_connection):
        insert(oxy_pg_connection)

    def test_forked_too(oxy_pg_transaction):
        insert(oxy_pg_transaction)

    def test_forked_with_two(oxy_pg_connection, oxy_pg_database_factory, oxy_pg_module_url):
        with oxy_pg_database_factory() as database, database.connect() as connection:
            insert(connection)
        insert(oxy_pg_connection)

    def test_last(oxy_pg_transaction, oxy_pg_module_url):
        insert(oxy_pg_transaction)
"""
BEFORE = """
    def test_before(oxy_pg_connection, oxy_pg_transaction, oxy_pg_module_url):
        insert(oxy_pg_connection)
        insert(oxy_pg_transaction)
"""


@pytest.mark.parametrize("nextitem", ["item", "None"])
@pytest.mark.parametrize("before", ["", BEFORE])
@pytest.mark.parametrize("workers", [0, 2])
def test_tests_in_forked_children(session, nextitem, before, workers):
    """
    A child gets databases of its own, and leaves alone what the parent has.

    Also where it ends all fixtures, as pytest-forked does.
    """
    result = session(
        IN_CHILDREN.format(before=before.strip()),
        f"-n{workers}",
        conftest=FORKED.format(nextitem=nextitem),
    )

    result.assert_outcomes(passed=7 + bool(before))


MANY = """
    import pytest

    def insert(connection):
        connection.execute("INSERT INTO item VALUES (2, 'two')")
        connection.commit()

    @pytest.mark.parametrize("number", range(5))
    class TestOne:
        def test_a(self, oxy_pg_connection, number):
            insert(oxy_pg_connection)

        def test_b(self, oxy_pg_transaction, number):
            insert(oxy_pg_transaction)

        def test_c(self, oxy_pg_class_url, number):
            pass

        def test_d(self, oxy_pg_database, number):
            snapshot = oxy_pg_database.snapshot()
            with oxy_pg_database.connect() as connection:
                insert(connection)
            oxy_pg_database.restore(snapshot)
            with oxy_pg_database.connect() as connection:
                insert(connection)

        def test_e(self, number):
            assert number != 3
"""
SHUFFLED = (
    CONFTEST
    + """
    import random

    def pytest_collection_modifyitems(items):
        random.Random({seed}).shuffle(items)

    @pytest.fixture(autouse=True)
    def seeded():
        random.seed({seed})  # as pytest-randomly does before each test
"""
)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_any_order(session, seed, workers):
    """
    With each test's random numbers the same, as pytest-randomly makes them.
    """
    result = session(MANY, f"-n{workers}", conftest=SHUFFLED.format(seed=seed))

    result.assert_outcomes(passed=24, failed=1)


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (["-x"], {"passed": 23, "failed": 1}),
        (["-k", "test_a"], {"passed": 5, "deselected": 20}),
        (["--collect-only"], {}),
        (["--setup-plan"], {}),
        (["--fixtures"], {}),
        (["--setup-only", "-k", "test_a"], {"deselected": 20}),
    ],
)
def test_runs_that_are_cut_short(session, options, outcomes):
    """
    Nothing is left of them, and without a test there is no error.
    """
    result = session(MANY, *options)

    assert result.ret == (1 if "failed" in outcomes else 0)
    if "passed" in outcomes:
        result.assert_outcomes(**outcomes)
    assert "Error" not in result.stdout.str().replace("AssertionError", "")


def test_failed_ones_once_more(session):
    """
    ``--lf`` and ``--sw`` run one test, with a server of its own.
    """
    cached = ("cacheprovider",)
    session(MANY, plugins=cached).assert_outcomes(passed=24, failed=1)
    session(MANY, "--lf", plugins=cached).assert_outcomes(failed=1, deselected=24)
    session(MANY, "--ff", "-x", plugins=cached).assert_outcomes(failed=1)


NESTED = """
    pytest_plugins = ["pytester"]

    def test_outer(oxy_pg_connection, oxy_pg_server, pytester):
        pytester.makeconftest("")
        pytester.makepyfile(\"\"\"
            def test_inner(oxy_pg_connection, oxy_pg_server):
                assert oxy_pg_server.state_dir != '{}'
                oxy_pg_connection.execute("CREATE TABLE item ()")
        \"\"\".format(oxy_pg_server.state_dir))
        for run in (pytester.runpytest_inprocess, pytester.runpytest_subprocess):
            run("-p", "no:cacheprovider", "-p", "no:asyncio").assert_outcomes(passed=1)
            oxy_pg_connection.execute("SELECT FROM item")

    def test_next(oxy_pg_connection):
        oxy_pg_connection.execute("SELECT FROM item")
"""


def test_a_session_in_a_session(session):
    """
    Of two in one process each has a server, and the outer one's outlives the inner one.
    """
    session(NESTED).assert_outcomes(passed=2)


@pytest.mark.parametrize("option", [("-p", "no:oxy_pg"), ("-p", "no:xdist")])
def test_without_a_plugin(session, option):
    """
    Without ours its fixtures are not found; xdist's are not needed.
    """
    result = session("def test_it(oxy_pg_url): pass", *option, conftest="")

    result.assert_outcomes(**{"errors": 1} if "no:oxy_pg" in option else {"passed": 1})
