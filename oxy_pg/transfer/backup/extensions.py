"""The extensions of a backup: created before everything else, by the superuser where we are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.errors import TransferRefused
from oxy_pg.transfer import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.transfer.backup.manifest import Manifest


def schemas(manifest: Manifest) -> set[str]:
    """Return the schemas that have to exist before the extensions."""
    return {one.schema for one in manifest.extensions} - {"public", "pg_catalog"}


def entries(manifest: Manifest) -> set[tuple[str, str]]:
    """Return name and type of a script's entries that are not needed any more."""
    found = {(f"EXTENSION {one.name}", "COMMENT") for one in manifest.extensions}
    return found | {(schema, "SCHEMA") for schema in {"public", *schemas(manifest)}}


def missing(connection: psycopg.Connection[Any], manifest: Manifest) -> list[str]:
    """Return the extensions, with their versions, that are not installed on the server."""
    rows = connection.execute("SELECT name FROM pg_available_extensions")
    available = {row[0] for row in rows}
    return [f"{one.name} {one.version}" for one in manifest.extensions if one.name not in available]


def schema_statements(manifest: Manifest) -> Iterator[sql.Composed]:
    """Yield what creates their schemas."""
    for schema in sorted(schemas(manifest)):
        yield sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema))


def statements(manifest: Manifest) -> Iterator[sql.Composed]:
    """Yield what creates the extensions; their schemas exist. TransferRefused: unsafe."""
    for one in manifest.extensions:
        database.check_schema(one)
        yield sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {} CASCADE").format(
            sql.Identifier(one.name), sql.Identifier(one.schema)
        )


def create(manifest: Manifest, url: str, superuser_url: str | None, doing: str) -> None:
    """
    Create them in the database that both URLs name; the schemas belong to the URL's role.

    ``doing`` is what TransferRefused says was to be done.
    """
    if not manifest.extensions:
        return
    try:
        with database.connect_again(url) as connection:
            for statement in schema_statements(manifest):
                connection.execute(statement)
        with database.connect_again(superuser_url or url) as connection:
            for statement in statements(manifest):
                connection.execute(statement)
    except psycopg.Error as error:
        raise TransferRefused(
            doing,
            f"an extension cannot be created: {str(error).strip()}",
            "Let an administrator create it, in template1 or, with --in-place (in_place=True), "
            "in the database itself; or use a role with that right.",
        ) from error
