"""The role ``oxy`` and its databases: create, clone, drop, list."""

from __future__ import annotations

import os

from oxy_pg import sessions
from oxy_pg.errors import ConfigurationError, ServerError
from oxy_pg.facts import DROP_DATABASE, ROLE, SETUP_LOCK
from oxy_pg.server.cluster import roles
from oxy_pg.server.cluster.socket_connection import QueryError, identifier, literal
from oxy_pg.system import cheap, files
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.socket_connection import Connection

_DUPLICATE = {"42P04", "42710", "23505"}  # database, object, and both racing for one name
_UNDEFINED = "42704"
_IN_USE = "55006"
_SCRAM_ITERATIONS = 4096
_SESSIONS_END = 5.0  # seconds in which sessions have to end that were told to
# An application may store a verifier that takes hours to compute; none of this password's does.
_MOST_ITERATIONS = 100_000


def check_name(name: str) -> str:
    """Return ``name`` if PostgreSQL takes it as it is; ConfigurationError if not."""
    if "://" in name:  # not repeated: it may have a password, and would show it in every list
        raise ConfigurationError("The name of a database was expected, and not a URL.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a database: it is not valid in UTF-8."
        ) from None
    if not 0 < size < 64 or "\0" in name:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a database: PostgreSQL takes 1 to 63 bytes, and this "
            f"is {size}."
        )
    return name


def password(state: StateDir) -> str:
    """Return the role's password, made anew when its file is missing or damaged."""
    known = _read_password(state)
    if known is None:
        import binascii  # secrets would import random, and that takes longer than all of this

        token = binascii.b2a_base64(os.urandom(32), newline=False).decode().rstrip("=")
        known = token.replace("+", "-").replace("/", "_")
        files.write_text(state.password, known + "\n", mode=0o600)
    return known


def _read_password(state: StateDir) -> str | None:
    if _others_may_read(state.password):
        return None
    found = (files.read_text(state.password) or "").strip()
    is_ours = len(found) == 43 and found.replace("-", "").replace("_", "").isalnum()
    return found if is_ours and found.isascii() else None


def _open_mode(path: str) -> int | None:
    """Return the mode of a file that another user may have read; None for one that is closed."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    is_open = found.st_mode & 0o077 or found.st_uid not in {os.geteuid(), 0}
    return found.st_mode & 0o7777 if is_open else None


def _others_may_read(path: str) -> bool:
    """Whether another user may know what is in this file; says so."""
    mode = _open_mode(path)
    if mode is None:
        return False
    import logging

    logging.getLogger("oxy_pg").warning(
        "%s could be read by other users (mode %04o): the password is changed, and earlier URLs "
        "are no longer valid",
        path,
        mode,
    )
    return True


def set_up(
    connection: Connection,
    state: StateDir,
    name: str | None,
    deadline: Deadline,
    *,
    verify: bool,
) -> str:
    """
    Leave the role and, unless it is None, the database ``name``; return the role's password.

    With ``verify`` a password that an application has set (ALTER ROLE) is set
    back. Without, it is left, and "" is returned: other processes of that
    application may use it.
    """
    known, is_there, is_complete = _look(connection, state, name, verify=verify)
    if known is not None and is_there and is_complete:
        return known
    # One at a time: of all that have just found a new cluster, one creates what is missing.
    connection.query(f"SELECT pg_catalog.pg_advisory_lock({SETUP_LOCK})")
    known, is_there, is_complete = _look(connection, state, name, verify=verify)
    if known is None:
        leaked = _open_mode(state.password) is not None
        known = password(state)
        _set_password(connection, known, state)
        if leaked:
            end_sessions(connection)
    if not is_complete:
        roles.create(connection)
    if name is not None and not is_there:
        create(connection, name, deadline, exist_ok=True)
    return known


def _look(
    connection: Connection, state: StateDir, name: str | None, *, verify: bool
) -> tuple[str | None, bool, bool]:
    """
    Return the role's password, if the role has it; and whether database and other roles exist.

    The same question proves who answers it: a pid, a port and a socket's name prove nothing.
    """
    wanted = "NULL" if name is None else literal(check_name(name))
    rows = connection.query(
        f"SELECT (SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = {literal(ROLE)}),"
        f" EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {wanted}),"
        f" pg_catalog.current_setting('data_directory'), {roles.IS_SUPERUSER}; {roles.MEMBERS}"
    )
    (verifier, is_there, data_dir, is_superuser), *members = rows
    if not os.path.samefile(str(data_dir), state.data_dir):
        raise ServerError(
            f"The server that answers on the socket of {state.data_dir} serves {data_dir}. "
            "Stop it, and call again."
        )
    known = _read_password(state)
    if known is None or verifier is None:
        known = None
    elif not _is_of(verifier, known, state):
        known = None if verify else ""
    return known, name is None or is_there == "t", roles.are_complete(is_superuser, members)


def _is_of(verifier: str, secret: str, state: StateDir) -> bool:
    """
    Whether what the server stores is this password's; the last one that was is remembered.

    To compute it takes longer than to attach to a running server.
    """
    if files.read_text(state.verifier) == _record(verifier, state):
        return True
    if not _matches(verifier, secret):
        return False
    _remember(verifier, state)
    return True


def _remember(verifier: str, state: StateDir) -> None:
    with cheap.suppress(OSError):  # a full disk: the next process computes it
        files.write_text(state.verifier, _record(verifier, state), sync=False)


def _record(verifier: str, state: StateDir) -> str:
    """Return what to remember: what the server stores, for which version of the password's file."""
    return f"{os.stat(state.password).st_mtime_ns} {verifier}\n"


def has_our_password(connection: Connection, state: StateDir) -> bool:
    """Whether the role's password is the one in its file."""
    rows = connection.query(
        f"SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = {literal(ROLE)}"
    )
    secret = (files.read_text(state.password) or "").strip()
    return bool(rows) and _matches(str(rows[0][0]), secret)


def reset_password(connection: Connection, state: StateDir) -> int:
    """
    Give the role a new password, and its file too: earlier URLs are no longer valid.

    Returns how many sessions with the old one were ended.
    """
    connection.query(f"SELECT pg_catalog.pg_advisory_lock({SETUP_LOCK})")
    with cheap.suppress(FileNotFoundError):
        os.unlink(state.password)
    _set_password(connection, password(state), state)
    return end_sessions(connection)


def end_sessions(connection: Connection) -> int:
    """End the role's sessions that have needed the password; return how many there were."""
    # Through the private socket nobody needs it.
    query = (
        "SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
        f" WHERE usename = {literal(ROLE)} AND client_addr IS NOT NULL AND {sessions.CLIENTS}"
    )
    ended = set()
    # Also those that were just logging in.
    for _ in Deadline(_SESSIONS_END).attempts(0.01, 0.1):
        found = {pid for pid, _ in connection.query(query)}
        if not found:
            break
        ended |= found
    return len(ended)


def _set_password(connection: Connection, secret: str, state: StateDir) -> None:
    # The verifier and not the password: it would be in the log of a server that logs
    # statements (PostgreSQL 16 manual, CREATE ROLE).
    verifier = _verifier(secret, os.urandom(16), _SCRAM_ITERATIONS)
    rights = f"{identifier(ROLE)} LOGIN CREATEDB PASSWORD {literal(verifier)}"
    unlogged = "SET log_min_duration_statement = -1"  # however slow the disk is
    try:
        connection.query(
            f"{unlogged}; ALTER ROLE {rights}"
        )  # a new cluster has it, without a password
    except QueryError as error:
        if error.sqlstate != _UNDEFINED:
            raise
        connection.query(f"{unlogged}; CREATE ROLE {rights}")
    _remember(verifier, state)


def _verifier(secret: str, salt: bytes, iterations: int) -> str:
    """Compute what PostgreSQL stores for a password (RFC 5803; the password is plain ASCII)."""
    import binascii
    import hashlib
    import hmac

    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (binascii.b2a_base64(part, newline=False).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(iterations, *parts)


def _matches(verifier: str, secret: str) -> bool:
    import binascii  # base64 would import re on the way to a running server

    try:
        _, parameters, _ = verifier.split("$")
        iterations, salt = parameters.split(":")
        if int(iterations) > _MOST_ITERATIONS:
            return False
        return verifier == _verifier(secret, binascii.a2b_base64(salt), int(iterations))
    except ValueError:
        return False


def create(
    connection: Connection,
    name: str,
    deadline: Deadline,
    *,
    template: str | None = None,
    exist_ok: bool = False,
    by_file: bool = False,
) -> None:
    """
    Create a database that belongs to the role, a copy of ``template`` if given.

    ``by_file`` takes less time where nothing is synced, and more elsewhere.
    Raises ConfigurationError when the name is taken or the template does not
    exist, and ServerError: with those who are connected to the template.
    """
    statement = f"CREATE DATABASE {identifier(check_name(name))} OWNER {identifier(ROLE)}"
    if template is not None:
        statement += f" TEMPLATE {identifier(check_name(template))}"
    if by_file:
        statement += " STRATEGY file_copy"
    for remaining in deadline.attempts(0.005, 0.1):
        _refuse_if_in_use(connection, template or "template1")
        try:
            connection.query(statement)
        except QueryError as error:
            if error.sqlstate in _DUPLICATE and exist_ok:
                return
            if error.sqlstate in {"42P04", "3D000"}:
                raise ConfigurationError(f"The database cannot be made: {error}.") from error
            if error.sqlstate == _IN_USE and remaining:
                continue
            raise ServerError(f"The database {name!r} could not be made: {error}") from error
        return


def _refuse_if_in_use(connection: Connection, name: str) -> None:
    # PostgreSQL itself waits five seconds, and does not say who it is.
    rows: list[Any] = []
    for _ in Deadline(sessions.GRACE).attempts(0.002, 0.1):
        rows = connection.query(sessions.WHO.format(literal(name)))
        if not rows:
            return
    raise ServerError(sessions.in_use(name, rows))


def drop(connection: Connection, name: str) -> None:
    """Drop a database and end its sessions; one that does not exist is not an error."""
    try:
        connection.query(DROP_DATABASE.format(identifier(check_name(name))))
    except QueryError as error:
        raise ServerError(f"The database {name!r} could not be dropped: {error}") from error


def names(connection: Connection) -> list[str]:
    """Return the names of the role's databases."""
    rows = connection.query(
        "SELECT datname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = datdba"
        f" WHERE rolname = {literal(ROLE)} ORDER BY datname"
    )
    return [str(row[0]) for row in rows]


def ensure_extensions(connection: Connection, names: Iterable[str]) -> None:
    """Leave these extensions in the connection's database; ConfigurationError if one is unknown."""
    for name in names:
        try:
            # Where it goes by default: the session's own search_path has nothing but pg_catalog.
            where = "" if _has_own_schema(connection, name) else "SCHEMA public "
            connection.query(f"CREATE EXTENSION IF NOT EXISTS {identifier(name)} {where}CASCADE")
        except QueryError as error:
            from oxy_pg.server.cluster import binaries

            rows = connection.query(
                "SELECT name FROM pg_catalog.pg_available_extensions ORDER BY name"
            )
            known = [str(row[0]) for row in rows]
            said = f"The extension {name!r} cannot be used: {error.message}"
            if name not in known:
                said += f"\nThis PostgreSQL has: {', '.join(known)}."
                said += f"\n{binaries.with_extension(name)}"
            raise ConfigurationError(said) from error


def _has_own_schema(connection: Connection, name: str) -> bool:
    """Whether an extension says itself in which schema it has to be."""
    rows = connection.query(
        "SELECT FROM pg_catalog.pg_available_extension_versions"
        f" WHERE name = {literal(name)} AND schema IS NOT NULL"
    )
    return bool(rows)
