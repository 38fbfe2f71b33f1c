"""
Move a SQLite database into PostgreSQL, all of it or nothing.

Read, plan, (a dry run ends here), pre-data, COPY, post-data, verify, commit:
one transaction of the target, one read transaction of the source.
"""

from __future__ import annotations

import functools
import re
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg

from oxy_pg.errors import (
    BadValues,
    ConfigurationError,
    MigrationError,
    OxyPgError,
    TargetNotEmpty,
    TargetRefused,
)
from oxy_pg.migrate import preparation
from oxy_pg.migrate.check.limits import may_exceed_an_index
from oxy_pg.migrate.check.overflow import overflows
from oxy_pg.migrate.check.preflight import Preflight
from oxy_pg.migrate.check.unexamined import unexamined
from oxy_pg.migrate.convert.types import parse_cast
from oxy_pg.migrate.diagnosis import diagnose, grant
from oxy_pg.migrate.load.transaction import Transaction
from oxy_pg.migrate.options import Options
from oxy_pg.migrate.outcome import Done, done, outcome
from oxy_pg.migrate.plan.bookkeeping import tools_elsewhere
from oxy_pg.migrate.plan.plan import KEYS_RESTORED
from oxy_pg.migrate.plan.planner import make_plan
from oxy_pg.migrate.plan.standing import count_rows
from oxy_pg.migrate.plan.versions import read_versions
from oxy_pg.migrate.report.values import Problem, Unexamined
from oxy_pg.migrate.source import database
from oxy_pg.migrate.source.catalog import read_schema
from oxy_pg.migrate.source.readers import Readers
from oxy_pg.migrate.target import catalog, session
from oxy_pg.report import BadValue, Progress
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.printable import many
from oxy_pg.url import mask, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oxy_pg.migrate.plan.plan import Plan
    from oxy_pg.migrate.preparation import Prepare
    from oxy_pg.migrate.report.report import MigrationReport
    from oxy_pg.migrate.trial import Scratch


def migrate(
    source: str,
    target: str,
    *,
    prepare: Prepare | None = None,
    prepare_env: Mapping[str, str] | None = None,
    scratch: Scratch | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
    **options: Any,
) -> MigrationReport:
    """
    Run a migration whose options are given as keywords, and its time in seconds.

    ``options`` are the fields of Options; the rest is as in run().
    """
    return run(
        source,
        target,
        Options(**options),
        deadline=Deadline(timeout),
        prepare=prepare,
        prepare_env=prepare_env,
        scratch=scratch,
        on_progress=on_progress,
    )


def run(
    source: str,
    target: str,
    options: Options,
    *,
    deadline: Deadline,
    prepare: Prepare | None = None,
    prepare_env: Mapping[str, str] | None = None,
    scratch: Scratch | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> MigrationReport:
    """
    Move a SQLite database into PostgreSQL: all of it, or nothing.

    ``source`` is a path or a ``sqlite://`` URL, opened read-only. ``prepare``
    brings the target's schema up first: a callable that gets the URL, or a
    shell command that finds it in OXY_DATABASE_URL and its parts in libpq's
    variables, besides those of ``prepare_env`` with the URL filled in; the time
    that it takes does not count. A dry run tries it in a temporary database:
    next to the target, or where the role may not, the one that ``scratch``
    gives; a rehearsal runs altogether there. ``deadline`` is until when the source's
    locks and the target are waited for.

    Blocks until the rows are committed. Killed or cancelled at any moment it
    leaves the target as it was. Raises MigrationError's children and
    ConfigurationError.
    """
    _refuse_without_prepare(options, prepare, prepare_env)
    path = database.path_of(source)
    url = plain(target, "The target")
    show = on_progress or _ignore
    with ExitStack() as stack:
        readers = stack.enter_context(Readers(path, deadline, options.jobs))
        if options.dry_run:
            database.check(readers.connection, path)
        place = preparation.Stage(url)
        if prepare is not None:
            show(Progress("prepare"))
            left = deadline.remaining()
            place = preparation.stage(
                prepare,
                url,
                tries=options.dry_run or options.rehearse,
                looks_back=options.if_not_empty == "error",
                deadline=deadline,
                stack=stack,
                environment=prepare_env,
                scratch=scratch,
                on_progress=on_progress,
            )
            deadline = Deadline(left)
            _refuse_rehearsal(place, options)
        show(Progress("connect"))
        server = stack.enter_context(closing(session.connect(place.url, deadline)))
        readers.begin(deadline)
        return _Run(readers, server, path, url, options, show, place).guarded()


def _refuse_without_prepare(
    options: Options, prepare: Prepare | None, prepare_env: Mapping[str, str] | None
) -> None:
    """Refuse what says something about ``prepare`` alone, and would do nothing without it."""
    if prepare is not None:
        return
    for name, given in (("seeds (--seeds)", options.seeds), ("prepare_env (--set)", prepare_env)):
        if given:
            raise ConfigurationError(
                f"{name} means nothing without prepare (--prepare), the command that creates the "
                "tables. Give it as well; for rows that the target has already, choose "
                "if_not_empty (--if-not-empty)."
            )


def _refuse_rehearsal(place: preparation.Stage, options: Options) -> None:
    """Refuse to rehearse after ``prepare`` where no temporary database can stand for the target."""
    if not options.rehearse:
        return
    advice = (
        "Run the preparation first on a copy of the target, or on the target, and rehearse "
        "without --prepare."
    )
    if not place.prepared.ran:
        raise ConfigurationError(
            "A rehearsal cannot roll back what the preparation does, so both need a temporary "
            f"database: {place.refused}. {advice}"
        )
    if options.if_not_empty == "append" and place.prepared.others:
        raise ConfigurationError(
            "The temporary database in which --rehearse and --prepare run together does not have "
            f"the rows to which --if-not-empty append adds others. {advice}"
        )


def _ignore(_: Progress) -> None:
    pass


class _Run:
    """One migration that is running."""

    def __init__(
        self,
        readers: Readers,
        server: psycopg.Connection[Any],
        path: str,
        url: str,
        options: Options,
        on_progress: Callable[[Progress], object],
        place: preparation.Stage,
    ) -> None:
        self.readers = readers
        self.lite = readers.connection
        self.server = server
        self.path = path
        self.url = url
        self.options = options
        self.on_progress = on_progress
        self.prepared = place.prepared
        self.said = place.said
        self.began = time.perf_counter()
        self.transaction: Transaction | None = None
        self.role = server.info.user
        self.schema = "public"

    def guarded(self) -> MigrationReport:
        """Run, and turn what the two drivers raise into errors that say what to do."""
        try:
            return self.run()
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
        except psycopg.Error as error:
            raise diagnose(error, self.doing, self.url, self.role, self.schema) from error

    @property
    def doing(self) -> str:
        """The current step, for the message when it fails."""
        return self.transaction.doing if self.transaction else "read the schema of"

    def _diagnose_source(self, error: sqlite3.Error) -> None:
        database.check(self.lite, self.path)
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        }:
            raise database.unreadable(self.path, error) from error

    def run(self, *, compute: bool = True) -> MigrationReport:
        """
        Plan, check, and unless it is a dry run, do it.

        Without ``compute``, generated columns become ordinary ones, with their values.
        """
        self.transaction = None
        plan = self._plan(compute=compute)
        if compute and overflows(self.lite, plan):
            plan = self._plan(compute=False)
        self.on_progress(Progress("check", of=len(plan.tables), of_rows=plan.rows))
        if self.options.dry_run:
            return self._dry_run(plan)
        with session.transaction(self.server):
            self._refuse_rights(plan)
        preflight = self._checked(plan, thorough=False)
        if preflight.bad_total:
            # It will be refused: then with everything that there is to correct.
            preflight = self._checked(plan, thorough=True)
        plan = preflight.plan
        with session.transaction(self.server):
            self._refuse_rows(plan)
        preflight.raise_problems()
        transaction = Transaction(self.readers, self.server, plan, preflight, self.on_progress)
        self.transaction = transaction
        try:
            transaction.run()
        except psycopg.Error as error:
            # A limit of PostgreSQL's (class 54) is about a value, too.
            limit = (error.sqlstate or "").startswith("54")
            if not (limit or isinstance(error, pg.DataError | pg.IntegrityError)):
                raise
            if isinstance(error, pg.NumericValueOutOfRange) and _computes(plan):
                # What overflows is infinite in SQLite, and an error in PostgreSQL.
                return self.run(compute=False)
            # The transaction is rolled back; now there is time to find every value at fault.
            self._explain(plan, error)
            raise
        self.on_progress(Progress("done", of=len(plan.tables), rows=plan.rows, of_rows=plan.rows))
        return outcome(plan, preflight, done(transaction), time.perf_counter() - self.began)

    def _plan(self, *, compute: bool) -> Plan:
        self.on_progress(Progress("plan"))
        schema = read_schema(self.lite, self.path)
        with session.transaction(self.server):
            target = catalog.read_target(self.server)
            self.schema = target.name
            self._refuse_unknown_types()
            versions = read_versions(self.lite, self.server, schema, target)
            elsewhere = tools_elsewhere(self.server, target.name)
            # In a dry run, tables of the target itself may have rows that a trial does not.
            rows = count_rows(self.server, target) | dict(self.prepared.rows)
        plan = make_plan(
            self.readers,
            schema,
            target,
            mask(self.url),
            self.options,
            compute=compute,
            prepared=replace(self.prepared, rows=rows),
            versions=versions,
            elsewhere=elsewhere,
            on_rows=lambda rows, of: self.on_progress(Progress("plan", rows=rows, of_rows=of)),
        )
        warnings = [] if schema.tables else ["the source has no tables"]
        return replace(plan, warnings=(*plan.warnings, *warnings), preparation=self.said)

    def _refuse_unknown_types(self) -> None:
        casts = {
            parse_cast(cast).type.sql: f"{column}={cast}"
            for column, cast in (self.options.casts or {}).items()
        }
        unknown = catalog.unknown_type(self.server, casts)
        if unknown is not None:
            raise ConfigurationError(
                f"The cast {casts[unknown]} names a type that the target does not have: {unknown}. "
                "Correct it, or create the type (CREATE TYPE, CREATE EXTENSION) first."
            )

    def _checked(self, plan: Plan, *, thorough: bool) -> Preflight:
        def refused_indexes() -> frozenset[str]:
            trial = Transaction(self.readers, self.server, plan, preflight, self.on_progress)
            self._tried(trial)  # what stops it altogether, the dry run or the move says
            return frozenset(one.name for one in trial.skipped if one.kind == "index")

        preflight = Preflight(self.readers, self.server, plan, functools.cache(refused_indexes))
        preflight.run(thorough=thorough, on_progress=self.on_progress)
        return preflight

    def _dry_run(self, plan: Plan) -> MigrationReport:
        preflight = self._checked(plan, thorough=True)
        plan = preflight.plan
        with session.transaction(self.server):
            problems = self._rights_missing(plan) + self._rows_in_the_way(plan)
            listed = unexamined(self.lite, self.server, plan)
        trial = Transaction(self.readers, self.server, plan, preflight, self.on_progress)
        if not problems:
            problems = self._tried(trial)
        unreadable = {bad.table for bad in preflight.bad} | {one.table for one in preflight.unclear}
        trial.loader.foretell(unreadable)
        found = Done(
            changes=trial.loader.changes,
            skipped=tuple(trial.skipped),
            problems=problems,
            unexamined=(*(Unexamined(*one) for one in listed), *_doubtful(trial)),
        )
        return outcome(plan, preflight, found, time.perf_counter() - self.began)

    def _tried(self, trial: Transaction) -> tuple[Problem, ...]:
        """Create the tables without their rows, and roll it back; return what is refused."""
        try:
            trial.create_and_roll_back()
        except pg.OperationalError as error:
            if error.sqlstate is None or not error.sqlstate.startswith("5"):
                raise
            return (Problem("refused", f"PostgreSQL says: {error.diag.message_primary}"),)
        except psycopg.Error as error:
            return (Problem("refused", f"PostgreSQL says: {error.diag.message_primary}"),)
        return ()

    def _refuse_rows(self, plan: Plan) -> None:
        full = tuple(
            (table.target, table.standing.rows)
            for table in plan.tables
            if table.standing is not None and table.standing.fate == "refuse"
        )
        if full:
            raise TargetNotEmpty(full, seeds=_seeds_among(plan, full))

    def _refuse_rights(self, plan: Plan) -> None:
        """Refuse at once what PostgreSQL would refuse after the whole source has been examined."""
        reason = catalog.missing_right(
            self.server,
            plan.schema,
            # To drop an index for the load, the role must be allowed to create it again.
            creates=any(table.action == "create" for table in plan.tables)
            or any(aside.phase in {2, 3} for aside in plan.set_aside),
            fills=[table.target for table in plan.tables if table.action == "fill"],
        )
        if reason is not None:
            remedy = grant(self.role, plan.schema)
            raise TargetRefused("run migrations on", reason, remedy)

    def _rights_missing(self, plan: Plan) -> tuple[Problem, ...]:
        try:
            self._refuse_rights(plan)
        except TargetRefused as error:
            return (Problem("rights", f"{error.reason}. {error.remedy}"),)
        return ()

    def _rows_in_the_way(self, plan: Plan) -> tuple[Problem, ...]:
        try:
            self._refuse_rows(plan)
        except TargetNotEmpty as error:
            return tuple(
                Problem("not empty", f"{name}: {many(rows, 'row')}") for name, rows in error.tables
            )
        return ()

    def _explain(self, plan: Plan, error: psycopg.Error) -> None:
        try:
            self._checked(plan, thorough=True).raise_problems()
        except OxyPgError as found:
            raise found from error
        if isinstance(error, pg.IntegrityError):
            refused = (_refused_row(error.diag),)
            raise BadValues(refused, is_found_by_load=True) from error


_COPIED = re.compile(r"COPY (\S+), line (\d+)(?:, column (\S+?))?(?:: (.*))?", re.DOTALL)


def _refused_row(diag: psycopg.errors.Diagnostic) -> BadValue:
    """Describe a row that PostgreSQL refuses for what only PostgreSQL knows."""
    # Of a domain or a partition only the context says which table and column it was.
    copied = _COPIED.match(diag.context or "")
    table, line, column, shown = copied.groups() if copied else (None, None, None, None)
    where = column or diag.column_name or diag.constraint_name or "*"
    row = f"row {line} of those that were sent" if line else "a row"
    value = (diag.message_detail or shown or "a value").rstrip(".")
    return BadValue(diag.table_name or table or "", where, row, value, diag.message_primary or "")


def _doubtful(trial: Transaction) -> Iterator[Unexamined]:
    """
    Yield what only the rows in PostgreSQL decide: whether it is created.

    Checks and indexes which values that are emptied or changed may not satisfy; views and
    conditions that are kept only if they give the same rows on both sides; indexes over
    expressions of long values.
    """
    plan = trial.plan
    examined = {key.name for key in plan.index_keys}
    targets = {table.target: table for table in plan.tables}
    changed = {table for table, *_ in trial.preflight.rows.emptied + trial.loader.changes}
    tables = {t.target for t in plan.tables if t.source.name in changed}
    left = {(skipped.kind, skipped.name) for skipped in trial.skipped}
    for statement in plan.post_data:
        # A unique index is created, or the migration fails: its rows may be too long.
        is_sure = not statement.optional and statement.what != "index"
        if is_sure or (statement.what, statement.name) in left:
            continue
        owner = "" if statement.what == "view" else min(statement.after - {KEYS_RESTORED})
        if (
            (statement.optional and tables & statement.after)
            or statement.proof is not None
            or (
                statement.what == "index"
                and statement.name not in examined
                and may_exceed_an_index(trial.lite, targets[owner], statement.source_sql or "")
            )
        ):
            yield Unexamined(statement.what, owner, statement.name, statement.sql)


def _seeds_among(plan: Plan, full: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Return which of these tables have only rows that ``prepare`` has made."""
    names = {name for name, _ in full}
    return tuple(
        table.target
        for table in plan.tables
        if table.target in names and table.standing is not None and table.standing.seeds
    )


def _computes(plan: Plan) -> bool:
    return any(
        column.generated
        for table in plan.tables
        if table.action == "create"
        for column in table.columns
    )
