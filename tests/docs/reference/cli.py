"""docs/reference/cli.md: `--help` of every command, as it is printed at 80 columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from oxy_pg.cli.commands import cli
from oxy_pg.cli.group import EXAMPLES
from tests.docs.reference.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 80

HEAD = """# Command line

What `oxy-pg COMMAND --help` prints, for every command. `python -m oxy_pg` is the same program.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done; 1 an error, with one
clear message; 2 wrong usage; 3 from `status` if the server does not run; 130 interrupted. What
`--json` prints is in [JSON output](json.md), and which environment variables are read in
[Configuration](configuration.md).
"""


def commands(
    group: click.Group = cli, before: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its name, subcommands as "snapshot list"."""
    for name, one in group.commands.items():
        if one.hidden:
            continue
        words = (*before, name)
        yield " ".join(words), one
        if isinstance(one, click.Group):
            yield from commands(one, words)


def help_of(name: str, one: click.Command) -> str:
    """Return what its ``--help`` prints."""
    context = click.Context(
        one,
        info_name=f"oxy-pg {name}".strip(),
        terminal_width=COLUMNS,
        max_content_width=COLUMNS,
        help_option_names=["-h", "--help"],
    )
    return click.unstyle(one.get_help(context)).rstrip()


def has_example(text: str) -> bool:
    """Whether a help text has examples of its own."""
    return re.search(r"^ *Examples?:", text, re.MULTILINE) is not None


def page() -> str:
    """Return the page."""
    found = list(commands())
    rows = [
        (f"[`oxy-pg {name}`](#oxy-pg-{name.replace(' ', '-')})", one.get_short_help_str(200))
        for name, one in found
    ]
    parts = [HEAD, table(("command", "what it does"), rows)]
    parts.append(f"## oxy-pg\n\n```text\n{help_of('', cli)}\n```\n")
    parts += [_section(name, one) for name, one in found]
    return "\n".join(parts)


def _section(name: str, one: click.Command) -> str:
    text = help_of(name, one)
    section = f"## oxy-pg {name}\n\n```text\n{text}\n```\n"
    example = None if has_example(text) else EXAMPLES.get(name)
    return section if example is None else f"{section}\nExample:\n\n```sh\n{example}\n```\n"
