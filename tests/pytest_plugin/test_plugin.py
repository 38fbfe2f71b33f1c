"""The pytest plugin: every fixture and option, in test sessions of their own."""

from __future__ import annotations

import re
import subprocess
import sys

import psycopg
import pytest

import oxy_pg
from tests.conftest import stop_everything_below, wait_until
from tests.pytest_plugin.conftest import server_directories, servers_left


def test_each_test_has_a_database_of_its_own(session):
    """
    It begins as the template left it, whatever other tests do; every fixture means the same one.
    """
    result = session("""
        import psycopg
        import pytest
        import sqlalchemy

        @pytest.mark.parametrize("number", range(5))
        def test_fresh(oxy_pg_connection, number):
            rows = oxy_pg_connection.execute("SELECT * FROM item").fetchall()
            assert rows == [(1, "from the template")]
            oxy_pg_connection.execute("DELETE FROM item")
            oxy_pg_connection.execute(f"CREATE TABLE mine_{number} ()")
            oxy_pg_connection.commit()

        def test_same(oxy_pg_url, oxy_pg_connection, oxy_pg_engine):
            with psycopg.connect(oxy_pg_url, autocommit=True) as connection:
                connection.execute("INSERT INTO item VALUES (2, 'by URL')")
            with oxy_pg_engine.begin() as connection:
                connection.execute(sqlalchemy.text("INSERT INTO item VALUES (3, 'by engine')"))
            rows = oxy_pg_connection.execute("SELECT id FROM item ORDER BY id").fetchall()
            assert rows == [(1,), (2,), (3,)]

        def test_url_is_plain(oxy_pg_url):
            assert oxy_pg_url.startswith("postgresql://oxy:")
            assert "@127.0.0.1:" in oxy_pg_url

        def test_left_open(oxy_pg_url):
            globals()["left_open"] = psycopg.connect(oxy_pg_url)
    """)

    result.assert_outcomes(passed=8)


def test_asynchronous_connection(session):
    """
    It works in the test's own event loop, several times over.
    """
    result = session("""
        import asyncio
        import pytest

        async def use(connection):
            async with connection.transaction():
                await connection.execute("INSERT INTO item VALUES (2, 'async')")
            cursor = await connection.execute("SELECT count(*) FROM item")
            return await cursor.fetchone()

        @pytest.mark.parametrize("number", range(3))
        def test_async(oxy_pg_async_connection, number):
            assert asyncio.run(use(oxy_pg_async_connection)) == (2,)
    """)

    result.assert_outcomes(passed=3)


def test_template_is_filled_once_and_then_closed(session):
    """
    A connection that was left open is no obstacle, and an empty hook leaves an empty database.
    """
    result = session(
        """
        def test_one(oxy_pg_connection):
            assert oxy_pg_connection.execute("SELECT count(*) FROM calls").fetchone() == (1,)

        def test_two(oxy_pg_connection):
            assert oxy_pg_connection.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        """,
        conftest="""
            import psycopg, pytest

            @pytest.fixture(scope="session")
            def oxy_pg_template(oxy_pg_template_url):
                connection = psycopg.connect(oxy_pg_template_url, autocommit=True)
                connection.execute("CREATE TABLE IF NOT EXISTS calls (at timestamp)")
                connection.execute("INSERT INTO calls VALUES (now())")
                yield
                connection.close()
        """,
    )
    result.assert_outcomes(passed=2)

    empty = session(
        """
        def test_empty(oxy_pg_connection):
            query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            assert oxy_pg_connection.execute(query).fetchone() == (0,)
        """,
        conftest="",
    )
    empty.assert_outcomes(passed=1)


def test_a_second_template_is_not_passed_over(session, pytester):
    """
    There is one for a session: another one, for a part of the tests, fails and says so.

    Each of them, and in pytest's own words none: it asks the fixture once for each test.
    """
    pytester.mkpydir("part")
    pytester.path.joinpath("part/conftest.py").write_text(
        "import psycopg, pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def oxy_pg_template(oxy_pg_template_url):\n"
        "    psycopg.connect(oxy_pg_template_url)\n"
    )
    pytester.path.joinpath("part/test_part.py").write_text(
        "def test_it(oxy_pg_url): pass\n"
        "def test_again(oxy_pg_module_url): pass\n"
        "def test_factory(oxy_pg_database_factory):\n"
        "    with oxy_pg_database_factory(): pass\n"
    )
    code = "def test_first(oxy_pg_url): pass"

    result = session(code, "test_a_second_template_is_not_passed_over.py", "part")

    result.assert_outcomes(passed=1, errors=3)
    said = (
        "There is one oxy_pg_template in a session, and another one than that of part/conftest.py"
    )
    # Not in the summary at the end: with CI in the environment, its lines are as long as these.
    assert sum(line.startswith(said) for line in result.outlines) == 3
    result.stdout.no_fnmatch_line("*AssertionError*")

    result = session(code, "part", "test_a_second_template_is_not_passed_over.py")

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*another one than that of conftest.py*oxy_pg_database_factory*"])


def test_transaction_is_rolled_back(session):
    """
    Commits, rollbacks, nested transactions, errors and SQLAlchemy inside: nothing stays.
    """
    result = session("""
        import psycopg
        import pytest
        import sqlalchemy
        from sqlalchemy.orm import Session

        def count(connection):
            return connection.execute("SELECT count(*) FROM item").fetchone()[0]

        @pytest.mark.parametrize("number", range(3))
        def test_commit_and_rollback(oxy_pg_transaction, number):
            connection = oxy_pg_transaction
            assert count(connection) == 1
            connection.execute("INSERT INTO item VALUES (2)")
            connection.commit()
            connection.execute("INSERT INTO item VALUES (3)")
            connection.rollback()
            assert count(connection) == 2
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO item VALUES (2)")
            connection.rollback()
            assert count(connection) == 2
            with connection.transaction():
                connection.execute("INSERT INTO item VALUES (4)")
            with pytest.raises(ZeroDivisionError), connection.transaction():
                connection.execute("INSERT INTO item VALUES (5)")
                1 / 0
            assert count(connection) == 3
            with connection:
                connection.execute("INSERT INTO item VALUES (6)")
            connection.close()
            assert count(connection) == 4
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO item VALUES (2)")
            connection.commit()
            assert count(connection) == 4

        def test_sqlalchemy(oxy_pg_transaction):
            engine = sqlalchemy.create_engine(
                "postgresql+psycopg://", creator=lambda: oxy_pg_transaction, pool_pre_ping=True
            )
            insert = sqlalchemy.text("INSERT INTO item VALUES (:id)")
            for number in 7, 8:
                with Session(engine) as session:
                    session.execute(insert, {"id": number})
                    session.commit()
                with Session(engine) as session:
                    session.execute(insert, {"id": number + 10})
            engine.dispose()
            assert count(oxy_pg_transaction) == 3

        def test_clean(oxy_pg_transaction):
            assert count(oxy_pg_transaction) == 1
    """)

    result.assert_outcomes(passed=5)


def test_a_commit_in_sql_is_found_out(session):
    """
    The test that does it fails, and the next one sees nothing of it.
    """
    result = session("""
        def test_commits(oxy_pg_transaction):
            oxy_pg_transaction.execute("INSERT INTO item VALUES (2)")
            oxy_pg_transaction.execute("COMMIT")

        def test_clean(oxy_pg_transaction):
            assert oxy_pg_transaction.execute("SELECT count(*) FROM item").fetchone() == (1,)
    """)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*has ended the transaction of oxy_pg_transaction with SQL*"])


SETTINGS_TEST = """
    def test_it(oxy_pg_connection, oxy_pg_server):
        assert oxy_pg_connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert oxy_pg_connection.execute("SHOW fsync").fetchone() == ("off",)
        assert oxy_pg_connection.execute("SELECT '[1]'::vector").fetchone() == ("[1]",)
        oxy_pg_server.create_database("another")
        assert "another" in oxy_pg_server.databases()
        oxy_pg_server.drop_database("another")
"""


def test_settings_and_extensions_on_the_command_line(session):
    """
    They beat those in the file.
    """
    options = ("--oxy-pg-setting=work_mem=7MB", "--oxy-pg-extension=vector")
    result = session(SETTINGS_TEST, *options, "-o", "oxy_pg_settings=work_mem=9MB")

    result.assert_outcomes(passed=1)


def test_settings_and_extensions_in_pyproject(session, pytester):
    """
    Under [tool.pytest.ini_options], as lists.
    """
    pytester.makepyprojecttoml("""
        [tool.pytest.ini_options]
        oxy_pg_settings = ["work_mem = 7MB"]
        oxy_pg_extensions = ["vector"]
    """)

    session(SETTINGS_TEST).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--oxy-pg-setting=work_mem", "*'work_mem' is not a setting; write NAME=VALUE*"),
        ("--oxy-pg-setting=work_mem=many", "*PostgreSQL rejects the settings*"),
        ("--oxy-pg-extension=nonsense", "*extension 'nonsense' cannot be used*"),
    ],
)
def test_what_cannot_be_is_explained(session, option, words):
    """
    The first test that needs the server says what is wrong.
    """
    result = session("def test_it(oxy_pg_url): pass", option)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([words])


FAILING = """
    def test_fails(oxy_pg_connection):
        oxy_pg_connection.execute("INSERT INTO item VALUES (7, 'evidence')")
        oxy_pg_connection.commit()
        oxy_pg_connection.execute("SELECT nonsense")

    def test_passes(oxy_pg_connection):
        oxy_pg_connection.execute("SELECT 'not my business'")
"""


def test_the_log_of_a_failing_test(session):
    """
    Its errors always, every statement of it on demand, and nobody else's.
    """
    short = session(FAILING)
    short.assert_outcomes(passed=1, failed=1)
    short.stdout.fnmatch_lines(["*PostgreSQL log*", '*ERROR:*"nonsense" does not exist*'])
    short.stdout.no_fnmatch_line("*evidence')*duration*")

    verbose = session(FAILING, "--oxy-pg-log")
    verbose.stdout.fnmatch_lines(["*PostgreSQL log*", "*duration:*evidence*"])
    verbose.stdout.no_fnmatch_line("*not my business*")


@pytest.mark.parametrize("workers", [0, 2])
def test_keeps_the_database_of_a_failing_test(session, workers):
    """
    The report says how to connect to it and how to end it, and both work.
    """
    result = session(FAILING, "--oxy-pg-keep", f"-n{workers}")
    try:
        result.assert_outcomes(passed=1, failed=1)
        text = result.stdout.str()
        url = re.search(r"^psql '?(postgresql://[^'\s]+)'?$", text, re.MULTILINE)
        stop = re.search(r"oxy-pg (stop --state-dir \S+)$", text, re.MULTILINE)
        assert url, text
        assert stop, text
        with psycopg.connect(url[1]) as connection:
            row = connection.execute("SELECT name FROM item WHERE id = 7").fetchone()
        assert ("evidence",) == row
        subprocess.run([sys.executable, "-m", "oxy_pg", *stop[1].split()], check=True)
    finally:
        for directory in server_directories():
            stop_everything_below(directory)


TRIVIAL = """
    import os
    import pytest

    @pytest.mark.parametrize("number", range({count}))
    def test_trivial(oxy_pg_connection, number):
        connection = oxy_pg_connection
        connection.execute("INSERT INTO item VALUES (2)")
        connection.commit()
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (2,)
        row = connection.execute("SELECT pg_postmaster_start_time()::text").fetchone()
        with open("servers", "a") as file:
            file.write(f"{{row[0]}}\\n")
"""


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.long)])
def test_workers_share_a_server_and_leave_nothing(session, pytester, count):
    """
    Four workers of xdist, one PostgreSQL, and at the end nothing.
    """
    result = session(TRIVIAL.format(count=count), "-n4", "-q")

    result.assert_outcomes(passed=count)
    assert 1 == len(set(pytester.path.joinpath("servers").read_text().splitlines()))


KILLED = """
    import os
    import signal
    import pytest

    @pytest.mark.parametrize("number", range(20))
    def test_it(oxy_pg_connection, number):
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        assert oxy_pg_connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
"""


def test_a_killed_worker_leaves_nothing(session):
    """
    xdist replaces it, the other tests pass, and its databases go with the server.
    """
    result = session(KILLED, "-n2")

    result.assert_outcomes(passed=19, failed=1)


def test_a_killed_session_leaves_nothing(session):
    """
    Without xdist the whole session is killed: the supervisor cleans up.
    """
    session(KILLED)

    assert wait_until(lambda: not servers_left()), servers_left()


def test_costs_nothing_unless_it_is_used(session):
    """
    The plugin is there, and has imported neither a driver nor a part of the server.

    But for what the header line says: where the server would be.
    """
    result = session(
        """
        import sys

        def test_nothing():
            names = ("psycopg", "sqlalchemy", "oxy_pg._api", "oxy_pg.connection")
            assert "oxy_pg.pytest_plugin" in sys.modules
            assert [name for name in names if name in sys.modules] == []
            server = {name for name in sys.modules if name.startswith("oxy_pg.server.")}
            assert server == {"oxy_pg.server.place"}
        """,
        conftest="",
    )

    result.assert_outcomes(passed=1)


# --- somebody else's server ---


@pytest.fixture(scope="module")
def external():
    """A server that stands for somebody else's, and its role for one with CREATEDB."""
    with oxy_pg.temporary() as server:
        yield server


@pytest.fixture
def external_url(external, monkeypatch):
    monkeypatch.setenv("OXY_DATABASE_URL", external.url())
    before = external.databases()
    yield external.url()
    assert wait_until(lambda: external.databases() == before), external.databases()


EXTERNAL_TEST = """
    import asyncio
    import os
    import sqlalchemy

    def test_connection(oxy_pg_connection, oxy_pg_url):
        assert oxy_pg_connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
        assert oxy_pg_connection.info.dbname.startswith("oxy_pg_test_")
        place = os.environ["OXY_DATABASE_URL"].rpartition("/")[0]
        assert oxy_pg_url == f"{place}/{oxy_pg_connection.info.dbname}"

    def test_engine(oxy_pg_engine):
        with oxy_pg_engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT count(*) FROM item")) == 1

    def test_async(oxy_pg_async_connection):
        asyncio.run(oxy_pg_async_connection.execute("SELECT * FROM item"))

    def test_transaction(oxy_pg_transaction):
        oxy_pg_transaction.execute("DELETE FROM item")
        oxy_pg_transaction.commit()

    def test_server(oxy_pg_server):
        oxy_pg_server.create_database("oxy_pg_made_by_hand")
        assert "oxy_pg_made_by_hand" in oxy_pg_server.databases()
        oxy_pg_server.drop_database("oxy_pg_made_by_hand")
        assert "oxy_pg_made_by_hand" not in oxy_pg_server.databases()
        assert oxy_pg_server.url() == os.environ["OXY_DATABASE_URL"]

    def test_vector(oxy_pg_connection):
        oxy_pg_connection.execute("SELECT 1")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_external_server(session, external_url, workers):
    """
    Every fixture works there, nothing embedded starts, and all databases are dropped.
    """
    session(EXTERNAL_TEST, f"-n{workers}").assert_outcomes(passed=6)


def test_external_server_after_a_killed_worker(session, external_url):
    """
    What the worker could not drop is dropped before the session ends.
    """
    session(KILLED, "-n2").assert_outcomes(passed=19, failed=1)


def test_external_server_after_a_killed_session(session, external, external_url):
    """
    Its databases are dropped by the next session; those of one that lives are not.
    """
    foreign = "oxy_pg_test_00000001_precious"
    external.create_database(foreign)
    session(KILLED)
    left = [name for name in external.databases() if name.startswith("oxy_pg_test_")]
    assert len(left) > 2
    # In use by somebody who looks at it, so not surely abandoned.
    with psycopg.connect(external.url(left[-1])):
        session("""
            import os, subprocess, sys

            def test_it(oxy_pg_url, oxy_pg_server):
                mine = oxy_pg_url.rpartition("/")[2]
                with open("inner_test.py", "w") as file:
                    file.write("def test_inner(oxy_pg_url): pass")
                subprocess.run([sys.executable, "-m", "pytest", "inner_test.py"], check=True)
                os.unlink("inner_test.py")
                assert mine in oxy_pg_server.databases()
        """).assert_outcomes(passed=1)
        assert [left[-1], foreign] == sorted(
            (name for name in external.databases() if name.startswith("oxy_pg_test_")),
            key=lambda name: name == foreign,
        )
    session("def test_it(oxy_pg_url): pass").assert_outcomes(passed=1)
    assert foreign in external.databases()
    external.drop_database(foreign)


def test_external_server_keeps_a_database(session, external, external_url):
    """
    No later session drops it, and the message does not tell the password.
    """
    result = session(FAILING, "--oxy-pg-keep")

    result.stdout.fnmatch_lines(["psql *:[*][*][*]@127.0.0.1:*/oxy_pg_test_*"])
    kept = re.search(r"DROP DATABASE (\w+)", result.stdout.str())
    assert kept
    session("def test_it(oxy_pg_url): pass").assert_outcomes(passed=1)
    with psycopg.connect(external.url(kept[1])) as connection:
        assert (2,) == connection.execute("SELECT count(*) FROM item").fetchone()
    external.drop_database(kept[1])


def test_external_server_without_createdb(session, external, external_url):
    """
    The message says what its administrator has to do.
    """
    with psycopg.connect(external.superuser_url(), autocommit=True) as connection:
        connection.execute("ALTER ROLE oxy NOCREATEDB")
        try:
            result = session("def test_it(oxy_pg_url): pass")
        finally:
            connection.execute("ALTER ROLE oxy CREATEDB")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ALTER ROLE oxy CREATEDB*"])
