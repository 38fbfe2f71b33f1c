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
# How many of these there are, for one question together with others.
COUNT = (
    "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_auth_members m"
    " JOIN pg_catalog.pg_roles r ON r.oid = m.member JOIN pg_catalog.pg_roles o ON o.oid = m.roleid"
    " WHERE (r.rolname, o.rolname) IN ("
    + ", ".join(f"('{role}', '{of}')" for role, of in _MEMBERS)
    + ") AND NOT r.rolsuper)"
)
COMPLETE = str(len(_MEMBERS))


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
