"""
Snapshots of a database: copies on the same server, which a rewind puts in its place.

A snapshot is a database of the superuser's that allows no connections; what it
is called, of which database it is and from when, is in its comment. It gets its
name when it is complete, and a rewind changes names in one transaction: killed
at any moment, there is the old state or the new one. What a killed run has left
is recognised by its name, and dropped by the next one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import hashlib
import json
import re
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from oxy_pg import sessions
from oxy_pg.errors import ConfigurationError, TransferRefused
from oxy_pg.facts import ROLE, SNAPSHOT
from oxy_pg.report import Report, timestamp
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import copying, database, locks, properties, swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxy_pg.report import Progress

# The database as it was before the last rewind.
BEFORE_REWIND = "before-rewind"
_LONGEST = 200  # characters of a snapshot's name
_SESSIONS_END = 30.0  # seconds in which the sessions of the database have to end
# Our own alone: on a database of its own the application writes any comment that it likes.
_LIST = """
    SELECT datname, shobj_description(oid, 'pg_database'), pg_database_size(oid),
           extract(epoch FROM clock_timestamp())
    FROM pg_database WHERE starts_with(datname, %s) AND NOT datallowconn
      AND pg_get_userbyid(datdba) = current_user
"""
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"


@dataclass(frozen=True, slots=True)
class Snapshot(Report):
    """
    A snapshot: its name, the database that it is of, and when it was made.

    ``time`` is in UTC (``2026-01-31T23:59:59.000000Z``), ``age`` in seconds, ``size`` in
    bytes on the server.
    """

    name: str
    database: str
    time: str
    age: float
    size: int


def name_in_cluster(of: str, name: str) -> str:
    """Return what the database is called that holds a snapshot."""
    return SNAPSHOT + hashlib.sha256(json.dumps([of, name]).encode()).hexdigest()[:32]


def default_name(of: str, branch: str | None) -> str:
    """Return a name for a snapshot made now: ``main-20260131-235959``."""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    return f"{(branch or of)[: _LONGEST - len(stamp) - 1]}-{stamp}"


def check_name(name: str) -> str:
    """Return a name that a snapshot may have; ConfigurationError if not."""
    # Not repeated: it may have a password, and would show it in every list.
    if "://" in name or re.search(r":[^@\s]+@", name):
        raise ConfigurationError("The name of a snapshot was expected, and not a URL.")
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise ConfigurationError(
            f"{name!r} cannot be the name of a snapshot: it has 1 to {_LONGEST} printable "
            "characters."
        )
    return name


def listed(url: str, of: str | None = None) -> tuple[Snapshot, ...]:
    """
    Return the snapshots of a database, the newest first; by default those of all.

    ``url`` is the superuser's. Raises TransferRefused.
    """
    with _session(url, "list snapshots") as connection:
        return _listed(connection, of)


def _listed(connection: psycopg.Connection[Any], of: str | None) -> tuple[Snapshot, ...]:
    found = []
    for datname, comment, size, now in connection.execute(_LIST, [SNAPSHOT]):
        known = _read(comment)
        if known is None or datname != name_in_cluster(known["database"], known["name"]):
            continue
        made = float(known["epoch"])
        time = timestamp(dt.datetime.fromtimestamp(made, dt.UTC))
        age = round(max(0.0, float(now) - made), 3)
        found.append(Snapshot(known["name"], known["database"], time, age, size))
    return tuple(
        sorted((one for one in found if of in {None, one.database}), key=lambda one: one.age)
    )


def _read(comment: str | None) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return dict(json.loads(comment or "")["oxy_pg_snapshot"])
    return None


def make(
    url: str,
    of: str,
    name: str,
    *,
    force: bool,
    on_progress: Callable[[Progress], object] | None = None,
) -> Snapshot:
    """
    Make a snapshot of a database.

    Idle sessions in it are ended. Raises ConfigurationError for a name that is
    taken, and TransferRefused: with those who are at work in the database,
    unless ``force`` ends them too.
    """
    if name == BEFORE_REWIND:
        raise ConfigurationError(
            f"{BEFORE_REWIND} is what a rewind calls the database that it replaces: the next one "
            "would take its place. Choose another name."
        )
    what = f"make a snapshot of {of!r}"
    with _session(url, what) as connection, _session(url, what) as other:
        with locks.replacing(connection, of):
            _sweep(connection, of)
            if _owner(connection, of) is None:
                raise ConfigurationError(_no_database(connection, of))
            _refuse_taken(connection, of, name)
            new = _new_name(of)
            _copy_when_free(connection, other, of, new, force=force, on_progress=on_progress)
            with connection.transaction():
                _mark(connection, new, of, name)
        return next(one for one in _listed(connection, of) if one.name == name)


def rewind(
    url: str,
    of: str,
    name: str,
    *,
    keep: bool,
    on_progress: Callable[[Progress], object] | None = None,
) -> Snapshot:
    """
    Put a copy of a snapshot in the place of its database; return the snapshot, which stays.

    All sessions of the old one are ended. With ``keep`` it is a snapshot
    afterwards, called ``before-rewind``, in the place of the one of that name;
    else it is dropped. Raises ConfigurationError for a snapshot that does not
    exist, and TransferRefused.
    """
    what = f"rewind {of!r}"
    with _session(url, what) as connection, _session(url, what) as other:
        with locks.replacing(connection, of):
            _sweep(connection, of)
            found = _find(connection, of, name)
            if keep:
                before = name_in_cluster(of, BEFORE_REWIND)
                _refuse_stranger(connection, before, "of what a rewind keeps")
            new = _new_name(of)
            owner = _owner(connection, of)
            _copy(connection, other, name_in_cluster(of, name), new, on_progress)
            if owner is not None:
                properties.carry_over(other, of, new)
            _rename(connection, other, of, new, owner=owner or ROLE, keep=keep)
            _sweep(connection, of)
        return found


def delete(url: str, of: str, name: str) -> None:
    """Delete a snapshot; raises ConfigurationError for one that does not exist."""
    what = "delete a snapshot"
    with _session(url, what) as connection, locks.replacing(connection, of):
        _find(connection, of, name)
        swap.drop(connection, name_in_cluster(of, name))


# --- steps --------------------------------------------------------------------------


@contextlib.contextmanager
def _session(url: str, what: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a superuser's session, in a database that is never copied."""
    with contextlib.closing(database.connect_again(url)) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise database.refused(what, error) from error


def _prepared(of: str) -> str:
    """Return how the names of databases begin that are not complete, or no longer needed."""
    return f"{SNAPSHOT}new_{hashlib.sha256(of.encode()).hexdigest()[:8]}_"


def _new_name(of: str) -> str:
    return _prepared(of) + secrets.token_hex(8)


def _sweep(connection: psycopg.Connection[Any], of: str) -> None:
    """Drop what killed runs have left for a database; the caller holds its lock."""
    query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
    for (name,) in connection.execute(query, [_prepared(of)]).fetchall():
        swap.drop(connection, name)


def _find(connection: psycopg.Connection[Any], of: str, name: str) -> Snapshot:
    known = _listed(connection, of)
    for one in known:
        if one.name == name:
            return one
    near = difflib.get_close_matches(name, [one.name for one in known], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "`oxy-pg snapshots` lists them."
    raise ConfigurationError(f"There is no snapshot {name!r} of the database {of!r}. {hint}")


def _refuse_taken(connection: psycopg.Connection[Any], of: str, name: str) -> None:
    """Raise ConfigurationError where there is a snapshot of that name, or another database."""
    there = name_in_cluster(of, name)
    if any(one.name == name for one in _listed(connection, of)):
        raise ConfigurationError(
            f"There is a snapshot {name!r} of {of!r} already. Choose another name, or "
            f"delete it: `oxy-pg snapshot --delete {shlex.quote(name)}`."
        )
    _refuse_stranger(connection, there, f"of the snapshot {name!r} of {of!r}")


def _refuse_stranger(connection: psycopg.Connection[Any], there: str, whose: str) -> None:
    """Raise ConfigurationError where an application has given our name to a database of its own."""
    owner = _owner(connection, there)
    if owner is not None and owner != connection.info.user:
        raise ConfigurationError(
            f"The database {there!r} of the role {owner!r} has the name {whose}, and is none: an "
            "application has made it. Drop or rename it."
        )


def _no_database(connection: psycopg.Connection[Any], of: str) -> str:
    rows = connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
    near = difflib.get_close_matches(of, [row[0] for row in rows], n=1)
    return f"There is no database {of!r}." + (f" Did you mean {near[0]!r}?" if near else "")


def _owner(connection: psycopg.Connection[Any], name: str) -> str | None:
    found = database.one(connection, _OWNER, name)
    return None if found is None else str(found)


def _copy(
    connection: psycopg.Connection[Any],
    other: psycopg.Connection[Any],
    template: str,
    new: str,
    on_progress: Callable[[Progress], object] | None,
) -> None:
    """Copy a database file by file: since PostgreSQL 18 as clones, where the disk has them."""
    connection.execute(
        "SELECT set_config(name, 'clone', false) FROM pg_settings WHERE name = 'file_copy_method'"
    )
    statement = sql.SQL(
        "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY ALLOW_CONNECTIONS false"
    ).format(sql.Identifier(new), sql.Identifier(template))
    try:
        with copying.shown(other, template, on_progress):
            connection.execute(statement)
    except BaseException:
        with contextlib.suppress(psycopg.Error):  # it was made, and on_progress has raised
            swap.drop(connection, new)
        raise


def _copy_when_free(
    connection: psycopg.Connection[Any],
    other: psycopg.Connection[Any],
    of: str,
    new: str,
    *,
    force: bool,
    on_progress: Callable[[Progress], object] | None,
) -> None:
    """Copy a database, and end the sessions in it that are idle, or with ``force`` all."""
    deadline = Deadline(_SESSIONS_END)
    while True:
        _end_sessions(other, of, force=force)
        try:
            _copy(connection, other, of, new, on_progress)
        except pg.ObjectInUse as error:
            if deadline.remaining():
                continue
            raise database.refused(f"make a snapshot of {of!r}", error) from error
        return


def _end_sessions(other: psycopg.Connection[Any], of: str, *, force: bool) -> None:
    query = sql.SQL(sessions.WHO).format(sql.Literal(of))
    # One that is at work may be about to end.
    for remaining in Deadline(0.0 if force else sessions.GRACE).attempts(0.02, 0.1):
        rows = other.execute(query).fetchall()
        at_work = [] if force else [row for row in rows if row[3] != "idle"]
        if not at_work:
            break
        if not remaining:
            raise TransferRefused(
                f"make a snapshot of {of!r}",
                sessions.in_use(of, at_work),
                "Wait until they are done, or end them with --force (force=True).",
            )
    for pid, *_ in rows:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def _mark(connection: psycopg.Connection[Any], new: str, of: str, name: str) -> None:
    """Make a snapshot of a database, in the caller's transaction."""
    epoch = float(database.one(connection, "SELECT extract(epoch FROM clock_timestamp())"))
    comment = {"oxy_pg_snapshot": {"database": of, "name": name, "epoch": round(epoch, 3)}}
    there = sql.Identifier(new)
    for statement in (
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(there),
        sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(there),
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(there, sql.Literal(json.dumps(comment))),
        _renamed(new, name_in_cluster(of, name)),
    ):
        connection.execute(statement)


def _renamed(old: str, new: str) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
        sql.Identifier(old), sql.Identifier(new)
    )


def _rename(
    connection: psycopg.Connection[Any],
    other: psycopg.Connection[Any],
    of: str,
    new: str,
    *,
    owner: str,
    keep: bool,
) -> None:
    """Let the copy be the database, and the old one a snapshot, or nothing; all of it at once."""
    deadline = Deadline(_SESSIONS_END)
    earlier = name_in_cluster(of, BEFORE_REWIND)
    while True:
        try:
            with swap.without_sessions(other, [of]), connection.transaction():
                if _owner(connection, of) is not None:
                    away = _new_name(of)
                    connection.execute(_renamed(of, away))
                    if keep:
                        if _owner(connection, earlier) is not None:
                            connection.execute(_renamed(earlier, _new_name(of)))
                        _mark(connection, away, of, BEFORE_REWIND)
                connection.execute(_renamed(new, of))
                _open(connection, of, owner)
        except pg.ObjectInUse:
            if not deadline.remaining():
                raise
        else:
            return


def _open(connection: psycopg.Connection[Any], name: str, owner: str) -> None:
    there = sql.Identifier(name)
    connection.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(there, sql.Identifier(owner))
    )
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(there))
