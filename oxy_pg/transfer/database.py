"""A database at the other end of a URL: reached, and asked what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.errors import TransferRefused
from oxy_pg.paths import digest
from oxy_pg.transfer.backup.manifest import Extension, TableRows
from oxy_pg.url import check, mask, mask_text, plain

if TYPE_CHECKING:
    from collections.abc import Callable

OLDEST = 14  # the oldest that its makers still maintained when this was written

# What a connection must not be interrupted by while a program works for minutes.
_PATIENT = """
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    SET client_min_messages = 'error'
"""

# Tables whose rows pg_dump dumps: not those of extensions, and of partitioned ones the partitions.
_TABLES = """
    SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
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


def connect(url: str, timeout: float = 30.0, *, pooled: bool = False) -> psycopg.Connection[Any]:
    """
    Connect for a transfer, in autocommit mode; waits ``timeout`` seconds at most.

    With ``pooled`` a pooler in transaction mode will do: the caller leaves
    nothing in a session. Raises ConfigurationError for what is no URL of
    PostgreSQL, and TransferRefused when the server cannot be reached, is too
    old, or such a pooler stands before it.
    """
    address = plain(url, "The URL")
    check(address, "The URL")
    refusal = None
    try:
        connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=max(2, int(timeout)),
            prepare_threshold=None,  # what is prepared in one session a pooler looks for in others
            fallback_application_name="oxy_pg",
        )
    except psycopg.Error as error:
        refusal = _unreachable(address, error)
    if refusal is not None:
        # Not where the driver's error is being handled: its frames hold the password; and reporters
        # of errors show the variables of ours.
        del url, address
        raise refusal
    if major(connection) < OLDEST:
        connection.close()
        raise TransferRefused(
            f"use {mask(address)}",
            f"it is PostgreSQL {version(connection)}, and {OLDEST} or newer is needed.",
            "Use the programs of that version, or upgrade the server.",
        )
    try:
        _settle(connection, address, pooled=pooled)
    except psycopg.Error as error:
        refusal = _unreachable(address, error)
    except BaseException:
        connection.close()
        raise
    if refusal is not None:
        connection.close()
        del url, address
        raise refusal
    return connection


def _unreachable(url: str, error: psycopg.Error) -> TransferRefused:
    remedy = "Check the URL, and that the server runs."
    words = _words(error, url)
    if "password" in words:
        remedy = "Check the user and the password in the URL."
    elif "does not exist" in words:
        remedy = "Check the name in the URL, or make it on that server first."
    elif "SSL" in words or "certificate" in words:
        remedy = "Check sslmode and sslrootcert in the URL, and the server's certificate."
    return TransferRefused(f"connect to {mask(url)}", words, remedy)


def _words(error: psycopg.Error, url: str) -> str:
    return mask_text(" ".join(str(error).split()), url)


def pools_transactions(connection: psycopg.Connection[Any], url: str) -> bool:
    """
    Whether a pooler in transaction mode stands before the server.

    A pooler invents the process id that it tells its client; and in transaction
    mode a second client gets the process that the first has just used, or the
    first gets another one while the second is at work.
    """
    ours = backend(connection)
    if connection.info.backend_pid == ours:
        return False
    with psycopg.connect(url, prepare_threshold=None) as other:  # in a transaction
        return backend(other) == ours or backend(connection) != ours


def _settle(connection: psycopg.Connection[Any], url: str, *, pooled: bool) -> None:
    """Set the session up, unless it is a pooler's, who may hand it to anybody next."""
    if not pools_transactions(connection, url):
        connection.execute(_PATIENT)
        return
    if pooled:
        return
    # Whoever came next would get what we leave in a session: pg_dump empties search_path.
    raise TransferRefused(
        f"use {mask(url)}",
        "a connection pooler in transaction mode answers there, whose sessions change hands.",
        "Give the server's own address instead, or that of a pooler in session mode.",
    )


def backend(connection: psycopg.Connection[Any]) -> int:
    """Return the pid of the server's process for a connection."""
    return int(one(connection, "SELECT pg_backend_pid()"))


def one(connection: psycopg.Connection[Any], query: str | sql.Composed, *values: object) -> Any:
    """Return the first column of the first row, None without a row."""
    row = connection.execute(query, values or None).fetchone()
    return None if row is None else row[0]


def major(connection: psycopg.Connection[Any]) -> int:
    """Return 16 for PostgreSQL 16.14."""
    return connection.info.server_version // 10000


def version(connection: psycopg.Connection[Any]) -> str:
    """Return "16.14"."""
    number = connection.info.server_version
    if number < 100000:
        return f"{number // 10000}.{number // 100 % 100}"
    return f"{number // 10000}.{number % 10000}"


def is_encrypted(connection: psycopg.Connection[Any]) -> bool:
    """Whether TLS is in use."""
    return connection.pgconn.ssl_in_use


# --- what is in it -----------------------------------------------------------------


def tables(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Return schema and name of the tables whose rows pg_dump dumps."""
    return [(str(schema), str(name)) for schema, name in connection.execute(_TABLES)]


def count(
    connection: psycopg.Connection[Any], on_table: Callable[[int, int, str], object]
) -> tuple[TableRows, ...]:
    """
    Count every table's rows, without row-level security or with an error.

    ``on_table`` gets how many are done, of how many, and which is next.
    Raises psycopg.Error.
    """
    found = []
    names = tables(connection)
    connection.execute("SET row_security = off")
    for number, (schema, name) in enumerate(names):
        on_table(number, len(names), f"{schema}.{name}")
        query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
        found.append(TableRows(schema, name, one(connection, query)))
    on_table(len(names), len(names), "")
    return tuple(found)


def large_objects(connection: psycopg.Connection[Any]) -> int:
    """Return how many large objects there are."""
    return int(one(connection, "SELECT count(*) FROM pg_largeobject_metadata"))


def extensions(connection: psycopg.Connection[Any]) -> tuple[Extension, ...]:
    """Return the extensions that are in use, but the one that every database has."""
    return tuple(Extension(*map(str, row)) for row in connection.execute(_EXTENSIONS))


def cluster(connection: psycopg.Connection[Any]) -> str:
    """
    Return what tells this cluster from others; "" where the role may not ask.

    Clusters that oxy_pg has copied from one template share the system
    identifier, so a superuser looks at the data directory as well.
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
    """Return the typed error for what PostgreSQL has said."""
    words = mask_text(str(error).strip())
    if isinstance(error, psycopg.errors.DiskFull):
        return TransferRefused(what, words, "Make room on the server's disk, and run it again.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        remedy = "The role lacks that right; its administrator, or the tables' owner, can grant it."
    elif isinstance(error, psycopg.OperationalError):
        remedy = "Run it again once the server is back."
    else:
        remedy = "Correct the cause, and run it again."
    return TransferRefused(what, words, remedy)
