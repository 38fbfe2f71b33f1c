"""Templates: filled once for all workers, kept by key, told when they fail, expired."""

from __future__ import annotations

import json
import os
import socket
import time

import psycopg
import pytest

import oxy_pg
from oxy_pg.pytest_plugin.templates import key
from tests.conftest import wait_until

COUNTED = """
    import os, pathlib, time
    import psycopg
    import pytest

    def runs():
        return pathlib.Path(__file__).parent / "runs"

    @pytest.fixture(scope="session")
    def oxy_pg_template(oxy_pg_template_url):
        with runs().open("a") as file:
            file.write(f"{os.getpid()}\\\\n")
        with psycopg.connect(oxy_pg_template_url) as connection:
            connection.execute("CREATE TABLE item (id int PRIMARY KEY)")
            connection.execute("INSERT INTO item VALUES (1)")
            time.sleep(0.5)
"""
TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(12))
    def test_it(oxy_pg_connection, number):
        assert oxy_pg_connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
"""


def runs(pytester):
    path = pytester.path / "runs"
    return len(path.read_text().split()) if path.exists() else 0


def test_one_template_for_all_workers(session, pytester):
    """
    The first worker fills it, the others wait for it.
    """
    result = session(TESTS, "-n4", conftest=COUNTED.replace("\\\\", "\\"))

    result.assert_outcomes(passed=12)
    assert 1 == runs(pytester)


@pytest.fixture
def external(monkeypatch):
    with oxy_pg.temporary() as server:
        monkeypatch.setenv("OXY_DATABASE_URL", server.url())
        yield server


def test_one_template_for_all_workers_of_an_external_server(session, pytester, external):
    """
    The last worker that leaves drops it.
    """
    result = session(TESTS, "-n3", conftest=COUNTED.replace("\\\\", "\\"))

    result.assert_outcomes(passed=12)
    assert 1 == runs(pytester)
    assert wait_until(lambda: external.databases() == ["oxy"]), external.databases()


FAILING = """
    import pathlib
    import psycopg
    import pytest

    @pytest.fixture(scope="session")
    def oxy_pg_template(oxy_pg_template_url):
        with (pathlib.Path(__file__).parent / "runs").open("a") as file:
            file.write("1\\n")
        with psycopg.connect(oxy_pg_template_url) as connection:
            connection.execute("CREATE TABLE item (id int)")
            connection.execute("SELECT nonsense")
"""


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("where", ["embedded", "external"])
def test_a_failing_template(session, pytester, request, where, workers):
    """
    It is tried once; every worker says what PostgreSQL said, and no database is left.
    """
    server = request.getfixturevalue("external") if where == "external" else None
    result = session(TESTS, f"-n{workers}", conftest=FAILING)

    result.assert_outcomes(errors=12)
    assert 1 == runs(pytester)
    text = result.stdout.str()
    assert text.count('column "nonsense" does not exist') >= 12
    if where == "embedded":
        assert "STATEMENT:  SELECT nonsense" in text  # in the server's log alone
    if workers:
        assert "has filled the template for all workers, and failed" in text
    if server is not None:
        assert wait_until(lambda: server.databases() == ["oxy"]), server.databases()


def test_a_worker_that_is_killed_while_it_fills(session, pytester):
    """
    Another one fills it.
    """
    conftest = COUNTED.replace("\\\\", "\\").replace(
        "time.sleep(0.5)", "len(runs().read_text().split()) == 1 and os.kill(os.getpid(), 9)"
    )
    result = session(TESTS, "-n2", conftest=conftest)

    assert result.parseoutcomes()["passed"] >= 11
    assert 2 == runs(pytester)


# --- kept between sessions ---

KEYED = (
    COUNTED.replace("\\\\", "\\")
    + """
    @pytest.fixture(scope="session")
    def oxy_pg_template_key():
        return ["migrations", "a text"]
"""
)


@pytest.mark.parametrize("where", ["embedded", "external"])
def test_an_unchanged_key_runs_nothing(session, pytester, request, cache, where):
    """
    A changed file does, and so does a new one; to go back to another branch does not.
    """
    if where == "external":
        request.getfixturevalue("external")
    migrations = pytester.mkdir("migrations")
    first = migrations / "0001.sql"
    first.write_text("first")

    def run(expected, *options):
        session(TESTS, *options, conftest=KEYED).assert_outcomes(passed=12)
        assert expected == runs(pytester)

    run(1)
    run(1)
    run(1, "-n2")
    (migrations / "__pycache__").mkdir()
    (migrations / "__pycache__/x.pyc").write_text("not a part of it")
    run(1)
    second = migrations / "0002.sql"
    second.write_text("second")
    run(2)
    second.unlink()
    run(2)
    first.write_text("changed")
    run(3)
    first.rename(migrations / "0003.sql")
    run(4)


def test_the_key_as_an_option_and_in_pyproject(session, pytester, cache):
    """
    Paths, relative to the root directory.
    """
    pytester.makefile(".sql", schema="one")
    conftest = COUNTED.replace("\\\\", "\\")
    for _ in range(2):
        result = session(TESTS, "--oxy-pg-template-key=schema.sql", conftest=conftest)
        result.assert_outcomes(passed=12)
        assert 1 == runs(pytester)
    pytester.makepyprojecttoml("""
        [tool.pytest.ini_options]
        oxy_pg_template_key = ["schema.sql"]
    """)
    session(TESTS, conftest=conftest).assert_outcomes(passed=12)
    assert 1 == runs(pytester)


@pytest.mark.parametrize("key", ["migration/", "schem.sql", "models.py"])
def test_a_key_that_does_not_exist(session, key):
    """
    A typing error would keep a template for ever.
    """
    result = session(TESTS, f"--oxy-pg-template-key={key}")

    result.assert_outcomes(errors=12)
    result.stdout.fnmatch_lines([f"*oxy_pg_template_key: there is no {key} in *"])


def test_a_key_of_which_not_all_is_a_file(session, pytester, cache):
    """
    Pipes, sockets, links to them and to nothing are passed over; a link to a file counts.
    """
    migrations = pytester.mkdir("migrations")
    os.mkfifo(migrations / "pipe")
    (migrations / "link").symlink_to("pipe")
    (migrations / "broken").symlink_to("nothing")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(migrations / "socket"))
    real = pytester.path / "real.sql"
    real.write_text("one")
    (migrations / "1.sql").symlink_to(real)
    for text, expected in (("one", 1), ("one", 1), ("two", 2)):
        real.write_text(text)
        session(TESTS, conftest=KEYED).assert_outcomes(passed=12)
        assert expected == runs(pytester)


# Whatever the user may do, root too: this file cannot be read from its beginning.
UNREADABLE = "/proc/self/mem"


@pytest.mark.parametrize("key", ["migrations", "migrations/1.sql", "migrations/pipe"])
def test_a_key_that_cannot_be_read(session, pytester, key):
    """
    Of what cannot be read, a change is not seen; a pipe would be waited for.
    """
    migrations = pytester.mkdir("migrations")
    os.mkfifo(migrations / "pipe")
    (migrations / "1.sql").symlink_to(UNREADABLE)
    result = session("def test_it(oxy_pg_url): pass", f"--oxy-pg-template-key={key}")

    result.assert_outcomes(errors=1)
    said = "pipe is neither a file" if "pipe" in key else "1.sql cannot be read: *"
    result.stdout.fnmatch_lines([f"*UsageError: oxy_pg_template_key: */migrations/{said}*"])


def test_a_directory_of_the_key_that_cannot_be_read(tmp_path, monkeypatch):
    """
    It is not taken for an empty one.
    """
    (tmp_path / "migrations/closed").mkdir(parents=True)
    (tmp_path / "migrations/closed").chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read it
    try:
        with pytest.raises(pytest.UsageError, match="migrations/closed cannot be read: Perm"):
            key.digest("migrations", "")
        assert "migrations (cannot be read)" == key.told(["migrations"], "")
    finally:
        os.seteuid(user)


def test_what_tests_leave_on_a_kept_server_is_gone(session, pytester, cache):
    """
    Databases, roles and tables in the default database, as on a server that is thrown away.
    """
    for _ in range(2):
        session(
            """
            import psycopg

            def test_it(oxy_pg_url, oxy_pg_server):
                oxy_pg_server.create_database("left")
                with psycopg.connect(oxy_pg_server.superuser_url()) as connection:
                    connection.execute("CREATE ROLE left_role")
                with psycopg.connect(oxy_pg_server.url()) as connection:
                    connection.execute("CREATE TABLE left_table ()")
            """,
            conftest=KEYED.replace('"migrations", ', ""),
        ).assert_outcomes(passed=1)
    assert 1 == runs(pytester)


def test_a_kept_server_that_was_killed_or_is_damaged(session, pytester, cache):
    """
    Killed: it recovers. From before the machine's last start, or damaged: it begins anew.
    """
    conftest = KEYED.replace('"migrations", ', "")
    killing = """
        import os, signal

        def test_it(oxy_pg_connection, oxy_pg_server):
            os.kill(oxy_pg_server.status().supervisor_pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    session(TESTS, conftest=conftest).assert_outcomes(passed=12)
    session(killing, conftest=conftest)
    session(TESTS, conftest=conftest).assert_outcomes(passed=12)
    assert 1 == runs(pytester)

    (booted,) = cache.glob("pytest/*/booted")
    booted.write_text("another start of the machine")
    session(TESTS, conftest=conftest).assert_outcomes(passed=12)
    assert 2 == runs(pytester)

    (control,) = cache.glob("pytest/*/postgres_data/global/pg_control")
    assert wait_until(lambda: not (control.parents[1] / "postmaster.pid").exists())
    control.write_bytes(b"damaged")
    session(TESTS, conftest=conftest).assert_outcomes(passed=12)
    assert 3 == runs(pytester)


def comments(server):
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute(
            "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname ~ '^oxy_pg_template_'"
        ).fetchall()
    return {name: json.loads(comment) for name, comment in rows}


def test_old_templates_expire(session, pytester, external):
    """
    Ten of each project stay, for two weeks since their last use; one in use stays longer.
    """
    for number in range(12):
        session("def test_it(oxy_pg_url): pass", f"--oxy-pg-template-key=number {number}", "-q")
    found = comments(external)
    assert 10 == len(found)

    oldest, newest = sorted(found, key=lambda name: found[name]["used"])[:: len(found) - 1]
    old = {**found[newest], "used": time.time() - 15 * 24 * 3600}
    with psycopg.connect(external.url(), autocommit=True) as connection:
        connection.execute(f"COMMENT ON DATABASE {newest} IS '{json.dumps(old)}'")
    session("def test_it(oxy_pg_url): pass", "--oxy-pg-template-key=number 10", "-q")
    left = comments(external)
    assert newest not in left
    assert oldest in left


ALEMBIC = {
    "migrations/env.py": """
import sqlalchemy
from alembic import context

engine = sqlalchemy.create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
""",
    "conftest.py": """
import pathlib, time
import pytest

@pytest.fixture(scope="session")
def oxy_pg_template_key():
    return "migrations", "conftest.py"

@pytest.fixture(scope="session")
def oxy_pg_template(oxy_pg_template_url):
    import alembic.command, alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", "migrations")
    config.attributes["url"] = oxy_pg_template_url
    alembic.command.upgrade(config, "head")

@pytest.fixture(scope="session")
def begun(oxy_pg_server):
    return time.monotonic()

@pytest.fixture
def seconds(begun, oxy_pg_url):
    with open("seconds", "a") as file:
        file.write(f"{time.monotonic() - begun}\\n")
""",
}
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = {before!r}

def upgrade():
    op.create_table("t{number}", sa.Column("id", sa.Integer, primary_key=True))
    op.create_index("i{number}", "t{number}", ["id"])
"""


def test_forty_migrations_of_alembic(session, pytester, cache):
    """
    The second session runs none of them: that takes a part of the time.
    """
    (pytester.path / "migrations/versions").mkdir(parents=True)
    for number in range(1, 41):
        before = f"{number - 1:04}" if number > 1 else None
        text = MIGRATION.format(number=number, before=before)
        (pytester.path / f"migrations/versions/{number:04}.py").write_text(text)
    (pytester.path / "migrations/env.py").write_text(ALEMBIC["migrations/env.py"])
    for _ in range(2):
        session(
            """
            def test_it(seconds, oxy_pg_connection):
                rows = oxy_pg_connection.execute("SELECT * FROM alembic_version").fetchall()
                assert rows == [("0040",)]
            """,
            conftest=ALEMBIC["conftest.py"],
        ).assert_outcomes(passed=1)

    first, second = map(float, (pytester.path / "seconds").read_text().split())
    assert second < 0.7 * first, (first, second)
