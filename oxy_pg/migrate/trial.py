"""
A temporary database in which a dry run tries ``prepare``, so that it judges the real schema.

It is made next to the target, with the target's encoding and locale, where
the role may create databases, and the target's extensions in them; else on an
embedded server of the same major version. It is dropped at the end; those of
processes that were killed, by the next one.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg import connection as connections
from oxy_pg import url as urls
from oxy_pg.migrate.plan.standing import count_rows
from oxy_pg.migrate.target import catalog, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from oxy_pg.system.deadline import Deadline

    # Starts an embedded server; gives the URL of an empty database on it, which has the
    # extensions with these names, as far as they are installed.
    Scratch = Callable[[Sequence[str]], AbstractContextManager[str]]

PREFIX = "oxy_pg_trial_"
_log = logging.getLogger("oxy_pg")


@dataclass(frozen=True, slots=True)
class Trial:
    """
    Where ``prepare`` is tried: the URL of a database, and in words.

    ``url`` is None where no database could be made, ``where`` says why.
    ``rows`` are those of the tables of the target itself.
    """

    url: str | None
    where: str
    rows: Mapping[str, int]


@contextmanager
def database(url: str, deadline: Deadline, scratch: Scratch | None) -> Iterator[Trial]:
    """Give a temporary database like the one that a URL names. Raises TargetUnreachable."""
    with _next_to(url, deadline) as (found, version, extensions):
        missing = extensions if found.url is None else _missing(found.url, extensions, deadline)
        if scratch is None or (found.url is not None and not missing):
            yield found
            return
        with scratch(extensions) as embedded:
            own = _major(embedded, deadline)
            if own == version and (
                found.url is None or not _missing(embedded, extensions, deadline)
            ):
                yield Trial(embedded, "a temporary embedded server", found.rows)
            elif found.url is not None:
                yield found  # what is missing, the preparation says
            else:
                other = f"the target is PostgreSQL {version}, the embedded server {own}"
                yield Trial(None, f"{found.where}, and {other}", found.rows)


@contextmanager
def _next_to(url: str, deadline: Deadline) -> Iterator[tuple[Trial, int, list[str]]]:
    """Give a database on the target's server, its major version, and the target's extensions."""
    with closing(session.connect(url, deadline)) as server:
        with session.transaction(server):
            rows = _rows(server)
        _drop_abandoned(server)
        version = server.info.server_version // 10000
        extensions = _extensions(server)
        name = f"{PREFIX}{secrets.token_hex(6)}"
        # As long as this session lives, the database has an owner.
        server.execute("SELECT pg_advisory_lock(%s)", [_lock(name)])
        refused = _create(server, name)
        if refused is not None:
            yield Trial(None, refused, rows), version, extensions
            return
        try:
            trial = urls.with_database(url, name)
            _make_alike(server, name, trial, extensions, deadline)
            yield (
                Trial(trial, "a temporary database next to the target", rows),
                version,
                extensions,
            )
        finally:
            connections.drop_database(server, name)


def _extensions(server: psycopg.Connection[Any]) -> list[str]:
    found = server.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'")
    return sorted(name for (name,) in found.fetchall())


def _missing(url: str, extensions: list[str], deadline: Deadline) -> list[str]:
    """Return which of these a database does not have: many only a superuser may create."""
    if not extensions:
        return []
    with closing(session.connect(url, deadline)) as connection:
        there = _extensions(connection)
    return [name for name in extensions if name not in there]


def _major(url: str, deadline: Deadline) -> int:
    with closing(session.connect(url, deadline)) as connection:
        return connection.info.server_version // 10000


def _rows(server: psycopg.Connection[Any]) -> dict[str, int]:
    if server.execute("SELECT current_schema()").fetchone() == (None,):
        return {}
    return count_rows(server, catalog.read_target(server))


def _lock(name: str) -> int:
    return int(name.removeprefix(PREFIX), 16)


# pg_locks shows the locks of all databases.
_ABANDONED = """
SELECT datname FROM pg_database d
WHERE datname ~ %s AND pg_get_userbyid(datdba) = current_user
  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
  AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1
    AND lpad(to_hex(l.classid::bigint), 4, '0') || lpad(to_hex(l.objid::bigint), 8, '0')
      = right(d.datname, 12))
"""


def _drop_abandoned(server: psycopg.Connection[Any]) -> None:
    """Drop the temporary databases of this role whose makers have been killed."""
    for (name,) in server.execute(_ABANDONED, [f"^{PREFIX}[0-9a-f]{{12}}$"]).fetchall():
        try:
            # Without FORCE: one that is in use after all stays.
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.Error as error:
            _log.info("%s stays: %s", name, error.diag.message_primary)
        else:
            _log.info("dropped %s, which a process that was killed has left", name)


def _create(server: psycopg.Connection[Any], name: str) -> str | None:
    """Create a database with the encoding and locale of this one; return why it is impossible."""
    row = server.execute(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database "
        "WHERE datname = current_database()"
    ).fetchone()
    try:
        server.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}"
            ).format(sql.Identifier(name), *map(sql.Literal, row or ()))
        )
    except psycopg.Error as error:
        return f"the role may not create one ({error.diag.message_primary or error})"
    return None


def _make_alike(
    server: psycopg.Connection[Any],
    name: str,
    trial: str,
    extensions: list[str],
    deadline: Deadline,
) -> None:
    """Create the schema and the extensions of the target in a new database, where possible."""
    schema = server.execute("SELECT current_schema(), current_setting('search_path')").fetchone()
    statements = [
        sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension))
        for extension in extensions
    ]
    if schema is not None and schema[0] not in {None, "public"}:
        statements.append(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema[0]))
        )
        statements.append(
            sql.SQL("ALTER DATABASE {} SET search_path = {}").format(
                sql.Identifier(name),
                sql.SQL(str(schema[1])),
            )
        )
    if not statements:
        return
    with closing(session.connect(trial, deadline)) as made:
        for statement in statements:
            try:
                made.execute(statement)
            except psycopg.Error:
                continue  # an extension that only a superuser may create
