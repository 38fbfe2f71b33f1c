"""A database pushed elsewhere, and pulled back: all of it, or nothing."""

from __future__ import annotations

import json
import os
import pickle
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from urllib.parse import unquote

import psycopg
import pytest

import oxy_pg
from oxy_pg import errors
from tests import oxy_database
from tests.conftest import wait_until
from tests.migrate import compare
from tests.migrate.test_real_databases import PYTHON, fetch
from tests.other_servers import postgresql_18_bin
from tests.terminal import shown_on
from tests.transfer.contents import RICH, differences, everything


@pytest.fixture(autouse=True)
def with_18(monkeypatch):
    """The fork of pgserver, as if it were installed in this Python."""
    monkeypatch.syspath_prepend(str(postgresql_18_bin().parents[2]))


@pytest.fixture
def home(state_dir, monkeypatch):
    """The embedded server of this test."""
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    with oxy_pg.Server(state_dir, keep_alive=5) as server:
        server.ensure_database()
        yield server


def run(url, *statements):
    """Run statements in autocommit mode; returns the last one's rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = None
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else None
        return rows


def through(pool, server, url):
    """A server's URL, but through a pool."""
    return url.partition("?")[0].replace(f":{server.port}/", f":{pool.port}/")


# --- all of it ---


@pytest.mark.parametrize("where", ["debian_15", "postgresql_18"])
def test_everything_goes_there_and_back(home, request, where):
    """
    Every kind of object and value that an ordinary role can have: push, pull, compare.
    """
    target = request.getfixturevalue(where).new_database()
    run(home.url(), RICH)
    before = everything(home.superuser_url("oxy"))

    pushed = oxy_pg.push(target)

    assert [] == differences(before, everything(target))
    pulled = oxy_pg.pull(target, if_not_empty="replace")
    assert [] == differences(before, everything(home.superuser_url("oxy")))
    assert pushed.rows == pulled.rows > 1000
    assert () == pulled.problems == pushed.warnings


def migrated(kind, home, tmp_path):
    """A SQLite database in the embedded server; its path, and what compares with it."""
    if kind == "oxy":
        path = str(tmp_path / "oxy.db")
        oxy_database.generate(path, 500)
    else:
        path = str(fetch(PYTHON[0]))
    oxy_pg.migrate_sqlite(path, home.url())
    return path


@pytest.mark.parametrize("kind", ["oxy", "proj"])
def test_databases_from_sqlite_go_there_and_back(home, debian_15, tmp_path, kind):
    """
    The Oxy database and proj.db, migrated, pushed and pulled: equal to SQLite's by value.
    """
    path = migrated(kind, home, tmp_path)
    before = everything(home.superuser_url("oxy"))
    target = debian_15.new_database()

    oxy_pg.push(target)
    run(home.superuser_url(), "DROP DATABASE oxy WITH (FORCE)")
    oxy_pg.pull(target)

    assert [] == differences(before, everything(home.superuser_url("oxy")))
    assert [] == compare.differences(path, home.url())


def test_names_with_spaces_and_letters_of_all_kinds(home, postgresql_18, state_dir, monkeypatch):
    """
    Databases, schemas and directories may be called what they like.
    """
    place = state_dir.parent / "mît Leerzeichen 'x'"
    monkeypatch.setenv("OXY_STATE_DIR", str(place))
    name = 'nämé with "quotes" %s'
    url = oxy_pg.ensure(name, state_dir=place)
    run(url, RICH)
    target = postgresql_18.new_database()

    oxy_pg.push(target, database=name)
    oxy_pg.pull(target, database=name, if_not_empty="replace")

    assert [] == differences(everything(target), everything(url_of(place, name)))
    oxy_pg.Server(place).stop()


def url_of(place, name):
    return oxy_pg.Server(place).superuser_url(name)


def test_one_schema_alone(home, postgresql_18):
    """
    ``schemas`` takes these, and only these are looked at in the target.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE SCHEMA a; CREATE TABLE a.t AS SELECT 1; CREATE TABLE public.u ()")
    run(target, "CREATE TABLE public.mine AS SELECT 2 AS kept")

    report = oxy_pg.push(target, schemas=["a"])

    assert ["a.t"] == [str(table) for table in report.tables]
    assert [(2,)] == run(target, "SELECT kept FROM public.mine")
    assert [(1,)] == run(target, "SELECT * FROM a.t")


def test_what_a_role_set_on_the_side_stays_behind_by_name(home, postgresql_18):
    """
    Publications belong to their server: they are named, and the rest goes.
    """
    run(home.url(), "CREATE TABLE t (a integer)")
    run(home.superuser_url("oxy"), "CREATE PUBLICATION news FOR TABLE public.t")

    report = oxy_pg.push(postgresql_18.new_database())

    assert "news" in {one.name for one in report.skipped}


def test_pull_makes_the_database_and_the_server(postgresql_18, state_dir, monkeypatch):
    """
    Nothing has to be there: neither cluster nor database.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    source = postgresql_18.new_database()
    run(source, "CREATE TABLE t AS SELECT 'far' AS away")

    oxy_pg.pull(source, database="staging")

    server = oxy_pg.Server(state_dir)
    assert [("far",)] == run(server.url("staging"), "SELECT away FROM t")
    assert "staging" in server.databases()
    assert [("oxy",)] == run(
        server.url("staging"), "SELECT relowner::regrole::text FROM pg_class WHERE relname = 't'"
    )
    server.stop()


# --- what is there already ---


def test_a_target_that_is_not_empty_is_named(home, postgresql_18):
    """
    Tables with their rows, and what else is there; nothing is written.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE TABLE t AS SELECT 1 AS ours")
    run(target, "CREATE TABLE t AS SELECT 2 AS theirs", "CREATE VIEW v AS SELECT 1 AS one")
    before = everything(target)

    with pytest.raises(oxy_pg.DatabaseNotEmpty, match=r"(?s)table public.t: 1 row.*view public.v"):
        oxy_pg.push(target)
    with pytest.raises(oxy_pg.DatabaseNotEmpty, match=r"table public.t: 1 row"):
        oxy_pg.pull(target)

    assert [] == differences(before, everything(target))
    assert [(1,)] == run(home.url(), "SELECT ours FROM t")


def test_replace_leaves_nothing_of_it_and_other_schemas_alone(home, postgresql_18):
    """
    Every object in the copied schemas is replaced; objects of other schemas are not touched.
    """
    target = postgresql_18.new_database()
    run(home.url(), RICH)
    run(target, RICH, "CREATE TABLE public.gone AS SELECT 1", "CREATE SCHEMA theirs")
    run(
        target,
        "CREATE TABLE theirs.kept AS SELECT 7 AS seven",
        "UPDATE parent SET name = name || 'x'",
    )

    report = oxy_pg.push(target, if_not_empty="replace")

    assert [(7,)] == run(target, "SELECT seven FROM theirs.kept")
    run(target, "DROP SCHEMA theirs CASCADE")
    assert [] == differences(everything(home.superuser_url("oxy")), everything(target))
    assert "public.gone" in map(str, report.replaced)


def test_replace_does_not_take_what_depends_on_it(home, postgresql_18):
    """
    A view in another schema would go with its table: refused, and all is as it was.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE TABLE t AS SELECT 1 AS a")
    run(target, "CREATE TABLE t AS SELECT 2 AS a", "CREATE SCHEMA theirs")
    run(target, "CREATE VIEW theirs.v AS SELECT a FROM public.t")

    with pytest.raises(oxy_pg.TransferRefused, match=r"theirs\.v"):
        oxy_pg.push(target, if_not_empty="replace")

    assert [(2,)] == run(target, "SELECT a FROM theirs.v")


def test_replace_names_what_another_role_owns(home, postgresql_18):
    """
    An ordinary role cannot drop what it does not own, and is told before anything happens.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE TABLE t ()")
    with postgresql_18.superuser(target.rpartition("/")[2]) as connection:
        connection.execute("CREATE TABLE public.foreign_one ()")

    with pytest.raises(oxy_pg.RightsMissing, match=r"(?s)public\.foreign_one.*OWNER TO"):
        oxy_pg.push(target, if_not_empty="replace")


def test_rights_that_go_with_a_table_are_named(home, postgresql_18):
    """
    Roles that could read the old table cannot read the new one: a warning names them.
    """
    target, reader = postgresql_18.new_database(), postgresql_18.new_database()
    role = reader.rpartition("/")[2]
    run(home.url(), "CREATE TABLE t ()")
    run(target, "CREATE TABLE t ()", f"GRANT SELECT ON t TO {role}")

    report = oxy_pg.push(target, if_not_empty="replace")

    assert any(role in warning for warning in report.warnings)


def test_readers_see_the_old_or_the_new(home, postgresql_18):
    """
    A client that reads all the time finds the old rows or the new ones, and never none.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE TABLE t AS SELECT 2 AS v FROM generate_series(1, 50000)")
    run(target, "CREATE TABLE t AS SELECT 1 AS v FROM generate_series(1, 3)")
    seen, over = set(), threading.Event()

    def watch():
        with psycopg.connect(target, autocommit=True) as connection:
            while not over.is_set():
                seen.add(connection.execute("SELECT min(v), count(*) FROM t").fetchone())

    watcher = threading.Thread(target=watch)
    watcher.start()
    oxy_pg.push(target, if_not_empty="replace")
    time.sleep(0.05)
    over.set()
    watcher.join()

    assert {(1, 3), (2, 50000)} == seen


def test_swap_takes_the_place_of_the_old_one(home, postgresql_18):
    """
    With CREATEDB: a new database beside, which takes the name; settings of the old one stay.
    """
    target = postgresql_18.new_database(rights="CREATEDB")
    name = target.rpartition("/")[2]
    run(home.url(), RICH)
    run(target, "CREATE TABLE old ()", f"ALTER DATABASE {name} SET work_mem = '7MB'")

    oxy_pg.push(target, if_not_empty="replace", swap=True, jobs=3)

    assert [] == differences(everything(home.superuser_url("oxy")), everything(target))
    assert [("7MB",)] == run(target, "SHOW work_mem")
    with postgresql_18.superuser() as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '_oxy_'")
        assert [] == left.fetchall()


def test_swap_without_the_right_is_refused(home, postgresql_18):
    """
    Without CREATEDB, the statement that an administrator has to run is named.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE TABLE t ()")

    with pytest.raises(oxy_pg.TransferError, match="CREATEDB"):
        oxy_pg.push(target, swap=True)


# --- who may what ---


def test_a_role_without_rights_is_told_before(home, postgresql_18):
    """
    A role that may only connect: the GRANT that it needs is named, and nothing is written.
    """
    target = postgresql_18.new_database(owner=False)
    run(home.url(), "CREATE TABLE t ()", "CREATE SCHEMA more", "CREATE TABLE more.u ()")

    with pytest.raises(oxy_pg.RightsMissing) as caught:
        oxy_pg.push(target)

    assert "GRANT CREATE ON SCHEMA public" in str(caught.value)
    assert "GRANT CREATE ON DATABASE" in str(caught.value)
    assert "pässword" not in str(caught.value)


def test_tables_that_cannot_be_read_are_named(home, postgresql_18):
    """
    A role that may not read everything would pull half a database: every table is named.
    """
    source = postgresql_18.new_database()
    with postgresql_18.superuser(source.rpartition("/")[2]) as connection:
        connection.execute("CREATE TABLE hidden ()")
        connection.execute("CREATE TABLE other ()")

    with pytest.raises(oxy_pg.RightsMissing, match=r"(?s)public\.hidden.*public\.other.*GRANT"):
        oxy_pg.pull(source)


def test_rows_behind_a_policy_are_no_small_database(home, postgresql_18):
    """
    Where row-level security would hide rows it fails, instead of leaving them out.
    """
    source = postgresql_18.new_database()
    role = source.rpartition("/")[2]
    with postgresql_18.superuser(role) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        connection.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        connection.execute(f"GRANT SELECT ON t TO {role}")

    with pytest.raises(oxy_pg.TransferError, match="row-level security"):
        oxy_pg.pull(source)

    assert ["oxy"] == home.databases()


def test_an_extension_that_the_target_lacks_is_named_before(home, debian_15, postgresql_18):
    """
    Not installed there, or not for this role: named with who can make it; then it goes.
    """
    run(home.superuser_url("oxy"), "CREATE EXTENSION vector SCHEMA public")
    run(home.url(), "CREATE TABLE t (v vector(3))", "INSERT INTO t VALUES ('[1,2,3]')")
    without, untrusted = debian_15.new_database(), postgresql_18.new_database()

    with pytest.raises(oxy_pg.ExtensionsMissing, match="vector: it is not installed"):
        oxy_pg.push(without)
    with pytest.raises(oxy_pg.ExtensionsMissing, match=r"administrator.*CREATE EXTENSION vector"):
        oxy_pg.push(untrusted)

    assert [] == run(untrusted, "SELECT * FROM pg_tables WHERE schemaname = 'public'")
    with postgresql_18.superuser(untrusted.rpartition("/")[2]) as connection:
        connection.execute("CREATE EXTENSION vector")
    oxy_pg.push(untrusted)
    assert [("[1,2,3]",)] == run(untrusted, "SELECT v::text FROM t")
    oxy_pg.pull(untrusted, if_not_empty="replace")
    assert [("[1,2,3]",)] == run(home.url(), "SELECT v::text FROM t")


def test_an_extension_that_the_role_may_make_is_made(home, debian_15):
    """
    A trusted one is made along the way, in its own schema; and one that we lack is named.
    """
    source = debian_15.new_database()
    run(source, "CREATE SCHEMA ext", "CREATE EXTENSION citext SCHEMA ext")
    run(source, "CREATE TABLE t (c ext.citext)", "INSERT INTO t VALUES ('A')")

    with pytest.raises(oxy_pg.ExtensionsMissing, match="citext: it is not installed"):
        oxy_pg.pull(source)

    assert ["oxy"] == home.databases()


# --- between the two ---


def test_push_goes_through_a_pool_and_leaves_no_trace(home, debian_15, pgbouncer):
    """
    Through PgBouncer in transaction mode; the next client finds the session as it was.
    """
    target = debian_15.new_database()
    pool = pgbouncer(debian_15)
    pooled = through(pool, debian_15, target)
    run(home.url(), RICH)

    oxy_pg.push(pooled)

    assert [] == differences(everything(home.superuser_url("oxy")), everything(target))
    settings = "SELECT current_setting('search_path'), current_setting('check_function_bodies')"
    assert {('"$user", public', "on")} == {run(pooled, settings)[0] for _ in range(5)}


def test_pull_through_a_pool_is_refused(home, debian_15, pgbouncer):
    """
    pg_dump would empty search_path for everybody: the message asks for the server's own address.
    """
    source = debian_15.new_database()
    pool = pgbouncer(debian_15)

    with pytest.raises(
        oxy_pg.TransferRefused, match=r"(?s)pooler in transaction mode.*own address"
    ):
        oxy_pg.pull(through(pool, debian_15, source))


def test_a_database_is_not_replaced_by_itself(home):
    """
    Source and target may be spelled differently and be the same: nothing happens.
    """
    run(home.url(), "CREATE TABLE t AS SELECT 1 AS a")

    with pytest.raises(oxy_pg.ConfigurationError, match="same database"):
        oxy_pg.push(home.url(), if_not_empty="replace")
    with pytest.raises(oxy_pg.ConfigurationError, match="same database"):
        oxy_pg.pull(home.url(), if_not_empty="replace")

    assert [(1,)] == run(home.url(), "SELECT a FROM t")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:secret@127.0.0.1:1/x", "refused"),
        ("postgresql://u:secret@127.0.0.1:notaport/x", "not a port number"),
        ("mysql://u:secret@127.0.0.1/x", "must be a postgresql:// URL"),
    ],
)
def test_an_address_that_is_none(home, url, words):
    """
    Where nothing answers, or the URL is none: named, and without its password.
    """
    with pytest.raises(oxy_pg.OxyPgError, match=words) as caught:
        oxy_pg.push(url, timeout=2)

    assert "secret" not in str(caught.value)


def test_nothing_to_push(state_dir, monkeypatch):
    """
    A state directory in which nothing was ever started: named, and none is made.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))

    with pytest.raises(oxy_pg.ConfigurationError, match="no server has been started there"):
        oxy_pg.push("postgresql://u@127.0.0.1:1/x")

    assert not state_dir.exists()


@pytest.mark.parametrize("moment", ["DROP TABLE", "COPY", "CREATE INDEX", "verify"])
def test_the_target_dies_half_way(home, postgresql_18, moment):
    """
    Its session is killed at every stage: a typed error, and the target is as it was.
    """
    target = postgresql_18.new_database()
    run(target, "CREATE TABLE t AS SELECT 1 AS old", "CREATE TABLE u ()")
    run(home.url(), "CREATE TABLE t AS SELECT g AS new FROM generate_series(1, 200000) g")
    run(home.url(), "CREATE INDEX ON t (new)")
    before, over = everything(target), threading.Event()
    name = target.rpartition("/")[2]

    def kill():
        with postgresql_18.superuser() as connection:
            while not over.is_set():
                rows = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND state = 'active' AND query ILIKE %s",
                    (name, f"%{moment}%"),
                ).fetchall()
                if rows:
                    return

    def kill_when_verifying(step):
        # The counting is too short to be caught in the act: it is killed right before.
        if step.phase == moment:
            with postgresql_18.superuser() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND state = 'idle in transaction'",
                    (name,),
                )

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with psycopg.connect(target) as reader:
            if moment == "DROP TABLE":
                reader.execute("SELECT * FROM t")  # it waits for them to end
            with pytest.raises(oxy_pg.TransferError):
                oxy_pg.push(target, if_not_empty="replace", on_progress=kill_when_verifying)
    finally:
        over.set()
        killer.join()

    assert wait_until(lambda: [] == differences(before, everything(target)))


def test_a_value_that_the_target_refuses(home, postgresql_18):
    """
    A constraint that is valid here and not there: the table is named, nothing arrives.
    """
    target = postgresql_18.new_database()
    body = "SELECT current_setting('server_version_num')::integer / 10000 = 16"
    run(home.url(), f"CREATE FUNCTION only_16() RETURNS boolean LANGUAGE sql AS $${body}$$")
    run(
        home.url(),
        "CREATE TABLE t (a integer CHECK (public.only_16()))",
        "INSERT INTO t VALUES (1)",
    )

    message = r"check constraint \"t_check\" of relation \"t\" is violated"
    with pytest.raises(oxy_pg.TransferRefused, match=message):
        oxy_pg.push(target)

    assert [] == run(target, "SELECT * FROM pg_tables WHERE schemaname = 'public'")


def test_a_statement_that_the_target_refuses(home, postgresql_18):
    """
    What version 18 has and we have not: the statement is named, the old database stays.
    """
    source = postgresql_18.new_database()
    run(source, "CREATE TABLE t (a integer, b integer GENERATED ALWAYS AS (a * 2) VIRTUAL)")
    run(home.url(), "CREATE TABLE mine ()")

    with pytest.raises(
        oxy_pg.TransferRefused, match=r'(?s)The statement: CREATE TABLE "public"."t"'
    ):
        oxy_pg.pull(source, if_not_empty="replace")

    assert ["oxy"] == home.databases()
    assert [("mine",)] == run(
        home.url(), "SELECT tablename FROM pg_tables WHERE schemaname='public'"
    )


# --- dry run, and the command line ---


def test_dry_run_tells_everything_and_writes_nothing(home, debian_15):
    """
    Tables, rows, versions, what would be replaced, and all problems at once.
    """
    target = debian_15.new_database()
    run(home.superuser_url("oxy"), "CREATE EXTENSION vector")
    run(home.url(), "CREATE TABLE t AS SELECT generate_series(1, 7)")
    run(target, "CREATE TABLE t AS SELECT 1 AS a")
    before = everything(target)

    report = oxy_pg.push(target, dry_run=True)

    assert [("public.t", 7)] == [(str(table), table.rows) for table in report.tables]
    assert [("public.t", 1)] == [(str(table), table.rows) for table in report.replaced]
    assert report.source_version.startswith("16.")
    assert report.target_version.startswith("15.")
    assert 2 == len(report.problems)
    assert [] == differences(before, everything(target))


def test_dry_run_of_a_pull_makes_no_cluster(postgresql_18, state_dir, monkeypatch):
    """
    Not even an empty cluster is made for it.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    source = postgresql_18.new_database()
    run(source, "CREATE TABLE t AS SELECT 1")

    report = oxy_pg.pull(source, dry_run=True)

    assert ([], 1) == (list(report.problems), report.rows)
    assert not state_dir.exists()


def test_the_commands(home, debian_15, cli, state_dir, monkeypatch):
    """
    What a person sees, what a program reads, and the line that makes the change permanent.
    """
    target = debian_15.new_database()
    run(home.url(), "CREATE TABLE t AS SELECT generate_series(1, 1234)")
    where = ("--state-dir", state_dir)

    tried = cli("push", "--to", target, "--dry-run", *where)
    pushed = cli("push", "--to", target, *where)
    again = cli("push", "--to", target, *where)
    pulled = cli("pull", "--from", target, "--if-not-empty", "replace", "--json", *where)

    assert (0, 0, 1, 0) == tuple(one.returncode for one in (tried, pushed, again, pulled))
    assert "Dry run: nothing was written; no problems" in tried.stdout
    assert "Pushed 1,234 rows of 1 table" in pushed.stdout
    assert "export OXY_DATABASE_URL='postgresql://" in pushed.stderr
    assert "copying rows …" in pushed.stderr
    assert "is not empty" in again.stderr
    assert "Traceback" not in again.stderr
    assert 1234 == json.loads(pulled.stdout)["tables"][0]["rows"]
    for one in (tried, pushed, again, pulled):
        assert "p%C3%A4ssword" not in one.stdout + one.stderr


def test_ctrl_c_and_sigterm_leave_the_target(home, postgresql_18, state_dir):
    """
    A person's Ctrl-C and a service manager's SIGTERM: soon over, and nothing was changed.
    """
    target = postgresql_18.new_database()
    run(home.url(), "CREATE TABLE t AS SELECT generate_series(1, 10) AS a")
    run(target, "CREATE TABLE t AS SELECT 1 AS old")
    words = ("push", "--to", target, "--if-not-empty", "replace", "--state-dir", str(state_dir))

    with psycopg.connect(target) as reader:
        reader.execute("SELECT * FROM t")  # it waits for them to end
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = subprocess.Popen(
                [sys.executable, "-m", "oxy_pg", *words], stderr=subprocess.PIPE, text=True
            )
            assert wait_until(lambda: waits_for_a_lock(postgresql_18), 30)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            assert code == process.returncode, said
            assert "Traceback" not in said
            assert wait_until(lambda: not waits_for_a_lock(postgresql_18), 30)

    assert [(1,)] == run(target, "SELECT old FROM t")


def waits_for_a_lock(server):
    with server.superuser() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return connection.execute(query).fetchone() != (0,)


def test_errors_say_what_to_do():
    """
    The errors of these verbs, as they are read; they pickle.
    """
    examples = {
        errors.DatabaseNotEmpty("postgresql://u@h/d", tuple(map(str, range(30)))): "… and 10 more",
        errors.RightsMissing("postgresql://u@h/d", ("SELECT on t",), "GRANT x"): "GRANT x",
        errors.ExtensionsMissing("postgresql://u@h/d", (("vector", "why"),)): "vector: why",
        errors.NotEnoughSpace("/data", 5_000_000_000, 1_000_000): "5,000 MB are needed",
        errors.UpgradeFailed("/data", "reason", "remedy"): "remedy",
        errors.BinariesNotFound(("here",), 17): "apt install postgresql-17",
    }
    for error, words in examples.items():
        assert words in str(error)
        copy = pickle.loads(pickle.dumps(error))
        assert (str(error), vars(error)) == (str(copy), vars(copy))


# --- the password ---


def without_password(url):
    head, _, place = url.partition("@")
    user, _, password = head.rpartition(":")
    return f"{user}@{place}", unquote(password)


@pytest.mark.parametrize("command", ["push", "pull"])
def test_the_password_stands_in_pgpassword(home, debian_15, monkeypatch, command):
    url, password = without_password(debian_15.new_database())
    monkeypatch.setenv("PGPASSWORD", password)
    end = "--to" if command == "push" else "--from"
    run(home.url(), "CREATE TABLE t (id int)")
    words = [sys.executable, "-m", "oxy_pg", command, end, url, "--if-not-empty", "replace"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)

    assert 0 == done.returncode, done.stderr
    assert password not in done.stdout + done.stderr
    if command == "push":
        assert [(0,)] == run(url, "SELECT count(*) FROM t")


@pytest.mark.parametrize("typed", ["right", "wrong"])
def test_the_password_is_asked_for_on_a_terminal(home, debian_15, typed):
    """
    Asked only where the server wants one; not shown, and in no message.
    """
    url, password = without_password(debian_15.new_database())
    run(home.url(), "CREATE TABLE t (id int)")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "oxy_pg", "push", "--to", url],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    assert wait_until(lambda: not termios.tcgetattr(leader)[3] & termios.ECHO, 60)
    os.write(leader, f"{password if typed == 'right' else password + 'x'}\n".encode())
    shown = shown_on(leader)

    assert (0 if typed == "right" else 1) == process.wait(60), shown
    assert b"Password for" in shown
    assert password.encode() not in shown
    if typed == "wrong":
        assert b"password authentication failed" in shown


def test_without_a_terminal_the_places_for_a_password_are_named(home, debian_15):
    url, _ = without_password(debian_15.new_database())
    run(home.url(), "CREATE TABLE t (id int)")
    words = [sys.executable, "-m", "oxy_pg", "push", "--to", url]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )

    assert 1 == done.returncode
    assert "PGPASSWORD or ~/.pgpass" in " ".join(done.stderr.split())
