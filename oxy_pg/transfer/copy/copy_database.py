"""
One database on its way into another: ``oxy_pg.push()`` and ``oxy_pg.pull()``.

Either in one transaction, into the database that is there; or into a new one
beside it, with several connections, which then takes the name. A reader of the
target sees what was there, or all that has come.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg

from oxy_pg.errors import (
    ConfigurationError,
    DatabaseNotEmpty,
    NotEnoughSpace,
    TransferError,
    TransferRefused,
)
from oxy_pg.report import Progress
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.copy import conflicts, inventory, rows, schema
from oxy_pg.transfer.report import MovedTable, TransferReport
from oxy_pg.transfer.workspace import workspace
from oxy_pg.url import mask, plain, with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxy_pg.report import Skipped
    from oxy_pg.transfer.contents import Extension
    from oxy_pg.transfer.copy.conflicts import Occupant

_OPTIONS = ("--no-owner", "--no-privileges", "--no-security-labels")
_MARGIN = 64 << 20  # bytes, for the log of what is written
_LOCK = 0x6F78795F70757368  # "oxy_push"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for; the URLs have their passwords."""

    verb: Literal["push", "pull"]
    source: str
    target: str
    shown: str | None = None  # the source's URL for people, where it is another one
    superuser: str | None = None  # of the target's server, where we may be one
    target_dir: str | None = None  # where the target's files are, where that is here
    schemas: tuple[str, ...] | None = None
    if_not_empty: Literal["error", "replace"] = "error"
    beside: bool = False  # into a new database, which then takes the name
    jobs: int = 2
    timeout: float = 30.0


def run(
    order: Order, *, dry_run: bool, on_progress: Callable[[Progress], object] | None
) -> TransferReport:
    """Carry out an order, or with ``dry_run`` find out whether it can be."""
    if order.if_not_empty not in {"error", "replace"}:
        raise ConfigurationError(
            f"if_not_empty is {order.if_not_empty!r}; it is 'error' or 'replace'."
        )
    if order.jobs < 1:
        raise ConfigurationError(f"jobs is {order.jobs!r}; it is a number of jobs, 1 or more.")
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            passage = _Passage(order, on_progress or _ignore, stack)
            report = passage.look() if dry_run else passage.go()
        except psycopg.Error as error:
            what = f"{order.verb} {mask(order.shown or order.source)} to {mask(order.target)}"
            raise database.refused(what, error) from error
    return dataclasses.replace(report, seconds=time.monotonic() - began)


def _ignore(_: Progress) -> None:
    pass


class _Passage:
    """One transfer on its way: the source at one moment, and the target."""

    def __init__(
        self, order: Order, on_progress: Callable[[Progress], object], stack: contextlib.ExitStack
    ) -> None:
        self.order = order
        self.on_progress = on_progress
        self.source_url, self.target_url = (
            plain(order.source, "--from"),
            plain(order.target, "--to"),
        )
        self.shown = mask(self.target_url)
        self.source_shown = mask(order.shown or self.source_url)
        on_progress(Progress("look"))
        self.snapshot = stack.enter_context(rows.Snapshot(self.source_url, order.timeout))
        self.source = self.snapshot.connection
        self.target = stack.enter_context(self._target())
        self.target_version = database.version(self.target)
        self.inventory = inventory.look(self.source, order.schemas)
        self.schemas = self.inventory.schemas or ("public",)
        unknown = set(order.schemas or ()) - set(self.inventory.schemas)
        if unknown:
            raise ConfigurationError(
                f"{self.source_shown} has no schema {', '.join(sorted(unknown))}. It has: "
                f"{', '.join(inventory.look(self.source).schemas)}."
            )
        self.occupants: tuple[Occupant, ...] = ()
        self.replaced: tuple[MovedTable, ...] = ()
        self.missing: list[Extension] = []
        self.warnings: list[str] = []
        self.skipped: list[Skipped] = []
        self.problems: list[TransferError] = []
        self.readable = False
        self.programs: tools.Tools | None = None
        self.name = swap.name_of(self.target_url)
        self._survey()

    def _target(self) -> psycopg.Connection[Any]:
        """Connect to the target; where it is not there yet, to where it will be made."""
        order = self.order
        if not order.beside:
            return database.connect(self.target_url, order.timeout, pooled=True)
        try:
            return database.connect(self.target_url, order.timeout)
        except TransferRefused as error:
            if "does not exist" not in error.reason:
                raise
            return swap.maintenance(self.target_url, order.timeout)

    # --- what is there, and what stands against it -----------------------------------

    def _survey(self) -> None:
        """Find every reason why it cannot be done; writes nothing."""
        self._refuse_itself()
        checks = (
            self._find_programs,
            self._check_readable,
            self._check_extensions,
            self._check_occupants,
            self._check_rights,
            self._check_space,
        )
        for check in checks:
            try:
                check()
            except TransferError as error:
                self.problems.append(error)

    def _refuse_itself(self) -> None:
        """Refuse to replace a database by itself: a lock on one side is seen on the other."""
        key = secrets.randbits(62)
        self.source.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        if not database.one(self.target, "SELECT pg_try_advisory_xact_lock(%s)", key):
            raise ConfigurationError(
                f"Source and target are the same database, {self.shown}. Name another one."
            )

    def _check_readable(self) -> None:
        inventory.check_readable(self.source, self.source_shown, self.order.schemas)
        self.readable = True

    def _find_programs(self) -> None:
        ssl = tools.needs_ssl(self.source_url) or database.is_encrypted(self.source)
        self.programs = tools.find(database.major(self.source), ssl=ssl)

    def _check_extensions(self) -> None:
        self.missing = inventory.check_extensions(
            self.target,
            self.shown,
            self.inventory.extensions,
            by_superuser=self.order.superuser is not None,
            fresh=self.order.beside,
        )

    def _check_occupants(self) -> None:
        if database.one(self.target, "SELECT current_database()") != self.name:
            return  # there is none of that name yet
        schemas = self.schemas
        if self.order.beside:  # all of it goes
            schemas = inventory.look(self.target).schemas
        self.occupants = conflicts.look(self.target, schemas)
        self.replaced = conflicts.tables(self.target, schemas)
        if not self.occupants:
            return
        if self.order.if_not_empty == "error":
            counted = {f"{one.schema}.{one.name}": one.rows for one in self.replaced}
            raise DatabaseNotEmpty(
                self.shown,
                tuple(
                    f"{one}: {counted[one.identity]:,} rows"
                    if one.identity in counted
                    else str(one)
                    for one in self.occupants
                ),
            )
        if not self.order.beside:
            conflicts.check_ours(self.shown, self.occupants)
        roles = [
            role for role in conflicts.grantees(self.target, schemas) if role != self.inventory.role
        ]
        if roles:
            self.warnings.append(
                f"the roles {', '.join(roles)} had rights to what is replaced; grant them anew"
            )

    def _check_rights(self) -> None:
        if not self.order.beside:
            inventory.check_writable(self.target, self.shown, self.schemas)
            return
        with contextlib.closing(
            swap.maintenance(self.target_url, self.order.timeout)
        ) as connection:
            swap.check_rights(connection, self.name, swap.look(connection, self.name))

    def _check_space(self) -> None:
        if self.order.target_dir is None:
            return
        needed = self.inventory.size + _MARGIN
        free = shutil.disk_usage(self.order.target_dir).free
        if free < needed:
            raise NotEnoughSpace(self.order.target_dir, needed, free)

    # --- dry run ----------------------------------------------------------------------

    def look(self) -> TransferReport:
        """Say what would happen: every table's rows are counted, nothing is written."""
        counted = {}
        tables = self.inventory.tables
        if self.readable:
            for number, table in enumerate(tables):
                self.on_progress(Progress("count", number, len(tables), str(table)))
                counted[table] = table.count(self.source)
        if self.programs is not None and not self.problems:
            with workspace() as directory:
                self.skipped = self._schema(directory).skipped
        return self._report(counted, dry_run=True)

    def _report(self, counted: dict[rows.Table, int], *, dry_run: bool) -> TransferReport:
        return TransferReport(
            verb=self.order.verb,
            source=self.source_shown,
            target=self.shown,
            source_version=self.inventory.version,
            target_version=self.target_version,
            dry_run=dry_run,
            tables=tuple(
                MovedTable(table.schema, table.name, counted.get(table, 0), table.size)
                for table in self.inventory.tables
            ),
            replaced=self.replaced,
            extensions=tuple(f"{one.name} {one.version}" for one in self.inventory.extensions),
            skipped=tuple(self.skipped),
            warnings=tuple(self.warnings),
            problems=tuple(str(problem) for problem in self.problems) if dry_run else (),
            seconds=0.0,
        )

    # --- the transfer -----------------------------------------------------------------

    def go(self) -> TransferReport:
        """Do it; raises the first of the problems if there are any."""
        if self.problems:
            raise self.problems[0]
        with workspace() as directory:
            self.on_progress(Progress("schema"))
            archive = self._schema(directory)
            self.skipped = archive.skipped
            pump = rows.Pump(self.inventory.tables, self._tell)
            if self.order.beside:
                self._beside(archive, pump)
            else:
                self._in_place(archive, pump)
        self.skipped += archive.unsupported
        self.on_progress(Progress("done"))
        return self._report(pump.rows, dry_run=False)

    def _schema(self, directory: str) -> schema.Archive:
        assert self.programs is not None
        path = f"{directory}/schema"
        schema.dump(
            self.programs,
            self.source_url,
            path,
            snapshot=self.snapshot.name,
            schemas=self.order.schemas,
        )
        return schema.Archive(self.programs, path, options=_OPTIONS, leave_local=True)

    def _tell(self, table: rows.Table, _: int, done: int) -> None:
        total = sum(table.size for table in self.inventory.tables)
        self.on_progress(Progress("load", min(done, total), total, str(table)))

    def _compare(self, pump: rows.Pump, connection: psycopg.Connection[Any]) -> None:
        rows.compare(
            pump.rows,
            connection,
            lambda done, of, table: self.on_progress(Progress("compare", done, of, table)),
        )

    def _beside_the_rows(self, connection: psycopg.Connection[Any], *, replace: bool) -> None:
        """Bring sequences and large objects; the connection is in a transaction."""
        rows.copy_sequences(self.source, connection, self.order.schemas)
        if self.order.schemas is None:
            rows.copy_large_objects(self.source, connection, replace=replace)

    # --- in one transaction -------------------------------------------------------------

    def _in_place(self, archive: schema.Archive, pump: rows.Pump) -> None:
        """Into the database that is there: nobody sees anything before the commit."""
        replace = self.order.if_not_empty == "replace"
        target = self.target
        committing = False
        try:
            with target.transaction():
                target.execute(rows.SETTINGS)
                target.execute("SET LOCAL check_function_bodies = off")
                self._be_alone()
                self._make_room(replace=replace)
                inventory.create_extensions(target, self.missing)
                inventory.create_schemas(target, self.schemas)
                archive.execute("pre-data", target)
                for table in pump.tables:
                    pump.copy(self.source, target, table)
                self._beside_the_rows(target, replace=replace)
                # Before row-level security comes, which would hide rows from their owner too.
                self._compare(pump, target)
                self.on_progress(Progress("index"))
                archive.execute("post-data", target)
                # A pooler hands this session to somebody else.
                target.execute("RESET ALL")
                self.on_progress(Progress("swap"))
                committing = True
        except psycopg.OperationalError as error:
            if not committing:
                raise
            raise TransferRefused(
                f"{self.order.verb} to {self.shown}",
                f"the connection was lost during the commit ({str(error).strip()}).",
                "It is not known whether all of it is there, or nothing. Look: --dry-run tells "
                "what is in the target.",
            ) from error
        self._analyze(target)

    def _be_alone(self) -> None:
        """Keep another push out; the one before may have been killed, and be about to end."""
        for _ in range(50):
            if database.one(self.target, "SELECT pg_try_advisory_xact_lock(%s)", _LOCK):
                return
            time.sleep(0.1)
        raise TransferRefused(
            f"{self.order.verb} to {self.shown}",
            "another one is under way there.",
            "Wait until it has ended, and run it again. Nothing was written.",
        )

    def _make_room(self, *, replace: bool) -> None:
        """Drop what is in the way, which may be more than when it was looked at."""
        found = conflicts.look(self.target, self.schemas)
        if found and not replace:
            raise DatabaseNotEmpty(self.shown, tuple(map(str, found)))
        conflicts.drop(self.target, self.schemas, found)

    def _analyze(self, connection: psycopg.Connection[Any]) -> None:
        """Give the planner its statistics; without them the first queries go astray."""
        self.on_progress(Progress("analyze"))
        for table in self.inventory.tables:
            if table.condition is None:
                try:
                    connection.execute(rows.analyze(table))
                except psycopg.Error as error:
                    self.warnings.append(f"ANALYZE {table}: {str(error).strip()}")
                    return

    # --- beside, and swapped ------------------------------------------------------------

    def _beside(self, archive: schema.Archive, pump: rows.Pump) -> None:
        """Into a new database, which takes the name when it is complete."""
        order = self.order
        with (
            contextlib.closing(swap.maintenance(self.target_url, order.timeout)) as connection,
            contextlib.closing(self._other()) as other,
        ):
            old = swap.look(connection, self.name)
            with swap.alone(connection, self.name):
                swap.sweep(connection, self.name)
                new = swap.create(connection, self.name, old)
                try:
                    self._fill(new, archive, pump)
                    if old is not None:
                        self.warnings += swap.carry_over(connection, self.name, new)
                    self.on_progress(Progress("swap"))
                    self.target.close()  # it may be a session of the one that is renamed
                    away = swap.swap(
                        connection, other, self.name, new, replaces=old is not None, keep=False
                    )
                except BaseException:
                    with contextlib.suppress(psycopg.Error):
                        swap.drop(connection, new)
                    raise
                if away is not None:
                    self._drop_replaced(connection, away)

    def _other(self) -> psycopg.Connection[Any]:
        if self.order.superuser is not None:
            return database.connect(self.order.superuser, self.order.timeout)
        return swap.maintenance(self.target_url, self.order.timeout)

    def _drop_replaced(self, connection: psycopg.Connection[Any], away: str) -> None:
        try:
            swap.drop(connection, away)
        except psycopg.Error as error:
            self.warnings.append(f"the old database is still there as {away}: {error}")

    def _fill(self, new: str, archive: schema.Archive, pump: rows.Pump) -> None:
        url = with_database(self.target_url, new)
        superuser = self.order.superuser
        maker = with_database(superuser, new) if superuser is not None else url
        timeout = self.order.timeout
        with contextlib.closing(database.connect(url, timeout)) as connection:
            inventory.create_schemas(connection, [one.schema for one in self.missing])
            with contextlib.closing(database.connect(maker, timeout)) as making:
                inventory.create_extensions(making, self.missing)
            connection.execute(schema.SETTINGS)
            inventory.create_schemas(connection, self.schemas)
            archive.execute("pre-data", connection)

            @contextlib.contextmanager
            def writer() -> Iterator[psycopg.Connection[Any]]:
                with contextlib.closing(database.connect(url, timeout)) as writing:
                    yield writing

            pump.copy_all(self.snapshot, writer, self.order.jobs)
            with connection.transaction():
                connection.execute(rows.SETTINGS)
                self._beside_the_rows(connection, replace=False)
            self._compare(pump, connection)
            self.on_progress(Progress("index"))
            if self._programs_reach(connection):
                archive.restore("post-data", url, self.order.jobs)
            else:
                archive.execute("post-data", connection)
            self._analyze(connection)

    def _programs_reach(self, connection: psycopg.Connection[Any]) -> bool:
        assert self.programs is not None
        return not database.is_encrypted(connection) or self.programs.has_ssl()
