"""
Who is connected to a database, for those who need it unused.

PostgreSQL copies no database that a client is connected to; it waits five
seconds and does not say who it is. The default template, template1, is copied too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# How long one may take to go that is about to: its client has closed the connection, and the
# server process ends a moment later. In seconds.
GRACE = 1.5

# Background workers are stopped by PostgreSQL. A role that is not a superuser's sees neither the
# kind nor the state of others' sessions.
CLIENTS = (
    "usesysid IS NOT NULL AND COALESCE(backend_type, 'client backend') = 'client backend'"
    " AND pid <> pg_backend_pid()"
)
# {} is the database's name as SQL spells a text.
WHO = (
    "SELECT pid, usename, application_name, state, COALESCE(host(client_addr), 'the socket')"
    " FROM pg_catalog.pg_stat_activity"
    f" WHERE datname = {{}} AND {CLIENTS}"
    " ORDER BY backend_start"
)
# Their pids alone.
CONNECTED = f"SELECT pid FROM pg_catalog.pg_stat_activity WHERE datname = {{}} AND {CLIENTS}"
_MOST_NAMED = 5


def in_use(database: str, rows: Iterable[Sequence[object]]) -> str:
    """Return the message for a database that cannot be copied, from what ``WHO`` has answered."""
    found = [_spoken(row) for row in rows]
    more = len(found) - _MOST_NAMED
    named = "; ".join(found[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
    return (
        f"{database!r} is in use, and PostgreSQL copies no database that a client is connected to. "
        f"Connected: {named}. Close these connections (an engine or a pool keeps them open: "
        "dispose of it), or end them: SELECT pg_terminate_backend(pid)."
    )


def _spoken(row: Sequence[object]) -> str:
    pid, user, program, state, place = row
    name = "".join(c if c.isprintable() else "?" for c in str(program or ""))[:40]
    whose = f"role {user or '?'}, program {name!r}" if name else f"role {user or '?'}"
    return f"process {pid} ({whose}, {state or 'its state is hidden'}, from {place})"
