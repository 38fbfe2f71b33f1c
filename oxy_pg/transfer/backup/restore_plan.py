"""What a restore will do, as a value; deciding it reads, and writes nothing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import (
    BackupTooNew,
    ConfigurationError,
    TransferError,
    TransferRefused,
)
from oxy_pg.installations import major_of
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.backup import archive, extensions
from oxy_pg.transfer.parts import functions, inventory
from oxy_pg.url import mask, plain, with_database

if TYPE_CHECKING:
    from oxy_pg.installations import Installation
    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.swap import Existing

_MOST_JOBS = 4  # by default


@dataclass(frozen=True, slots=True)
class Order:
    """
    What was asked for; the URLs have their passwords.

    ``superuser_url`` and ``reader_url`` are any database's of the same server.
    """

    path: str
    url: str
    superuser_url: str | None
    reader_url: str | None
    keep_old: bool
    in_place: bool
    clean: bool
    jobs: int
    search_path: str | None  # what functions have meanwhile that have none of their own


def order(
    path: str,
    url: str,
    *,
    superuser_url: str | None,
    reader_url: str | None,
    keep_old: bool,
    in_place: bool,
    clean: bool,
    jobs: int | None,
    search_path: str | None = None,
) -> Order:
    """Check the options, and return what was asked for; raises ConfigurationError."""
    if clean and not in_place:
        raise ConfigurationError(
            "clean is for in_place alone: otherwise the backup is restored into a new database, "
            "which replaces the old one."
        )
    if keep_old and in_place:
        raise ConfigurationError("in_place leaves no old database that keep_old could keep.")
    if jobs is not None and jobs < 1:
        raise ConfigurationError(f"jobs is {jobs!r}; it is a number of jobs, 1 or more.")
    functions.names(search_path)
    return Order(
        path=os.path.abspath(os.path.expanduser(path)),
        url=plain(url, "The URL"),
        superuser_url=superuser_url,
        reader_url=reader_url,
        keep_old=keep_old,
        in_place=in_place,
        clean=clean,
        jobs=jobs or min(_MOST_JOBS, os.cpu_count() or 1),
        search_path=search_path,
    )


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What is restored, with which programs, and what it replaces."""

    order: Order
    manifest: Manifest
    database: str  # the one that is restored into
    server_major: int
    programs: Installation
    entries: tuple[str, ...]  # of the archive, that pg_restore restores; none of a plain backup
    in_sections: bool  # definitions, rows and the rest by themselves, and not all by pg_restore
    old: Existing | None  # the database that is replaced
    replaces_tables: bool  # there are tables that will be gone, as far as the role can see
    problems: tuple[TransferError, ...]  # why it cannot be carried out

    @property
    def path(self) -> str:
        """The backup."""
        return self.order.path

    @property
    def url(self) -> str:
        """The URL of the database, with its password."""
        return self.order.url

    @property
    def superuser_url(self) -> str | None:
        """A URL of the superuser, where we are one."""
        return self.order.superuser_url

    @property
    def reader_url(self) -> str:
        """The URL for reading all rows: row-level security may hide some from the owner."""
        return self.order.reader_url or self.order.url

    @property
    def doing(self) -> str:
        """What it does, for a message."""
        return doing(self.order)

    @property
    def question(self) -> str:
        """What a person has to know before something is replaced."""
        exists = f"The database {self.database!r} on {mask(self.url)} exists."
        backup = f"the backup of {self.manifest.database!r} of {self.manifest.time}"
        if self.order.in_place:
            return f"{exists} What {backup} also has will be dropped first."
        fate = "kept under another name" if self.order.keep_old else "dropped"
        return f"{exists} It will be replaced by {backup}, and {fate}."


def doing(given: Order) -> str:
    """Return what an order does, for a message."""
    return f"restore {given.path} into the database {swap.name_of(given.url)!r}"


def plan(given: Order, manifest: Manifest, connection: psycopg.Connection[Any]) -> RestorePlan:
    """
    Decide how a backup is restored.

    ``connection`` is to the database itself where it is restored ``in_place``,
    and otherwise to another one of the server. Raises BackupTooNew,
    ToolsNotFound, BackupDamaged, psycopg.Error.
    """
    if major_of(manifest.server_version) > database.major(connection):
        raise BackupTooNew(
            given.path,
            f"PostgreSQL {manifest.server_version}",
            f"PostgreSQL {database.version(connection)}",
        )
    name = swap.name_of(given.url)
    ssl = tools.needs_ssl(given.url) or database.is_encrypted(connection)
    programs = tools.find(major_of(manifest.tool_version), ssl=ssl)
    lines = archive.contents(programs, given.path) if manifest.kind == "custom" else []
    entries = archive.restored(lines, manifest)
    old = None if given.in_place else swap.look(connection, name)
    there = database.tables(connection) if given.in_place else []
    return RestorePlan(
        order=given,
        manifest=manifest,
        database=name,
        server_major=database.major(connection),
        programs=programs,
        entries=entries,
        in_sections=given.search_path is not None
        or (bool(entries) and archive.needs_sections(programs, given.path, entries)),
        old=old,
        replaces_tables=bool(there) or (old is not None and _holds_tables(given.url)),
        problems=tuple(_problems(given, manifest, connection, old, there)),
    )


def _problems(
    given: Order,
    manifest: Manifest,
    connection: psycopg.Connection[Any],
    old: Existing | None,
    there: list[tuple[str, str]],
) -> list[TransferError]:
    """Return every reason why it cannot be carried out."""
    found: list[TransferError] = []
    missing = extensions.missing(connection, manifest)
    if missing:
        reason = f"these extensions are not installed on the server: {', '.join(missing)}."
        remedy = "Install them on the server. Nothing was changed."
        found.append(TransferRefused(doing(given), reason, remedy))
    try:
        _check_versions(given, manifest, connection)
    except TransferError as error:
        found.append(error)
    if there and not given.clean:
        names = ", ".join(f"{schema}.{name}" for schema, name in there[:10])
        reason = f"it is not empty: {names}" + (", …" if len(there) > 10 else ".")
        remedy = "With --clean (clean=True) what is also in the backup is dropped first."
        found.append(TransferRefused(doing(given), reason, remedy))
    if not given.in_place:
        try:
            swap.check_rights(connection, swap.name_of(given.url), old)
        except TransferError as error:
            found.append(error)
    return found


def _check_versions(given: Order, manifest: Manifest, connection: psycopg.Connection[Any]) -> None:
    """Raise ExtensionsMissing for extensions whose version there lacks what the backup uses."""
    with contextlib.ExitStack() as stack:
        creating = connection
        if given.superuser_url is not None and manifest.extensions:
            url = given.superuser_url
            if given.in_place:
                url = with_database(url, swap.name_of(given.url))
            creating = stack.enter_context(database.connect_again(url))
        inventory.check_versions(
            creating, mask(given.url), manifest.extensions, fresh=not given.in_place
        )


def _holds_tables(url: str) -> bool:
    """Whether something would be lost with the old database, as far as this role can see."""
    try:
        with database.connect_again(url) as connection:
            return bool(database.tables(connection))
    except (TransferError, psycopg.Error):
        return True


def check_in_place(manifest: Manifest, *, clean: bool) -> None:
    """Raise ConfigurationError for a backup that one transaction cannot restore."""
    if manifest.large_objects or (clean and manifest.kind == "plain"):
        raise ConfigurationError(
            "A backup with large objects cannot be restored in one transaction, and for one of "
            "--plain there is no --clean. Restore into a new database: without in_place."
        )
