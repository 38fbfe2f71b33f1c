"""
Build, parse and mask a PostgreSQL URL; the only place that spells or reads one.

Everything goes through one parser (``_read()``), which is stricter than any
driver: a URL that two drivers could read differently is refused, because a
part of its password may stand where one of them sees a host or a database.
Of a URL that was refused, messages show the scheme and nothing else.
"""

from __future__ import annotations

from oxy_pg.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, TypeAlias

# A string, because importing typing would take longer than all else here.
Driver: TypeAlias = "Literal['asyncpg', 'jdbc', 'pg8000', 'psycopg', 'psycopg2', 'psycopg_async']"

# What may stand in a URL without quoting (RFC 3986, "unreserved"). Asking this first spares the
# usual caller the import of urllib, which costs more than attaching to a running server.
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

HIDDEN = "***"
_EXAMPLE_ROLE = "postgresql://user:password@host"
_EXAMPLE = f"{_EXAMPLE_ROLE}:5432/database"
# Schemes that a message may repeat; anything else before "://" may be a part of a password.
_SCHEMES = frozenset(
    [
        *("postgres", "postgresql", "cockroachdb", "mysql", "mariadb", "sqlite", "mssql"),
        *("oracle", "mongodb", "redis", "duckdb", "http", "https", "file", "jdbc"),
    ]
)
# Parameters whose values a message may repeat. Of all others the value is hidden: a list of
# those that are secret would never be complete (password, sslpassword, passfile, options, …).
_SHOWN = frozenset(
    [
        *("user", "host", "hostaddr", "port", "dbname", "application_name", "connect_timeout"),
        *("sslmode", "sslrootcert", "channel_binding", "require_auth", "gssencmode"),
        *("target_session_attrs", "load_balance_hosts", "keepalives", "keepalives_idle"),
    ]
)
_SHORTEST_SECRET = 4  # characters: a shorter text cannot be told from words in a message


# --- build --------------------------------------------------------------------------


def _quote(text: str) -> str:
    if _UNRESERVED.issuperset(text):
        return text
    from urllib.parse import quote

    # libpq understands %20 but not "+": quote(), never urlencode().
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:  # of the command line, or of a file's name
        raise ConfigurationError(f"{text!r} is not valid in UTF-8.") from None


def tcp_url(user: str, password: str, port: int, database: str) -> str:
    """Spell the URL of the embedded server on the loopback interface."""
    # Never "localhost": it may resolve to ::1, where the server does not listen.
    authority = f"{_quote(user)}:{_quote(password)}@127.0.0.1:{port}"
    _embedded.add(authority)
    return f"postgresql://{authority}/{_quote(database)}"


def socket_url(
    user: str, socket_dir: str, port: int, database: str, options: str | None = None
) -> str:
    """Spell the URL of a server's Unix socket; ``options`` are what its sessions begin with."""
    place = f"host={_quote(socket_dir)}&port={port}"
    _embedded.add(place)
    url = f"postgresql://{_quote(user)}@/{_quote(database)}?{place}"
    return url if options is None else f"{url}&options={_quote(options)}"


def libpq_of_embedded(url: str) -> dict[str, str]:
    """Return libpq's variables for what ``tcp_url()`` has spelled, without psycopg's parser."""
    userinfo, _, place = url.partition("://")[2].rpartition("@")
    authority, _, database = place.partition("/")
    user, _, password = userinfo.partition(":")
    host, _, port = authority.partition(":")
    names = ("PGUSER", "PGPASSWORD", "PGDATABASE", "PGHOST", "PGPORT")
    spelled = (user, password, database, host, port)
    return {name: _unquote(value) for name, value in zip(names, spelled, strict=True)}


# Where the servers are whose URLs this process has spelled.
_embedded: set[str] = set()


def is_embedded(url: str) -> bool:
    """Whether a URL is that of an embedded server, spelled by this process."""
    place, _, query = url.partition("://")[2].partition("?")
    parameters = dict(part.partition("=")[::2] for part in query.split("&"))
    socket = f"host={parameters.get('host')}&port={parameters.get('port')}"
    return place.partition("/")[0] in _embedded or socket in _embedded


def session_options(settings: Mapping[str, str]) -> str:
    """Spell settings as libpq's parameter ``options``, or the variable PGOPTIONS."""
    escaped = (
        (name, value.replace("\\", "\\\\").replace(" ", "\\ ")) for name, value in settings.items()
    )
    return " ".join(f"-c {name}={value}" for name, value in escaped)


def with_user(url: str, user: str) -> str:
    """Return ``url`` (as ``socket_url()`` gives it) for another role, without ``options``."""
    place, _, query = url.partition("://")[2].partition("?")
    kept = "&".join(part for part in query.split("&") if not part.startswith("options="))
    return f"postgresql://{_quote(user)}@/{place.partition('/')[2]}?{kept}"


def with_database(url: str, database: str) -> str:
    """Return ``url`` (as ``plain()`` gives it) for another database of the same server."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    authority = place.partition("/")[0]
    kept = [part for part in query.split("&") if part and not part.startswith("dbname=")]
    return f"{scheme}://{authority}/{_quote(database)}" + ("?" + "&".join(kept) if kept else "")


def has_password(url: str) -> bool:
    """Whether a URL says its password, or no user that could have one."""
    parts, _ = _read(url)
    if parts is None or parts.user is None or parts.password is not None:
        return True
    return any(name == "password" for name, _ in parts.parameters)


def with_password(url: str, password: str) -> str:
    """Return a URL that has a user and no password (``has_password()``) with this one."""
    user, _, place = url.partition("@")
    return f"{user}:{_quote(password)}@{place}"


# --- parse --------------------------------------------------------------------------


class _Parts:
    """A well-formed URL in its parts, each spelled as in the URL; ``None``: not there."""

    __slots__ = ("database", "hosts", "parameters", "password", "scheme", "user")

    def __init__(self, scheme: str, rest: str) -> None:
        place, query, text = rest.partition("?")
        authority, path, database = place.partition("/")
        userinfo, at, hosts = authority.rpartition("@")
        user, colon, password = userinfo.partition(":")
        self.scheme = scheme
        self.user = user if at else None
        self.password = password if colon else None
        self.hosts = hosts
        self.database = database if path else None
        self.parameters = [one.partition("=")[::2] for one in text.split("&")] if query else []


def _read(url: str) -> tuple[_Parts | None, str]:
    """
    Return the parts of a URL, or None and what is wrong with it.

    What is wrong is said without repeating any of it. Nothing is raised: a
    traceback would hold the parts.
    """
    spelled, found, rest = url.partition("://")
    if not found:
        return None, "it does not begin with a scheme such as postgresql://"
    if not url.isprintable() or " " in url:
        return None, "it has a space, a line break or a control character in it; write %20 for one"
    if "://" in rest:
        return None, "it has :// in it twice; write %3A%2F%2F for the second"
    if "#" in rest:
        return None, "it has a # in it, which would end it; write %23"
    parts = _Parts(spelled, rest)
    return (parts, "") if not (problem := _problem(parts, rest)) else (None, problem)


def _problem(parts: _Parts, rest: str) -> str:
    """Return what is wrong with the parts of a URL, or ""."""
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    if authority.count("@") > 1:
        return "it has more than one @ before the host; write %40 for those in user or password"
    if "@" in path or "@" in query:
        return "it has an @ after the host; write %40, and %2F %3F for / and ? in a password"
    for name, text in (("user", parts.user), ("password", parts.password)):
        if text is not None and set(text) & set("[]"):
            return f"its {name} has a bracket in it; write %5B and %5D"
    if problem := _host_problem(parts.hosts):
        return problem
    if parts.database is not None and set(parts.database) & set("/?;=&[]"):
        return "its database has one of / ; = & [ ] in its name; write %2F %3B %3D %26 %5B %5D"
    for one in query.split("&") if query else ():
        if one.count("=") != 1 or one.startswith("="):
            return "what follows the ? is not a list of name=value with & between them"
    return _percent_problem(rest)


def _host_problem(hosts: str) -> str:
    for one in hosts.split(","):
        host, port = _host_and_port(one)
        if host is None or not _is_host(host):
            return "its host is not valid; an IPv6 address stands in brackets: [::1]"
        if one.endswith(":"):
            return "it has a : without a port, or a / or ? in its password; write %2F %3F"
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
            return "its port is not a port number (1 to 65535), or its password has a / or ? in it"
    return ""


def _is_host(text: str) -> bool:
    """Whether this can be a host's name or, percent-encoded, the path of a socket's directory."""
    decoded = _unquote(text)
    if text[:3].upper() == "%2F":
        return set(text).issubset(_UNRESERVED | {"%"}) and set(decoded).isdisjoint("@:?#")
    return all(one.isalnum() or one in "._-~" for one in decoded)


def _host_and_port(text: str) -> tuple[str | None, str]:
    if not text.startswith("["):
        host, _, port = text.partition(":")
        return host, port
    address, bracket, port = text[1:].partition("]")
    numeric = bracket and address and _HEXADECIMAL.union(":.").issuperset(address.partition("%")[0])
    if not numeric or (port and not port.startswith(":")):
        return None, ""
    return "", port[1:]


def _percent_problem(text: str) -> str:
    """Return what is wrong with the percent-encoding, or ""."""
    if "%" not in text:
        return ""
    for part in text.split("%")[1:]:
        if len(part) < 2 or not _HEXADECIMAL.issuperset(part[:2]):
            return "it has a % that two hexadecimal digits do not follow; write %25 for a %"
        if part[:2] == "00":
            return "it has %00 in it, which PostgreSQL cannot take"
    from urllib.parse import unquote_to_bytes

    try:
        unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return "what its %-encoding stands for is not UTF-8"
    return ""


def _unquote(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


# --- spell for a driver -------------------------------------------------------------

DRIVERS = ("asyncpg", "jdbc", "pg8000", "psycopg", "psycopg2", "psycopg_async")

# What the drivers without libpq call those of its parameters that they take from a URL (asyncpg
# and pg8000 get them from SQLAlchemy, as text).
_PARAMETERS = {
    "asyncpg": {
        "gsslib": "gsslib",
        "host": "host",
        "krbsrvname": "krbsrvname",
        "passfile": "passfile",
        "port": "port",
        "service": "service",
        "sslmode": "ssl",
        "target_session_attrs": "target_session_attrs",
    },
    "jdbc": {
        "application_name": "ApplicationName",
        "connect_timeout": "connectTimeout",
        "options": "options",
        "sslcert": "sslcert",
        "sslkey": "sslkey",
        "sslmode": "sslmode",
        "sslpassword": "sslpassword",
        "sslrootcert": "sslrootcert",
    },
    "pg8000": {"application_name": "application_name"},
}
_KNOWS_REQUIRE_AUTH = 160000  # the first libpq that does (PQlibVersion())


def for_driver(url: str, driver: str, *, require_auth: bool = False) -> str:
    """
    Spell ``url`` (as ``plain()`` gives it) for a driver of SQLAlchemy, or for Java (``jdbc``).

    Parameters get the names that the driver has for them. With ``require_auth``
    it is told never to show the password, where it is one of this Python with
    a libpq that can do that: a stranger may listen on the port of a server
    that is down. Raises ConfigurationError for another driver, and for a
    parameter that it would not take.
    """
    if driver not in DRIVERS:
        raise ConfigurationError(f"The driver {driver!r} is not one of {', '.join(DRIVERS)}.")
    parts, problem = _read(url)
    if parts is None:
        raise ConfigurationError(f"The URL is not valid ({mask(url)}): {problem}.")
    parameters = [(_parameter(name, driver, url), value) for name, value in parts.parameters]
    place = "" if parts.database is None else f"/{parts.database}"
    if driver == "jdbc":
        login = [("user", parts.user), ("password", parts.password)]
        return f"jdbc:postgresql://{parts.hosts}{place}" + _query([*login, *parameters])
    hosts, moved = _hosts_for_sqlalchemy(parts.hosts)
    if require_auth and driver not in _PARAMETERS and _libpq(driver) >= _KNOWS_REQUIRE_AUTH:
        parameters.append(("require_auth", "scram-sha-256"))
    user = "" if parts.user is None else parts.user
    password = "" if parts.password is None else f":{parts.password}"
    at = "" if parts.user is None else "@"
    return f"postgresql+{driver}://{user}{password}{at}{hosts}{place}" + _query(
        [*moved, *parameters]
    )


def _parameter(name: str, driver: str, url: str) -> str:
    """Return what a driver calls one of libpq's parameters."""
    known = _PARAMETERS.get(driver)
    if known is None:
        return name
    if name not in known:
        raise ConfigurationError(
            f"{driver} takes no {name if _is_word(name) else HIDDEN} from a URL ({mask(url)}). "
            "Leave it out of the URL, and give it to the driver in your program."
        )
    return known[name]


def _hosts_for_sqlalchemy(hosts: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the host, and as parameters those that SQLAlchemy does not read in its place."""
    if "," in hosts:
        return "", [("host", one) for one in hosts.split(",")]
    if hosts.startswith("%"):  # the path of a socket's directory
        host, colon, port = hosts.partition(":")
        return "", [("host", host), *([("port", port)] if colon else [])]
    return hosts, []


def _query(parameters: list[tuple[str, str | None]] | list[tuple[str, str]]) -> str:
    # SQLAlchemy and Java read "+" as a space, and libpq does not: %2B is the same for all.
    spelled = [f"{name}={_quote(_unquote(value))}" for name, value in parameters if value]
    return "?" + "&".join(spelled) if spelled else ""


def _libpq(driver: str) -> int:
    """Return the version of the libpq that a driver uses here; 0 where it is not installed."""
    try:
        if driver == "psycopg2":
            from psycopg2.extensions import libpq_version

            return int(libpq_version())
        import psycopg
    except ImportError:
        return 0
    return psycopg.pq.version()


# --- mask ---------------------------------------------------------------------------


def mask(url: str) -> str:
    """
    Return a URL for a message: every password in it, and what may be one, is ``***``.

    Of one that is not well-formed the scheme is shown and nothing else: nobody
    can tell where its password begins. For texts there is ``mask_text()``.
    """
    parts, _ = _read(url)
    scheme = _shown_scheme(url)
    if parts is None or not scheme:
        return f"{scheme}://{HIDDEN}" if scheme else HIDDEN
    shown = f"{scheme}://"
    if parts.user is not None:
        user = HIDDEN if _hides_user(parts) else parts.user
        shown += user + (f":{HIDDEN}" if parts.password is not None else "") + "@"
    shown += parts.hosts
    if parts.database is not None:
        harmless = all(one.isalnum() or one in "_-. $" for one in _unquote(parts.database))
        shown += f"/{parts.database if harmless else HIDDEN}"
    if not parts.parameters:
        return shown
    return f"{shown}?" + "&".join(_shown_parameter(*one) for one in parts.parameters)


def _shown_scheme(url: str) -> str:
    """Return the scheme of a URL, as far as a message may repeat it."""
    spelled, found, _ = url.partition("://")
    scheme, _, driver = spelled.strip().lower().partition("+")
    is_scheme = scheme in _SCHEMES and (not driver or driver.replace("_", "").isalnum())
    return scheme if found and is_scheme else ""


def _hides_user(parts: _Parts) -> bool:
    """Whether what stands where the user belongs may be a token, or a password without a user."""
    user = parts.user or ""
    if not parts.password:
        return bool(user) and not _is_word(user)
    return not all(one.isalnum() or one in "_-." for one in user.replace("%40", ""))


def _shown_parameter(key: str, value: str) -> str:
    if key in _SHOWN:
        return f"{key}={value}"
    return f"{key if _is_word(key) else HIDDEN}={HIDDEN}"


def _is_word(text: str) -> bool:
    """Whether a text looks like the name of a role or a parameter, and not like a password."""
    return text.islower() and text.isascii() and text.replace("_", "").replace("-", "").isalpha()


def _secrets(url: str) -> set[str]:
    """Return every form in which a message could repeat a secret of this URL."""
    parts, _ = _read(url)
    if parts is None:
        return {url}
    hidden = {parts.password or ""}
    if _hides_user(parts):
        hidden.add(parts.user or "")
    for key, value in parts.parameters:
        hidden |= set() if key in _SHOWN else {value, "" if _is_word(key) else key}
    # Of a password that is also the user's name or the database's, nothing is left to hide.
    known = {parts.database, *parts.hosts.split(",")}
    known |= set() if _hides_user(parts) else {parts.user}
    forms = {url}
    for text in hidden - known:
        decoded = _unquote(text)
        if len(decoded) >= _SHORTEST_SECRET:
            forms |= {text, decoded, _quote(decoded), repr(decoded)[1:-1]}
    return forms


def mask_text(text: str, *urls: str) -> str:
    """
    Return a text without the passwords of ``urls``, and without any that stands in it for itself.

    For what libpq, PostgreSQL or a program has said: it may repeat a URL, or
    a connection string with ``password=…``.
    """
    import re

    for url in urls:
        shown = mask(url)
        for secret in sorted(_secrets(url), key=len, reverse=True):
            text = text.replace(secret, shown if secret == url else HIDDEN)
    # The bound is for time: a word of a million letters would be searched from each of them.
    text = re.sub(
        r"[A-Za-z][A-Za-z0-9+.-]{0,60}://[^\s\"'<>]+(?<![).,;:])",
        lambda found: found[0] if _is_harmless(found[0]) else mask(found[0]),
        text,
    )
    return re.sub(
        r"((?<![a-z])(?:ssl)?passw(?:or)?d\s*=\s*)(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|(?:\\.|[^&#\s])*)",
        rf"\1{HIDDEN}",
        text,
        flags=re.IGNORECASE,
    )


def _is_harmless(url: str) -> bool:
    """Whether this is the address of a page or a file, or our own example, as in a hint."""
    if url.startswith(_EXAMPLE_ROLE):
        return True
    return url.startswith(("http://", "https://", "file://", "sqlite:///")) and "@" not in url


# --- check --------------------------------------------------------------------------


def plain(url: str, name: str = "OXY_DATABASE_URL", *, needed: bool = False) -> str:
    """
    Check that ``url`` names a PostgreSQL server, and return it for every driver.

    The scheme becomes ``postgresql``: a ``+driver`` suffix belongs to
    SQLAlchemy alone, and SQLAlchemy in turn refuses ``postgres``. All else
    stays as it is, parameters included.

    ``name`` is what the message calls the URL; without one that is ``needed``
    there is no embedded server in its place. Raises ConfigurationError, which
    says what to write instead, and repeats nothing that may be a password.
    """
    if message := _refusal(url, name, needed=needed):
        raise ConfigurationError(message)
    return f"postgresql://{url.partition('://')[2]}"


def _refusal(url: str, name: str, *, needed: bool) -> str:
    """Return why a URL cannot be used and what to do, or ""."""
    # An environment variable, or an option.
    unset = "unset it" if name.isupper() else "leave it out"
    instead = "" if needed else f", or {unset} to use the embedded server"
    if not url.strip():
        return f"{name} is set but empty. Write {_EXAMPLE}{instead}."
    scheme = _shown_scheme(url)
    parts, problem = _read(url)
    if scheme not in {"postgres", "postgresql"}:
        kind = f"a {scheme} URL ({mask(url)})" if scheme else "not a URL of PostgreSQL"
        hint = (
            " To move that database into PostgreSQL: oxy-pg migrate-sqlite --from …"
            if scheme == "sqlite"
            else ""
        )
        return f"{name} is {kind}; it must be a postgresql:// URL. Write {_EXAMPLE}{instead}.{hint}"
    if parts is None:
        return (
            f"{name} is not a valid PostgreSQL URL ({mask(url)}): {problem}. It is written "
            f"{_EXAMPLE}, and characters such as @ : / ? # in a password as %40 %3A %2F %3F %23."
        )
    return ""


def check(url: str, name: str = "OXY_DATABASE_URL") -> None:
    """
    Check that libpq can read ``url`` (as ``plain()`` gives it).

    Raises ConfigurationError, which says what libpq does not accept.
    """
    reason = _not_for_libpq(url)
    if reason:
        raise ConfigurationError(
            f"{name} is not a valid PostgreSQL URL ({mask(url)}): {reason}. Characters such as "
            "@ : / in a password have to be written as %40 %3A %2F."
        )


def _not_for_libpq(url: str) -> str:
    """Return what libpq says against a URL, or ""; it has left when a caller raises that."""
    import psycopg

    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        return mask_text(" ".join(str(error).split()), url)
    return ""
