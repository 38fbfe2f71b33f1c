"""A database that a URL names: connected to for a transfer, and asked what is in it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg import connection as connections
from oxy_pg.errors import TransferRefused
from oxy_pg.paths import digest
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import refusals
from oxy_pg.transfer.contents import Extension, TableRows
from oxy_pg.url import mask, mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

# Seconds for one more connection to a server that has answered before.
_AGAIN = 10.0

_COUNTED_AT_ONCE = 100  # tables
_SMALL = 1 << 20  # bytes of a table that is counted together with others

# What a role or a database may have set, and what would end a session that works, or waits for
# the other side, for hours; as far as this server knows it (transaction_timeout is of 17).
_TIMEOUTS = """
    SELECT pg_catalog.set_config(name, '0', %s) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
                   'idle_session_timeout', 'transaction_timeout')
"""
# What a session begins with: it may have no time for the statement above. Not the search_path,
# which says where a migration creates tables.
_BEGINNING = {name: value for name, value in connections.NEUTRAL.items() if name != "search_path"}
_BEGINNING["row_security"] = "on"
# Extensions that say themselves that they belong in pg_catalog.
_IN_PG_CATALOG = frozenset(
    {"adminpack", "plpgsql", "plperl", "plperlu", "plpython3u", "pltcl", "pltclu"}
)
# All names of users' objects are qualified: none of a schema that the role has put first is taken
# for one of PostgreSQL's.
_NEUTRAL = "SET client_min_messages = 'error'; SET search_path = ''"

# Whether a table has an index with an expression: PostgreSQL plans a query with these.
EXPRESSIONS = (
    "EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid"
    " AND (indexprs IS NOT NULL OR indpred IS NOT NULL))"
)
# Tables whose rows pg_dump dumps: not those of extensions, and of partitioned ones the partitions.
_TABLES = f"""
    SELECT nspname, relname, {EXPRESSIONS}, coalesce(pg_relation_size(c.oid), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence <> 't'
      AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend
                      WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ORDER BY nspname, relname
"""
_EXTENSIONS = """
    SELECT extname, extversion, nspname
    FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
    WHERE extname <> 'plpgsql' ORDER BY extname
"""
# Extensions that something in these schemas depends on: a column of a type, an index's operators.
_USED = """
    SELECT DISTINCT extname
    FROM pg_depend member JOIN pg_extension e ON e.oid = member.refobjid
    JOIN pg_depend use ON (use.refclassid, use.refobjid) = (member.classid, member.objid)
    LEFT JOIN pg_attrdef a ON use.classid = 'pg_attrdef'::regclass AND a.oid = use.objid
    LEFT JOIN pg_rewrite r ON use.classid = 'pg_rewrite'::regclass AND r.oid = use.objid
    LEFT JOIN pg_trigger t ON use.classid = 'pg_trigger'::regclass AND t.oid = use.objid
    JOIN pg_namespace n ON n.oid = coalesce(
        (SELECT relnamespace FROM pg_class WHERE oid = coalesce(adrelid, ev_class, tgrelid,
         CASE use.classid WHEN 'pg_class'::regclass THEN use.objid END)),
        (SELECT pronamespace FROM pg_proc WHERE use.classid = 'pg_proc'::regclass
         AND oid = use.objid),
        (SELECT typnamespace FROM pg_type WHERE use.classid = 'pg_type'::regclass
         AND oid = use.objid),
        (SELECT connamespace FROM pg_constraint WHERE use.classid = 'pg_constraint'::regclass
         AND oid = use.objid))
    WHERE member.refclassid = 'pg_extension'::regclass AND member.deptype = 'e'
      AND use.deptype <> 'e' AND nspname = ANY (%s)
"""


def connect(
    url: str, deadline: Deadline, *, name: str = "The URL", pooled: bool = False
) -> psycopg.Connection[Any]:
    """
    Connect for a transfer, in autocommit mode, to a server that may have to be waited for.

    A server that does not listen yet or is starting is waited for until the
    deadline, which all servers of one transfer share. ``name`` is what messages
    call the URL. With ``pooled`` a pooler in transaction mode is accepted: the
    caller leaves nothing in a session. Raises ConfigurationError for what is
    not a URL of PostgreSQL, and TransferRefused when the server cannot be
    reached, is too old, or is behind such a pooler.
    """
    found = _connected(url, deadline, name=name, wait=True, pooled=pooled)
    del url  # which reporters of errors would show: it may not be the one that the caller gave
    return _or_raise(found)


def connect_again(url: str) -> psycopg.Connection[Any]:
    """
    Connect once more to a server that this transfer is connected to already.

    One attempt of 10 seconds at most, however long the transfer has taken: it
    is not waited for. A server that is down now, or has started again, has lost
    the snapshot and the locks that the transfer depends on. Raises what
    ``connect()`` raises.
    """
    found = _connected(url, Deadline(_AGAIN), name="The URL", wait=False, pooled=False)
    del url
    return _or_raise(found)


def _connected(
    url: str, deadline: Deadline, *, name: str, wait: bool, pooled: bool
) -> psycopg.Connection[Any] | TransferRefused:
    """Return the connection, or the error to raise where no frame holds a password."""
    try:
        connection = connections.connect(
            url, deadline, name=name, wait=wait, settings=_BEGINNING, through_pooler=False
        )
        try:
            _set_up(connection, url, pooled=pooled)
        except BaseException:
            connection.close()
            raise
    except connections.TooOld as error:
        return TransferRefused(f"use {error.url}", error.reason, error.remedy)
    except connections.Unreachable as error:
        return TransferRefused(f"connect to {error.url}", error.reason, error.remedy)
    except psycopg.Error as error:
        return refused(f"use {mask(url)}", error)
    return connection


def _or_raise(found: psycopg.Connection[Any] | TransferRefused) -> psycopg.Connection[Any]:
    if isinstance(found, TransferRefused):
        raise found
    return found


def _set_up(connection: psycopg.Connection[Any], url: str, *, pooled: bool) -> None:
    """Set the session up, unless it is a pooler's, which hands it to another client next."""
    if not pools_transactions(connection, url):
        disable_timeouts(connection)
        connection.execute(_NEUTRAL)
        return
    if pooled:
        return
    # The next client would get what we leave in a session: pg_dump empties search_path.
    raise TransferRefused(
        f"use {mask(url)}",
        "it is a connection pooler in transaction mode, where sessions are shared by clients.",
        "Give the server's own address instead, or that of a pooler in session mode.",
    )


def disable_timeouts(connection: psycopg.Connection[Any], *, local: bool = False) -> None:
    """Disable what would end a long session; with ``local`` to the end of the transaction."""
    connection.execute(_TIMEOUTS, (local,))


def patience(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """
    Return the settings for a program that has several sessions, which wait for each other.

    Those of the timeouts that pg_dump and pg_restore do not disable themselves
    (transaction_timeout is of 17, and they may be older). None where a pooler
    has not taken settings from this connection either.
    """
    if "idle_session_timeout" not in connection.info.options:
        return {}
    newer = {"transaction_timeout": "0"} if major(connection) >= 17 else {}
    return {"idle_session_timeout": "0", **newer}


def pools_transactions(connection: psycopg.Connection[Any], url: str) -> bool:
    """
    Whether a pooler in transaction mode is between us and the server.

    A pooler invents the process id that it tells its client; and in transaction
    mode a second client gets the process that the first has just used, or the
    first gets another one while the second is at work.
    """
    ours = backend(connection)
    if connection.info.backend_pid == ours:
        return False
    with (
        connections.connect(url, Deadline(_AGAIN), wait=False) as other,
        other.transaction(),
    ):
        return backend(other) == ours or backend(connection) != ours


def backend(connection: psycopg.Connection[Any]) -> int:
    """Return the pid of the server's process for a connection."""
    return int(one(connection, "SELECT pg_catalog.pg_backend_pid()"))


def one(connection: psycopg.Connection[Any], query: str | sql.Composed, *values: object) -> Any:
    """Return the first column of the first row, None without a row."""
    row = connection.execute(query, values or None).fetchone()
    return None if row is None else row[0]


def major(connection: psycopg.Connection[Any]) -> int:
    """Return 16 for PostgreSQL 16.14."""
    return connection.info.server_version // 10000


def version(connection: psycopg.Connection[Any]) -> str:
    """Return "16.14"."""
    return connections.version(connection)


def is_encrypted(connection: psycopg.Connection[Any]) -> bool:
    """Whether TLS is in use."""
    return connection.pgconn.ssl_in_use


# --- what is in it -----------------------------------------------------------------


def tables(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Return schema and name of the tables whose rows pg_dump dumps."""
    return [(str(schema), str(name)) for schema, name, *_ in connection.execute(_TABLES.encode())]


def count(
    connection: psycopg.Connection[Any],
    on_table: Callable[[int, int, str], object],
    schemas: Collection[str] | None = None,
) -> tuple[TableRows, ...]:
    """
    Count the rows of every table (in these schemas), without row-level security or with an error.

    ``on_table`` gets how many are done, of how many, and which is next.
    Raises psycopg.Error.
    """
    rows = connection.execute(_TABLES.encode()).fetchall()
    found = [Countable(*row) for row in rows if schemas is None or row[0] in schemas]
    connection.execute("SET row_security = off")
    numbers = count_each(connection, found, on_table)
    return tuple(
        TableRows(one.schema, one.name, number) for one, number in zip(found, numbers, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Countable:
    """A table whose rows are counted."""

    schema: str
    name: str
    has_expressions: bool  # what ``EXPRESSIONS`` says of it
    size: int  # bytes on disk, more or less
    condition: str = ""


def count_each(
    connection: psycopg.Connection[Any],
    tables: Sequence[Countable],
    on_table: Callable[[int, int, str], object],
) -> list[int]:
    """
    Count the rows of each table; of small ones many with one query.

    ``on_table`` gets how many are done, of how many, and which is next.
    """
    counted: list[int] = []
    for is_small, group in itertools.groupby(tables, _is_small):
        waiting = iter(group)
        while portion := list(itertools.islice(waiting, _COUNTED_AT_ONCE if is_small else 1)):
            first = portion[0]
            on_table(len(counted), len(tables), f"{first.schema}.{first.name}")
            if is_small:
                counts = sql.SQL(", ").join(
                    sql.SQL("(SELECT count(*) FROM ONLY {})").format(
                        sql.Identifier(one.schema, one.name)
                    )
                    for one in portion
                )
                row = connection.execute(sql.SQL("SELECT {}").format(counts)).fetchone()
                counted += row or ()
            else:
                counted.append(
                    count_one(
                        connection,
                        sql.Identifier(first.schema, first.name),
                        first.condition,
                        has_expressions=first.has_expressions,
                    )
                )
    on_table(len(counted), len(tables), "")
    return counted


def _is_small(table: Countable) -> bool:
    """Whether it needs no query of its own: a large one may be read by several processes."""
    return table.size < _SMALL and not table.has_expressions and not table.condition


def count_one(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    condition: str = "",
    *,
    has_expressions: bool,
) -> int:
    """
    Count a table's rows; ``has_expressions`` is what ``EXPRESSIONS`` says of it.

    The function of an index may not find its names with an empty search_path,
    and no query can be planned then. COPY plans none.
    """
    query = sql.SQL("SELECT count(*) FROM ONLY {} {}").format(table, sql.SQL(condition))
    if not has_expressions:
        return int(one(connection, query))
    try:
        with connection.transaction():
            return int(one(connection, query))
    except psycopg.DatabaseError as error:
        if condition or isinstance(error, psycopg.OperationalError):
            raise
    copying = connection.cursor()
    with copying.copy(sql.SQL("COPY {} TO STDOUT").format(table)) as rows:
        for _ in rows:
            pass
    return copying.rowcount


def large_objects(connection: psycopg.Connection[Any]) -> int:
    """Return how many large objects there are."""
    return int(one(connection, "SELECT count(*) FROM pg_largeobject_metadata"))


def extensions(
    connection: psycopg.Connection[Any], schemas: Collection[str] | None = None
) -> tuple[Extension, ...]:
    """
    Return the extensions of the database, without the one that every database has.

    With ``schemas`` those that are in one of these, or that something in one uses.
    """
    rows = connection.execute(_EXTENSIONS)
    found = tuple(Extension(str(name), str(version), str(schema)) for name, version, schema in rows)
    if schemas is None:
        return found
    used = {row[0] for row in connection.execute(_USED, (list(schemas),))}
    return tuple(one for one in found if one.schema in schemas or one.name in used)


def check_schema(extension: Extension) -> None:
    """
    Raise TransferRefused for an extension that would be in a schema of PostgreSQL's own.

    Its functions would be found before all others, by the superuser's sessions too.
    """
    if _is_misplaced(extension):
        raise TransferRefused(
            f"create the extension {extension.name!r}",
            f"its schema is {extension.schema!r}, which is PostgreSQL's own.",
            f"Move it on the source: {_move(extension.name)}.",
        )


def misplaced(connection: psycopg.Connection[Any], wanted: Sequence[Extension]) -> tuple[str, ...]:
    """Return a warning for each of these extensions that ``check_schema()`` will refuse."""
    rows = connection.execute("SELECT extname FROM pg_extension WHERE extrelocatable").fetchall()
    movable = {row[0] for row in rows}
    return tuple(
        _warning(one, is_movable=one.name in movable) for one in wanted if _is_misplaced(one)
    )


def _warning(extension: Extension, *, is_movable: bool) -> str:
    name = extension.name
    if is_movable:
        remedy = f"Move it, as its owner or the superuser: {_move(name)}"
    else:
        written = identifier(name)
        remedy = (
            f"It cannot be moved: DROP EXTENSION {written}; "
            f"CREATE EXTENSION {written} SCHEMA public"
        )
    return (
        f"the extension {name!r} is in the schema {extension.schema!r}, which is PostgreSQL's "
        f"own; it will not be created there in another database, so restore, push and pull refuse "
        f"it. {remedy}"
    )


def _is_misplaced(extension: Extension) -> bool:
    own = extension.schema.startswith("pg_") or extension.schema == "information_schema"
    return own and extension.name not in _IN_PG_CATALOG


def _move(name: str) -> str:
    return f"ALTER EXTENSION {identifier(name)} SET SCHEMA public"


def identifier(name: str) -> str:
    """Return a name as it is written in a statement to be shown."""
    return name if name.isidentifier() and name == name.lower() else f'"{name}"'


def cluster(connection: psycopg.Connection[Any]) -> str:
    """
    Return what identifies this cluster; "" where the role has no right to know.

    Clusters that oxy_pg has copied from one template share the system
    identifier: for a superuser the data directory is part of it.
    """
    try:
        with connection.transaction():  # a savepoint, where one is under way
            identifier = str(one(connection, "SELECT system_identifier FROM pg_control_system()"))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
        return ""
    try:
        with connection.transaction():
            data_dir = str(one(connection, "SHOW data_directory"))
    except psycopg.errors.InsufficientPrivilege:
        return identifier
    return f"{identifier}-{digest(data_dir)[:8]}"


def refused(what: str, error: psycopg.Error) -> TransferRefused:
    """Return the typed error for a psycopg.Error: the one place that decides on the remedy."""
    words = mask_text(str(error).strip())
    remedy = refusals.remedy(words)
    if isinstance(error, psycopg.errors.DiskFull):
        remedy = "Make room on the server's disk, and run it again."
    elif remedy is None and isinstance(error, psycopg.errors.InsufficientPrivilege):
        remedy = "The role lacks that right; its administrator, or the tables' owner, can grant it."
    elif remedy is None and isinstance(error, psycopg.OperationalError):
        remedy = "Run it again once the server is back."
    return TransferRefused(what, words, remedy or "Correct the cause, and run it again.")
