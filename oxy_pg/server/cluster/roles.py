"""
The roles beside ``oxy`` and the superuser: who only looks, and who only reads.

They have no password, and the server lets them in through the private socket
alone. Neither can become superuser, write, or reach the operating system.
"""

from __future__ import annotations

from oxy_pg.facts import MONITOR, READER, ROLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.server.cluster.socket_connection import Connection

# BYPASSRLS: a backup has all rows, or fails. Member of oxy: large objects have no other way.
_MEMBERS = (
    (MONITOR, "pg_monitor"),
    (READER, "pg_read_all_data"),
    (READER, "pg_read_all_settings"),
    (READER, ROLE),
)
STATEMENTS = (
    f"CREATE ROLE {MONITOR} LOGIN",
    f"CREATE ROLE {READER} LOGIN BYPASSRLS",
    *(f"GRANT {of} TO {role}" for role, of in _MEMBERS),
)
# For one question together with others: whether one of them has become superuser; and, as a
# statement of its own, who is a member of what. To join the two takes the server longer than all
# the rest of what a process asks that attaches.
IS_SUPERUSER = (
    "EXISTS (SELECT FROM pg_catalog.pg_authid"
    f" WHERE rolname IN ('{MONITOR}', '{READER}') AND rolsuper)"
)
MEMBERS = (
    "SELECT member::pg_catalog.regrole, roleid::pg_catalog.regrole FROM pg_catalog.pg_auth_members"
)


def are_complete(is_superuser: str | None, members: list[tuple[str | None, ...]]) -> bool:
    """Whether the answers to these are as they have to be."""
    return is_superuser == "f" and {*_MEMBERS}.issubset(members)


def create(connection: Connection) -> None:
    """Leave the roles as they have to be, in a cluster that is older than they are."""
    for role, attributes in ((MONITOR, "NOBYPASSRLS"), (READER, "BYPASSRLS")):
        connection.query(
            f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
            f"ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            f" {attributes} PASSWORD NULL; ALTER ROLE {role} RESET ALL"
        )
    for role, of in _MEMBERS:
        connection.query(f"GRANT {of} TO {role}")
