"""Large objects, with their numbers, owners and privileges."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.transfer import database
from oxy_pg.transfer.parts import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

# How many are copied at a time: a statement on one of them locks it to the end of its transaction,
# and a server has room for 6,400 locks by default.
_PORTION = 500
_FIRST = 1 << 14  # bytes of each that are read with its portion
_PAGE = 1 << 20  # bytes that are copied at a time of what is longer

_FOUND = """
    SELECT oid, pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject')
    FROM pg_largeobject_metadata ORDER BY oid
"""
# Those that are there already, and whether they are as a new one would be, but for their bytes.
_THERE = """
    SELECT oid, lomacl IS NULL AND pg_get_userbyid(lomowner) = current_user
                AND obj_description(oid, 'pg_largeobject') IS NOT DISTINCT FROM wanted
    FROM pg_largeobject_metadata JOIN unnest(%s::oid[], %s::text[]) AS one (number, wanted)
         ON number = oid
"""
_RIGHTS = """
    SELECT oid, privilege_type, CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END
    FROM pg_largeobject_metadata, aclexplode(lomacl) WHERE oid = ANY (%s) AND grantee <> lomowner
"""
_WRITE = 0x20000  # INV_WRITE


@dataclass(frozen=True, slots=True)
class _Object:
    """One of the source."""

    oid: int
    owner: str
    comment: str | None


def copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    *,
    owners: bool = False,
    replace: bool = False,
) -> int:
    """
    Copy every large object with its number and comment; returns how many there are.

    With ``owners`` they keep their owners and privileges; with ``replace`` they take
    the place of those of the target with the same number. The source has to be in a
    transaction. Where the target is in none, each portion is one: so that the
    server has room for the locks, however many large objects there are.
    """
    found = itertools.starmap(_Object, source.execute(_FOUND).fetchall())
    number = 0
    for portion in _portions(found):
        with target.transaction():
            target.execute(settings.ROWS)
            _copy(source, target, portion, owners=owners, replace=replace)
        number += len(portion)
    return number


def _portions(found: Iterator[_Object]) -> Iterator[list[_Object]]:
    while portion := list(itertools.islice(found, _PORTION)):
        yield portion


def _copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    portion: list[_Object],
    *,
    owners: bool,
    replace: bool,
) -> None:
    emptied = _empty(target, portion) if replace else set()
    read = source.execute(
        "SELECT oid, pg_catalog.lo_get(oid, 0, %b) FROM unnest(%b::oid[]) AS oid",
        (_FIRST, [one.oid for one in portion]),
        binary=True,
    ).fetchall()
    new = [row for row in read if row[0] not in emptied]
    target.execute(
        "SELECT pg_catalog.lo_from_bytea(oid, begins) FROM unnest(%b::oid[], %b::bytea[])"
        " AS one (oid, begins)",
        ([oid for oid, _ in new], [begins for _, begins in new]),
    )
    old = [row for row in read if row[0] in emptied]
    target.execute(
        "SELECT pg_catalog.lo_put(oid, 0, begins) FROM unnest(%b::oid[], %b::bytea[])"
        " AS one (oid, begins)",
        ([oid for oid, _ in old], [begins for _, begins in old]),
    )
    for oid, begins in read:
        if len(begins) == _FIRST:
            _copy_rest(source, target, oid)
    statements = [*_comments(portion, emptied)]
    if owners:
        statements += _owners(source, portion)
    if statements:
        target.execute(sql.SQL("; ").join(statements))


def _copy_rest(source: psycopg.Connection[Any], target: psycopg.Connection[Any], oid: int) -> None:
    offset = _FIRST
    while block := database.one(source, "SELECT pg_catalog.lo_get(%s, %s, %s)", oid, offset, _PAGE):
        target.execute("SELECT pg_catalog.lo_put(%s, %s, %b)", (oid, offset, block))
        offset += len(block)


def _empty(target: psycopg.Connection[Any], portion: list[_Object]) -> set[int]:
    """
    Make room for a portion; returns those that are there still, without their bytes.

    To delete one takes a lock, and all of them are in one transaction. So those that differ in
    nothing else are only truncated, which takes none.
    """
    numbers, comments = [one.oid for one in portion], [one.comment for one in portion]
    there = target.execute(_THERE, (numbers, comments)).fetchall()
    target.execute(
        "SELECT pg_catalog.lo_unlink(oid) FROM unnest(%s::oid[]) AS oid",
        ([oid for oid, alike in there if not alike],),
    )
    kept = [oid for oid, alike in there if alike]
    opened = target.execute(
        "SELECT pg_catalog.lo_open(oid, %s) FROM unnest(%s::oid[]) AS oid", (_WRITE, kept)
    ).fetchall()
    descriptors = [row[0] for row in opened]
    for function in ("lo_truncate(fd, 0)", "lo_close(fd)"):
        target.execute(
            f"SELECT pg_catalog.{function} FROM unnest(%s::int[]) AS fd".encode(), (descriptors,)
        )
    return set(kept)


def _comments(portion: list[_Object], emptied: set[int]) -> Iterator[sql.Composed]:
    """Yield what sets the comments, but of those that have theirs."""
    for one in portion:
        if one.comment is not None and one.oid not in emptied:
            statement = sql.SQL("COMMENT ON LARGE OBJECT {} IS {}")
            yield statement.format(sql.Literal(one.oid), sql.Literal(one.comment))


def _owners(source: psycopg.Connection[Any], portion: list[_Object]) -> Iterator[sql.Composed]:
    """Yield what gives them their owners and privileges."""
    rights = defaultdict(list)
    for oid, right, grantee in source.execute(_RIGHTS, ([one.oid for one in portion],)):
        rights[oid].append((right, grantee))
    for one in portion:
        number = sql.Literal(one.oid)
        yield sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(number, sql.Identifier(one.owner))
        for right, grantee in rights[one.oid]:
            whom = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
            yield sql.SQL("GRANT {} ON LARGE OBJECT {} TO {}").format(sql.SQL(right), number, whom)
