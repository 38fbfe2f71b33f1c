"""What is said of a session: its server, its failures, what tests leave, what to do next."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import oxy_pg
from tests.conftest import stop_everything_below, wait_until
from tests.pytest_plugin.conftest import server_directories

# --- which server ---


@pytest.fixture
def external(monkeypatch):
    with oxy_pg.temporary() as server:
        monkeypatch.setenv("OXY_DATABASE_URL", server.url())
        yield server


PLACE = """
    import os

    def test_it(oxy_pg_url, oxy_pg_server):
        assert ("OXY_DATABASE_URL" in os.environ) is {is_set}
        assert (type(oxy_pg_server).__name__ == "ExternalServer") is {is_set}
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_the_header_names_the_server(session, external, monkeypatch, workers):
    """
    Without its password; --oxy-pg-embedded ignores the variable in the whole session.
    """
    result = session(PLACE.format(is_set=True), f"-n{workers}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["oxy_pg: the server of OXY_DATABASE_URL, postgresql://oxy:[*][*][*]@127.0.0.1:*/oxy"]
    )
    result = session(PLACE.format(is_set=False), "--oxy-pg-embedded", f"-n{workers}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["oxy_pg: an embedded PostgreSQL (OXY_DATABASE_URL is set, *)"])
    monkeypatch.delenv("OXY_DATABASE_URL")
    result = session(PLACE.format(is_set=False), f"-n{workers}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["oxy_pg: an embedded PostgreSQL; if temporary: *(TMPDIR)"])


DIRECTORY = """
    def test_it(oxy_pg_url, oxy_pg_server):
        assert oxy_pg_server.state_dir.startswith({directory!r} + "/oxy_pg-")
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("option", "ini", "variable", "name", "why"),
    [
        ("below/it", "", "", "below/it", "--oxy-pg-dir"),
        ("a", "b", "c", "a", "--oxy-pg-dir"),
        ("", "b", "c", "b", "oxy_pg_dir"),
        ("", "", "c", "c", "OXY_PG_TEMP_DIR"),
    ],
)
def test_the_header_names_the_directory(
    session, pytester, base_dir, monkeypatch, option, ini, variable, name, why, workers
):
    """
    The option's, the file's or the variable's, in this order; and there the server is.
    """
    # Relative to pytest's directory; but as root, PostgreSQL's user cannot enter that.
    places = Path(tempfile.mkdtemp(dir=base_dir))
    places.chmod(0o711)
    (pytester.path / "link").symlink_to(places)
    directory = places / name
    pytester.makeini(f"[pytest]\noxy_pg_dir = {ini and f'link/{ini}'}")
    if variable:
        monkeypatch.setenv("OXY_PG_TEMP_DIR", str(places / variable))
    options = [f"--oxy-pg-dir=link/{option}"] if option else []
    result = session(DIRECTORY.format(directory=str(directory)), *options, f"-n{workers}")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"oxy_pg: an embedded PostgreSQL; if temporary: *({why})"])
    assert f"{directory} ({why})" in result.stdout.str()
    assert wait_until(lambda: not list(directory.iterdir()))


def test_the_header_knows_of_the_key(session, cache):
    """
    With a key the server is not a temporary one.
    """
    result = session("def test_it(): pass", "--oxy-pg-template-key=test_x.py")
    result.stdout.fnmatch_lines(["oxy_pg: an embedded PostgreSQL; kept in the cache directory"])


@pytest.mark.parametrize("way", ["option", "ini"])
def test_the_header_tells_what_the_key_was_taken_for(session, pytester, cache, way):
    """
    A typing error in a path looks like a text, which is allowed.
    """
    migrations = pytester.mkdir("migrations")
    pytester.mkdir("empty")
    for name in ("1.sql", "2.sql", ".hidden"):
        (migrations / name).touch()
    keys = ["migrations/", "empty", "test_x.py", "migratons", "v 2", "none/"]
    told = (
        "oxy_pg: template key: 2 files in migrations/; 0 files in empty/; test_x.py (no such file);"
        " the text 'migratons' (no such file; did you mean migrations[?]); the text 'v 2' (no such"
        " file); none/ (no such file)"
    )
    options = []
    if way == "ini":
        pytester.makeini("[pytest]\noxy_pg_template_key =\n " + "\n ".join(keys))
    else:
        options = [f"--oxy-pg-template-key={key}" for key in keys]
    result = session("def test_it(): pass", *options)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([told])


@pytest.mark.parametrize("options", [(), ("--oxy-pg-embedded",), ("--oxy-pg-template-key=x",)])
def test_nothing_embedded_where_that_is_forbidden(session, monkeypatch, options):
    """
    OXY_PG_EMBEDDED=never: the tests fail, and name what is missing.
    """
    monkeypatch.setenv("OXY_PG_EMBEDDED", "never")
    result = session("def test_it(oxy_pg_url): pass", *options)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["oxy_pg: no server (OXY_PG_EMBEDDED=never*", "*OXY_PG_EMBEDDED*"])


def test_the_project(session, pytester):
    """
    [tool.oxy-pg] has extensions and settings for tests, too; the plugin's own options beat it.
    """
    pytester.makepyprojecttoml("""
        [tool.oxy-pg]
        extensions = ["vector"]
        settings = { work_mem = "9MB", maintenance_work_mem = "33MB" }
    """)
    session(
        """
        import psycopg

        def test_it(oxy_pg_connection, oxy_pg_server):
            oxy_pg_server.create_database("another")
            with psycopg.connect(oxy_pg_server.url("another")) as connection:
                connection.execute("SELECT '[1]'::vector")
            assert oxy_pg_connection.execute("SHOW work_mem").fetchone() == ("7MB",)
            assert oxy_pg_connection.execute("SHOW maintenance_work_mem").fetchone() == ("33MB",)
            assert oxy_pg_connection.execute("SELECT '[1]'::vector").fetchone() == ("[1]",)
        """,
        "--oxy-pg-setting=work_mem=7MB",
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "setting", ["session_preload_libraries=nolib", "default_transaction_read_only=on"]
)
@pytest.mark.parametrize("key", [(), ("--oxy-pg-template-key=x",)])
def test_a_setting_that_makes_the_server_unusable(session, cache, setting, key):
    """
    It works, or the error names it; and the next session, without it, works.
    """
    result = session("def test_it(oxy_pg_url): pass", f"--oxy-pg-setting={setting}", *key)
    if not result.parseoutcomes().get("passed"):
        result.stdout.fnmatch_lines([f"*{setting.partition('=')[2]}*"])
    session("def test_it(oxy_pg_url): pass", *key).assert_outcomes(passed=1)


# --- failing tests ---

EVIDENCE = """
    import psycopg
    import pytest

    @pytest.fixture(scope="module")
    def wide(oxy_pg_module_url):
        with psycopg.connect(oxy_pg_module_url) as connection:
            connection.execute("INSERT INTO item VALUES (2, 'of the module')")
        return oxy_pg_module_url

    def test_fails(oxy_pg_url, oxy_pg_transaction, wide, oxy_pg_database_factory):
        with psycopg.connect(oxy_pg_url) as connection:
            connection.execute("INSERT INTO item VALUES (3, 'of the test')")
        with psycopg.connect(wide) as connection:
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT nonsense_in_module")
        with pytest.raises(psycopg.Error):
            oxy_pg_transaction.execute("SELECT nonsense_in_transaction")
        with oxy_pg_database_factory() as database:
            with database.connect() as connection:
                connection.execute("INSERT INTO item VALUES (4, 'of the factory')")
            assert 0

    def test_passes(oxy_pg_url):
        with psycopg.connect(oxy_pg_url) as connection, pytest.raises(psycopg.Error):
            connection.execute("SELECT nothing_to_do_with_it")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_every_database_of_a_failing_test(session, workers):
    """
    Whichever fixture came last: all are kept, all logs are shown, and all URLs are in the summary.
    """
    result = session(EVIDENCE, "--oxy-pg-keep", f"-n{workers}")
    try:
        result.assert_outcomes(passed=1, failed=1)
        text = result.stdout.str()
        assert "nonsense_in_module" in text.partition("PostgreSQL log")[2]
        assert "nonsense_in_transaction" in text.partition("PostgreSQL log")[2]
        assert "nothing_to_do_with_it" not in text
        summary = text.partition("= PostgreSQL databases kept =")[2]
        urls = re.findall(r"psql '?(postgresql://[^'\s]+)", summary)
        found = set()
        for url in urls:
            with psycopg.connect(url) as connection:
                found |= set(connection.execute("SELECT name FROM item WHERE id > 1").fetchall())
        assert {("of the module",), ("of the test",), ("of the factory",)} == found
        stop = re.search(r"oxy-pg (stop --state-dir \S+)$", text, re.MULTILINE)
        subprocess.run([sys.executable, "-m", "oxy_pg", *stop[1].split()], check=True)
    finally:
        for directory in server_directories():
            stop_everything_below(directory)


@pytest.mark.parametrize("place", ["test", "template"])
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE EXTENSION postgres_fdw", "*no extension postgres_fdw*--oxy-pg-extension*"),
        ("CREATE EXTENSION adminpack", "*--oxy-pg-extension=adminpack*"),
        ("CREATE EXTENSION plperlu", "*--oxy-pg-extension=plperlu*"),
    ],
)
def test_an_extension_names_the_option(session, place, statement, words):
    """
    What a test or a template may not create, or what is not installed.
    """
    code = "def test_it(oxy_pg_connection): pass"
    conftest = f"""
        import psycopg, pytest

        @pytest.fixture(scope="session")
        def oxy_pg_template(oxy_pg_template_url):
            with psycopg.connect(oxy_pg_template_url) as connection:
                connection.execute("{statement}")
    """
    if place == "test":
        code = f"def test_it(oxy_pg_connection): oxy_pg_connection.execute('{statement}')"
        conftest = ""
    result = session(code, conftest=conftest)
    result.stdout.fnmatch_lines([words])


def test_a_template_that_waits_for_a_lock(session):
    """
    Its own other connection holds it: within seconds it is cancelled, and the holder is named.
    """
    result = session(
        "def test_it(oxy_pg_url): pass",
        conftest="""
            import psycopg, pytest

            @pytest.fixture(scope="session")
            def oxy_pg_template(oxy_pg_template_url):
                first = psycopg.connect(oxy_pg_template_url)
                first.execute("CREATE TABLE IF NOT EXISTS held (id int)")
                with psycopg.connect(oxy_pg_template_url) as second:
                    second.execute("CREATE TABLE held (id int)")
        """,
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*PostgreSQL lock*",
            "*waits for a lock: CREATE TABLE held (id int)*",
            "*held by process * (idle in transaction): CREATE TABLE IF NOT EXISTS held*",
        ]
    )
    assert result.duration < 20


# --- what tests leave ---

LEAKS = """
    import psycopg
    import pytest

    left = []

    def test_clean(oxy_pg_url, oxy_pg_connection, oxy_pg_engine):
        with psycopg.connect(oxy_pg_url), oxy_pg_engine.connect():
            pass

    def test_idle(oxy_pg_url):
        left.append(psycopg.connect(oxy_pg_url, autocommit=True))

    def test_transaction(oxy_pg_url):
        left.append(psycopg.connect(oxy_pg_url, application_name="leaky"))
        left[-1].execute("LOCK TABLE item")

    def test_advisory(oxy_pg_transaction, oxy_pg_server):
        url = oxy_pg_server.url(oxy_pg_transaction.info.dbname)
        left.append(psycopg.connect(url, autocommit=True))
        left[-1].execute("SELECT pg_advisory_lock(7)")

    def test_factory(oxy_pg_database_factory):
        with oxy_pg_database_factory() as database:
            left.append(database.connect(autocommit=True))

    def test_last(oxy_pg_async_connection, oxy_pg_transaction):
        pass
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_what_tests_leave_is_named_after_them(session, workers):
    """
    Connections, transactions and locks; what was closed is not mentioned.
    """
    result = session(LEAKS, f"-n{workers}", "--dist=loadfile")

    result.assert_outcomes(passed=6)
    summary = result.stdout.str().partition("left open in PostgreSQL")[2]
    assert 4 == summary.count(" has left ")
    for test, words in {
        "idle": "idle for",
        "transaction": "program 'leaky'., idle in transaction .*AccessExclusiveLock.*LOCK TABLE",
        "advisory": "1 advisory lock",
        "factory": "idle for",
    }.items():
        assert re.search(f"::test_{test} has left a connection .*{words}", summary), summary


def test_what_tests_leave_can_fail_them(session):
    """
    At teardown; on demand nobody looks at all.
    """
    result = session(LEAKS, "--oxy-pg-leaks=fail")
    result.assert_outcomes(passed=5, errors=3, failed=1)
    result.stdout.fnmatch_lines(["*This test has left a connection*idle in transaction*"])

    result = session(LEAKS, "-o", "oxy_pg_leaks=off")
    result.assert_outcomes(passed=6)
    result.stdout.no_fnmatch_line("*has left*")


@pytest.mark.parametrize(
    ("scope", "fixture", "words"),
    [
        (
            "function",
            "def oxy_pg_template(oxy_pg_template_url): pass",
            "There is one oxy_pg_template for all tests * @pytest.fixture(scope='session')*",
        ),
        (
            "module",
            "def oxy_pg_template_key(): return 'x'",
            "There is one oxy_pg_template_key for all tests * @pytest.fixture(scope='session')*",
        ),
        (
            "module",
            "def filled(oxy_pg_url): pass",
            "*oxy_pg_module_url, or make databases with oxy_pg_database_factory.",
        ),
    ],
)
def test_a_fixture_of_another_scope_is_told_what_to_do(session, scope, fixture, words):
    """
    pytest says which fixture it is, and not what to write instead.
    """
    conftest = f"import pytest\n@pytest.fixture(scope={scope!r})\n{fixture}\n"
    request = "oxy_pg_url" if "template" in fixture else "filled"

    result = session(f"def test_it({request}): pass", conftest=conftest)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*oxy_pg: what to do*", words])
    assert 1 == result.stdout.str().count("oxy_pg: what to do")


# --- pytest-socket ---


def test_blocked_sockets(session):
    """
    With --allow-unix-socket everything works; without it, the report says so.
    """
    code = """
        import psycopg

        def test_it(oxy_pg_connection, oxy_pg_url):
            psycopg.connect(oxy_pg_url).close()
    """
    allowed = session(code, "--disable-socket", "--allow-unix-socket", plugins=("socket",))
    allowed.assert_outcomes(passed=1)

    blocked = session(code, "--disable-socket", plugins=("socket",))
    blocked.assert_outcomes(errors=1)
    blocked.stdout.fnmatch_lines(["*pytest-socket also blocks*--allow-unix-socket*"])
    assert wait_until(lambda: not server_directories())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bob:Zx81secret@127.0.0.1:99999/x",
        "bob:Zx81secret@host/db",
        "mysql://bob:Zx81secret@host/db",
        "postgresql://bob:Zx81secret@127.0.0.1:1/x",
        "host=127.0.0.1 password=Zx81secret",
    ],
)
def test_no_report_has_the_password_of_the_server(session, monkeypatch, url):
    """
    pytest shows the arguments of every function in a traceback, and with -l the variables.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", url)
    result = session("def test_it(oxy_pg_url): pass", "-l", "-vv")
    result.assert_outcomes(errors=1)
    text = result.stdout.str() + result.stderr.str()
    assert "Zx81secret" not in text
    assert "OXY_DATABASE_URL" in text


def test_no_failing_test_shows_the_password_of_its_url(session, monkeypatch):
    """
    Of an external server, whose password is worth something.
    """
    with oxy_pg.temporary() as server:
        monkeypatch.setenv("OXY_DATABASE_URL", server.url())
        result = session("def test_it(oxy_pg_url): assert oxy_pg_url == 'x'", "-l")
        password = urlsplit(server.url()).password
    result.assert_outcomes(failed=1)
    assert password
    assert password not in result.stdout.str()
    assert "oxy:***@" in result.stdout.str()
