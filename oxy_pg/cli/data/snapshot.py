"""The commands ``snapshot``, ``snapshots`` and ``rewind``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from oxy_pg import _defaults, project
from oxy_pg.cli.display import figures, progress
from oxy_pg.cli.display.terminal import echo, note, say
from oxy_pg.cli.options import json_option, need_embedded, state_dir, state_dir_option
from oxy_pg.cli.signals import ended_by_sigterm

if TYPE_CHECKING:
    from oxy_pg import Server
    from oxy_pg.transfer.snapshots import Snapshot

# Seen where it takes more than half a second.
_STEPS = {"copy": ("Copying", "bytes")}
_database_option = click.option(
    "-d",
    "--database",
    metavar="NAME",
    callback=lambda _context, _parameter, value: _defaults.database(
        value, project.of_working_directory()
    ),
    help="The database (default: OXY_PG_DATABASE, the project's, or oxy).",
)


def _server(command: str) -> Server:
    import oxy_pg

    need_embedded(command)
    return oxy_pg.Server(state_dir())


@click.command()
@click.argument("name", required=False)
@_database_option
@click.option("--force", is_flag=True, help="End the sessions that are at work in the database.")
@click.option("--delete", is_flag=True, help="Delete the snapshot NAME.")
@json_option
@state_dir_option
def snapshot(*, name: str | None, database: str, force: bool, delete: bool, as_json: bool) -> None:
    """
    Make a snapshot of a database, to which `rewind` goes back.

    NAME is by default the git branch and the time. Its name is printed.
    """
    server = _server("snapshot")
    if delete:
        if name is None:
            raise click.UsageError("Name the snapshot to delete; `oxy-pg snapshots` lists them.")
        server.delete_snapshot(name, database=database)
        note(f"Deleted the snapshot {name!r} of {database!r}.")
        return
    with ended_by_sigterm(), progress.of_steps(_STEPS, quiet=False) as display:
        made = server.snapshot(name, database=database, force=force, on_progress=display.show)
    if as_json:
        echo(made.to_json())
        return
    note(f"Made a snapshot of {database!r}: {figures.size(made.size)}.")
    echo(made.name)


@click.command()
@_database_option
@click.option("--all", "every", is_flag=True, help="Of all databases.")
@json_option
@state_dir_option
def snapshots(*, database: str, every: bool, as_json: bool) -> None:
    """List the snapshots of a database, with size and age."""
    found = _server("snapshots").snapshots(None if every else database)
    if as_json:
        echo(json.dumps([one.to_dict() for one in found], indent=2, ensure_ascii=False))
        return
    if not found:
        note(f"No snapshots{'' if every else f' of {database!r}'}. `oxy-pg snapshot` makes one.")
        return
    for line in _table(found, every=every):
        echo(line)


def _table(found: tuple[Snapshot, ...], *, every: bool) -> list[str]:
    rows = [
        [
            one.name,
            *([one.database] if every else []),
            figures.size(one.size),
            f"{figures.duration(one.age)} ago",
        ]
        for one in found
    ]
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        "  ".join(
            # The names to the left, the figures to the right.
            cell.ljust(width) if number < len(row) - 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


@click.command()
@click.argument("name")
@_database_option
@click.option(
    "--discard", is_flag=True, help="Drop what the database is now, instead of keeping it."
)
@json_option
@state_dir_option
def rewind(*, name: str, database: str, discard: bool, as_json: bool) -> None:
    """
    Put a database back to what it was in the snapshot NAME.

    Its sessions are ended. The snapshot stays; what the database was until now
    is the snapshot `before-rewind`, so that `oxy-pg rewind before-rewind` undoes it.
    """
    server = _server("rewind")
    with ended_by_sigterm(), progress.of_steps(_STEPS, quiet=False) as display:
        keep = not discard
        found = server.rewind(name, database=database, keep=keep, on_progress=display.show)
    if as_json:
        echo(found.to_json())
        return
    kept = "" if discard else " What it was before is the snapshot 'before-rewind'."
    say(f"{database!r} is as it was at {found.time}.{kept}")
