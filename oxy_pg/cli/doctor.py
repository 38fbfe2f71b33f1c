"""The command ``doctor``: checks of the server and its environment."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from oxy_pg import paths
from oxy_pg.cli.display import terminal
from oxy_pg.cli.display.terminal import echo
from oxy_pg.cli.options import external_url, json_option, state_dir, state_dir_option

if TYPE_CHECKING:
    from oxy_pg.server.doctor.check import Check

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@json_option
@state_dir_option
def doctor(as_json: bool) -> None:  # noqa: FBT001
    """
    Check for what may keep the server from running, and say what to do.

    Starts nothing and changes nothing. Exit code 1: a check failed.
    """
    from oxy_pg.server.doctor import examine as doctors
    from oxy_pg.server.doctor.check import FAIL

    found = doctors.examine(paths.StateDir(paths.state_dir(state_dir())), external_url())
    if as_json:
        echo(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
    elif sys.stdout.isatty():
        _print_table(found)
    else:
        for check in found:
            echo(f"{check.verdict}  {check.name}: {check.finding}")
            if check.remedy:
                echo(f"      {check.remedy}")
    if any(check.verdict == FAIL for check in found):
        click.get_current_context().exit(1)


def _print_table(found: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for check in found:
        finding = Text(check.finding)
        if check.remedy:
            finding.append(f"\n{check.remedy}", style="italic")
        table.add_row(Text(check.verdict, style=_COLOURS[check.verdict]), check.name, finding)
    terminal.console().print(table)
