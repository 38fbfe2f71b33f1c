"""Carries out a restore into the database itself, in one transaction."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import ToolFailed
from oxy_pg.report import Progress
from oxy_pg.transfer import database
from oxy_pg.transfer.backup import archive, extensions, script
from oxy_pg.transfer.parts import functions
from oxy_pg.transfer.running import Running
from oxy_pg.url import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxy_pg.transfer.backup.restore_plan import RestorePlan


def restore(
    plan: RestorePlan,
    connection: psycopg.Connection[Any],
    on_progress: Callable[[Progress], object],
) -> None:
    """
    Run it all in one transaction, the comparison with the manifest included.

    ``connection`` is to the database, and closed before that: it might hold
    locks. Raises TransferError, and then the database is as it was.
    """
    checks = b"".join(script.verify(connection, plan.manifest.tables))
    connection.close()
    on_progress(Progress("load", 0, plan.manifest.size))
    if plan.superuser_url is not None:
        superuser_url = with_database(plan.superuser_url, plan.database)
        extensions.create(plan.manifest, plan.url, superuser_url, plan.doing)
    try:
        with database.connect_again(plan.url) as loading:
            loading.execute("BEGIN")
            held = functions.Held(loading, plan.order.search_path)
            script.feed(loading, _script(plan, on_progress), held)
            held.at_end(loading)
            loading.execute(checks)
            loading.execute("COMMIT")
    except (ToolFailed, psycopg.Error) as error:
        raise script.failed(plan, error) from error


def _script(plan: RestorePlan, on_progress: Callable[[Progress], object]) -> Iterator[bytes]:
    """Yield everything that is restored: extensions, the backup."""
    if plan.superuser_url is None:
        for make in (extensions.schema_statements, extensions.statements):
            for statement in make(plan.manifest):
                yield statement.as_bytes(None) + b";\n"
    if plan.manifest.kind == "plain":
        yield from script.of_plain_backup(plan, on_progress)
    else:
        yield from _of_archive(plan)


def _of_archive(plan: RestorePlan) -> Iterator[bytes]:
    """Yield the SQL that pg_restore makes of the archive."""
    arguments = ["--no-owner", "--no-privileges", "--file=-", plan.path]
    arguments += ["--clean", "--if-exists"] if plan.order.clean else []
    with (
        archive.list_file(plan.entries) as listed,
        Running(
            plan.programs,
            "pg_restore",
            [f"--use-list={listed}", *arguments],
            stdout=subprocess.PIPE,
        ) as running,
    ):
        yield from script.for_server(running.stdout, plan.server_major)
