"""The commands ``push``, ``pull`` and ``upgrade``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

import oxy_pg
from oxy_pg.cli.display import progress
from oxy_pg.cli.display.terminal import echo, say
from oxy_pg.cli.options import (
    json_option,
    search_path_option,
    state_dir,
    state_dir_option,
    timeout_option,
    with_password,
)
from oxy_pg.cli.signals import ended_by_sigterm
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oxy_pg.transfer.report import MovedTable, TransferReport, UpgradeReport

_COPY = {
    "connect": ("connecting", ""),
    "plan": ("analysing both sides", ""),
    "count": ("counting rows", "tables"),
    "schema": ("reading the schema", ""),
    "load": ("copying rows", "bytes"),
    "index": ("building indexes and keys", ""),
    "verify": ("verifying row counts", "tables"),
    "analyze": ("collecting statistics", ""),
    "swap": ("swapping databases", ""),
}
_UPGRADE = {
    "start": ("starting the old version", ""),
    **{phase: _COPY[phase] for phase in ("plan", "schema", "load", "index", "analyze")},
    "restart": ("starting the new version", ""),
    "verify": _COPY["verify"],
    "swap": ("swapping clusters", ""),
}


def _copy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that push and pull share."""
    options = (
        click.option(
            "-d",
            "--database",
            metavar="NAME",
            help="The embedded server's database (default: the project's, or oxy).",
        ),
        click.option(
            "-n",
            "--schema",
            "schemas",
            multiple=True,
            metavar="NAME",
            help="Copy only this schema; may be repeated.",
        ),
        click.option(
            "--if-not-empty",
            type=click.Choice(["error", "replace"]),
            default="error",
            show_default=True,
            help="When the target already has objects: stop, or replace them.",
        ),
        click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True),
        search_path_option,
        click.option(
            "--dry-run",
            is_flag=True,
            help="Show what would be done, and every problem; write nothing.",
        ),
        click.option("--quiet", is_flag=True, help="No progress."),
        json_option,
        timeout_option,
        state_dir_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.option(
    "--to",
    "url",
    metavar="URL",
    required=True,
    callback=with_password,
    help="The database to push to; its password may stand in PGPASSWORD or ~/.pgpass, or is asked "
    "for on a terminal.",
)
@click.option(
    "--swap",
    is_flag=True,
    help="Copy into a new database alongside, then swap them: faster, but needs CREATEDB.",
)
@_copy_options
def push(
    *,
    url: str,
    schemas: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Copy the embedded database to another PostgreSQL server: all of it, or nothing.

    An ordinary role is enough. It is one transaction; row counts are verified
    before the commit.
    """
    with ended_by_sigterm(), progress.of_steps(_COPY, quiet=quiet) as display:
        report = oxy_pg.push(
            url,
            state_dir=state_dir(),
            schemas=schemas or None,
            on_progress=display.show,
            **options,
        )
    _print(report, as_json=as_json)
    if not report.dry_run:
        where = shlex.quote(report.target)
        hint = "  # with its password" if ":***@" in report.target else ""
        echo(
            f"To switch permanently, set:\n  export OXY_DATABASE_URL={where}{hint}",
            err=True,
        )
    return 1 if report.problems else 0


@click.command()
@click.option(
    "--from",
    "url",
    metavar="URL",
    required=True,
    callback=with_password,
    help="The database to pull from; its password as with push.",
)
@_copy_options
def pull(
    *,
    url: str,
    schemas: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Copy a database from another PostgreSQL server to the embedded one: all of it, or nothing.

    Nothing is written to the source; the role must be able to read everything.
    """
    with ended_by_sigterm(), progress.of_steps(_COPY, quiet=quiet) as display:
        report = oxy_pg.pull(
            url,
            state_dir=state_dir(),
            schemas=schemas or None,
            on_progress=display.show,
            **options,
        )
    _print(report, as_json=as_json)
    return 1 if report.problems else 0


def _print(report: TransferReport, *, as_json: bool) -> None:
    if as_json:
        echo(report.to_json())
    else:
        say(_summary(report))


def _summary(report: TransferReport) -> str:
    """Return the report as text: what was done, or would be."""
    lines = [
        f"{report.source} (PostgreSQL {report.source_version})",
        f"→ {report.target} (PostgreSQL {report.target_version})",
        *_listed(report.tables),
    ]
    if report.extensions:
        lines.append(f"  extensions: {', '.join(report.extensions)}")
    if report.replaced:
        verb = "would be replaced" if report.dry_run else "replaced"
        lines.append(f"  {verb}:")
        lines += _listed(report.replaced)
    lines += [f"  skipped: {what}" for what in report.skipped]
    lines += [f"  warning: {warning}" for warning in report.warnings]
    lines += [f"  problem: {problem}" for problem in report.problems]
    if report.dry_run:
        problems = many(len(report.problems), "problem") if report.problems else "no problems"
        lines.append(f"Dry run: nothing was written; {problems} found.")
    else:
        verb = "Pushed" if report.verb == "push" else "Pulled"
        lines.append(
            f"{verb} {many(report.rows, 'row')} of {many(len(report.tables), 'table')} in "
            f"{report.seconds:.1f} s; row counts verified."
        )
    return "\n".join(lines)


def _listed(tables: tuple[MovedTable, ...]) -> list[str]:
    width = max([len(str(table)) for table in tables], default=0)
    return [
        f"  {table!s:<{width}}  {table.rows:>12,} {'row ' if table.rows == 1 else 'rows'}"
        f"  {table.bytes / 1e6:>10,.1f} MB"
        for table in tables
    ]


@click.command()
@click.option(
    "--old-bin-dir",
    metavar="DIR",
    help="The bin directory of the old version, if it is not found automatically.",
)
@click.option("--discard-old", is_flag=True, help="Delete the old clusters that were kept.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True)
@search_path_option
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@timeout_option
@state_dir_option
def upgrade(*, quiet: bool, as_json: bool, **options: Any) -> None:
    """
    Upgrade a data directory of another major version of PostgreSQL to this one.

    The new cluster is built alongside the old one, and row counts are verified
    before they are swapped; the old one is kept until --discard-old.
    """
    with ended_by_sigterm(), progress.of_steps(_UPGRADE, quiet=quiet) as display:
        report = oxy_pg.upgrade(state_dir(), on_progress=display.show, **options)
    echo(report.to_json() if as_json else _upgraded(report))


def _upgraded(report: UpgradeReport) -> str:
    lines = [f"Deleted {path}." for path in report.discarded]
    if not report.done:
        return "\n".join(
            [
                *lines,
                f"{report.data_dir} needs no upgrade.",
            ]
        )
    for database in report.databases:
        lines.append(f"{database.name} (owner {database.owner})")
        lines += _listed(database.tables)
    lines += [f"warning: skipped: {what}" for what in report.skipped]
    rows = sum(database.rows for database in report.databases)
    lines.append(
        f"Moved {many(rows, 'row')} from PostgreSQL {report.old_version} to {report.new_version} "
        f"in {report.seconds:.1f} s; row counts verified."
    )
    if report.kept is not None:
        lines.append(
            f"The old cluster is kept as {report.kept}. `oxy-pg upgrade --discard-old` deletes it."
        )
    return "\n".join(lines)
