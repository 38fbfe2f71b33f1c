"""What a push or a pull will do: a value, made by reading both sides and writing nothing."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from oxy_pg.errors import ConfigurationError, DatabaseNotEmpty, NotEnoughSpace, TransferError
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.copy import conflicts, inventory
from oxy_pg.url import mask, plain

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.installations import Installation
    from oxy_pg.system.deadline import Patience
    from oxy_pg.transfer.contents import Extension
    from oxy_pg.transfer.copy.conflicts import Occupant
    from oxy_pg.transfer.copy.inventory import Inventory
    from oxy_pg.transfer.report import MovedTable

    Connection = psycopg.Connection[Any]

_MARGIN = 64 << 20  # bytes, for the log of what is written


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

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.if_not_empty not in {"error", "replace"}:
            raise ConfigurationError(
                f"if_not_empty is {self.if_not_empty!r}; it is 'error' or 'replace'."
            )
        if self.jobs < 1:
            raise ConfigurationError(f"jobs is {self.jobs!r}; it is a number of jobs, 1 or more.")

    @property
    def source_url(self) -> str:
        """The source's URL, for every program."""
        return plain(self.source, "--from")

    @property
    def target_url(self) -> str:
        """The target's URL, for every program."""
        return plain(self.target, "--to")

    @property
    def source_shown(self) -> str:
        """The source's URL for people, without a password."""
        return mask(self.shown or self.source_url)

    @property
    def target_shown(self) -> str:
        """The target's URL for people, without a password."""
        return mask(self.target_url)


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """
    What will be copied, what makes room for it, and what stands against it.

    ``missing`` are the extensions to create, ``conflicts`` what is in the way
    and ``replaced`` the tables among it. ``problems`` are the reasons why it
    cannot be done; a plan that has some is not carried out.
    """

    order: Order
    name: str  # of the target's database
    inventory: Inventory
    schemas: tuple[str, ...]
    target_version: str
    programs: Installation | None
    is_readable: bool
    missing: tuple[Extension, ...]
    conflicts: tuple[Occupant, ...]
    replaced: tuple[MovedTable, ...]
    warnings: tuple[str, ...]
    problems: tuple[TransferError, ...]


def make_plan(order: Order, source: Connection, target: Connection, patience: Patience) -> CopyPlan:
    """
    Find out what a copy will do, and every reason why it cannot be done.

    ``target`` may be another database of the target's server, where the one
    that was named does not exist yet. Raises ConfigurationError for what
    cannot be meant; everything else is in ``problems``.
    """
    found = inventory.look(source, order.schemas)
    unknown = set(order.schemas or ()) - set(found.schemas)
    if unknown:
        raise ConfigurationError(
            f"{order.source_shown} has no schema {', '.join(sorted(unknown))}. It has: "
            f"{', '.join(inventory.look(source).schemas)}."
        )
    _refuse_itself(source, target, order)
    return _Survey(order, source, target, patience, found).plan()


def _refuse_itself(source: Connection, target: Connection, order: Order) -> None:
    """Refuse to replace a database by itself: a lock on one side is seen on the other."""
    key = secrets.randbits(62)
    source.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
    if not database.one(target, "SELECT pg_try_advisory_xact_lock(%s)", key):
        raise ConfigurationError(
            f"Source and target are the same database, {order.target_shown}. Name another one."
        )


class _Survey:
    """The checks, and what they have found so far."""

    def __init__(
        self,
        order: Order,
        source: Connection,
        target: Connection,
        patience: Patience,
        found: Inventory,
    ) -> None:
        self.order = order
        self.source = source
        self.target = target
        self.patience = patience
        self.inventory = found
        self.schemas = found.schemas or ("public",)
        self.name = swap.name_of(order.target_url)
        self.programs: Installation | None = None
        self.is_readable = False
        self.missing: tuple[Extension, ...] = ()
        self.conflicts: tuple[Occupant, ...] = ()
        self.replaced: tuple[MovedTable, ...] = ()
        self.warnings: list[str] = []
        self.problems: list[TransferError] = []

    def plan(self) -> CopyPlan:
        """Run every check, and return what was found."""
        checks = (
            self._find_programs,
            self._check_readable,
            self._check_extensions,
            self._check_conflicts,
            self._check_rights,
            self._check_space,
        )
        for check in checks:
            try:
                check()
            except TransferError as error:
                self.problems.append(error)
        return CopyPlan(
            self.order,
            self.name,
            self.inventory,
            self.schemas,
            database.version(self.target),
            self.programs,
            self.is_readable,
            self.missing,
            self.conflicts,
            self.replaced,
            tuple(self.warnings),
            tuple(self.problems),
        )

    def _find_programs(self) -> None:
        ssl = tools.needs_ssl(self.order.source_url) or database.is_encrypted(self.source)
        self.programs = tools.find(database.major(self.source), ssl=ssl)

    def _check_readable(self) -> None:
        inventory.check_readable(self.source, self.order.source_shown, self.order.schemas)
        self.is_readable = True

    def _check_extensions(self) -> None:
        self.missing = tuple(
            inventory.check_extensions(
                self.target,
                self.order.target_shown,
                self.inventory.extensions,
                by_superuser=self.order.superuser is not None,
                fresh=self.order.beside,
            )
        )

    def _check_conflicts(self) -> None:
        if database.one(self.target, "SELECT current_database()") != self.name:
            return  # there is none of that name yet
        schemas = self.schemas
        if self.order.beside:  # all of it goes
            schemas = inventory.look(self.target).schemas
        self.conflicts = conflicts.look(self.target, schemas)
        self.replaced = conflicts.tables(self.target, schemas)
        if not self.conflicts:
            return
        if self.order.if_not_empty == "error":
            counted = {f"{one.schema}.{one.name}": one.rows for one in self.replaced}
            raise DatabaseNotEmpty(
                self.order.target_shown,
                tuple(
                    f"{one}: {counted[one.identity]:,} rows"
                    if one.identity in counted
                    else str(one)
                    for one in self.conflicts
                ),
            )
        if not self.order.beside:
            conflicts.check_ours(self.order.target_shown, self.conflicts)
        roles = [
            role for role in conflicts.grantees(self.target, schemas) if role != self.inventory.role
        ]
        if roles:
            self.warnings.append(
                f"the roles {', '.join(roles)} had rights to what is replaced; grant them again"
            )

    def _check_rights(self) -> None:
        if not self.order.beside:
            inventory.check_writable(self.target, self.order.target_shown, self.schemas)
            return
        with contextlib.closing(
            swap.maintenance(self.order.target_url, self.patience)
        ) as connection:
            swap.check_rights(connection, self.name, swap.look(connection, self.name))

    def _check_space(self) -> None:
        if self.order.target_dir is None:
            return
        needed = self.inventory.size + _MARGIN
        free = shutil.disk_usage(self.order.target_dir).free
        if free < needed:
            raise NotEnoughSpace(self.order.target_dir, needed, free)
