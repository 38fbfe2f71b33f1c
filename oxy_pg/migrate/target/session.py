"""
The connection to the target, and the settings under which it is read and written.

They are set for one transaction at a time: a pooler hands the session to
other clients between transactions, and they must not get our settings.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from oxy_pg import connection as connections
from oxy_pg.errors import TargetUnreachable
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.system.deadline import Deadline

_SETTINGS = {
    # Times, bytes and numbers are read and written without loss.
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    # Other sessions are waited for, but not without end; our own statements may take long.
    "lock_timeout": "60s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # The verification reads rows in the order in which they lie.
    "synchronize_seqscans": "off",
}
# The disk begins to write while rows arrive, so that the commit has little to wait for. Not every
# server that speaks PostgreSQL's protocol has the setting.
_FLUSH = "SELECT set_config(name, '1MB', true) FROM pg_settings WHERE name = 'backend_flush_after'"


def connect(url: str, deadline: Deadline) -> psycopg.Connection[Any]:
    """
    Connect in autocommit mode, waiting until the server is there; nothing is begun or changed.

    Raises TargetUnreachable: at once when the server itself refuses, else when
    the time is up; and ConfigurationError for what is not a URL of PostgreSQL.
    """
    try:
        return connections.connect(with_search_path(url), deadline, name="The target")
    except connections.Unreachable as error:
        raise TargetUnreachable(error.url, error.reason, error.remedy) from error


# Parameters of Prisma's URLs about its own pool, which libpq does not know.
_PRISMA = {
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
}


def with_search_path(url: str) -> str:
    """
    Return a URL with ``?schema=app``, as Prisma writes it, for libpq: as a search_path.

    Every other URL comes back as it is.
    """
    place, _, query = url.partition("?")
    parameters = [part.partition("=")[::2] for part in query.split("&") if part]
    schema = next((unquote(value) for key, value in parameters if key == "schema"), "")
    if not schema:
        return url
    kept = [(k, v) for k, v in parameters if k not in {"schema", "options", *_PRISMA}]
    given = [unquote(value) for key, value in parameters if key == "options"]
    name = ident(schema).replace("\\", "\\\\").replace(" ", "\\ ")
    options = " ".join([*given, f"-c search_path={name}"])
    kept.append(("options", quote(options, safe="")))
    return f"{place}?" + "&".join(f"{key}={value}" for key, value in kept)


@contextmanager
def transaction(connection: psycopg.Connection[Any], *, writes: bool = False) -> Iterator[None]:
    """Begin a transaction with the settings of a migration; they end with it."""
    with connection.transaction():
        calls = ", ".join(f"set_config('{name}', '{to}', true)" for name, to in _SETTINGS.items())
        connection.execute(f"SELECT {calls}")
        if writes:
            connection.execute(_FLUSH)
        yield
