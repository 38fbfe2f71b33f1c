"""Restore a backup: checked first, and then the database is the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import TransferError
from oxy_pg.installations import major_of
from oxy_pg.report import Progress, Report
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.backup import alongside, archive, in_place, manifest, restore_plan
from oxy_pg.url import mask, with_database

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.backup.restore_plan import Order, RestorePlan


@dataclass(frozen=True, slots=True)
class RestoreReport(Report):
    """A backup that was restored, and what became of the old database."""

    path: str
    database: str
    url: str  # without its password
    manifest: Manifest
    seconds: float
    replaced: bool  # there was a database of that name
    kept_as: str | None = None  # the name that it has now
    in_place: bool = False
    removed: tuple[str, ...] = ()  # databases that killed runs had left
    warnings: tuple[str, ...] = ()


def restore(
    path: str,
    url: str,
    *,
    superuser_url: str | None = None,
    reader_url: str | None = None,
    keep_old: bool = False,
    in_place: bool = False,
    clean: bool = False,
    jobs: int | None = None,
    search_path: str | None = None,
    confirm: Callable[[str], bool] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> RestoreReport:
    """
    Restore a backup into the database that ``url`` names.

    ``superuser_url`` is any database's of the same server, for what an ordinary
    role may not do: extensions, and ending sessions. ``reader_url`` is the same
    for a role that sees every row and has no other rights: what was restored is
    not read as superuser. See ``oxy_pg.restore()``.
    """
    order = restore_plan.order(
        path,
        url,
        superuser_url=superuser_url,
        reader_url=reader_url,
        keep_old=keep_old,
        in_place=in_place,
        clean=clean,
        jobs=jobs,
        search_path=search_path,
    )
    show = on_progress or _ignore
    found = manifest.check(order.path, lambda done, of: show(Progress("checksum", done, of)))
    began = time.monotonic()
    # From here on a server is waited for; reading the file has taken as long as it takes.
    deadline = Deadline(timeout)
    show(Progress("connect"))
    carry_out = _in_place if order.in_place else _alongside
    try:
        plan, replaced = carry_out(order, found, deadline, confirm, show)
    except psycopg.Error as error:
        raise database.refused(restore_plan.doing(order), error) from error
    show(Progress("done", found.rows, found.rows))
    return RestoreReport(
        path=order.path,
        database=plan.database,
        url=mask(order.url),
        manifest=found,
        seconds=time.monotonic() - began,
        replaced=plan.replaces_tables if order.in_place else plan.old is not None,
        kept_as=replaced.kept_as,
        in_place=order.in_place,
        removed=replaced.removed,
        warnings=replaced.warnings,
    )


def check(path: str, on_progress: Callable[[Progress], object] | None = None) -> Manifest:
    """Return the manifest of a backup that is intact; see ``oxy_pg.check_backup()``."""
    show = on_progress or _ignore
    path = os.path.abspath(os.path.expanduser(path))
    found = manifest.check(path, lambda done, of: show(Progress("checksum", done, of)))
    if found.kind == "custom":
        archive.contents(tools.find(major_of(found.tool_version)), path)
    return found


def _ignore(_: Progress) -> None:
    pass


def _alongside(
    order: Order,
    found: Manifest,
    deadline: Deadline,
    confirm: Callable[[str], bool] | None,
    show: Callable[[Progress], object],
) -> tuple[RestorePlan, swap.Replaced]:
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(swap.maintenance(order.url, deadline))
        plan = _agreed(order, found, own, confirm)
        other = stack.enter_context(
            swap.maintenance(
                order.url
                if order.superuser_url is None
                else with_database(order.superuser_url, swap.name_of(order.url))
            )
        )
        return plan, alongside.restore(plan, swap.Sessions(own, other), show)


def _in_place(
    order: Order,
    found: Manifest,
    deadline: Deadline,
    confirm: Callable[[str], bool] | None,
    show: Callable[[Progress], object],
) -> tuple[RestorePlan, swap.Replaced]:
    restore_plan.check_in_place(found, clean=order.clean)
    with database.connect(order.url, deadline) as connection:
        plan = _agreed(order, found, connection, confirm)
        in_place.restore(plan, connection, show)
        return plan, swap.Replaced(None, (), ())


def _agreed(
    order: Order,
    found: Manifest,
    connection: psycopg.Connection[Any],
    confirm: Callable[[str], bool] | None,
) -> RestorePlan:
    """Return a plan that can be carried out and that was confirmed; TransferError otherwise."""
    plan = restore_plan.plan(order, found, connection)
    if plan.problems:
        raise plan.problems[0]
    if plan.replaces_tables and confirm is not None and not confirm(plan.question):
        raise TransferError(f"{plan.question} That was not confirmed. Nothing was changed.")
    return plan
