"""Build, parse and mask a PostgreSQL URL; the only place that spells one."""

from __future__ import annotations

from oxy_pg.errors import ConfigurationError

# What may stand in a URL without quoting (RFC 3986, "unreserved"). Asking this first spares the
# usual caller the import of urllib, which costs more than attaching to a running server.
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _quote(text: str) -> str:
    if _UNRESERVED.issuperset(text):
        return text
    from urllib.parse import quote

    # libpq understands %20 but not "+": quote(), never urlencode().
    return quote(text, safe="")


def tcp_url(user: str, password: str, port: int, database: str) -> str:
    """Spell the URL of the embedded server on the loopback interface."""
    # Never "localhost": it may resolve to ::1, where the server does not listen.
    return f"postgresql://{_quote(user)}:{_quote(password)}@127.0.0.1:{port}/{_quote(database)}"


def socket_url(user: str, socket_dir: str, port: int, database: str) -> str:
    """Spell the URL of a server's Unix socket."""
    return f"postgresql://{_quote(user)}@/{_quote(database)}?host={_quote(socket_dir)}&port={port}"


def with_database(url: str, database: str) -> str:
    """Return ``url`` (as ``plain()`` gives it) for another database of the same server."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    authority = place.partition("/")[0]
    kept = [part for part in query.split("&") if part and not part.startswith("dbname=")]
    return f"{scheme}://{authority}/{_quote(database)}" + ("?" + "&".join(kept) if kept else "")


def mask(url: str) -> str:
    """
    Replace every password in a URL or a connection string by ``***``.

    One that does not parse is masked too, rather too much than too little.
    """
    import re

    masked = re.sub(
        r"((?:^|[?&\s])(?:ssl)?password\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^&#\s]*)",
        r"\1***",
        url,
        flags=re.IGNORECASE,
    )
    scheme, found, rest = masked.partition("://")
    if not found:
        return masked
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and ":" in authority:
        # A password with an unquoted "/", "?" or "#" in it ends the authority early.
        authority = rest.rpartition("@")[0] + "@" if "@" in rest else authority
    userinfo, at, host = authority.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if not colon:
        return masked
    return f"{scheme}://{user}:***{at}{host}{rest[len(authority) :]}"


def plain(url: str, name: str = "OXY_DATABASE_URL") -> str:
    """
    Check that ``url`` names a PostgreSQL server, and return it for every driver.

    The scheme becomes ``postgresql``: a ``+driver`` suffix belongs to
    SQLAlchemy alone, and SQLAlchemy in turn refuses ``postgres``. All else
    stays as it is, parameters included.

    ``name`` is what the message calls the URL. Raises ConfigurationError,
    which says what to write instead.
    """
    unset = (
        "unset it" if name.isupper() else "leave it out"
    )  # an environment variable, or an option
    example = "postgresql://user:password@host:5432/database"
    if not url.strip():
        raise ConfigurationError(
            f"{name} is set but empty. {unset.capitalize()} to use the embedded server, or "
            f"write {example}."
        )
    spelled, found, rest = url.partition("://")
    scheme = spelled.lower().partition("+")[0] if found else ""
    if scheme not in {"postgres", "postgresql"}:
        kind = f"a {scheme} URL" if scheme else "not a URL"
        hint = (
            " To move that database into PostgreSQL: oxy-pg migrate-sqlite --from …"
            if scheme == "sqlite"
            else ""
        )
        raise ConfigurationError(
            f"{name} is {kind} ({mask(url)}), and only PostgreSQL will do. "
            f"Write {example}, or {unset} to use the embedded server.{hint}"
        )
    authority = rest.partition("?")[0].partition("/")[0]
    if authority.count("@") > 1:
        raise ConfigurationError(
            f"{name} has more than one @ before the host ({mask(url)}). Write %40 for those in the "
            "user's name or the password."
        )
    return f"postgresql://{rest}"


def check(url: str, name: str = "OXY_DATABASE_URL") -> None:
    """
    Check that libpq can read ``url`` (as ``plain()`` gives it).

    Raises ConfigurationError, which says where it stumbles.
    """
    import psycopg

    try:
        parts = psycopg.conninfo.conninfo_to_dict(url)
        for port in str(parts.get("port") or "5432").split(","):
            if port and not port.isdecimal():
                raise psycopg.ProgrammingError(f'"{port}" is no port number')
    except psycopg.Error as error:
        # libpq's own words, without the password that they may repeat.
        reason = " ".join(str(error).split()).replace(url, mask(url))
        raise ConfigurationError(
            f"{name} is no valid PostgreSQL URL ({mask(url)}): {reason}. Characters such as @ : / "
            "in a password have to be written as %40 %3A %2F."
        ) from None
