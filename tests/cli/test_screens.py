"""What people see: help, near misses, colours, bars; at 80 columns, 200, and without a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import sqlite3
import struct
import subprocess
import sys
import termios

import psycopg
import pytest

from oxy_pg.cli.commands import cli as group
from oxy_pg.system.printable import many
from tests.terminal import shown_on

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RED, YELLOW = "\x1b[31m", "\x1b[33m"


def on_a_terminal(*arguments, columns=80, **variables) -> tuple[int, str]:
    """Run ``oxy-pg`` with a terminal for both outputs; returns its code and what it shows."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "oxy_pg", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env={**environment, "TERM": "xterm-256color", **{k: str(v) for k, v in variables.items()}},
    )
    os.close(follower)
    shown = shown_on(leader)
    return process.wait(30), shown.decode().replace("\r\n", "\n")


# --- help ---


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_command_has_help_with_an_example(name, cli):
    """
    One that names the command, and whose options exist.
    """
    command = group.commands[name]
    example = (command.epilog or "").splitlines()[-1].strip()
    assert f"oxy-pg {name}" in example
    words = re.search(r"oxy-pg ([^)]*)", example.replace('"', " "))
    assert words is not None
    before_the_rest = words[1].partition(" -- ")[0].split()
    known = {option for one in command.params for option in one.opts}
    assert {word for word in before_the_rest if word.startswith("-")} <= known

    shown = cli(name, "--help", COLUMNS=80).stdout if name != "help" else cli("help", name).stdout
    assert example in shown


@pytest.mark.parametrize("columns", [80, 200])
def test_no_help_is_cut_short(cli, columns):
    """
    Every command's first sentence stands there whole, and no line is too long.
    """
    shown = cli("--help", COLUMNS=columns).stdout

    assert "..." not in shown.replace("[ARGS]...", "")
    assert all(len(line) <= columns for line in shown.splitlines())
    text = " ".join(shown.split())
    for command in group.commands.values():
        assert command.get_short_help_str(1000) in text, command.name
    assert text == " ".join(cli("help", COLUMNS=columns).stdout.split())


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["migrate"], "migrate-sqlite"),
        (["statsu"], "status"),
        (["bakcup"], "backup"),
        (["snapshto"], "snapshot"),
        (["help", "psq"], "psql"),
    ],
)
def test_near_miss_is_named(cli, words, near):
    """
    With the exit code of a wrong usage.
    """
    done = cli(*words)

    assert 2 == done.returncode
    assert f"Did you mean {near}" in done.stderr


def test_a_word_that_is_like_nothing_has_no_suggestion(cli):
    done = cli("xyzzy")

    assert (2, False) == (done.returncode, "Did you mean" in done.stderr)


def test_version_has_a_short_option(cli):
    assert cli("-V").stdout == cli("--version").stdout != ""


# --- completion ---


@pytest.mark.parametrize(
    ("shell", "variable", "place"),
    [
        ("bash", "XDG_DATA_HOME", "bash-completion/completions/oxy-pg"),
        ("fish", "XDG_CONFIG_HOME", "fish/completions/oxy-pg.fish"),
        ("zsh", "ZDOTDIR", ".zfunc/_oxy-pg"),
    ],
)
def test_completion_is_installed_where_the_shell_looks(cli, tmp_path, shell, variable, place):
    """
    Twice is no error; the script is the one that is shown.
    """
    for _ in range(2):
        done = cli("completion", "install", SHELL=f"/bin/{shell}", **{variable: tmp_path})
        assert 0 == done.returncode, done.stderr
    shown = cli("completion", "show", shell).stdout
    assert shown == (tmp_path / place).read_text()
    assert "_OXY_PG_COMPLETE" in shown


def test_completion_completes(cli):
    """
    As bash asks for it, and as ``oxy-pg`` answers.
    """
    done = cli(_OXY_PG_COMPLETE="bash_complete", COMP_WORDS="oxy-pg snap", COMP_CWORD="1")

    assert {"plain,snapshot", "plain,snapshots"} == set(done.stdout.split())


def test_unknown_shell_is_refused(cli):
    assert 2 == cli("completion", "install", SHELL="/bin/tcsh").returncode
    assert 2 == cli("completion", "install", "tcsh", SHELL="/bin/bash").returncode


def test_shell_that_is_named_comes_before_the_one_that_is_used(cli, tmp_path):
    done = cli("completion", "install", "fish", SHELL="/bin/bash", XDG_CONFIG_HOME=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "fish/completions/oxy-pg.fish").exists()


# --- databases ---


def test_databases_are_listed_and_a_typing_error_creates_none(cli, server, state_dir):
    """
    ``psql`` and ``url`` name the near one; ``--create``, and no -d at all, create.
    """
    variables = {"OXY_STATE_DIR": state_dir}
    server.ensure_database("shop")
    server.snapshot("one", database="shop")

    for words in (["url"], ["psql", "--superuser"], ["psql"]):
        done = cli(*words, "-d", "shpo", **variables)
        assert 1 == done.returncode
        assert "Did you mean shop?" in done.stderr
    listed = json.loads(cli("databases", "--json", **variables).stdout)
    assert ["oxy", "shop"] == [one["name"] for one in listed]
    assert all(one["size_bytes"] > 1e6 for one in listed)
    lines = cli("databases", **variables).stdout.splitlines()
    assert [True, True] == [bool(re.fullmatch(r"(oxy |shop)  +[\d.]+ MB", line)) for line in lines]

    assert 0 == cli("url", "-d", "new", "--create", **variables).returncode
    assert "new" in server.databases()
    done = cli("psql", "-d", "postgres", "--superuser", "--", "-Atc", "SELECT 1", **variables)
    assert "1\n" == done.stdout


def test_no_databases_before_the_first_start(cli, tmp_path):
    """
    It says where, and starts nothing.
    """
    done = cli("databases", OXY_STATE_DIR=tmp_path / "none")

    assert (0, "") == (done.returncode, done.stdout)
    assert str(tmp_path / "none") in done.stderr
    assert [] == list(tmp_path.iterdir())


# --- status ---


def test_status_has_an_exit_code_for_a_server_that_does_not_run(cli, server, state_dir):
    """
    0, and 3 as with pg_ctl; one format for all times.
    """
    variables = {"OXY_STATE_DIR": state_dir}
    running = cli("status", "--json", **variables)
    made = server.snapshot("one").to_dict()
    server.stop()

    assert 0 == running.returncode
    times = [json.loads(running.stdout)["started_at"], made["time"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) for time in times)
    for words in (["status"], ["status", "--json"]):
        assert 3 == cli(*words, **variables).returncode
        assert 3 == cli(*words, OXY_STATE_DIR=f"{state_dir}-none").returncode


# --- on a terminal ---


def test_an_extension_of_the_superusers_session(cli, server, state_dir, tmp_path):
    """
    Without a schema it is in pg_catalog: psql says so at a terminal, and a backup names it.
    """
    variables = {"OXY_STATE_DIR": state_dir}
    server.ensure_database("extended")
    words = ("psql", "-d", "extended", "--superuser", "--", "-c", "CREATE EXTENSION vector")

    code, shown = on_a_terminal(*words, columns=400, **variables)
    done = cli("backup", "-d", "extended", tmp_path / "a.dump", "--json", **variables)

    assert (0, 0) == (code, done.returncode)
    assert "CREATE EXTENSION … SCHEMA public" in " ".join(shown.split())
    statement = "ALTER EXTENSION vector SET SCHEMA public"
    assert statement in done.stderr
    assert any(statement in warning for warning in json.loads(done.stdout)["warnings"])
    words = (*words[:-1], statement)
    assert 0 == cli(*words, **variables).returncode
    done = cli("backup", "-d", "extended", tmp_path / "b.dump", **variables)
    assert (0, False) == (done.returncode, "EXTENSION" in done.stderr)
    server.drop_database("extended")


def test_bars_end_at_their_end(server, state_dir, tmp_path):
    """
    The last that a step shows is all of it, and 100 %.
    """
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE a AS SELECT generate_series(1, 4044)")
        connection.execute("CREATE TABLE b AS SELECT 1")

    for words in (["backup", tmp_path / "a.dump"], ["export-sqlite", tmp_path / "a.db"]):
        code, shown = on_a_terminal(*words, OXY_STATE_DIR=state_dir)
        assert 0 == code, shown
        last = {}
        for line in re.split(r"[\r\n]", ESCAPES.sub("", shown)):
            for amount in re.finditer(r"(\d[\d,]*)/(\d[\d,]*) (rows|tables)", line):
                last[line.split()[0]] = (amount[1], amount[2], "100 %" in line)
        assert last
        assert all(done == of and full for done, of, full in last.values()), last


def test_bar_of_a_dry_run_ends_at_its_end_and_one_row_is_one_row(server, state_dir, tmp_path):
    """
    What stays on the screen of the check is a full bar.
    """
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(path)) as lite:
        lite.executescript(
            "CREATE TABLE one (x int); INSERT INTO one VALUES (1); CREATE TABLE two (x int);"
            "INSERT INTO two VALUES (1), (2); CREATE TABLE none (x int)"
        )

    code, shown = on_a_terminal(
        "migrate-sqlite", "--from", path, "--dry-run", OXY_STATE_DIR=state_dir
    )

    lines = [line.split() for line in re.split(r"[\r\n]+", ESCAPES.sub("", shown))]
    assert 0 == code, shown
    bars = [line for line in lines if line[:1] == ["checking"]]
    assert ["100", "%"] == bars[-1][2:4]
    assert {"━"} == set(bars[-1][1])
    counts = {line[1]: line[2:] for line in lines if line[:1] == ["create"]}
    assert {"one": ["1", "row"], "two": ["2", "rows"], "none": ["0", "rows"]} == counts


@pytest.mark.parametrize("columns", [40, 80])
def test_no_word_of_a_result_is_broken_at_the_edge(server, state_dir, tmp_path, columns):
    """
    A sentence of ``restore``, ``rewind``, ``migrate-sqlite``, ``push``, too.
    """
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(path)) as lite:
        lite.executescript("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
    variables = {"OXY_STATE_DIR": state_dir}
    server.create_database("other")
    server.ensure_database("oxy")
    said = {
        ("migrate-sqlite", "--from", path): "compared.",
        ("snapshot", "one"): "one",
        ("rewind", "one"): "'before-rewind'.",
        ("backup", tmp_path / "a.oxy"): "",
        ("restore", tmp_path / "a.oxy", "--yes"): "row counts verified.",
        ("push", "--to", server.url("other")): "row counts verified.",
    }
    for words, end in said.items():
        code, shown = on_a_terminal(*words, columns=columns, **variables)
        assert 0 == code, shown
        text = re.split(r"[\r\n]", ESCAPES.sub("", shown))
        assert end in " ".join(" ".join(text).split())
        assert [] == [line for line in text if len(line) > columns and " " in line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_word_of_a_message_is_broken_at_the_edge(columns, tmp_path):
    """
    An error of several sentences is wrapped between words.
    """
    code, shown = on_a_terminal("snapshots", columns=columns, OXY_STATE_DIR=tmp_path / "none")

    lines = ESCAPES.sub("", shown).rstrip("\n").split("\n")
    assert 1 == code
    path = str(tmp_path / "none")
    assert all(len(line) <= max(columns, len(path) + 3) for line in lines)
    assert "no server has been started there yet." in " ".join(" ".join(lines).split())


def test_problems_are_red_and_without_colours_plain(tmp_path):
    """
    ``NO_COLOR`` and a dumb terminal have the same words.
    """
    none = {"OXY_STATE_DIR": tmp_path / "none"}
    _, coloured = on_a_terminal("snapshots", **none)
    assert f"{RED}\x1b[1moxy-pg:" in coloured
    for variables in ({"NO_COLOR": 1}, {"TERM": "dumb"}):
        _, plain = on_a_terminal("snapshots", **none, **variables)
        assert "\x1b" not in plain
        assert plain.split() == ESCAPES.sub("", coloured).split()


def test_what_is_left_out_is_yellow(server, state_dir, tmp_path):
    """
    Only the label, at the beginning of the line.
    """
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE VIEW seen AS SELECT 'warning: no' AS x")

    _, shown = on_a_terminal(
        "export-sqlite", tmp_path / "a.db", "--dry-run", OXY_STATE_DIR=state_dir
    )

    assert f"{YELLOW}skipped:\x1b[0m view seen" in shown


def test_one_is_singular(tmp_path, server, state_dir, cli):
    """
    "1 row", in lines and in reports.
    """
    assert ["0 rows", "1 row", "2 rows"] == [many(number, "row") for number in range(3)]
    source = tmp_path / "a.db"
    with sqlite3.connect(source) as lite:
        lite.execute("CREATE TABLE t (x)")
        lite.execute("INSERT INTO t VALUES (1)")
    done = cli("migrate-sqlite", "--from", source, OXY_STATE_DIR=state_dir)
    assert "t: 1 row → 1" in done.stderr
    done = cli("export-sqlite", tmp_path / "b.db", OXY_STATE_DIR=state_dir)
    assert "Exported 1 row of 1 table," in done.stderr
    done = cli("backup", tmp_path / "one.dump", OXY_STATE_DIR=state_dir)
    assert "1 row of 1 table," in done.stderr
    done = cli("restore", tmp_path / "one.dump", "--yes", OXY_STATE_DIR=state_dir)
    assert "1 row of 1 table," in done.stdout
