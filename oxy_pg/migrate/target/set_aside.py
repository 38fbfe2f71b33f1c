"""Indexes, constraints and triggers of the target that are removed for the load, and restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, slots=True)
class SetAside:
    """
    Something that is dropped for the load, and created again after it.

    ``restore`` holds every statement that restores it as it was.
    """

    what: str
    remove: str
    restore: tuple[str, ...]
    phase: int  # 0 trigger, 1 foreign key, 2 constraint, 3 index


# What can be dropped and created again exactly. Not touched: indexes in another tablespace or with
# storage parameters, exclusion constraints, and invalid indexes.
_TRIGGERS = """
SELECT t.tgname, t.tgenabled, t.tgrelid::regclass::text FROM pg_trigger t
WHERE t.tgrelid = %s AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgparentid = 0
"""

_CONSTRAINTS = """
SELECT k.conname, k.contype, k.conrelid::regclass::text, pg_get_constraintdef(k.oid),
       obj_description(k.oid, 'pg_constraint'), k.conindid::regclass::text,
       obj_description(k.conindid, 'pg_class'), i.indisreplident, i.indisclustered,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O'),
       pg_has_role(o.relowner, 'USAGE')
FROM pg_constraint k
JOIN pg_class o ON o.oid = k.conrelid
LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u')
LEFT JOIN pg_class c ON c.oid = i.indexrelid
WHERE (k.conrelid = %(oid)s AND k.contype IN ('p', 'u', 'f')
       OR k.confrelid = %(oid)s AND k.contype = 'f')
  AND k.conparentid = 0 AND coalesce(c.reltablespace, 0) = 0 AND c.reloptions IS NULL
ORDER BY k.contype = 'f', k.contype, k.conname
"""

_INDEXES = """
SELECT c.relname, n.nspname, i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid),
       obj_description(i.indexrelid, 'pg_class'), i.indisreplident, i.indisclustered
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indrelid = %s AND i.indisvalid AND c.reltablespace = 0
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND to_jsonb(a)->>'attstattarget' > '0')
ORDER BY c.relname
"""

_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def read_set_aside(connection: psycopg.Connection[Any], oid: int) -> tuple[SetAside, ...]:
    """Return what is to be set aside for the load of one table."""
    found = [
        SetAside(
            f"trigger {name} on {table}",
            f"ALTER TABLE {table} DISABLE TRIGGER {ident(name)}",
            (f"ALTER TABLE {table} {_ENABLE[_text(enabled)]} TRIGGER {ident(name)}",),
            0,
        )
        for name, enabled, table in connection.execute(_TRIGGERS, [oid])
    ]
    constraints = connection.execute(_CONSTRAINTS, {"oid": oid})
    found.extend(_constraint(row) for row in constraints if not row[9] and row[10])
    found.extend(_index(row) for row in connection.execute(_INDEXES, [oid]))
    return tuple(found)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _constraint(row: tuple[Any, ...]) -> SetAside:
    name, kind, table, definition, comment, index, index_comment, identity, clustered = row[:9]
    restore = [f"ALTER TABLE {table} ADD CONSTRAINT {ident(name)} {definition}"]
    if comment:
        restore.append(f"COMMENT ON CONSTRAINT {ident(name)} ON {table} IS {literal(comment)}")
    if _text(kind) != "f":
        if index_comment:
            restore.append(f"COMMENT ON INDEX {index} IS {literal(index_comment)}")
        restore += _marks(table, name, identity=identity, clustered=clustered)
    return SetAside(
        f"constraint {name} on {table}",
        f"ALTER TABLE {table} DROP CONSTRAINT {ident(name)}",
        tuple(restore),
        1 if _text(kind) == "f" else 2,
    )


def _index(row: tuple[Any, ...]) -> SetAside:
    name, schema, table, definition, comment, identity, clustered = row
    restore = [definition]
    if comment:
        restore.append(f"COMMENT ON INDEX {ident(schema, name)} IS {literal(comment)}")
    restore += _marks(table, name, identity=identity, clustered=clustered)
    return SetAside(f"index {name}", f"DROP INDEX {ident(schema, name)}", tuple(restore), 3)


def _marks(table: str, index: str, *, identity: bool, clustered: bool) -> list[str]:
    marks = []
    if identity:
        marks.append(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {ident(index)}")
    if clustered:
        marks.append(f"ALTER TABLE {table} CLUSTER ON {ident(index)}")
    return marks
