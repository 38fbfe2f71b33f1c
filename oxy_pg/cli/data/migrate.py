"""The command ``migrate-sqlite``."""

from __future__ import annotations

import io
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

import oxy_pg
from oxy_pg import paths
from oxy_pg.cli.display import progress
from oxy_pg.cli.display.terminal import echo
from oxy_pg.cli.options import state_dir, state_dir_option
from oxy_pg.errors import ConfigurationError, OxyPgError

if TYPE_CHECKING:
    from oxy_pg.cli.display.lines import Display
    from oxy_pg.migrate.report.report import MigrationReport


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


def _variables(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for value in values:
        name, found, template = value.partition("=")
        if not found or not name.isidentifier():
            raise click.BadParameter(f"{value!r} is not of the form NAME=VALUE")
        variables[name] = template
    return variables


def _report_file(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and os.path.splitext(value)[1].lower() not in {".json", ".html", ".htm"}:
        raise click.BadParameter("the file's name must end in .json or .html")
    if value is not None and not os.path.isdir(os.path.dirname(value) or "."):
        raise click.BadParameter(f"the directory {os.path.dirname(value)} does not exist")
    return value


def _sql_file(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.lower().endswith(".sql"):
        raise click.BadParameter("the file's name must end in .sql")
    if value is not None and not os.path.isdir(os.path.dirname(value) or "."):
        raise click.BadParameter(f"the directory {os.path.dirname(value)} does not exist")
    return value


_POLICY = click.Choice(["error", "null", "skip"])
_EXAMPLES = """
\b
Examples:
  See what would happen; nothing is written:
    oxy-pg migrate-sqlite --from app.db --dry-run
  Do everything, verify it, and roll it back:
    oxy-pg migrate-sqlite --from app.db --rehearse
  Into the embedded server:
    oxy-pg migrate-sqlite --from app.db
  Into another server, whose tables your own migrations create first:
    oxy-pg migrate-sqlite --from app.db --to postgresql://user:password@host/name \\
        --prepare "alembic upgrade head"
  Again, replacing the rows of an earlier run:
    oxy-pg migrate-sqlite --from app.db --if-not-empty truncate
  With an HTML report:
    oxy-pg migrate-sqlite --from app.db --report report.html
"""


@click.command(
    "migrate-sqlite",
    short_help="Migrate a SQLite database: all of it, or nothing.",
    epilog=_EXAMPLES,
    context_settings={"allow_extra_args": True},
)
@click.pass_context
@click.option(
    "--from",
    "source",
    metavar="PATH|URL",
    help="SQLite file or sqlite:// URL; opened read-only.  [default: db.sqlite in the state dir]",
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    help="postgresql:// URL.  [default: OXY_DATABASE_URL, else the embedded server]",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and every problem; write nothing.")
@click.option(
    "--rehearse", is_flag=True, help="Do everything, verify it, and roll it back: nothing is kept."
)
@click.option(
    "--tables",
    multiple=True,
    callback=_names,
    metavar="NAMES",
    help="Only these tables, separated by commas; * is a wildcard.",
)
@click.option(
    "--exclude", multiple=True, callback=_names, metavar="NAMES", help="All tables except these."
)
@click.option(
    "--schema",
    type=click.Choice(["auto", "create", "existing"]),
    default="auto",
    show_default=True,
    help="Create the tables, or fill existing ones; auto decides for each table.",
)
@click.option(
    "--prepare",
    metavar="CMD",
    help="Run this command first, to create the tables; it gets the URL in OXY_DATABASE_URL, "
    "DATABASE_URL and PGHOST, PGUSER, …. A dry run tries it in a temporary database; a rehearsal "
    "runs there altogether.",
)
@click.option(
    "--set",
    "prepare_env",
    multiple=True,
    callback=_variables,
    metavar="NAME=VALUE",
    help="A variable for --prepare, with the URL filled in: "
    "--set APP_DB={url:psycopg2}; {host} {port} {user} {password} {database} are its parts.",
)
@click.option(
    "--seeds",
    type=click.Choice(["keep", "replace", "error"]),
    help="For rows that --prepare puts into empty tables: keep them, let the source's rows "
    "replace them where it has any, or stop.  [default: replace; keep with --if-not-empty append]",
)
@click.option(
    "--on-version-mismatch",
    type=click.Choice(["error", "accept"]),
    default="error",
    show_default=True,
    help="When --prepare brings the target to another version than the source's: stop, or go on.",
)
@click.option(
    "--cast",
    "casts",
    multiple=True,
    callback=_casts,
    metavar="TABLE.COLUMN=TYPE[:OPTION]",
    help="Another type for a column, or another interpretation of its values: "
    "users.seen=timestamptz:ms, jobs.took=interval:us, notes.body=text:strip_nul. "
    "May be repeated.",
)
@click.option(
    "--on-bad-value",
    type=_POLICY,
    default="error",
    show_default=True,
    help="For a value that its column cannot hold: stop, store NULL, or skip the row.",
)
@click.option(
    "--on-orphan",
    type=_POLICY,
    default="error",
    show_default=True,
    help="For a row whose parent is missing: stop, set the reference to NULL, or skip the row.",
)
@click.option(
    "--on-change",
    type=click.Choice(["stop", "accept"]),
    default="stop",
    show_default=True,
    help="For a value that PostgreSQL would round, cut or read otherwise: stop, or accept it.",
)
@click.option(
    "--integers",
    type=click.Choice(["bigint", "auto"]),
    default="bigint",
    show_default=True,
    help="Type of INTEGER columns in new tables; auto: integer where all values fit well.",
)
@click.option(
    "--if-not-empty",
    type=click.Choice(["error", "append", "truncate"]),
    default="error",
    show_default=True,
    help="When the target's tables already have rows: stop, add to them, or delete them first.",
)
@click.option(
    "--verify",
    type=click.Choice(["counts", "full", "none"]),
    default="full",
    is_flag=False,
    flag_value="full",
    show_default=True,
    help="Compare everything, row counts alone, or nothing, before the commit; "
    "--verify alone means full.",
)
@click.option(
    "--backup",
    metavar="PATH",
    help="First copy the SQLite database to this file, rows in its -wal file included.",
)
@click.option(
    "--report",
    "report_file",
    metavar="FILE.json|FILE.html",
    callback=_report_file,
    help="Write the report to this file, as JSON or as an HTML page.",
)
@click.option(
    "--left-behind",
    metavar="FILE.sql",
    callback=_sql_file,
    help="Write what was left behind (views, triggers, defaults, …) to this file, each with the "
    "reason, its SQL in SQLite, and a suggestion for PostgreSQL.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="How many processes read a large SQLite file.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the server, or for a lock on the SQLite file.",
)
@state_dir_option
def migrate_sqlite(
    ctx: click.Context,
    *,
    source: str | None,
    target: str | None,
    backup: str | None,
    report_file: str | None,
    left_behind: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """
    Migrate a SQLite database to PostgreSQL: all of it, or nothing.

    The SQLite file is only read. What is written is one transaction: interrupted
    at any moment, also by Ctrl-C, it leaves the target unchanged.
    """
    if ctx.args:
        raise click.UsageError(_without_option(ctx.args[0]), ctx)
    path = source or f"{paths.state_dir(state_dir())}/db.sqlite"
    if backup and not (options["dry_run"] or options["rehearse"]):
        from oxy_pg.migrate.source.database import back_up, path_of

        back_up(path_of(path), backup, options["timeout"])
    display = progress.of_tables(quiet=quiet)
    try:
        with display:
            report = _migrate(path, target, display, options)
    except KeyboardInterrupt:
        echo(_interrupted(display.phase), err=True)
        raise
    except OxyPgError as error:
        if report_file:
            _write_error(error, report_file)
        raise
    if report_file:
        is_json = report_file.lower().endswith(".json")
        _write(report_file, report.to_json() if is_json else report.to_html())
    if left_behind:
        _write(left_behind, report.to_left_behind())
    if as_json:
        _print_json(report.to_json())
    else:
        from oxy_pg.cli.display import summary

        summary.show(report)
    return 1 if report.dry_run and report.problems else 0


def _without_option(word: str) -> str:
    if word.startswith(("postgres:", "postgresql:", "postgresql+")):
        return "The URL of the server goes with --to."
    return f"The SQLite file goes with --from: oxy-pg migrate-sqlite --from {shlex.quote(word)}"


def _migrate(
    path: str, target: str | None, display: Display, options: dict[str, Any]
) -> MigrationReport:
    options["tables"] = options["tables"] or None
    place = state_dir() if target is None else None
    return oxy_pg.migrate_sqlite(path, target, state_dir=place, on_progress=display.show, **options)


def _interrupted(phase: str) -> str:
    """Say what an interrupted migration has left in the target."""
    if phase in {"verify", "done"}:  # the commit follows without a phase of its own
        return "Stopped while it verified or committed: --dry-run tells if the rows are there."
    return "Stopped before the commit: the target is as it was."


def _print_json(text: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # JSON is UTF-8, in any locale; bytes of a path that are none are written as \\udcff.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    echo(text)


def _write(path: str, text: str) -> None:
    try:
        # As in _print_json(): what json.loads() reads, os.fsencode() makes the same bytes again.
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(
            f"The report could not be written to {path}: {error.strerror}. The migration itself "
            "is done."
        ) from error


def _write_error(error: OxyPgError, path: str) -> None:
    """Write all problems to a JSON file; the message shows only the first ones."""
    if not path.lower().endswith(".json"):
        return
    import json

    kinds = ("values", "orphans", "changes", "columns")
    listed = next((found for kind in kinds if (found := getattr(error, kind, None))), ())
    rows = [item._asdict() if hasattr(item, "_asdict") else str(item) for item in listed]
    found = {"error": type(error).__name__, "message": str(error), "problems": rows}
    try:
        _write(path, json.dumps(found, indent=2, ensure_ascii=False))
    except ConfigurationError as failed:
        echo(f"Error: {failed}", err=True)
