"""The bars of ``oxy-pg migrate-sqlite`` on a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from rich.console import Console

from oxy_pg.cli.display.bars import TableBars
from oxy_pg.migrate.migration import migrate
from oxy_pg.report import Progress
from tests.terminal import shown_on

SCRIPT = """
CREATE TABLE "[b]odd[/b]" (id INTEGER PRIMARY KEY);
CREATE TABLE empty (id INTEGER PRIMARY KEY);
CREATE TABLE threads (id INTEGER PRIMARY KEY, title TEXT);
CREATE TABLE a_table_whose_name_does_not_fit_beside_a_bar (id INTEGER PRIMARY KEY);
"""
TABLES = {
    "[b]odd[/b]": 7,
    "empty": 0,
    "threads": 150_000,
    "a_table_whose_name_does_not_fit_beside_a_bar": 3,
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(*arguments, whole: bool = False) -> tuple[int, str, str]:
    """
    Run ``oxy-pg`` with a terminal as stderr; returns its code and both outputs.

    With ``whole``, stdout goes to the terminal too.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    # The workers of pytest-xdist set these, and then the terminal's own size would not count.
    sizes = {"COLUMNS", "LINES"}
    environment = {name: value for name, value in os.environ.items() if name not in sizes}
    process = subprocess.Popen(
        [sys.executable, "-m", "oxy_pg", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=follower if whole else subprocess.PIPE,
        stderr=follower,
        env={**environment, "TERM": "xterm-256color"},
        text=True,
    )
    os.close(follower)
    shown = shown_on(leader)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output, shown.decode()


@pytest.fixture
def path(lite):
    """A database with one table that takes a moment."""
    return lite(SCRIPT, {name: rows_of(name, count) for name, count in TABLES.items() if count})


def rows_of(name: str, count: int) -> list[tuple[object, ...]]:
    rest = ("title",) if name == "threads" else ()
    return [(number, *rest) for number in range(count)]


def test_bars_for_each_table_and_the_whole(path, pg_url):
    """
    On a terminal there are bars on stderr, and stdout has the result alone.
    """
    code, output, shown = on_a_terminal("migrate-sqlite", "--from", path, "--to", pg_url)

    assert 0 == code
    assert "\x1b" not in output
    assert "━" not in output
    assert "Moved 150,010 rows of 4 tables" in output
    lines = [line.strip() for line in re.split(r"[\r\n]+", ESCAPES.sub("", shown))]
    for name, count in TABLES.items():
        start = name if len(name) <= 25 else name[:24]
        bars = [line for line in lines if line.startswith(start) and f"{count:,}/{count:,}" in line]
        assert bars, lines
        assert "━" in bars[-1]
        assert count == 0 or "rows/s" in bars[-1]
        assert re.search(r"\d:\d\d:\d\d\Z", bars[-1])
    # While threads were moving, both bars told how far they were.
    assert any(line.startswith("threads") and "/150,000" in line for line in lines)
    wholes = [line for line in lines if line.startswith("all tables") and "/150,010" in line]
    assert "150,010/150,010" in wholes[-1]
    assert len(wholes) > 1


def test_bars_stop_where_it_failed(path, pg_url):
    """
    The last bar says that it stopped, and the message follows it.
    """
    on_a_terminal("migrate-sqlite", "--from", path, "--to", pg_url)

    code, output, shown = on_a_terminal("migrate-sqlite", "--from", path, "--to", pg_url)

    assert 0 != code
    assert "" == output
    assert "stopped" in shown
    assert shown.index("stopped") < shown.index("--if-not-empty")


def test_both_sides_are_a_table_on_a_terminal(path, pg_url):
    """
    At the end the counts of both sides stand side by side, names as they are.
    """
    arguments = ("migrate-sqlite", "--quiet", "--from", path, "--to", pg_url)
    code, _, shown = on_a_terminal(*arguments, whole=True)

    assert 0 == code
    lines = [line.split() for line in ESCAPES.sub("", shown).splitlines()]
    assert ["[b]odd[/b]", "7", "7", "✓"] in lines
    assert ["threads", "150,000", "150,000", "✓"] in lines
    assert ["all", "4", "tables", "150,010", "150,010", "✓"] in lines
    assert "─────" in shown


def test_quiet_is_quiet_on_a_terminal_too(path, pg_url):
    """
    With --quiet the terminal stays empty.
    """
    code, _, shown = on_a_terminal("migrate-sqlite", "--quiet", "--from", path, "--to", pg_url)

    assert (0, "") == (code, shown)


@pytest.mark.parametrize("phase", ["plan", "check", "verify"])
def test_the_steps_say_how_far_they_are(phase):
    """
    In per cent; all of it only when nothing is missing.
    """
    bars = TableBars()
    written = io.StringIO()
    screen = Console(file=written, width=100)
    for rows in (0, 500, 999, 1000):
        bars.show(Progress(phase, rows=rows, of_rows=1000))
        screen.print(bars._progress.get_renderable())

    assert ["50", "99", "100"] == re.findall(r"(\d+) %", written.getvalue())


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_counts_the_rows_that_were_examined(path, pg_url, jobs):
    """
    From none to all, for both steps; a large table is examined in parts.
    """
    seen = []
    migrate(path, pg_url, jobs=jobs, on_bad_value="skip", on_progress=seen.append)

    for phase in ("plan", "check"):
        rows = [p.rows for p in seen if p.phase == phase and p.of_rows]
        assert rows == sorted(rows)
        assert len(set(rows)) > 3
        assert all(p.rows <= p.of_rows for p in seen if p.phase == phase and p.of_rows)
        assert {150_010} == {p.of_rows for p in seen if p.phase == phase and p.of_rows}
    assert 150_010 == max(p.rows for p in seen if p.phase == "plan")
