"""
Move a SQLite database into PostgreSQL, all of it or nothing.

Read, plan, (a dry run ends here), pre-data, COPY, post-data, verify, commit:
one transaction of the target, one read transaction of the source.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import errors as pg

from oxy_pg.deadline import Deadline
from oxy_pg.errors import (
    BadValue,
    BadValues,
    ConfigurationError,
    MigrationError,
    OxyPgError,
    TargetNotEmpty,
    TargetRefused,
    TargetUnreachable,
    VerificationFailed,
)
from oxy_pg.migrate import report, sequences, source, target, verify
from oxy_pg.migrate.load import Loaded, Loader, copy_table
from oxy_pg.migrate.plan import Options, Plan, TablePlan
from oxy_pg.migrate.planner import bookkeeping_warnings, make_plan
from oxy_pg.migrate.preflight import Preflight
from oxy_pg.migrate.survey import install_functions
from oxy_pg.migrate.target import ident
from oxy_pg.url import mask, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oxy_pg.migrate.plan import Statement

_log = logging.getLogger("oxy_pg")


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a migration is.

    ``phase`` is plan, check, load, index, verify, table (one table is done) or done.
    """

    phase: str
    table: str = ""
    number: int = 0  # of the table, counted from 1
    tables: int = 0
    rows: int = 0
    of_rows: int = 0
    bytes: int = 0


def migrate(
    source_path: str,
    target_url: str,
    *,
    tables: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    schema: Literal["auto", "create", "existing"] = "auto",
    casts: Mapping[str, str] | None = None,
    on_bad_value: Literal["error", "null", "skip"] = "error",
    on_orphan: Literal["error", "null", "skip"] = "error",
    if_not_empty: Literal["error", "append", "truncate"] = "error",
    prepare: Callable[[str], object] | str | None = None,
    verify: Literal["counts", "full", "none"] = "counts",
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    jobs: int = 2,
    timeout: float = 30.0,
) -> report.MigrationReport:
    """
    Move a SQLite database into PostgreSQL: all of it, or nothing.

    ``source_path`` is a path or a ``sqlite://`` URL, opened read-only.
    ``tables`` and ``exclude`` name tables of the source (``*`` matches).
    ``casts`` maps ``"table.column"`` to a type, with an option after a colon
    (types.CAST_OPTIONS). ``prepare`` brings the target's schema up first: a
    callable that gets the URL, or a shell command that finds it in
    OXY_DATABASE_URL. ``dry_run`` writes nothing and reports every problem.
    ``jobs`` is how many threads read the source while it is looked at, and
    ``timeout`` how many seconds to wait until either side can be reached.

    Blocks until the rows are committed. Killed or cancelled at any moment it
    leaves the target as it was. Raises MigrationError's children and
    ConfigurationError.
    """
    options = Options(
        tables=None if tables is None else tuple(tables),
        exclude=tuple(exclude),
        schema=schema,
        casts=tuple((casts or {}).items()),
        on_bad_value=on_bad_value,
        on_orphan=on_orphan,
        if_not_empty=if_not_empty,
        verify=verify,
    )
    _check_options(options)
    path = source.path_of(source_path)
    url = plain(target_url, "The target")
    deadline = Deadline(timeout)
    with ExitStack() as stack:
        readers = source.connect_all(path, timeout, jobs)
        for reader in readers:
            stack.callback(reader.close)
        if dry_run:
            source.check(readers[0], path)
        elif prepare is not None:
            _prepare(prepare, url)
        server = stack.enter_context(closing(target.connect(url, deadline)))
        run = _Run(readers, server, path, url, options, on_progress or _ignore)
        return run.guarded(dry_run=dry_run)


def _ignore(_: Progress) -> None:
    pass


_CHOICES = {
    "schema": ("auto", "create", "existing"),
    "on_bad_value": ("error", "null", "skip"),
    "on_orphan": ("error", "null", "skip"),
    "if_not_empty": ("error", "append", "truncate"),
    "verify": ("counts", "full", "none"),
}


def _check_options(options: Options) -> None:
    for name, allowed in _CHOICES.items():
        if getattr(options, name) not in allowed:
            raise ConfigurationError(
                f"{name} is {getattr(options, name)!r}; choose one of {', '.join(allowed)}."
            )


def _prepare(prepare: Callable[[str], object] | str, url: str) -> None:
    what = "run migrations on"
    if callable(prepare):
        try:
            prepare(url)
        except OxyPgError:
            raise
        except Exception as error:
            message = mask(f"{type(error).__name__}: {error}")
            raise TargetRefused(what, message, "The `prepare` function failed.") from error
        return
    environment = {**os.environ, "OXY_DATABASE_URL": url, "DATABASE_URL": url}
    done = subprocess.run(  # noqa: S602 - a shell command is what was asked for
        prepare, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = mask((done.stderr or done.stdout).strip()[-2000:])
        reason = f"`{prepare}` ended with {done.returncode}:\n{tail}"
        raise TargetRefused(
            what, reason, "Run it by hand with OXY_DATABASE_URL set, and correct it."
        )


class _Run:
    """One migration on its way."""

    def __init__(
        self,
        readers: list[sqlite3.Connection],
        server: psycopg.Connection[Any],
        path: str,
        url: str,
        options: Options,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.readers = readers
        self.lite = readers[0]
        self.server = server
        self.path = path
        self.url = url
        self.options = options
        self.on_progress = on_progress
        self.began = time.perf_counter()
        self.doing = "read"
        self.left_behind: list[report.LeftBehind] = []
        self.loaded: dict[str, Loaded] = {}
        self.counted: dict[str, int] = {}
        self.verified = report.Verification(options.verify, 0, 0, 0)
        for reader in readers:
            install_functions(reader)

    def guarded(self, *, dry_run: bool) -> report.MigrationReport:
        """Run, and turn what the two drivers raise into errors that say what to do."""
        try:
            return self.run(dry_run=dry_run)
        except OxyPgError:
            raise
        except sqlite3.DataError as error:
            remedy = "A row of COPY may have 1 GB. Leave the table out with --exclude."
            raise TargetRefused(self.doing, f"a row is too long ({error})", remedy) from error
        except sqlite3.Error as error:
            self._diagnose_source(error)
            raise MigrationError(
                f"Failed to read the SQLite database {self.path}: {error}"
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise _gone(self.doing, self.url, error) from error
        except psycopg.Error as error:
            raise _refused(self.doing, error) from error

    def _diagnose_source(self, error: sqlite3.Error) -> None:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        ):
            raise source.damaged(self.path, str(error)) from error
        source.check(self.lite, self.path)

    def run(self, *, dry_run: bool) -> report.MigrationReport:
        """Plan, check, and unless it is a dry run, do it."""
        self.on_progress(Progress("plan"))
        self.doing = "read the schema of"
        schema = source.read_schema(self.lite, self.path)
        goal = target.read_target(self.server)
        plan = make_plan(self.readers, schema, goal, mask(self.url), self.options)
        warnings = [*plan.warnings, *bookkeeping_warnings(self.lite, self.server, schema, goal)]
        if not schema.tables:
            warnings.append("the source has no tables")
        plan = replace(plan, warnings=tuple(warnings))
        self.on_progress(Progress("check", tables=len(plan.tables), of_rows=plan.rows))
        preflight = Preflight(self.readers, self.server, plan)
        preflight.run(thorough=dry_run)
        if preflight.bad_total and not dry_run:
            # It ends here anyway: then with everything that there is to correct.
            preflight = Preflight(self.readers, self.server, plan)
            preflight.run(thorough=True)
        plan = preflight.plan
        if dry_run:
            return self._report(plan, preflight, (), dry_run=True)
        self._refuse_rows(plan)
        preflight.raise_problems()
        try:
            with self.server.transaction():
                written = self._write(plan, preflight)
                self.doing = "commit to"
        except (pg.DataError, pg.IntegrityError) as error:
            # The transaction is gone; now there is time to find every value that it stumbled on.
            self._explain(plan, error)
            raise
        self.on_progress(
            Progress("done", tables=len(plan.tables), rows=plan.rows, of_rows=plan.rows)
        )
        return self._report(plan, preflight, written, dry_run=False)

    def _refuse_rows(self, plan: Plan) -> None:
        if self.options.if_not_empty != "error":
            return
        full = tuple(
            (table.target, verify.count(self.server, plan.schema, table.target))
            for table in plan.tables
            if table.existing is not None and table.existing.has_rows
        )
        if full:
            raise TargetNotEmpty(full)

    def _explain(self, plan: Plan, error: psycopg.Error) -> None:
        preflight = Preflight(self.readers, self.server, plan)
        preflight.run(thorough=True)
        try:
            preflight.raise_problems()
        except OxyPgError as found:
            raise found from error
        if isinstance(error, pg.IntegrityError):
            diag = error.diag
            where = diag.constraint_name or diag.column_name or ""
            value = diag.message_detail or ""
            bad = BadValue(diag.table_name or "", where, "a row", value, diag.message_primary or "")
            raise BadValues((bad,)) from error

    # --- inside the transaction -------------------------------------------------

    def _write(self, plan: Plan, preflight: Preflight) -> tuple[report.SequenceReport, ...]:
        before = self._open_tables(plan)
        self.doing = "run migrations on"
        for statement in plan.pre_data:
            self._execute(statement.sql)
        aside = self._put_aside(plan)
        if self.options.if_not_empty == "truncate":
            self._truncate(plan)
        self._load(plan, preflight)
        self._post_data(plan, aside)
        self.doing = "set the sequences of"
        done = sequences.advance(self.server, plan)
        self._verify(plan, preflight, before)
        return done

    def _execute(self, statement: str) -> None:
        self.server.execute(statement)

    def _open_tables(self, plan: Plan) -> dict[str, tuple[int, int]]:
        """Lock the tables that are there, and look again whether they are empty."""
        self.doing = "lock the tables of"
        before: dict[str, tuple[int, int]] = {}
        full = []
        for table in plan.tables:
            if table.existing is None:
                continue
            mode = "ACCESS EXCLUSIVE" if table.existing.owned else "ROW EXCLUSIVE"
            self._execute(f"LOCK TABLE {ident(plan.schema, table.target)} IN {mode} MODE")
            rows = verify.count(self.server, plan.schema, table.target)
            if rows and self.options.if_not_empty == "error":
                full.append((table.target, rows))
            kept = rows if self.options.if_not_empty == "append" else 0
            sum_ = (
                verify.digests_arrived(self.server, plan.schema, table)
                if kept and self.options.verify == "full"
                else 0
            )
            before[table.target] = (kept, sum_)
        if full:
            raise TargetNotEmpty(tuple(full))
        return before

    def _put_aside(self, plan: Plan) -> list[target.SetAside]:
        self.doing = "set aside the constraints of"
        done = []
        for aside in plan.set_aside:
            try:
                with self.server.transaction():
                    self._execute(aside.remove)
            except (pg.DependentObjectsStillExist, pg.InsufficientPrivilege) as error:
                # Something stands on it (a view grouped by the key): the load is slower, no more.
                _log.info("%s stays in place: %s", aside.what, error.diag.message_primary)
            else:
                done.append(aside)
        return done

    def _truncate(self, plan: Plan) -> None:
        self.doing = "empty the tables of"
        names = [ident(plan.schema, t.target) for t in plan.tables if t.existing is not None]
        if names:
            self._execute(f"TRUNCATE {', '.join(names)}")

    def _is_fresh(self, plan: Plan, table: TablePlan) -> bool:
        if table.existing is None:
            return True
        if not (table.existing.owned and table.existing.ordinary):
            return False
        if self.options.if_not_empty == "truncate":
            return True
        if self.options.if_not_empty == "append" and table.existing.has_rows:
            return False
        try:
            # Empty as it is: a new file that needs no write-ahead log until the commit.
            with self.server.transaction():
                self._execute(f"TRUNCATE {ident(plan.schema, table.target)}")
        except (pg.FeatureNotSupported, pg.InsufficientPrivilege):
            return False
        return True

    def _load(self, plan: Plan, preflight: Preflight) -> None:
        self.loader = Loader(self.lite, plan, preflight.skipped, preflight.nulled)
        for number, table in enumerate(plan.tables, 1):
            self.doing = f"insert {table.source.name} into"
            fresh = self._is_fresh(plan, table)

            def on_rows(
                rows: int, size: int, table: TablePlan = table, number: int = number
            ) -> None:
                name, count = table.source.name, len(plan.tables)
                self.on_progress(Progress("load", name, number, count, rows, table.rows, size))

            on_rows(0, 0)
            if table.loaded and table.rows:
                loaded = copy_table(
                    self.server, self.loader, table, plan.schema, on_rows, fresh=fresh
                )
            else:
                loaded = Loaded(0, 0, 0.0)
            self.loaded[table.source.name] = loaded
            name, count = table.source.name, len(plan.tables)
            self.on_progress(
                Progress("table", name, number, count, loaded.rows, table.rows, loaded.bytes)
            )

    def _post_data(self, plan: Plan, aside: list[target.SetAside]) -> None:
        self.doing = "build indexes and constraints on"
        self.on_progress(Progress("index", tables=len(plan.tables)))
        for statement in plan.post_data:
            self._post_statement(statement)
        order = {3: 0, 2: 1, 1: 2, 0: 3}  # indexes, keys, foreign keys, triggers
        for put in sorted(aside, key=lambda put: order[put.phase]):
            for restore in put.restore:
                self._execute(restore)

    def _post_statement(self, statement: Statement) -> None:
        if not statement.optional:
            self._execute(statement.sql)
            return
        try:
            with self.server.transaction():
                self._execute(statement.sql)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            reason = f"PostgreSQL refuses it: {error.diag.message_primary}"
            self.left_behind.append(report.LeftBehind(statement.kind, statement.name, reason))

    def _verify(self, plan: Plan, preflight: Preflight, before: dict[str, tuple[int, int]]) -> None:
        self.doing = "verify the rows of"
        self.on_progress(Progress("verify", tables=len(plan.tables)))
        if self.options.verify == "none":
            return
        differences = []
        rows = cells = 0
        comparison = verify.Comparison(self.lite, preflight)
        for table in plan.tables:
            kept, digest = before.get(table.target, (0, 0))
            wanted = kept + table.rows - preflight.skipped_rows(table)
            found = verify.count(self.server, plan.schema, table.target)
            self.counted[table.source.name] = found
            rows += found - kept
            if found != wanted:
                differences.append(
                    f"{table.source.name}: {wanted:,} rows expected, {found:,} found"
                )
            elif self.options.verify == "full" and table.columns:
                if kept or not (table.existing is None or table.existing.ordinary):
                    verify.compare_digests(self.server, plan, comparison, table, digest)
                else:
                    verify.compare_rows(self.server, plan, comparison, table)
                cells += (found - kept) * len(table.columns)
        if differences:
            raise VerificationFailed(tuple(differences))
        self.verified = report.Verification(self.options.verify, len(plan.tables), rows, cells)

    # --- the report ---------------------------------------------------------------

    def _report(
        self,
        plan: Plan,
        preflight: Preflight,
        done: tuple[report.SequenceReport, ...],
        *,
        dry_run: bool,
    ) -> report.MigrationReport:
        problems = [report.Problem("bad value", str(bad)) for bad in preflight.bad]
        problems += [report.Problem("orphans", str(orphan)) for orphan in preflight.orphans]
        if dry_run:
            problems += self._rows_in_the_way(plan)
        left = [report.LeftBehind(s.kind, s.name, s.reason) for s in plan.skipped]
        return report.MigrationReport(
            source=plan.source,
            target=plan.target,
            dry_run=dry_run,
            seconds=time.perf_counter() - self.began,
            tables=tuple(self._table_report(table, preflight) for table in plan.tables),
            changes=tuple(_changes(plan, preflight, None if dry_run else self.loader)),
            skipped=tuple(left + self.left_behind),
            sequences=done,
            warnings=plan.warnings,
            verification=self.verified if not dry_run else report.Verification("none", 0, 0, 0),
            problems=tuple(problems),
            statements=tuple(s.sql for s in (*plan.pre_data, *plan.post_data)),
        )

    def _rows_in_the_way(self, plan: Plan) -> list[report.Problem]:
        try:
            self._refuse_rows(plan)
        except TargetNotEmpty as error:
            return [report.Problem("not empty", f"{n}: {rows:,} rows") for n, rows in error.tables]
        return []

    def _table_report(self, table: TablePlan, preflight: Preflight) -> report.TableReport:
        loaded = self.loaded.get(table.source.name, Loaded(0, 0, 0.0))
        columns = tuple(
            report.ColumnReport(c.source, c.target, c.declared, c.type.sql, c.survey.nulls)
            for c in table.columns
        )
        return report.TableReport(
            name=table.source.name,
            target=table.target,
            action=table.action,
            rows_read=table.rows,
            rows_written=loaded.rows,
            rows_skipped=preflight.skipped_rows(table),
            bytes=loaded.bytes,
            seconds=loaded.seconds,
            columns=columns,
        )


def _changes(plan: Plan, preflight: Preflight, loader: Loader | None) -> list[report.Change]:
    found = [
        report.Change(table, column, count, "emptied: it referred to nothing")
        for (table, column), count in preflight.nulled_rows.items()
    ]
    if loader is not None:
        found += [
            report.Change(t, c, count, what) for (t, c, what), count in loader.changes.items()
        ]
    found += [
        report.Change(
            table.source.name, column.source, column.survey.overlong, "rounded to microseconds"
        )
        for table in plan.tables
        for column in table.columns
        if column.survey.overlong
    ]
    return found


def _gone(doing: str, url: str, error: psycopg.Error) -> OxyPgError:
    message = mask(str(error)).strip()
    if isinstance(error, pg.DiskFull):
        return TargetRefused(
            doing, message, "The server's disk is full: make room, and run it again."
        )
    if isinstance(error, pg.InsufficientResources | pg.OperatorIntervention | pg.LockNotAvailable):
        return TargetRefused(doing, message, "Run it again once the cause is gone.")
    return TargetUnreachable(
        mask(url),
        f"the connection was lost while trying to {doing} it: {message}",
        "Nothing was committed: the target is as it was. Run it again once the server is back.",
    )


def _refused(doing: str, error: psycopg.Error) -> OxyPgError:
    message = mask(str(error)).strip()
    if isinstance(error, pg.InsufficientPrivilege):
        remedy = (
            "The role lacks rights. As the database's owner: GRANT ALL ON SCHEMA public TO role; "
            "and for tables that are there already, make the role their owner."
        )
    elif isinstance(error, pg.ProgramLimitExceeded):
        remedy = "This is a limit of PostgreSQL. Leave the table out with --exclude, or --cast."
    else:
        remedy = "Correct it in the source, or choose other types with --cast table.column=type."
    return TargetRefused(doing, message, remedy)
