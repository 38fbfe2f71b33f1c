"""The public verbs; each hands over to the wing that does the work."""

from __future__ import annotations

import contextlib
import os

from oxy_pg.errors import ConfigurationError
from oxy_pg.server.server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from os import PathLike
    from typing import Literal

    from oxy_pg.migrate.report.report import MigrationReport
    from oxy_pg.progress import Progress
    from oxy_pg.server.cluster.config import Settings
    from oxy_pg.server.monitor.status import Status
    from oxy_pg.server.upgrade.clusters import Upgrade
    from oxy_pg.transfer.backup.backup import BackupReport
    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.backup.restore import RestoreReport
    from oxy_pg.transfer.report import TransferReport, UpgradeReport

if os.name != "posix":
    raise ConfigurationError(
        "oxy_pg runs PostgreSQL on Linux and macOS. On Windows use it inside WSL 2."
    )

__all__ = [
    "Server",
    "Status",
    "backup",
    "check_backup",
    "ensure",
    "migrate_sqlite",
    "pull",
    "push",
    "restore",
    "temporary",
    "upgrade",
]

# One handle for each way of asking, so that asking again finds its lease.
_servers: dict[object, Server] = {}


def __getattr__(name: str) -> object:
    """Load Status when it is used: nobody needs it to get a URL."""
    if name != "Status":
        raise AttributeError(name)
    from oxy_pg.server.monitor.status import Status

    return Status


def ensure(
    database: str = "oxy",
    *,
    state_dir: str | PathLike[str] | None = None,
    settings: Settings | None = None,
    extensions: Iterable[str] = (),
    keep_alive: float | None = None,
    timeout: float = 60.0,
) -> str:
    """
    Return the URL of a running PostgreSQL with this database in it.

    With OXY_DATABASE_URL set it is that server's, waited for and checked, and
    ``database``, ``state_dir``, ``settings`` and ``keep_alive`` mean nothing.
    Otherwise a PostgreSQL 16 is started under the state directory if none
    runs there; this process holds it until it exits. Called again it costs
    microseconds, and brings back a server that has gone. From threads, forked
    children and any number of processes at once it gives the same server.

    ``database`` is made if it is not there. ``settings`` are PostgreSQL
    settings (``{"work_mem": "64MB"}``); a running server takes over those that
    a reload can apply, and a warning names the rest. ``extensions`` are made
    in the database. ``keep_alive`` is how many seconds the server stays up
    after its last user has gone (default OXY_PG_KEEP_ALIVE or 5; ``math.inf``:
    until stopped). ``timeout`` is in seconds, for everything together.

    Raises ServerError (StartFailed, StartTimeout, LockTimeout, InitdbFailed,
    BinariesNotFound, VersionMismatch, ForeignDataDirectory,
    ExternalServerUnavailable, UnsupportedServer) or ConfigurationError.
    """
    external_url = os.environ.get("OXY_DATABASE_URL")
    names = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    if external_url is not None:
        return _ensure_external(external_url, settings, names, timeout)
    server = _server(state_dir, settings, keep_alive)
    return server.ensure_database(database, extensions=names, timeout=timeout)


def _ensure_external(
    url: str, settings: Settings | None, extensions: tuple[str, ...], timeout: float
) -> str:
    from oxy_pg.server import external

    if settings:
        import logging

        logging.getLogger("oxy_pg").warning(
            "settings mean nothing to the external server that OXY_DATABASE_URL names"
        )
    return external.ensure(url, extensions, timeout)


def _server(
    state_dir: str | PathLike[str] | None, settings: Settings | None, keep_alive: float | None
) -> Server:
    place = state_dir if state_dir is not None else os.environ.get("OXY_STATE_DIR")
    if place is not None and not os.path.isabs(place):
        place = os.path.abspath(os.path.expanduser(place))
    key = (
        place if place is not None else os.environ.get("HOME"),
        None if settings is None else tuple(sorted(settings.items())),
        keep_alive if keep_alive is not None else os.environ.get("OXY_PG_KEEP_ALIVE"),
    )
    server = _servers.get(key)
    if server is None:
        made = Server(state_dir, settings=settings, keep_alive=keep_alive)
        server = _servers.setdefault(key, made)
    return server


@contextlib.contextmanager
def temporary(
    *,
    settings: Settings | None = None,
    extensions: Iterable[str] = (),
    timeout: float = 60.0,
) -> Iterator[Server]:
    """
    Give a server of one's own for the length of a ``with`` block; nothing of it remains.

    It is fast because nothing on it would survive a crash (fsync is off), and
    a cached template makes it. A process that is killed leaves nothing either.
    ``settings``, ``extensions`` and ``timeout`` (seconds) are as for ``ensure()``.

    Raises what ``ensure()`` raises for an embedded server.
    """
    from oxy_pg.server import temporary as temporaries

    yield from temporaries.running(settings, extensions, timeout)


def migrate_sqlite(
    source: str | PathLike[str] | None = None,
    target: str | None = None,
    *,
    tables: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    schema: Literal["auto", "create", "existing"] = "auto",
    casts: Mapping[str, str] | None = None,
    on_bad_value: Literal["error", "null", "skip"] = "error",
    on_orphan: Literal["error", "null", "skip"] = "error",
    if_not_empty: Literal["error", "append", "truncate"] = "error",
    prepare: Callable[[str], object] | str | None = None,
    verify: Literal["counts", "full", "none"] = "counts",
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    jobs: int = 2,
    timeout: float = 30.0,
) -> MigrationReport:
    """
    Move a SQLite database into PostgreSQL: all of it, or nothing.

    ``source`` is a path or a ``sqlite://`` URL, default ``db.sqlite`` in the
    state directory; it is opened read-only, and its bytes stay the same.
    ``target`` is a PostgreSQL URL, default OXY_DATABASE_URL, or else the
    embedded server.

    ``tables`` and ``exclude`` name tables of the source (``*`` matches).
    ``schema``: create the tables, fill those that are there, or decide for
    each (``auto``). ``casts`` maps ``"table.column"`` to a PostgreSQL type.
    ``on_bad_value`` and ``on_orphan``: what to do with values that do not fit
    and with rows whose parent is missing. ``if_not_empty``: what to do with
    rows that the target has already. ``prepare`` brings the target's schema
    up first: a callable that gets the URL, or a shell command. ``verify``:
    compare counts, every value (``full``), or nothing, before the commit.
    ``dry_run`` writes nothing and reports every problem. ``on_progress`` is
    called on the way. ``jobs`` is how many processes read a source of more
    than 32 MB; ``timeout`` is how many seconds either side is waited for.

    Killed or cancelled at any moment it leaves the target as it was. Raises
    MigrationError (SourceUnreadable, TargetUnreachable, TargetNotEmpty,
    SchemaMismatch, BadValues, OrphanRows, VerificationFailed, TargetRefused),
    ConfigurationError, and for the embedded server what ``ensure()`` raises.
    """
    from oxy_pg import paths
    from oxy_pg.migrate.migration import migrate

    path = f"{paths.state_dir()}/db.sqlite" if source is None else os.fspath(source)
    with _target(target, dry_run=dry_run) as url:
        return migrate(
            path,
            url,
            tables=tables,
            exclude=exclude,
            schema=schema,
            casts=casts,
            on_bad_value=on_bad_value,
            on_orphan=on_orphan,
            if_not_empty=if_not_empty,
            prepare=prepare,
            verify=verify,
            dry_run=dry_run,
            on_progress=on_progress,
            jobs=jobs,
            timeout=timeout,
        )


@contextlib.contextmanager
def _target(given: str | None, *, dry_run: bool) -> Iterator[str]:
    """Give the URL that a migration goes to."""
    external_url = os.environ.get("OXY_DATABASE_URL")
    if given is not None:
        yield given
    elif external_url is not None:
        from oxy_pg.url import plain

        yield plain(external_url)
    elif dry_run and Server().status().state == "uninitialized":
        # A dry run leaves nothing behind, not even an empty cluster: an empty one stands in.
        with temporary() as server:
            yield server.url()
    else:
        yield ensure()


# --- backup and restore ----------------------------------------------------------------


def backup(
    path: str | PathLike[str],
    url: str | None = None,
    *,
    database: str = "oxy",
    keep: int | None = None,
    plain: bool = False,
    force: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> BackupReport:
    """
    Back a database up into one file, as of one moment, while it is in use.

    ``path`` is the file, which must not exist unless ``force``; or a directory,
    in which each backup gets a name of its own: ``oxy-20260131T235959Z.dump``.
    It appears whole or not at all, readable by its owner alone. ``url`` is the
    database, default OXY_DATABASE_URL, or else ``database`` of the embedded
    server.

    ``keep`` deletes older backups of the same database in that directory, all
    but so many, once the new one is safely in place. ``plain`` writes SQL, as
    ``.sql.gz``, instead of pg_dump's custom format. ``on_progress`` is called on
    the way. ``timeout`` is how many seconds the server is waited for.

    In it are all objects and rows; not the roles, nor other databases. At its
    end stands a manifest with the versions, every table's number of rows, and
    the SHA-256; pg_restore and zcat do not mind. pg_dump must be of the server's
    version or newer, and the best one on this machine is used.

    Raises TransferError (ToolsNotFound, BackupExists, TransferRefused),
    ConfigurationError, and for the embedded server what ``ensure()`` raises.
    """
    from oxy_pg.transfer.backup import backup as backups

    given = os.environ.get("OXY_DATABASE_URL") if url is None else url
    if given is None:
        given = _existing_server().superuser_url(database)
    return backups.backup(
        os.fspath(path),
        given,
        keep=keep,
        plain=plain,
        force=force,
        on_progress=on_progress,
        timeout=timeout,
    )


def _existing_server(what: str = "back up") -> Server:
    """Return the embedded server; ConfigurationError where there is nothing in it yet."""
    server = _server(None, None, None)
    if server.status().state == "uninitialized":
        from oxy_pg import paths

        raise ConfigurationError(
            f"There is nothing to {what} in {paths.state_dir()}: no server was ever started "
            "there. Name another place "
            "with OXY_STATE_DIR or --state-dir, or a server with its URL."
        )
    return server


def restore(
    path: str | PathLike[str],
    url: str | None = None,
    *,
    database: str | None = None,
    keep_old: bool = False,
    in_place: bool = False,
    clean: bool = False,
    jobs: int | None = None,
    confirm: Callable[[str], bool] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> RestoreReport:
    """
    Restore a backup; whatever happens, the database is the old one or the new one.

    ``url`` is the database to restore into, default OXY_DATABASE_URL, or else
    ``database`` of the embedded server, default the one that was backed up. It
    need not exist. The backup is checked first, down to its SHA-256. It goes
    into a new database beside, whose tables are counted and compared with the
    manifest; then the two change names, in one transaction. Sessions of the old
    one are ended. It is dropped, or with ``keep_old`` kept under another name.
    Everything belongs to the URL's role; privileges are not restored.

    That needs a role with CREATEDB which owns the old database. ``in_place`` is
    for one that has not: the backup goes into the database itself, which has to
    be empty, in one transaction; with ``clean``, what is in the backup is
    dropped first. ``jobs`` is how many tables and indexes pg_restore works on at
    a time (default: the processors, 4 at most). ``confirm`` is asked before
    something is replaced, and may decline. ``on_progress`` is called on the way,
    and ``timeout`` is how many seconds the server is waited for.

    Raises TransferError (NotABackup, BackupDamaged, BackupTooNew, CountsDiffer,
    ToolsNotFound, TransferRefused), ConfigurationError, and for the embedded
    server what ``ensure()`` raises.
    """
    from oxy_pg.transfer.backup import restore as restores

    given = os.environ.get("OXY_DATABASE_URL") if url is None else url
    superuser_url = None
    if given is None:
        from oxy_pg.transfer.backup import manifest

        name = database or manifest.read(os.path.expanduser(os.fspath(path))).database
        server = _server(None, None, None)
        given = server.ensure_database(name) if in_place else server.url(name)
        superuser_url = server.superuser_url()
    return restores.restore(
        os.fspath(path),
        given,
        superuser_url=superuser_url,
        keep_old=keep_old,
        in_place=in_place,
        clean=clean,
        jobs=jobs,
        confirm=confirm,
        on_progress=on_progress,
        timeout=timeout,
    )


def check_backup(
    path: str | PathLike[str],
    *,
    on_progress: Callable[[Progress], object] | None = None,
) -> Manifest:
    """
    Return the manifest of a backup that is whole and readable; needs no server.

    Raises NotABackup, BackupDamaged, BackupTooNew, ToolsNotFound and
    ConfigurationError.
    """
    from oxy_pg.transfer.backup import restore as restores

    return restores.check(os.fspath(path), on_progress)


# --- push, pull and upgrade -------------------------------------------------------------


def push(
    target: str,
    *,
    database: str = "oxy",
    schemas: Sequence[str] | None = None,
    if_not_empty: Literal["error", "replace"] = "error",
    swap: bool = False,
    jobs: int = 2,
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> TransferReport:
    """
    Copy a database of the embedded server to a PostgreSQL elsewhere, as of one moment.

    ``target`` is the URL of a database that is there, on any PostgreSQL from 14
    on; an ordinary role will do, also through a pooler in transaction mode.
    Everything belongs to that role afterwards; privileges, publications and
    event triggers stay behind. It is one transaction: a reader of the target
    sees what was there, or all that has come. Every table's rows are counted on
    both sides before the commit.

    ``schemas`` takes these alone. ``if_not_empty``: what to do when the target
    has something in the schemas that come; ``replace`` drops it first, in the
    same transaction, and leaves other schemas alone. With ``swap`` all goes into
    a new database beside, ``jobs`` tables at a time, which then takes the name,
    and the old one is dropped with all that was in it: faster, but the role
    needs CREATEDB and must own the old one, and its sessions are ended.
    ``dry_run`` writes nothing, and reports tables, rows, what would be
    replaced, and every problem. ``on_progress`` is called on the way;
    ``timeout`` is how many seconds either side is waited for.

    Raises TransferError (DatabaseNotEmpty, ExtensionsMissing, RightsMissing,
    ToolsNotFound, ToolFailed, TransferRefused, CountsDiffer),
    ConfigurationError, and for the embedded server what ``ensure()`` raises.
    """
    from oxy_pg.transfer.copy import copy_database

    server = _existing_server("push")
    order = copy_database.Order(
        "push",
        server.superuser_url(database),
        target,
        shown=server.url(database),
        schemas=None if schemas is None else tuple(schemas),
        if_not_empty=if_not_empty,
        beside=swap,
        jobs=jobs,
        timeout=timeout,
    )
    return copy_database.run(order, dry_run=dry_run, on_progress=on_progress)


def pull(
    source: str,
    *,
    database: str = "oxy",
    schemas: Sequence[str] | None = None,
    if_not_empty: Literal["error", "replace"] = "error",
    jobs: int = 2,
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> TransferReport:
    """
    Copy a database from a PostgreSQL elsewhere into the embedded server, as of one moment.

    ``source`` is its URL, on any PostgreSQL from 14 on; the role has to be able
    to read everything, and nothing is written there. It goes into a new
    database beside, ``jobs`` tables at a time, whose rows are counted; then that
    takes the name of ``database``. Sessions of the old one are ended, and it is
    dropped. Everything belongs to the role ``oxy``; privileges, publications
    and event triggers stay behind.

    ``if_not_empty``: what to do when ``database`` has something in it; by
    default it stays as it is. The other arguments, and what is raised, are
    those of ``push()``, and NotEnoughSpace. pg_dump must be of the source's
    version or newer, and the best one on this machine is used.
    """
    from oxy_pg.transfer.copy import copy_database

    server = _server(None, None, None)
    empty = dry_run and server.status().state == "uninitialized"
    # A dry run leaves nothing behind, not even an empty cluster: an empty one stands in.
    with temporary() if empty else contextlib.nullcontext(server) as chosen:
        order = copy_database.Order(
            "pull",
            source,
            chosen.url(database),
            superuser=chosen.superuser_url(),
            target_dir=None if empty else str(chosen.status().data_dir),
            schemas=None if schemas is None else tuple(schemas),
            if_not_empty=if_not_empty,
            beside=True,
            jobs=jobs,
            timeout=timeout,
        )
        return copy_database.run(order, dry_run=dry_run, on_progress=on_progress)


def upgrade(
    state_dir: str | PathLike[str] | None = None,
    *,
    old_bin_dir: str | PathLike[str] | None = None,
    discard_old: bool = False,
    jobs: int = 2,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 60.0,
) -> UpgradeReport:
    """
    Move a state directory's cluster from another major version of PostgreSQL to this one.

    Both run for this process alone meanwhile. Roles with their passwords,
    databases with their owners, extensions, rows, and what ALTER SYSTEM has set
    come along; every table's rows are counted on both sides. Then the new
    cluster takes the place of the old one, which is kept beside it
    (``postgres_data.old-18``) until a call with ``discard_old``. Whoever is
    killed leaves the old state or the new one, and the next call goes on from
    there. A cluster of this version is left alone.

    ``old_bin_dir`` is the ``bin`` directory of the old version, where it is not
    found by itself. ``jobs`` is how many tables are copied at a time.
    ``timeout``, in seconds, is how long a running server is waited for, and
    each start of one.

    Raises TransferError (UpgradeFailed, NotEnoughSpace, ExtensionsMissing,
    ToolsNotFound, ToolFailed, TransferRefused, CountsDiffer) or ServerError
    (BinariesNotFound, ForeignDataDirectory, StartFailed, StartTimeout,
    InitdbFailed), and then the cluster is as it was.
    """
    import dataclasses
    import time

    from oxy_pg import paths
    from oxy_pg.server.upgrade import clusters as upgrades

    if jobs < 1:
        raise ConfigurationError(f"jobs is {jobs!r}; it is a number of jobs, 1 or more.")
    began = time.monotonic()
    state = paths.StateDir(paths.state_dir(state_dir))
    given = None if old_bin_dir is None else os.fspath(old_bin_dir)
    with upgrades.begin(state, given, timeout) as work:
        report = _upgraded(state.data_dir, work, jobs, on_progress or _ignore)
    if discard_old:
        discarded = upgrades.discard_old(state)
        report = dataclasses.replace(report, kept=None, discarded=tuple(discarded))
    return dataclasses.replace(report, seconds=time.monotonic() - began)


def _upgraded(
    data_dir: str,
    work: Upgrade | None,
    jobs: int,
    on_progress: Callable[[Progress], object],
) -> UpgradeReport:
    """Do the work, if there is any; the server's side of it, and the data's."""
    from oxy_pg.progress import Progress
    from oxy_pg.transfer.copy.clusters import Move
    from oxy_pg.transfer.report import UpgradeReport

    if work is None:
        return UpgradeReport(data_dir, done=False, old_version="", new_version="")
    work.check_space()
    on_progress(Progress("start"))
    with work.old_server() as old:
        altered = work.old_settings()
        programs = work.old_binaries
        move = Move(old, programs.bin_dir, programs.version, work.names.dump, jobs, on_progress)
        work.make_new()
        with work.new_server(bulk=True) as new:
            move.check_extensions(new)
            move.run(new)
            lost = work.carry_settings(altered)
    on_progress(Progress("restart"))
    with work.new_server(bulk=False) as new:
        databases = move.verify(new)
    on_progress(Progress("swap"))
    kept = work.swap()
    return UpgradeReport(
        data_dir,
        done=True,
        old_version=work.old_binaries.version,
        new_version=work.new_binaries.version,
        databases=databases,
        lost=(*move.lost, *lost),
        kept=kept,
    )


def _ignore(_: object) -> None:
    pass
