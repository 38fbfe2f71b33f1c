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
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import errors as pg

from oxy_pg.deadline import Deadline
from oxy_pg.errors import (
    BadValues,
    ConfigurationError,
    MigrationError,
    OxyPgError,
    PreparationFailed,
    TargetNotEmpty,
    TargetRefused,
)
from oxy_pg.migrate import target
from oxy_pg.migrate.check.preflight import Preflight
from oxy_pg.migrate.diagnosis import connection_lost, grant, refused
from oxy_pg.migrate.load import verify
from oxy_pg.migrate.load.transaction import Transaction
from oxy_pg.migrate.plan.plan import Options, Plan
from oxy_pg.migrate.plan.planner import bookkeeping_warnings, make_plan
from oxy_pg.migrate.report import report
from oxy_pg.migrate.report.outcome import outcome
from oxy_pg.migrate.source import database
from oxy_pg.migrate.source.readers import Readers
from oxy_pg.migrate.source.schema import read_schema
from oxy_pg.problems import BadValue
from oxy_pg.progress import Progress
from oxy_pg.url import mask, mask_text, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_log = logging.getLogger("oxy_pg")


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
    ``jobs`` is how many processes read a source that is large, and ``timeout``
    how many seconds to wait until either side can be reached.

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
    path = database.path_of(source_path)
    url = plain(target_url, "The target")
    deadline = Deadline(timeout)
    with ExitStack() as stack:
        readers = stack.enter_context(Readers(path, timeout, jobs))
        if dry_run:
            database.check(readers.connection, path)
        elif prepare is not None:
            _prepare(prepare, url)
        (on_progress or _ignore)(Progress("connect"))
        server = stack.enter_context(closing(target.connect(url, deadline)))
        readers.begin()
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
    if callable(prepare):
        try:
            prepare(url)
        except OxyPgError:
            raise
        except Exception as error:
            message = mask_text(f"{type(error).__name__}: {error}", url)
            raise PreparationFailed("the `prepare` function", message) from error
        return
    environment = {**os.environ, "OXY_DATABASE_URL": url, "DATABASE_URL": url}
    done = subprocess.run(  # noqa: S602 - a shell command is what was asked for
        prepare, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = mask_text((done.stderr or done.stdout).strip(), url)[-2000:]
        raise PreparationFailed(f"`{prepare}`", f"exit code {done.returncode}:\n{tail}")


class _Run:
    """One migration on its way."""

    def __init__(
        self,
        readers: Readers,
        server: psycopg.Connection[Any],
        path: str,
        url: str,
        options: Options,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.readers = readers
        self.lite = readers.connection
        self.server = server
        self.path = path
        self.url = url
        self.options = options
        self.on_progress = on_progress
        self.began = time.perf_counter()
        self.transaction: Transaction | None = None
        self.role = server.info.user
        self.schema = "public"

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
            raise connection_lost(self.doing, self.url, error) from error
        except psycopg.Error as error:
            raise refused(self.doing, error, self.role, self.schema) from error

    @property
    def doing(self) -> str:
        """What it is at, for the message when it fails."""
        return self.transaction.doing if self.transaction else "read the schema of"

    def _diagnose_source(self, error: sqlite3.Error) -> None:
        database.check(self.lite, self.path)
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        ):
            raise database.damaged(self.path, str(error)) from error

    def run(self, *, dry_run: bool, compute: bool = True) -> report.MigrationReport:
        """
        Plan, check, and unless it is a dry run, do it.

        Without ``compute``, the values of generated columns come along.
        """
        self.on_progress(Progress("plan"))
        self.transaction = None
        schema = read_schema(self.lite, self.path)
        goal = target.read_target(self.server)
        self.schema = goal.name
        plan = make_plan(self.readers, schema, goal, mask(self.url), self.options, compute=compute)
        warnings = [*plan.warnings, *bookkeeping_warnings(self.lite, self.server, schema, goal)]
        if not schema.tables:
            warnings.append("the source has no tables")
        plan = replace(plan, warnings=tuple(warnings))
        self.on_progress(Progress("check", of=len(plan.tables), of_rows=plan.rows))
        if not dry_run:
            self._refuse_rights(plan)
        preflight = Preflight(self.readers, self.server, plan)
        preflight.run(thorough=dry_run)
        if preflight.bad_total and not dry_run:
            # It ends here anyway: then with everything that there is to correct.
            preflight = Preflight(self.readers, self.server, plan)
            preflight.run(thorough=True)
        plan = preflight.plan
        if dry_run:
            found = outcome(plan, preflight, None, time.perf_counter() - self.began)
            problems = found.problems + self._rights_missing(plan) + self._rows_in_the_way(plan)
            return replace(found, problems=problems)
        self._refuse_rows(plan)
        preflight.raise_problems()
        transaction = Transaction(self.readers, self.server, plan, preflight, self.on_progress)
        self.transaction = transaction
        try:
            transaction.run()
        except (pg.DataError, pg.IntegrityError) as error:
            if isinstance(error, pg.NumericValueOutOfRange) and _computes(plan):
                # What overflows is infinite in SQLite, and an error in PostgreSQL.
                return self.run(dry_run=False, compute=False)
            # The transaction is gone; now there is time to find every value that it stumbled on.
            self._explain(plan, error)
            raise
        self.on_progress(Progress("done", of=len(plan.tables), rows=plan.rows, of_rows=plan.rows))
        return outcome(plan, preflight, transaction, time.perf_counter() - self.began)

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

    def _refuse_rights(self, plan: Plan) -> None:
        """Say beforehand what PostgreSQL would say after the whole source has been looked at."""
        reason = target.missing_right(
            self.server,
            plan.schema,
            # Whoever puts an index aside has to be allowed to make it again.
            creates=any(table.action == "create" for table in plan.tables)
            or any(aside.phase in {2, 3} for aside in plan.set_aside),
            fills=[table.target for table in plan.tables if table.action == "fill"],
        )
        if reason is not None:
            remedy = grant(self.role, plan.schema)
            raise TargetRefused("run migrations on", reason, remedy)

    def _rights_missing(self, plan: Plan) -> tuple[report.Problem, ...]:
        try:
            self._refuse_rights(plan)
        except TargetRefused as error:
            return (report.Problem("rights", f"{error.reason}. {error.remedy}"),)
        return ()

    def _rows_in_the_way(self, plan: Plan) -> tuple[report.Problem, ...]:
        try:
            self._refuse_rows(plan)
        except TargetNotEmpty as error:
            return tuple(
                report.Problem("not empty", f"{name}: {rows:,} rows") for name, rows in error.tables
            )
        return ()

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


def _computes(plan: Plan) -> bool:
    return any(
        column.generated
        for table in plan.tables
        if table.action == "create"
        for column in table.columns
    )
