"""Everything that two PostgreSQL databases hold, to be compared as it is."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

_OURS = "nspname !~ '^pg_' AND nspname <> 'information_schema'"
_NOT_OF_AN_EXTENSION = (
    "NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = {}.oid AND e.deptype = 'e')"
)

# What is promised, as PostgreSQL spells it; without numbers that differ in each database.
_DEFINITIONS = {
    "schemas": f"SELECT nspname, obj_description(oid) FROM pg_namespace WHERE {_OURS}",
    "columns": f"""
        SELECT nspname, relname, relkind, attname, format_type(atttypid, atttypmod), attnotnull,
               attidentity, attgenerated, pg_get_expr(adbin, adrelid), attcollation::regcollation,
               col_description(c.oid, attnum)
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE {_OURS} AND {_NOT_OF_AN_EXTENSION.format("c")}
    """,
    "relations": f"""
        SELECT nspname, relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
               relreplident, reloptions, pg_get_expr(relpartbound, c.oid), obj_description(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE {_OURS} AND {_NOT_OF_AN_EXTENSION.format("c")}
    """,
    "constraints": f"""
        SELECT nspname, conrelid::regclass::text, conname, pg_get_constraintdef(k.oid), convalidated
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace WHERE {_OURS}
    """,
    "indexes": "SELECT schemaname, indexname, indexdef FROM pg_indexes "
    "WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'",
    "views": "SELECT schemaname, viewname, definition FROM pg_views "
    "WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'",
    "materialized views": "SELECT schemaname, matviewname, definition, ispopulated "
    "FROM pg_matviews",
    "triggers": "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal",
    "functions": f"""
        SELECT nspname, pg_get_functiondef(p.oid)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE {_OURS} AND prokind IN ('f', 'p') AND {_NOT_OF_AN_EXTENSION.format("p")}
    """,
    "types": f"""
        SELECT nspname, typname, typtype, array(SELECT enumlabel FROM pg_enum
               WHERE enumtypid = t.oid ORDER BY enumsortorder)
        FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
        WHERE {_OURS} AND {_NOT_OF_AN_EXTENSION.format("t")}
    """,
    "sequences": "SELECT schemaname, sequencename, data_type, start_value, increment_by, cycle,"
    " last_value FROM pg_sequences",
    "policies": "SELECT schemaname, tablename, policyname, cmd, qual, with_check FROM pg_policies",
    "extensions": "SELECT extname, extversion FROM pg_extension",
    "large objects": "SELECT m.oid, lo_get(m.oid) FROM pg_largeobject_metadata m",
}

_TABLES = f"""
    SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'p') AND {_OURS}
"""


def contents(url: str) -> dict[str, list[Any]]:
    """Return every definition and every row of a database; equal is what holds the same."""
    found: dict[str, list[Any]] = {}
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = ''")
        connection.execute("SET extra_float_digits = 3")
        for name, query in _DEFINITIONS.items():
            found[name] = sorted(connection.execute(query).fetchall(), key=repr)
        for schema, table in connection.execute(_TABLES).fetchall():
            # As text, so that all there is to see is compared, and nothing but that.
            select = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            rows = connection.execute(select).fetchall()
            found[f"{schema}.{table}"] = sorted(row[0] for row in rows)
    return found


def differences(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> dict[str, Any]:
    """Return what is different, shortened, for a test's message."""
    return {
        name: (
            [item for item in one.get(name, []) if item not in other.get(name, [])][:5],
            [item for item in other.get(name, []) if item not in one.get(name, [])][:5],
        )
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }
