"""The commands that take a database elsewhere and back, or to a new version: push pull upgrade."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

import oxy_pg
from oxy_pg.cli.display import steps
from oxy_pg.cli.options import (
    json_option,
    state_dir,
    state_dir_option,
    timeout_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oxy_pg.transfer.report import MovedTable, TransferReport, UpgradeReport

_PASSAGE = {
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
    **{phase: _PASSAGE[phase] for phase in ("plan", "schema", "load", "index", "analyze")},
    "restart": ("starting the new version", ""),
    "verify": _PASSAGE["verify"],
    "swap": ("swapping clusters", ""),
}


def _passage_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what push and pull have in common."""
    options = (
        click.option(
            "-d",
            "--database",
            metavar="NAME",
            help="The embedded server's database (default: the project's, or oxy).",
        ),
        click.option(
            "-n", "--schema", "schemas", multiple=True, metavar="NAME", help="Only this schema."
        ),
        click.option(
            "--if-not-empty",
            type=click.Choice(["error", "replace"]),
            default="error",
            show_default=True,
            help="What to do with what is in the target already.",
        ),
        click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True),
        click.option("--dry-run", is_flag=True, help="Show all that would happen; write nothing."),
        click.option("--quiet", is_flag=True, help="No progress."),
        json_option,
        timeout_option,
        state_dir_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.option("--to", "url", metavar="URL", required=True, help="The database to push to.")
@click.option(
    "--swap",
    is_flag=True,
    help="Into a new database beside, which then takes the name: faster, and needs CREATEDB.",
)
@_passage_options
def push(
    *,
    url: str,
    schemas: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Copy the embedded database to a PostgreSQL elsewhere: all of it, or nothing.

    An ordinary role will do. It is one transaction, and every table's rows are
    counted on both sides before the commit.
    """
    with steps.ended_by_sigterm(), steps.display(_PASSAGE, quiet=quiet) as display:
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
        click.echo(
            f"From now on use it, in production for good:\n  export OXY_DATABASE_URL={where}{hint}",
            err=True,
        )
    return 1 if report.problems else 0


@click.command()
@click.option("--from", "url", metavar="URL", required=True, help="The database to pull from.")
@_passage_options
def pull(
    *,
    url: str,
    schemas: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Copy a database from a PostgreSQL elsewhere into the embedded server: all of it, or nothing.

    Nothing is written there, and the role has to be able to read everything.
    """
    with steps.ended_by_sigterm(), steps.display(_PASSAGE, quiet=quiet) as display:
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
    click.echo(report.to_json() if as_json else _summary(report))


def _summary(report: TransferReport) -> str:
    """Say what happened, or would, for a person."""
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
        problems = f"{len(report.problems):,} problems" if report.problems else "no problems"
        lines.append(f"Dry run: nothing was written; {problems} found.")
    else:
        verb = "Pushed" if report.verb == "push" else "Pulled"
        lines.append(
            f"{verb} {report.rows:,} rows of {len(report.tables):,} tables in "
            f"{report.seconds:.1f} s; row counts compared."
        )
    return "\n".join(lines)


def _listed(tables: tuple[MovedTable, ...]) -> list[str]:
    width = max([len(str(table)) for table in tables], default=0)
    return [
        f"  {table!s:<{width}}  {table.rows:>12,} rows  {table.bytes / 1e6:>10,.1f} MB"
        for table in tables
    ]


@click.command()
@click.option(
    "--old-bin-dir",
    metavar="DIR",
    help="The bin directory of the old version, where it is not found by itself.",
)
@click.option("--discard-old", is_flag=True, help="Delete the old clusters that were kept.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@timeout_option
@state_dir_option
def upgrade(*, quiet: bool, as_json: bool, **options: Any) -> None:
    """
    Move a data directory of another major version of PostgreSQL to this one.

    Both stand side by side until the new one is complete and its rows are
    counted; the old one is kept until --discard-old.
    """
    with steps.ended_by_sigterm(), steps.display(_UPGRADE, quiet=quiet) as display:
        report = oxy_pg.upgrade(state_dir(), on_progress=display.show, **options)
    click.echo(report.to_json() if as_json else _upgraded(report))


def _upgraded(report: UpgradeReport) -> str:
    lines = [f"Deleted {path}." for path in report.discarded]
    if not report.done:
        return "\n".join([*lines, f"There is nothing to upgrade in {report.data_dir}."])
    for database in report.databases:
        lines.append(f"{database.name} (owner {database.owner})")
        lines += _listed(database.tables)
    lines += [f"warning: skipped: {what}" for what in report.skipped]
    rows = sum(database.rows for database in report.databases)
    lines.append(
        f"Moved {rows:,} rows from PostgreSQL {report.old_version} to {report.new_version} in "
        f"{report.seconds:.1f} s; row counts compared."
    )
    if report.kept is not None:
        lines.append(
            f"The old cluster is kept as {report.kept}. `oxy-pg upgrade --discard-old` deletes it."
        )
    return "\n".join(lines)
