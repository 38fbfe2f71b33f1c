"""An external server, the one that OXY_DATABASE_URL names: waited for and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from oxy_pg import connection as connections
from oxy_pg import url as urls
from oxy_pg.errors import ConfigurationError, ExternalServerUnavailable, UnsupportedServer
from oxy_pg.facts import DATABASE
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE = "OXY_DATABASE_URL"

_checked: set[tuple[str, tuple[str, ...]]] = set()


def ensure(url: str, extensions: tuple[str, ...], timeout: float) -> str:
    """
    Return ``url`` for every driver, once its server has been found good.

    Waits up to ``timeout`` seconds for a server that cannot be reached yet or
    is starting; a refusal is final. Checks once in each process. Raises
    ConfigurationError, ExternalServerUnavailable or UnsupportedServer.
    """
    plain = urls.plain(url)
    if (plain, extensions) not in _checked:
        with connect(plain, Deadline(timeout)) as connection:
            for name in extensions:
                _ensure_extension(connection, name)
        _checked.add((plain, extensions))
    return plain


def database_of(url: str) -> str:
    """Return the name of the database in a URL; the user's name where there is none."""
    parts = conninfo_to_dict(urls.plain(url))
    return str(parts.get("dbname") or parts.get("user") or DATABASE)


class ExternalServer:
    """
    The server that OXY_DATABASE_URL names, with those methods of ``Server`` that it can have.

    The role in the URL needs CREATEDB to create and drop databases.
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        """
        Wait for the server and check it; raises what ``ensure()`` raises.

        ``timeout`` is in seconds, here and for each method.
        """
        self._url = ensure(url, (), timeout)
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"ExternalServer({urls.mask(self._url)!r})"

    def url(self, database: str | None = None) -> str:
        """Return the URL of a database; by default of the one that OXY_DATABASE_URL names."""
        return self._url if database is None else urls.with_database(self._url, database)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """
        Create a database, a copy of ``template`` if given.

        Raises ConfigurationError, and ServerError with those who are connected
        to the template: PostgreSQL copies no database that is in use.
        """
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        copied = "template1" if template is None else template

        def create(connection: psycopg.Connection[Any]) -> None:
            connections.refuse_if_in_use(connection, copied)
            connection.execute(statement)

        self._run(create)

    def drop_database(self, name: str) -> None:
        """Drop a database and end its sessions; one that does not exist is not an error."""
        self._run(lambda connection: connections.drop_database(connection, name))

    def databases(self) -> list[str]:
        """Return the names of the databases that belong to the URL's role, in order."""
        with connect(self._url, Deadline(self._timeout)) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database"
                " WHERE pg_get_userbyid(datdba) = current_user ORDER BY datname"
            ).fetchall()
        return [str(row[0]) for row in rows]

    def ensure_extensions(self, database: str, names: tuple[str, ...]) -> None:
        """Create these extensions if they do not exist; raises ConfigurationError."""
        with connect(self.url(database), Deadline(self._timeout)) as connection:
            for name in names:
                _ensure_extension(connection, name)

    def _run(self, action: Callable[[psycopg.Connection[Any]], None]) -> None:
        neutral = connections.NEUTRAL
        with connect(self._url, Deadline(self._timeout), settings=neutral) as connection:
            try:
                action(connection)
            except psycopg.Error as error:
                raise ConfigurationError(
                    f"The server at {urls.mask(self._url)} refuses: {error}"
                ) from error


def connect(
    url: str, deadline: Deadline, *, settings: Mapping[str, str] | None = None
) -> psycopg.Connection[Any]:
    """
    Connect to a server that is PostgreSQL 14 or newer, with these settings.

    Raises ConfigurationError, ExternalServerUnavailable or UnsupportedServer.
    """
    try:
        return connections.connect(url, deadline, name=VARIABLE, settings=settings)
    except connections.TooOld as error:
        raise UnsupportedServer(error.url, error.found) from None
    except connections.Unreachable as error:
        remedy = f"{error.remedy} Unset {VARIABLE} to use the embedded server."
        raise ExternalServerUnavailable(error.url, error.reason, remedy) from None


def _ensure_extension(connection: psycopg.Connection[Any], name: str) -> None:
    statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(name))
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise ConfigurationError(
            f"The extension {name!r} cannot be created on the external server: "
            f"{error.diag.message_primary or error}. Ask its administrator for it."
        ) from error
