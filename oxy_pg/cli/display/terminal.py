"""Messages and spinners on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def note(text: str) -> None:
    """Print a message to stderr; only results go to stdout."""
    click.echo(text, err=True)


def spinner(text: str) -> AbstractContextManager[object]:
    """Show a spinner on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        from contextlib import nullcontext

        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)
