"""
One database copied into another: ``oxy_pg.push()`` and ``oxy_pg.pull()``.

Either in one transaction, into the existing database; or into a new one
alongside it, with several connections, which then takes the name. A reader of
the target sees what was there, or all that has arrived.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import DatabaseNotEmpty, TransferRefused
from oxy_pg.report import Progress
from oxy_pg.system.deadline import Patience
from oxy_pg.transfer import database, swap
from oxy_pg.transfer.copy import conflicts, inventory, rows, schema
from oxy_pg.transfer.copy.copy_plan import CopyPlan, Order, make_plan
from oxy_pg.transfer.report import MovedTable, TransferReport
from oxy_pg.transfer.tools import has_ssl
from oxy_pg.transfer.workspace import workspace
from oxy_pg.url import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxy_pg.report import Skipped

_OPTIONS = ("--no-owner", "--no-privileges", "--no-security-labels")
_LOCK = 0x6F78795F70757368  # "oxy_push"


def run(
    order: Order, *, dry_run: bool, on_progress: Callable[[Progress], object] | None
) -> TransferReport:
    """Carry out an order, or with ``dry_run`` report what would be done."""
    began = time.monotonic()
    show = on_progress or _ignore
    patience = Patience(order.timeout)
    with contextlib.ExitStack() as stack:
        try:
            show(Progress("look"))
            snapshot = stack.enter_context(rows.snapshot(order.source_url, patience))
            target = stack.enter_context(_connect_target(order, patience))
            plan = make_plan(order, snapshot.connection, target, patience)
            copy = _Copy(plan, snapshot, target, patience, show)
            report = copy.rehearse() if dry_run else copy.run()
        except psycopg.Error as error:
            what = f"{order.verb} {order.source_shown} to {order.target_shown}"
            raise database.refused(what, error) from error
    return dataclasses.replace(report, seconds=time.monotonic() - began)


def _ignore(_: Progress) -> None:
    pass


def _connect_target(order: Order, patience: Patience) -> psycopg.Connection[Any]:
    """Connect to the target; where it does not exist yet, to where it will be created."""
    if not order.beside:
        return database.connect(order.target_url, patience, pooled=True)
    try:
        return database.connect(order.target_url, patience)
    except TransferRefused as error:
        if "does not exist" not in error.reason:
            raise
        return swap.maintenance(order.target_url, patience)


class _Copy:
    """A plan on its way: the source at one moment, and the target."""

    def __init__(
        self,
        plan: CopyPlan,
        snapshot: rows.Snapshot,
        target: psycopg.Connection[Any],
        patience: Patience,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.plan = plan
        self.order = plan.order
        self.snapshot = snapshot
        self.source = snapshot.connection
        self.target = target
        self.patience = patience
        self.on_progress = on_progress
        self.warnings = list(plan.warnings)
        self.skipped: list[Skipped] = []

    # --- dry run ----------------------------------------------------------------------

    def rehearse(self) -> TransferReport:
        """Report what would be done: every table's rows are counted, nothing is written."""
        counted = {}
        tables = self.plan.inventory.tables
        if self.plan.is_readable:
            for number, table in enumerate(tables):
                self.on_progress(Progress("count", number, len(tables), str(table)))
                counted[table] = table.count(self.source)
        if self.plan.programs is not None and not self.plan.problems:
            with workspace() as directory:
                self.skipped = self._schema(directory).skipped
        return self._report(counted, dry_run=True)

    def _report(self, counted: dict[rows.Table, int], *, dry_run: bool) -> TransferReport:
        return TransferReport(
            verb=self.order.verb,
            source=self.order.source_shown,
            target=self.order.target_shown,
            source_version=self.plan.inventory.version,
            target_version=self.plan.target_version,
            dry_run=dry_run,
            tables=tuple(
                MovedTable(table.schema, table.name, counted.get(table, 0), table.size)
                for table in self.plan.inventory.tables
            ),
            replaced=self.plan.replaced,
            extensions=tuple(f"{one.name} {one.version}" for one in self.plan.inventory.extensions),
            skipped=tuple(self.skipped),
            warnings=tuple(self.warnings),
            problems=tuple(str(problem) for problem in self.plan.problems) if dry_run else (),
            seconds=0.0,
        )

    # --- the transfer -----------------------------------------------------------------

    def run(self) -> TransferReport:
        """Do it; raises the first of the problems if there are any."""
        if self.plan.problems:
            raise self.plan.problems[0]
        with workspace() as directory:
            self.on_progress(Progress("schema"))
            archive = self._schema(directory)
            self.skipped = archive.skipped
            pump = rows.Pump(self.plan.inventory.tables, self._tell)
            if self.order.beside:
                self._beside(archive, pump)
            else:
                self._in_place(archive, pump)
        self.skipped += archive.unsupported
        self.on_progress(Progress("done"))
        return self._report(pump.rows, dry_run=False)

    def _schema(self, directory: str) -> schema.Archive:
        assert self.plan.programs is not None
        path = f"{directory}/schema"
        schema.dump(
            self.plan.programs,
            self.order.source_url,
            path,
            snapshot=self.snapshot.name,
            schemas=self.order.schemas,
        )
        return schema.Archive(self.plan.programs, path, options=_OPTIONS, leave_local=True)

    def _tell(self, table: rows.Table, _: int, done: int) -> None:
        total = sum(table.size for table in self.plan.inventory.tables)
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
                inventory.create_extensions(target, self.plan.missing)
                inventory.create_schemas(target, self.plan.schemas)
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
                f"{self.order.verb} to {self.order.target_shown}",
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
            f"{self.order.verb} to {self.order.target_shown}",
            "another one is under way there.",
            "Wait until it has ended, and run it again. Nothing was written.",
        )

    def _make_room(self, *, replace: bool) -> None:
        """Drop what is in the way, which may be more than when it was looked at."""
        found = conflicts.look(self.target, self.plan.schemas)
        if found and not replace:
            raise DatabaseNotEmpty(self.order.target_shown, tuple(map(str, found)))
        conflicts.drop(self.target, self.plan.schemas, found)

    def _analyze(self, connection: psycopg.Connection[Any]) -> None:
        """Give the planner its statistics; without them the first queries go astray."""
        self.on_progress(Progress("analyze"))
        for table in self.plan.inventory.tables:
            if table.condition is None:
                try:
                    connection.execute(rows.analyze(table))
                except psycopg.Error as error:
                    self.warnings.append(f"ANALYZE {table}: {str(error).strip()}")
                    return

    # --- beside, and swapped ------------------------------------------------------------

    def _beside(self, archive: schema.Archive, pump: rows.Pump) -> None:
        """Into a new database, which takes the name when it is complete."""
        with (
            contextlib.closing(
                swap.maintenance(self.order.target_url, self.patience)
            ) as connection,
            contextlib.closing(self._other()) as other,
        ):
            old = swap.look(connection, self.plan.name)
            with swap.alone(connection, self.plan.name):
                swap.sweep(connection, self.plan.name)
                new = swap.create(connection, self.plan.name, old)
                try:
                    self._fill(new, archive, pump)
                    if old is not None:
                        self.warnings += swap.carry_over(connection, self.plan.name, new)
                    self.on_progress(Progress("swap"))
                    self.target.close()  # it may be a session of the one that is renamed
                    away = swap.swap(
                        connection, other, self.plan.name, new, replaces=old is not None, keep=False
                    )
                except BaseException:
                    with contextlib.suppress(psycopg.Error):
                        swap.drop(connection, new)
                    raise
                if away is not None:
                    self._drop_replaced(connection, away)

    def _other(self) -> psycopg.Connection[Any]:
        if self.order.superuser is not None:
            return database.connect(self.order.superuser, self.patience)
        return swap.maintenance(self.order.target_url, self.patience)

    def _drop_replaced(self, connection: psycopg.Connection[Any], away: str) -> None:
        try:
            swap.drop(connection, away)
        except psycopg.Error as error:
            self.warnings.append(f"the old database is still there as {away}: {error}")

    def _fill(self, new: str, archive: schema.Archive, pump: rows.Pump) -> None:
        url = with_database(self.order.target_url, new)
        superuser = self.order.superuser
        maker = with_database(superuser, new) if superuser is not None else url
        with contextlib.closing(database.connect(url, self.patience)) as connection:
            inventory.create_schemas(connection, [one.schema for one in self.plan.missing])
            with contextlib.closing(database.connect(maker, self.patience)) as making:
                inventory.create_extensions(making, self.plan.missing)
            connection.execute(schema.SETTINGS)
            inventory.create_schemas(connection, self.plan.schemas)
            archive.execute("pre-data", connection)

            @contextlib.contextmanager
            def writer() -> Iterator[psycopg.Connection[Any]]:
                with contextlib.closing(database.connect(url, self.patience)) as writing:
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
        assert self.plan.programs is not None
        return not database.is_encrypted(connection) or has_ssl(self.plan.programs)
