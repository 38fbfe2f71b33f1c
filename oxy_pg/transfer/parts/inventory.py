"""What is in a database, and what another one lacks to receive it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.errors import ExtensionsMissing, RightsMissing
from oxy_pg.transfer import database
from oxy_pg.transfer.parts import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
            f"GRANT pg_read_all_data TO {database.identifier(role)}; or leave out what it may not "
            f"read (a provider's own schemas, for instance), with {options}.",
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
    ExtensionsMissing for those that are in another schema there, and those that
    cannot be created: because they are not installed, or because this role has
    no right to, unless ``by_superuser``.
    """
    there = {} if fresh else {one.name: one for one in database.extensions(connection)}
    for extension in wanted:
        if extension.name in there and there[extension.name].schema != extension.schema:
            database.check_schema(extension)  # the target's is not to be moved to pg_catalog
    elsewhere = [
        (
            one.name,
            (
                f"it is in the schema {there[one.name].schema} there, and in {one.schema} in the "
                "source, whose objects name it so: ALTER EXTENSION "
                f"{database.identifier(one.name)} SET SCHEMA {database.identifier(one.schema)} "
                "there (or the other way round in the source)"
            ),
        )
        for one in wanted
        if one.name in there and there[one.name].schema != one.schema
    ]
    if elsewhere:
        raise ExtensionsMissing(url, tuple(elsewhere))
    missing = [extension for extension in wanted if extension.name not in there]
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


# Those members of an extension that have names: types, functions, operators and their classes.
_MEMBERS = """
    SELECT DISTINCT coalesce('type ' || typname, 'function ' || proname, 'operator ' || oprname,
                             'operator class ' || opcname, 'access method ' || amname)
    FROM pg_depend m JOIN pg_extension e ON e.oid = m.refobjid
    LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
    LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    LEFT JOIN pg_operator o ON m.classid = 'pg_operator'::regclass AND o.oid = m.objid
    LEFT JOIN pg_opclass c ON m.classid = 'pg_opclass'::regclass AND c.oid = m.objid
    LEFT JOIN pg_am a ON m.classid = 'pg_am'::regclass AND a.oid = m.objid
    WHERE m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e' AND extname = %s
"""
_USED_MEMBERS = f"""
    {_MEMBERS} AND EXISTS (SELECT FROM pg_depend u WHERE u.refclassid = m.classid
                           AND u.refobjid = m.objid AND u.deptype = 'n' AND NOT EXISTS (
        SELECT FROM pg_depend x WHERE x.classid = u.classid AND x.objid = u.objid
        AND x.deptype = 'e')
      AND NOT EXISTS (SELECT FROM pg_type y WHERE u.classid = 'pg_type'::regclass  -- its arrays
                      AND y.oid = u.objid AND y.typcategory = 'A')
      AND u.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass,
        'pg_proc'::regclass, 'pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_type'::regclass))
"""


def with_uses(
    connection: psycopg.Connection[Any], extensions: Iterable[Extension]
) -> tuple[Extension, ...]:
    """Return the extensions with those of their members that the database's objects depend on."""
    found = []
    for one in extensions:
        rows = connection.execute(_USED_MEMBERS.encode(), (one.name,))
        uses = sorted(str(row[0]) for row in rows if row[0] is not None)
        found.append(dataclasses.replace(one, uses=tuple(uses)))
    return tuple(found)


def check_versions(
    target: psycopg.Connection[Any],
    url: str,
    wanted: Sequence[Extension],
    *,
    fresh: bool = False,
) -> None:
    """
    Make sure that older versions of extensions have what is used of them; else ExtensionsMissing.

    ``wanted`` are from ``with_uses()``. Those that ``target`` does not have yet
    are created for a moment, where its role may do that, and rolled back. With
    ``fresh`` it is a new database of that server that receives them. Raises
    psycopg.Error.
    """
    refused = []
    for one in wanted:
        found = _version(target, one.name, fresh=fresh)
        if not found or _numbers(found) >= _numbers(one.version):
            continue
        members = _members(target, one.name, found)
        lacking = [] if members is None else [use for use in one.uses if use not in members]
        if lacking:
            refused.append(
                (
                    one.name,
                    (
                        f"it is {found} there and {one.version} in the source, which uses what "
                        f"{found} does not have: {', '.join(lacking[:10])}. Install {one.version} "
                        f"there (then ALTER EXTENSION {database.identifier(one.name)} UPDATE)"
                    ),
                )
            )
    if refused:
        raise ExtensionsMissing(url, tuple(refused))


def _version(target: psycopg.Connection[Any], name: str, *, fresh: bool) -> str:
    """Return the version that the target has or would create; "" without either."""
    there = "SELECT extversion FROM pg_extension WHERE extname = %s"
    new = "SELECT default_version FROM pg_available_extensions WHERE name = %s"
    found = None if fresh else database.one(target, there, name)
    return str(found or database.one(target, new, name) or "")


def _members(target: psycopg.Connection[Any], name: str, version: str) -> set[str] | None:
    """Return the members of a version of an extension; None where they cannot be known."""

    def look() -> set[str] | None:
        there = "SELECT extversion FROM pg_extension WHERE extname = %s"
        if database.one(target, there, name) != version:
            return None
        return {row[0] for row in target.execute(_MEMBERS.encode(), (name,))}

    found = look()
    if found is not None:
        return found
    create = sql.SQL("CREATE EXTENSION {} SCHEMA public CASCADE").format(sql.Identifier(name))
    try:
        with target.transaction(force_rollback=True):
            target.execute(create)
            return look()
    except psycopg.Error:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


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
    schema = f" SCHEMA {database.identifier(extension.schema)}" * (extension.schema != "public")
    return f"CREATE EXTENSION {database.identifier(extension.name)}{schema};"


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
    role = database.identifier(str(database.one(connection, "SELECT current_user")))
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
            f"GRANT CREATE ON SCHEMA {database.identifier(schema)} TO {role};",
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
                f"GRANT CREATE ON DATABASE {database.identifier(name)} TO {role};",
            )
        )
    if database.one(connection, "SHOW transaction_read_only") == "on":
        lacking.append(("to write at all: it is read-only", "Use the primary's address."))
    if lacking:
        raise RightsMissing(
            url, tuple(what for what, _ in lacking), " ".join(how for _, how in lacking)
        )
