"""
One database copied into another: ``oxy_pg.push()`` and ``oxy_pg.pull()``.

Either ``in_place``, in one transaction, into the existing database; or
``alongside``, into a new one with several connections, which then takes the
name. A reader of the target sees what was there, or all that has arrived.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import TransferRefused
from oxy_pg.report import Progress
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import database, swap
from oxy_pg.transfer.copy import alongside, copy_plan, in_place
from oxy_pg.transfer.parts import schema, snapshot, tables
from oxy_pg.transfer.report import MovedTable, TransferReport
from oxy_pg.transfer.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oxy_pg.report import Skipped
    from oxy_pg.transfer.copy.copy_plan import CopyPlan, Order
    from oxy_pg.transfer.parts.schema import Archive
    from oxy_pg.transfer.parts.snapshot import Snapshot
    from oxy_pg.transfer.parts.tables import Table

_OPTIONS = ("--no-owner", "--no-privileges", "--no-security-labels")


def run(
    order: Order, *, dry_run: bool, on_progress: Callable[[Progress], object] | None
) -> TransferReport:
    """
    Carry out an order, or with ``dry_run`` report its plan.

    ``order.timeout`` is how long the two servers are waited for, both together.
    """
    order.check()
    began = time.monotonic()
    deadline = Deadline(order.timeout)
    show = on_progress or _ignore
    show(Progress("connect"))
    try:
        with contextlib.ExitStack() as stack:
            reading = database.connect(order.source_url, deadline, name="--from")
            source = snapshot.export(
                stack.enter_context(contextlib.closing(reading)), order.source_url
            )
            target = stack.enter_context(contextlib.closing(_target(order, deadline)))
            directory = stack.enter_context(workspace())
            show(Progress("plan"))
            plan = copy_plan.plan(order, source.connection, target)
            outcome = _look if dry_run else _carry_out
            counted, skipped, warnings = outcome(plan, source, target, directory, show)
    except psycopg.Error as error:
        what = f"{order.verb} {order.source_shown} to {order.target_shown}"
        raise database.refused(what, error) from error
    show(Progress("done"))
    return TransferReport(
        verb=order.verb,
        source=order.source_shown,
        target=order.target_shown,
        source_version=plan.inventory.version,
        target_version=plan.target_version,
        dry_run=dry_run,
        tables=tuple(
            MovedTable(table.schema, table.name, counted.get(table, 0), table.size)
            for table in plan.inventory.tables
        ),
        replaced=plan.replaced,
        extensions=tuple(f"{one.name} {one.version}" for one in plan.inventory.extensions),
        skipped=skipped,
        warnings=(*plan.warnings, *warnings),
        problems=tuple(map(str, plan.problems)),
        seconds=time.monotonic() - began,
    )


def _ignore(_: Progress) -> None:
    pass


def _target(order: Order, deadline: Deadline) -> psycopg.Connection[Any]:
    """Connect to the target; where it does not exist yet, to where it will be created."""
    if not order.alongside:
        return database.connect(order.target_url, deadline, name="--to", pooled=True)
    try:
        return database.connect(order.target_url, deadline, name="--to")
    except TransferRefused as error:
        if "does not exist" not in error.reason:
            raise
        return swap.maintenance(order.target_url, deadline)


# Rows of each table, what was left out, and warnings.
_Outcome = tuple["Mapping[Table, int]", "tuple[Skipped, ...]", "tuple[str, ...]"]


def _look(
    plan: CopyPlan,
    source: Snapshot,
    _: psycopg.Connection[Any],
    directory: str,
    show: Callable[[Progress], object],
) -> _Outcome:
    """Count the rows that would be copied, and see what would be left out; writes nothing."""
    counted = tables.count(
        source.connection,
        plan.inventory.tables if plan.is_readable else (),
        lambda done, of, table: show(Progress("count", done, of, table)),
    )
    if plan.problems:
        return counted, (), ()
    return counted, _schema(plan, source, directory, show).skipped, ()


def _carry_out(
    plan: CopyPlan,
    source: Snapshot,
    target: psycopg.Connection[Any],
    directory: str,
    show: Callable[[Progress], object],
) -> _Outcome:
    """Carry a plan out; raises the first of its problems if there are any."""
    if plan.problems:
        raise plan.problems[0]
    archive = _schema(plan, source, directory, show)
    copy = alongside.copy if plan.order.alongside else in_place.copy
    copied = copy(plan, archive, source, target, show)
    return copied.rows, (*archive.skipped, *copied.unsupported), copied.warnings


def _schema(
    plan: CopyPlan, source: Snapshot, directory: str, show: Callable[[Progress], object]
) -> Archive:
    assert plan.programs is not None
    show(Progress("schema"))
    return schema.dump(
        plan.programs,
        source.url,
        f"{directory}/schema",
        snapshot=source.name,
        schemas=plan.order.schemas,
        options=_OPTIONS,
        leave_local=True,
    )
