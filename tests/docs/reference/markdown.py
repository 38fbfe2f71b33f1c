"""Docstrings and tables as Markdown."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import oxy_pg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ERRORS = [
    name
    for name in oxy_pg.__all__
    if isinstance(getattr(oxy_pg, name), type) and issubclass(getattr(oxy_pg, name), BaseException)
]
_FUNCTIONS = [name for name in oxy_pg.__all__ if inspect.isfunction(getattr(oxy_pg, name))]


def marked(text: str) -> str:
    """Return a docstring's text with Markdown's code marks, and nothing else that it would read."""
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    parts = re.split(r"(`[^`]+`)", text)
    # Between the code: what Markdown, or HTML, would take for its own.
    parts[::2] = [re.sub(r"([*<])", r"\\\1", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"\b(OXY_[A-Z_]+)\b", r"`\1`", part) for part in parts[::2]]
    return "".join(parts)


def linked(one: object) -> str:
    """Return a docstring as Markdown, in which errors and functions of the package are links."""
    text = marked(inspect.getdoc(one) or "")
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [
        re.sub(rf"\b({'|'.join(_ERRORS)})\b", lambda m: f"[{m[1]}](errors.md#{m[1].lower()})", part)
        for part in parts[::2]
    ]
    parts[1::2] = [_call(part, one) for part in parts[1::2]]
    return "".join(parts) + "\n"


def _call(code: str, one: object) -> str:
    found = re.fullmatch(rf"`(?:oxy_pg\.)?({'|'.join(_FUNCTIONS)})\(\)`", code)
    if found is None or getattr(one, "__name__", None) == found[1]:
        return code
    return f"[{code}](api.md#{found[1]})"


def cell(text: str) -> str:
    """Return a text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"
