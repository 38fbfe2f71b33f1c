"""What a server's refusal means, by its own words, and what to do about it."""

from __future__ import annotations

import re

# By PostgreSQL's and PgBouncer's own words, of which libpq keeps no code where a connection ends.
_REMEDIES = (
    (
        "statement pooling mode",
        (
            "That is a connection pooler in statement mode, which allows no transactions. Give "
            "the server's own address instead, or that of a pooler in session mode."
        ),
    ),
    (
        "out of shared memory",
        (
            "The server has no room for more locks. Raise max_locks_per_transaction there "
            "(tables, indexes and large objects together, divided by max_connections, and 64 at "
            "least), and restart it: ALTER SYSTEM SET max_locks_per_transaction = 512; on the "
            "embedded server, settings={'max_locks_per_transaction': '512'}."
        ),
    ),
    (
        "conflict with recovery",
        (
            "A standby has cancelled it to apply the primary's changes. Use the primary's "
            "address; or set hot_standby_feedback = on, or a longer max_standby_streaming_delay, "
            "on the standby, and run it again."
        ),
    ),
    (
        "invalid snapshot identifier|snapshot .* does not exist|import the requested snapshot",
        (
            "The sessions of this transfer are not on one server: the address leads to several (a "
            "load balancer, or several hosts), or the first session has ended. Give the address "
            "of one server, and run it again."
        ),
    ),
    (
        "row-level security policy",
        (
            "A policy would hide rows from this role, and none may be left out: use the owner's "
            "URL, a superuser's, or ALTER ROLE … BYPASSRLS."
        ),
    ),
    (
        "invalid byte sequence for encoding|has no equivalent in encoding",
        (
            "The texts of source and target have different encodings (SHOW server_encoding), and "
            "this one cannot be converted. Create the target with the source's encoding, or "
            "correct the text in the source."
        ),
    ),
    (
        "read-only transaction|recovery is in progress|in recovery mode",
        (
            "A standby has answered, which takes no changes. Use the primary's address; with "
            "several hosts in the URL, add target_session_attrs=read-write."
        ),
    ),
    (
        "server closed the connection|terminating connection due to|connection to server .* failed",
        (
            "The connection was lost: the server has stopped, or another one takes its place. Run "
            "it again once the server is back."
        ),
    ),
)


def remedy(text: str) -> str | None:
    """Return what to do about a message of a server or a program; None where it is not known."""
    mended = _unqualified(text) or _not_enforced(text)
    return mended or next((said for known, said in _REMEDIES if re.search(known, text)), None)


_NOT_FOUND = re.compile(r'(?:relation|type) "[^".]+" does not exist|function [^\s.]+\(.* does not')
_INSIDE = re.compile(
    r'(?:PL/pgSQL function |SQL function ")(?P<name>[^"\n]+?)(?:"| line |$)', re.MULTILINE
)


def _unqualified(text: str) -> str | None:
    """Return what to do where a function has not found a name."""
    inside = _INSIDE.search(text)
    if not _NOT_FOUND.search(text) or inside is None:
        return None
    name = inside["name"]
    return (
        f"The function {name} names it without its schema, and a copy is made with an empty "
        "search_path. Run it again with --search-path public (search_path=; or the schemas that it "
        f"needs), or mend the source: ALTER FUNCTION {name} SET search_path = public."
    )


_NOT_ENFORCED = re.compile(
    r"(?:ALTER TABLE (?:ONLY )?(?P<table>\S+)\s+ADD )?"
    r"CONSTRAINT (?P<name>\"(?:[^\"]|\"\")+\"|\S+) [^;\n]*\bNOT ENFORCED\b"
)


def _not_enforced(text: str) -> str | None:
    """Return what to do about a constraint that is checked in no row: a kind that 18 has."""
    found = _NOT_ENFORCED.search(text)
    if "syntax error" not in text or found is None:
        return None
    of, name = f" of {found['table']}" if found["table"] else "", found["name"]
    return (
        f"The constraint {name}{of} is NOT ENFORCED, which servers before PostgreSQL 18 do not "
        f"know. Use a server of that version; or drop it in the source, ALTER TABLE "
        f"{found['table'] or '…'} DROP CONSTRAINT {name}, and all others of its kind: SELECT "
        "conrelid::regclass, conname FROM pg_constraint WHERE NOT conenforced."
    )
