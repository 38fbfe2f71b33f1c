"""Restore a backup: checked first, into a database beside, compared, and then put in place."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
import tempfile
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.errors import (
    BackupDamaged,
    BackupTooNew,
    ConfigurationError,
    CountsDiffer,
    ToolFailed,
    TransferError,
    TransferRefused,
)
from oxy_pg.installations import major_of
from oxy_pg.report import Progress, Report
from oxy_pg.system.deadline import Patience
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.backup import manifest, script
from oxy_pg.url import mask, plain, with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxy_pg.installations import Installation
    from oxy_pg.transfer.backup.manifest import Manifest

_PAUSE = 0.2  # seconds between two looks at how much is there
# What a newer pg_restore sets, and a server before 17 does not know.
_HARMLESS = 'unrecognized configuration parameter "transaction_timeout"'
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<type>COMMENT|EXTENSION|SCHEMA) - (?P<name>.*)")


@dataclass(frozen=True, slots=True)
class RestoreReport(Report):
    """A backup that was restored, and what became of the database before."""

    path: str
    database: str
    url: str  # without its password
    manifest: Manifest
    seconds: float
    replaced: bool  # there was a database of that name
    kept_as: str | None = None  # the name that it has now
    in_place: bool = False
    removed: tuple[str, ...] = ()  # what killed runs had left
    warnings: tuple[str, ...] = ()


def restore(
    path: str,
    url: str,
    *,
    superuser_url: str | None = None,
    keep_old: bool = False,
    in_place: bool = False,
    clean: bool = False,
    jobs: int | None = None,
    confirm: Callable[[str], bool] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> RestoreReport:
    """
    Restore a backup into the database that ``url`` names.

    ``superuser_url`` is any database's of the same server, for what an ordinary
    role may not do: extensions, and ending sessions. See ``oxy_pg.restore()``.
    """
    _check_options(in_place=in_place, clean=clean, keep_old=keep_old, jobs=jobs)
    show = on_progress or _ignore
    path = os.path.abspath(os.path.expanduser(path))
    found = manifest.check(path, lambda done, of: show(Progress("check", done, of)))
    work = _Restore(path, found, url, superuser_url, jobs or min(4, os.cpu_count() or 1), show)
    work.patience = Patience(timeout)
    began = time.monotonic()
    try:
        report = (
            work.in_place(clean=clean, confirm=confirm)
            if in_place
            else work.beside(keep_old=keep_old, confirm=confirm)
        )
    except psycopg.Error as error:
        raise database.refused(work.doing, error) from error
    show(Progress("done", found.rows, found.rows))
    return dataclasses.replace(report, seconds=time.monotonic() - began)


def check(path: str, on_progress: Callable[[Progress], object] | None = None) -> Manifest:
    """Return the manifest of a backup that is whole; see ``oxy_pg.check_backup()``."""
    show = on_progress or _ignore
    path = os.path.abspath(os.path.expanduser(path))
    found = manifest.check(path, lambda done, of: show(Progress("check", done, of)))
    if found.kind == "custom":
        contents(tools.find(major_of(found.tool_version)), path)
    return found


def contents(programs: Installation, path: str) -> list[str]:
    """Return the lines of an archive's table of contents; BackupDamaged if it cannot be read."""
    try:
        return tools.run(programs, "pg_restore", ["--list", path]).decode().splitlines()
    except ToolFailed as error:
        raise BackupDamaged(path, f"pg_restore cannot read it ({error.output})") from error


def _ignore(_: Progress) -> None:
    pass


def _check_options(*, in_place: bool, clean: bool, keep_old: bool, jobs: int | None) -> None:
    if clean and not in_place:
        raise ConfigurationError(
            "clean is for in_place alone: otherwise the backup goes into a new database, which "
            "takes the old one's place."
        )
    if keep_old and in_place:
        raise ConfigurationError("in_place leaves no old database that keep_old could keep.")
    if jobs is not None and jobs < 1:
        raise ConfigurationError(f"jobs is {jobs!r}; it is a number of jobs, 1 or more.")


class _Restore:
    """One restore on its way."""

    def __init__(
        self,
        path: str,
        found: Manifest,
        url: str,
        superuser_url: str | None,
        jobs: int,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.path = path
        self.manifest = found
        self.url = plain(url, "The URL")
        self.superuser_url = superuser_url
        self.jobs = jobs
        self.on_progress = on_progress
        self.patience = Patience(30.0)
        self.name = swap.name_of(url)
        self.server_major = 0
        self.tools: Installation
        self.list: list[str] = []
        self.warnings: list[str] = []

    @property
    def doing(self) -> str:
        """What it is at, for a message."""
        return f"restore {self.path} into the database {self.name!r}"

    # --- beside, and swapped -----------------------------------------------------

    def beside(self, *, keep_old: bool, confirm: Callable[[str], bool] | None) -> RestoreReport:
        """Restore into a new database, which then takes the name."""
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(swap.maintenance(self.url, self.patience))
            other = stack.enter_context(self._other())
            self._look(connection)
            old = swap.look(connection, self.name)
            swap.check_rights(connection, self.name, old)
            if old is not None and self._holds_tables():
                self._ask(confirm, keep_old=keep_old)
            stack.enter_context(swap.alone(connection, self.name))
            removed = swap.sweep(other, self.name)
            new = swap.create(connection, self.name, old)
            try:
                self._fill(new)
                if old is not None:
                    self.warnings += swap.carry_over(other, self.name, new)
                self.on_progress(Progress("swap"))
                away = swap.swap(
                    connection, other, self.name, new, replaces=old is not None, keep=keep_old
                )
            except BaseException as error:
                # A connection that Ctrl-C has cut short in its handshake hangs on the traceback,
                # and PostgreSQL waits for such ones before it drops a database: up to a minute.
                traceback.clear_frames(error.__traceback__)
                self._give_up(other, new)
                raise
            if away is not None and not keep_old:
                self._drop_replaced(other, away)
            return self._report(
                replaced=old is not None,
                kept_as=away if keep_old else None,
                removed=tuple(removed),
            )

    def _report(self, **facts: Any) -> RestoreReport:
        return RestoreReport(
            path=self.path,
            database=self.name,
            url=mask(self.url),
            manifest=self.manifest,
            seconds=0.0,
            warnings=tuple(self.warnings),
            **facts,
        )

    def _other(self) -> psycopg.Connection[Any]:
        """Connect once more: as superuser, if we are one, for whatever others are connected to."""
        if self.superuser_url is not None:
            return database.connect(self.superuser_url, self.patience)
        return swap.maintenance(self.url, self.patience)

    def _holds_tables(self) -> bool:
        """Whether something would be lost with the old database, as far as this role can see."""
        try:
            with database.connect(self.url, self.patience) as connection:
                return bool(database.tables(connection))
        except (TransferError, psycopg.Error):
            return True

    def _ask(self, confirm: Callable[[str], bool] | None, *, keep_old: bool) -> None:
        fate = "is kept under another name" if keep_old else "is dropped"
        question = (
            f"The database {self.name!r} on {mask(self.url)} is there. The backup of "
            f"{self.manifest.database!r} of {self.manifest.time} takes its place, and it {fate}."
        )
        if confirm is not None and not confirm(question):
            raise TransferError(f"{question} That was not confirmed. Nothing was changed.")

    def _give_up(self, connection: psycopg.Connection[Any], new: str) -> None:
        """Drop the unfinished database; where that fails, the next run does it."""
        with contextlib.suppress(psycopg.Error):
            connection.execute("SET statement_timeout = '15s'")
            swap.drop(connection, new)

    def _drop_replaced(self, connection: psycopg.Connection[Any], away: str) -> None:
        try:
            swap.drop(connection, away)
        except psycopg.Error as error:
            self.warnings.append(
                f"the old database is still there as {away}: {error.diag.message_primary or error}"
            )

    # --- what both ways need -------------------------------------------------------

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        """Find out whether this server, and the programs here, can take it; changes nothing."""
        self.server_major = database.major(connection)
        if major_of(self.manifest.server_version) > self.server_major:
            raise BackupTooNew(
                self.path,
                f"PostgreSQL {self.manifest.server_version}",
                f"PostgreSQL {database.version(connection)}",
            )
        ssl = tools.needs_ssl(self.url) or database.is_encrypted(connection)
        self.tools = tools.find(major_of(self.manifest.tool_version), ssl=ssl)
        if self.manifest.kind == "custom":
            self.list = contents(self.tools, self.path)
        available = {
            row[0] for row in connection.execute("SELECT name FROM pg_available_extensions")
        }
        missing = [one for one in self.manifest.extensions if one.name not in available]
        if missing:
            names = ", ".join(f"{one.name} {one.version}" for one in missing)
            raise TransferRefused(
                self.doing,
                f"the server does not have these extensions: {names}.",
                "Install them on the server. Nothing was changed.",
            )

    @property
    def _schemas(self) -> set[str]:
        """The schemas that have to be there before their extensions."""
        return {one.schema for one in self.manifest.extensions} - {"public", "pg_catalog"}

    def _selected(self) -> list[str]:
        """Return the archive's entries without what ``_extensions()`` makes."""
        ours = {one.name for one in self.manifest.extensions}
        return [line for line in self.list if not self._is_made(line, ours)]

    def _is_made(self, line: str, ours: set[str]) -> bool:
        entry = _ENTRY.match(line)
        if entry is None:
            return False
        name = entry["name"].strip()
        if entry["type"] == "SCHEMA":
            return name.rpartition(" ")[0] in self._schemas
        if entry["type"] == "COMMENT":
            # Extensions have their own, and only their owner may set it.
            return name.startswith("EXTENSION ")
        return name in ours

    def _statements(self) -> Iterator[sql.Composed]:
        """Yield what makes the extensions."""
        for schema in sorted(self._schemas):
            yield sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema))
        for one in self.manifest.extensions:
            yield sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {} CASCADE").format(
                sql.Identifier(one.name), sql.Identifier(one.schema)
            )

    def _extensions(self, name: str) -> None:
        """Make the extensions in a database: as superuser where we are one."""
        if not self.manifest.extensions:
            return
        try:
            with database.connect(with_database(self.url, name), self.patience) as connection:
                for statement in self._statements():
                    text = statement.as_string(connection)
                    if self.superuser_url is None or text.startswith("CREATE SCHEMA"):
                        connection.execute(statement)
                        continue
                    there = with_database(self.superuser_url, name)
                    with database.connect(there, self.patience) as superuser:
                        superuser.execute(statement)
        except psycopg.Error as error:
            raise TransferRefused(
                self.doing,
                f"an extension cannot be made: {str(error).strip()}",
                "Let an administrator make it, in template1 or, with --in-place (in_place=True), "
                "in the database itself; or use a role that may.",
            ) from error

    # --- load ----------------------------------------------------------------------

    def _fill(self, new: str) -> None:
        """Restore into an empty database, and compare."""
        self.on_progress(Progress("load", 0, self.manifest.database_bytes))
        self._extensions(new)
        url = with_database(self.url, new)
        try:
            if self.manifest.kind == "custom":
                self._load_archive(url)
            else:
                script.feed(self.tools, url, self._script())
        except ToolFailed as error:
            raise self._failed(error) from error
        # The superuser sees what row-level security hides from the owner.
        there = with_database(self.superuser_url or self.url, new)
        with database.connect(there, self.patience) as connection:
            self._compare(connection)
            try:
                connection.execute("ANALYZE")  # without it the first queries go astray
            except psycopg.Error as error:
                raise database.refused(f"analyze {new!r}", error) from error

    def _load_archive(self, url: str) -> None:
        arguments = ["--no-owner", "--no-privileges", f"--jobs={self.jobs}"]
        if not self.tools.major >= 17 > self.server_major:  # see _forgiving()
            arguments.append("--exit-on-error")
        with (
            self._list_file() as listed,
            database.connect(url, self.patience) as connection,
            _forgiving(self.server_major, self.tools),
            tools.Running(
                self.tools, "pg_restore", [*arguments, f"--use-list={listed}", self.path], url=url
            ) as running,
        ):
            while running.works_on(_PAUSE):
                self._show(connection)

    def _show(self, connection: psycopg.Connection[Any]) -> None:
        size = database.one(connection, "SELECT pg_database_size(current_database())")
        of = max(self.manifest.database_bytes, size)
        self.on_progress(Progress("load", size, of))

    @contextlib.contextmanager
    def _list_file(self) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", prefix="oxy_pg-", suffix=".list") as file:
            file.write("\n".join(self._selected()) + "\n")
            file.flush()
            yield file.name

    def _script(self) -> Iterator[bytes]:
        """Yield the SQL of a plain backup, but for what ``_extensions()`` makes."""

        def read(done: int) -> None:
            self.on_progress(Progress("load", min(done, self.manifest.size), self.manifest.size))

        skip = {(f"EXTENSION {one.name}", "COMMENT") for one in self.manifest.extensions}
        skip |= {(schema, "SCHEMA") for schema in self._schemas}
        lines = script.unpacked(self.path, read)
        yield from script.for_server(lines, self.server_major, skip)

    def _failed(self, error: ToolFailed) -> TransferError:
        if script.PROBE in error.output:
            lines = error.output.splitlines()
            found = [line.partition(script.PROBE)[2] for line in lines if script.PROBE in line]
            return CountsDiffer(tuple(found))
        remedy = f"The database {self.name!r} is as it was."
        if "permission denied" in error.output or "must be" in error.output:
            remedy += " The role lacks a right; its administrator can grant it."
        return TransferRefused(self.doing, error.output, remedy)

    def _compare(self, connection: psycopg.Connection[Any]) -> None:
        """Compare with the manifest; raises CountsDiffer."""
        try:
            counted = database.count(
                connection,
                lambda done, of, table: self.on_progress(Progress("compare", done, of, table)),
            )
            large_objects = database.large_objects(connection)
        except psycopg.Error as error:
            raise database.refused(f"compare the restored {self.name!r}", error) from error
        wanted = {str(table): table.rows for table in self.manifest.tables}
        found = {str(table): table.rows for table in counted}
        wanted["large objects"], found["large objects"] = self.manifest.large_objects, large_objects
        differences = [
            f"{name}: {found.get(name, 'missing')} instead of {wanted.get(name, 'missing')}"
            for name in sorted(wanted | found)
            if wanted.get(name) != found.get(name)
        ]
        if differences:
            raise CountsDiffer(tuple(differences))

    # --- in place --------------------------------------------------------------------

    def in_place(self, *, clean: bool, confirm: Callable[[str], bool] | None) -> RestoreReport:
        """Restore into the database itself, in one transaction."""
        if self.manifest.large_objects or (clean and self.manifest.kind == "plain"):
            raise ConfigurationError(
                "A backup with large objects cannot be restored in one transaction, and one of "
                "--plain cannot clean what is there. Restore into a new database: without in_place."
            )
        with database.connect(self.url, self.patience) as connection:
            self._look(connection)
            there = database.tables(connection)
            if there and not clean:
                names = ", ".join(f"{schema}.{name}" for schema, name in there[:10])
                raise TransferRefused(
                    self.doing,
                    f"it is not empty: {names}" + (", …" if len(there) > 10 else "."),
                    "With --clean (clean=True) what is also in the backup is dropped first.",
                )
            if there:
                self._ask(confirm, keep_old=False)
            checks = b"".join(script.verify(connection, self.manifest.tables))
        if self.superuser_url is not None:
            self._extensions(self.name)
        try:
            script.feed(self.tools, self.url, self._in_place_script(checks, clean=clean))
        except ToolFailed as error:
            raise self._failed(error) from error
        return self._report(replaced=bool(there), in_place=True)

    def _in_place_script(self, checks: bytes, *, clean: bool) -> Iterator[bytes]:
        """Yield everything that psql is to run: extensions, the backup, the comparison."""
        yield b"BEGIN;\n"
        if self.superuser_url is None:
            for statement in self._statements():
                yield statement.as_bytes(None) + b";\n"
        if self.manifest.kind == "plain":
            yield from self._script()
        else:
            yield from self._archive_script(clean=clean)
        yield checks
        yield b"COMMIT;\n"

    def _archive_script(self, *, clean: bool) -> Iterator[bytes]:
        arguments = ["--no-owner", "--no-privileges", "--file=-", self.path]
        arguments += ["--clean", "--if-exists"] if clean else []
        with (
            self._list_file() as listed,
            tools.Running(
                self.tools,
                "pg_restore",
                [f"--use-list={listed}", *arguments],
                stdout=subprocess.PIPE,
            ) as running,
        ):
            yield from script.for_server(running.stdout, self.server_major)


@contextlib.contextmanager
def _forgiving(server_major: int, programs: Installation) -> Iterator[None]:
    """Take for success what fails of a newer pg_restore on an older server, and does not matter."""
    try:
        yield
    except ToolFailed as error:
        lines = error.output.splitlines()
        said = [line for line in lines if "error:" in line]
        matters = not said or any(_HARMLESS not in line for line in said)
        if matters or not programs.major >= 17 > server_major or error.shortened:
            raise
