"""
A database made beside another one, and put in its place.

Databases of one server are renamed in one transaction: whoever connects finds
the old one or the new one, and so it stays when this process, or the server,
is killed at any moment. What a killed run has left is known by its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from oxy_pg.errors import TransferError, TransferRefused
from oxy_pg.transfer import database
from oxy_pg.url import check, plain, with_database

if TYPE_CHECKING:
    from collections.abc import Iterator

# Databases that one can connect to while another one is renamed.
_MAINTENANCE = ("postgres", "template1", "defaultdb")
_LONGEST = 63  # bytes of a name
_PATIENCE = 30.0  # seconds in which the sessions of the old database have to end
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
    """The database that is replaced."""

    name: str
    owner: str
    owned: bool  # the role may rename it
    locale: tuple[tuple[str, str], ...]  # CREATE DATABASE's options that make one like it


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


def maintenance(url: str, timeout: float) -> psycopg.Connection[Any]:
    """
    Connect to another database of the same server, from where ``url``'s can be replaced.

    Raises TransferRefused.
    """
    target, refusal = name_of(url), None
    for name in _MAINTENANCE:
        if name == target:
            continue
        try:
            return database.connect(with_database(plain(url, "The URL"), name), timeout)
        except TransferRefused as error:
            refusal = refusal or error
            if not re.search("does not exist|permission denied|pg_hba", error.reason):
                raise
    assert refusal is not None
    raise TransferRefused(
        f"replace the database {target!r}",
        f"none of the databases {', '.join(_MAINTENANCE)} can be connected to ({refusal.reason}).",
        "Let the role connect to one of them, or restore into the database itself with --in-place "
        "(in_place=True).",
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
    """Raise TransferRefused unless the role may make databases, and rename this one."""
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
            f"the role {role!r} has to be able to make databases and to own this one.",
            f"As an administrator: {'; '.join(wanted)}. Where that cannot be had, --in-place "
            "(in_place=True) restores into the database itself.",
        )


@contextlib.contextmanager
def alone(connection: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """Keep other runs from replacing the same database meanwhile; TransferError if one does."""
    key = int.from_bytes(hashlib.sha256(f"oxy_pg {name}".encode()).digest()[:8], signed=True)
    # The one before may have been killed just now, and its session be about to end.
    for _ in range(50):
        if database.one(connection, "SELECT pg_try_advisory_lock(%s)", key):
            break
        time.sleep(_PAUSE)
    else:
        raise TransferError(
            f"Another restore into the database {name!r} is under way on this server. Nothing was "
            "changed. Run it again when that one has ended."
        )
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.execute("SELECT pg_advisory_unlock(%s)", [key])


# --- names -------------------------------------------------------------------------


def _named(name: str, word: str, unique: str) -> str:
    """Return a name that tells what it is, for whom, and fits; ``unique`` are 8 digits."""
    end = f"_oxy_{word}_{hashlib.sha256(name.encode()).hexdigest()[:8]}_"
    start = name.encode()[: _LONGEST - len(end) - 8].decode(errors="ignore")
    return start + end + unique


def _kept_name(name: str, unique: str) -> str:
    end = f"_before_{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}_{unique[:4]}"
    return name.encode()[: _LONGEST - len(end)].decode(errors="ignore") + end


def sweep(connection: psycopg.Connection[Any], name: str) -> list[str]:
    """
    Drop what killed runs have left beside a database; return the names.

    Only for whoever is ``alone()``. These are databases that were not finished,
    and replaced ones that should have been dropped.
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
    """Drop a database, whoever is connected to it."""
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


# --- the new one ----------------------------------------------------------------------


def create(connection: psycopg.Connection[Any], name: str, old: Existing | None) -> str:
    """
    Make an empty database beside ``name``; return its name.

    It has the encoding and the locale of the old one, or else of the server.
    """
    new = _named(name, "restore", secrets.token_hex(4))
    options = dict(old.locale) if old is not None else {}
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(new))
    if old is not None:
        statement += sql.SQL(" OWNER {}").format(sql.Identifier(old.owner))
    for option, value in options.items():
        statement += sql.SQL(f" {option} {{}}").format(sql.Literal(value))
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise database.refused(f"make the database {new!r}", error) from error
    return new


def carry_over(connection: psycopg.Connection[Any], old: str, new: str) -> list[str]:
    """
    Give the new database the old one's settings, privileges, limit and comment.

    They are a database's own and no dump's. Returns what could not be set.
    """
    left = []
    for statements in properties(connection, old, new):
        try:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        except psycopg.Error as error:
            words = statements[-1].as_string(connection)
            left.append(f"{words.replace(new, old)}: {error.diag.message_primary or error}")
    return left


def properties(
    connection: psycopg.Connection[Any], old: str, new: str
) -> Iterator[list[sql.Composed]]:
    """Yield the statements that give ``new`` what ``old`` has; each list is one transaction's."""
    there = sql.Identifier(new)
    settings = connection.execute(
        "SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, unnest(setconfig)"
        " FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s",
        [old],
    )
    for role, setting in settings.fetchall():
        name, _, value = setting.partition("=")
        # FROM CURRENT, because a list (search_path) must not be quoted as one value.
        yield [
            sql.SQL("SELECT set_config({}, {}, true)").format(name, value),
            sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(there, _setting(name))
            if role is None
            else sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} FROM CURRENT").format(
                sql.Identifier(role), there, _setting(name)
            ),
        ]
    row = connection.execute(
        "SELECT datacl IS NOT NULL, datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = %s",
        [old],
    ).fetchone()
    has_privileges, limit, comment = row or (False, -1, None)
    if has_privileges:
        yield from _privileges(connection, old, there)
    if limit != -1:
        yield [sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(there, limit)]
    if comment is not None:
        yield [sql.SQL("COMMENT ON DATABASE {} IS {}").format(there, comment)]


def _setting(name: str) -> sql.Composable:
    return sql.SQL(".").join(map(sql.Identifier, name.split(".")))


def _privileges(
    connection: psycopg.Connection[Any], old: str, there: sql.Identifier
) -> Iterator[list[sql.Composed]]:
    yield [sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(there)]
    granted = connection.execute(
        "SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, privilege_type,"
        " is_grantable FROM pg_database, aclexplode(datacl)"
        " WHERE datname = %s AND grantee <> datdba",
        [old],
    )
    for role, privilege, grantable in granted.fetchall():
        whom = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
        statement = sql.SQL(f"GRANT {privilege} ON DATABASE {{}} TO {{}}").format(there, whom)
        yield [statement + sql.SQL(" WITH GRANT OPTION" if grantable else "")]


# --- in its place -----------------------------------------------------------------------


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
    connection to the server, as long as it takes. Raises TransferRefused when
    somebody's cannot be ended.
    """
    unique = secrets.token_hex(4)
    away = _kept_name(name, unique) if keep else _named(name, "replaced", unique)
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with _without_sessions(other, [name, new]), connection.transaction():
                if replaces:
                    connection.execute(rename.format(sql.Identifier(name), sql.Identifier(away)))
                connection.execute(rename.format(sql.Identifier(new), sql.Identifier(name)))
        except pg.ObjectInUse as error:
            if time.monotonic() < deadline:
                continue
            raise _in_use(connection, name, new) from error
        except psycopg.Error as error:
            raise database.refused(f"replace the database {name!r}", error) from error
        return away if replaces else None


@contextlib.contextmanager
def _without_sessions(other: psycopg.Connection[Any], names: list[str]) -> Iterator[None]:
    """
    End the sessions of these databases, over and over, for the length of a block.

    RENAME waits five seconds for the sessions that are there, and holds a lock
    which keeps new ones out: one end is enough, but only when it holds the lock.
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
