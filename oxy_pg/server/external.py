"""Somebody else's server, that OXY_DATABASE_URL names: waited for and checked."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from oxy_pg import url as urls
from oxy_pg.deadline import Deadline
from oxy_pg.errors import ConfigurationError, ExternalServerUnavailable, UnsupportedServer

_OLDEST = 14  # the oldest that its makers still maintained when this was written
_TIMEOUT = 60.0

_checked: set[tuple[str, tuple[str, ...]]] = set()


def ensure(url: str, extensions: tuple[str, ...], timeout: float) -> str:
    """
    Return ``url`` for every driver, once its server has been found good.

    Waits up to ``timeout`` seconds for a server that cannot be reached yet or
    is starting; a refusal is final. Looks once in each process. Raises
    ConfigurationError, ExternalServerUnavailable or UnsupportedServer.
    """
    plain = urls.plain(url)
    if (plain, extensions) not in _checked:
        with connect(plain, Deadline(timeout)) as connection:
            for name in extensions:
                _ensure_extension(connection, name)
        _checked.add((plain, extensions))
    return plain


class ExternalServer:
    """
    The server that OXY_DATABASE_URL names, with the methods of ``Server`` that it can have.

    The role in the URL needs CREATEDB to make and drop databases.
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        """Wait for the server and check it; raises what ``ensure()`` raises."""
        self._url = ensure(url, (), timeout)

    def __repr__(self) -> str:
        return f"ExternalServer({urls.mask(self._url)!r})"

    def url(self, database: str | None = None) -> str:
        """Return the URL of a database; by default of the one that OXY_DATABASE_URL names."""
        return self._url if database is None else urls.with_database(self._url, database)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create a database, a copy of ``template`` if given; ConfigurationError if it cannot."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self._execute(statement)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it; one that is not there is no error."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._execute(statement.format(sql.Identifier(name)))

    def databases(self) -> list[str]:
        """Return the names of the databases that belong to the URL's role, in order."""
        with connect(self._url, Deadline(_TIMEOUT)) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database"
                " WHERE pg_get_userbyid(datdba) = current_user ORDER BY datname"
            ).fetchall()
        return [str(row[0]) for row in rows]

    def ensure_extensions(self, database: str, names: tuple[str, ...]) -> None:
        """Leave these extensions in a database; ConfigurationError for one that cannot be made."""
        with connect(self.url(database), Deadline(_TIMEOUT)) as connection:
            for name in names:
                _ensure_extension(connection, name)

    def _execute(self, statement: sql.Composed) -> None:
        with connect(self._url, Deadline(_TIMEOUT)) as connection:
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                raise ConfigurationError(
                    f"The server at {urls.mask(self._url)} refuses: {error}"
                ) from error


def connect(url: str, deadline: Deadline) -> psycopg.Connection[Any]:
    """Connect to a server that is PostgreSQL 14 or newer."""
    urls.check(url)
    failure: ExternalServerUnavailable | None = None
    for remaining in deadline.attempts(0.05, 1.0):
        try:
            connection = psycopg.connect(
                url, connect_timeout=max(2, min(10, int(remaining))), autocommit=True
            )
        except psycopg.OperationalError as error:
            if remaining and _may_pass(error):
                continue
            failure = _unavailable(url, error, deadline)
            break
        _check_version(connection, url)
        return connection
    # Not where the driver's error is being handled: its frames hold the password.
    assert failure is not None
    del url
    raise failure


def _may_pass(error: psycopg.OperationalError) -> bool:
    """Whether waiting helps: nobody listens yet, the name is not known yet, it is starting."""
    text = str(error)
    if error.sqlstate is not None:
        return error.sqlstate == "57P03"  # cannot_connect_now
    if "FATAL:" in text:
        return "the database system is" in text
    return not any(words in text for words in ("SSL", "certificate", "no password supplied"))


_REMEDIES = (
    ("password authentication failed", "Check the user and the password in OXY_DATABASE_URL."),
    ("no password supplied", "Write the password into OXY_DATABASE_URL, or into ~/.pgpass."),
    ("does not exist", "Create it on that server, or correct the name in OXY_DATABASE_URL."),
    ("no pg_hba.conf entry", "That server does not let this machine, user or mode of SSL in."),
    ("SSL", "Check sslmode in OXY_DATABASE_URL, and that server's certificate."),
    ("certificate", "Check sslmode and sslrootcert in OXY_DATABASE_URL."),
    ("resolve", "Check the host's name in OXY_DATABASE_URL."),
    ("Name or service not known", "Check the host's name in OXY_DATABASE_URL."),
    ("refused", "Check host and port in OXY_DATABASE_URL, and that the server runs."),
)


def _unavailable(
    url: str, error: psycopg.OperationalError, deadline: Deadline
) -> ExternalServerUnavailable:
    reason = _reason(error, url)
    if _may_pass(error):
        reason += f" (waited {deadline.timeout:g} s)"
    remedy = next(
        (remedy for words, remedy in _REMEDIES if words in reason),
        "Check OXY_DATABASE_URL, and that the server runs.",
    )
    return ExternalServerUnavailable(
        urls.mask(url), reason, f"{remedy} Unset OXY_DATABASE_URL to use the embedded server."
    )


def _reason(error: psycopg.Error, url: str) -> str:
    """Return libpq's own words, without the password that they may repeat."""
    return urls.mask_text(" ".join(str(error).split()), url)


def _check_version(connection: psycopg.Connection[Any], url: str) -> None:
    number = connection.info.server_version
    if number // 10000 >= _OLDEST:
        return
    connection.close()
    major = number // 10000
    found = f"PostgreSQL {major if major >= 10 else f'{major}.{number // 100 % 100}'}"
    raise UnsupportedServer(urls.mask(url), found)


def _ensure_extension(connection: psycopg.Connection[Any], name: str) -> None:
    statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(name))
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise ConfigurationError(
            f"The extension {name!r} cannot be made on the external server: "
            f"{error.diag.message_primary or error}. Ask its administrator for it."
        ) from error
