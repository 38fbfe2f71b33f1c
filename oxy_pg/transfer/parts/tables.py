"""The tables whose rows are copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.transfer import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Built-in types whose binary form says exactly what their text does, to the same version: it takes
# half the time. Not those of users and extensions, whose functions may do anything.
BINARY = (
    *("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar"),
    *("bytea", "uuid", "date", "time", "timestamp", "timestamptz", "interval", "json", "jsonb"),
)

# Of an extension's tables only those rows that the extension declares to be the user's.
_TABLES = f"""
    SELECT nspname, relname, pg_get_userbyid(relowner), pg_table_size(c.oid), config.condition,
           {database.EXPRESSIONS},
           ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
                 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum),
           NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
                       AND NOT attisdropped AND attgenerated = '' AND atttypid <> ALL (%(binary)s))
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    LEFT JOIN (SELECT unnest(extconfig) AS id, unnest(extcondition) AS condition FROM pg_extension)
              AS config ON config.id = c.oid
    WHERE relkind = 'r' AND relpersistence <> 't'
      AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND (config.id IS NOT NULL
           OR NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'))
      AND (%(schemas)s::text[] IS NULL OR nspname = ANY (%(schemas)s))
    ORDER BY nspname, relname
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are copied; of a partitioned one, each partition."""

    schema: str
    name: str
    owner: str
    size: int  # bytes on disk, without indexes
    condition: str | None  # of an extension's table: which rows are the user's; "" for all
    has_expressions: bool  # an index has
    columns: tuple[str, ...]  # without generated ones
    is_binary: bool  # these columns are all of types in ``BINARY``

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def copy_out(self, *, binary: bool = False) -> sql.Composed:
        """Return the COPY that reads its rows, without those of tables that inherit from it."""
        options = _options("FORMAT binary" if binary else "")
        columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        if self.condition is not None:
            return sql.SQL("COPY (SELECT {} FROM ONLY {} {}) TO STDOUT{}").format(
                columns, self.identifier, sql.SQL(self.condition), options
            )
        return sql.SQL("COPY {} {} TO STDOUT{}").format(self.identifier, self._listed, options)

    def copy_in(self, *, binary: bool = False, freeze: bool = False) -> sql.Composed:
        """Return the COPY that writes its rows."""
        options = _options("FORMAT binary" if binary else "", "FREEZE" if freeze else "")
        return sql.SQL("COPY {} {} FROM STDIN{}").format(self.identifier, self._listed, options)

    @property
    def _listed(self) -> sql.Composed:
        columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        return sql.SQL("({})").format(columns) if self.columns else sql.Composed(())

    def count(self, connection: psycopg.Connection[Any]) -> int:
        """Count its rows."""
        return database.count_one(
            connection,
            self.identifier,
            self.condition or "",
            has_expressions=self.has_expressions,
        )


def count(
    connection: psycopg.Connection[Any],
    found: Iterable[Table],
    on_table: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[Table, int]:
    """
    Count the rows of each; raises psycopg.Error.

    ``on_table`` gets how many are done, of how many, and which is next.
    """
    listed = list(found)
    countable = [
        database.Countable(one.schema, one.name, one.has_expressions, one.size, one.condition or "")
        for one in listed
    ]
    return dict(zip(listed, database.count_each(connection, countable, on_table), strict=True))


def tables(
    connection: psycopg.Connection[Any], schemas: Sequence[str] | None = None
) -> tuple[Table, ...]:
    """Return the tables whose rows are copied; raises psycopg.Error."""
    given = {
        "schemas": None if schemas is None else list(schemas),
        "binary": [psycopg.adapters.types[name].oid for name in BINARY],
    }
    return tuple(
        Table(schema, name, owner, size, condition, has_expressions, tuple(columns), is_binary)
        for (
            schema,
            name,
            owner,
            size,
            condition,
            has_expressions,
            columns,
            is_binary,
        ) in connection.execute(_TABLES.encode(), given)
    )


def _options(*given: str) -> sql.SQL:
    """Return COPY's options, of which some may be empty."""
    chosen = ", ".join(filter(None, given))
    return sql.SQL(f" WITH ({chosen})" if chosen else "")


def analyze(these: Iterable[Table]) -> sql.Composed:
    """Return the statement that gathers the statistics of tables, one at least."""
    return sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(one.identifier for one in these))
