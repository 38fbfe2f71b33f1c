"""All commands under their headings, and what becomes of an error."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
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


def _masked(text: str) -> str:
    """Return a message without a password that stood on the command line, wherever that was."""
    for word in sys.argv[1:]:
        # As far as the last "@", as a path that was made of it may have it, too.
        found = re.match(r"(?:[\w+.-]+:/+)?[^:/@\s]*:(.+)@", word, re.DOTALL)
        if found:
            text = text.replace(f":{found[1]}@", f":{url.HIDDEN}@")
    return url.mask_text(text)


def main() -> None:
    """Run the command line, and turn an error into a message and an exit code."""
    if sys.stdout is None:  # closed (>&-): nobody wants to see it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end
    try:
        code = _run()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        # A pipe's reader that has gone (`oxy-pg logs | head`) is not an error.
        is_gone = isinstance(error, BrokenPipeError)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not is_gone:
            note(f"oxy-pg: The result could not be written: {error.strerror or error}.")
        code = 0 if is_gone else 1
    sys.exit(code)


def _run() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a "?" for a "→" that the encoding lacks
    # Without a handler Python prints what psycopg logs when a connection breaks; the error that is
    # raised says the same, and what to do.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    try:
        code = cli.main(prog_name="oxy-pg", standalone_mode=False)
    except click.exceptions.Abort:
        echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        # A URL in the wrong place is repeated without its password.
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        click.UsageError(_masked(error.format_message()), ctx).show()
        return error.exit_code
    except OxyPgError as error:
        note(f"oxy-pg: {_masked(str(error))}")
        return 1
    return code if isinstance(code, int) else 0
