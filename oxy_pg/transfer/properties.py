"""What belongs to a database itself: settings, privileges, connection limit, comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator


def carry_over(connection: psycopg.Connection[Any], old: str, new: str) -> list[str]:
    """
    Give the new database the old one's settings, privileges, limit and comment.

    These belong to a database itself and are in no dump. Returns what could not
    be set.
    """
    left = []
    for statements in properties(connection, old, new):
        try:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        except psycopg.Error as error:
            words = statements[-1].as_string(connection)
            left.append(f"{words.replace(new, old)}: {error.diag.message_primary or error}")
    return left


def properties(
    connection: psycopg.Connection[Any], old: str, new: str
) -> Iterator[list[sql.Composed]]:
    """Yield the statements that give ``new`` what ``old`` has; each list is one transaction's."""
    there = sql.Identifier(new)
    settings = connection.execute(
        "SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, unnest(setconfig)"
        " FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s",
        [old],
    )
    for role, setting in settings.fetchall():
        name, _, value = setting.partition("=")
        # FROM CURRENT, because a list (search_path) must not be quoted as one value.
        yield [
            sql.SQL("SELECT set_config({}, {}, true)").format(name, value),
            sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(there, _setting(name))
            if role is None
            else sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} FROM CURRENT").format(
                sql.Identifier(role), there, _setting(name)
            ),
        ]
    row = connection.execute(
        "SELECT datacl IS NOT NULL, datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = %s",
        [old],
    ).fetchone()
    has_privileges, limit, comment = row or (False, -1, None)
    if has_privileges:
        yield from _privileges(connection, old, there)
    if limit != -1:
        yield [sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(there, limit)]
    if comment is not None:
        yield [sql.SQL("COMMENT ON DATABASE {} IS {}").format(there, comment)]


def _setting(name: str) -> sql.Composable:
    return sql.SQL(".").join(map(sql.Identifier, name.split(".")))


def _privileges(
    connection: psycopg.Connection[Any], old: str, there: sql.Identifier
) -> Iterator[list[sql.Composed]]:
    yield [sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(there)]
    granted = connection.execute(
        "SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, privilege_type,"
        " is_grantable FROM pg_database, aclexplode(datacl)"
        " WHERE datname = %s AND grantee <> datdba",
        [old],
    )
    for role, privilege, grantable in granted.fetchall():
        whom = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
        statement = sql.SQL(f"GRANT {privilege} ON DATABASE {{}} TO {{}}").format(there, whom)
        yield [statement + sql.SQL(" WITH GRANT OPTION" if grantable else "")]
