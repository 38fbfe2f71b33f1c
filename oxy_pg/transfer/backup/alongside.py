"""Carries out a restore into a new database, which then replaces the old one."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.errors import CountsDiffer, ToolFailed
from oxy_pg.report import Progress
from oxy_pg.transfer import database, swap
from oxy_pg.transfer.backup import archive, extensions, script
from oxy_pg.transfer.parts import functions, schema, settings
from oxy_pg.transfer.running import Running
from oxy_pg.url import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oxy_pg.transfer.backup.restore_plan import RestorePlan

_PAUSE = 0.2  # seconds between two looks at how far pg_restore is
_RARELY = 50  # times as long as a look takes: it looks at every file of the database
_CANCELLED_WITHIN = 10.0  # seconds
_OPTIONS = ("--no-owner", "--no-privileges")


def restore(
    plan: RestorePlan, sessions: swap.Sessions, on_progress: Callable[[Progress], object]
) -> swap.Replaced:
    """
    Restore into a new database, compare its rows with the manifest, and swap the two.

    Raises TransferError and psycopg.Error, and then the old one is as it was.
    """
    return swap.replace(
        sessions,
        plan.database,
        plan.old,
        lambda new: _fill(plan, new, on_progress),
        keep=plan.order.keep_old,
        on_swap=lambda: on_progress(Progress("swap")),
    )


def _fill(plan: RestorePlan, new: str, on_progress: Callable[[Progress], object]) -> None:
    """Restore into an empty database, and compare."""
    on_progress(Progress("load", 0, plan.manifest.database_bytes))
    url = with_database(plan.url, new)
    superuser_url = plan.superuser_url and with_database(plan.superuser_url, new)
    extensions.create(plan.manifest, url, superuser_url, plan.doing)
    try:
        with database.connect_again(url) as connection:
            held = functions.Held(connection, plan.order.search_path)
            if plan.manifest.kind == "custom":
                _load(plan, url, connection, held, on_progress)
            else:
                script.feed(connection, script.of_plain_backup(plan, on_progress), held)
    except (ToolFailed, psycopg.Error) as error:
        raise script.failed(plan, error) from error
    with (
        _analyzing(new, url) as analyzed,
        database.connect_again(with_database(plan.reader_url, new)) as connection,
    ):
        _compare(plan, connection, on_progress)
        on_progress(Progress("analyze"))
        analyzed()
    with database.connect_again(url) as connection:
        held.at_end(connection)


@contextlib.contextmanager
def _analyzing(new: str, url: str) -> Iterator[Callable[[], None]]:
    """Collect statistics during the block; give what waits for it, and raises TransferRefused."""
    with database.connect_again(url) as connection, ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(_analyze, connection)

        def wait() -> None:
            try:
                collecting.result()
            except psycopg.Error as error:
                raise database.refused(f"analyze {new!r}", error) from error

        try:
            yield wait
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCELLED_WITHIN)
            raise


def _analyze(connection: psycopg.Connection[Any]) -> None:
    """Collect statistics: without them the first queries are slow."""
    # Not PostgreSQL's own tables: of those the log warns any role but the superuser.
    rows = connection.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND"
        " n.nspname <> 'information_schema'"
    ).fetchall()
    if rows:
        names = sql.SQL(", ").join(sql.SQL(row[0]) for row in rows)
        connection.execute(sql.SQL("ANALYZE {}").format(names))


def _load(
    plan: RestorePlan,
    url: str,
    connection: psycopg.Connection[Any],
    held: functions.Held,
    on_progress: Callable[[Progress], object],
) -> None:
    """Load the archive: by pg_restore as it is, or section by section."""
    if not plan.in_sections:
        _run(plan, plan.entries, (), url, on_progress)
        return
    with archive.list_file(plan.entries) as listed:
        options = (*_OPTIONS, f"--use-list={listed}")
        definitions = schema.Archive(plan.programs, plan.path, options, ())
        connection.execute(settings.SCHEMA)
        definitions.execute("pre-data", connection, held)
    held.before_rows()
    for entries in archive.ordered(plan.entries, held.late):
        if entries:
            _run(plan, entries, ("--section=data",), url, on_progress)
    held.after_rows()
    _run(plan, plan.entries, ("--section=post-data",), url, on_progress)


def _run(
    plan: RestorePlan,
    entries: Iterable[str],
    options: Iterable[str],
    url: str,
    on_progress: Callable[[Progress], object],
) -> None:
    """Have pg_restore load these entries, with several connections."""
    arguments = [*_OPTIONS, f"--jobs={plan.order.jobs}", *options]
    if archive.stops_at_errors(plan.programs, plan.server_major):
        arguments.append("--exit-on-error")
    with (
        archive.list_file(entries) as listed,
        database.connect_again(url) as connection,
        archive.harmless_errors_ignored(plan.programs, plan.server_major),
        Running(
            plan.programs,
            "pg_restore",
            [*arguments, f"--use-list={listed}", plan.path],
            url=url,
            settings=_settings(connection),
        ) as running,
    ):
        pause = _PAUSE
        while running.is_running_after(pause):
            began = time.monotonic()
            size = database.one(connection, "SELECT pg_database_size(current_database())")
            pause = max(_PAUSE, _RARELY * (time.monotonic() - began))
            on_progress(Progress("load", size, max(plan.manifest.database_bytes, size)))


def _settings(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return what pg_restore's sessions begin with."""
    patience = database.patience(connection)
    # The disk begins to write while rows arrive: each commit syncs the files of its table.
    return {**patience, "backend_flush_after": "1MB"} if patience else {}


def _compare(
    plan: RestorePlan,
    connection: psycopg.Connection[Any],
    on_progress: Callable[[Progress], object],
) -> None:
    """Compare the row counts with the manifest; raises CountsDiffer."""
    try:
        counted = database.count(
            connection,
            lambda done, of, table: on_progress(Progress("verify", done, of, table)),
        )
        large_objects = database.large_objects(connection)
    except psycopg.Error as error:
        raise database.refused(f"compare the restored {plan.database!r}", error) from error
    wanted = {str(table): table.rows for table in plan.manifest.tables}
    found = {str(table): table.rows for table in counted}
    wanted["large objects"], found["large objects"] = plan.manifest.large_objects, large_objects
    differences = [
        f"{name}: {found.get(name, 'missing')} instead of {wanted.get(name, 'missing')}"
        for name in sorted(wanted | found)
        if wanted.get(name) != found.get(name)
    ]
    if differences:
        raise CountsDiffer(tuple(differences))
