"""All commands under their headings, and what becomes of an error."""

from __future__ import annotations

import io
import os
import sys

import click

from oxy_pg import url
from oxy_pg.cli import binaries, databases, doctor, programs, removal, server, shell, status, tune
from oxy_pg.cli.data import backup, export, migrate, snapshot, transfer
from oxy_pg.cli.display.terminal import echo, note
from oxy_pg.cli.group import Sections
from oxy_pg.cli.options import state_dir_option
from oxy_pg.errors import OxyPgError
from oxy_pg.facts import __version__


@click.group(
    cls=Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="oxy-pg")
@state_dir_option
def cli() -> None:
    """
    A real PostgreSQL 16 with the convenience of SQLite.

    With OXY_DATABASE_URL set, the commands work on that server instead of the
    embedded one, where they can.
    """


cli.add_sections(
    {
        "Run": programs.COMMANDS,
        "The server": (
            *server.COMMANDS,
            status.status,
            databases.databases,
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
        "Help": shell.COMMANDS,
    }
)


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
        # A URL in the wrong place is repeated without its password.
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        click.UsageError(url.mask_text(error.format_message()), ctx).show()
        sys.exit(error.exit_code)
    except OxyPgError as error:
        note(f"oxy-pg: {url.mask_text(str(error))}")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has gone (`oxy-pg logs | head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
