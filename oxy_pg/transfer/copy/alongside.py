"""Carries out a push or pull into a new database, which takes the name when it is complete."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from oxy_pg.report import Progress
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.copy import loading
from oxy_pg.transfer.parts import functions, inventory, settings
from oxy_pg.url import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from oxy_pg.transfer.copy.copy_plan import CopyPlan
    from oxy_pg.transfer.copy.loading import Copied
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
    Copy it all into a new database, and swap the two.

    Raises TransferError and psycopg.Error, and then the target is as it was.
    """
    order = plan.order
    target.close()  # it may be a session of the one that is renamed
    filling = _Filling(plan, archive, source, on_progress)
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(contextlib.closing(swap.maintenance(order.target_url)))
        other = stack.enter_context(
            contextlib.closing(
                swap.maintenance(order.target_url)
                if order.superuser is None
                else database.connect_again(order.superuser)
            )
        )
        replaced = swap.replace(
            swap.Sessions(own, other),
            plan.database,
            swap.look(own, plan.database),
            filling.fill,
            keep=False,
            on_swap=lambda: on_progress(Progress("swap")),
        )
    copied = filling.copied
    return loading.Copied(copied.rows, copied.unsupported, (*copied.warnings, *replaced.warnings))


class _Filling:
    """Fills the new database."""

    def __init__(
        self,
        plan: CopyPlan,
        archive: Archive,
        source: Snapshot,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.plan = plan
        self.archive = archive
        self.source = source
        self.on_progress = on_progress
        self.copied = loading.Copied({}, (), ())

    def fill(self, new: str) -> None:
        """Copy everything into the database of that name, and compare."""
        plan, pump = self.plan, loading.pump(self.plan, self.on_progress)
        url = with_database(plan.order.target_url, new)

        @contextlib.contextmanager
        def writer() -> Iterator[psycopg.Connection[Any]]:
            with contextlib.closing(database.connect_again(url)) as connection:
                yield connection

        with writer() as connection:
            self._create_extensions(connection, url, new)
            connection.execute(settings.SCHEMA)
            inventory.create_schemas(connection, plan.schemas)
            held = functions.Held(connection, plan.order.search_path)
            unsupported = self.archive.execute("pre-data", connection, held)
            held.before_rows()
            pump.copy_all(self.source, writer, plan.order.jobs, held.late)
            loading.sequences_and_large_objects(
                plan, self.source.connection, connection, replace=False
            )
            held.after_rows()
            loading.verify(pump, connection, self.on_progress)
            self.on_progress(Progress("index"))
            if self._programs_can_connect(connection):
                patience = database.patience(connection)
                self.archive.restore("post-data", url, plan.order.jobs, patience)
            else:
                unsupported += self.archive.execute("post-data", connection)
            warnings = loading.analyze(plan, connection, self.on_progress)
            held.at_end(connection)
        self.copied = loading.Copied(pump.rows, unsupported, warnings)

    def _create_extensions(self, connection: psycopg.Connection[Any], url: str, new: str) -> None:
        """Create them as the superuser where we are one, in schemas of the URL's role."""
        extensions, superuser = self.plan.extensions, self.plan.order.superuser
        inventory.create_schemas(connection, [one.schema for one in extensions])
        creator = url if superuser is None else with_database(superuser, new)
        with contextlib.closing(database.connect_again(creator)) as creating:
            inventory.create_extensions(creating, extensions)

    def _programs_can_connect(self, connection: psycopg.Connection[Any]) -> bool:
        return not database.is_encrypted(connection) or tools.has_ssl(self.archive.programs)
