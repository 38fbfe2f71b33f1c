"""Messages and spinners on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from oxy_pg.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.segment import Segment


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print text, with the control characters of others escaped."""
    click.echo(printable(text), nl=nl, err=err)


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
