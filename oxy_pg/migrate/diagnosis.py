"""What PostgreSQL's refusals mean, and what to do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors as pg

from oxy_pg.errors import OxyPgError, TargetRefused, TargetUnreachable
from oxy_pg.migrate.target import spoken
from oxy_pg.url import mask, mask_text

if TYPE_CHECKING:
    import psycopg


def connection_lost(doing: str, url: str, error: psycopg.Error) -> OxyPgError:
    """Return the error for a server that went away, or gave up, half-way."""
    message = mask_text(str(error), url).strip()
    if isinstance(error, pg.DiskFull):
        return TargetRefused(
            doing, message, "The server's disk is full: make room, and run it again."
        )
    if isinstance(error, pg.InsufficientResources | pg.OperatorIntervention | pg.LockNotAvailable):
        return TargetRefused(doing, message, "Run it again once the cause is gone.")
    return TargetUnreachable(
        mask(url),
        f"the connection was lost while trying to {doing} it: {message}",
        "Nothing was committed: the target is as it was. Run it again once the server is back.",
    )


def refused(doing: str, error: psycopg.Error, role: str, schema: str) -> TargetRefused:
    """Return the error for a statement that was not accepted."""
    return TargetRefused(doing, _said(error), _remedy(doing, error, role, schema))


def grant(role: str, schema: str) -> str:
    """Say how to give a role what it needs."""
    return (
        "As the database's owner or an administrator, connected to this database: "
        f"GRANT ALL ON SCHEMA {spoken(schema)} TO {spoken(role)}; and for tables that are there "
        f"already, make the role their owner: ALTER TABLE … OWNER TO {spoken(role)};"
    )


def _said(error: psycopg.Error) -> str:
    # Not str(error): it shows the statement, of which nobody has heard.
    found = error.diag
    parts = (found.message_primary or str(error), found.message_detail, found.message_hint)
    return mask_text("\n".join(part.strip() for part in (*parts, found.context) if part))


def _remedy(doing: str, error: psycopg.Error, role: str, schema: str) -> str:
    if isinstance(error, pg.InsufficientPrivilege):
        return grant(role, schema)
    if isinstance(error, pg.FeatureNotSupported) and doing.startswith("empty"):
        return "Run it as the owner of all these tables, or take those tables along (--tables)."
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return (
            "The server takes no writes: it may be a standby, or default_transaction_read_only is "
            "on. Name the primary server, or switch that off."
        )
    if isinstance(error, pg.ProgramLimitExceeded):
        return "This is a limit of PostgreSQL. Leave the table out with --exclude, or --cast."
    return "Correct it in the source, or choose other types with --cast table.column=type."
