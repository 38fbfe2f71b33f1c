"""The values of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

_SEQUENCES = """
    SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'S' AND relpersistence <> 't'
      AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend
                      WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
      AND (%(schemas)s::text[] IS NULL OR nspname = ANY (%(schemas)s))
    ORDER BY nspname, relname
"""


def copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    schemas: Sequence[str] | None = None,
) -> int:
    """Set each sequence to the value that it has in the source; returns how many there are."""
    given = {"schemas": None if schemas is None else list(schemas)}
    found = source.execute(_SEQUENCES, given).fetchall()
    for schema, name in found:
        sequence = sql.Identifier(schema, name)
        row = source.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sequence))
        value, called = row.fetchone() or (1, False)
        target.execute(
            "SELECT pg_catalog.setval(%s::regclass, %s, %s)",
            (sequence.as_string(target), value, called),
        )
    return len(found)
