"""What only PostgreSQL can say of existing tables, so that a dry run does not know it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan


class Found(NamedTuple):
    """One thing that may refuse or change rows: of which table, its name, its definition."""

    kind: str
    table: str
    name: str
    definition: str


_FOUND = """
SELECT CASE k.contype WHEN 'c' THEN 'check' WHEN 'x' THEN 'exclusion' ELSE 'foreign key' END,
       k.conname, pg_get_constraintdef(k.oid), k.contype = 'f', k.confrelid::regclass::text
FROM pg_constraint k WHERE k.conrelid = %(table)s::regclass AND k.contype IN ('c', 'x', 'f')
UNION ALL
SELECT 'unique index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), false, NULL
FROM pg_index i WHERE i.indrelid = %(table)s::regclass AND i.indisunique
  AND (i.indexprs IS NOT NULL OR (to_jsonb(i) ->> 'indnullsnotdistinct')::bool)
UNION ALL
SELECT 'domain', a.attname, format_type(a.atttypid, a.atttypmod), false, NULL
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid AND t.typtype = 'd'
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'computed column', a.attname, pg_get_expr(d.adbin, d.adrelid), false, NULL
FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(table)s::regclass AND a.attgenerated <> '' AND NOT a.attisdropped
UNION ALL
SELECT 'trigger', t.tgname, pg_get_triggerdef(t.oid), false, NULL
FROM pg_trigger t WHERE t.tgrelid = %(table)s::regclass AND NOT t.tgisinternal
  AND t.tgenabled IN ('O', 'A') AND NOT %(aside)s
UNION ALL
SELECT 'partitions', c.relname, coalesce(pg_get_partkeydef(c.oid), 'it has partitions'), false, NULL
FROM pg_class c WHERE c.oid = %(table)s::regclass AND (c.relkind = 'p' OR c.relispartition)
UNION ALL
SELECT 'row security', p.polname, coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''), false, NULL
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE p.polrelid = %(table)s::regclass AND c.relrowsecurity AND row_security_active(c.oid)
ORDER BY 1, 2
"""


def unexamined(
    source: sqlite3.Connection, connection: psycopg.Connection[Any], plan: Plan
) -> list[Found]:
    """List what a dry run has not examined."""
    ours = {ident(plan.schema, table.target) for table in plan.tables}
    ours |= {ident(table.target) for table in plan.tables}
    return [
        found
        for table in plan.tables
        for found in (*_of_table(connection, plan, table, ours), *_uncompared(source, plan, table))
    ]


def _uncompared(source: sqlite3.Connection, plan: Plan, table: TablePlan) -> Iterator[Found]:
    """Yield the keys whose values only PostgreSQL can compare: citext, inet, enums and others."""
    existing = table.existing
    if existing is None or not table.rows:
        return
    for unique in table.uniques:
        planned = [table.column(name) for name in unique.columns]
        is_known = all(column and column.type.kind.family for column in planned)
        where = f" WHERE {unique.predicate}" if unique.predicate else ""
        if not is_known or (where and not is_understood(source, table, unique.predicate or "")):
            named = f"({', '.join(unique.columns)}){where}"
            yield Found("unique index", table.target, unique.index, named)
    if plan.options.if_not_empty == "append":
        return  # all of its keys are listed
    parents = {other.target: other for other in plan.tables}
    for key in existing.foreign_keys:
        parent = parents.get(key.parent)
        if parent is None:
            continue
        pairs = [
            (table.by_target(own), parent.by_target(other))
            for own, other in zip(key.columns, key.parent_columns, strict=True)
        ]
        if any(own and other and not _is_comparable(own, other) for own, other in pairs):
            named = f"FOREIGN KEY ({', '.join(key.columns)}) REFERENCES {key.parent}"
            yield Found("foreign key", table.target, key.name, named)


def _is_comparable(own: ColumnPlan, other: ColumnPlan) -> bool:
    return own.type.kind.family is not None and own.type.kind.family == other.type.kind.family


def is_understood(source: sqlite3.Connection, table: TablePlan, predicate: str) -> bool:
    """Whether SQLite can read the condition of an index of the target."""
    query = f"SELECT 1 FROM {quoted(table.source.name)} AS t WHERE ({predicate}) LIMIT 0"
    try:
        source.execute(query)
    except sqlite3.OperationalError:
        return False
    return True


def _of_table(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan, ours: set[str]
) -> Iterator[Found]:
    existing = table.existing
    if existing is None:
        return
    name = ident(plan.schema, table.target)
    appends = plan.options.if_not_empty == "append"
    facts = {"table": name, "aside": existing.owned and existing.ordinary}
    for kind, label, definition, refers, parent in connection.execute(_FOUND, facts).fetchall():
        # A key to a table that is moved too has been examined; not to rows that are there already.
        if not refers or appends or _plain(parent) not in {_plain(own) for own in ours}:
            yield Found(kind, table.target, label, definition)
    if appends and existing.has_rows:
        for unique in existing.uniques:
            columns = ", ".join(unique.columns)
            yield Found("unique index", table.target, unique.name, f"rows that exist: {columns}")


def _plain(name: str) -> str:
    return name.replace('"', "")
