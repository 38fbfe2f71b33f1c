"""The command that moves a SQLite database in."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import click

import oxy_pg
from oxy_pg import paths
from oxy_pg.cli.options import state_dir, state_dir_option
from oxy_pg.errors import ConfigurationError, OxyPgError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from oxy_pg.cli.bars import Bars
    from oxy_pg.migrate.progress import Progress
    from oxy_pg.migrate.report import MigrationReport


def _names(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _casts(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    casts = {}
    for value in values:
        name, found, spelled = value.partition("=")
        if not found or "." not in name or not spelled:
            raise click.BadParameter(f"{value!r} is not of the form table.column=type")
        casts[name.strip()] = spelled.strip()
    return casts


def _report_file(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and os.path.splitext(value)[1].lower() not in {".json", ".html", ".htm"}:
        raise click.BadParameter("the file's name must end in .json or .html")
    if value is not None and not os.path.isdir(os.path.dirname(value) or "."):
        raise click.BadParameter(f"there is no directory {os.path.dirname(value)}")
    return value


_POLICY = click.Choice(["error", "null", "skip"])


@click.command("migrate-sqlite")
@click.option("--from", "source", metavar="PATH|URL", help="SQLite file or sqlite:// URL.")
@click.option("--to", "target", metavar="URL", help="PostgreSQL URL; else the embedded server.")
@click.option("--dry-run", is_flag=True, help="Show the plan and every problem; write nothing.")
@click.option("--tables", multiple=True, callback=_names, help="Only these (comma, * matches).")
@click.option("--exclude", multiple=True, callback=_names, help="All but these.")
@click.option(
    "--schema",
    type=click.Choice(["auto", "create", "existing"]),
    default="auto",
    show_default=True,
    help="Create the tables, or fill those that are there; auto decides for each.",
)
@click.option(
    "--cast", "casts", multiple=True, callback=_casts, metavar="TABLE.COLUMN=TYPE[:OPTION]"
)
@click.option("--on-bad-value", type=_POLICY, default="error", show_default=True)
@click.option("--on-orphan", type=_POLICY, default="error", show_default=True)
@click.option(
    "--if-not-empty",
    type=click.Choice(["error", "append", "truncate"]),
    default="error",
    show_default=True,
)
@click.option("--prepare", metavar="CMD", help="Run this first, with OXY_DATABASE_URL set.")
@click.option(
    "--verify",
    type=click.Choice(["counts", "full", "none"]),
    default="counts",
    is_flag=False,
    flag_value="counts",
    show_default=True,
    help="What to compare before the commit; --verify alone means counts.",
)
@click.option("--backup", metavar="PATH", help="Copy the SQLite database here first.")
@click.option("--report", "report_file", metavar="FILE.json|FILE.html", callback=_report_file)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--jobs", type=click.IntRange(1, 16), default=2, show_default=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds to wait.",
)
@state_dir_option
def migrate_sqlite(
    *,
    source: str | None,
    target: str | None,
    backup: str | None,
    report_file: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Move a SQLite database into PostgreSQL: all of it, or nothing."""
    # What psycopg logs when a connection breaks, our own message says better.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    path = source or f"{paths.state_dir(state_dir())}/db.sqlite"
    if backup and not options["dry_run"]:
        from oxy_pg.migrate.source import back_up, path_of

        back_up(path_of(path), backup, options["timeout"])
    try:
        with _display(quiet=quiet) as display:
            report = _migrate(path, target, display, options)
    except OxyPgError as error:
        if report_file:
            _write_error(error, report_file)
        raise
    if report_file:
        is_json = report_file.lower().endswith(".json")
        _write(report_file, report.to_json() if is_json else report.to_html())
    click.echo(report.to_json() if as_json else summary(report))
    return 1 if report.dry_run and report.problems else 0


def _migrate(
    path: str, target: str | None, display: Silent | Bars, options: dict[str, Any]
) -> MigrationReport:
    options["tables"] = options["tables"] or None
    chosen = state_dir()
    if chosen is not None:  # it names the embedded server, as with every other command
        os.environ["OXY_STATE_DIR"] = chosen
    return oxy_pg.migrate_sqlite(path, target, on_progress=display.show, **options)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(
            f"The report could not be written to {path}: {error.strerror}. The migration itself "
            "is done."
        ) from error


def _write_error(error: OxyPgError, path: str) -> None:
    """Leave the whole list of problems, of which the message shows the first ones."""
    if not path.lower().endswith(".json"):
        return
    import json

    listed = getattr(error, "values", None) or getattr(error, "orphans", None) or ()
    rows = [item._asdict() if hasattr(item, "_asdict") else str(item) for item in listed]
    found = {"error": type(error).__name__, "message": str(error), "problems": rows}
    try:
        _write(path, json.dumps(found, indent=2, ensure_ascii=False))
    except ConfigurationError as failed:
        click.echo(f"Error: {failed}", err=True)


# --- what is shown on the way ---------------------------------------------------


class Silent:
    """No progress."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, progress: Progress) -> None:
        """Show nothing."""


class Lines(Silent):
    """A line for each table, for pipes and logs."""

    def show(self, progress: Progress) -> None:
        """Print the table that is done."""
        if progress.phase == "table":
            click.echo(
                f"[{progress.number}/{progress.tables}] {progress.table}: "
                f"{progress.of_rows:,} rows → {progress.rows:,} ✓",
                err=True,
            )


def _display(*, quiet: bool) -> Silent | Bars:
    if quiet:
        return Silent()
    if not sys.stderr.isatty():
        return Lines()
    from oxy_pg.cli.bars import Bars

    return Bars()


# --- the result -------------------------------------------------------------------


def summary(report: MigrationReport) -> str:
    """Say what happened, for a person."""
    lines = [f"Plan for {report.source} → {report.target}" if report.dry_run else ""]
    lines = [line for line in lines if line]
    width = max([len(t.name) for t in report.tables], default=0)
    for table in report.tables:
        verb = "create" if table.action == "create" else "fill  "
        if report.dry_run:
            lines.append(f"  {verb} {table.name:<{width}}  {table.rows_read:>12,} rows")
            lines += [f"         {c.name}: {c.declared or '-'} → {c.type}" for c in table.columns]
        else:
            lines.append(
                f"  {table.name:<{width}}  {table.rows_read:>12,} → {table.rows_written:>12,}"
            )
    lines += [f"  left behind: {s.kind} {s.name}: {s.reason}" for s in report.skipped]
    lines += [f"  changed: {c.table}.{c.column}: {c.count:,} {c.what}" for c in report.changes]
    lines += [f"  warning: {warning}" for warning in report.warnings]
    lines += [f"  problem: {p.kind}: {p.message}" for p in report.problems]
    lines.append(_last_line(report))
    return "\n".join(lines)


def _last_line(report: MigrationReport) -> str:
    if report.dry_run:
        count = len(report.problems)
        problems = _count(count, "problem") if count else "no problems"
        return f"Dry run: nothing was written; {problems} found."
    checked = {
        "counts": "row counts compared",
        "full": f"{report.verification.values:,} values compared",
        "none": "not verified",
    }[report.verification.mode]
    return (
        f"Moved {_count(report.rows, 'row')} of {_count(len(report.tables), 'table')} in "
        f"{report.seconds:.1f} s; "
        f"{checked}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
