"""What a push or pull will do, as a value; deciding it reads, and writes nothing."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from oxy_pg.errors import (
    ConfigurationError,
    DatabaseNotEmpty,
    NotEnoughSpace,
    TransferError,
)
from oxy_pg.transfer import database, locks, swap, tools
from oxy_pg.transfer.copy import conflicts
from oxy_pg.transfer.parts import functions, inventory
from oxy_pg.url import mask, plain

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.installations import Installation
    from oxy_pg.transfer.contents import Extension
    from oxy_pg.transfer.copy.conflicts import Conflict
    from oxy_pg.transfer.parts.inventory import Inventory
    from oxy_pg.transfer.report import MovedTable

_MARGIN = 64 << 20  # bytes, for the write-ahead log


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
    alongside: bool = False  # into a new database, which then takes the name
    jobs: int = 2
    timeout: float = 30.0  # seconds
    search_path: str | None = None  # what functions have meanwhile that have none of their own

    def check(self) -> None:
        """Raise ConfigurationError for what cannot be asked for."""
        if self.if_not_empty not in {"error", "replace"}:
            raise ConfigurationError(
                f"if_not_empty is {self.if_not_empty!r}; it is 'error' or 'replace'."
            )
        functions.names(self.search_path)
        if self.jobs < 1:
            raise ConfigurationError(f"jobs is {self.jobs!r}; it is a number of jobs, 1 or more.")

    @property
    def source_url(self) -> str:
        """The source's URL; raises ConfigurationError for what is not one of PostgreSQL."""
        return plain(self.source, "--from", needed=self.verb == "pull")

    @property
    def target_url(self) -> str:
        """The target's URL; raises ConfigurationError for what is not one of PostgreSQL."""
        return plain(self.target, "--to", needed=True)

    @property
    def source_shown(self) -> str:
        """The source's URL without its password."""
        return mask(self.shown or self.source_url)

    @property
    def target_shown(self) -> str:
        """The target's URL without its password."""
        return mask(self.target_url)


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What is copied, with which programs, what it replaces, and what prevents it."""

    order: Order
    inventory: Inventory  # of the source
    schemas: tuple[str, ...]
    programs: Installation | None  # None where that is one of the problems
    database: str  # of the target
    target_version: str
    conflicts: tuple[Conflict, ...]  # what is dropped first
    replaced: tuple[MovedTable, ...]  # the tables among these
    extensions: tuple[Extension, ...]  # that have to be created first
    warnings: tuple[str, ...]
    problems: tuple[TransferError, ...]
    is_readable: bool  # all of the source can be read


def plan(
    order: Order, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> CopyPlan:
    """
    Decide how an order is carried out, and find every problem.

    ``source`` is in a transaction; ``target`` is connected to the target or,
    where that does not exist, to another database of its server. Raises
    ConfigurationError and psycopg.Error.
    """
    if locks.is_same_database(source, target, secrets.randbits(62)):
        raise ConfigurationError(
            f"Source and target are the same database, {order.target_shown}. Name another one."
        )
    return _Planner(order, source, target).plan()


class _Planner:
    """Collects what a plan consists of."""

    def __init__(
        self, order: Order, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
    ) -> None:
        self.order = order
        self.source = source
        self.target = target
        self.name = swap.name_of(order.target_url)
        self.conflicts: tuple[Conflict, ...] = ()
        self.replaced: tuple[MovedTable, ...] = ()
        self.extensions: tuple[Extension, ...] = ()
        self.programs: Installation | None = None
        self.warnings: list[str] = []
        self.problems: list[TransferError] = []
        self.is_readable = False

    def plan(self) -> CopyPlan:
        found = self.inventory = inventory.look(self.source, self.order.schemas)
        self.schemas = found.schemas or ("public",)
        self._refuse_unknown_schemas()
        for check in (
            self._find_programs,
            self._check_readable,
            self._check_extensions,
            self._check_conflicts,
            self._check_rights,
            self._check_space,
            self._check_functions,
        ):
            try:
                check()
            except TransferError as error:
                self.problems.append(error)
        return CopyPlan(
            order=self.order,
            inventory=found,
            schemas=self.schemas,
            programs=self.programs,
            database=self.name,
            target_version=database.version(self.target),
            conflicts=self.conflicts,
            replaced=self.replaced,
            extensions=self.extensions,
            warnings=tuple(self.warnings),
            problems=tuple(self.problems),
            is_readable=self.is_readable,
        )

    def _refuse_unknown_schemas(self) -> None:
        unknown = set(self.order.schemas or ()) - set(self.inventory.schemas)
        if unknown:
            raise ConfigurationError(
                f"{self.order.source_shown} has no schema {', '.join(sorted(unknown))}. It has: "
                f"{', '.join(inventory.look(self.source).schemas)}."
            )

    def _find_programs(self) -> None:
        ssl = tools.needs_ssl(self.order.source_url) or database.is_encrypted(self.source)
        self.programs = tools.find(database.major(self.source), ssl=ssl)

    def _check_readable(self) -> None:
        inventory.check_readable(self.source, self.order.source_shown, self.order.schemas)
        self.is_readable = True

    def _check_extensions(self) -> None:
        missing = inventory.check_extensions(
            self.target,
            self.order.target_shown,
            self.inventory.extensions,
            by_superuser=self.order.superuser is not None,
            fresh=self.order.alongside,
        )
        self.extensions = tuple(missing)
        # Not refused: this target has it there, too. The next one may not.
        self.warnings += database.misplaced(self.source, self.inventory.extensions)
        with contextlib.ExitStack() as stack:
            creating = self.target
            if self.order.superuser is not None:
                creating = stack.enter_context(database.connect_again(self.order.superuser))
            inventory.check_versions(
                creating,
                self.order.target_shown,
                inventory.with_uses(self.source, self.inventory.extensions),
                fresh=self.order.alongside,
            )

    def _check_conflicts(self) -> None:
        order, shown = self.order, self.order.target_shown
        if database.one(self.target, "SELECT current_database()") != self.name:
            return  # there is none of that name yet
        schemas = self.schemas
        if order.alongside:  # all of it is replaced
            schemas = inventory.look(self.target).schemas
        self.conflicts = conflicts.look(self.target, schemas)
        self.replaced = conflicts.tables(self.target, schemas)
        if not self.conflicts:
            return
        if order.if_not_empty == "error":
            raise DatabaseNotEmpty(shown, conflicts.described(self.conflicts, self.replaced))
        if not order.alongside:
            conflicts.check_owned(shown, self.conflicts)
        grantees = conflicts.grantees(self.target, schemas)
        roles = [role for role in grantees if role != self.inventory.role]
        if roles:
            self.warnings.append(
                f"the roles {', '.join(roles)} had rights to what is replaced; grant them again"
            )

    def _check_rights(self) -> None:
        if not self.order.alongside:
            inventory.check_writable(self.target, self.order.target_shown, self.schemas)
            return
        with contextlib.closing(swap.maintenance(self.order.target_url)) as connection:
            swap.check_rights(connection, self.name, swap.look(connection, self.name))

    def _check_space(self) -> None:
        if self.order.target_dir is None:
            return
        needed = self.inventory.size + _MARGIN
        free = shutil.disk_usage(self.order.target_dir).free
        if free < needed:
            raise NotEnoughSpace(self.order.target_dir, needed, free)

    def _check_functions(self) -> None:
        if self.order.search_path is None:
            self.warnings += functions.unqualified(self.source, self.order.schemas)
