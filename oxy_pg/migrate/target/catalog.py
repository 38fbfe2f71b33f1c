"""
What the target has already, read from PostgreSQL's catalogs.

Manual: chapter 53, System Catalogs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.connection import spoken
from oxy_pg.errors import TargetUnreachable
from oxy_pg.migrate import names
from oxy_pg.migrate.convert.types import parse_type
from oxy_pg.migrate.target.sequences import read_counters
from oxy_pg.migrate.target.set_aside import read_set_aside
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.target.sequences import Counter, Counters
    from oxy_pg.migrate.target.set_aside import SetAside

MOST_COLUMNS = 1600


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """One column as PostgreSQL has it."""

    name: str
    type: PgType
    not_null: bool
    has_default: bool
    generated: bool
    counters: tuple[Counter, ...] = ()  # the sequences behind serial, identity or its default


@dataclass(frozen=True, slots=True)
class TargetIndex:
    """A B-tree index of columns."""

    name: str
    columns: tuple[str, ...]
    predicate: str | None


@dataclass(frozen=True, slots=True)
class TargetUnique:
    """A unique index, to be checked before the write."""

    name: str
    columns: tuple[str, ...]
    predicate: str | None
    nulls_distinct: bool


@dataclass(frozen=True, slots=True)
class TargetForeignKey:
    """A foreign key between two tables of the target."""

    name: str
    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetTable:
    """One table as PostgreSQL has it."""

    name: str
    columns: tuple[TargetColumn, ...]
    has_rows: bool
    owned: bool
    ordinary: bool  # not partitioned, not inherited from
    uniques: tuple[TargetUnique, ...]
    foreign_keys: tuple[TargetForeignKey, ...]
    set_aside: tuple[SetAside, ...]
    indexes: tuple[TargetIndex, ...] = ()  # the unique ones, too

    def column(self, name: str) -> TargetColumn | None:
        """Return the column of this name: the same one, else the same but for case."""
        return names.match(name, {column.name: column for column in self.columns})


@dataclass(frozen=True, slots=True)
class TargetSchema:
    """The schema that the tables go to."""

    name: str
    database: str
    version: int
    tables: dict[str, TargetTable]
    names: frozenset[str]  # of every relation
    free_sequences: frozenset[str] = frozenset()  # that count for no column, qualified and quoted

    def table(self, name: str) -> TargetTable | None:
        """Return the table of this name: the same one, else the same but for case."""
        return names.match(name, self.tables)


def read_target(connection: psycopg.Connection[Any]) -> TargetSchema:
    """Read the schema that comes first in the search path. Raises TargetUnreachable without one."""
    row = connection.execute(
        "SELECT current_schema(), current_database(), current_setting('search_path')"
    ).fetchone()
    schema, database, path = row or (None, "", "")
    wanted = _first(path)
    if wanted is not None and wanted != schema:
        raise TargetUnreachable(
            database,
            f"the schema {wanted}, which comes first in the search path ({path}), does not exist "
            "or may not be used.",
            f"Create it: CREATE SCHEMA {ident(wanted)} AUTHORIZATION "
            f"{spoken(connection.info.user)}; or correct the schema in the URL (?schema=… or "
            "?options=-csearch_path%3D…) or in ALTER ROLE … SET search_path.",
        )
    if schema is None:
        raise TargetUnreachable(
            database,
            "no schema of the search path exists or may be used.",
            "As the database's owner: CREATE SCHEMA IF NOT EXISTS public; GRANT ALL ON SCHEMA "
            f"public TO {spoken(connection.info.user)};",
        )
    relations = frozenset(
        row[0]
        for row in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", [ident(schema)]
        )
    )
    tables = {}
    counters = read_counters(connection, schema)
    rows = connection.execute(_TABLES, [ident(schema)]).fetchall()
    for oid, name, owned, ordinary, readable in rows:
        row = (oid, name, owned, ordinary, readable)
        tables[name] = _table(connection, schema, row, counters)
    version = connection.info.server_version
    used = {c.name for t in tables.values() for column in t.columns for c in column.counters}
    free = frozenset(counters.free.values()) - used
    return TargetSchema(schema, database, version, tables, relations, free)


def _first(path: str) -> str | None:
    """Return the schema that a search path names first; None where that is the role's own."""
    names = re.findall(r'"((?:[^"]|"")*)"|([^",\s]+)', path)
    for quoted_, plain in names:
        name = str(quoted_).replace('""', '"') or str(plain).lower()
        return None if name in {"$user", "public"} else name
    return None


def unknown_type(connection: psycopg.Connection[Any], names: Iterable[str]) -> str | None:
    """Return the first of these types that the server does not have; or None."""
    for name in names:
        try:
            with connection.transaction():
                row = connection.execute("SELECT to_regtype(%s)", [name]).fetchone()
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError):
                raise
            return name  # not even the name of one
        if row is None or row[0] is None:
            return name
    return None


def missing_right(
    connection: psycopg.Connection[Any], schema: str, *, creates: bool, fills: Sequence[str]
) -> str | None:
    """Return the first privilege that the role lacks to create tables or to fill these; or None."""
    row = connection.execute(
        "SELECT current_user, has_schema_privilege(%s, 'CREATE')", [schema]
    ).fetchone()
    role, may_create = row or ("", True)
    if creates and not may_create:
        return (
            f"permission denied for schema {schema}: the role {role} may not create anything in it"
        )
    for table in fills:
        name = ident(schema, table)
        for right in ("SELECT", "INSERT"):
            found = connection.execute("SELECT has_any_column_privilege(%s, %s)", [name, right])
            if found.fetchone() == (False,):
                return f"permission denied for table {table}: the role {role} has no {right} on it"
    return None


_TABLES = """
SELECT c.oid, c.relname, pg_has_role(c.relowner, 'USAGE'),
       c.relkind = 'r' AND NOT c.relispartition
           AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
       has_table_privilege(c.oid, 'SELECT')
FROM pg_class c
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname
"""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '',
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

_INDEXES = """
SELECT c.relname, i.indkey::int2[], pg_get_expr(i.indpred, i.indrelid),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
       ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
             WHERE k.o <= i.indnkeyatts ORDER BY k.o)::text[],
       i.indisunique, m.amname = 'btree'
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = %s AND i.indislive
"""

_FOREIGN_KEYS = """
SELECT k.conname, p.relname,
       ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a
             ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o)::text[],
       ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a
             ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o)::text[]
FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
WHERE k.conrelid = %s AND k.contype = 'f' AND k.convalidated ORDER BY k.conname
"""


def _table(
    connection: psycopg.Connection[Any], schema: str, row: tuple[Any, ...], counters: Counters
) -> TargetTable:
    oid, name, owned, ordinary, readable = row
    has_rows = False
    if readable:
        query = f"SELECT EXISTS (SELECT FROM {ident(schema, name)})"
        found = connection.execute(query).fetchone()
        has_rows = bool(found and found[0])
    columns = tuple(
        TargetColumn(
            c[0], parse_type(c[5] or c[1]), c[2], c[3], c[4], counters.behind(oid, name, c[0])
        )
        for c in connection.execute(_COLUMNS, [oid])
    )
    listed = [row for row in connection.execute(_INDEXES, [oid]) if 0 not in row[1]]
    uniques = tuple(TargetUnique(u[0], tuple(u[4]), u[2], not u[3]) for u in listed if u[5])
    indexes = tuple(TargetIndex(i[0], tuple(i[4]), i[2]) for i in listed if i[6])
    keys = tuple(
        TargetForeignKey(k[0], name, tuple(k[2]), k[1], tuple(k[3]))
        for k in connection.execute(_FOREIGN_KEYS, [oid])
    )
    aside = read_set_aside(connection, oid) if owned and ordinary else ()
    return TargetTable(name, columns, has_rows, owned, ordinary, uniques, keys, aside, indexes)
