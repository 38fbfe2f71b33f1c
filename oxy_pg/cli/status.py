"""The command ``status``: the server's state and activity."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from oxy_pg import _defaults, paths
from oxy_pg.cli import quick
from oxy_pg.cli.display import terminal
from oxy_pg.cli.display.sections import STATE_COLOURS, plain_lines, rows, section_table, sections
from oxy_pg.cli.display.terminal import echo
from oxy_pg.cli.options import (
    external_url,
    json_option,
    state_dir,
    state_dir_option,
    timeout_option,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from oxy_pg.server.monitor.embedded import EmbeddedObserver
    from oxy_pg.server.monitor.external import ExternalObserver
    from oxy_pg.server.monitor.status import Observation

_STOPPED = 3  # the exit code of pg_ctl status, too
_LONGEST_WAIT = 10.0  # seconds for an external server that does not answer


@click.command()
@json_option
@click.option(
    "--watch",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help="Update it every 2 seconds, or every N seconds; q or Ctrl-C ends it. "
    "With --json: print a line of JSON each time.",
)
@click.option(
    "--slow",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Show queries that take at least this long (default: all in the embedded server's log; "
    "1 with pg_stat_statements).",
)
@timeout_option
@state_dir_option
def status(
    as_json: bool,  # noqa: FBT001
    watch: float | None,
    slow: float | None,
    timeout: float,
) -> None:
    """
    Show whether the server runs, and its activity. Starts nothing.

    With OXY_DATABASE_URL set it shows that server, as far as its role may see.
    The exit code is 0 if the server runs, and 3 if it does not.
    """
    with _observer(slow, min(timeout, _LONGEST_WAIT)) as observer:
        if watch is not None:
            from oxy_pg.cli.display import watch as screens

            screens.watch(observer, watch, as_json=as_json)
            return
        found = observer.look()
    if as_json:
        echo(quick.status_document(found.to_dict()))
    elif sys.stdout.isatty():
        _print_tables(found)
    else:
        for line in plain_lines(found):
            echo(line)
        for key, value, origin in _defaults.origins():
            echo(f"default {key}: {value} ({origin})")
    if found.status.state in {"stopped", "uninitialized"}:
        click.get_current_context().exit(_STOPPED)


def _observer(slow: float | None, timeout: float) -> EmbeddedObserver | ExternalObserver:
    slow_ms = None if slow is None else slow * 1000
    url = external_url()
    if url is not None:
        from oxy_pg import url as urls
        from oxy_pg.server.monitor.external import ExternalObserver

        return ExternalObserver(urls.plain(url), timeout, slow_ms)
    from oxy_pg.server.monitor.embedded import EmbeddedObserver

    return EmbeddedObserver(paths.StateDir(paths.state_dir(state_dir())), slow_ms)


def _print_tables(found: Observation) -> None:
    console = terminal.console()
    console.print(_facts_table(found))
    for key, value, origin in _defaults.origins():
        console.print(f"default {key}: {value} ({origin})", markup=False, highlight=False)
    if found.activity is not None:
        for section in sections(found.activity):
            if section.rows:
                console.print()
                console.print(section_table(section, len(section.rows), console.width))


def _facts_table(found: Observation) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    colour = STATE_COLOURS.get(found.status.state, "dim")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows(found):
        table.add_row(name, Text(value, style={"state": colour, "problem": "red"}.get(name, "")))
    return table
