"""
A database created alongside another one, which then takes its name.

Databases of one server are renamed in one transaction: a client that connects
finds the old one or the new one, also when this process, or the server, is
killed at any moment. What a killed run has left is recognised by its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from oxy_pg.connection import drop_database
from oxy_pg.errors import TransferRefused
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import database, locks, properties
from oxy_pg.url import check, plain, with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Databases that one can connect to while another one is renamed.
_MAINTENANCE = ("postgres", "template1", "defaultdb")
_LONGEST = 63  # bytes of a name
_SESSIONS_END = 30.0  # seconds in which the sessions of the old database have to end
_PAUSE = 0.05

_LOOK = """
    SELECT pg_get_userbyid(datdba), pg_has_role(datdba, 'USAGE'),
           pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d)
    FROM pg_database d WHERE datname = %s
"""
_SESSIONS = """
    SELECT pid, usename, application_name FROM pg_stat_activity
    WHERE datname = ANY (%s) AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Existing:
    """The database that is to be replaced."""

    name: str
    owner: str
    owned: bool  # the role may rename it
    locale: tuple[tuple[str, str], ...]  # CREATE DATABASE's options for one like it


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of the old database."""

    kept_as: str | None  # the name that it has now
    removed: tuple[str, ...]  # databases that killed runs had left
    warnings: tuple[str, ...]


def name_of(url: str) -> str:
    """Return the database that a URL names."""
    address = plain(url, "The URL")
    check(address, "The URL")
    parts = psycopg.conninfo.conninfo_to_dict(address)
    defaults = {
        option.keyword: option.val for option in psycopg.pq.Conninfo.get_defaults() if option.val
    }
    name = parts.get("dbname") or defaults.get(b"dbname", b"").decode()
    return str(name or parts.get("user") or defaults.get(b"user", b"").decode())


def maintenance(url: str, deadline: Deadline | None = None) -> psycopg.Connection[Any]:
    """
    Connect to another database of the same server, from where ``url``'s can be replaced.

    The server is waited for until the deadline; without one it has answered this
    transfer before, as ``connect_again()`` has it. Raises TransferRefused.
    """
    target, refusal = name_of(url), None
    for name in _MAINTENANCE:
        if name == target:
            continue
        try:
            # No variable holds that URL: reporters of errors show them.
            if deadline is None:
                return database.connect_again(with_database(plain(url, "The URL"), name))
            return database.connect(with_database(plain(url, "The URL"), name), deadline)
        except TransferRefused as error:
            refusal = refusal or error
            if not re.search("does not exist|permission denied|pg_hba", error.reason):
                raise
    assert refusal is not None
    raise TransferRefused(
        f"replace the database {target!r}",
        f"none of the databases {', '.join(_MAINTENANCE)} can be connected to ({refusal.reason}).",
        "Let the role connect to one of them, or do without a new database: --in-place "
        "(in_place=True) of a restore, a push without --swap (swap=False).",
    )


def look(connection: psycopg.Connection[Any], name: str) -> Existing | None:
    """Return the database of that name, None where there is none."""
    row = connection.execute(_LOOK, [name]).fetchone()
    if row is None:
        return None
    owner, owned, encoding, collate, ctype, record = row
    locale = {"ENCODING": encoding, "LC_COLLATE": collate, "LC_CTYPE": ctype}
    provider = {"i": "icu", "b": "builtin"}.get(record.get("datlocprovider", "c"))
    chosen = record.get("datlocale") or record.get("daticulocale")
    if provider and chosen:  # since 15, and 17
        locale |= {"LOCALE_PROVIDER": provider, f"{provider.upper()}_LOCALE": chosen}
        if record.get("daticurules"):
            locale["ICU_RULES"] = record["daticurules"]
    return Existing(name, owner, owned, tuple(locale.items()))


def check_rights(connection: psycopg.Connection[Any], name: str, old: Existing | None) -> None:
    """Raise TransferRefused unless the role may create databases, and rename this one."""
    role, may_create = connection.execute(
        "SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone() or ("", False)
    wanted = []
    if not may_create:
        wanted.append(f"ALTER ROLE {role} CREATEDB")
    if old is not None and not old.owned:
        wanted.append(f"ALTER DATABASE {name} OWNER TO {role}")
    if wanted:
        raise TransferRefused(
            f"replace the database {name!r}",
            f"the role {role!r} has to be able to create databases and to own this one.",
            f"As an administrator: {'; '.join(wanted)}. Without these, --in-place (in_place=True) "
            "restores into the database itself, and a push does without --swap (swap=False).",
        )


# --- replace ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sessions:
    """Two connections to a server, both to other databases than the one that is replaced."""

    own: psycopg.Connection[Any]  # of the role that the new database belongs to
    other: psycopg.Connection[Any]  # the superuser's where there is one: it ends sessions


def replace(
    sessions: Sessions,
    name: str,
    old: Existing | None,
    fill: Callable[[str], object],
    *,
    keep: bool,
    on_swap: Callable[[], object],
) -> Replaced:
    """
    Create a database, have it filled, and give it the name; all of it, or nothing.

    ``fill`` gets the new database's name; ``on_swap`` is called before the
    renaming. With ``keep`` the old one is kept under another name. After an
    exception the new one is dropped; where that fails, the next run does it.
    """
    with locks.replacing(sessions.own, name):
        removed = sweep(sessions.other, name)
        new = _named(name, "restore", secrets.token_hex(4))
        warnings = []
        try:
            create(sessions.own, new, old)
            fill(new)
            if old is not None:
                warnings += properties.carry_over(sessions.other, name, new)
            on_swap()
            away = swap(
                sessions.own, sessions.other, name, new, replaces=old is not None, keep=keep
            )
        except BaseException as error:
            # A connection that Ctrl-C has cut short in its handshake hangs on the traceback,
            # and PostgreSQL waits for such ones before it drops a database: up to a minute.
            traceback.clear_frames(error.__traceback__)
            _give_up(sessions, new)
            raise
        if away is not None and not keep:
            warnings += _drop_replaced(sessions.other, away)
        return Replaced(away if keep else None, tuple(removed), tuple(warnings))


def _give_up(sessions: Sessions, new: str) -> None:
    """Drop the new database, which is not complete; one of the two connections may be lost."""
    for connection in (sessions.other, sessions.own):
        try:
            connection.execute("SET statement_timeout = '15s'")
            drop(connection, new)
        except psycopg.Error:
            continue
        return


def _drop_replaced(connection: psycopg.Connection[Any], away: str) -> list[str]:
    """Drop the old database; returns a warning where that fails."""
    try:
        drop(connection, away)
    except psycopg.Error as error:
        reason = error.diag.message_primary or error
        return [f"the old database still exists as {away}: {reason}"]
    return []


# --- names -------------------------------------------------------------------------


def _named(name: str, word: str, unique: str) -> str:
    """Return a name that says what it is and for which database; ``unique`` are 8 digits."""
    end = f"_oxy_{word}_{hashlib.sha256(name.encode()).hexdigest()[:8]}_"
    start = name.encode()[: _LONGEST - len(end) - 8].decode(errors="ignore")
    return start + end + unique


def _kept_name(name: str, unique: str) -> str:
    end = f"_before_{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}_{unique[:4]}"
    return name.encode()[: _LONGEST - len(end)].decode(errors="ignore") + end


def sweep(connection: psycopg.Connection[Any], name: str) -> list[str]:
    """
    Drop what killed runs have left for a database; return the names.

    The caller holds the lock ``replacing()``. These are databases that were not
    completed, and replaced ones that should have been dropped.
    """
    patterns = [
        re.escape(_named(name, word, "")) + "[0-9a-f]{8}" for word in ("restore", "replaced")
    ]
    rows = connection.execute("SELECT datname FROM pg_database ORDER BY datname").fetchall()
    left = [row[0] for row in rows if any(re.fullmatch(one, row[0]) for one in patterns)]
    for found in left:
        drop(connection, found)
    return left


def drop(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database, and end its sessions."""
    drop_database(connection, name)


# --- its steps ---------------------------------------------------------------------------


def create(connection: psycopg.Connection[Any], new: str, old: Existing | None) -> None:
    """Create an empty database, with the old one's encoding and locale, or else the server's."""
    options = dict(old.locale) if old is not None else {}
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(new))
    if old is not None:
        statement += sql.SQL(" OWNER {}").format(sql.Identifier(old.owner))
    for option, value in options.items():
        statement += sql.SQL(f" {option} {{}}").format(sql.Literal(value))
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise database.refused(f"create the database {new!r}", error) from error


def swap(
    connection: psycopg.Connection[Any],
    other: psycopg.Connection[Any],
    name: str,
    new: str,
    *,
    replaces: bool,
    keep: bool,
) -> str | None:
    """
    Give the new database the name, and the old one another; return that one.

    Both in one transaction. Sessions of either are ended, on ``other``, another
    connection to the server, until it has succeeded. Raises TransferRefused for
    sessions that cannot be ended.
    """
    unique = secrets.token_hex(4)
    away = _kept_name(name, unique) if keep else _named(name, "replaced", unique)
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    deadline = Deadline(_SESSIONS_END)
    while True:
        try:
            with without_sessions(other, [name, new]), connection.transaction():
                if replaces:
                    connection.execute(rename.format(sql.Identifier(name), sql.Identifier(away)))
                connection.execute(rename.format(sql.Identifier(new), sql.Identifier(name)))
        except pg.ObjectInUse as error:
            if deadline.remaining():
                continue
            raise _in_use(connection, name, new) from error
        except psycopg.Error as error:
            raise database.refused(f"replace the database {name!r}", error) from error
        return away if replaces else None


@contextlib.contextmanager
def without_sessions(other: psycopg.Connection[Any], names: list[str]) -> Iterator[None]:
    """
    End the sessions of these databases, repeatedly, for the length of the block.

    RENAME waits five seconds for existing sessions, and holds a lock which keeps
    new ones out: ending them once is enough, but only while it holds the lock.
    """
    over = threading.Event()

    def end_them() -> None:
        with contextlib.suppress(psycopg.Error):
            while not over.is_set():
                for pid, *_ in other.execute(_SESSIONS, [names]).fetchall():
                    with contextlib.suppress(pg.InsufficientPrivilege):
                        other.execute("SELECT pg_terminate_backend(%s)", [pid])
                over.wait(_PAUSE)

    thread = threading.Thread(target=end_them, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _in_use(connection: psycopg.Connection[Any], name: str, new: str) -> TransferRefused:
    rows = connection.execute(_SESSIONS, [[name, new]]).fetchall()
    sessions = ", ".join(f"{user} (pid {pid}, {program})" for pid, user, program in rows)
    return TransferRefused(
        f"replace the database {name!r}",
        f"others are connected to it, and this role cannot end their sessions: {sessions or '?'}.",
        "Let them disconnect, and run it again; or as an administrator: GRANT pg_signal_backend TO "
        "the role. The database is as it was.",
    )
