"""The commands that delete: reset uninstall."""

from __future__ import annotations

import os
import sys

import click

from oxy_pg import paths
from oxy_pg.cli.display import figures
from oxy_pg.cli.display.terminal import note, spinner
from oxy_pg.cli.options import need_embedded, state_dir, state_dir_option
from oxy_pg.errors import ServerError
from oxy_pg.server.server import Server

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Not a terminal; pass --yes to delete it.")
    if not yes:
        click.confirm(question, abort=True, err=True)


def _note_databases(state: paths.StateDir) -> None:
    """Say what is in the cluster, and in those that upgrades have kept."""
    for one in Server(state.root).status().databases:
        note(f"  {one.name}: {figures.size(one.size_bytes)}")
    for path in state.cluster.kept():
        note(f"Also {path}, which an upgrade kept.")


@click.command()
@yes_option
@state_dir_option
def reset(yes: bool) -> None:  # noqa: FBT001
    """Delete the data directory with all its databases."""
    from oxy_pg.server.cluster import directory

    need_embedded("reset")
    state = paths.StateDir(paths.state_dir(state_dir()))
    directory.check_access(state)
    if not os.path.isdir(state.root) or state.strangers() or not state.own():
        note("Nothing was deleted: there is no data directory.")
        return
    if os.path.lexists(state.data_dir):
        note(f"This deletes {state.data_dir} with all its databases.")
    else:
        note(f"This deletes what is left of a server in {state.root}.")
    _note_databases(state)
    _confirm("Delete it?", yes=yes)
    with spinner("Deleting …"):
        Server(state.root).destroy()
    note("Deleted. The next start creates a new, empty one.")


@click.command()
@yes_option
@state_dir_option
def uninstall(yes: bool) -> None:  # noqa: FBT001
    """
    Delete everything that oxy-pg keeps: databases, cache, added PostgreSQLs.

    Lists it first, with sizes. The databases are those of one state directory:
    call it for each other one with --state-dir.
    """
    from oxy_pg.server import uninstall as removal

    need_embedded("uninstall")
    state = paths.StateDir(paths.state_dir(state_dir()))
    found = removal.survey(state)
    if not found:
        note("Nothing was deleted: oxy-pg keeps nothing here.")
        return
    note("This deletes:")
    for one in found:
        note(f"  {figures.size(one.size):>10}  {one.path} ({one.what})")
    note(f"  {figures.size(sum(one.size for one in found)):>10}  in total")
    if any(one.what == removal.STATE for one in found):
        note(f"The databases in {state.root}:")
        _note_databases(state)
    _confirm("Delete all of it?", yes=yes)
    with spinner("Deleting …"):
        try:
            staying = removal.remove(state, found)
        except OSError as error:
            raise ServerError(
                f"Not everything could be deleted: {error}. Remove the cause, and call it again."
            ) from error
    for one in staying:
        note(f"{one.path} stays: a server of another state directory runs it.")
    note("Deleted. `pip uninstall oxy-pg` removes the program itself.")


COMMANDS = (reset, uninstall)
