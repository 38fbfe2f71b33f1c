"""What killed processes have left on a server: found, and dropped."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from oxy_pg.facts import TEST_LOCK_CLASS
from oxy_pg.pytest_plugin.clones import PREFIX
from oxy_pg.pytest_plugin.templates import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.pytest_plugin.clones import Connection


def sweep(connection: Connection) -> list[str]:
    """
    Drop the databases that killed processes have left on this server; return their names.

    So are templates that no later session was to use.

    Only those that are surely abandoned: named as ours are, belonging to our
    role, not kept on purpose, without connections, and whose process has
    lost its advisory lock.
    """
    found = list(_swept(connection))
    store.sweep(connection)
    return found


def _swept(connection: Connection) -> Iterator[str]:
    # A process takes its lock before it makes its first database, and pg_locks is read after the
    # snapshot of pg_database was taken: a lock that is missing then is one that has ended.
    rows = connection.execute(
        """
        SELECT datname FROM pg_database
        WHERE datname ~ %(pattern)s
          AND pg_get_userbyid(datdba) = current_user
          AND shobj_description(oid, 'pg_database') IS NULL
          AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datid = pg_database.oid)
          AND NOT EXISTS (
              SELECT FROM pg_locks
              WHERE locktype = 'advisory' AND objsubid = 2 AND classid = %(class)s
                AND lpad(to_hex(objid::bigint), 8, '0') = substr(datname, %(start)s, 8))
        ORDER BY datname
        """,
        {
            "pattern": f"^{PREFIX}[0-9a-f]{{8}}_[0-9]+$",
            "class": TEST_LOCK_CLASS,
            "start": len(PREFIX) + 1,
        },
    ).fetchall()
    for (name,) in rows:
        # In use, or gone already: then it was not abandoned, or another process sweeps too.
        with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            # Without FORCE, which would end the sessions of a process that has just begun.
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            yield name
