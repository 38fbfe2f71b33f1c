"""docs/reference/json.md and its schemas: what `--json` prints, from the types of the reports."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import json
from typing import Any

import click

import oxy_pg
from tests.docs.reference import cli
from tests.docs.reference.markdown import marked, table

HEAD = """# JSON output

What the commands with `--json` print on stdout: one document, described by a JSON schema
(2020-12). Errors stay on stderr, with exit code 1. Times are ISO 8601, sizes are bytes, durations
seconds; no URL has its password. Fields may be added in later versions, so a program should ignore
those that it does not know. [Reports](../reports.md) says what the fields mean.
"""

# Where the type of a command's document is, and which it is, unless it is what the function of its
# name returns.
API = "oxy_pg._api"
TYPES = {
    "databases": ("oxy_pg.server.monitor.status", "tuple[Database, ...]"),
    "snapshot": ("oxy_pg.transfer.snapshots", "Snapshot"),
    "snapshots": ("oxy_pg.transfer.snapshots", "tuple[Snapshot, ...]"),
    "rewind": ("oxy_pg.transfer.snapshots", "Snapshot"),
    "binaries": ("oxy_pg.cli.binaries", "tuple[Found, ...]"),
    "doctor": ("oxy_pg.server.doctor.check", "tuple[Check, ...]"),
    "status": ("oxy_pg.server.monitor.status", "Status"),
    "tune": ("oxy_pg.server.tuning", "tuple[Comparison, ...]"),
}
# More than one kind of document.
VARIANTS = {"restore": {"restore --check": (API, "Manifest")}}
# What a command adds to its type, or prints without one.
_ORIGIN = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("key", "value", "origin")},
    "required": ["key", "value", "origin"],
}
_MACHINE = {
    "type": "object",
    "properties": {
        "memory": {"type": "integer"},
        "cpus": {"type": "integer"},
        "disk": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["memory", "cpus", "disk"],
}
# Fields that are written in another way than their type says.
FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("Status", "keep_alive_s"): {"anyOf": [{"type": "number"}, {"const": "inf"}, {"type": "null"}]},
}
SIMPLE = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "datetime": {"type": "string", "format": "date-time"},
    "Path": {"type": "string"},
    "Any": {},
    "object": {},
}


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    rows = [
        (
            f"[`oxy-pg {name} --json`](#oxy-pg-{name.replace(' ', '-')})",
            f"[schema](schemas/{_slug(name)}.json)",
        )
        for name in documents()
    ]
    parts.append(table(("command", "schema"), rows))
    shown: set[str] = set()
    for name, schema in documents().items():
        parts.append(f"## oxy-pg {name}\n\n{_described(schema)}")
        for kind, definition in schema.get("$defs", {}).items():
            if kind not in shown:
                shown.add(kind)
                parts.append(f"### {kind}\n\n{_fields(definition)}")
    return "\n".join(parts)


def schema_files() -> dict[str, str]:
    """Return the text of each schema's file."""
    return {
        f"schemas/{_slug(name)}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in documents().items()
    }


def _slug(name: str) -> str:
    return name.replace(" --", "-").replace(" ", "-")


def commands_with_json() -> list[str]:
    """Return the names of the commands that have ``--json``."""
    return [
        name
        for name, command in cli.commands()
        if any("--json" in one.opts for one in command.params if isinstance(one, click.Option))
    ]


@functools.cache
def documents() -> dict[str, dict[str, Any]]:
    """Return the schema of each document that a command prints."""
    found = {}
    for name in commands_with_json():
        place = TYPES.get(name) or _returned(name)
        if place is None:
            continue  # test_reference.py asks for an entry in TYPES
        found[name] = _document(name, *place)
        for variant, other in VARIANTS.get(name, {}).items():
            found[variant] = _document(variant, *other)
    return found


def _returned(command: str) -> tuple[str, str] | None:
    """Return what the function, or method of Server, of a command's name returns, and where."""
    name = command.replace("-", "_").replace(" ", "_")
    function = getattr(oxy_pg, name, None) or getattr(oxy_pg.Server, name, None)
    if function is None:
        return None
    return function.__module__, str(inspect.signature(function).return_annotation)


def _document(name: str, module: str, annotation: str) -> dict[str, Any]:
    definitions = Definitions()
    body = definitions.schema(annotation, module)
    if name == "tune":
        properties = {"machine": _MACHINE, "settings": body}
        body = {"type": "object", "properties": properties, "required": list(properties)}
    if name == "status":
        # The activity of the server and the origins of the defaults stand beside Status's own.
        body = definitions.known.pop("Status")
        more = {
            "activity": definitions.schema("Activity | None", module),
            "defaults": {"type": "array", "items": _ORIGIN},
        }
        body["properties"] |= more
        body["required"] = [*body["required"], *more]
    return {**_head(name), **body, "$defs": dict(sorted(definitions.known.items()))}


def _head(name: str) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"oxy-pg {name} --json",
    }


# --- types ---


class Definitions:
    """The records of one document, by name; each is described once."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def schema(self, annotation: str, module: str) -> dict[str, Any]:
        """Return the schema of an annotation that stands in a module."""
        return self._of(ast.parse(annotation, mode="eval").body, module)

    def _of(self, node: ast.expr, module: str) -> dict[str, Any]:
        match node:
            case ast.BinOp(left=left, right=right):
                options = [self._of(left, module), self._of(right, module)]
                return {"anyOf": [one for each in options for one in each.get("anyOf", [each])]}
            case ast.Constant(value=None):
                return SIMPLE["None"]
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in SIMPLE:
                return dict(SIMPLE[name])
            case ast.Name(id=name):
                if name not in self.known:
                    self.known[name] = {}  # for one that has itself among its fields
                    self.known[name] = self._record(_named(name, module))
                return {"$ref": f"#/$defs/{name}"}
            case ast.Subscript(value=ast.Name(id="Literal"), slice=choice):
                values = choice.elts if isinstance(choice, ast.Tuple) else [choice]
                return {"enum": [ast.literal_eval(value) for value in values]}
            case ast.Subscript(value=ast.Name(id="tuple" | "list" | "Sequence"), slice=inner):
                return self._sequence(inner, module)
            case ast.Subscript(value=ast.Name(id="dict" | "Mapping"), slice=ast.Tuple(elts=two)):
                return {"type": "object", "additionalProperties": self._of(two[1], module)}
        raise TypeError(f"no schema for {ast.unparse(node)}")

    def _sequence(self, inner: ast.expr, module: str) -> dict[str, Any]:
        items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if isinstance(items[-1], ast.Constant) and items[-1].value is ...:
            items = items[:-1]
        elif isinstance(inner, ast.Tuple):
            return _list([self._of(item, module) for item in items])
        return {"type": "array", "items": self._of(items[0], module)}

    def _record(self, found: type) -> dict[str, Any]:
        schemas = {
            field: FIELDS.get((found.__name__, field)) or self.schema(kind, module)
            for field, (kind, module) in _annotations(found).items()
        }
        if not dataclasses.is_dataclass(found):  # a NamedTuple, which JSON has as a list
            return {**_list(list(schemas.values())), "description": ", ".join(schemas)}
        description = (inspect.getdoc(found) or "").partition("\n")[0].replace("``", "`")
        return {
            "type": "object",
            "description": description,
            "properties": schemas,
            "required": list(schemas),
        }


def _list(each: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}


def _annotations(found: type) -> dict[str, tuple[str, str]]:
    """Return the annotation of each field, and the module in which it stands."""
    return {
        name: (str(getattr(kind, "__forward_arg__", kind)), line.__module__)
        for line in reversed(found.__mro__)
        if line.__module__.startswith("oxy_pg")
        for name, kind in inspect.get_annotations(line).items()
        if name in getattr(found, "__match_args__", ()) or name in getattr(found, "_fields", ())
    }


def _named(name: str, module: str) -> type:
    """Return the class that a name means in a module, which may import it for its types alone."""
    found = vars(importlib.import_module(module)).get(name)
    if isinstance(found, type):
        return found
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                if name == (one.asname or one.name):
                    return _named(one.name, node.module)
    raise TypeError(f"{name} is not known in {module}")


# --- words ---


def _described(schema: dict[str, Any]) -> str:
    if "properties" in schema.get("items", {}):
        return f"A list of objects with these fields.\n\n{_fields(schema['items'])}"
    if schema.get("type") == "array":
        return f"A list of {_kind(schema['items'])}.\n"
    if "$ref" in schema:
        return f"One {_kind(schema)}.\n"
    return _fields(schema)


def _fields(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array":
        kinds = ", ".join(map(_kind, schema["prefixItems"]))
        return f"A list of {schema['description']}: {kinds}.\n"
    rows = [(f"`{name}`", _kind(one)) for name, one in schema["properties"].items()]
    description = marked(schema.get("description", "").replace("`", "``"))
    return (f"{description}\n\n" if description else "") + table(("field", "type"), rows)


def _kind(schema: dict[str, Any]) -> str:
    """Return a type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if "const" in schema:
        return f'`"{schema["const"]}"`'
    return _plain_kind(schema)


def _plain_kind(schema: dict[str, Any]) -> str:
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}"
        case "array":
            return f"list of {_kind(schema['items'])}"
        case "object" if "additionalProperties" in schema:
            return f"object, {_kind(schema['additionalProperties'])} by name"
        case "object":
            return "object of " + ", ".join(f"`{name}`" for name in schema["properties"])
        case "string" if "format" in schema:
            return "time (ISO 8601)"
        case kind:
            return str(kind or "anything")
