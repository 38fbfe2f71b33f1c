"""
The command ``oxy-pg``; the only code that prints.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 a
typed error (one message, no traceback), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from typing import ClassVar

import click

from oxy_pg.cli import (
    backup,
    binaries,
    doctor,
    export,
    migrate,
    programs,
    removal,
    server,
    snapshot,
    status,
    transfer,
    tune,
)
from oxy_pg.cli.display.terminal import echo
from oxy_pg.cli.options import state_dir_option
from oxy_pg.errors import OxyPgError
from oxy_pg.facts import __version__


class Sections(click.Group):
    """A group whose help lists the commands by purpose."""

    sections: ClassVar[dict[str, tuple[click.Command, ...]]] = {
        "Run": programs.COMMANDS,
        "The server": (
            *server.COMMANDS,
            status.status,
            doctor.doctor,
            tune.tune,
            binaries.binaries,
            transfer.upgrade,
            *removal.COMMANDS,
        ),
        "Data": (
            snapshot.snapshot,
            snapshot.snapshots,
            snapshot.rewind,
            migrate.migrate_sqlite,
            export.export_sqlite,
            backup.backup,
            backup.restore,
            transfer.push,
            transfer.pull,
        ),
    }

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a table for each section."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (command.name or "", command.get_short_help_str(limit))
                        for command in commands
                    ]
                )


@click.group(
    cls=Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="oxy-pg")
@state_dir_option
def cli() -> None:
    """
    A real PostgreSQL 16 with the convenience of SQLite.

    With OXY_DATABASE_URL set, the commands work on that server instead of the
    embedded one, where they can.
    """


for commands in Sections.sections.values():
    for command in commands:
        cli.add_command(command)


def main() -> None:
    """Run the command line, and turn an error into a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a "?" for a "→" that the encoding lacks
    try:
        code = cli.main(prog_name="oxy-pg", standalone_mode=False)
    except click.exceptions.Abort:
        echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OxyPgError as error:
        click.secho("oxy-pg: ", fg="red", bold=True, nl=False, err=True)
        echo(str(error), err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has gone (`oxy-pg logs | head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
