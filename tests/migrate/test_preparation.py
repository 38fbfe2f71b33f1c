"""``--prepare``: its environment, its output, its questions, and where a dry run tries it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
import uuid

import psycopg
import pytest

import oxy_pg
from oxy_pg.errors import (
    BadValues,
    ConfigurationError,
    PreparationFailed,
    SchemaMismatch,
    TargetNotEmpty,
)
from oxy_pg.migrate.migration import migrate

SCRIPT = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')"
CREATE = "CREATE TABLE t (id int PRIMARY KEY, v varchar(5))"


def psql(script):
    """A command that runs SQL on the server that its environment names."""
    code = f"import psycopg; psycopg.connect('', autocommit=True).execute({script!r})"
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def command(path, url, *arguments):
    start = [sys.executable, "-m", "oxy_pg", "migrate-sqlite", "--from", path, "--to", url]
    return [*start, *arguments]


@pytest.fixture
def run(lite, pg_url):
    def invoke(*arguments, **environment):
        return subprocess.run(
            command(lite(SCRIPT), pg_url, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
            timeout=60,
        )

    return invoke


# --- the environment ---


def test_the_server_of_the_caller_never_reaches_the_command(run, pg_url, tmp_path):
    """
    Every variable of libpq names the target, and no other is left.
    """
    to = tmp_path / "environment"
    done = run(
        *("--prepare", f"env > {to}; {psql(CREATE)}"),
        PGHOST="production.example",
        PGPORT="1",
        PGUSER="caller",
        PGDATABASE="live",
        PGPASSWORD="of the caller",
        PGAPPNAME="shell",
    )
    assert 0 == done.returncode, done.stderr
    found = dict(line.split("=", 1) for line in to.read_text().splitlines() if "=" in line)
    libpq = {name: value for name, value in found.items() if name.startswith("PG")}
    place = pg_url.rpartition("@")[2]
    assert {
        "PGHOST": "127.0.0.1",
        "PGPORT": place.partition(":")[2].partition("/")[0],
        "PGUSER": "oxy",
        "PGPASSWORD": "sesame",
        "PGDATABASE": place.partition("/")[2],
    } == libpq
    assert pg_url == found["OXY_DATABASE_URL"] == found["DATABASE_URL"]


def test_variables_of_a_programs_own_are_filled_in(run, pg_url, tmp_path):
    to = tmp_path / "environment"
    done = run(
        *("--prepare", f"env > {to}"),
        *("--set", "APP_DB={url:psycopg2}", "--set", "DSN={url}", "--set", "KEEP={other} $x"),
        *("--set", "PARTS={user}:{password}@{host}:{port}/{database}", "--set", "PGHOST=own"),
    )
    assert 0 == done.returncode, done.stderr
    found = dict(line.split("=", 1) for line in to.read_text().splitlines() if "=" in line)
    rest = pg_url.removeprefix("postgresql://")
    assert f"postgresql+psycopg2://{rest}" == found["APP_DB"]
    assert (pg_url, "{other} $x", rest) == (found["DSN"], found["KEEP"], found["PARTS"])
    assert "own" == found["PGHOST"]


@pytest.mark.parametrize("wrong", ["APP_DB", "=x", "A B=x", "1A=x"])
def test_a_variable_needs_a_name_and_a_value(run, wrong):
    done = run("--prepare", "true", "--set", wrong)
    assert 2 == done.returncode
    assert "NAME=VALUE" in done.stderr


# --- its output ---


def test_what_is_quick_is_not_shown(run):
    done = run("--prepare", "echo done quickly")
    assert 0 == done.returncode
    assert "done quickly" not in done.stdout + done.stderr


def test_what_takes_long_is_shown_while_it_runs(lite, pg_url):
    """
    After two seconds what it has written so far, then the rest; never the password.
    """
    slow = "echo first of $DATABASE_URL; sleep 2.5; echo second >&2; sleep 3; echo third"
    done = subprocess.Popen(
        command(lite(SCRIPT), pg_url, "--prepare", slow),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with done.stderr:
        lines = [done.stderr.readline() for _ in range(2)]
        assert done.poll() is None
        assert "first of postgresql://oxy:***@" in lines[0]
        assert "second\n" == lines[1]
        rest = done.stderr.read()
    assert 0 == done.wait()
    assert "third" in rest
    assert "sesame" not in "".join(lines) + rest


def test_a_child_that_stays_does_not_hold_the_move_up(run):
    began = time.monotonic()
    done = run("--prepare", "sleep 100 & echo $!")
    assert 0 == done.returncode
    assert time.monotonic() - began < 100


# --- its questions ---


@pytest.mark.parametrize(
    "question", ["read x", "read x < /dev/tty", "printf 'Go on? '; read x && test $x = y"]
)
def test_without_a_terminal_a_question_ends_the_run(run, question):
    """
    Nobody could answer it.
    """
    done = run("--prepare", question)
    assert 1 == done.returncode
    assert "Failed to run migrations on PostgreSQL" in done.stderr


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, arguments):
        self.pid, self.handle = pty.fork()
        if not self.pid:
            os.execv(arguments[0], arguments)
        self.seen = ""

    def until(self, text, seconds=30):
        end = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.handle], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.handle, 65536).decode(errors="replace")
                except OSError:  # it has ended
                    break
        return text in self.seen

    def type(self, text):
        os.write(self.handle, text.encode())

    def wait(self):
        self.until("\0nothing says this")
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.handle)
        return code


@pytest.mark.parametrize("option", [[], ["--quiet"]])
def test_on_a_terminal_its_question_is_seen_and_answered(lite, pg_url, option):
    asks = "printf 'Really go on? '; read x; echo it was $x >&2; test $x = yes"
    terminal = Terminal(command(lite(SCRIPT), pg_url, "--prepare", asks, *option))
    assert terminal.until("Really go on? "), terminal.seen
    terminal.type("yes\n")
    assert 0 == terminal.wait(), terminal.seen
    assert "Moved 1 row" in terminal.seen


def test_on_a_terminal_a_silent_question_is_suspected(lite, pg_url):
    terminal = Terminal(command(lite(SCRIPT), pg_url, "--prepare", "read x; test $x = ok"))
    assert terminal.until("it may be waiting for an answer"), terminal.seen
    terminal.type("ok\n")
    assert 0 == terminal.wait(), terminal.seen


def test_an_interrupt_ends_the_command(lite, pg_url, tmp_path):
    """
    Ctrl-C: nothing of ours goes on.
    """
    here = tmp_path / "pid"
    asks = f"echo $$ > {here}; sleep 300"
    done = subprocess.Popen(
        command(lite(SCRIPT), pg_url, "--prepare", asks),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (here.exists() and here.read_text().strip()):
        time.sleep(0.05)
    pid = int(here.read_text())
    os.kill(done.pid, signal.SIGINT)
    assert 130 == done.wait(timeout=20)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# --- the dry run ---


def databases(server_url):
    with psycopg.connect(server_url, autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


def test_a_dry_run_judges_the_schema_that_prepare_makes(lite, pg_url, pg, server_url):
    """
    The value is too long for the real column; the target stays as it was.
    """
    before = databases(server_url)
    path = lite(SCRIPT + ", (2, 'too long')")
    report = migrate(path, pg_url, prepare=psql(CREATE), dry_run=True)
    assert ["fill"] == [table.action for table in report.tables]
    assert 1 == len(report.problems)
    assert "too long" in report.problems[0].message
    assert report.preparation.startswith("--prepare was tried in a temporary database")
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")
    assert before == databases(server_url)


def test_a_dry_run_says_first_where_it_looked(run):
    done = run("--dry-run", "--prepare", psql(CREATE))
    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("--prepare was tried in a temporary database next to")


@pytest.mark.parametrize("failing", ["false", "exit 3", "no-such-command"])
def test_a_dry_run_with_a_prepare_that_fails_fails(run, server_url, failing):
    before = databases(server_url)
    done = run("--dry-run", "--prepare", failing)
    assert 1 == done.returncode
    assert "Failed to run migrations" in done.stderr
    assert before == databases(server_url)


@pytest.fixture
def plain_url(server_url):
    """The database of a role that may not create another one."""
    name = f"plain{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'sesame'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    yield server_url.replace("admin:", f"{name}:").removesuffix("/postgres") + f"/{name}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute(f"DROP ROLE {name}")


def test_without_createdb_an_embedded_server_serves(lite, plain_url):
    report = oxy_pg.migrate_sqlite(
        lite(SCRIPT + ", (2, 'too long')"), plain_url, prepare=psql(CREATE), dry_run=True
    )
    assert "a temporary embedded server" in report.preparation
    assert ["bad value"] == [problem.kind for problem in report.problems]


def test_where_an_embedded_server_is_forbidden_prepare_is_not_tried(lite, plain_url, monkeypatch):
    monkeypatch.setenv("OXY_PG_EMBEDDED", "never")
    report = oxy_pg.migrate_sqlite(lite(SCRIPT), plain_url, prepare=psql(CREATE), dry_run=True)
    assert report.preparation.startswith("--prepare was NOT tried")


@pytest.mark.parametrize("how", ["dry_run", "rehearse", "dry_run of a URL"])
def test_a_trial_has_the_extensions_that_only_a_superuser_may_create(lite, server, how):
    """
    pgvector is there in the target, and ``oxy`` may not create it in another database.
    """
    url = server.ensure_database(extensions=["vector"])
    with psycopg.connect(server.superuser_url()) as connection:
        trusted = connection.execute(
            "SELECT trusted FROM pg_available_extension_versions WHERE name = 'vector'"
        ).fetchall()
    assert {(False,)} == set(trusted)  # else this test proves nothing
    path = lite(SCRIPT + ", (2, 'too long')")
    create = f"CREATE EXTENSION IF NOT EXISTS vector; {CREATE}; ALTER TABLE t ADD m vector(2)"
    if how == "dry_run of a URL":
        report = oxy_pg.migrate_sqlite(path, url, prepare=psql(create), dry_run=True)
    elif how == "rehearse":
        with pytest.raises(BadValues, match="character varying"):
            server.migrate_sqlite(path, prepare=psql(create), rehearse=True)
        return
    else:
        report = server.migrate_sqlite(path, prepare=psql(create), dry_run=True)

    assert ["bad value"] == [problem.kind for problem in report.problems]
    assert "a temporary embedded server" in report.preparation


def test_a_rehearsal_with_prepare_runs_in_a_temporary_database(lite, pg_url, pg, server_url):
    """
    It finds what only the real schema can refuse; its report is the move's.
    """
    before = databases(server_url)
    path = lite(SCRIPT)
    refusing = f"{CREATE}; ALTER TABLE t ADD CHECK (v <> 'a')"
    with pytest.raises(BadValues, match="check constraint"):
        migrate(path, pg_url, prepare=psql(refusing), rehearse=True)
    seeded = psql(f"{CREATE}; INSERT INTO t VALUES (7, 'seed')")
    rehearsed = migrate(path, pg_url, prepare=seeded, rehearse=True)
    assert before == databases(server_url)
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")

    moved = migrate(path, pg_url, prepare=seeded)

    assert rehearsed.rehearsal
    assert "temporary database" in rehearsed.preparation
    assert (rehearsed.rows, rehearsed.seeds) == (moved.rows, moved.seeds)
    assert rehearsed.sequences == moved.sequences


def test_a_rehearsal_with_prepare_needs_a_database(lite, plain_url):
    """
    Else the preparation would stay; the error says why, and what to do.
    """
    path = lite(SCRIPT)
    with pytest.raises(ConfigurationError, match=r"may not create one.*without --prepare"):
        migrate(path, plain_url, prepare=psql(CREATE), rehearse=True)
    report = oxy_pg.migrate_sqlite(path, plain_url, prepare=psql(CREATE), rehearse=True)
    assert "a temporary embedded server" in report.preparation


def test_a_rehearsal_with_prepare_does_not_have_the_rows_of_the_target(lite, pg_url, pg):
    """
    Where these matter it is refused, and says so.
    """
    pg(f"{CREATE}; INSERT INTO t VALUES (7, 'mine')")
    path, options = lite(SCRIPT), {"prepare": psql(CREATE), "rehearse": True}
    with pytest.raises(ConfigurationError, match="append"):
        migrate(path, pg_url, if_not_empty="append", **options)
    with pytest.raises(TargetNotEmpty):
        migrate(path, pg_url, **options)
    assert 1 == migrate(path, pg_url, if_not_empty="truncate", **options).rows


def test_the_database_of_a_killed_dry_run_is_dropped_by_the_next(lite, pg_url, server_url):
    """
    Those of dry runs that still run, and all others, stay.
    """
    before = databases(server_url)
    path = lite(SCRIPT)
    running = []
    try:
        for number in (1, 2):
            running.append(
                subprocess.Popen(
                    command(path, pg_url, "--dry-run", "--prepare", "exec sleep 20"),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            while len(databases(server_url) - before) < number:
                time.sleep(0.05)
        live_and_dead = databases(server_url) - before
        os.killpg(running[0].pid, signal.SIGKILL)
        running[0].wait()
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE oxy_pg_trial_mine OWNER oxy")

        while len(databases(server_url) - before) > 2:
            migrate(path, pg_url, prepare=psql(CREATE), dry_run=True)

        left = databases(server_url) - before
        assert 1 == len(left & live_and_dead)
        assert "oxy_pg_trial_mine" in left
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with psycopg.connect(server_url, autocommit=True) as connection:
            for name in databases(server_url) - before:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_where_nothing_can_be_tried_it_is_said_first(lite, plain_url):
    """
    The target's own schema is judged then.
    """
    report = migrate(lite(SCRIPT), plain_url, prepare=psql(CREATE), dry_run=True)
    assert report.preparation.startswith("--prepare was NOT tried")
    assert ["create"] == [table.action for table in report.tables]


def test_a_trial_has_the_schema_and_the_locale_of_the_target(lite, pg_url, pg):
    pg("CREATE SCHEMA app")
    url = f"{pg_url}?options=-csearch_path%3Dapp"
    seen = []

    def prepare(address):
        with psycopg.connect(address) as connection:
            row = connection.execute(
                "SELECT current_schema(), pg_encoding_to_char(encoding), datcollate "
                "FROM pg_database WHERE datname = current_database()"
            ).fetchone()
            seen.append(row)

    migrate(lite(SCRIPT), url, prepare=prepare, dry_run=True)
    migrate(lite("SELECT 1"), url, prepare=prepare)
    assert "app" == seen[0][0]
    assert seen[0] == seen[1]


def test_a_function_that_fails_in_the_trial_fails(lite, pg_url, server_url):
    def prepare(_):
        raise ValueError("no such revision")

    before = databases(server_url)
    with pytest.raises(PreparationFailed, match="no such revision"):
        migrate(lite(SCRIPT), pg_url, prepare=prepare, dry_run=True)
    assert before == databases(server_url)


# --- versions ---

STAMP = "CREATE TABLE {0} ({1} varchar(40) PRIMARY KEY); INSERT INTO {0} VALUES ('{2}');"
TOOLS = [
    ("alembic_version", "version_num", "aa11bb22cc33", "dd44ee55ff66"),
    ("schema_migrations", "version", "20230101000000", "20240101000000"),
    ("knex_migrations", "name", "20230101_a.js", "20240101_b.js"),
    ("__diesel_schema_migrations", "version", "00000000000001", "00000000000002"),
]


@pytest.mark.parametrize(("table", "column", "old", "new"), TOOLS)
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_prepare_that_only_stamps_stops_the_move(
    lite, pg_url, pg, table, column, old, new, same, dry_run
):
    """
    Whatever the version is; the error has both, and nothing is created.
    """
    there = old if same else new
    path = lite(SCRIPT + ";" + STAMP.format(table, column, old))
    with pytest.raises(SchemaMismatch, match="table t is not in the target") as caught:
        migrate(path, pg_url, prepare=psql(STAMP.format(table, column, there)), dry_run=dry_run)
    assert old in str(caught.value)
    assert there in str(caught.value)
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


def test_tables_are_created_next_to_a_stamp_when_asked(lite, pg_url, pg):
    stamp = STAMP.format("alembic_version", "version_num", "a")
    path = lite(SCRIPT + ";" + stamp)
    migrate(path, pg_url, prepare=psql(stamp), schema="create")
    assert [(1, "a")] == pg("SELECT * FROM t")


def test_a_stamped_target_without_prepare_stops_too(lite, pg_url, pg):
    """
    The application's own command may have run before.
    """
    stamp = STAMP.format("alembic_version", "version_num", "a")
    pg(stamp)
    path = lite(SCRIPT + ";" + stamp)
    with pytest.raises(SchemaMismatch, match="the application's migrations have stamped"):
        migrate(path, pg_url)
    migrate(path, pg_url, tables=["t"])
    assert [(1, "a")] == pg("SELECT * FROM t")


def test_a_stamp_without_a_version_is_none(lite, pg_url, pg):
    empty = "CREATE TABLE alembic_version (version_num varchar(40) PRIMARY KEY)"
    path = lite(SCRIPT + ";" + STAMP.format("alembic_version", "version_num", "a"))
    migrate(path, pg_url, prepare=psql(empty))
    assert [(1, "a")] == pg("SELECT * FROM t")


@pytest.mark.parametrize(
    ("table", "column", "ours", "theirs", "said"),
    [
        ("schema_migrations", "version", "20230101000000", "20240101000000", "the source is older"),
        ("schema_migrations", "version", "20240101000000", "20230101000000", "the target is older"),
        ("alembic_version", "version_num", "ffff", "aaaa", "source is at ffff, the target at aaaa"),
    ],
)
def test_another_version_stops_the_move(lite, pg_url, pg, table, column, ours, theirs, said):
    """
    Also where the tables would fit; unless that is accepted.
    """
    prepare = psql(CREATE + ";" + STAMP.format(table, column, theirs))
    path = lite(SCRIPT + ";" + STAMP.format(table, column, ours))
    with pytest.raises(SchemaMismatch, match=said) as caught:
        migrate(path, pg_url, prepare=prepare)
    assert "--on-version-mismatch accept" in str(caught.value)
    pg(f"DROP TABLE t, {table}")
    report = migrate(path, pg_url, prepare=prepare, on_version_mismatch="accept")
    assert any("lacks 1 versions" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("table", "columns", "ours", "theirs", "command"),
    [
        ("alembic_version", "version_num text", ["'ab1'"], ["'cd2'"], "alembic upgrade ab1"),
        (
            "goose_db_version",
            "id int, version_id int, is_applied int, tstamp text",
            ["1, 9, 1, ''", "2, 10, 1, ''"],
            ["1, 9, 1, ''"],
            "goose up-to 10",
        ),
        (
            "django_migrations",
            "id int, app text, name text, applied text",
            ["1, 'shop', '0001_a', ''", "2, 'auth', '0009_z', ''"],
            ["1, 'shop', '0001_a', ''", "2, 'auth', '0009_z', ''", "3, 'shop', '0002_b', ''"],
            "python manage.py migrate shop 0001_a",
        ),
    ],
)
def test_another_version_names_the_next_command(
    lite, pg_url, table, columns, ours, theirs, command
):
    """
    The one that stops at the file's version, for tools that have one.
    """
    made = f"CREATE TABLE {table} ({columns});"
    path = lite(SCRIPT + ";" + made + "".join(f"INSERT INTO {table} VALUES ({r});" for r in ours))
    made += "".join(f"INSERT INTO {table} VALUES ({r});" for r in theirs)
    with pytest.raises(SchemaMismatch) as caught:
        migrate(path, pg_url, prepare=psql(f"{CREATE};{made}"))
    assert f'--prepare "{command}"' in str(caught.value)
    # Advice for another case would mislead.
    assert "--schema auto" not in str(caught.value)


DJANGO = (
    "CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app varchar(255), name varchar(255));"
    "INSERT INTO django_migrations VALUES (1, 'auth', '0001_initial'){};"
)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("", ", (2, 'shop', '0001_initial')", "the source is older"),
        (", (2, 'shop', '0001_initial')", "", "the target is older"),
    ],
)
def test_schemas_that_do_not_fit_say_which_is_older(lite, pg_url, pg, ours, theirs, said):
    """
    Django numbers each application's migrations: two of one name are two.
    """
    pg("CREATE TABLE t (id int PRIMARY KEY); " + DJANGO.format(theirs))
    path = lite(SCRIPT + ";" + DJANGO.format(ours))
    with pytest.raises(SchemaMismatch, match=said) as caught:
        migrate(path, pg_url)
    assert "column t.v has 1 value and no column in the target" in str(caught.value)


def test_where_versions_have_no_order_the_columns_tell(lite, pg_url, pg):
    pg("CREATE TABLE t (id int PRIMARY KEY, v int, w int, x int NOT NULL);")
    pg(STAMP.format("alembic_version", "version_num", "a"))
    path = lite(SCRIPT + ";" + STAMP.format("alembic_version", "version_num", "b"))
    with pytest.raises(SchemaMismatch, match=r"the source lacks 2 columns .* probably the older"):
        migrate(path, pg_url)
