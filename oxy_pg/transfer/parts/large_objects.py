"""Large objects, with their numbers, owners and privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.transfer import database

if TYPE_CHECKING:
    import psycopg

_PAGE = 1 << 20  # bytes that are copied at a time


def copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    *,
    owners: bool = False,
    replace: bool = False,
) -> int:
    """
    Copy every large object with its number and comment; returns how many there are.

    With ``owners`` they keep their owners and privileges; with ``replace`` those
    of the target with the same number are deleted first. Both connections have
    to be in a transaction.
    """
    found = source.execute(
        "SELECT oid, pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject')"
        " FROM pg_largeobject_metadata ORDER BY oid"
    ).fetchall()
    for oid, owner, comment in found:
        if replace:
            target.execute(
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = %s",
                (oid,),
            )
        target.execute("SELECT pg_catalog.lo_create(%s)", (oid,))
        offset = 0
        while block := database.one(
            source, "SELECT pg_catalog.lo_get(%s, %s, %s)", oid, offset, _PAGE
        ):
            target.execute("SELECT pg_catalog.lo_put(%s, %s, %b)", (oid, offset, block))
            offset += len(block)
        if comment is not None:
            statement = sql.SQL("COMMENT ON LARGE OBJECT {} IS {}")
            target.execute(statement.format(sql.Literal(oid), sql.Literal(comment)))
        if owners:
            _set_owner(source, target, oid, owner)
    return len(found)


def _set_owner(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], oid: int, owner: str
) -> None:
    number = sql.Literal(oid)
    target.execute(
        sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(number, sql.Identifier(owner))
    )
    rights = source.execute(
        "SELECT privilege_type, CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END"
        " FROM pg_largeobject_metadata, aclexplode(lomacl) WHERE oid = %s AND grantee <> lomowner",
        (oid,),
    ).fetchall()
    for right, grantee in rights:
        whom = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
        target.execute(
            sql.SQL("GRANT {} ON LARGE OBJECT {} TO {}").format(sql.SQL(right), number, whom)
        )
