"""What is in a database, and what another one lacks to receive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.errors import ExtensionsMissing, RightsMissing
from oxy_pg.transfer import database
from oxy_pg.transfer.parts import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from oxy_pg.transfer.contents import Extension
    from oxy_pg.transfer.parts.tables import Table

_SCHEMAS = """
    SELECT nspname FROM pg_namespace n
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend
                      WHERE classid = 'pg_namespace'::regclass AND objid = n.oid AND deptype = 'e')
    ORDER BY nspname
"""
_UNREADABLE = """
    SELECT format('%%I.%%I', nspname, relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'S') AND relpersistence <> 't'
      AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend
                      WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
      AND (%(schemas)s::text[] IS NULL OR nspname = ANY (%(schemas)s))
      AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in a database at one moment, of what is copied."""

    version: str
    name: str
    role: str
    size: int  # bytes on disk
    tables: tuple[Table, ...]
    extensions: tuple[Extension, ...]
    schemas: tuple[str, ...]


def look(connection: psycopg.Connection[Any], schemas: Sequence[str] | None = None) -> Inventory:
    """Return what is in the connection's database; raises psycopg.Error."""
    name, role, size = connection.execute(
        "SELECT current_database(), current_user, pg_database_size(current_database())"
    ).fetchone() or ("", "", 0)
    found = all_schemas(connection)
    return Inventory(
        database.version(connection),
        name,
        role,
        size,
        tables.tables(connection, schemas),
        database.extensions(connection, schemas),
        tuple(schema for schema in found if schemas is None or schema in schemas),
    )


def all_schemas(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the schemas that are not PostgreSQL's own, nor an extension's."""
    return [str(row[0]) for row in connection.execute(_SCHEMAS)]


def check_readable(
    connection: psycopg.Connection[Any],
    url: str,
    schemas: Sequence[str] | None,
    options: str = "--schema (schemas=)",
) -> None:
    """
    Make sure that the role may read every table; RightsMissing names those that it may not.

    ``options`` are those that leave some out.
    """
    given = {"schemas": None if schemas is None else list(schemas)}
    names = [str(row[0]) for row in connection.execute(_UNREADABLE, given)]
    if names:
        role = connection.info.user
        raise RightsMissing(
            url,
            tuple(f"SELECT on {name}" for name in names),
            f"GRANT pg_read_all_data TO {_identifier(role)}; or leave out what it may not read "
            f"(a provider's own schemas, for instance), with {options}.",
        )


def check_extensions(
    connection: psycopg.Connection[Any],
    url: str,
    wanted: Sequence[Extension],
    *,
    by_superuser: bool = False,
    fresh: bool = False,
) -> list[Extension]:
    """
    Return the extensions that have to be created in the connection's database first.

    With ``fresh`` it is a new database of that server that receives them. Raises
    ExtensionsMissing for those that cannot be created: because they are not
    installed, or because this role has no right to, unless ``by_superuser``.
    """
    here = {row[0] for row in connection.execute("SELECT extname FROM pg_extension")}
    here = set() if fresh else here
    missing = [extension for extension in wanted if extension.name not in here]
    if not missing:
        return []
    superuser = by_superuser or database.one(connection, "SHOW is_superuser") == "on"
    trusted = dict(
        connection.execute(
            "SELECT name, bool_or(trusted AND"
            " (%s OR has_database_privilege(current_database(), 'CREATE')))"
            " FROM pg_available_extension_versions GROUP BY name",
            (fresh,),
        ).fetchall()
    )
    refused = []
    for extension in missing:
        database.check_schema(extension)
        if extension.name not in trusted:
            refused.append((extension.name, "it is not installed on that server"))
        elif not superuser and not trusted[extension.name] and not _may_create_anyway(connection):
            refused.append(
                (extension.name, f"only an administrator can create it: {_create(extension)}")
            )
    if refused:
        raise ExtensionsMissing(url, tuple(refused))
    return missing


def _may_create_anyway(connection: psycopg.Connection[Any]) -> bool:
    """Whether the role is one that managed servers let create extensions."""
    return bool(
        database.one(
            connection,
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname IN ('rds_superuser',"
            " 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser')"
            " AND pg_has_role(oid, 'MEMBER'))",
        )
    )


def _create(extension: Extension) -> str:
    schema = f" SCHEMA {_identifier(extension.schema)}" * (extension.schema != "public")
    return f"CREATE EXTENSION {_identifier(extension.name)}{schema};"


def create_schemas(connection: psycopg.Connection[Any], names: Sequence[str]) -> None:
    """Create the schemas that do not exist; raises psycopg.Error."""
    for name in dict.fromkeys(names):
        there = database.one(connection, "SELECT true FROM pg_namespace WHERE nspname = %s", name)
        if not there:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))


def create_extensions(connection: psycopg.Connection[Any], extensions: Sequence[Extension]) -> None:
    """Create these extensions, in the schemas that they have in the source; psycopg.Error."""
    create_schemas(connection, [extension.schema for extension in extensions])
    for extension in extensions:
        statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE")
        connection.execute(
            statement.format(sql.Identifier(extension.name), sql.Identifier(extension.schema))
        )


def check_writable(connection: psycopg.Connection[Any], url: str, schemas: Sequence[str]) -> None:
    """Make sure that the role may create what is copied; RightsMissing names what it may not."""
    name = str(database.one(connection, "SELECT current_database()"))
    role = _identifier(str(database.one(connection, "SELECT current_user")))
    there = dict(
        connection.execute(
            "SELECT nspname, has_schema_privilege(oid, 'CREATE') FROM pg_namespace"
            " WHERE nspname = ANY (%s)",
            (list(schemas),),
        ).fetchall()
    )
    lacking = [
        (
            f"CREATE on the schema {schema}",
            f"GRANT CREATE ON SCHEMA {_identifier(schema)} TO {role};",
        )
        for schema, allowed in there.items()
        if not allowed
    ]
    new = [schema for schema in schemas if schema not in there]
    if new and not database.one(
        connection, "SELECT has_database_privilege(current_database(), 'CREATE')"
    ):
        lacking.append(
            (
                f"CREATE on the database {name}, for the schemas {', '.join(new)}",
                f"GRANT CREATE ON DATABASE {_identifier(name)} TO {role};",
            )
        )
    if database.one(connection, "SHOW transaction_read_only") == "on":
        lacking.append(("to write at all: it is read-only", "Use the primary's address."))
    if lacking:
        raise RightsMissing(
            url, tuple(what for what, _ in lacking), " ".join(how for _, how in lacking)
        )


def _identifier(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else f'"{name}"'
