"""Objects of the target in the schemas that are copied: found, named, and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.errors import RightsMissing, TransferRefused
from oxy_pg.system.printable import many
from oxy_pg.transfer import database
from oxy_pg.transfer.parts import tables as parts
from oxy_pg.transfer.report import MovedTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

# What belongs to a schema, and to no extension or other object: each such object depends on its
# schema (PostgreSQL 16 manual, 53.18).
_OBJECTS = """
    SELECT o.type, o.identity, coalesce(pg_has_role(owner, 'USAGE'), true)
    FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid,
         LATERAL pg_identify_object(d.classid, d.objid, 0) o,
         LATERAL (SELECT CASE d.classid
                  WHEN 'pg_class'::regclass THEN (SELECT relowner FROM pg_class WHERE oid = objid)
                  WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc WHERE oid = objid)
                  WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type WHERE oid = objid)
                  END AS owner) AS owners
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n' AND nspname = ANY (%s)
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid
                      AND e.objsubid = 0 AND e.deptype IN ('e', 'i'))
    ORDER BY o.type <> 'table', o.type, o.identity
"""
# By what pg_identify_object() calls them: what DROP calls them.
_KINDS = {
    "table": "TABLE",
    "foreign table": "FOREIGN TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "type": "TYPE",
    "composite type": "TYPE",
    "operator": "OPERATOR",
    "operator class": "OPERATOR CLASS",
    "operator family": "OPERATOR FAMILY",
    "collation": "COLLATION",
    "conversion": "CONVERSION",
    "text search configuration": "TEXT SEARCH CONFIGURATION",
    "text search dictionary": "TEXT SEARCH DICTIONARY",
    "text search parser": "TEXT SEARCH PARSER",
    "text search template": "TEXT SEARCH TEMPLATE",
}
_ELSEWHERE = """
    SELECT format('%%s %%I.%%I', relkind, nspname, relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname <> ALL (%(schemas)s) AND nspname !~ '^pg_' AND relkind NOT IN ('i', 'I')
    UNION ALL SELECT format('constraint %%I on %%s', conname, conrelid::regclass)
    FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace
    WHERE nspname <> ALL (%(schemas)s) AND nspname !~ '^pg_'
"""
_GRANTS = """
    SELECT DISTINCT pg_get_userbyid(grantee)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, aclexplode(relacl)
    WHERE nspname = ANY (%s) AND grantee <> 0 AND grantee <> relowner
      AND NOT EXISTS (SELECT FROM pg_depend
                      WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object of the target that is in the way."""

    kind: str
    identity: str  # as SQL has it
    owned: bool  # by the role, or by none

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def look(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> tuple[Conflict, ...]:
    """Return everything in these schemas that belongs to no extension."""
    found = connection.execute(_OBJECTS, (list(schemas),)).fetchall()
    return tuple(Conflict(*row) for row in found if row[0] in _KINDS)


def tables(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> tuple[MovedTable, ...]:
    """Return the tables among them with their rows; 0 where the role may not count."""
    found = []
    for table in parts.tables(connection, schemas):
        allowed = database.one(
            connection, "SELECT has_table_privilege(%s, 'SELECT')", table.identifier.as_string()
        )
        number = table.count(connection) if allowed else 0
        found.append(MovedTable(table.schema, table.name, number, table.size))
    return tuple(found)


def described(found: Sequence[Conflict], replaced: Sequence[MovedTable]) -> tuple[str, ...]:
    """Return a line for each of them, with the rows of tables."""
    counted = {str(table): table.rows for table in replaced}
    return tuple(
        f"{one}: {many(counted[one.identity], 'row')}" if one.identity in counted else str(one)
        for one in found
    )


def check_owned(url: str, found: Sequence[Conflict]) -> None:
    """Make sure that the role may drop them; RightsMissing names those that it may not."""
    foreign = tuple(f"to drop the {one}, which another role owns" for one in found if not one.owned)
    if foreign:
        remedy = "give them to the role (ALTER … OWNER TO), or move them to another schema."
        raise RightsMissing(url, foreign, remedy)


def grantees(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that have rights to something that would be dropped."""
    return tuple(str(row[0]) for row in connection.execute(_GRANTS, (list(schemas),)))


def drop(
    connection: psycopg.Connection[Any], schemas: Sequence[str], found: Sequence[Conflict]
) -> None:
    """
    Drop them, and nothing in other schemas; the connection is in a transaction.

    Raises TransferRefused when something elsewhere depends on them.
    """
    given = {"schemas": list(schemas)}
    before = {row[0] for row in connection.execute(_ELSEWHERE, given)}
    for one in found:
        # With what depends on it; it may have been dropped together with another one already.
        connection.execute(
            sql.SQL(f"DROP {_KINDS[one.kind]} IF EXISTS {{}} CASCADE").format(sql.SQL(one.identity))
        )
    lost = before - {row[0] for row in connection.execute(_ELSEWHERE, given)}
    if lost:
        raise TransferRefused(
            f"replace what is in the schemas {', '.join(schemas)}",
            f"objects of other schemas depend on it: {', '.join(sorted(lost)[:10])}.",
            "Drop or move these first. Everything was rolled back: the target is as it was.",
        )
