"""What PostgreSQL's errors mean, and what to do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.connection import spoken
from oxy_pg.errors import OxyPgError, TargetRefused, TargetUnreachable
from oxy_pg.url import mask, mask_text

if TYPE_CHECKING:
    import psycopg

# The connection is gone: no answer of the server's, or it says that it ends the session.
_LOST = ("08", "57P01", "57P02", "57P03", "57P05")

_GRANT = (
    "As the database's owner or an administrator, connected to this database: "
    "GRANT ALL ON SCHEMA {schema} TO {role}; and for tables that exist already, make the role "
    "their owner: ALTER TABLE … OWNER TO {role};"
)
_LOCKS = (
    "The migration is one transaction, which holds a lock of every table, key and index that it "
    "creates. Raise max_locks_per_transaction there (their number divided by max_connections, and "
    "64 at least), and restart the server: ALTER SYSTEM SET max_locks_per_transaction = 512; on "
    "the embedded server, settings={'max_locks_per_transaction': '512'}."
)
# The first whose SQLSTATE (manual: appendix A, PostgreSQL Error Codes) and whose work begin so.
_REMEDIES = (
    ("53100", "", "The server's disk is full: make room, and run it again."),
    ("53", "", "The server lacks memory or connections: run it again once the cause is gone."),
    ("54", "", "This is a limit of PostgreSQL. Leave the table out with --exclude, or --cast."),
    ("55P03", "", "Another session holds a lock: run it again once it has ended."),
    ("57014", "", "The statement was cancelled: run it again once the cause is gone."),
    ("42501", "", _GRANT),
    (
        "0A000",
        "empty",
        "Run it as the owner of all these tables, or take those tables along (--tables).",
    ),
    (
        "0A000",
        "insert",
        (
            "Row-level security applies to this role: fill the table as a role with BYPASSRLS, or "
            "as its owner after ALTER TABLE … NO FORCE ROW LEVEL SECURITY."
        ),
    ),
    (
        "25006",
        "",
        (
            "The server takes no writes: it may be a standby, or default_transaction_read_only is "
            "on. Name the primary server, or switch that off."
        ),
    ),
    ("", "", "Correct it in the source, or choose other types with --cast table.column=type."),
)


def diagnose(error: psycopg.Error, doing: str, url: str, role: str, schema: str) -> OxyPgError:
    """
    Return the typed error for what was raised while the migration was ``doing`` something.

    It is TargetUnreachable where the connection was lost, else TargetRefused.
    """
    code = error.sqlstate
    if code is None or code.startswith(_LOST):
        said = mask_text(str(error), url).strip()
        return TargetUnreachable(
            mask(url),
            f"the connection was lost while trying to {doing} it: {said}",
            "Nothing was committed: the target is as it was. Run it again once the server is back.",
        )
    remedy = next(
        remedy
        for state, work, remedy in _REMEDIES
        if code.startswith(state) and doing.startswith(work)
    )
    if remedy is _GRANT:
        remedy = grant(role, schema)
    # 53200 is for all memory, and the words have a language: the setting's name has none.
    if "max_locks_per_transaction" in (error.diag.message_hint or ""):
        remedy = _LOCKS
    return TargetRefused(doing, _said(error), remedy)


def grant(role: str, schema: str) -> str:
    """Say how to give a role what it needs."""
    return _GRANT.format(role=spoken(role), schema=spoken(schema))


def _said(error: psycopg.Error) -> str:
    # Not str(error): it shows the statement, which the user did not write.
    found = error.diag
    parts = (found.message_primary or str(error), found.message_detail, found.message_hint)
    return mask_text("\n".join(part.strip() for part in (*parts, found.context) if part))
