"""Carries out a push into the existing database, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import DatabaseNotEmpty, TransferRefused
from oxy_pg.report import Progress
from oxy_pg.transfer import database, locks
from oxy_pg.transfer.copy import conflicts, loading
from oxy_pg.transfer.parts import functions, inventory, rows, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.report import Skipped
    from oxy_pg.transfer.copy.copy_plan import CopyPlan
    from oxy_pg.transfer.copy.loading import Copied
    from oxy_pg.transfer.parts.rows import Pump
    from oxy_pg.transfer.parts.schema import Archive
    from oxy_pg.transfer.parts.snapshot import Snapshot


def copy(
    plan: CopyPlan,
    archive: Archive,
    source: Snapshot,
    target: psycopg.Connection[Any],
    on_progress: Callable[[Progress], object],
) -> Copied:
    """
    Copy it all in one transaction: before the commit no other session sees any of it.

    Raises TransferError and psycopg.Error, and then the target is as it was;
    only when the connection is lost during the commit, that is not known.
    """
    pump = loading.pump(plan, on_progress)
    unsupported: tuple[Skipped, ...] = ()
    committing = False
    try:
        with target.transaction():
            unsupported = _copy(plan, archive, source, target, pump, on_progress)
            on_progress(Progress("swap"))
            committing = True
    except psycopg.OperationalError as error:
        if not committing:
            raise
        raise TransferRefused(
            f"{plan.order.verb} to {plan.order.target_shown}",
            f"the connection was lost during the commit ({str(error).strip()}).",
            "It is not known whether all of it was committed, or nothing: --dry-run shows what is "
            "in the target.",
        ) from error
    return loading.Copied(pump.rows, unsupported, loading.analyze(plan, target, on_progress))


def _copy(
    plan: CopyPlan,
    archive: Archive,
    source: Snapshot,
    target: psycopg.Connection[Any],
    pump: Pump,
    on_progress: Callable[[Progress], object],
) -> tuple[Skipped, ...]:
    """Do what is in the transaction; returns what the target's version does not know."""
    replace = plan.order.if_not_empty == "replace"
    database.disable_timeouts(target, local=True)
    target.execute(settings.ROWS)
    target.execute(settings.FLUSH)
    target.execute("SET LOCAL check_function_bodies = off")
    locks.copy_into(target, plan.order.target_shown)
    _drop_conflicts(plan, target, replace=replace)
    inventory.create_extensions(target, plan.extensions)
    inventory.create_schemas(target, plan.schemas)
    held = functions.Held(target, plan.order.search_path)
    unsupported = archive.execute("pre-data", target, held)
    held.before_rows()
    for tables in rows.ordered(pump.tables, held.late):
        for table in tables:
            pump.copy(source.connection, target, table)
    loading.sequences_and_large_objects(plan, source.connection, target, replace=replace)
    held.after_rows()
    # Before row-level security is enabled, which would hide rows from their owner too.
    loading.verify(pump, target, on_progress)
    on_progress(Progress("index"))
    unsupported += archive.execute("post-data", target)
    held.at_end(target)
    # A pooler hands this session to another client next.
    target.execute("RESET ALL")
    database.disable_timeouts(target, local=True)  # deferred constraints are checked by the commit
    return unsupported


def _drop_conflicts(plan: CopyPlan, target: psycopg.Connection[Any], *, replace: bool) -> None:
    """Drop what is replaced, which may be more than when the plan was made."""
    found = conflicts.look(target, plan.schemas)
    if found and not replace:
        raise DatabaseNotEmpty(plan.order.target_shown, tuple(map(str, found)))
    conflicts.drop(target, plan.schemas, found)
