"""
A psycopg connection to a server that a URL names: waited for, checked, refused with a remedy.

The one place that connects for the three wings and the command line. What a
refusal means, and what to do about it, is in one table.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from oxy_pg import sessions
from oxy_pg import url as urls
from oxy_pg.errors import ServerError
from oxy_pg.facts import DROP_DATABASE, MONITOR, OLDEST_MAJOR, READER, ROLE, SUPERUSER
from oxy_pg.system import libpq
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SILENCE = 2.0  # seconds that a server is waited for without a word


class Unreachable(Exception):
    """
    A server that cannot be reached, or refuses the connection; never leaves the package.

    Each wing turns it into its own typed error. ``passing`` is True where a
    longer wait might have helped.
    """

    def __init__(self, url: str, reason: str, remedy: str, *, passing: bool = False) -> None:
        super().__init__(url, reason, remedy)
        self.url = url  # masked
        self.reason = reason
        self.remedy = remedy
        self.passing = passing


class TooOld(Unreachable):
    """A server older than PostgreSQL 14; ``found`` is what it is."""

    def __init__(self, url: str, found: str) -> None:
        super().__init__(
            url,
            f"it is {found}, and PostgreSQL {OLDEST_MAJOR} or newer is needed.",
            "Upgrade that server, or use the programs of its version.",
        )
        self.found = found


# What a role, a database or the server's configuration may have set, and what must not reach the
# statements that administer databases.
NEUTRAL = {
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "search_path": "pg_catalog",
    "statement_timeout": "0",
}


def connect(
    url: str,
    deadline: Deadline,
    *,
    name: str = "The URL",
    wait: bool = True,
    settings: Mapping[str, str] | None = None,
    through_pooler: bool = True,
) -> psycopg.Connection[Any]:
    """
    Connect in autocommit mode to a server that is PostgreSQL 14 or newer.

    ``name`` is what messages call the URL. With ``wait`` a server that does
    not listen yet, whose name is not known yet, or that is starting is waited
    for until the deadline; a refusal is final. ``settings`` hold from the
    session's beginning, against those of the role, the database and the
    server. A pooler that takes none at the beginning gets them right after it,
    unless ``through_pooler`` is False: a pooler in transaction mode would hand
    them on to its other clients. Raises ConfigurationError for what is not a URL of PostgreSQL, and
    Unreachable.
    """
    address = urls.plain(url, name)
    urls.check(address, name)
    failure: Unreachable | None = None
    silence: Deadline | None = Deadline(_SILENCE)
    for remaining in deadline.attempts(_PAUSE, _LONGEST_PAUSE):
        try:
            # libpq takes whole seconds, and 1 for 2 (manual, 34.1.2).
            seconds = max(2, min(10, int(remaining)) if wait else int(remaining))
            with libpq.hidden() if urls.is_embedded(address) else contextlib.nullcontext():
                connection = _open_with(
                    address, seconds, settings or {}, through_pooler=through_pooler
                )
        except psycopg.OperationalError as error:
            if wait and remaining and may_pass(error):
                if silence is not None and not silence.remaining():
                    silence = None
                    _say_waiting(address, error)
                continue
            failure = unreachable(address, error, deadline if wait else None, name)
            break
        _check_version(connection, address)
        return connection
    # Not where the driver's error is being handled: it would become the context of this one, and
    # the driver's frames hold the password.
    assert failure is not None
    del address, url
    raise failure


def _say_waiting(address: str, error: psycopg.OperationalError) -> None:
    import logging

    parts = conninfo_to_dict(address)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    first = words(error, address).partition("\n")[0]
    logging.getLogger("oxy_pg").warning(
        "waiting for %s:%s: %s", host, parts.get("port") or 5432, first
    )


def _open_with(
    address: str, seconds: int, settings: Mapping[str, str], *, through_pooler: bool
) -> psycopg.Connection[Any]:
    if not settings:
        return _open(address, seconds)
    given = str(conninfo_to_dict(address).get("options") or "")
    options = f"{given} {urls.session_options(settings)}"
    try:
        return _open(make_conninfo(address, options=options.strip()), seconds)
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" not in str(error):
            raise
    # PgBouncer takes no options when a session begins.
    connection = _open(address, seconds)
    for name, value in settings.items() if through_pooler else ():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
    return connection


def _open(address: str, seconds: int) -> psycopg.Connection[Any]:
    if time.monotonic.__module__ == "time":
        connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=seconds,
            fallback_application_name="oxy_pg",
        )
    else:
        # A test has frozen Python's clock (freezegun), and psycopg's wait would never end. libpq
        # reads the system's.
        given = make_conninfo(address, connect_timeout=seconds, fallback_application_name="oxy_pg")
        connected = psycopg.pq.PGconn.connect(given.encode())
        if connected.status != psycopg.pq.ConnStatus.OK:
            raise psycopg.OperationalError(connected.get_error_message())
        connection = psycopg.Connection(connected)
        connection.autocommit = True
    connection.prepare_threshold = None  # a pooler may prepare in one session and look in another
    return connection


def _check_version(connection: psycopg.Connection[Any], url: str) -> None:
    if connection.info.server_version // 10000 < OLDEST_MAJOR:
        found = f"PostgreSQL {version(connection)}"
        connection.close()
        raise TooOld(urls.mask(url), found)


def version(connection: psycopg.Connection[Any]) -> str:
    """Return "16.14"."""
    number = connection.info.server_version
    if number < 100000:
        return f"{number // 10000}.{number // 100 % 100}"
    return f"{number // 10000}.{number % 10000}"


def variables(url: str, outer: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment of a program that is to use this server: ``outer``, changed.

    It has the URL in OXY_DATABASE_URL and DATABASE_URL, and its parts in libpq's
    variables (PGHOST, PGUSER, …); see ``libpq_variables()``. On a command line
    all users could see the password.
    """
    return libpq_variables(url, outer) | {"OXY_DATABASE_URL": url, "DATABASE_URL": url}


def libpq_variables(url: str, outer: Mapping[str, str]) -> dict[str, str]:
    """
    Return ``outer`` with libpq's variables for a URL.

    For the embedded server no others of libpq's; for another one those that the
    URL leaves open, as they apply to every connection with it.
    """
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    parts = conninfo_to_dict(url)
    kept = libpq.without(outer) if urls.is_embedded(url) else dict(outer)
    return kept | {names[part]: str(value) for part, value in parts.items() if part in names}


_PLACE = re.compile(r"\{(url|host|port|user|password|database)(?::([a-z0-9_]+))?\}")


def filled(template: str, url: str) -> str:
    """
    Fill a URL, or its parts, into a template.

    ``{url}`` is the URL, ``{url:psycopg2}`` the one for that driver of
    SQLAlchemy (``url.for_driver()``); ``{host} {port} {user} {password}
    {database}`` are its parts. Raises ConfigurationError for an unknown driver.
    """
    parts = conninfo_to_dict(url)
    parts["database"] = parts.get("dbname", "")

    def part(found: re.Match[str]) -> str:
        name, driver = found.groups()
        if name != "url":
            return str(parts.get(name, ""))
        return url if driver is None else urls.for_driver(url, driver)

    return _PLACE.sub(part, template)


def drop_database(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database and end its sessions; one that does not exist is not an error."""
    with_force = sql.SQL(DROP_DATABASE).format(sql.Identifier(name))
    try:
        connection.execute(with_force)
    except pg.InsufficientPrivilege as error:
        if error.diag.source_function != "TerminateOtherDBBackends":
            raise
        # FORCE may not end an autovacuum worker, nor a session that has not authenticated yet: they
        # have no role. Without FORCE, PostgreSQL ends the worker itself, and waits for the other.
        end_sessions(connection, name)
        with contextlib.suppress(pg.ObjectInUse):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            return
        connection.execute(with_force)


def end_sessions(connection: psycopg.Connection[Any], database: str) -> None:
    """End the clients' sessions in a database, but for those of roles that ours may not end."""
    query = sql.SQL(sessions.CONNECTED).format(sql.Literal(database))
    # One by one: no session may be ended where one of them belongs to a superuser.
    for (pid,) in connection.execute(query).fetchall():
        with contextlib.suppress(pg.InsufficientPrivilege):
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def refuse_if_in_use(connection: psycopg.Connection[Any], database: str) -> None:
    """Raise ServerError with those who are connected to a database that is to be copied."""
    query = sql.SQL(sessions.WHO).format(sql.Literal(database))
    rows: list[Any] = []
    for _ in Deadline(sessions.GRACE).attempts(0.002, 0.1):
        rows = connection.execute(query).fetchall()
        if not rows:
            return
    raise ServerError(sessions.in_use(database, rows))


# --- what a refusal means -----------------------------------------------------------

_FINAL = (
    *("SSL", "certificate", "sslmode", "no password supplied", "invalid "),
    *(
        "service file",
        "definition of service",
        "channel binding",
        "authentication method",
        "GSSAPI",
    ),
)
# getaddrinfo(3): EAI_NONAME and EAI_NODATA. "Temporary failure in name resolution" may pass.
_UNKNOWN_HOST = ("not known", "No address associated")
_CONFLICT = "conflict with recovery"
_STARTING = ("the database system is", "too many", "remaining connection slots")


def may_pass(error: psycopg.OperationalError) -> bool:
    """
    Whether waiting helps: the port is not open, no name server answers, it is starting, or it is
    a standby that has ended a session which was just beginning.
    """
    text = str(error)
    if _CONFLICT in text:
        return True
    if error.sqlstate is not None:
        return isinstance(error, pg.CannotConnectNow | pg.TooManyConnections)
    # What PostgreSQL itself answers begins with FATAL, in every language of libpq's own messages.
    if "FATAL" in text:
        return any(words in text for words in _STARTING)
    return not any(words in text for words in (*_FINAL, *_UNKNOWN_HOST))


# The first that is found in the reason decides. {url} is what the message calls the URL, {name}
# and {role} the database and the user as SQL spells them.
_REMEDIES = (
    (
        "password authentication failed",
        (
            "Check the user and the password in {url}; characters such as @ : / in a password are "
            "written as %40 %3A %2F."
        ),
    ),
    ("no password supplied", "Write the password into {url}, PGPASSWORD or ~/.pgpass."),
    (
        'database ".*" does not exist',
        "Create it first: CREATE DATABASE {name} OWNER {role}; or correct the name in {url}.",
    ),
    (
        "root certificate file",
        (
            "Name the file with your provider's root certificate: ?sslmode=verify-full"
            "&sslrootcert=/path/to/root.crt; or encrypt without checking whose server it is: "
            "?sslmode=require."
        ),
    ),
    (
        "certificate",
        (
            "The server is not the one that sslrootcert and the host's name vouch for: correct "
            "sslmode or sslrootcert in {url}, or ask the server's administrator."
        ),
    ),
    (
        "invalid sslmode",
        "Write one of disable, allow, prefer, require, verify-ca and verify-full.",
    ),
    ("server does not support SSL", "That server has no TLS: leave sslmode out of {url}."),
    (
        "SSL support is not compiled in",
        "This libpq was built without TLS: install psycopg[binary], or leave sslmode out of {url}.",
    ),
    (
        "no encryption",
        "That server accepts no connection without TLS: add ?sslmode=require to {url}.",
    ),
    (
        "no pg_hba.conf entry",
        (
            "That server does not let this user in from this machine: its administrator adds it to "
            "pg_hba.conf, or to the allowed addresses of a managed server."
        ),
    ),
    (
        "invalid value for parameter|invalid command-line argument|unrecognized configuration",
        "Correct ?options=… in {url}: -c%20name%3Dvalue for each setting, such as search_path.",
    ),
    (
        _CONFLICT,
        (
            "A standby ends sessions, also those that are just beginning, to apply the primary's "
            "changes: use the primary's address, or set hot_standby_feedback = on there."
        ),
    ),
    (
        "session is (?:not )?read-only|server is (?:not )?in hot standby mode",
        (
            "None of the servers in {url} is what its target_session_attrs asks for now: only "
            "standbys have answered, or only a primary. If another primary is about to take over, "
            "run it again once it has."
        ),
    ),
    ("resolve|Name or service", "Check the host's name in {url}."),
    (
        "too many|connection slots",
        "The server takes no more connections: end some, or wait longer.",
    ),
)
_OTHERWISE = "Check host and port in {url}, and that the server runs and can be reached from here."


def unreachable(
    url: str, error: psycopg.OperationalError, deadline: Deadline | None, name: str = "The URL"
) -> Unreachable:
    """Return the error for a connection that failed; ``deadline`` is what was waited for."""
    first, *more = words(error, url).splitlines() or [""]
    if "FATAL" in first:
        # With sslmode=prefer, libpq tries again without TLS: what it is told then is beside the
        # point.
        more = [line for line in more if "no encryption" not in line]
    reason = "\n".join((first, *more))
    passing = may_pass(error)
    if passing and deadline is not None:
        reason += f" (waited {deadline.timeout:g} s)"
    found = next((remedy for known, remedy in _REMEDIES if re.search(known, reason)), _OTHERWISE)
    info = {"dbname": "name", "user": "role", **conninfo_to_dict(url)}
    remedy = found.format(
        url="the URL" if name.startswith("The ") else name,
        name=spoken(str(info["dbname"])),
        role=spoken(_owner(url, str(info["user"]))),
    )
    if (named := libpq.applying()) and not urls.is_embedded(url):
        remedy += (
            f"\nWhat the URL leaves open, libpq takes from the environment: {', '.join(named)}. "
            "Unset what is not meant for this server."
        )
    return Unreachable(urls.mask(url), reason, remedy, passing=passing)


def _owner(url: str, role: str) -> str:
    """Return the role that a database should belong to: none that we only read with."""
    is_ours = role in {MONITOR, READER, SUPERUSER}
    return ROLE if is_ours and urls.is_embedded(url) else role


def words(error: psycopg.Error, url: str) -> str:
    """Return libpq's or PostgreSQL's own words, without the password that they may repeat."""
    return urls.mask_text(str(error), url).strip()


def spoken(name: str) -> str:
    """Spell a name for a person, who writes no quotes where none are needed."""
    if re.fullmatch("[a-z_][a-z0-9_]*", name) and name != "user":
        return name
    return sql.Identifier(name).as_string(None)
