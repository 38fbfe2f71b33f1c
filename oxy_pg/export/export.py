"""Export a database to a SQLite file: decided, checked, written aside, compared, renamed."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg

from oxy_pg import connection as connections
from oxy_pg.errors import BadExportValues, ConfigurationError, ExportRefused
from oxy_pg.export import catalog, check, load, original, plan, verify
from oxy_pg.export.report import ExportedColumn, ExportedTable, ExportReport
from oxy_pg.report import Progress
from oxy_pg.system import aside, files
from oxy_pg.system.deadline import Deadline
from oxy_pg.url import mask, mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oxy_pg.export.check import Found
    from oxy_pg.export.load import Block
    from oxy_pg.export.plan import ExportPlan, TablePlan
    from oxy_pg.report import BadValue

_ENDING = ".oxy-export"
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# The forms of columns depend on these; an empty search_path has every name qualified.
_SETTINGS = {
    "search_path": "",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "60s",
    "idle_in_transaction_session_timeout": "0",
    # Both sides are compared in the order in which the rows lie.
    "synchronize_seqscans": "off",
}
_NOTHING = "No file was written."


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for; ``oxy_pg.export_sqlite()`` says what each means."""

    path: str
    url: str
    tables: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    schemas: Sequence[str] | None = None
    like: str | None = None
    on_bad_value: Literal["error", "null"] = "error"
    force: bool = False
    dry_run: bool = False
    timeout: float = 30.0


def export(order: Order, on_progress: Callable[[Progress], object] | None = None) -> ExportReport:
    """Carry the order out. Raises ExportError and ConfigurationError."""
    began = time.monotonic()
    show = on_progress or _ignore
    _check_order(order)
    show(Progress("connect"))
    try:
        with _snapshot(order) as connection:
            return _Export(order, connection, show, began).run()
    except psycopg.Error as error:
        words = mask_text(str(error).strip())
        raise ExportRefused(f"export {mask(order.url)}", words, _remedy(error)) from error
    except (sqlite3.Error, OSError) as error:
        raise ExportRefused(
            f"write {order.path}", str(error), f"Check the path, and the disk's space. {_NOTHING}"
        ) from error


def _remedy(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"The role has to be able to read every table. {_NOTHING}"
    return f"Correct the cause, and run it again. {_NOTHING}"


def _ignore(_: Progress) -> None:
    pass


def _check_order(order: Order) -> None:
    if order.on_bad_value not in {"error", "null"}:
        raise ConfigurationError(
            f'on_bad_value is {order.on_bad_value!r}; it is "error" or "null".'
        )
    if os.path.isdir(order.path) or not os.path.isdir(os.path.dirname(order.path)):
        raise ConfigurationError(
            f"{order.path} cannot be written: name a file in a directory that exists."
        )
    if os.path.lexists(order.path) and not order.force and not order.dry_run:
        raise _exists(order.path)
    if not order.dry_run:
        _settle(order.path)


def _settle(path: str) -> None:
    """
    Make sure that no changes of another database are beside the file that is to be written.

    Those of the database that is to be overwritten are written into it first: nothing is
    lost of it before its place is taken. Raises ExportRefused.
    """
    if os.path.isfile(path) and aside.sqlite_changes(path):
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(path, timeout=1)) as old,
        ):
            old.execute("PRAGMA journal_mode = DELETE")
    if left := aside.sqlite_changes(path):
        names = " and ".join(os.path.basename(name) for name in left)
        raise ExportRefused(
            f"write {path}",
            f"{names} beside it has changes of another database, which SQLite would write into "
            "this one.",
            "Stop the application that has that database open; if none has, and its changes are "
            f"not wanted, remove {names}. Or choose another name. {_NOTHING}",
        )


def _exists(path: str) -> ExportRefused:
    return ExportRefused(
        f"write {path}",
        "the file already exists, and was not touched.",
        "Choose another name, or overwrite it with --force (force=True).",
    )


@contextlib.contextmanager
def _snapshot(order: Order) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection in a transaction that sees the database as of one moment."""
    try:
        opened = connections.connect(order.url, Deadline(order.timeout))
    except connections.Unreachable as error:
        raise ExportRefused(f"connect to {error.url}", error.reason, error.remedy) from error
    with contextlib.closing(opened) as connection:
        connection.execute(_BEGIN)
        for name, value in _SETTINGS.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        yield connection


class _Export:
    """Carries an order out in a snapshot."""

    def __init__(
        self,
        order: Order,
        connection: psycopg.Connection[Any],
        on_progress: Callable[[Progress], object],
        began: float,
    ) -> None:
        self.order = order
        self.connection = connection
        self.on_progress = on_progress
        self.began = began
        self.rows = 0  # of all tables
        self.done = 0

    def run(self) -> ExportReport:
        """Do it, and return the report."""
        self.on_progress(Progress("plan"))
        planned = self._planned()
        found = self._check(planned)
        bad = tuple(value for one in found for value in one.bad_values)
        if self.order.dry_run:
            return self._report(planned, found, bad, 0, 0)
        planned = self._without_bad_values(planned, found, bad)
        label = os.path.basename(self.order.path)
        with aside.written(os.path.dirname(self.order.path), label, _ENDING) as part:
            values = self._write(part, planned, found)
            size = os.path.getsize(part)
            files.sync_file(part)
            _settle(self.order.path)
            try:
                aside.put(part, self.order.path, replace=self.order.force)
            except FileExistsError as error:
                raise _exists(self.order.path) from error
        self.on_progress(Progress("done", self.rows, self.rows))
        return self._report(planned, found, bad, values, size)

    def _planned(self) -> ExportPlan:
        order = self.order
        tables = plan.chosen(
            catalog.tables(self.connection, order.schemas), order.tables, order.exclude
        )
        others = catalog.others(self.connection, order.schemas)
        if order.like is None:
            return plan.create(tables, others)
        return original.plan(order.like, tables, others)

    def _check(self, planned: ExportPlan) -> list[Found]:
        found = []
        for number, table in enumerate(planned.tables):
            self.on_progress(Progress("count", number, len(planned.tables), table.target))
            found.append(check.look(self.connection, table))
        self.rows = sum(one.rows for one in found)
        self.on_progress(Progress("count", len(found), len(found)))
        return found

    def _without_bad_values(
        self, planned: ExportPlan, found: list[Found], bad: tuple[BadValue, ...]
    ) -> ExportPlan:
        refused = bad
        if self.order.on_bad_value == "null":
            pairs = zip(planned.tables, found, strict=True)
            refused = tuple(v for t, one in pairs for v in check.required(t, one.bad_values))
        if refused:
            raise BadExportValues(refused)
        return planned.with_tables(
            check.without(table, one.bad_values) if one.bad_values else table
            for table, one in zip(planned.tables, found, strict=True)
        )

    def _write(self, part: str, planned: ExportPlan, found: list[Found]) -> int:
        """Write the file, and compare it; return how many values were compared."""
        values = sum(
            one.rows * len(table.columns) for table, one in zip(planned.tables, found, strict=True)
        )
        with verify.Readers(part, values) as readers:
            written = self._copy(part, planned, found)
            self.done = 0
            return verify.compare(readers, written, functools.partial(self._count, "verify"))

    def _copy(
        self, part: str, planned: ExportPlan, found: list[Found]
    ) -> list[tuple[TablePlan, list[Block]]]:
        written = []
        with contextlib.closing(load.create(part, planned)) as lite:
            for table, one in zip(planned.tables, found, strict=True):
                show = functools.partial(self._count, "dump", table)
                written.append((table, load.copy(self.connection, lite, table, one.batch, show)))
            self.on_progress(Progress("index"))
            load.finish(self.connection, lite, planned)
        return written

    def _count(self, phase: str, table: TablePlan, rows: int) -> None:
        self.done += rows
        self.on_progress(Progress(phase, self.done, self.rows, table.target))

    def _report(
        self,
        planned: ExportPlan,
        found: list[Found],
        bad: tuple[BadValue, ...],
        values: int,
        size: int,
    ) -> ExportReport:
        return ExportReport(
            source=mask(self.order.url),
            path=self.order.path,
            dry_run=self.order.dry_run,
            server_version=connections.version(self.connection),
            tables=tuple(
                ExportedTable(
                    table.table.schema,
                    table.table.name,
                    table.target,
                    one.rows,
                    tuple(
                        ExportedColumn(stored.target, stored.column.type, stored.form.declared)
                        for stored in table.columns
                    ),
                )
                for table, one in zip(planned.tables, found, strict=True)
            ),
            skipped=planned.skipped,
            bad_values=bad,
            values=values,
            size=size,
            seconds=time.monotonic() - self.began,
        )
