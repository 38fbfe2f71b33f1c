"""
What docs/migrating-from-sqlite.md says about each trap of a real Oxy database is what happens.

The guide's table has a row for each, which names it in a comment: what happens
without options, with the words of the message, and what each choice does.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sqlite3
import uuid
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from oxy_pg.cli.data.migrate import migrate_sqlite as command
from oxy_pg.errors import MigrationError
from oxy_pg.migrate.migration import migrate
from tests import oxy_database
from tests.migrate.compare import differences
from tests.oxy_database import Trap

GUIDE = (Path(__file__).parents[2] / "docs/migrating-from-sqlite.md").read_text()
OPTIONS = {"tables", "exclude", "schema", "casts", "on_bad_value", "on_orphan"}
# What the guide may say that a choice does.
OUTCOMES = {
    r"leaves the (later )?rows? out": "skipped",
    r"leaves the table out": "moved",
    r"empties the reference": "changed",
    r"takes the character out": "changed",
    r"replaces it": "changed",
    r"makes room, and it moves": "moved",
    r"in a copy of the file, and the rest moves": "moved",
    r"stops too": "stopped",
}


class Row(NamedTuple):
    """One row of the guide's table."""

    happens: str  # "moves" or "stops"
    says: list[str]  # what is in the error, or in a warning
    choices: list[tuple[str, str]]  # command line or SQL, and its outcome


def guide_rows() -> dict[str, Row]:
    found = {}
    for line in GUIDE.splitlines():
        match = re.fullmatch(r"\| .* <!-- ([\w-]+) --> \| (moves|stops)(.*?) \|(.*)\|", line)
        if match:
            says = re.findall(r"`((?:warning: )?[^`]*…?[^`]*)`", match[3].partition(":")[2])
            choices = [
                (choice, outcome_of(text, line))
                for choice, text in re.findall(r"`([^`]+)` ([^`]+?)(?:;|$)", match[4].strip())
            ]
            assert bool(choices) == ("`" in match[4]), line
            assert match[1] not in found
            found[match[1]] = Row(match[2], says, choices)
    return found


def outcome_of(text: str, line: str) -> str:
    found = {outcome for words, outcome in OUTCOMES.items() if re.search(words, text)}
    assert len(found) == 1, f"what does {text!r} mean? {line}"
    return found.pop()


ROWS = guide_rows()


@pytest.fixture(scope="module")
def oxy_url(server_url):
    """One database with Oxy's schema, that each case finds as its migrations left it."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER oxy")
    url = server_url.replace("admin:", "oxy:").removesuffix("/postgres") + f"/{name}"
    make_schema(url)
    yield url
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def oxy_15_url(debian_15):
    """The same on PostgreSQL 15, which cannot be asked whether it would take a value."""
    url = debian_15.new_database()
    make_schema(url)
    return url


def make_schema(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(oxy_database.POSTGRES_SCHEMA)
        oxy_database.record_migrations(connection)


@pytest.fixture
def clean(oxy_url):
    """Leave the schema as it was."""
    yield
    clean_up(oxy_url)


def clean_up(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS old_notes")
        connection.execute("ALTER TABLE tasks DROP COLUMN IF EXISTS forgotten")


@pytest.fixture(scope="module")
def sprung(tmp_path_factory):
    """Make a database with one trap; once for each."""
    made = {}

    def make(trap: str) -> str:
        if trap not in made:
            path = tmp_path_factory.mktemp("trap") / "oxy.db"
            oxy_database.generate(path, 100, frozenset({Trap(trap)}))
            made[trap] = str(path)
        return made[trap]

    return make


def move(path: str, url: str, **options):
    return migrate(path, url, verify="full", if_not_empty="truncate", **options)


def options_of(words: str) -> dict[str, object]:
    """What ``oxy-pg migrate-sqlite`` makes of these words."""
    context = command.make_context("migrate-sqlite", shlex.split(words))
    given = {name: value for name, value in context.params.items() if name in OPTIONS and value}
    defaults = command.make_context("migrate-sqlite", []).params
    return {name: value for name, value in given.items() if value != defaults[name]}


def counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return {
            table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for table in oxy_database.TABLES
        }


def has(says: str, text: str) -> bool:
    words = [re.escape(part) for part in says.split("…")]
    return re.search(".*".join(words), text) is not None


def test_the_guide_knows_every_trap():
    """
    Each trap has one row, and those that stop say with which words.
    """
    assert {str(trap) for trap in Trap} == set(ROWS)
    for name, row in ROWS.items():
        harmless = Trap(name) in oxy_database.HARMLESS | {Trap.LEFTOVER_TABLE, Trap.OLD_MIGRATIONS}
        assert ("moves" if harmless else "stops") == row.happens
        assert row.happens == "moves" or (row.says and row.choices)


@pytest.mark.parametrize("server", ["oxy_url", "oxy_15_url"])
@pytest.mark.parametrize("trap", sorted(ROWS))
def test_what_happens_is_what_the_guide_says(trap, server, sprung, request):
    """
    Without options: everything arrives, or nothing, with the guide's words.
    """
    url = request.getfixturevalue(server)
    path, row = sprung(trap), ROWS[trap]
    before = counts(url)
    if row.happens == "stops":
        with pytest.raises(MigrationError) as caught:
            move(path, url)
        for says in row.says:
            assert has(says, str(caught.value)), str(caught.value)
        assert before == counts(url)
        return

    report = move(path, url)

    for says in row.says:
        assert any(has(says, f"warning: {warning}") for warning in report.warnings), says
    assert 0 == sum(table.rows_skipped for table in report.tables)
    moved = [table.name for table in report.tables]
    assert [] == differences(path, url, tables=moved)
    assert len(moved) == 24 + (trap == Trap.LEFTOVER_TABLE)
    clean_up(url)


CHOICES = [(trap, *choice) for trap, row in sorted(ROWS.items()) for choice in row.choices]


@pytest.mark.parametrize(("trap", "choice", "outcome"), CHOICES)
def test_each_choice_does_what_the_guide_says(
    trap, choice, outcome, sprung, oxy_url, clean, tmp_path
):
    """
    A row is left out, a value emptied or changed, and counted; or it stops as before.
    """
    path = sprung(trap)
    options = {}
    if choice.startswith("ALTER"):
        with psycopg.connect(oxy_url) as connection:
            connection.execute(choice)
    elif choice.startswith("UPDATE"):
        path = str(shutil.copy(path, tmp_path / "copy.db"))
        with contextlib.closing(sqlite3.connect(path)) as copy:
            copy.execute(choice)
            copy.commit()
    else:
        options = options_of(choice)
        assert options
    if outcome == "stopped":
        with pytest.raises(MigrationError):
            move(path, oxy_url, **options)
        return

    report = move(path, oxy_url, **options)

    left = sum(table.rows_skipped for table in report.tables)
    changed = sum(change.count for change in report.changes)
    assert (outcome == "skipped") == (left > 0)
    assert (outcome == "changed") == (changed > 0)
    read = sum(table.rows_read for table in report.tables)
    assert report.rows == read - left
