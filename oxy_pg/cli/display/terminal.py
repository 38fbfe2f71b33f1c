"""What goes to the terminal and not into a result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def note(text: str) -> None:
    """Print a message; results alone go to stdout."""
    click.echo(text, err=True)


def spinner(text: str) -> AbstractContextManager[object]:
    """Show on a terminal that something is going on; nothing in a pipe."""
    if not sys.stderr.isatty():
        from contextlib import nullcontext

        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)
