"""``oxy-pg status``: what a server does, as far as a role may see it; live on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import deque

import psycopg
import pytest
from psycopg import sql
from rich.console import Console

import oxy_pg
from oxy_pg import paths
from oxy_pg.cli.display import watch as screens
from oxy_pg.server.monitor import activity, redaction, values
from oxy_pg.server.monitor.embedded import EmbeddedObserver
from oxy_pg.server.monitor.external import ExternalObserver
from tests.conftest import wait_until
from tests.other_servers import OtherServer, from_npm


def look(state_dir, **options):
    with EmbeddedObserver(paths.StateDir(str(state_dir)), **options) as observer:
        return observer.look()


@contextlib.contextmanager
def blocked(url):
    """One session holds a row in an open transaction, another one waits for it; their pids."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seat (id int PRIMARY KEY, taken text)")
        connection.execute("INSERT INTO seat VALUES (1, 'no')")
    holder = psycopg.connect(url, application_name="holder")
    waiter = psycopg.connect(url, application_name="waiter")
    pids = (holder.info.backend_pid, waiter.info.backend_pid)
    holder.execute("UPDATE seat SET taken = 'yes'")
    thread = threading.Thread(target=waiter.execute, args=["UPDATE seat SET taken = 'me'"])
    thread.start()
    try:
        yield pids
    finally:
        holder.rollback()
        thread.join()
        holder.close()
        waiter.close()


# --- the embedded server ---


def test_who_waits_for_whom(server, state_dir):
    """
    The one that waits, the one that it waits for, and since when.
    """
    with blocked(server.url()) as (holder, waiter):
        assert wait_until(lambda: look(state_dir).activity.waiting)
        found = look(state_dir).activity

    (waiting,) = found.waiting
    assert waiter == waiting.pid
    assert "UPDATE seat SET taken = 'me'" == waiting.query
    assert waiting.seconds > 0
    (blocker,) = waiting.blocked_by
    assert (holder, "idle in transaction") == (blocker.pid, blocker.state)
    running = {one.pid: one for one in found.running}
    assert {holder, waiter} == set(running)
    assert "Lock: transactionid" == running[waiter].wait
    assert running[holder].transaction_s > waiting.seconds - 0.05  # not asked at one moment
    assert {("holder", "idle in transaction"), ("waiter", "active")} == {
        (one.application, one.state) for one in found.connections
    }


def test_dead_tuples_of_every_database(server, state_dir):
    """
    The tables with most of them, whichever database they are in.
    """
    for name, rows in (("one", 200), ("two", 300)):
        with psycopg.connect(server.ensure_database(name), autocommit=True) as connection:
            connection.execute("CREATE TABLE heap (id int) WITH (autovacuum_enabled = off)")
            connection.execute(f"INSERT INTO heap SELECT generate_series(1, {rows})")
            connection.execute("DELETE FROM heap WHERE id > 100")

    assert wait_until(lambda: len(look(state_dir).activity.dead_tuples) == 2)

    assert [("two", "heap", 200, 100), ("one", "heap", 100, 100)] == [
        (one.database, one.table, one.dead, one.live)
        for one in look(state_dir).activity.dead_tuples
    ]


def test_slow_queries_come_from_the_log(state_dir):
    """
    Those over the threshold, told together when they are the same; never a parameter's value.
    """
    settings = {"log_min_duration_statement": "50ms"}
    with oxy_pg.Server(state_dir, settings=settings, keep_alive=1) as server:
        with psycopg.connect(server.ensure_database(), autocommit=True) as connection:
            for secret in ("one", "two"):
                connection.execute("SELECT pg_sleep(0.1),\n  length(%s::text)", [secret])
            connection.execute("SELECT pg_sleep(0.15) -- 'PASSWORD'")
            connection.execute("SELECT 1")
        found = look(state_dir).activity
        assert [] == [*look(state_dir, slow_ms=5000).activity.slow_queries]
        log = "".join(path.read_text() for path in server.status().log_dir.iterdir())

    twice, once = (one for one in found.slow_queries if one.role == "oxy")
    assert "SELECT pg_sleep(0.1), length($1::text)" == twice.query
    assert ("oxy", "oxy", 2) == (twice.database, twice.role, twice.calls)
    assert 100 <= twice.mean_ms <= twice.max_ms
    assert "SELECT pg_sleep(0.15) -- ***" == once.query
    assert ("log", 50) == (found.slow_source, found.slow_threshold_ms)
    assert "pg_sleep(0.15)" in log
    assert "'two'" not in log


def test_the_roles_password_is_in_no_log(state_dir):
    """
    Not even its verifier, with every statement logged as slow.
    """
    settings = {"log_min_duration_statement": 0}
    with oxy_pg.Server(state_dir, settings=settings, keep_alive=1) as server:
        with psycopg.connect(server.ensure_database(), autocommit=True) as connection:
            connection.execute("SELECT 'is logged'")
        log = "".join(path.read_text() for path in server.status().log_dir.iterdir())

    assert "SELECT 'is logged'" in log
    assert "SCRAM-SHA-256" not in log
    assert "LOGIN CREATEDB" not in log


def test_a_second_is_slow_unless_told_otherwise(server, state_dir):
    """
    The default, and what is said when the log has none of it.
    """
    assert 1000 == look(state_dir).activity.slow_threshold_ms

    with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_min_duration_statement = -1")
        connection.execute("SELECT pg_reload_conf()")
    assert wait_until(lambda: look(state_dir).activity.slow_threshold_ms is None)

    assert "log_min_duration_statement is off" in look(state_dir).activity.unknown["slow_queries"]


def test_what_is_counted(server, state_dir):
    """
    Cache hits, checkpoints, the age of the oldest transaction id; rates between two looks.
    """
    with EmbeddedObserver(paths.StateDir(str(state_dir))) as observer:
        before = observer.look().activity
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE item AS SELECT generate_series(1, 5000) AS id")
            for _ in range(20):
                connection.execute("SELECT count(*) FROM item")
        time.sleep(1)
        after = observer.look().activity

    rates = activity.rates(before.counters, after.counters)
    ratio = after.cache_hit_ratio or 0
    assert rates.rows_written_per_s > 500
    assert rates.rows_read_per_s > 10000
    assert rates.transactions_per_s > 5
    assert 0.5 < ratio <= 1
    assert {"timed", "requested"} == set(after.checkpoints)
    assert 200_000_000 == after.transaction_ids.freeze_at
    assert after.sees_all
    assert {} == after.unknown
    assert activity.rates(after.counters, before.counters) is None  # counted backwards


def test_a_look_keeps_nothing_up(state_dir):
    """
    Watching a server is no use of it: it stops when its last user has gone.
    """
    server = oxy_pg.Server(state_dir, keep_alive=0.5)
    server.start()
    server.release()
    with EmbeddedObserver(paths.StateDir(str(state_dir))) as observer:
        assert wait_until(lambda: observer.look().status.state == "stopped", 30)
        assert observer.look().activity is None


def test_the_quick_answer_is_that_of_the_classes(server, state_dir, cli):
    """
    ``status --json`` alone is answered without them, and says the same in the same order.
    """
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        connection.execute("DELETE FROM t")
        connection.execute("SELECT pg_sleep(1.1) -- é 'quoted' \\ \"text\"")
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE t")
        quick = cli("status", "--json", OXY_STATE_DIR=state_dir).stdout
        # With an option it is not the plain form.
        usual = cli("status", "--json", "--timeout", "5", OXY_STATE_DIR=state_dir).stdout

    def shape(text):
        """Everything but the numbers, which change from one moment to the next."""
        return re.sub(r"(?<=: )-?[0-9][0-9.e-]*(?=,?\n)", "0", text)

    assert quick == json.dumps(json.loads(quick), indent=2) + "\n"
    assert shape(usual) == shape(quick)
    assert {"running", "slow_queries", "unknown"} <= set(json.loads(quick)["activity"])
    assert json.loads(quick)["activity"]["slow_queries"]


def test_the_quick_answer_loads_little(server, state_dir, run_python):
    """
    Prompts and scripts ask again and again: nothing that takes longer to import than to ask.
    """
    code = (
        "import sys; before = set(sys.modules)\n"
        "from oxy_pg.cli import quick\n"
        "assert quick.answer(['status', '--json'])\n"
        "heavy = {'contextlib', 'dataclasses', 'datetime', 'inspect', 'json', 'pathlib', 're',"
        " 'typing'}\n"
        "print(sorted(heavy & set(sys.modules) - before))"
    )

    assert "[]" == run_python(code, OXY_STATE_DIR=state_dir).splitlines()[-1]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [], "b": {}, "c": [1, -2.5, 1e300, True, False, None], "d": {"e": ["é", '\n\x1b"']}},
        [],
        "text",
        0.1,
        [[{}], {"": ""}],
    ],
)
def test_json_is_that_of_the_json_module(value, run_python):
    """
    Written byte for byte as by json.dumps(), and read back without the json module.
    """
    assert json.dumps(value, indent=2) == values.to_json(value)
    code = (
        "import sys; from oxy_pg.server.monitor import values\n"
        f"value = values.from_json({json.dumps(value)!r})\n"
        f"print(value == {value!r} and 'json' not in sys.modules)"
    )
    assert "True" == run_python(code)


def test_what_is_no_json_is_refused():
    """
    Half of an answer, or two, is no answer.
    """
    for text in ("", "[1", "{} {}", "nonsense"):
        with pytest.raises(json.JSONDecodeError):
            values.from_json(text)


def test_nothing_is_started(state_dir, cli):
    """
    Neither for one look nor for many.
    """
    assert (
        "uninitialized"
        == json.loads(cli("status", "--json", OXY_STATE_DIR=state_dir).stdout)["state"]
    )
    assert not state_dir.exists()


# --- what is shown ---


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT 1\n  FROM item", "SELECT 1 FROM item"),
        ("SELECT 'a'", "SELECT 'a'"),
        ("CREATE ROLE a PASSWORD 'geheim'", "CREATE ROLE a PASSWORD ***"),
        ("alter role a\npassword E'ge\\'heim' nologin", "alter role a password E***"),
        ("ALTER USER a ENCRYPTED PASSWORD $$geheim$$", "ALTER USER a ENCRYPTED PASSWORD ***"),
        ("ALTER USER a PASSWORD $x$geheim$x$", "ALTER USER a PASSWORD ***"),
        ("ALTER USER a PASSWORD 'gehei", "ALTER USER a PASSWORD ***"),  # PostgreSQL cuts texts off
        (
            "INSERT INTO u (n, password) VALUES ('a', 'b')",
            "INSERT INTO u (n, password) VALUES (***",
        ),
        ("SELECT dblink('host=h password=geheim', 'x')", "SELECT dblink(***"),
        ("SELECT dblink('postgresql://u:geheim@h/d', 'x')", "SELECT dblink(***"),
        ("SELECT crypt('geheim', gen_salt('bf'))", "SELECT crypt(***"),
        ("SELECT * FROM session WHERE token = 'geheim'", "SELECT * FROM session WHERE token = ***"),
        ("SELECT * FROM u WHERE password = $1", "SELECT * FROM u WHERE password = $1"),
        ("SELECT max_tokens FROM m WHERE n = 'a'", "SELECT max_tokens FROM m WHERE n = 'a'"),
        ("SELECT '\x1b[2J\x9b'", "SELECT '?[2J?'"),
    ],
)
def test_no_password_in_a_query(query, shown):
    """
    What speaks of a secret ends at its first quoted value; a terminal is told nothing.
    """
    assert shown == redaction.shown(query)


def test_a_password_that_is_being_set_is_masked(server, state_dir, cli):
    """
    A statement that runs, one that waits, and one in the log.
    """
    with blocked(server.url()):
        setting = "DO $$ BEGIN PERFORM pg_sleep(1.1); /* PASSWORD 'geheim' */ END $$"
        with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
            thread = threading.Thread(target=connection.execute, args=[setting])
            thread.start()
            assert wait_until(lambda: len(look(state_dir).activity.running) == 3)
            during = cli("status", OXY_STATE_DIR=state_dir).stdout
            thread.join()
        after = cli("status", "--json", OXY_STATE_DIR=state_dir).stdout

    assert "active (Timeout: PgSleep), postgres@postgres, DO ***" in during
    assert "held by" in during
    assert "geheim" not in during + after
    assert "DO ***" in after


# --- other servers ---


def observe(url, **options):
    with ExternalObserver(url, 10, **options) as observer:
        return observer.look()


def test_an_ordinary_role_sees_what_it_may(debian_15, cli):
    """
    Others' sessions are counted, and shown in PostgreSQL's own words; its own in full.
    """
    url, other = debian_15.new_database(), debian_15.new_database()
    with (
        psycopg.connect(other, application_name="other") as connection,
        psycopg.connect(url, application_name="own"),
    ):
        connection.execute("SELECT 'geheim'")
        found = observe(url)
        done = cli("status", OXY_DATABASE_URL=url)
        with debian_15.superuser() as superuser:
            role = found.activity.role
            superuser.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(role)))
        all_of_it = observe(url).activity

    states = {one.application: one.state for one in found.activity.connections}
    assert {"own": "idle", "other": redaction.HIDDEN}.items() <= states.items()
    assert found.status.connections >= 2
    assert found.activity.hidden >= 1
    assert not found.activity.sees_all
    assert [] == [one for one in found.activity.running if one.application == "other"]
    assert "<insufficient privilege>" in done.stdout
    assert "has not the rights of pg_read_all_stats" in done.stdout
    assert "geheim" not in done.stdout
    assert "***" in done.stdout.splitlines()[1]  # the URL's password
    assert all_of_it.sees_all
    assert 0 == all_of_it.hidden
    assert "idle in transaction" in {one.state for one in all_of_it.connections}


def test_locks_between_others_are_seen(debian_15):
    """
    That somebody waits is open to all; what for is not.
    """
    url, other = debian_15.new_database(), debian_15.new_database()
    with blocked(other) as (holder, waiter):
        assert wait_until(lambda: observe(url).activity.waiting)
        (waiting,) = observe(url).activity.waiting

    assert waiter == waiting.pid
    assert redaction.HIDDEN == waiting.query
    assert [holder] == [one.pid for one in waiting.blocked_by]
    assert [redaction.HIDDEN] == [one.query for one in waiting.blocked_by]


def test_pg_stat_statements_where_there_is_one(debian_15):
    """
    What has taken longer than the threshold; without the extension, how to get it.
    """
    url = debian_15.new_database()
    without = observe(url).activity
    preload = "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'"
    with debian_15.superuser() as superuser:
        superuser.execute(preload)
    debian_15.stop()
    debian_15.start()
    try:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with debian_15.superuser(name) as superuser:
            superuser.execute("CREATE SCHEMA statistics")
            superuser.execute("CREATE EXTENSION pg_stat_statements SCHEMA statistics")
            superuser.execute("SELECT pg_sleep(0.3)")
            superuser.execute(f'GRANT USAGE ON SCHEMA statistics TO "{name}"')
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_sleep(0.2)")
            connection.execute("SELECT pg_sleep(0.01)")
        with_it = observe(url, slow_ms=100).activity
        with debian_15.superuser(name) as superuser:
            superuser.execute(f'REVOKE USAGE ON SCHEMA statistics FROM "{name}"')
        refused = observe(url, slow_ms=100).activity
    finally:
        with debian_15.superuser() as superuser:
            superuser.execute("ALTER SYSTEM RESET ALL")
        debian_15.stop()
        debian_15.start()

    assert "CREATE EXTENSION pg_stat_statements" in without.unknown["slow_queries"]
    assert ("pg_stat_statements", 100) == (with_it.slow_source, with_it.slow_threshold_ms)
    found = {one.query: one for one in with_it.slow_queries}
    assert {"SELECT pg_sleep($1)", redaction.HIDDEN} == set(found)
    assert (2, name) == (found["SELECT pg_sleep($1)"].calls, found["SELECT pg_sleep($1)"].role)
    assert found["SELECT pg_sleep($1)"].max_ms >= 200
    assert "permission denied" in refused.unknown["slow_queries"]
    assert refused.counters is not None


def test_the_newest_version(postgresql_18):
    """
    Where views have changed their names, nothing is missing.
    """
    found = observe(postgresql_18.new_database()).activity

    assert {"slow_queries"} == set(found.unknown)
    assert {"timed", "requested"} == set(found.checkpoints)


@pytest.mark.long
@pytest.mark.parametrize("version", ["14.22.0-beta.17", "17.9.0-beta.17"])
def test_the_versions_between(base_dir, version):
    """
    14, the oldest that is taken, and 17.
    """
    place = base_dir / f"npm-{version}"
    server = OtherServer(from_npm(version, place), place / "server", tls=False)
    try:
        url = server.new_database()
        with blocked(url):
            assert wait_until(lambda: observe(url).activity.waiting)
            found = observe(url)
    finally:
        server.stop()

    assert found.status.server_version.startswith(version[:2])
    assert {"slow_queries"} == set(found.activity.unknown)
    assert {"timed", "requested"} == set(found.activity.checkpoints)


def test_through_a_pool(debian_15, pgbouncer):
    """
    PgBouncer in transaction mode gives every transaction another session; ten looks work.
    """
    url = debian_15.new_database().partition("?")[0]
    pool = pgbouncer(debian_15)
    url = url.replace(f":{debian_15.port}/", f":{pool.port}/")
    with ExternalObserver(url, 10) as observer:
        for _ in range(10):
            observer._memory._asked = -100
            found = observer.look()
            assert {"slow_queries"} == set(found.activity.unknown)

    assert "external" == found.status.state


def test_a_server_that_went_and_came_is_found_again(debian_15):
    """
    A look at one that is away is a typed error; the next connects anew.
    """
    url = debian_15.new_database()
    with ExternalObserver(url, 0.5) as observer:
        observer.look()
        debian_15.stop()
        try:
            with pytest.raises(oxy_pg.ExternalServerUnavailable) as caught:
                observer.look()
        finally:
            debian_15.start()
        assert "external" == observer.look().status.state

    assert "pässword" not in str(caught.value)


def several(url, *servers):
    """Spell the URL of several hosts of which each has the same databases and roles."""
    first = url.partition("@")[2].partition("/")[0]
    return url.replace(first, ",".join(f"127.0.0.1:{one.port}" for one in servers))


@pytest.mark.parametrize(
    ("wanted", "role"),
    [("read-write", "primary"), ("primary", "primary"), ("standby", "standby"), ("any", "standby")],
)
def test_which_of_several_hosts_has_answered(debian_15, standby, cli, wanted, role):
    """
    Host, port, role and how far it is behind, in text and in JSON; libpq chooses the host.
    """
    url = debian_15.new_database()
    replica = standby()
    replica.catch_up()
    both = f"{several(url, replica, debian_15)}&target_session_attrs={wanted}"
    answered = debian_15 if role == "primary" else replica

    found = json.loads(cli("status", "--json", OXY_DATABASE_URL=both).stdout)
    text = cli("status", OXY_DATABASE_URL=both).stdout

    assert ("127.0.0.1", answered.port) == (found["host"], found["port"])
    assert (role, None if role == "primary" else 0) == (found["role"], found["lag_s"])
    behind = "" if role == "primary" else ", not behind"
    assert f"answered by: 127.0.0.1, port {answered.port}: {role}{behind}\n" in text


@pytest.mark.parametrize("cause", ["paused", "cut off"])
def test_a_standby_that_is_behind(debian_15, standby, cause):
    """
    Whether it does not apply what it receives, or receives nothing: never "not behind".
    """
    url = debian_15.new_database()
    replica = standby(wal_retrieve_retry_interval="1s")
    replica.catch_up()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE seen (a int)")
    replica.catch_up()
    with ExternalObserver(several(url, replica), 10) as observer:
        assert 0 == observer.look().status.lag_s

        with replica.superuser() as connection:
            if cause == "paused":
                connection.execute("SELECT pg_wal_replay_pause()")
            else:
                connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
                connection.execute("SELECT pg_reload_conf()")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO seen SELECT generate_series(1, 1000)")

        assert wait_until(lambda: observer.look().status.lag_s)
        first = observer.look().status.lag_s or 0.0
        time.sleep(0.1)
        assert 0 < first < (observer.look().status.lag_s or 0.0)


# --- live ---


def test_watch_in_a_pipe_gives_a_line_of_json_each_time(server, state_dir):
    """
    The keys of ``status --json``, the time and the rates; Ctrl-C ends it with 130.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "oxy_pg", "status", "--watch", "0.2", "--json"],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ticks = [json.loads(process.stdout.readline()) for _ in range(3)]
    server.stop()
    while ticks[-1]["state"] != "stopped":
        ticks.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert (130, "Interrupted.") == (process.returncode, said.strip())
    assert ["running"] * 3 == [tick["state"] for tick in ticks[:3]]
    assert ticks[0]["rates"] is None
    rates = {"transactions_per_s", "rows_read_per_s", "rows_written_per_s", "cache_hit_ratio"}
    assert rates == set(ticks[1]["rates"])
    assert ticks[0]["at"] < ticks[1]["at"]
    assert ticks[-1]["activity"] is None


def test_watch_ends_with_its_reader(server, state_dir):
    """
    ``oxy-pg status --watch --json | head -1`` ends quietly.
    """
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m oxy_pg status --watch 0.2 --json | head -1"],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert 1 == done.stdout.count("\n")
    assert "" == done.stderr


class Terminal:
    """``oxy-pg`` in a terminal of a certain size."""

    def __init__(self, arguments, columns, lines, **variables):
        self.pid, self.descriptor = pty.fork()
        if not self.pid:
            os.environ |= {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", **variables}
            os.execv(sys.executable, [sys.executable, "-m", "oxy_pg", *arguments])
        self.before = termios.tcgetattr(self.descriptor)
        self.said = ""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def read_until(self, pattern, seconds=20):
        """Read until something new was shown; returns everything that is new."""
        at, deadline = len(self.said), time.monotonic() + seconds
        while not re.search(pattern, self.said[at:]):
            assert time.monotonic() < deadline, self.said[at:]
            if select.select([self.descriptor], [], [], 0.1)[0]:
                self.said += os.read(self.descriptor, 65536).decode(errors="replace")
        return self.said[at:]

    def press(self, keys):
        os.write(self.descriptor, keys.encode())

    def end(self):
        """Read what is left; returns the exit code."""
        with contextlib.suppress(OSError):
            while select.select([self.descriptor], [], [], 20)[0]:
                self.said += os.read(self.descriptor, 65536).decode(errors="replace")
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.descriptor)
        return code


_LEAVES = "\x1b[?1049l"  # the alternate screen (xterm's control sequences)


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("\x03", 130)])
def test_watch_on_a_terminal(server, state_dir, key, code):
    """
    Drawn again and again, anew when the window changes, until q or Ctrl-C puts all back.
    """
    arguments = ["status", "--watch", "0.3"]
    terminal = Terminal(arguments, 80, 24, OXY_STATE_DIR=str(state_dir))
    first = terminal.read_until("rows/s.*read")
    assert "\x1b[?1049h" in first
    terminal.read_until(r"transactions/s[^\n]*[▁▂▃▄▅▆▇█]")
    terminal.resize(40, 10)
    terminal.read_until(r"\x1b\[2mq quits")  # on a wide one it says how often, too
    modes = termios.tcgetattr(terminal.descriptor)
    assert not modes[3] & termios.ECHO

    terminal.press(key)

    assert code == terminal.end()
    assert _LEAVES in terminal.said
    assert "\x1b[?25h" in terminal.said.split(_LEAVES)[-1] + terminal.said[-200:]  # the cursor
    assert "Traceback" not in terminal.said


def test_watch_puts_the_terminal_back_when_it_is_terminated(server, state_dir):
    """
    SIGTERM too.
    """
    terminal = Terminal(["status", "--watch", "0.3"], 80, 24, OXY_STATE_DIR=str(state_dir))
    terminal.read_until("rows/s.*read")

    os.kill(terminal.pid, signal.SIGTERM)

    assert 143 == terminal.end()
    assert _LEAVES in terminal.said


def test_watch_says_why_it_cannot_begin(cli):
    """
    One clear message instead of a screen.
    """
    url = "postgresql://user:secret@127.0.0.1:1/db"
    done = cli("status", "--watch", "--timeout", "0.5", OXY_DATABASE_URL=url)

    assert 1 == done.returncode
    assert "refused" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10), (20, 5), (200, 60)])
@pytest.mark.parametrize("utf8", [True, False])
def test_the_picture_fits(server, state_dir, columns, lines, utf8):
    """
    With much to show no line is too long and none too many; 80x24 has room for all kinds.
    """
    with blocked(server.url()):
        assert wait_until(lambda: look(state_dir).activity.waiting)
        screen = screens._Screen(2)
        encoding = "utf-8" if utf8 else "ascii"
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        screen._console = Console(width=columns, height=lines, file=file)
        screen._bars = screens._BARS if utf8 else screens._PLAIN_BARS
        with EmbeddedObserver(paths.StateDir(str(state_dir))) as observer:
            ticks = screens._ticks(observer)
            for _ in range(3):
                tick = next(ticks)
                screen._remember(tick)
        with screen._console.capture() as captured:
            screen._console.print(screen.picture(tick))

    shown = captured.get().splitlines()
    assert len(shown) <= lines
    assert max(map(len, shown)) <= columns
    assert shown[0].startswith("running")
    if columns >= 80:
        text = "\n".join(shown)
        for words in ("waiting", "held by", "connected", "databases", "holder", "UPDATE seat"):
            assert words in text


def test_a_sparkline():
    """
    From nothing to the highest, a gap where nothing is known, the newest at the right.
    """
    values = deque([0, None, 1, 4, 8])

    assert "   ▁ ▁▄█" == screens.sparkline(values, 8)
    assert "▄█" == screens.sparkline(values, 2)
    assert "" == screens.sparkline(values, 0)
    assert "█" == screens.sparkline(deque([1.0]), 1, most=1.0)
    assert "▁" == screens.sparkline(deque([0.001]), 1, most=1.0)
    assert "  " == screens.sparkline(deque(), 2)
