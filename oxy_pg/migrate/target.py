"""
What stands in PostgreSQL already, read from its catalogs.

Manual: chapter 53, System Catalogs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from oxy_pg.errors import TargetUnreachable
from oxy_pg.migrate import names
from oxy_pg.migrate.convert.types import PgType, parse_type
from oxy_pg.url import check, mask, mask_text, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oxy_pg.deadline import Deadline

MOST_COLUMNS = 1600


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """One column as PostgreSQL has it."""

    name: str
    type: PgType
    not_null: bool
    has_default: bool
    generated: bool
    sequence: str | None  # quoted name of the sequence behind serial or identity


@dataclass(frozen=True, slots=True)
class SetAside:
    """
    Something that is dropped for the load and made again after it.

    ``restore`` holds every statement that brings it back as it was.
    """

    what: str
    remove: str
    restore: tuple[str, ...]
    phase: int  # 0 trigger, 1 foreign key, 2 constraint, 3 index


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

    def table(self, name: str) -> TargetTable | None:
        """Return the table of this name: the same one, else the same but for case."""
        return names.match(name, self.tables)


def ident(*parts: str) -> str:
    """Spell a name for PostgreSQL."""
    return sql.Identifier(*parts).as_string(None)


def spoken(name: str) -> str:
    """Spell a name for a person, who writes no quotes where none are needed."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) and name != "user" else ident(name)


def literal(value: object) -> str:
    """Spell a value for PostgreSQL."""
    return sql.Literal(value).as_string(None)


def connect(url: str, deadline: Deadline) -> psycopg.Connection[Any]:
    """
    Connect, waiting until the server is there; nothing is begun or changed.

    Raises TargetUnreachable: at once when the server itself refuses us, else
    when the time is up.
    """
    url = plain(url, "The target")
    check(url, "The target")
    failure: TargetUnreachable | None = None
    for remaining in deadline.attempts(0.1, 2.0):
        try:
            connection = psycopg.connect(
                url,
                autocommit=True,
                connect_timeout=max(2, int(remaining)),
                application_name="oxy_pg",
            )
        except psycopg.OperationalError as error:
            if not remaining or not _may_pass(str(error)):
                failure = _unreachable(url, error)
                break
        else:
            return _at_home(connection)
    # Not where the driver's error is being handled: its frames hold the password.
    assert failure is not None
    del url
    raise failure


def _at_home(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    # One session for reading and writing times, bytes and numbers without loss.
    for setting in (
        "TimeZone = 'UTC'",
        "DateStyle = 'ISO, MDY'",
        "IntervalStyle = 'postgres'",
        "bytea_output = 'hex'",
        "extra_float_digits = 1",
        "standard_conforming_strings = on",
        "client_encoding = 'UTF8'",
        "lock_timeout = '60s'",
        "statement_timeout = 0",
        "idle_in_transaction_session_timeout = 0",
        "synchronize_seqscans = off",
    ):
        connection.execute(f"SET {setting}")
    # The disk begins to write while rows arrive, so that the commit has little to wait for. Not
    # every server that speaks PostgreSQL's language has the setting.
    connection.execute(
        "SELECT set_config(name, '1MB', false) FROM pg_settings WHERE name = 'backend_flush_after'"
    )
    return connection


_PASSES = ("starting up", "shutting down", "recovery", "too many", "remaining connection slots")


_STAYS = ("certificate", "invalid sslmode", "does not support SSL", "no password supplied")


def _may_pass(message: str) -> bool:
    # What PostgreSQL itself answers begins with FATAL, in every language of libpq's own messages.
    if "FATAL" in message:
        return any(words in message for words in _PASSES)
    return not any(words in message for words in _STAYS)


def _unreachable(url: str, error: Exception) -> TargetUnreachable:
    first, *more = mask_text(str(error), url).strip().splitlines() or [""]
    if "FATAL" in first:
        # With sslmode=prefer, libpq tries again without TLS: what it is told then is beside the
        # point.
        more = [line for line in more if "no encryption" not in line]
    message = "\n".join([first, *more])
    for words, remedy in _REMEDIES.items():
        if re.search(words, message):
            info = {"dbname": "name", "user": "role", **conninfo_to_dict(url)}
            name, role = (spoken(str(info[part])) for part in ("dbname", "user"))
            return TargetUnreachable(mask(url), message, remedy.format(name=name, role=role))
    remedy = (
        "Check host and port in the URL, and that the server runs and can be reached from here."
    )
    return TargetUnreachable(mask(url), message, remedy)


_REMEDIES = {
    "password authentication failed": "Check user and password in the URL; characters such as "
    "@ : / in a password are written as %40 %3A %2F.",
    "no password supplied": "Write the password into the URL, or into ~/.pgpass.",
    'database ".*" does not exist': "Create it first: CREATE DATABASE {name} OWNER {role};",
    "root certificate file": "Name the file with your provider's root certificate: ?sslmode="
    "verify-full&sslrootcert=/path/to/root.crt; or encrypt without checking whose server it is: "
    "?sslmode=require.",
    "certificate": "The server is not the one that sslrootcert and the host's name vouch for: "
    "correct either, or ask its administrator.",
    "invalid sslmode": "Write one of disable, allow, prefer, require, verify-ca and verify-full.",
    "server does not support SSL": "That server has no TLS: leave sslmode out of the URL.",
    "no encryption": "That server lets nobody in without TLS: add ?sslmode=require to the URL.",
    "no pg_hba.conf entry": "That server does not let this user in from this machine: its "
    "administrator adds it to pg_hba.conf, or to the allowed addresses of a managed server.",
    "resolve|Name or service": "Check the host's name in the URL.",
    "too many|connection slots": "The server takes no more connections: end some, or wait longer "
    "(--timeout).",
}


def read_target(connection: psycopg.Connection[Any]) -> TargetSchema:
    """Read the schema that comes first in the search path. Raises TargetUnreachable without one."""
    row = connection.execute("SELECT current_schema(), current_database()").fetchone()
    schema, database = row or (None, "")
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
    rows = connection.execute(_TABLES, [ident(schema)]).fetchall()
    for oid, name, owned, ordinary, readable in rows:
        tables[name] = _table(connection, schema, (oid, name, owned, ordinary, readable))
    return TargetSchema(schema, database, connection.info.server_version, tables, relations)


def missing_right(
    connection: psycopg.Connection[Any], schema: str, *, creates: bool, fills: Sequence[str]
) -> str | None:
    """Return the first right that the role lacks to make tables, or to fill these; None: none."""
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
       (SELECT format('%%I.%%I', n.nspname, s.relname)
        FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        JOIN pg_namespace n ON n.oid = s.relnamespace
        WHERE d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')
          AND d.classid = 'pg_class'::regclass LIMIT 1),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

_UNIQUES = """
SELECT c.relname, i.indkey::int2[], pg_get_expr(i.indpred, i.indrelid),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
       ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(n, o)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
             WHERE k.o <= i.indnkeyatts ORDER BY k.o)::text[]
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s AND i.indisunique AND i.indislive
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


def _table(connection: psycopg.Connection[Any], schema: str, row: tuple[Any, ...]) -> TargetTable:
    oid, name, owned, ordinary, readable = row
    has_rows = False
    if readable:
        query = f"SELECT EXISTS (SELECT FROM {ident(schema, name)})"
        found = connection.execute(query).fetchone()
        has_rows = bool(found and found[0])
    columns = tuple(
        TargetColumn(c[0], parse_type(c[6] or c[1]), c[2], c[3], c[4], c[5])
        for c in connection.execute(_COLUMNS, [oid])
    )
    uniques = tuple(
        TargetUnique(u[0], tuple(u[4]), u[2], not u[3])
        for u in connection.execute(_UNIQUES, [oid])
        if 0 not in u[1]
    )
    keys = tuple(
        TargetForeignKey(k[0], name, tuple(k[2]), k[1], tuple(k[3]))
        for k in connection.execute(_FOREIGN_KEYS, [oid])
    )
    aside = _set_aside(connection, oid) if owned and ordinary else ()
    return TargetTable(name, columns, has_rows, owned, ordinary, uniques, keys, aside)


# What can be dropped and made again exactly. What is left in place: whatever lies in another
# tablespace, exclusion constraints, invalid indexes, and unique ones of unusual kinds.
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


def _set_aside(connection: psycopg.Connection[Any], oid: int) -> tuple[SetAside, ...]:
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
