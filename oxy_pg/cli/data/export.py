"""The command ``export-sqlite``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

import oxy_pg
from oxy_pg.cli.display import progress
from oxy_pg.cli.display.terminal import echo, note
from oxy_pg.cli.options import json_option, state_dir, state_dir_option, timeout_option
from oxy_pg.cli.signals import ended_by_sigterm
from oxy_pg.report import grouped
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.export.report import ExportReport

_STEPS = {
    "connect": ("connecting", ""),
    "plan": ("analysing schema", ""),
    "count": ("checking values", "tables"),
    "dump": ("writing", "rows"),
    "index": ("creating indexes", ""),
    "verify": ("comparing", "rows"),
}


@click.command("export-sqlite")
@click.argument("path", metavar="FILE", type=click.Path())
@click.option(
    "--from",
    "url",
    metavar="URL",
    help="The database.  [default: OXY_DATABASE_URL, else the embedded server's]",
)
@click.option("-d", "--database", metavar="NAME", help="On the embedded server.")
@click.option(
    "--like",
    metavar="FILE",
    type=click.Path(),
    help="A SQLite file whose schema and forms of values the new one gets: the one that was "
    "migrated.",
)
@click.option("--tables", multiple=True, metavar="PATTERN", help="These tables alone (repeat it).")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these tables (repeat it).")
@click.option("--schema", "schemas", multiple=True, metavar="NAME", help="Of this schema alone.")
@click.option(
    "--on-bad-value",
    type=click.Choice(["error", "null"]),
    default="error",
    show_default=True,
    help="What to do with values that SQLite cannot hold.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing; list what SQLite cannot hold.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@timeout_option
@state_dir_option
def export_sqlite(
    *,
    path: str,
    url: str | None,
    database: str | None,
    like: str | None,
    tables: tuple[str, ...],
    exclude: tuple[str, ...],
    schemas: tuple[str, ...],
    on_bad_value: Literal["error", "null"],
    dry_run: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
    timeout: float,
) -> None:
    """
    Export a database to the SQLite file FILE, while it is in use.

    The way back from `migrate-sqlite`. All tables are read as of one moment.
    What SQLite cannot hold is listed first; every value is compared before the
    file gets its name.
    """
    with ended_by_sigterm(), progress.of_steps(_STEPS, quiet=quiet) as display:
        report = oxy_pg.export_sqlite(
            path,
            url,
            state_dir=state_dir(),
            database=database,
            tables=tables or None,
            exclude=exclude,
            schemas=schemas or None,
            like=like,
            on_bad_value=on_bad_value,
            force=force,
            dry_run=dry_run,
            on_progress=display.show,
            timeout=timeout,
        )
    if as_json:
        echo(report.to_json())
        return
    if dry_run:
        for line in (*_plan(report), *_left_out(report)):
            echo(line)
        return
    if not quiet:
        for line in (*_left_out(report), _done(report)):
            note(line)
    echo(report.path)


def _plan(report: ExportReport) -> Iterator[str]:
    yield f"Plan for {report.source} → {report.path}"
    width = max([len(table.target) for table in report.tables], default=0)
    for table in report.tables:
        rows = many(table.rows, "row")
        yield f"  {table.target:<{width}}  {rows:>17}"
        for column in table.columns:
            yield f"    {column.name}: {column.type} → {column.declared or '-'}"
    bad = many(len(report.bad_values), "problem") if report.bad_values else "no problems"
    yield f"Dry run: nothing was written; {bad} found."


def _left_out(report: ExportReport) -> Iterator[str]:
    for one in report.skipped:
        yield f"skipped: {one}"
    what = "problem" if report.dry_run else "stored as NULL"
    for line in grouped(report.bad_values):
        yield f"{what}: {line}"


def _done(report: ExportReport) -> str:
    return (
        f"Exported {many(report.rows, 'row')} of {many(len(report.tables), 'table')}, "
        f"{report.size / 1e6:,.1f} MB, in {report.seconds:.1f} s; "
        f"{many(report.values, 'value')} compared."
    )
