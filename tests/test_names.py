"""The public names: what stands in a signature is exported and documented, and nothing else is."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import oxy_pg

PACKAGE = Path(oxy_pg.__file__).parent
PAGE = (PACKAGE.parent / "docs/reports.md").read_text()
SECTIONS = {
    part.partition("\n")[0]: part.partition("\n")[2]
    for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
}

NAMED = {name: getattr(oxy_pg, name) for name in oxy_pg.__all__}
ALIASES = {"Driver", "Settings"}  # of types, which have no text of their own
FUNCTIONS = [name for name, value in NAMED.items() if inspect.isfunction(value)]
TYPES = [
    name
    for name, value in NAMED.items()
    if name not in FUNCTIONS and not (isinstance(value, type) and issubclass(value, Exception))
]


def facts(name: str) -> set[str]:
    """The fields and properties of a public type."""
    found = NAMED[name]
    fields = {field.name for field in dataclasses.fields(found)} if is_record(found) else set()
    fields |= set(getattr(found, "_fields", ()))
    lines = getattr(found, "__mro__", ())
    return fields | {
        key for line in lines for key, one in vars(line).items() if isinstance(one, property)
    }


def is_record(found: object) -> bool:
    return isinstance(found, type) and dataclasses.is_dataclass(found)


@pytest.mark.parametrize("name", oxy_pg.__all__)
def test_every_name_says_what_it_promises(name):
    assert name in ALIASES or inspect.getdoc(NAMED[name])


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_documented_with_its_fields(name):
    """
    No more and no fewer than there are.
    """
    rows = re.findall(r"^\| (`.+?`) \|", SECTIONS[name], flags=re.MULTILINE)
    named = [field for row in rows for field in re.findall(r"`(\w+)`", row)]
    assert sorted(facts(name)) == sorted(named)


def test_nothing_else_is_documented():
    assert set(TYPES) == set(SECTIONS)


def test_a_record_cannot_be_changed():
    for name in TYPES:
        if is_record(NAMED[name]):
            assert NAMED[name].__dataclass_params__.frozen, name


# What ``**options`` of a method of ``Server`` may be: nothing that a program has to name.
SPELLED_OUT = {
    "BackupOptions", "RestoreOptions", "PullOptions", "PushOptions", "MigrationOptions",
    "ExportOptions",
}  # fmt: skip


def annotated(name: str) -> set[tuple[str, str]]:
    """The names in a public function's or class's annotations, and where they come from."""
    found = inspect.unwrap(NAMED[name])
    places = [one for one in getattr(found, "__mro__", [found]) if one.__module__[:6] == "oxy_pg"]
    return {pair for place in places for pair in own_annotations(place)}


def own_annotations(found: type) -> set[tuple[str, str]]:
    """Those of one definition, without its base classes."""
    tree = ast.parse(Path(inspect.getsourcefile(found) or "").read_text())
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    local = {
        node.name: (found.__module__, node.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    (definition,) = (
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == found.__name__
    )
    known = local | imported
    return {
        known[word.id]
        for annotation in spelled(definition)
        for word in ast.walk(annotation)
        if isinstance(word, ast.Name) and word.id in known
    }


def spelled(definition: ast.stmt) -> list[ast.expr]:
    """The annotations of a definition, without those of private methods and of bodies."""
    if isinstance(definition, ast.FunctionDef):
        arguments = definition.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
        found = [one.annotation for one in every] + [definition.returns]
        return [one for one in found if one is not None]
    assert isinstance(definition, ast.ClassDef)
    members = [one.annotation for one in definition.body if isinstance(one, ast.AnnAssign)]
    for one in definition.body:
        if isinstance(one, ast.FunctionDef) and (one.name == "__init__" or one.name[0] != "_"):
            members += spelled(one)
    return members


def test_annotations_are_found():
    assert ("oxy_pg.report", "Progress") in annotated("backup")
    assert ("oxy_pg.report", "Orphans") in annotated("OrphanRows")


@pytest.mark.parametrize("name", [name for name in oxy_pg.__all__ if name not in ALIASES])
def test_what_stands_in_a_signature_is_exported(name):
    """
    So that a typed program can name what it is given.
    """
    ours = {word for module, word in annotated(name) if module.startswith("oxy_pg")}
    assert ours - SPELLED_OUT <= set(oxy_pg.__all__)
