"""Everything that is in a PostgreSQL database, as values that can be compared; and a rich one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

# Not what versions spell differently: the text of views (their rows are compared instead), names
# of NOT NULL constraints.
FACTS = {
    "columns": """
        SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod),
               attnotnull, attidentity, attgenerated, attcollation::regcollation::text,
               pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND {ours}""",
    "relations": """
        SELECT relnamespace::regnamespace::text, relname, relkind, relpersistence,
               relrowsecurity, relispartition, pg_get_expr(relpartbound, c.oid),
               CASE WHEN relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
               obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE relkind <> 't' AND {ours}""",
    "parents": """
        SELECT inhrelid::regclass::text, inhparent::regclass::text
        FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE {ours}""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(con.oid), convalidated
        FROM pg_constraint con JOIN pg_class c ON c.oid = conrelid WHERE contype <> 'n' AND {ours}
        UNION ALL SELECT typname, conname, pg_get_constraintdef(con.oid), convalidated
        FROM pg_constraint con JOIN pg_type t ON t.oid = contypid
        JOIN pg_namespace ON pg_namespace.oid = typnamespace
        WHERE contype <> 'n' AND nspname !~ '^pg_|^information_schema'""",
    "indexes": """
        SELECT i.indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid
        FROM pg_index i JOIN pg_class c ON c.oid = indrelid WHERE relkind <> 't' AND {ours}""",
    "triggers": """
        SELECT pg_get_triggerdef(t.oid), tgenabled FROM pg_trigger t
        JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal AND {ours}""",
    "policies": "SELECT tablename, policyname, cmd, qual, with_check FROM pg_policies",
    "rules": "SELECT tablename, definition FROM pg_rules WHERE schemaname !~ '^pg_'",
    "views": """
        SELECT c.oid::regclass::text, relispopulated FROM pg_class c
        WHERE relkind IN ('v', 'm') AND {ours}""",
    "routines": """
        SELECT p.oid::regprocedure::text, prokind, prosrc, obj_description(p.oid, 'pg_proc')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname !~ '^pg_|^information_schema'
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')""",
    "types": """
        SELECT t.oid::regtype::text, typtype, typnotnull, typdefault,
               ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid
                     ORDER BY enumsortorder)
        FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
        WHERE nspname !~ '^pg_|^information_schema' AND typtype <> 'b'
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = t.oid AND deptype = 'e')""",
    "extensions": "SELECT extname, extnamespace::regnamespace::text FROM pg_extension",
    "statistics": """
        SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext""",
    "text search": "SELECT cfgname FROM pg_ts_config WHERE cfgname ~ '^my_'",
}
OURS = """
    relnamespace::regnamespace::text !~ '^pg_|^information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
"""
TEXT = """
    SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1;
    SET timezone = 'UTC'; SET search_path = '';
"""


def everything(url: str, *, rows_of: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Each object's definition, each table's rows, each sequence's value, each large object."""
    found: dict[str, Any] = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TEXT)
        for name, query in FACTS.items():
            rows = connection.execute(query.replace("{ours}", OURS)).fetchall()
            found[name] = sorted(map(repr, rows))
        relations = connection.execute(
            "SELECT nspname, relname, relkind FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = relnamespace"
            f" WHERE relkind IN ('r', 'm', 'v', 'S') AND relispopulated AND {OURS}"
        ).fetchall()
        for schema, name, kind in relations:
            found[f"{kind} {schema}.{name}"] = values(connection, schema, name, kind)
        found["large objects"] = connection.execute(
            "SELECT oid, lo_get(oid) FROM pg_largeobject_metadata ORDER BY oid"
        ).fetchall()
    return found


def values(connection: psycopg.Connection[Any], schema: str, name: str, kind: str) -> list[Any]:
    relation = sql.Identifier(schema, name)
    if kind == "S":
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(relation)
        return connection.execute(query).fetchall()
    with connection.cursor().copy(
        sql.SQL("COPY (SELECT * FROM ONLY {}) TO STDOUT").format(relation)
    ) as copy:
        return sorted(bytes(row) for row in copy)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What stands in one and not in the other, as lines."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        ours, theirs = one.get(name), other.get(name)
        if ours == theirs:
            continue
        left = [item for item in ours or () if item not in (theirs or ())]
        right = [item for item in theirs or () if item not in (ours or ())]
        found.append(f"{name}: {str(left)[:600]} / {str(right)[:600]}")
    return found


RICH = (Path(__file__).parent / "rich.sql").read_text(encoding="utf-8")
