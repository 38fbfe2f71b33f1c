"""Text on stdout and stderr, fitted to a terminal where there is one; spinners."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from oxy_pg.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.segment import Segment

# What a line begins with that has a colour.
_LABEL = re.compile(r"( *)(oxy-pg|problem|warning|skipped|changed|not examined):(?= )")
_RED = {"oxy-pg", "problem"}


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """
    Print text, with the control characters of others escaped.

    On a terminal, problems are red and warnings yellow, and no word of a
    message is broken at the edge: in what goes to stderr, and after a label.
    """
    _print(text, nl=nl, err=err, is_message=err)


def say(text: str) -> None:
    """Print a result that consists of sentences: on a terminal none of their words is broken."""
    _print(text, nl=True, err=False, is_message=True)


def _print(text: str, *, nl: bool, err: bool, is_message: bool) -> None:
    safe = printable(text)
    if nl and (sys.stderr if err else sys.stdout).isatty():
        width = shutil.get_terminal_size().columns
        lines = safe.split("\n")
        safe = "\n".join(_fitted(line, width, is_message=is_message) for line in lines)
    click.echo(safe, nl=nl, err=err)


def _fitted(line: str, width: int, *, is_message: bool) -> str:
    label = _LABEL.match(line)
    if (is_message or label) and len(line) > width:
        indent = " " * (len(line) - len(line.lstrip(" ")) + (2 if label else 0))
        line = textwrap.fill(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
    if label is None or not _has_colours():
        return line
    word = label[2]
    coloured = click.style(
        f"{word}:", fg="red" if word in _RED else "yellow", bold=word in _RED or None
    )
    return f"{label[1]}{coloured}{line[label.end() :]}"


def _has_colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(text: str) -> None:
    """Print a message to stderr; only results go to stdout."""
    echo(text, err=True)


def console(**options: Any) -> Console:
    """Return a console of Rich that escapes the control characters of others."""
    from rich.console import Console
    from rich.segment import Segment

    class Escaping(Console):
        def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
            for text, style, control in super().render(*arguments, **options):
                yield Segment(text if control else printable(text), style, control)

    return Escaping(**options)


def spinner(text: str) -> AbstractContextManager[object]:
    """Show a spinner on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        from contextlib import nullcontext

        return nullcontext()
    return console(stderr=True).status(text)
