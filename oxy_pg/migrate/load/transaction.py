"""
The transaction of the target that does all the writing.

Pre-data, COPY, post-data, verification, commit. If it does not get there, the target is as it was.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from oxy_pg.errors import TargetNotEmpty, VerificationFailed
from oxy_pg.migrate.load import computed, sequences, verify
from oxy_pg.migrate.load.comparison import Comparison
from oxy_pg.migrate.load.load import (
    Loaded,
    Loader,
    copy_table,
    fits_few_pages,
    insert_defaults,
)
from oxy_pg.migrate.load.post_data import PostData
from oxy_pg.migrate.plan.plan import KEYS_RESTORED
from oxy_pg.migrate.plan.standing import fate
from oxy_pg.migrate.report.values import Change, Count, SequenceReport, Verification
from oxy_pg.migrate.target import session
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.report import Progress
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.check.preflight import Preflight
    from oxy_pg.migrate.load.load import Reading
    from oxy_pg.migrate.plan.plan import Plan, TablePlan
    from oxy_pg.migrate.source.readers import Readers
    from oxy_pg.migrate.target.set_aside import SetAside
    from oxy_pg.report import Skipped

_log = logging.getLogger("oxy_pg")


class Transaction:
    """
    Carries a plan out; ``run`` does it, once.

    ``doing`` is its current step, for the message when it fails.
    """

    def __init__(
        self,
        readers: Readers,
        server: psycopg.Connection[Any],
        plan: Plan,
        preflight: Preflight,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.lite = readers.connection
        self.server = server
        self.plan = plan
        self.preflight = preflight
        self.on_progress = on_progress
        self.doing = "write to"
        self.loader = Loader(readers, plan, preflight.rows.skipped, preflight.rows.nulled)
        self.loaded: dict[str, Loaded] = {}
        self._post = PostData(readers.connection, server, plan)
        self.in_order: set[str] = set()  # tables whose physical order is that of the COPY
        self.sequences: tuple[SequenceReport, ...] = ()
        self.warnings: list[str] = []
        self.verified = Verification(plan.options.verify, 0, 0, 0)
        self.computed: tuple[Change, ...] = ()

    @property
    def skipped(self) -> list[Skipped]:
        """The objects that PostgreSQL refuses, and that are left behind."""
        return self._post.skipped

    def run(self) -> None:
        """
        Write, compare, commit; in a rehearsal roll back instead.

        Raises what PostgreSQL says, and MigrationError's children.
        """
        with session.transaction(self.server, writes=True):
            if self.plan.options.rehearse:
                self.warnings += sequences.hold_sequences(self.server, self.plan)
            self._write()
            self.doing = "commit to"
            if self.plan.options.rehearse:
                # What a commit would still examine.
                self._execute("SET CONSTRAINTS ALL IMMEDIATE")
                raise psycopg.Rollback

    def create_and_roll_back(self) -> None:
        """
        Create the new tables without rows, and what belongs to them alone; keep nothing.

        ``skipped`` then has what PostgreSQL refuses.
        """
        with session.transaction(self.server):
            for statement in self.plan.pre_data:
                self._execute(statement.sql)
            self._post.fill(*(t.target for t in self.plan.tables if t.existing is None))
            self._post.proves = False
            self._post.run()
            raise psycopg.Rollback

    def _write(self) -> None:
        before = self._open_tables()
        self.doing = "run migrations on"
        for statement in self.plan.pre_data:
            self._execute(statement.sql)
        aside = self._put_aside()
        self._truncate()
        self._load()
        self._post_data(aside)
        self.doing = "set the sequences of"
        advanced = sequences.advance(self.server, self.plan)
        self.sequences = tuple(advanced.done)
        self.warnings += advanced.warnings
        self._verify(before)

    def _execute(self, statement: str) -> None:
        self.server.execute(statement)

    def _open_tables(self) -> dict[str, int]:
        """Lock the existing tables, and check again whether they are empty."""
        self.doing = "lock the tables of"
        before: dict[str, int] = {}
        full = []
        for table in self.plan.tables:
            if table.existing is None:
                continue
            mode = "ACCESS EXCLUSIVE" if table.existing.owned else "ROW EXCLUSIVE"
            self._execute(f"LOCK TABLE {ident(self.plan.schema, table.target)} IN {mode} MODE")
            rows = verify.count(self.server, self.plan.schema, table.target)
            becomes = fate(table, self.plan.options)
            seeds = table.standing.rows if table.standing and table.standing.seeds else rows
            if rows and (becomes == "refuse" or rows != seeds):
                full.append((table.target, rows))
            kept = rows if becomes == "keep" else 0
            before[table.target] = kept
        if full:
            raise TargetNotEmpty(tuple(full))
        return before

    def _put_aside(self) -> list[SetAside]:
        self.doing = "set aside the constraints of"
        done = []
        for aside in self.plan.set_aside:
            try:
                with self.server.transaction():
                    self._execute(aside.remove)
            except (pg.DependentObjectsStillExist, pg.InsufficientPrivilege) as error:
                # Another object depends on it (a view grouped by the key): the load is only slower.
                _log.info("%s stays in place: %s", aside.what, error.diag.message_primary)
            else:
                done.append(aside)
        return done

    def _truncate(self) -> None:
        self.doing = "empty the tables of"
        names = [
            ident(self.plan.schema, table.target)
            for table in self.plan.tables
            if table.existing is not None and fate(table, self.plan.options) == "replace"
        ]
        if names:
            self._execute(f"TRUNCATE {', '.join(names)}")

    def _may_be_fresh(self, table: TablePlan) -> bool:
        if table.existing is None:
            return True
        if not (table.existing.owned and table.existing.ordinary):
            return False
        becomes = fate(table, self.plan.options)
        return not (becomes == "keep" and table.existing.has_rows)

    def _is_fresh(self, table: TablePlan) -> bool:
        if table.existing is None or not self._may_be_fresh(table):
            return table.existing is None
        if fate(table, self.plan.options) == "replace":
            return True
        try:
            # It is empty, and gets a new file that needs no write-ahead log until the commit.
            with self.server.transaction():
                self._execute(f"TRUNCATE {ident(self.plan.schema, table.target)}")
        except (pg.FeatureNotSupported, pg.InsufficientPrivilege):
            return False
        return True

    def _load(self) -> None:
        """Fill the tables, and build the indexes and constraints of each as soon as possible."""
        with ExitStack() as readings:
            reading = self._begin_reading(0, readings)
            for number, table in enumerate(self.plan.tables):
                self.doing = f"insert {table.source.name} into"
                self._fill(number, table, reading)
                # PostgreSQL builds indexes while the next table is read.
                reading = self._begin_reading(number + 1, readings)
                self._post.fill(table.target)
                self.doing = "build indexes and constraints on"
                self._post.run_ahead()

    def _begin_reading(self, number: int, readings: ExitStack) -> Reading | None:
        if number >= len(self.plan.tables):
            return None
        table = self.plan.tables[number]
        if not (table.loaded and table.rows):
            return None
        reading = self.loader.read(table, in_order=self._may_be_fresh(table))
        readings.enter_context(reading.pieces)
        return reading

    def _fill(self, number: int, table: TablePlan, reading: Reading | None) -> None:
        name, tables = table.source.name, len(self.plan.tables)
        fresh = self._is_fresh(table)
        if fresh:
            self.in_order.add(name)

        def on_rows(rows: int, size: int, phase: str = "load") -> None:
            self.on_progress(Progress(phase, number + 1, tables, name, rows, table.rows, size))

        on_rows(0, 0)
        if reading is not None:
            target = sql.Identifier(self.plan.schema, table.target)
            freeze = fresh and not fits_few_pages(table)  # that would create one more file
            loaded = copy_table(self.server, reading, target, on_rows, freeze=freeze)
        else:
            rows = table.rows - self.preflight.rows.count(table)
            loaded = insert_defaults(self.server, self.plan.schema, table, rows)
        self.loaded[name] = loaded
        on_rows(loaded.rows, loaded.bytes, "table")

    def _post_data(self, aside: list[SetAside]) -> None:
        self.doing = "build indexes and constraints on"
        self.on_progress(Progress("index", of=len(self.plan.tables)))
        self._post.run()
        for phase in (3, 2, 1, 0):  # indexes, keys, foreign keys, triggers
            for put in aside:
                if put.phase == phase:
                    for restore in put.restore:
                        self._execute(restore)
            if phase == 2:
                self._post.fill(KEYS_RESTORED)
                self._post.run()

    def _verify(self, before: dict[str, int]) -> None:
        self.doing = "verify the rows of"
        options, tables = self.plan.options, self.plan.tables
        self.on_progress(Progress("verify", of=len(tables)))
        if options.verify == "none":
            return
        comparison = Comparison(self.lite, self.preflight.rows)
        verifier = verify.Verifier(self.server, self.plan, comparison)
        counts = self._counts(before)
        compared = []
        if options.verify == "full":
            done, of_rows = 0, self.plan.rows
            for number, table in enumerate(tables):
                name = table.source.name
                self.on_progress(Progress("verify", number, len(tables), name, done, of_rows))
                done += table.rows
                if table.columns:
                    in_order = table.source.name in self.in_order
                    loaded = self.loaded[table.source.name]
                    compared.append(verifier.compare(table, loaded, in_order=in_order))
                    self._compare_computed(table, in_order=in_order)
        rows = [count.target - count.before for count in counts]
        cells = sum(n * len(table.columns) for n, table in zip(rows, tables, strict=True))
        self.verified = Verification(
            options.verify,
            len(tables),
            sum(rows),
            cells if options.verify == "full" else 0,
            tuple(counts),
            tuple(compared),
        )

    def _counts(self, before: dict[str, int]) -> list[Count]:
        """Count the rows of all tables. Raises VerificationFailed."""
        differences, counts = [], []
        names = [table.target for table in self.plan.tables]
        rows = verify.count_all(self.server, self.plan.schema, names)
        for table, found in zip(self.plan.tables, rows, strict=True):
            kept = before.get(table.target, 0)
            left = self.preflight.rows.count(table)
            wanted = kept + table.rows - left
            counts.append(Count(table.source.name, table.rows, found, kept, left))
            if found != wanted:
                differences.append(
                    f"{table.source.name}: {many(wanted, 'row')} expected, {found:,} found"
                )
        if differences:
            raise VerificationFailed(tuple(differences))
        return counts

    def _compare_computed(self, table: TablePlan, *, in_order: bool) -> None:
        """Count the values that the target computes in another way than SQLite."""
        if not table.computed_by_target:
            return
        rows = self.preflight.rows
        found = computed.differences(
            self.lite, self.server, self.plan, rows, table, in_order=in_order
        )
        if found is None:
            self.warnings.append(
                f"{table.source.name}: what PostgreSQL computes in it is not compared, because "
                "its rows are added to others and have no key"
            )
            return
        self.computed += tuple(
            Change(
                table.source.name,
                column,
                difference.count,
                f"computed by PostgreSQL in another way: {difference.example}",
            )
            for column, difference in found.items()
        )
