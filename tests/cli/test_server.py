"""``oxy-pg``, as a person and as a program use it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

import oxy_pg
from tests.conftest import processes_below, wait_until

VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")


@pytest.fixture
def oxy(cli, state_dir):
    """``oxy-pg`` on this test's own state directory."""

    def run(*arguments, code=0, **variables):
        done = cli(*arguments, OXY_STATE_DIR=state_dir, **variables)
        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_url_prints_one_line_that_works_and_goes_on_working(oxy):
    """
    Whoever pastes a URL expects it to answer: the server stays, and stderr says so.
    """
    done = oxy("url", OXY_PG_KEEP_ALIVE=0)

    url = done.stdout.strip()
    assert 1 == len(done.stdout.splitlines())
    assert "stays up until `oxy-pg stop`" in done.stderr
    time.sleep(1.5)
    with psycopg.connect(url) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()
    assert url == oxy("url").stdout.strip()


def test_url_of_another_database_and_of_the_socket(oxy):
    """
    ``--database`` makes it, ``--socket`` gives the way without a password.
    """
    url = oxy("url", "--create", "-d", "other", "--socket").stdout.strip()

    with psycopg.connect(url) as connection:
        assert ("other",) == connection.execute("SELECT current_database()").fetchone()


def test_start_status_restart_stop(oxy, state_dir):
    """
    The server's life, step by step.
    """
    before = json.loads(oxy("status", "--json", code=3).stdout)
    assert ("uninitialized", str(state_dir)) == (
        before["state"],
        os.path.dirname(before["data_dir"]),
    )
    assert not state_dir.exists()

    assert "PostgreSQL 16." in oxy("start").stderr
    started = json.loads(oxy("status", "--json").stdout)
    assert "running" == started["state"]
    assert "inf" == started["keep_alive_s"]

    oxy("restart")
    restarted = json.loads(oxy("status", "--json").stdout)
    assert started["port"] == restarted["port"]
    assert started["pid"] != restarted["pid"]

    assert "has stopped" in oxy("stop").stderr
    stopped = json.loads(oxy("status", "--json", code=3).stdout)
    assert ("stopped", None) == (stopped["state"], stopped["pid"])
    assert "was not running" in oxy("stop").stderr


def test_status_tells_what_programs_need(oxy, server, state_dir):
    """
    Every promised field is there, and the password is masked.
    """
    done = oxy("status", "--json")

    status = json.loads(done.stdout)
    promised = {
        "state", "url", "host", "port", "role", "lag_s", "pid", "supervisor_pid", "server_version",
        "data_dir", "log_dir", "started_at", "uptime_s", "clients", "connections",
        "max_connections", "databases", "binaries", "keep_alive_s", "activity", "defaults",
        "crashes_last_hour", "last_crash", "problem",
    }  # fmt: skip
    assert promised == set(status)
    assert {"name", "size_bytes"} == set(status["databases"][0])
    assert {"provider", "version", "path"} == set(status["binaries"])
    assert 1 == status["clients"]
    assert urlsplit(server.url()).password not in done.stdout


def test_status_in_a_pipe_is_plain(oxy, server):
    """
    No colours and no boxes where no terminal is.
    """
    text = oxy("status").stdout

    assert "state: running\n" in text
    assert text.isascii()
    assert "\x1b" not in text


def test_status_on_a_terminal_is_a_table(state_dir, server):
    """
    A person sees colours.
    """
    said, code = on_a_terminal(["status"], state_dir)

    assert 0 == code
    assert "running" in said
    assert "\x1b[" in said


def test_a_first_start_on_a_terminal_shows_that_it_works(state_dir):
    """
    A spinner while the first start runs, and nothing of it in the result.
    """
    said, code = on_a_terminal(["start"], state_dir)

    assert 0 == code
    assert "Starting PostgreSQL" in said
    assert "is running on 127.0.0.1" in said


def on_a_terminal(arguments, state_dir, answer=b""):
    """Run ``oxy-pg`` as in a terminal; returns what it showed, and its exit code."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ |= {"OXY_STATE_DIR": str(state_dir), "TERM": "xterm", "COLUMNS": "100"}
        os.execv(sys.executable, [sys.executable, "-m", "oxy_pg", *arguments])
    os.write(terminal, answer)
    said = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return said.decode(), code


def test_run_gives_the_command_its_variables(oxy):
    """
    OXY_DATABASE_URL, DATABASE_URL and libpq's own variables, all for one server.
    """
    code = (
        "import os, json, psycopg; connection = psycopg.connect('');"
        "print(json.dumps([dict(os.environ), connection.info.port]))"
    )
    done = oxy("run", "--", sys.executable, "-c", code, PGSSLMODE="disable", PGHOST="elsewhere")

    environment, port = json.loads(done.stdout)
    parts = urlsplit(environment["DATABASE_URL"])
    assert environment["OXY_DATABASE_URL"] == environment["DATABASE_URL"]
    assert [parts.hostname, str(parts.port), parts.username, parts.password, "oxy"] == [
        environment[name] for name in VARIABLES
    ]
    assert parts.port == port
    assert "PGSSLMODE" not in environment


@pytest.mark.parametrize("code", [0, 3, 255])
def test_run_passes_the_exit_code_through(oxy, code):
    """
    The command's exit code is the exit code.
    """
    oxy("run", "--", "sh", "-c", f"exit {code}", code=code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_run_passes_signals_through(state_dir, number):
    """
    A signal to ``oxy-pg run`` is a signal to the command.
    """
    process = start_oxy(state_dir, "run", "--", "sh", "-c", "echo up; exec sleep 60")
    assert "up\n" == process.stdout.readline()

    process.send_signal(number)
    process.communicate()

    assert -number == process.returncode


def start_oxy(state_dir, *arguments, **variables) -> Any:
    """Start ``oxy-pg`` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "oxy_pg", *arguments],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_run_holds_the_server_as_long_as_the_command_runs(state_dir):
    """
    Also one that never connects, and not a moment longer than the keep-alive time.
    """
    command = ("sh", "-c", "echo up; read line")
    process = start_oxy(state_dir, "run", "--", *command, OXY_PG_KEEP_ALIVE="0")
    assert "up\n" == process.stdout.readline()
    time.sleep(2)
    assert "running" == oxy_pg.Server(state_dir).status().state

    process.communicate("\n")

    assert wait_until(lambda: not processes_below(state_dir))


def test_run_of_what_is_not_there(oxy):
    """
    A command that cannot be found is a typed error, before anything starts.
    """
    assert "'no-such-command' was not found" in oxy("run", "--", "no-such-command", code=1).stderr


def test_psql_goes_in_as_both_roles(oxy):
    """
    As the role ``oxy``, and with ``--superuser`` through the private socket.
    """
    query = ("--", "-XAtc", "SELECT current_user")

    assert "oxy" == oxy("psql", *query).stdout.strip()
    assert "postgres" == oxy("psql", "--superuser", *query).stdout.strip()


def test_logs_show_the_last_lines(oxy, server):
    """
    And as many as are asked for.
    """
    with psycopg.connect(server.url()) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT no_such_column")

    assert "no_such_column" in oxy("logs").stdout
    assert 2 == len(oxy("logs", "-n", 2).stdout.splitlines())


def test_logs_follow(state_dir, server):
    """
    ``--follow`` shows what comes, until it is interrupted.
    """
    process = start_oxy(state_dir, "logs", "-n0", "-f")
    time.sleep(1)
    with psycopg.connect(server.url()) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT no_such_column")
    assert "no_such_column" in process.stdout.readline()

    process.send_signal(signal.SIGINT)
    process.communicate()

    assert 130 == process.returncode


def test_reset_asks_before_it_deletes(oxy, state_dir):
    """
    With nobody to ask it does nothing without ``--yes``.
    """
    oxy("start")

    assert "--yes" in oxy("reset", code=2).stderr
    assert (state_dir / "postgres_data").exists()
    said, code = on_a_terminal(["reset"], state_dir, b"n\n")
    assert (130, True) == (code, "deletes" in said)
    assert (state_dir / "postgres_data").exists()

    said, code = on_a_terminal(["reset"], state_dir, b"y\n")
    assert 0 == code
    assert not (state_dir / "postgres_data").exists()
    assert [] == sorted(state_dir.glob("postgres_data*"))
    assert "Nothing was deleted" in oxy("reset", "--yes").stderr


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["status", "--bogus"], ["run"], ["stop", "--mode", "gently"]]
)
def test_wrong_usage_is_exit_code_2(oxy, arguments):
    """
    Usage on stderr, nothing on stdout.
    """
    done = oxy(*arguments, code=2)

    assert "Usage:" in done.stderr
    assert "" == done.stdout


def test_state_dir_works_before_and_after_the_command(cli, tmp_path):
    """
    ``--state-dir`` beats the environment, wherever it stands.
    """
    for arguments in (["--state-dir", tmp_path, "status"], ["status", "--state-dir", tmp_path]):
        done = cli(*arguments, OXY_STATE_DIR="/nonexistent")
        assert "state: uninitialized" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        *("url", "start", "stop", "restart", "status", "tune", "logs", "psql", "run", "reset"),
        *("push", "pull", "upgrade"),
    ],
)
def test_every_command_explains_itself(cli, command):
    """
    ``--help`` everywhere, and one line for each in the overview.
    """
    assert "Usage: oxy-pg" in cli(command, "--help").stdout
    assert f"  {command} " in cli("--help").stdout


def test_a_closed_pipe_is_no_error(state_dir, server):
    """
    ``oxy-pg logs | head -1`` ends quietly.
    """
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m oxy_pg logs -n 1000 | head -1"],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "" == done.stderr


def test_stop_says_what_it_has_stopped(oxy, state_dir, server):
    """
    A server whose data directory, or whose supervisor, has gone was running all the same.
    """
    oxy("start")
    shutil.rmtree(state_dir / "postgres_data")

    assert "PostgreSQL has stopped." in oxy("stop").stderr
    assert "PostgreSQL was not running." in oxy("stop").stderr


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_status_says_that_the_data_of_a_running_server_has_gone(oxy, state_dir, how):
    oxy("start")
    place = state_dir / "postgres_data"
    if how == "renamed":
        place.rename(state_dir / "postgres_data.away")
    else:
        shutil.rmtree(place)

    found = json.loads(oxy("status", "--json").stdout)

    assert found["state"] in {"running", "starting"}
    assert found["pid"]
    assert f"has removed or renamed {place} while" in found["problem"]
    assert "problem: Something has removed" in oxy("status").stdout
    oxy("stop")
    found = json.loads(oxy("status", "--json", code=3).stdout)
    assert ("uninitialized", None) == (found["state"], found["problem"])


def test_data_that_was_removed_is_not_called_untouched(oxy, state_dir):
    """
    What has happened is said, and what to do about it.
    """
    oxy("start")
    place = state_dir / "postgres_data"
    shutil.rmtree(place)

    said = oxy("url", "-d", "new", code=1).stderr

    assert f"has removed or renamed {place} while the server was running" in said
    assert "untouched" not in said


def test_what_has_become_of_the_data_is_looked_at(tmp_path):
    """
    By the error of a server that does not start, too.
    """
    place = tmp_path / "postgres_data"
    error = oxy_pg.StartFailed(str(place), "FATAL: no")
    assert f"removed or renamed {place}" in str(error)
    place.mkdir()
    assert f"removed files from {place}" in str(error)
    (place / "PG_VERSION").write_text("16")
    assert "Your data is untouched." in str(error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("push", "--to", "foo"), "--to is not a URL of PostgreSQL"),
        (("push", "--to", "sqlite:///x"), "--to is a sqlite URL"),
        (("push", "--to", " "), "--to is set but empty"),
        (("pull", "--from", "mysql://h/d"), "--from is a mysql URL"),
    ],
)
def test_a_url_that_is_needed_has_no_embedded_server_in_its_place(oxy, arguments, words):
    """
    The URL is looked at first, and nothing advises to leave it out.
    """
    said = oxy(*arguments, code=1).stderr

    assert words in said
    assert "embedded" not in said
    assert "no server has been started" not in said


def test_interrupted_while_it_is_imported(state_dir):
    """
    Ctrl-C in the first moment is a word and an exit code, as later.
    """
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "import runpy; runpy.run_module('oxy_pg', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (130, "Interrupted.\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize("command", ["status", "stop", "reset", "uninstall", "logs"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_directory_that_is_not_ours_to_use(base_dir, command):
    """
    Closed, or below a closed one: a typed error names it, by every command.
    """
    closed = base_dir / f"closed-{command}"
    closed.mkdir(mode=0o700)
    code = (
        "import os, sys, oxy_pg.cli.commands, oxy_pg.server.uninstall\n"
        "import oxy_pg.server.monitor.embedded, oxy_pg.server.supervisor.shutdown\n"
        "import platformdirs.unix\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "oxy_pg.cli.commands.main()\n"
    )
    for place in (closed, closed / "below"):
        done = subprocess.run(
            [sys.executable, "-c", code, "--state-dir", place, command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        if command != "logs":
            assert 1 == done.returncode
            assert f"The state directory {place}" in done.stderr
