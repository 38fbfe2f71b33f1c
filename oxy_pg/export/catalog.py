"""What a PostgreSQL database consists of, as far as an export is concerned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

_OURS = """
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s))
"""
_NO_EXTENSIONS = """
    NOT EXISTS (SELECT FROM pg_depend WHERE classid = {class}::regclass AND objid = {oid}
                AND deptype = 'e')
"""
# Of a partitioned table the whole is a table, and not the partitions.
_TABLES = f"""
    SELECT c.oid, n.nspname, c.relname, c.reltuples::bigint, c.relkind
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND {_OURS} AND {_NO_EXTENSIONS.format_map({"class": "'pg_class'", "oid": "c.oid"})}
    ORDER BY n.nspname <> 'public', n.nspname, c.relname
"""
# A domain is what lies under it; an array's element decides where its type comes from.
_COLUMNS = """
    WITH RECURSIVE types AS (
        SELECT oid AS of, oid, typbasetype, typtypmod FROM pg_type
        UNION ALL
        SELECT types.of, t.oid, t.typbasetype, types.typtypmod
        FROM types JOIN pg_type t ON t.oid = types.typbasetype
    )
    SELECT a.attrelid, a.attnum, a.attname, a.attnotnull OR own.typnotnull, a.attidentity <> '',
           a.attgenerated <> '', pg_get_expr(d.adbin, d.adrelid), t.typname,
           format_type(t.oid, CASE WHEN own.typtype = 'd' THEN b.typtypmod ELSE a.atttypmod END),
           t.typtype, e.typnamespace = 'pg_catalog'::regnamespace,
           EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = e.oid
                   AND deptype = 'e'),
           (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum
            WHERE enumtypid = t.oid),
           pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), attname)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type own ON own.oid = a.atttypid
    JOIN types b ON b.of = own.oid AND b.typbasetype = 0
    JOIN pg_type t ON t.oid = b.oid
    JOIN pg_type e
      ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE t.oid END
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""
_CONSTRAINTS = """
    SELECT conrelid, conname, contype, conkey, confrelid,
           (SELECT array_agg(attname::text ORDER BY place)
            FROM unnest(confkey) WITH ORDINALITY k (number, place)
            JOIN pg_attribute ON attrelid = confrelid AND attnum = number),
           confupdtype, confdeltype,
           condeferrable, condeferred, convalidated, pg_get_expr(conbin, conrelid),
           pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE conrelid = ANY (%s) AND contype IN ('p', 'u', 'f', 'c', 'x')
    ORDER BY conrelid, contype <> 'p', conname
"""
_INDEXES = """
    SELECT i.indrelid, x.relname, am.amname, i.indisunique,
           coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),  -- since 15
           ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true)
                 FROM generate_series(1, i.indnkeyatts) k ORDER BY k),
           i.indkey::int[], i.indoption::int[], pg_get_expr(i.indpred, i.indrelid),
           pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am am ON am.oid = x.relam
    WHERE i.indrelid = ANY (%s) AND i.indisvalid
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid
                      AND contype IN ('p', 'u', 'x'))
    ORDER BY i.indrelid, x.relname
"""


def _without_extensions(catalog: str, oid: str) -> str:
    return _NO_EXTENSIONS.format_map({"class": f"'{catalog}'", "oid": oid})


# Kind, name and definition of what SQLite has no place for.
_OTHERS = f"""
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
           WHEN 'f' THEN 'foreign table' ELSE 'composite type' END, n.nspname, c.relname,
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm', 'f', 'c') AND {_OURS}
      AND {_without_extensions("pg_class", "c.oid")}
    UNION ALL
    SELECT 'sequence', n.nspname, c.relname, NULL
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND {_OURS} AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
        AND deptype IN ('a', 'i', 'e'))
    UNION ALL
    SELECT CASE WHEN t.typtype = 'e' THEN 'enum' ELSE 'domain' END, n.nspname, t.typname, NULL
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e') AND {_OURS} AND {_without_extensions("pg_type", "t.oid")}
    UNION ALL
    SELECT CASE WHEN p.prokind = 'p' THEN 'procedure' ELSE 'function' END, n.nspname, p.proname,
           CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) END
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE {_OURS} AND {_without_extensions("pg_proc", "p.oid")}
    UNION ALL
    SELECT 'trigger', n.nspname, t.tgname, pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND {_OURS}
    UNION ALL
    SELECT 'policy', n.nspname, p.polname, NULL
    FROM pg_policy p JOIN pg_class c ON c.oid = polrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OURS}
    ORDER BY 1, 2, 3
"""
_REASONS = {
    "enum": "SQLite has no such types: its columns are TEXT with a CHECK",
    "domain": "SQLite has no such types: its columns have the type under it, without its CHECKs",
    "sequence": "SQLite has no sequences",
    "policy": "SQLite has no row-level security",
}


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column; its type is that under a domain.

    ``type`` is spelled as ``format_type`` does; ``is_builtin`` and
    ``is_of_extension`` say where the type, or an array's element, comes from.
    """

    number: int
    name: str
    not_null: bool
    is_identity: bool
    is_generated: bool
    default: str | None
    type_name: str
    type: str
    type_kind: str
    is_builtin: bool
    is_of_extension: bool
    labels: tuple[str, ...]
    sequence: str | None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint; ``columns`` are column numbers, ``parent_columns`` names."""

    name: str
    kind: str  # pg_constraint.contype
    columns: tuple[int, ...]
    parent: int
    parent_columns: tuple[str, ...]
    on_update: str
    on_delete: str
    deferrable: bool
    deferred: bool
    validated: bool
    expression: str | None
    definition: str


@dataclass(frozen=True, slots=True)
class Index:
    """An index that no constraint owns; ``keys`` are column numbers, 0 for an expression."""

    name: str
    method: str
    unique: bool
    nulls_not_distinct: bool
    expressions: tuple[str, ...]
    keys: tuple[int, ...]
    options: tuple[int, ...]
    predicate: str | None
    definition: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table with all that is on it; ``estimate`` is how many rows PostgreSQL thinks it has."""

    oid: int
    schema: str
    name: str
    estimate: int
    is_partitioned: bool
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]
    indexes: tuple[Index, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def column(self, number: int) -> Column:
        """Return the column of that number."""
        return next(column for column in self.columns if column.number == number)


def tables(connection: psycopg.Connection[Any], schemas: Sequence[str] | None) -> tuple[Table, ...]:
    """Return the tables of these schemas, of all by default; not those of extensions."""
    rows = connection.execute(_TABLES, {"schemas": _listed(schemas)}).fetchall()
    oids = [row[0] for row in rows]
    columns = _by_table(connection, _COLUMNS, oids)
    constraints = _by_table(connection, _CONSTRAINTS, oids)
    indexes = _by_table(connection, _INDEXES, oids)
    return tuple(
        Table(
            oid,
            schema,
            name,
            max(estimate, 0),
            kind == "p",
            tuple(Column(*_frozen(row)) for row in columns.get(oid, ())),
            tuple(Constraint(*_frozen(row)) for row in constraints.get(oid, ())),
            tuple(Index(*_frozen(row)) for row in indexes.get(oid, ())),
        )
        for oid, schema, name, estimate, kind in rows
    )


def _listed(schemas: Sequence[str] | None) -> list[str] | None:
    return None if schemas is None else list(schemas)


def _by_table(
    connection: psycopg.Connection[Any], query: str, oids: list[int]
) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for table, *row in connection.execute(query, [oids]):
        found.setdefault(table, []).append(tuple(row))
    return found


# What is NULL in the catalogue where a list is meant.
def _frozen(row: tuple[Any, ...]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in row]


def others(
    connection: psycopg.Connection[Any], schemas: Sequence[str] | None
) -> tuple[Skipped, ...]:
    """Return everything beside tables, which SQLite has no place for."""
    return tuple(
        Skipped(
            kind,
            name if schema == "public" else f"{schema}.{name}",
            _REASONS.get(kind, "it is PostgreSQL's, and not translated"),
            definition,
        )
        for kind, schema, name, definition in connection.execute(
            _OTHERS, {"schemas": _listed(schemas)}
        )
    )
