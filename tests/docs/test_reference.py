"""docs/reference/: the pages are those that the code makes, and what they say is true of it."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import tempfile
from pathlib import Path

import click
import jsonschema
import pytest

import oxy_pg
from oxy_pg import Server
from oxy_pg.cli.commands import cli as program
from oxy_pg.cli.group import EXAMPLES
from tests.docs import reference
from tests.docs.reference import cli as commands
from tests.docs.reference import configuration, json_output

PAGES = reference.pages()
STALE = "`python -m tests.docs.reference` writes the pages anew"
COMMANDS = dict(commands.commands())


@pytest.mark.parametrize("name", PAGES)
def test_it_is_what_the_code_makes(name):
    assert (reference.FOLDER / name).read_text() == PAGES[name], STALE


def test_there_are_no_others():
    found = {path for path in reference.FOLDER.rglob("*") if path.is_file()}
    assert {reference.FOLDER / name for name in PAGES} == found, STALE


# --- commands ---


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example(name):
    """
    In its own help, or else in the table EXAMPLES of the module that writes the page.
    """
    if isinstance(COMMANDS[name], click.Group):
        return  # its commands have them
    section = PAGES["cli.md"].partition(f"## oxy-pg {name}\n")[2].partition("\n## ")[0]
    assert re.search(rf"Examples?:.*oxy-pg {name}\b", section, re.DOTALL), name


def test_no_example_is_of_a_command_that_is_not_there():
    assert set(EXAMPLES) <= set(COMMANDS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_right_usage(name):
    """
    As click reads it; nothing is run.
    """
    (words,) = re.findall(r"oxy-pg [^\n]+?(?=\)\"|$)", EXAMPLES[name])
    _, *arguments = shlex.split(words)
    with program.make_context("oxy-pg", arguments) as context:
        found, one, rest = program.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert one is not None
        if isinstance(one, click.Group) and rest:  # "binaries add"
            found, rest = f"{found} {rest[0]}", rest[1:]
            one = COMMANDS[found]
        assert name == found
        one.make_context(found, rest, parent=context)


# --- configuration ---


def test_every_variable_is_documented():
    """
    Those that the sources name, in whatever way.
    """
    sources = "\n".join(path.read_text() for path in Path(oxy_pg.__file__).parent.rglob("*.py"))
    named = set(re.findall(r"\bOXY_(?:PG_)?[A-Z]+(?:_[A-Z]+)*\b", sources))
    page = PAGES["configuration.md"]
    rows = {name for name in re.findall(r"`(OXY_[A-Z_]+)`", page) if f"`{name}` |" in page}

    # Beside the variables there are names that merely begin like them.
    others = configuration.INTERNAL | {"OXY_PG", "OXY_DATABASE_URL_SHOP"}
    assert rows <= named
    assert set() == named - rows - others


# --- JSON ---


def test_every_command_with_json_has_a_schema():
    """
    And every schema is compared with what is printed.
    """
    assert set(json_output.commands_with_json()) <= set(json_output.documents())
    assert set(json_output.documents()) == set(RUNS)


@pytest.fixture(scope="module")
def place(base_dir):
    """A server with something in it, and a file of SQLite."""
    folder = Path(tempfile.mkdtemp(prefix="json-", dir=base_dir))
    folder.chmod(0o711)
    with sqlite3.connect(folder / "app.db") as connection:
        connection.executescript(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
            "CREATE TABLE child (id INTEGER PRIMARY KEY AUTOINCREMENT, at TIMESTAMP,"
            " parent INTEGER REFERENCES parent);"
            "CREATE VIEW both AS SELECT * FROM parent JOIN child ON parent.id = child.parent;"
            "INSERT INTO parent VALUES (1, 'one');"
            "INSERT INTO child VALUES (1, '2026-01-31 23:59:59', 1), (2, 'never', 1);"
        )
    connection.close()
    with Server(folder / "state", keep_alive=1) as server:
        server.migrate_sqlite(folder / "app.db", on_bad_value="null")
        server.create_database("other")
        server.snapshot("earlier", force=True)
        yield folder, server


# A command, and what its words are.
RUNS = {
    "status": ["status"],
    "doctor": ["doctor"],
    "binaries": ["binaries"],
    "tune": ["tune"],
    "upgrade": ["upgrade"],
    "databases": ["databases"],
    "snapshot": ["snapshot", "one"],
    "snapshots": ["snapshots", "--all"],
    "rewind": ["rewind", "earlier"],
    "export-sqlite": ["export-sqlite", "{folder}/copy.db"],
    "backup": ["backup", "{folder}/a.dump"],
    "restore --check": ["restore", "--check", "{folder}/b.dump"],
    "restore": ["restore", "{folder}/b.dump", "--database", "third"],
    "push": ["push", "--to", "{other}", "--dry-run"],
    "pull": ["pull", "--from", "{other}", "--database", "fourth"],
    "migrate-sqlite": [
        "migrate-sqlite",
        "--from",
        "{folder}/app.db",
        "--to",
        "{other}",
        "--dry-run",
    ],
}


@pytest.mark.parametrize("name", RUNS)
def test_what_is_printed_has_the_schema(name, place, cli):
    """
    No field is missing, and no field is there that the schema does not have.
    """
    folder, server = place
    if name.startswith("restore"):
        server.backup(folder / "b.dump", force=True)
    words = [word.format(folder=folder, other=server.url("other")) for word in RUNS[name]]

    done = cli(*words, "--json", OXY_STATE_DIR=folder / "state")

    schema = closed(json.loads(PAGES[f"schemas/{json_output._slug(name)}.json"]))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(done.stdout), schema, jsonschema.Draft202012Validator)


def closed(schema):
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(one) for key, one in schema.items()}
    return {**found, "additionalProperties": False} if "required" in found else found
