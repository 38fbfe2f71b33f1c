"""The group of all commands: its help, its near misses, and an example for each command."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "run": "oxy-pg run -- uvicorn app:app --reload",
    "url": 'export OXY_DATABASE_URL="$(oxy-pg url)"',
    "env": 'eval "$(oxy-pg env)"',
    "psql": "oxy-pg psql -- -c 'SELECT version()'",
    "start": "oxy-pg start",
    "stop": "oxy-pg stop",
    "restart": "oxy-pg restart",
    "password": "oxy-pg password --reset",
    "logs": "oxy-pg logs --follow",
    "status": "oxy-pg status --watch",
    "databases": "oxy-pg databases --json",
    "doctor": "oxy-pg doctor",
    "tune": "oxy-pg tune --apply --restart",
    "binaries": "oxy-pg binaries",
    "binaries add": "oxy-pg binaries add /usr/lib/postgresql/16/bin",
    "binaries remove": "oxy-pg binaries remove postgresql-16.10",
    "upgrade": "oxy-pg upgrade",
    "reset": "oxy-pg reset --yes",
    "uninstall": "oxy-pg uninstall",
    "snapshot": "oxy-pg snapshot before-migration",
    "snapshots": "oxy-pg snapshots",
    "rewind": "oxy-pg rewind before-migration",
    "export-sqlite": "oxy-pg export-sqlite back.db --like app.db",
    "backup": "oxy-pg backup backups/ --keep 7",
    "restore": "oxy-pg restore backups/oxy-20260131T235959Z.dump",
    "push": "oxy-pg push --to postgresql://user@db.example.com/shop --dry-run",
    "pull": "oxy-pg pull --from postgresql://user@db.example.com/shop",
    "help": "oxy-pg help run",
    "completion": "oxy-pg completion install",
}


class Sections(click.Group):
    """A group whose help lists the commands by purpose."""

    sections: Mapping[str, tuple[click.Command, ...]]

    def add_sections(self, sections: Mapping[str, tuple[click.Command, ...]]) -> None:
        """Add commands under headings, each with its example."""
        self.sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)
                _add_example(command, command.name or "")

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a table for each section."""
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(one.name or "", _sentence(one)) for one in commands])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the error for one that does not exist names the near ones."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = near_ones(args[0], self.commands)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _add_example(command: click.Command, name: str) -> None:
    if command.epilog is None:  # it has no examples of its own
        # \b: as it is, without a paragraph's line breaks.
        command.epilog = f"\b\nExample:\n  {EXAMPLES[name]}"
    if isinstance(command, click.Group):
        for below, one in command.commands.items():
            _add_example(one, f"{name} {below}")


def _sentence(command: click.Command) -> str:
    """Return the first sentence of a command's help, whole."""
    return command.get_short_help_str(limit=1_000)


def near_ones(word: str, known: Mapping[str, object]) -> list[str]:
    """Return the names that may have been meant: those it is a part of, or like."""
    parts = [name for name in known if len(word) > 2 and word in name]
    return parts[:3] or difflib.get_close_matches(word, known, n=2, cutoff=0.6)
