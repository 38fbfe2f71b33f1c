"""Names and values as PostgreSQL's SQL spells them."""

from __future__ import annotations

from psycopg import sql


def ident(*parts: str) -> str:
    """Spell a name for PostgreSQL."""
    return sql.Identifier(*parts).as_string(None)


def literal(value: object) -> str:
    """Spell a value for PostgreSQL."""
    return sql.Literal(value).as_string(None)
