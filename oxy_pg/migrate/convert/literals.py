"""
The literals of arrays, rows, ranges and hstore, taken apart.

Manual: 8.15.2, 8.16.2, 8.17.5 and F.18. What stands in them remains text.
"""

from __future__ import annotations

import re
from typing import TypeAlias

# None is the empty one; else both bounds (None: without end), and whether they belong to it.
Range: TypeAlias = "tuple[str | None, bool, str | None, bool] | None"


class Broken(ValueError):
    """Not such a literal."""


_DIMENSIONS = re.compile(r"\s*((?:\[[+-]?\d+(?::[+-]?\d+)?\])+)\s*=\s*")


def array(text: str) -> object:
    """Return nested lists of texts and None, behind the bounds where they are spelled out."""
    match = _DIMENSIONS.match(text)
    found, rest = _list(text[match.end() :] if match else text.strip())
    if rest.strip():
        raise Broken
    return [match[1], found] if match else found


def _list(text: str) -> tuple[list[object], str]:
    if not text.startswith("{"):
        raise Broken
    found: list[object] = []
    rest = text[1:].lstrip()
    while not rest.startswith("}"):
        element: object
        if rest.startswith("{"):
            element, rest = _list(rest)
        else:
            element, rest = _element(rest)
        found.append(element)
        rest = rest.lstrip()
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith("}"):
            raise Broken
    return found, rest[1:]


_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^"\\{},]|\\.)+)', re.DOTALL)


def _element(text: str) -> tuple[str | None, str]:
    match = _ELEMENT.match(text)
    if match is None:
        raise Broken
    rest = text[match.end() :]
    if match[1] is not None:
        return _unescaped(match[1]), rest
    bare = match[2].strip()
    return (None if bare.upper() == "NULL" else _unescaped(bare)), rest


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


_FIELD = re.compile(r'((?:"(?:[^"\\]|\\.|"")*"|\\.|[^"\\,()])*)([,)])', re.DOTALL)


def composite(text: str) -> list[str | None]:
    """Return the fields of a row; None is NULL, and not the empty text."""
    stripped = text.strip()
    if not stripped.startswith("("):
        raise Broken
    found: list[str | None] = []
    place = 1
    while match := _FIELD.match(stripped, place):
        found.append(_field(match[1]))
        place = match.end()
        if match[2] == ")":
            if place != len(stripped):
                raise Broken
            return found
    raise Broken


def _field(text: str) -> str | None:
    if not text:
        return None
    # Quoted and unquoted parts may stand side by side.
    return re.sub(
        r'"((?:[^"\\]|\\.|"")*)"|\\(.)',
        lambda m: m[2] if m[1] is None else _unescaped(m[1].replace('""', '"')),
        text,
        flags=re.DOTALL,
    )


_RANGE = re.compile(
    r'\s*(?:(empty)|([\[(])\s*((?:"(?:[^"\\]|\\.|"")*"|[^"\\,])*),'
    r'((?:"(?:[^"\\]|\\.|"")*"|[^"\\,\])])*)([\])]))\s*',
    re.IGNORECASE | re.DOTALL,
)


def ranges(text: str) -> list[Range]:
    """Return the ranges of a multirange, or the one that the text is."""
    stripped = text.strip()
    if not stripped.startswith("{"):
        return [_range(stripped)]
    if not stripped.endswith("}"):
        raise Broken
    inner, found, place = stripped[1:-1], [], 0
    while inner[place:].strip():
        match = _RANGE.match(inner, place)
        if match is None:
            raise Broken
        found.append(_range(match[0]))
        place = match.end()
        if inner[place : place + 1] == ",":
            place += 1
    return found


def _range(text: str) -> Range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise Broken
    if match[1]:
        return None
    return _field(match[3].strip()), match[2] == "[", _field(match[4].strip()), match[5] == "]"


_PAIR = re.compile(
    r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,="]+))\s*=>\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,="]+))\s*(?:,|\Z)',
    re.DOTALL,
)


def pairs(text: str) -> dict[str, str | None]:
    """Return the keys and values of an hstore. Raises Broken where a key is repeated."""
    found: dict[str, str | None] = {}
    place = 0
    while text[place:].strip():
        match = _PAIR.match(text, place)
        if match is None:
            raise Broken
        key = _unescaped(match[1] if match[1] is not None else match[2])
        bare = match[4] is not None
        value = _unescaped(match[4] if bare else match[3])
        if key in found:
            raise Broken  # one of the two is lost
        found[key] = None if bare and value.upper() == "NULL" else value
        place = match.end()
    return found
