"""The commands ``backup`` and ``restore``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

import oxy_pg
from oxy_pg.cli.display import progress
from oxy_pg.cli.display.terminal import echo, note, say
from oxy_pg.cli.options import (
    json_option,
    search_path_option,
    state_dir,
    state_dir_option,
    timeout_option,
)
from oxy_pg.cli.signals import ended_by_sigterm
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from oxy_pg.cli.display.lines import Display
    from oxy_pg.transfer.backup.backup import BackupReport
    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.backup.restore import RestoreReport

_BACKUP = {
    "connect": ("connecting", ""),
    "count": ("counting rows", "tables"),
    "dump": ("dumping", "rows"),
    "checksum": ("computing SHA-256", "bytes"),
    "check": ("checking the backup", ""),
}
_RESTORE = {
    "checksum": ("checking SHA-256", "bytes"),
    "connect": ("connecting", ""),
    "load": ("loading", "bytes"),
    "verify": ("verifying row counts", "tables"),
    "analyze": ("collecting statistics", ""),
    "swap": ("swapping databases", ""),
}


_deep_option = click.option(
    "--deep",
    is_flag=True,
    help="With --check: also restore it into a temporary server, and count the rows there.",
)


@click.command()
@click.argument("path", type=click.Path())
@click.option(
    "--from",
    "url",
    metavar="URL",
    help="The database.  [default: OXY_DATABASE_URL, else the embedded server's]",
)
@click.option("-d", "--database", metavar="NAME", help="On the embedded server.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Delete older backups of this database in that directory; keep N.",
)
@click.option("--plain", is_flag=True, help="SQL, as .sql.gz, instead of pg_dump's format.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option(
    "-n",
    "--schema",
    "schemas",
    multiple=True,
    metavar="NAME",
    help="Back up only this schema, without large objects; may be repeated.",
)
@click.option(
    "-N",
    "--exclude-schema",
    "exclude_schemas",
    multiple=True,
    metavar="NAME",
    help="Leave out this schema, such as a provider's; may be repeated.",
)
@click.option("--check", is_flag=True, help="Check afterwards whether it is intact.")
@_deep_option
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@timeout_option
@state_dir_option
def backup(
    *,
    path: str,
    url: str | None,
    database: str | None,
    keep: int | None,
    plain: bool,
    force: bool,
    schemas: tuple[str, ...],
    exclude_schemas: tuple[str, ...],
    check: bool,
    deep: bool,
    quiet: bool,
    as_json: bool,
    timeout: float,
) -> None:
    """
    Back up a database to PATH, while it is in use.

    PATH is a new file, or a directory, in which each backup gets a name of its
    own. The file appears complete or not at all. Its path is printed.
    """
    _needs_check(check=check, deep=deep)
    with ended_by_sigterm(), progress.of_steps(_BACKUP, quiet=quiet) as display:
        report = oxy_pg.backup(
            path,
            url,
            state_dir=state_dir(),
            database=database,
            keep=keep,
            plain=plain,
            force=force,
            schemas=schemas or None,
            exclude_schemas=exclude_schemas,
            check=check,
            deep=deep,
            on_progress=display.show,
            timeout=timeout,
        )
    for warning in report.warnings:
        note(f"warning: {warning}")
    if as_json:
        echo(report.to_json())
        return
    if not quiet:
        note(_made(report))
    echo(report.path)


def _needs_check(*, check: bool, deep: bool) -> None:
    if deep and not check:
        raise click.UsageError("--deep is for --check.")


def _made(report: BackupReport) -> str:
    found = report.manifest
    made = (
        f"Backed up {found.database!r} (PostgreSQL {found.server_version}): "
        f"{many(found.rows, 'row')} of {many(len(found.tables), 'table')}, "
        f"{found.size / 1e6:,.1f} MB, in {report.seconds:.1f} s."
    )
    return "\n".join([made, *(f"Deleted {path}" for path in report.deleted)])


@click.command()
@click.argument("path", type=click.Path())
@click.option(
    "--to",
    "url",
    metavar="URL",
    help="The database.  [default: OXY_DATABASE_URL, else the embedded server's]",
)
@click.option(
    "-d", "--database", metavar="NAME", help="On the embedded server.  [default: the same name]"
)
@click.option(
    "--check", is_flag=True, help="Only list its contents and check whether it is intact."
)
@_deep_option
@click.option("--yes", is_flag=True, help="Do not ask before a database is replaced.")
@click.option("--keep-old", is_flag=True, help="Keep the replaced database under another name.")
@click.option(
    "--in-place",
    is_flag=True,
    help="Restore into the database itself, which must be empty; needs no CREATEDB.",
)
@click.option(
    "--clean",
    is_flag=True,
    help="With --in-place: first drop the objects that the backup contains.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", help="Number of parallel jobs of pg_restore."
)
@search_path_option
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@timeout_option
@state_dir_option
def restore(
    *,
    path: str,
    url: str | None,
    database: str | None,
    check: bool,
    deep: bool,
    yes: bool,
    keep_old: bool,
    in_place: bool,
    clean: bool,
    jobs: int | None,
    search_path: str | None,
    quiet: bool,
    as_json: bool,
    timeout: float,
) -> None:
    """
    Restore the backup PATH; the database is always either the old one or the new one.

    The backup is checked and restored into a new database alongside, and row
    counts are verified, before it replaces the old one. The role that restores
    it owns everything; privileges are not restored.
    """
    _needs_check(check=check, deep=deep)
    with ended_by_sigterm(), progress.of_steps(_RESTORE, quiet=quiet) as display:
        if check:
            found = oxy_pg.check_backup(
                path, deep=deep, search_path=search_path, on_progress=display.show
            )
        else:
            report = oxy_pg.restore(
                path,
                url,
                state_dir=state_dir(),
                database=database,
                keep_old=keep_old,
                in_place=in_place,
                clean=clean,
                jobs=jobs,
                search_path=search_path,
                confirm=None if yes else lambda question: _confirmed(question, display),
                on_progress=display.show,
                timeout=timeout,
            )
    if check:
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
        echo(text if as_json else _contents(path, found, deep=deep))
        return
    if as_json:
        echo(report.to_json())
    else:
        say(_restored(report))


def _confirmed(question: str, display: Display) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Not a terminal; pass --yes to do it.")
    with display.paused():
        return click.confirm(f"{question}\nRestore it?", err=True, abort=True)


def _restored(report: RestoreReport) -> str:
    found = report.manifest
    restored = (
        f"Restored {report.database!r} as of {found.time}: {many(found.rows, 'row')} of "
        f"{many(len(found.tables), 'table')}, in {report.seconds:.1f} s; row counts verified."
    )
    lines = [restored]
    if report.kept_as:
        lines.append(f"The old database is kept as {report.kept_as}.")
    lines += [f"Removed {name}, left by an interrupted restore." for name in report.removed]
    lines += [f"warning: {warning}" for warning in report.warnings]
    return "\n".join(lines)


def _contents(path: str, found: Manifest, *, deep: bool) -> str:
    width = max([len(str(table)) for table in found.tables], default=0)
    extensions = ", ".join(f"{one.name} {one.version}" for one in found.extensions)
    return "\n".join(
        [
            f"{path} is intact: SHA-256 {found.sha256}",
            *["  restored    into a temporary server; row counts verified"] * deep,
            f"  database    {found.database}, as of {found.time}",
            f"  PostgreSQL  {found.server_version}, dumped by pg_dump {found.tool_version}",
            f"  size        {many(found.size, 'byte')}; the database had {found.database_bytes:,}",
            f"  extensions  {extensions or 'none'}",
            *(f"  {table!s:<{width}}  {table.rows:>12,} rows" for table in found.tables),
        ]
    )
