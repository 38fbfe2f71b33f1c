"""The advisory locks of transfers."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.errors import TransferRefused
from oxy_pg.facts import COPY_LOCK
from oxy_pg.transfer import database

if TYPE_CHECKING:
    from collections.abc import Iterator

# For as long as a killed process's session may take to end at the server.
_ATTEMPTS, _PAUSE = 50, 0.1

# Held to the end of a transaction that copies into a database.
COPY = COPY_LOCK


@contextlib.contextmanager
def replacing(connection: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """Keep other transfers from replacing the same database for the length of the block."""
    key = int.from_bytes(hashlib.sha256(f"oxy_pg {name}".encode()).digest()[:8], signed=True)
    if not _acquired(connection, "SELECT pg_try_advisory_lock(%s)", key):
        raise TransferRefused(
            f"replace the database {name!r}",
            "another transfer into it is under way on this server.",
            "Run it again when that one has ended. Nothing was changed.",
        )
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.execute("SELECT pg_advisory_unlock(%s)", [key])


def copy_into(connection: psycopg.Connection[Any], target: str) -> None:
    """Keep other transfers from copying into this database, to the end of the transaction."""
    if not _acquired(connection, "SELECT pg_try_advisory_xact_lock(%s)", COPY):
        raise TransferRefused(
            f"copy into {target}",
            "another transfer into it is under way.",
            "Run it again when that one has ended. Nothing was written.",
        )


def _acquired(connection: psycopg.Connection[Any], query: str, key: int) -> bool:
    for _ in range(_ATTEMPTS):
        if database.one(connection, query, key):
            return True
        time.sleep(_PAUSE)
    return False


def is_same_database(
    one: psycopg.Connection[Any], other: psycopg.Connection[Any], key: int
) -> bool:
    """
    Whether two sessions are in the same database, which may have two addresses.

    Both are in a transaction: a lock that one takes is seen by the other. ``key``
    is a random number.
    """
    one.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
    return not database.one(other, "SELECT pg_try_advisory_xact_lock(%s)", key)
