"""What a backup will do, as a value; deciding it reads, and writes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from oxy_pg.errors import BackupExists, ConfigurationError, TransferRefused
from oxy_pg.transfer import database, tools
from oxy_pg.transfer.parts import inventory, schema
from oxy_pg.url import mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from oxy_pg.installations import Installation

_DATABASE = """
    SELECT current_database(), pg_encoding_to_char(encoding), datcollate, datctype
    FROM pg_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a backup is written: a file, or a directory in which it gets a name of its own."""

    path: str  # of the file, or the directory
    is_directory: bool
    force: bool  # an existing file is overwritten
    keep: int | None  # how many backups of the database stay in the directory

    @property
    def directory(self) -> str:
        """The directory that the file will be in."""
        return self.path if self.is_directory else os.path.dirname(self.path)


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What is backed up, how, and where to."""

    url: str
    destination: Destination
    kind: Literal["custom", "plain"]
    programs: Installation
    database: str
    server_version: str
    cluster: str  # identifies the server's cluster; "" where the role has no right to know
    encoding: str
    collate: str
    ctype: str
    schemas: tuple[str, ...] | None  # None for all
    selection: tuple[str, ...]  # pg_dump's options for these

    @property
    def has_large_objects(self) -> bool:
        """Whether pg_dump dumps them, which belong to no schema: not when schemas are selected."""
        return not any(option.startswith("--schema=") for option in self.selection)

    @property
    def doing(self) -> str:
        """What it does, for a message."""
        return f"back up {mask(self.url)}"


def destination(path: str, *, keep: int | None, force: bool) -> Destination:
    """
    Return where a backup goes; nothing is connected to yet.

    Raises ConfigurationError, and BackupExists for a file that must not be
    overwritten.
    """
    if path.endswith("/") and not os.path.isdir(os.path.expanduser(path)):
        raise ConfigurationError(f"There is no directory {path}. Create it, or correct the path.")
    path = os.path.abspath(os.path.expanduser(path))
    is_directory = os.path.isdir(path)
    if keep is not None and not is_directory:
        raise ConfigurationError(
            f"keep is {keep!r}; it is a number of backups, 1 or more, and needs a directory that "
            f"they are all in. {path} is not a directory."
        )
    if keep is not None and keep < 1:
        raise ConfigurationError(
            f"keep is {keep!r}; it is the number of backups to keep, 1 or more."
        )
    if not is_directory and os.path.lexists(path) and not force:
        raise BackupExists(path)
    return Destination(path, is_directory, force, keep)


def plan(
    connection: psycopg.Connection[Any],
    url: str,
    where: Destination,
    kind: Literal["custom", "plain"],
    *,
    schemas: Sequence[str] | None = None,
    exclude_schemas: Sequence[str] = (),
) -> BackupPlan:
    """
    Decide how the connection's database is backed up.

    Raises ToolsNotFound, RightsMissing, ConfigurationError for a schema that
    there is not, psycopg.Error, and TransferRefused where old backups
    would have to be deleted and cannot be told from those of other servers.
    """
    ssl = tools.needs_ssl(url) or database.is_encrypted(connection)
    row = connection.execute(_DATABASE).fetchone()
    assert row is not None
    name, encoding, collate, ctype = row
    selected = _selected(connection, url, schemas, exclude_schemas)
    options = "--exclude-schema or --schema (exclude_schemas=, schemas=)"
    inventory.check_readable(connection, mask(url), selected, options)
    made = BackupPlan(
        url=url,
        destination=where,
        kind=kind,
        programs=tools.find(database.major(connection), ssl=ssl),
        database=name,
        server_version=database.version(connection),
        cluster=database.cluster(connection),
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        schemas=selected,
        selection=(
            *(f"--schema={schema.quoted(one)}" for one in schemas or ()),
            *(f"--exclude-schema={schema.quoted(one)}" for one in exclude_schemas),
        ),
    )
    if where.keep is not None and not made.cluster:
        raise TransferRefused(
            "tell this server's backups from those of others",
            "the role has no right to call pg_control_system().",
            "Do without keep (--keep), and delete old backups by another rule.",
        )
    return made


def _selected(
    connection: psycopg.Connection[Any],
    url: str,
    schemas: Sequence[str] | None,
    exclude_schemas: Sequence[str],
) -> tuple[str, ...] | None:
    """Return the schemas that are backed up, None for all; ConfigurationError for unknown ones."""
    if not schemas and not exclude_schemas:
        return None
    there = inventory.all_schemas(connection)
    unknown = {*(schemas or ()), *exclude_schemas} - set(there)
    if unknown:
        raise ConfigurationError(
            f"{mask(url)} has no schema {', '.join(sorted(unknown))}. It has: {', '.join(there)}."
        )
    return tuple(one for one in schemas or there if one not in exclude_schemas)
