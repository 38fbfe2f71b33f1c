"""``Skipped``: something that a migration does not bring along."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """
    An object of the source that is not moved, or not as it was, and why.

    ``what`` is "table", "view", "trigger", "index", "default" and the like.
    ``sql`` is the SQL that made it in SQLite, and ``suggestion`` the SQL that
    may take its place in PostgreSQL, where they are known.
    """

    what: str
    name: str
    reason: str
    sql: str | None = None
    suggestion: str | None = None
