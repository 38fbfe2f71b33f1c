"""Back up a database: pg_dump into a file, and its rows counted in the same snapshot."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import BackupExists, ToolFailed, TransferRefused
from oxy_pg.facts import __version__
from oxy_pg.installations import major_of
from oxy_pg.report import Progress, Report
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import database, refusals
from oxy_pg.transfer.backup import backup_files, backup_plan, manifest, plain_script
from oxy_pg.transfer.parts import functions, inventory
from oxy_pg.transfer.running import Running
from oxy_pg.url import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oxy_pg.transfer.backup.backup_plan import BackupPlan
    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.contents import TableRows

_PAUSE = 0.1  # seconds between two looks at how far pg_dump is
# pg_dump's default, 6, takes three times as long as 1, for a file that is 13 % smaller.
_LEVEL = 1

# Rows that pg_dump has copied so far of its current table.
_COPIED = """
    SELECT coalesce(sum(tuples_processed), 0), pg_stat_clear_snapshot()
    FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid)
    WHERE application_name = %s
"""
_MOMENT = """
    SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           pg_database_size(current_database())
"""


@dataclass(frozen=True, slots=True)
class BackupReport(Report):
    """
    A backup that was made.

    ``path`` is its file, ``manifest`` what it holds, ``seconds`` how long it took.
    ``deleted`` are the older backups that were deleted (``keep``). ``warnings`` say
    what may not be meant: that the database has no tables, or an extension where
    it cannot be restored.
    """

    path: str
    manifest: Manifest
    seconds: float
    deleted: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def backup(
    path: str,
    url: str,
    *,
    keep: int | None = None,
    plain: bool = False,
    force: bool = False,
    schemas: Sequence[str] | None = None,
    exclude_schemas: Sequence[str] = (),
    verify: Callable[[str], object] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
    server: str | None = None,
) -> BackupReport:
    """
    Write the database that ``url`` names into a file at ``path``, or in the directory there.

    See ``oxy_pg.backup()``. ``verify`` gets the path of the new backup, before older
    ones are deleted. ``server`` is what a warning calls the server; else its URL.
    """
    deadline = Deadline(timeout)
    began = time.monotonic()
    show = on_progress or _ignore
    where = backup_plan.destination(path, keep=keep, force=force)
    show(Progress("connect"))
    with database.connect(url, deadline) as connection:
        try:
            # The snapshot lives as long as this transaction.
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            plan = backup_plan.plan(
                connection,
                url,
                where,
                "plain" if plain else "custom",
                schemas=schemas,
                exclude_schemas=exclude_schemas,
            )
            warnings = functions.unqualified(connection, plan.schemas)
            warnings += database.misplaced(
                connection, database.extensions(connection, plan.schemas)
            )
            made, found = _Backup(plan, connection, show).run()
        except psycopg.Error as error:
            raise database.refused(f"back up {mask(url)}", error) from error
    if verify is not None:
        show(Progress("check"))
        verify(made)
    deleted = backup_files.rotate(where.directory, found, keep) if keep else []
    show(Progress("done", found.rows, found.rows))
    warnings += _warnings(found, server or mask(url))
    return BackupReport(made, found, time.monotonic() - began, tuple(deleted), warnings)


def _warnings(found: Manifest, server: str) -> tuple[str, ...]:
    if found.tables:
        return ()
    text = (
        f"The database {found.database!r} has no tables, so the backup has none. Check that it is "
        f"the one you meant: it is on {server}."
    )
    return (text,)


def _ignore(_: Progress) -> None:
    pass


class _Backup:
    """Carries a plan out; the connection is in the transaction whose snapshot is dumped."""

    def __init__(
        self,
        plan: BackupPlan,
        connection: psycopg.Connection[Any],
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.on_progress = on_progress
        self.application = f"oxy_pg backup {os.getpid()}-{id(self)}"
        self.table = ""
        self.finished: list[str] = []
        self.copied = 0  # rows that were reported

    def run(self) -> tuple[str, Manifest]:
        """Dump into a temporary file and give it its name; return path and manifest."""
        where = self.plan.destination
        found = self._count()
        stem = backup_files.stem(self.plan.database)
        label = stem if where.is_directory else os.path.basename(where.path)
        with backup_files.written_aside(where.directory, label) as part:
            self._dump(part, found.tables)
            self.connection.rollback()
            size = os.path.getsize(part)
            found = dataclasses.replace(found, size=size, sha256=self._digest(part, size))
            backup_files.finish(part, found)
            return self._put(part, found), found

    def _count(self) -> Manifest:
        """Return the manifest, as far as it is known before the dump."""
        plan, connection = self.plan, self.connection
        row = connection.execute(_MOMENT).fetchone()
        assert row is not None
        at, size = row
        counted = database.count(
            connection,
            lambda done, of, table: self.on_progress(Progress("count", done, of, table)),
            plan.schemas,
        )
        return manifest.Manifest(
            kind=plan.kind,
            database=plan.database,
            time=at,
            server_version=plan.server_version,
            tool_version=plan.programs.version,
            oxy_pg_version=__version__,
            cluster=plan.cluster,
            encoding=plan.encoding,
            collate=plan.collate,
            ctype=plan.ctype,
            database_bytes=size,
            size=0,
            sha256="",
            tables=counted,
            large_objects=database.large_objects(connection) if plan.has_large_objects else 0,
            extensions=inventory.with_uses(
                connection, database.extensions(connection, plan.schemas)
            ),
            schemas=plan.schemas or (),
        )

    def _dump(self, part: str, tables: tuple[TableRows, ...]) -> None:
        snapshot = database.one(self.connection, "SELECT pg_export_snapshot()")
        # An archive into the file itself and not through a pipe: pg_dump then notes where each
        # table begins, which is what lets pg_restore read them in any order, with several jobs.
        if self.plan.kind == "plain":
            arguments = ["--format=plain", "--no-owner", "--no-privileges"]
        else:
            arguments = [f"--file={part}", "--format=custom", f"--compress={_LEVEL}"]
        arguments += ["--verbose", f"--snapshot={snapshot}", *self.plan.selection]
        rows = {str(table): table.rows for table in tables}
        try:
            with Running(
                self.plan.programs,
                "pg_dump",
                arguments,
                url=self.plan.url,
                stdout=subprocess.PIPE if self.plan.kind == "plain" else subprocess.DEVNULL,
                application=self.application,
                on_line=self._listen,
            ) as running:
                if self.plan.kind == "plain":
                    major = major_of(self.plan.server_version)
                    plain_script.write(running.stdout, part, major, lambda: self._show(part, rows))
                while running.is_running_after(_PAUSE):
                    self._show(part, rows)
        except ToolFailed as error:
            reason = errors_in(error.output)
            raise TransferRefused(self.plan.doing, reason, _remedy(reason)) from error
        except OSError as error:
            reason = f"{part} cannot be written: {error.strerror}"
            raise TransferRefused(self.plan.doing, reason, _remedy(reason)) from error

    def _listen(self, line: str) -> None:
        _, found, table = line.partition("dumping contents of table ")
        if found:
            self.finished += [self.table] if self.table else []
            self.table = table.replace('"', "")

    def _show(self, part: str, rows: dict[str, int]) -> None:
        """Report how many rows pg_dump has copied."""
        done = sum(rows.get(table, 0) for table in self.finished)
        done += int(database.one(self.connection, _COPIED, self.application))
        # A table that has just been copied is counted in neither for a moment.
        done = self.copied = max(done, self.copied)
        total = sum(rows.values())
        written = os.path.getsize(part)
        self.on_progress(Progress("dump", min(done, total), total, self.table, bytes=written))

    def _digest(self, part: str, size: int) -> str:
        return manifest.digest(
            part, size, lambda done, of: self.on_progress(Progress("checksum", done, of))
        )

    def _put(self, part: str, found: Manifest) -> str:
        """Give the file its name, and return its path; raises BackupExists."""
        where = self.plan.destination
        if not where.is_directory:
            backup_files.put(part, where.path, force=where.force)
            return where.path
        for number in range(1, 1000):
            name = backup_files.name(found.database, found.time, found.kind, number)
            path = os.path.join(where.path, name)
            try:
                backup_files.put(part, path, force=False)
            except BackupExists:  # another one of the same second
                continue
            return path
        raise BackupExists(path)


def errors_in(output: str) -> str:
    """Return a program's errors, without the progress messages before them."""
    lines = output.splitlines()
    first = next((n for n, line in enumerate(lines) if "error:" in line or "fatal:" in line), 0)
    return "\n".join(lines[first:])


def _remedy(reason: str) -> str:
    if "No space left" in reason:
        return "Make room there, or choose another place. No part of it was left behind."
    known = refusals.remedy(reason)
    if known is None and "permission denied" in reason:
        known = "The role has to be able to read everything: use the owner's, or a superuser's URL."
    return f"No part of it was left behind. {known or 'Correct the cause, and run it again.'}"
