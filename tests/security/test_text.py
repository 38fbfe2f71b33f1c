"""Text from strangers: shown, and never obeyed by a terminal."""

from __future__ import annotations

import ast
import io
import json
import logging
import pickle
import re
import sqlite3
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.cli.display import terminal
from oxy_pg.system.printable import json_text, printable

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\r\u202ename\u2028"
CONTROLS = re.compile(
    "[^\\n\\t\\x20-\\x7e\\xa0-\\u200d\\u2010-\\u2027\\u202f-\\u2065\\u206a-\\U0010ffff]"
)
PACKAGE = Path(oxy_pg.__file__).parent


def test_every_control_character_is_escaped():
    """
    Of all characters, those of the category "control" and those that reorder text.
    """
    import unicodedata

    for code in range(0x110000):
        character = chr(code)
        is_control = unicodedata.category(character) == "Cc" and character not in "\n\t"
        reorders = unicodedata.bidirectional(character) in {
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        }
        shown = printable(character)
        if is_control or reorders or character in "\u2028\u2029":
            assert shown.isprintable(), hex(code)
            assert shown.startswith("\\"), hex(code)
        elif character not in "\u200e\u200f\u061c":
            assert shown == character, hex(code)


def test_json_stays_the_same_json():
    """
    Escaped for a terminal, and equal for a program.
    """
    text = json.dumps({EVIL: [EVIL]}, ensure_ascii=False)
    assert not CONTROLS.search(json_text(text))
    assert json.loads(json_text(text)) == {EVIL: [EVIL]}


def test_every_error_is_safe_to_print():
    """
    Whatever an error quotes; ``args`` keeps what it was given, also when it was pickled.
    """
    for error in (
        oxy_pg.ConfigurationError(EVIL),
        oxy_pg.StartFailed(EVIL, EVIL),
        oxy_pg.TransferRefused(EVIL, EVIL, EVIL),
        oxy_pg.NotABackup(EVIL, EVIL),
    ):
        for one in (error, pickle.loads(pickle.dumps(error))):
            assert not CONTROLS.search(str(one))
            assert "title" in str(one)
            assert EVIL in one.args


def test_everything_is_printed_through_one_function():
    """
    No module of the command line prints by itself, or makes a console of its own.
    """
    for path in (PACKAGE / "cli").rglob("*.py"):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "click.echo", "Console", "rich.print"}, path


def test_a_console_of_rich():
    """
    Tables and styled text: the styles are sent, what is in the text is not.
    """
    from rich.table import Table

    out = io.StringIO()
    table = Table(EVIL)
    table.add_row(EVIL)
    console = terminal.console(file=out, force_terminal=True, width=200)
    console.print(table, style="bold")
    assert "\x1b[1m" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    assert "\x07" not in out.getvalue()


@pytest.fixture
def evil_server(state_dir):
    """Names, statements and a user with control characters, all of them in logs and statistics."""
    url = oxy_pg.ensure(state_dir=state_dir)
    name = '"' + EVIL.replace("\r", "") + '"'
    with psycopg.connect(url, autocommit=True, application_name=EVIL[:20]) as connection:
        connection.execute(f"CREATE TABLE {name} (i int)")
        connection.execute(f"INSERT INTO {name} SELECT generate_series(1, 1000)")
        connection.execute(f"DELETE FROM {name}")
        connection.execute(f"CREATE DATABASE {name}")
        with pytest.raises(psycopg.Error):
            connection.execute(f"SELECT '{EVIL}' || 1/0")
        with pytest.raises(psycopg.Error):
            psycopg.connect(url, user=EVIL)
    yield oxy_pg.Server(state_dir)
    oxy_pg.Server(state_dir).stop()


def test_what_the_commands_show(evil_server, cli, state_dir, tmp_path):
    """
    Status, doctor, logs, a migration, backup and reset: no control character of anybody.
    """
    source = tmp_path / "evil.db"
    quoted = '"' + EVIL.replace("\r", "") + '"'
    with sqlite3.connect(source) as database:
        database.execute(f"CREATE TABLE {quoted} (id INTEGER PRIMARY KEY, n INTEGER)")
        database.execute(f"INSERT INTO {quoted} VALUES (1, ?)", (EVIL,))
        database.execute(f'CREATE VIEW {quoted[:-1]}v" AS SELECT * FROM {quoted}')
    page = tmp_path / "report.html"
    for words in (
        ("status",),
        ("status", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("logs", "-n", "50"),
        ("migrate-sqlite", "--from", source, "--dry-run"),
        ("migrate-sqlite", "--from", source, "--dry-run", "--json"),
        ("migrate-sqlite", "--from", source),
        ("migrate-sqlite", "--from", source, "--dry-run", "--report", page),
        ("backup", tmp_path / "a.dump"),
        ("backup", tmp_path / "b.dump", "--json"),
        ("reset",),
    ):
        place = tmp_path / "another" if page in words else state_dir  # it has no such table
        done = cli(*words, "--state-dir", place)
        for text in (done.stdout, done.stderr):
            found = CONTROLS.search(text)
            assert not found, (words, text[found.start() - 40 : found.end() + 40])
        assert "Traceback" not in done.stderr
    assert not CONTROLS.search(page.read_text())


def test_what_is_logged(caplog):
    """
    Warnings of the library go to other people's logs.
    """
    logging.getLogger("oxy_pg").warning("%s", oxy_pg.ConfigurationError(EVIL))
    assert not CONTROLS.search(caplog.text)
