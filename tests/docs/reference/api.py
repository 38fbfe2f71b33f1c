"""docs/reference/api.md: the functions, ``Server`` and the fixtures, from their docstrings."""

from __future__ import annotations

import inspect
from typing import Any

import oxy_pg
from oxy_pg import pytest_plugin
from tests.docs.reference.markdown import linked, marked, table

_WIDTH = 92

HEAD = """# Python API

The names of the package `oxy_pg`. Everything else in it is private. Importing it starts nothing,
and loads each name when it is first used. The fields of what the functions return are in
[Reports](../reports.md).
"""


def page() -> str:
    """Return the page."""
    public = {name: getattr(oxy_pg, name) for name in oxy_pg.__all__}
    functions = {name: one for name, one in public.items() if inspect.isfunction(one)}
    contents = [(f"[`{name}()`](#{name})", first_line(one)) for name, one in functions.items()]
    contents.append(("[`Server`](#server)", first_line(oxy_pg.Server)))
    contents.append(("[fixtures](#pytest-fixtures)", "Databases for tests, with pytest."))
    parts = [HEAD, table(("name", "what it is for"), contents)]
    parts += [_function(name, one) for name, one in functions.items()]
    parts.append(_server())
    parts.append(_values(public, functions))
    parts.append(_fixtures())
    return "\n".join(parts)


def first_line(one: object) -> str:
    """Return the first sentence of a docstring."""
    return marked((inspect.getdoc(one) or "").partition("\n")[0])


def _function(name: str, one: Any) -> str:
    return f"## {name}\n\n{_code(signature(f'oxy_pg.{name}', one))}\n{linked(one)}"


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def signature(name: str, one: Any) -> str:
    """Return a signature as Python spells it, a parameter a line where it would be too long."""
    found = inspect.signature(inspect.unwrap(one))
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    words: list[str] = []
    for number, parameter in enumerate(parameters):
        starts = parameter.kind is parameter.KEYWORD_ONLY
        before = parameters[number - 1].kind if number else None
        if starts and before not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            words.append("*")
        words.append(_parameter(parameter))
    answer = found.return_annotation
    arrow = "" if answer is found.empty else f" -> {_answer(one, str(answer))}"
    short = f"{name}({', '.join(words)}){arrow}"
    if len(short) <= _WIDTH:
        return short
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){arrow}"


def _parameter(one: inspect.Parameter) -> str:
    stars = "**" if one.kind is one.VAR_KEYWORD else "*" * (one.kind is one.VAR_POSITIONAL)
    word = f"{stars}{one.name}"
    if one.annotation is not one.empty:
        word += f": {one.annotation}"
    if one.default is not one.empty:
        word += f" = {one.default!r}" if one.annotation is not one.empty else f"={one.default!r}"
    return word


def _answer(one: Any, annotation: str) -> str:
    """Return what a caller gets: of a context manager, what ``with`` gives."""
    if hasattr(one, "__wrapped__") and annotation.startswith("Iterator["):
        return f"ContextManager[{annotation.removeprefix('Iterator[')}"
    return annotation


def _server() -> str:
    methods: dict[str, Any] = {}
    for line in reversed(oxy_pg.Server.__mro__):
        if line.__module__.startswith("oxy_pg"):
            methods |= {name: one for name, one in vars(line).items() if not name.startswith("_")}
    parts = ["## Server", "", _code(signature("oxy_pg.Server", oxy_pg.Server.__init__))]
    parts += [linked(oxy_pg.Server)]
    for name, one in methods.items():
        if isinstance(one, property):
            parts += [f"### Server.{name}", "", f"A property. {linked(one)}"]
        else:
            parts += [
                f"### Server.{name}",
                "",
                _code(signature(f"server.{name}", one)),
                linked(one),
            ]
    return "\n".join(parts)


def _values(public: dict[str, Any], functions: dict[str, Any]) -> str:
    rows = []
    for name, one in public.items():
        if name in functions or name == "Server":
            continue
        if isinstance(one, type) and issubclass(one, BaseException):
            continue
        link = f"[`{name}`](../reports.md#{name.lower()})"
        rows.append((link, "PostgreSQL settings." if name == "Settings" else first_line(one)))
    head = "## Reports and values\n\n"
    tail = "\nThe errors: [errors.md](errors.md).\n"
    return head + table(("name", "what it is"), rows) + tail


def _fixtures() -> str:
    parts = [
        "## pytest fixtures",
        "",
        "The plugin is loaded by pytest itself. [A database for each test](../testing.md) shows",
        "how to use them.",
        "",
    ]
    for name, one in vars(pytest_plugin).items():
        if not name.startswith("oxy_pg_") or not hasattr(one, "_fixture_function_marker"):
            continue
        scope = one._fixture_function_marker.scope
        parts += [f"### {name}", "", f"Scope: {scope}. {linked(one._fixture_function)}"]
    return "\n".join(parts)
