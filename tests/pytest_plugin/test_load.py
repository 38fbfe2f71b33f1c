"""Many quick tests, a server that crashes, time that stands still."""

from __future__ import annotations

import socket

import pytest

from tests.pytest_plugin.conftest import CONFTEST


def test_used_databases_never_exceed_the_documented_limit(session):
    """
    512 MB of used databases: with 7 MB each there are 70, and a handful more.

    The oracle is PostgreSQL's own sum of sizes, asked in every tenth test.
    """
    result = session("""
        import psycopg
        import pytest

        @pytest.mark.parametrize("number", range(140))
        def test_quick(oxy_pg_url, oxy_pg_server, number):
            if number % 10:
                return
            with psycopg.connect(oxy_pg_server.superuser_url()) as connection:
                (used,) = connection.execute(
                    "SELECT sum(pg_database_size(oid)) FROM pg_database"
                    " WHERE datname ~ '^oxy_pg_test'"
                ).fetchone()
            assert used < 600 * 1024 * 1024
    """)

    result.assert_outcomes(passed=140)


@pytest.mark.parametrize("tests", [1, 2, 5])
def test_no_database_is_made_that_no_test_takes(session, tests):
    """
    Only as many as tests come are made ahead: the last test has been given the last one.
    """
    result = session(f"""
        import time
        import psycopg
        import pytest

        @pytest.mark.parametrize("number", range({tests}))
        def test_one(oxy_pg_connection, number):
            if number == {tests - 1}:
                time.sleep(1)  # so long that others would have been made
                own = int(oxy_pg_connection.info.dbname.rpartition("_")[2])
                rows = oxy_pg_connection.execute("SELECT datname FROM pg_database").fetchall()
                numbers = [name.rpartition("_")[2] for (name,) in rows if "oxy_pg_test" in name]
                made = [int(number) for number in numbers if number.isdigit()]
                assert own == max(made)
    """)

    result.assert_outcomes(passed=tests)


@pytest.mark.parametrize("victim", ["a backend", "the supervisor"])
def test_a_crash_costs_one_test(session, victim):
    """
    The out-of-memory killer ends a backend, and PostgreSQL restarts; the next tests pass.

    So they do when the supervisor was killed, and PostgreSQL with it.
    """
    result = session(f"""
        import os, signal, time
        import psycopg
        import pytest

        def test_before(oxy_pg_connection):
            assert oxy_pg_connection.execute("SELECT 1").fetchone() == (1,)

        def test_crash(oxy_pg_connection, oxy_pg_server):
            pid = oxy_pg_connection.info.backend_pid
            if {victim!r} == "the supervisor":
                pid = oxy_pg_server.status().supervisor_pid
            os.kill(pid, signal.SIGKILL)
            for _ in range(100):
                oxy_pg_connection.execute("SELECT 1")
                time.sleep(0.1)

        @pytest.mark.parametrize("number", range(6))
        def test_after(oxy_pg_connection, number):
            assert oxy_pg_connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
    """)

    result.assert_outcomes(passed=7, failed=1)
    if victim == "a backend":
        result.stdout.fnmatch_lines(["*PostgreSQL was restarted*", "*terminated by signal 9*"])


FROZEN = """
    import datetime as dt
    import psycopg
    import pytest
    from freezegun import freeze_time

    @pytest.fixture(scope="session", autouse=True)
    def frozen():
        with freeze_time("2031-01-01") as frozen:
            yield frozen
"""


def test_frozen_time(session):
    """
    A whole session under freezegun; PostgreSQL's own clock goes on.
    """
    result = session(
        """
        def test_one(oxy_pg_connection, frozen):
            frozen.tick(100_000)
            oxy_pg_connection.execute("INSERT INTO item VALUES (2, 'two')")

        def test_two(oxy_pg_transaction, oxy_pg_engine, frozen):
            frozen.tick(100_000)
            assert oxy_pg_transaction.execute("SELECT now() < '2030-01-01'").fetchone() == (True,)
        """,
        conftest=FROZEN + CONFTEST.replace("import psycopg\n    import pytest\n", ""),
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("freezer", ["freezegun.freeze_time", "time_machine.travel"])
@pytest.mark.parametrize("kind", ["refuses", "never answers"])
def test_an_unreachable_server_under_frozen_time(run_python, freezer, kind):
    """
    ``timeout`` is over after its seconds on the machine's clock, not on Python's.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "never answers":
            listener.listen(16)
        module, _, name = freezer.rpartition(".")
        more = ", tick=False" if name == "travel" else ""
        answer = run_python(
            f"import {module}, oxy_pg\n"
            f"with {module}.{name}('2024-01-01'{more}):\n"
            "    try:\n"
            "        oxy_pg.ensure(timeout=2)\n"
            "    except oxy_pg.ExternalServerUnavailable as error:\n"
            "        print('waited' in str(error))\n",
            OXY_DATABASE_URL=f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/x",
        )
    assert "True" == answer.strip()


def test_settings_do_not_reach_our_own_statements(session):
    """
    What a role or the server's settings forbid holds for tests, not for making their databases.
    """
    result = session(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(oxy_pg_connection, number):
            shown = oxy_pg_connection.execute("SHOW default_transaction_isolation").fetchone()
            assert shown == ("serializable",)
        """,
        "--oxy-pg-setting=default_transaction_isolation=serializable",
        "--oxy-pg-setting=search_path=nothing",
        conftest="",
    )

    result.assert_outcomes(passed=4)
