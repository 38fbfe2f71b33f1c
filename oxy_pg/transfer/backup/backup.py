"""Back a database up: pg_dump into a file, and what is in it counted in the same snapshot."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg

from oxy_pg.errors import BackupExists, ConfigurationError, ToolFailed, TransferRefused
from oxy_pg.facts import __version__
from oxy_pg.report import Progress, Report
from oxy_pg.system.deadline import Patience
from oxy_pg.transfer import database, tools
from oxy_pg.transfer.backup import backup_files, manifest
from oxy_pg.url import mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.contents import TableRows

_PAUSE = 0.1  # seconds between two looks at how far pg_dump is
# pg_dump's default, 6, takes three times as long as 1, for a file that is 13 % smaller.
_LEVEL = 1

# Rows that pg_dump has copied of the table that it is at.
_COPIED = """
    SELECT coalesce(sum(tuples_processed), 0), pg_stat_clear_snapshot()
    FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid)
    WHERE application_name = %s
"""
_FACTS = """
    SELECT current_database(), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           pg_encoding_to_char(encoding), datcollate, datctype, pg_database_size(oid)
    FROM pg_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class BackupReport(Report):
    """A backup that was made: where it is, what is in it, and what had to go for it."""

    path: str
    manifest: Manifest
    seconds: float
    deleted: tuple[str, ...] = ()


def backup(
    path: str,
    url: str,
    *,
    keep: int | None = None,
    plain: bool = False,
    force: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> BackupReport:
    """
    Write the database that ``url`` names into a file at ``path``, or in the directory there.

    See ``oxy_pg.backup()``.
    """
    began = time.monotonic()
    if path.endswith("/") and not os.path.isdir(os.path.expanduser(path)):
        raise ConfigurationError(f"There is no directory {path}. Create it, or correct the path.")
    path = os.path.abspath(os.path.expanduser(path))
    into = path if os.path.isdir(path) else None
    _check(path, into, keep=keep, force=force)
    with database.connect(url, Patience(timeout)) as connection:
        work = _Backup(connection, url, "plain" if plain else "custom", on_progress or _ignore)
        try:
            made = work.run(path, into, force=force, rotated=keep is not None)
        except psycopg.Error as error:
            raise database.refused(f"back up {mask(url)}", error) from error
    deleted = backup_files.rotate(into, made[1], keep) if into and keep else []
    work.on_progress(Progress("done", made[1].rows, made[1].rows))
    return BackupReport(*made, time.monotonic() - began, tuple(deleted))


def _ignore(_: Progress) -> None:
    pass


def _check(path: str, into: str | None, *, keep: int | None, force: bool) -> None:
    if keep is not None and (keep < 1 or into is None):
        raise ConfigurationError(
            f"keep is {keep!r}; it is a number of backups, 1 or more, and needs a directory that "
            f"they are all in, which {path} is not."
            if into is None
            else f"keep is {keep!r}; it is the number of backups to keep, 1 or more."
        )
    if into is None and os.path.lexists(path) and not force:
        raise BackupExists(path)


class _Backup:
    """One backup on its way."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        url: str,
        kind: Literal["custom", "plain"],
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.connection = connection
        self.url = url
        self.kind = kind
        self.on_progress = on_progress
        ssl = tools.needs_ssl(url) or database.is_encrypted(connection)
        self.tools = tools.find(database.major(connection), ssl=ssl)
        self.application = f"oxy_pg backup {os.getpid()}-{id(self)}"
        self.table = ""
        self.finished: list[str] = []

    def run(
        self, path: str, into: str | None, *, force: bool, rotated: bool
    ) -> tuple[str, Manifest]:
        """Dump into a file aside and give it its name; return path and manifest."""
        # The snapshot lives as long as this transaction.
        self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = self._look()
        if rotated and not found.cluster:
            raise TransferRefused(
                "tell this server's backups from those of others",
                "the role may not call pg_control_system().",
                "Do without keep (--keep), and delete old backups by another rule.",
            )
        directory = into or os.path.dirname(path)
        label = backup_files.stem(found.database) if into else os.path.basename(path)
        with backup_files.written_aside(directory, label) as part:
            self._dump(part, found.tables)
            self.connection.rollback()
            size = os.path.getsize(part)
            found = dataclasses.replace(found, size=size, sha256=self._digest(part, size))
            backup_files.finish(part, found)
            return self._put(part, path, into, found, force=force), found

    def _look(self) -> Manifest:
        """Return all that is known before the dump."""
        connection = self.connection
        facts = connection.execute(_FACTS).fetchone()
        assert facts is not None
        name, at, encoding, collate, ctype, size = facts
        counted = database.count(
            connection, lambda done, of, table: self.on_progress(Progress("count", done, of, table))
        )
        return manifest.Manifest(
            kind=self.kind,
            database=name,
            time=at,
            server_version=database.version(connection),
            tool_version=self.tools.version,
            oxy_pg_version=__version__,
            cluster=database.cluster(connection),
            encoding=encoding,
            collate=collate,
            ctype=ctype,
            database_bytes=size,
            size=0,
            sha256="",
            tables=counted,
            large_objects=database.large_objects(connection),
            extensions=database.extensions(connection),
        )

    def _dump(self, part: str, tables: tuple[TableRows, ...]) -> None:
        snapshot = database.one(self.connection, "SELECT pg_export_snapshot()")
        # Into the file itself and not through a pipe: pg_dump then notes where each table begins,
        # which is what lets pg_restore read them in any order, and with several jobs.
        arguments = [f"--file={part}", f"--format={self.kind}", f"--compress={_LEVEL}"]
        arguments += ["--verbose", f"--snapshot={snapshot}"]
        if self.kind == "plain":
            arguments += ["--no-owner", "--no-privileges"]
        rows = {str(table): table.rows for table in tables}
        try:
            with tools.Running(
                self.tools,
                "pg_dump",
                arguments,
                url=self.url,
                application=self.application,
                on_line=self._listen,
            ) as running:
                while running.works_on(_PAUSE):
                    self._show(part, rows)
        except ToolFailed as error:
            raise TransferRefused(
                f"back up {mask(self.url)}", errors_in(error.output), _remedy(error.output)
            ) from error

    def _listen(self, line: str) -> None:
        _, found, table = line.partition("dumping contents of table ")
        if found:
            self.finished += [self.table] if self.table else []
            self.table = table.replace('"', "")

    def _show(self, part: str, rows: dict[str, int]) -> None:
        """Say how many rows pg_dump has copied."""
        done = sum(rows.get(table, 0) for table in self.finished)
        done += int(database.one(self.connection, _COPIED, self.application))
        total = sum(rows.values())
        written = os.path.getsize(part)
        self.on_progress(Progress("dump", min(done, total), total, self.table, bytes=written))

    def _digest(self, part: str, size: int) -> str:
        return manifest.digest(
            part, size, lambda done, of: self.on_progress(Progress("check", done, of))
        )

    def _put(self, part: str, path: str, into: str | None, found: Manifest, *, force: bool) -> str:
        if into is None:
            backup_files.put(part, path, force=force)
            return path
        for number in range(1, 1000):
            path = os.path.join(
                into, backup_files.name(found.database, found.time, found.kind, number)
            )
            try:
                backup_files.put(part, path, force=False)
            except BackupExists:  # another one of the same second
                continue
            return path
        raise BackupExists(path)


def errors_in(output: str) -> str:
    """Return what a program says that is no progress."""
    lines = output.splitlines()
    first = next((n for n, line in enumerate(lines) if "error:" in line or "fatal:" in line), 0)
    return "\n".join(lines[first:])


def _remedy(output: str) -> str:
    if "No space left" in output:
        return "Make room there, or choose another place. Nothing of it was left behind."
    if "permission denied" in output or "row-level security" in output:
        return "The role has to be able to read everything: use the owner's, or a superuser's URL."
    return "Nothing of it was left behind. Run it again once the cause is gone."
