"""docs/reference/errors.md: the classes of oxy_pg/errors.py, with their messages."""

from __future__ import annotations

import inspect
import re
from typing import Any

import oxy_pg
from oxy_pg.report import BadValue, NumberGroup, Orphans, UnclearTime, ValueChange
from tests.docs.reference.markdown import linked, marked

HEAD = """# Errors

Every error that oxy_pg raises on purpose, as a tree. `except oxy_pg.OxyPgError` catches all of
them. Of each: when it is raised, its attributes, and its message with what to do; names in capitals
stand for values. [Errors, and what to do](../errors.md) is a shorter table of the same. At the
command line each of them is one message on stderr, and the exit code 1.
"""

_UNCLEAR = NumberGroup(2, "5", "9", (("s", "1970-01-01", "1970-01-01"),))
# An example of each type that is not a text.
EXAMPLES: dict[str, Any] = {
    "int": 16,
    "int | None": 16,
    "float": 60.0,
    "bool": True,
    "tuple[str, ...]": ("ONE", "ANOTHER"),
    "tuple[str, str]": ("ONE", "ANOTHER"),
    "tuple[tuple[str, int], ...]": (("TABLE", 3),),
    "tuple[tuple[str, str], ...]": (("ONE", "ANOTHER"),),
    "tuple[BadValue, ...]": (BadValue("TABLE", "COLUMN", "rowid 1", "'x'", "not a number"),),
    "tuple[ValueChange, ...]": (
        ValueChange(
            "TABLE", "COLUMN", 3, "rounded to 2 fraction digits", "rowid 1", "1.239", "1.24"
        ),
    ),
    "tuple[UnclearTime, ...]": (
        UnclearTime("TABLE", "COLUMN", (_UNCLEAR,), ("TABLE.COLUMN=timestamptz:s",)),
    ),
    "tuple[Orphans, ...]": (Orphans("TABLE", ("COLUMN",), "PARENT", 2, ("rowid 1", "rowid 2")),),
}


def page() -> str:
    """Return the page."""
    lines = [HEAD, "```text", *_tree(oxy_pg.OxyPgError, 0), "```", ""]
    for error in _all(oxy_pg.OxyPgError):
        lines += _section(error)
    return "\n".join(lines).rstrip() + "\n"


def _tree(error: type, depth: int) -> list[str]:
    others = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins"]
    also = f"  (also a {', '.join(others)})" if others and depth else ""
    below = [line for child in error.__subclasses__() for line in _tree(child, depth + 1)]
    return [f"{'    ' * depth}{error.__name__}{also}", *below]


def _all(error: type) -> list[type]:
    return [error, *(found for child in error.__subclasses__() for found in _all(child))]


def _section(error: type) -> list[str]:
    bases = ", ".join(
        f"[{base.__name__}](#{base.__name__.lower()})"
        if base.__module__.startswith("oxy_pg")
        else f"`{base.__name__}`"
        for base in error.__bases__
    )
    lines = [f"## {error.__name__}", "", linked(error), f"A subclass of {bases}.", ""]
    parameters = _parameters(error)
    if parameters:
        names = ", ".join(f"`{one.name}` ({marked(f'``{one.annotation}``')})" for one in parameters)
        lines += [
            f"Attributes: {names}.",
            "",
            "```text",
            str(_example(error, parameters)),
            "```",
            "",
        ]
    return lines


def _parameters(error: type) -> list[inspect.Parameter]:
    for base in error.__mro__:
        if base is oxy_pg.OxyPgError:
            return []
        if "__init__" in vars(base):
            return list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
    return []


def _example(error: type, parameters: list[inspect.Parameter]) -> BaseException:
    named = {one.name: _value(one) for one in parameters if one.kind is one.KEYWORD_ONLY}
    given = [_value(one) for one in parameters if one.kind is not one.KEYWORD_ONLY]
    made = error(*given, **named)
    assert isinstance(made, BaseException)
    return made


def _value(one: inspect.Parameter) -> Any:
    if re.fullmatch(r"str( \| None)?", str(one.annotation)):
        return one.name.upper()
    return EXAMPLES[str(one.annotation)]
