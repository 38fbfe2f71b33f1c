"""The public verbs: which server is meant, and then what does the work."""

from __future__ import annotations

import os

from oxy_pg import _defaults, _endpoint, project
from oxy_pg.errors import ConfigurationError
from oxy_pg.server.server import Server as _Handle
from oxy_pg.server.server import checked_timeout, in_use
from oxy_pg.system import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from os import PathLike
    from typing import Literal

    from oxy_pg._endpoint import Endpoint
    from oxy_pg._server import Server
    from oxy_pg.export.report import ExportReport
    from oxy_pg.migrate.report.report import MigrationReport
    from oxy_pg.project import Project
    from oxy_pg.report import Progress
    from oxy_pg.server.cluster.config import Settings
    from oxy_pg.server.upgrade.clusters import Upgrade
    from oxy_pg.transfer.backup.backup import BackupReport
    from oxy_pg.transfer.backup.manifest import Manifest
    from oxy_pg.transfer.backup.restore import RestoreReport
    from oxy_pg.transfer.report import TransferReport, UpgradeReport
    from oxy_pg.url import Driver

if os.name != "posix":
    raise ConfigurationError(
        "oxy_pg runs PostgreSQL on Linux and macOS. On Windows use it inside WSL 2."
    )

_used = _endpoint.Used(in_use)
# One handle for each way of asking, so that asking again finds its lease.
_servers: dict[object, _Handle] = {}


def ensure(
    database: str | None = None,
    *,
    state_dir: str | PathLike[str] | None = None,
    settings: Settings | None = None,
    extensions: Iterable[str] = (),
    keep_alive: float | None = None,
    port: int | None = None,
    driver: Driver | None = None,
    timeout: float = 60.0,
) -> str:
    """
    Return the URL of a running PostgreSQL with this database in it.

    With OXY_DATABASE_URL set it is that server's URL, after the server has
    been waited for and checked; ``state_dir``, ``settings``, ``keep_alive``
    and ``port`` are then ignored, so that the same line serves development
    and production. The first ``database`` that a process asks for is the one
    in the URL; OXY_DATABASE_URL_NAME is the URL of another one, and without it
    a second name is an error. Where OXY_DATABASE_URL names an embedded server
    (`oxy-pg run` sets it), ``database`` is a database of that server.
    Otherwise a PostgreSQL 16 is started under the state
    directory if none is running there; this process holds it until it exits.
    Called again it takes microseconds, and restarts a server that has stopped.
    From threads, forked children and any number of processes at once it
    returns the same server.

    ``database`` is created if it does not exist; its default is
    OXY_PG_DATABASE, the project's (``[tool.oxy-pg]`` in pyproject.toml), or
    ``oxy``. So it is for the other arguments. ``settings`` are PostgreSQL
    settings (``{"work_mem": "64MB"}``); a running server takes over those that
    a reload can apply, and a warning names the rest. ``extensions`` are
    created in the database. ``keep_alive`` is how many seconds the server
    stays up after its last user has gone (default OXY_PG_KEEP_ALIVE or 5;
    ``math.inf``: until stopped). ``port`` is the port on 127.0.0.1; by default
    any, and the same as last time if it is free. ``driver`` spells the URL for
    SQLAlchemy with that driver (``asyncpg``: ``postgresql+asyncpg://…``), or for
    Java (``jdbc``); by default it is ``postgresql://…``, which libpq and most
    drivers take. ``timeout`` is in seconds, for everything together.

    Raises ServerError (StartFailed, StartTimeout, LockTimeout, InitdbFailed,
    BinariesNotFound, VersionMismatch, ForeignDataDirectory, PortTaken,
    ExternalServerUnavailable, UnsupportedServer) or ConfigurationError.
    """
    timeout = checked_timeout(timeout)
    ours = project.of_working_directory()
    name = _defaults.database(database, ours)
    external_url = _endpoint.external_url(name)
    names = _defaults.extensions(extensions, ours)
    if external_url is not None:
        url = _ensure_external(external_url, database, name, settings, names, timeout)
    else:
        server = _server(state_dir, ours, settings, keep_alive, port)
        url = server.ensure_database(name, extensions=names, timeout=timeout)
        if state_dir is not None:
            _used.ensured.add(server.state_dir)
    return url if driver is None else _for_driver(url, driver)


def _for_driver(url: str, driver: Driver) -> str:
    from oxy_pg import url as urls

    # A server of ours asks for scram-sha-256, and what asks for the password in clear is another.
    ours = _endpoint.embedded_state_dir(url, in_use) is not None
    return urls.for_driver(url, driver, require_auth=ours)


def _ensure_external(
    url: str,
    asked: str | None,
    name: str,
    settings: Settings | None,
    extensions: tuple[str, ...],
    timeout: float,
) -> str:
    """Return the URL of a database of the server that the environment names."""
    from oxy_pg.server import external

    has_variable = environment.get(_endpoint.variable_of(name)) is not None
    own = None if asked is None or has_variable else _endpoint.embedded_state_dir(url, in_use)
    if own is not None and asked is not None and asked != external.database_of(url):
        # Set by `oxy-pg run` or `oxy-pg url`: a name means what it means without it.
        return _server(own, None).ensure_database(asked, extensions=extensions, timeout=timeout)
    if own is None and not has_variable:
        _refuse_second_name(url, name)
    if settings:
        import logging

        logging.getLogger("oxy_pg").warning(
            "settings are ignored for the external server that OXY_DATABASE_URL names"
        )
    return external.ensure(url, extensions, timeout)


# The name that this process has asked for first, for each external URL.
_names: dict[str, str] = {}


def _refuse_second_name(url: str, name: str) -> None:
    first = _names.setdefault(url, name)
    if first != name:
        raise ConfigurationError(
            f"OXY_DATABASE_URL names one database, which this process already uses as {first!r}, "
            f"and {name!r} would be the same one. Set {_endpoint.variable_of(name)} to the URL of "
            f"{name!r}, or use one name."
        )


def _server(
    state_dir: str | PathLike[str] | None,
    ours: Project | None,
    settings: Settings | None = None,
    keep_alive: float | None = None,
    port: int | None = None,
) -> _Handle:
    place = state_dir if state_dir is not None else environment.get("OXY_STATE_DIR")
    if place is not None and not os.path.isabs(place):
        place = os.path.abspath(os.path.expanduser(place))
    settings, port = _defaults.settings(settings, ours), _defaults.port(port, ours)
    keep_alive = _defaults.keep_alive(keep_alive, ours)
    key = (
        place if place is not None else (environment.get("HOME"), ours),
        None if settings is None else tuple(sorted(settings.items())),
        keep_alive if keep_alive is not None else environment.get("OXY_PG_KEEP_ALIVE"),
        port,
    )
    server = _servers.get(key)
    if server is None:
        project.refuse_embedded()
        project.warn_of_database_url()
        made = _Handle(state_dir, settings=settings, keep_alive=keep_alive, port=port)
        server = _servers.setdefault(key, made)
    return server


def temporary(
    *,
    settings: Settings | None = None,
    extensions: Iterable[str] = (),
    timeout: float = 60.0,
) -> AbstractContextManager[Server]:
    """
    Give a server of its own to a ``with`` block; nothing of it remains.

    It is fast because nothing on it would survive a crash (fsync is off), and
    because it is made from a cached template. A process that is killed leaves
    nothing either. ``settings``, ``extensions`` and ``timeout`` (seconds) are
    as for ``ensure()``.

    Raises what ``ensure()`` raises for an embedded server.
    """
    import contextlib

    def given() -> Iterator[Server]:
        from oxy_pg._server import TemporaryServer
        from oxy_pg.server import temporary as temporaries

        server = TemporaryServer(settings=settings)
        yield from temporaries.running(server, extensions, timeout)

    return contextlib.contextmanager(given)()


def migrate_sqlite(
    source: str | PathLike[str] | None = None,
    target: str | None = None,
    *,
    state_dir: str | PathLike[str] | None = None,
    database: str | None = None,
    tables: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    schema: Literal["auto", "create", "existing"] = "auto",
    casts: Mapping[str, str] | None = None,
    on_bad_value: Literal["error", "null", "skip"] = "error",
    on_orphan: Literal["error", "null", "skip"] = "error",
    on_change: Literal["stop", "accept"] = "stop",
    integers: Literal["bigint", "auto"] = "bigint",
    if_not_empty: Literal["error", "append", "truncate"] = "error",
    prepare: Callable[[str], object] | str | None = None,
    prepare_env: Mapping[str, str] | None = None,
    seeds: Literal["keep", "replace", "error"] | None = None,
    on_version_mismatch: Literal["error", "accept"] = "error",
    verify: Literal["counts", "full", "none"] = "full",
    dry_run: bool = False,
    rehearse: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    jobs: int = 2,
    timeout: float = 30.0,
) -> MigrationReport:
    """
    Migrate a SQLite database to PostgreSQL: all of it, or nothing.

    ``source`` is a path or a ``sqlite://`` URL, default ``db.sqlite`` in the
    state directory; it is opened read-only, and its bytes stay the same.
    ``target`` is a PostgreSQL URL, ``state_dir`` the state directory of an
    embedded server; by default it is OXY_DATABASE_URL, or else the default
    embedded server, and there ``database``.

    ``tables`` and ``exclude`` name tables of the source (``*`` matches).
    ``schema``: create the tables, fill existing ones, or decide for each
    table (``auto``). ``casts`` maps ``"table.column"`` to a PostgreSQL type.
    ``on_bad_value`` and ``on_orphan``: what to do with values that do not fit
    and with rows whose parent is missing. ``on_change``: what to do where
    PostgreSQL would round, cut or reread values. ``integers``: what INTEGER
    columns of new tables become, ``bigint``, or ``integer`` where all their
    values fit (``auto``). ``if_not_empty``: what to do with rows that the
    target already has. ``prepare`` creates the target's schema
    first: a callable that gets the URL, or a shell command with the environment
    of ``oxy-pg run``, and ``prepare_env``, in which ``{url}``, ``{url:driver}``,
    ``{host}``, ``{port}``, ``{user}``, ``{password}`` and ``{database}`` are
    filled in. A dry run tries it in a temporary database. ``seeds``: what to do
    with rows that it puts into empty tables; by default the source's rows
    replace them, in tables for which the source has any. ``on_version_mismatch``:
    what to do when it brings the target to another version than the source's.
    ``verify``: compare everything, row counts alone, or nothing, before the commit.
    ``dry_run`` writes nothing and reports every problem; ``rehearse`` does
    everything, verifies it and rolls it back, so that the target is as it was.
    ``on_progress`` is called on the way. ``jobs`` is how many processes read a source of more
    than 32 MB; ``timeout`` is how many seconds either side is waited for.

    Killed or cancelled at any moment it leaves the target as it was. Raises
    MigrationError (SourceUnreadable, TargetUnreachable, TargetNotEmpty,
    SchemaMismatch, UnclearTimes, BadValues, KeysInUse, OrphanRows, ChangedValues,
    VerificationFailed, TargetRefused, PreparationFailed),
    ConfigurationError, and for the embedded server what ``ensure()`` raises.
    """
    from oxy_pg import _server as data
    from oxy_pg import paths

    # With a target's URL, the state directory may still say where the source is.
    of_source = source is None and target is not None
    place = None if of_source else state_dir
    endpoint = _endpoint.resolve_for("migrate_sqlite", target, place, _used, database)
    path = f"{paths.state_dir(state_dir)}/db.sqlite" if source is None else source
    return data.migrate_sqlite(
        _data_server(endpoint),
        path,
        database=_defaults.database(database, project.of_working_directory()),
        tables=tables,
        exclude=exclude,
        schema=schema,
        casts=casts,
        on_bad_value=on_bad_value,
        on_orphan=on_orphan,
        on_change=on_change,
        integers=integers,
        if_not_empty=if_not_empty,
        prepare=prepare,
        prepare_env=prepare_env,
        seeds=seeds,
        on_version_mismatch=on_version_mismatch,
        verify=verify,
        dry_run=dry_run,
        rehearse=rehearse,
        on_progress=on_progress,
        jobs=jobs,
        timeout=checked_timeout(timeout),
    )


def _data_server(endpoint: Endpoint) -> _Handle | str:
    """Return what the verbs that move data work on: a URL, or an embedded server."""
    return (
        endpoint.url
        if endpoint.url is not None
        else _server(endpoint.state_dir, project.of_working_directory())
    )


# --- export to SQLite ---------------------------------------------------------------


def export_sqlite(
    path: str | PathLike[str],
    url: str | None = None,
    *,
    state_dir: str | PathLike[str] | None = None,
    database: str | None = None,
    tables: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    schemas: Sequence[str] | None = None,
    like: str | PathLike[str] | None = None,
    on_bad_value: Literal["error", "null"] = "error",
    force: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> ExportReport:
    """
    Export a database to one SQLite file, as of one moment, while it is in use.

    The way back from ``migrate_sqlite()``. ``path`` is the file, which must not
    exist unless ``force``; it appears complete or not at all, readable by its
    owner alone. ``url`` is the database; or ``state_dir`` names an embedded
    server, and ``database`` one of its databases. By default it is
    OXY_DATABASE_URL, or else the default embedded server. A process that has
    used another embedded server than that has to say which one it means.

    ``like`` is a SQLite file, which is only read: the one that was migrated. The
    new one then has its tables, indexes, triggers and views, and values in the
    form that they have there (UUIDs as bytes, times as text or numbers).
    Otherwise the schema is PostgreSQL's, with declared types that
    ``migrate_sqlite()`` reads back as the same types: keys, foreign keys, unique
    constraints, indexes, defaults and CHECKs, where SQLite has them. Tables of
    other schemas than public are called ``schema.table``.

    ``tables`` and ``exclude`` are names or patterns (``log_*``), ``schemas`` are
    those whose tables are exported, by default all. What SQLite has no place for
    is in the report's ``skipped``. Values that it cannot hold (NaN, times before
    the year 1 or after 9999) are looked for before the first write;
    ``on_bad_value`` says whether they stop the export or become NULL. ``dry_run``
    writes nothing and reports both. ``on_progress`` is called on the way;
    ``timeout`` is how many seconds the server is waited for at the beginning.

    Every value in the file is compared with what was read before it gets its
    name. Killed at any moment it leaves what was there. Raises ExportError
    (ExportRefused, BadExportValues, ExportDiffers), ConfigurationError, and for
    the embedded server what ``ensure()`` raises.
    """
    from oxy_pg import _server as data

    found = _data_server(_endpoint.resolve_for("export_sqlite", url, state_dir, _used, database))
    return data.export_sqlite(
        found if isinstance(found, str) else data.existing(found, "export"),
        path,
        database=_defaults.database(database, project.of_working_directory()),
        tables=tables,
        exclude=exclude,
        schemas=schemas,
        like=like,
        on_bad_value=on_bad_value,
        force=force,
        dry_run=dry_run,
        on_progress=on_progress,
        timeout=timeout,
    )


# --- backup and restore ----------------------------------------------------------------


def backup(
    path: str | PathLike[str],
    url: str | None = None,
    *,
    state_dir: str | PathLike[str] | None = None,
    database: str | None = None,
    keep: int | None = None,
    plain: bool = False,
    force: bool = False,
    schemas: Sequence[str] | None = None,
    exclude_schemas: Sequence[str] = (),
    check: bool = False,
    deep: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> BackupReport:
    """
    Back up a database into one file, as of one moment, while it is in use.

    ``path`` is the file, which must not exist unless ``force``; or a directory,
    in which each backup gets a name of its own: ``oxy-20260131T235959Z.dump``.
    It appears complete or not at all, readable by its owner alone. ``url`` is
    the database; or ``state_dir`` names an embedded server, and ``database``
    one of its databases. By default it is OXY_DATABASE_URL, or else the
    default embedded server. A process that has used another embedded server
    than that has to say which one it means.

    ``keep`` deletes older backups of the same database in that directory, all
    but that many, once the new one is safely in place. ``plain`` writes SQL, as
    ``.sql.gz``, instead of pg_dump's custom format. ``schemas`` backs up these
    alone, without large objects; ``exclude_schemas`` all but these, for those
    that belong to a provider. With ``check`` the new backup is checked before
    older ones are deleted, and with ``deep`` restored as ``check_backup()`` does
    it. ``on_progress`` is called on the way. ``timeout`` is how many seconds the
    server is waited for at the beginning; the backup itself takes as long as it
    takes.

    It holds all objects and rows; not the roles, nor other databases. At its
    end stands a manifest with the versions, every table's number of rows, and
    the SHA-256; pg_restore and zcat ignore it. pg_dump must be of the server's
    version or newer, and the best one on this machine is used.

    Raises TransferError (ToolsNotFound, BackupExists, RightsMissing,
    TransferRefused), ConfigurationError, and for the embedded server what ``ensure()`` raises.
    """
    from oxy_pg import _server as data

    found = _data_server(_endpoint.resolve_for("backup", url, state_dir, _used, database))
    return data.backup(
        found if isinstance(found, str) else data.existing(found, "back up"),
        path,
        database=_defaults.database(database, project.of_working_directory()),
        keep=keep,
        plain=plain,
        force=force,
        schemas=schemas,
        exclude_schemas=exclude_schemas,
        verify=(lambda made: check_backup(made, deep=deep)) if check or deep else None,
        on_progress=on_progress,
        timeout=checked_timeout(timeout),
    )


def restore(
    path: str | PathLike[str],
    url: str | None = None,
    *,
    state_dir: str | PathLike[str] | None = None,
    database: str | None = None,
    keep_old: bool = False,
    in_place: bool = False,
    clean: bool = False,
    jobs: int | None = None,
    search_path: str | None = None,
    confirm: Callable[[str], bool] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> RestoreReport:
    """
    Restore a backup; the database is always either the old one or the new one.

    ``url`` is the database to restore into; or ``state_dir`` names an embedded
    server, and ``database`` one of its databases, by default the one that was
    backed up. By default it is OXY_DATABASE_URL, or else the default embedded
    server; a process that has used another embedded server than that has to
    say which one it means. The database need not exist. The backup is checked
    first, down to its SHA-256. It is loaded into a new database alongside,
    whose row counts are compared with the manifest; then the two are renamed
    in one transaction. Sessions of the old one are ended. It is dropped, or
    with ``keep_old`` kept under another name. Everything belongs to the URL's
    role; privileges are not restored.

    That needs a role with CREATEDB which owns the old database. ``in_place`` is
    for one without it: the backup is loaded into the database itself, which has
    to be empty, in one transaction; with ``clean``, what is in the backup is
    dropped first. ``jobs`` is how many tables and indexes pg_restore works on at
    a time (default: the processors, 4 at most). ``search_path``, such as
    "public, extensions", is what functions have until the end that have none of
    their own: for materialized views, indexes, CHECKs and generated columns
    whose functions name tables without their schema. ``confirm`` is asked before
    something is replaced, and may decline. ``on_progress`` is called on the way,
    and ``timeout`` is how many seconds the server is waited for once the backup
    has been checked.

    Raises TransferError (NotABackup, BackupDamaged, BackupTooNew, CountsDiffer,
    ToolsNotFound, TransferRefused), ConfigurationError, and for the embedded
    server what ``ensure()`` raises.
    """
    from oxy_pg import _server as data

    return data.restore(
        _data_server(_endpoint.resolve_for("restore", url, state_dir, _used, database)),
        path,
        database=database,
        keep_old=keep_old,
        in_place=in_place,
        clean=clean,
        jobs=jobs,
        search_path=search_path,
        confirm=confirm,
        on_progress=on_progress,
        timeout=checked_timeout(timeout),
    )


def check_backup(
    path: str | PathLike[str],
    *,
    deep: bool = False,
    search_path: str | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> Manifest:
    """
    Return the manifest of a backup that is intact and readable; needs no server.

    With ``deep`` it is also restored, into a temporary server, where the rows
    of all tables are counted; that takes as long as a restore, and as much
    space as the database. ``search_path`` is as for ``restore()``.

    Raises NotABackup, BackupDamaged, BackupTooNew, ToolsNotFound and
    ConfigurationError; with ``deep`` what ``restore()`` and ``temporary()``
    raise, too.
    """
    from oxy_pg.transfer.backup import restore as restores

    found = restores.check(os.fspath(path), on_progress)
    if deep:
        from oxy_pg import _server as data

        data.try_out(os.fspath(path), search_path, on_progress)
    return found


# --- push, pull and upgrade -------------------------------------------------------------


def push(
    target: str,
    *,
    state_dir: str | PathLike[str] | None = None,
    database: str | None = None,
    schemas: Sequence[str] | None = None,
    if_not_empty: Literal["error", "replace"] = "error",
    swap: bool = False,
    jobs: int = 2,
    search_path: str | None = None,
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> TransferReport:
    """
    Copy a database of the embedded server to another PostgreSQL, as of one moment.

    ``state_dir`` names the embedded server, by default that of the default
    state directory; a process that has used another one has to say which it
    means. ``target`` is the URL of an existing database on any PostgreSQL from
    14 on; an ordinary role is enough, also through a pooler in transaction
    mode. Everything belongs to that role afterwards; privileges, publications
    and event triggers are left out. It is one transaction: a reader of the
    target sees what was there, or all that has arrived. Every table's rows are
    counted on both sides before the commit.

    ``schemas`` takes these alone. ``if_not_empty``: what to do when the target
    has something in the schemas that are copied; ``replace`` drops it first, in
    the same transaction, and leaves other schemas alone. With ``swap`` all goes
    into a new database alongside, ``jobs`` tables at a time, which then takes
    the name, and the old one is dropped with all that was in it: faster, but the
    role needs CREATEDB and must own the old one, and its sessions are ended.
    ``search_path`` is as for ``restore()``.
    ``dry_run`` writes nothing, and reports tables, rows, what would be
    replaced, and every problem. ``on_progress`` is called on the way;
    ``timeout`` is how many seconds the two servers are waited for, both together,
    before the copy begins.

    Raises TransferError (DatabaseNotEmpty, ExtensionsMissing, RightsMissing,
    ToolsNotFound, ToolFailed, TransferRefused, CountsDiffer),
    ConfigurationError, and for the embedded server what ``ensure()`` raises.
    """
    from oxy_pg import _server as data

    return data.push(
        _embedded("push", state_dir),
        target,
        database=_defaults.database(database, project.of_working_directory()),
        schemas=schemas,
        if_not_empty=if_not_empty,
        swap=swap,
        jobs=jobs,
        search_path=search_path,
        dry_run=dry_run,
        on_progress=on_progress,
        timeout=checked_timeout(timeout),
    )


def pull(
    source: str,
    *,
    state_dir: str | PathLike[str] | None = None,
    database: str | None = None,
    schemas: Sequence[str] | None = None,
    if_not_empty: Literal["error", "replace"] = "error",
    jobs: int = 2,
    search_path: str | None = None,
    dry_run: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 30.0,
) -> TransferReport:
    """
    Copy a database from another PostgreSQL into the embedded server, as of one moment.

    ``source`` is its URL, on any PostgreSQL from 14 on; the role has to be able
    to read everything, and nothing is written there. ``state_dir`` names the
    embedded server, by default that of the default state directory; a process
    that has used another one has to say which it means. The copy goes into a
    new database alongside, ``jobs`` tables at a time, whose rows are counted;
    then that takes the name of ``database``. Sessions of the old one are ended,
    and it is dropped. Everything belongs to the role ``oxy``; privileges,
    publications and event triggers are left out.

    ``if_not_empty``: what to do when ``database`` has something in it; by
    default it stays as it is. The other arguments, and what is raised, are
    those of ``push()``, and NotEnoughSpace. pg_dump must be of the source's
    version or newer, and the best one on this machine is used.
    """
    from oxy_pg import _server as data

    return data.pull(
        _embedded("pull", state_dir),
        source,
        database=_defaults.database(database, project.of_working_directory()),
        schemas=schemas,
        if_not_empty=if_not_empty,
        jobs=jobs,
        search_path=search_path,
        dry_run=dry_run,
        on_progress=on_progress,
        timeout=checked_timeout(timeout),
    )


def _embedded(verb: str, state_dir: str | PathLike[str] | None) -> _Handle:
    """Return the embedded server whose data a verb copies, also with OXY_DATABASE_URL set."""
    found = _endpoint.embedded_for(verb, state_dir, _used)
    return _server(found.state_dir, project.of_working_directory())


def upgrade(
    state_dir: str | PathLike[str] | None = None,
    *,
    old_bin_dir: str | PathLike[str] | None = None,
    discard_old: bool = False,
    jobs: int = 2,
    search_path: str | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    timeout: float = 60.0,
) -> UpgradeReport:
    """
    Move a state directory's cluster from another major version of PostgreSQL to this one.

    Both run for this process alone meanwhile. Roles with their passwords,
    databases with their owners, extensions, rows, and what ALTER SYSTEM has set
    come along; every table's rows are counted on both sides. Then the new
    cluster takes the place of the old one, which is kept beside it
    (``postgresdata.old-18``) until a call with ``discard_old``. Killed at
    any moment it leaves the old state or the new one, and the next call goes on from
    there. A cluster of this version is left alone.

    ``old_bin_dir`` is the ``bin`` directory of the old version, where it is not
    found by itself. ``jobs`` is how many tables are copied at a time, and
    ``search_path`` is as for ``restore()``.
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
    from oxy_pg.server.upgrade import swap
    from oxy_pg.transfer.parts import functions

    project.refuse_embedded()
    if jobs < 1:
        raise ConfigurationError(f"jobs is {jobs!r}; it is a number of jobs, 1 or more.")
    functions.names(search_path)
    began = time.monotonic()
    state = paths.StateDir(paths.state_dir(state_dir))
    given = None if old_bin_dir is None else os.fspath(old_bin_dir)
    with upgrades.begin(state, given, checked_timeout(timeout)) as work:
        report = _upgraded(state.data_dir, work, jobs, on_progress or _ignore, search_path)
    if discard_old:
        discarded = swap.discard_old(state)
        report = dataclasses.replace(report, kept=None, discarded=tuple(discarded))
    return dataclasses.replace(report, seconds=time.monotonic() - began)


def _upgraded(
    data_dir: str,
    work: Upgrade | None,
    jobs: int,
    on_progress: Callable[[Progress], object],
    search_path: str | None,
) -> UpgradeReport:
    """Do the work, if there is any; the server's side of it, and the data's."""
    from oxy_pg.report import Progress
    from oxy_pg.transfer.copy import clusters
    from oxy_pg.transfer.report import UpgradeReport

    if work is None:
        return UpgradeReport(data_dir, done=False, old_version="", new_version="")
    work.check_space()
    on_progress(Progress("start"))
    with work.old_server() as old:
        altered = work.old_settings()
        programs = work.old_binaries
        plan = clusters.plan(old, programs.bin_dir, programs.version, on_progress)
        work.make_new(checksums=work.has_checksums())
        with work.new_server(bulk=True) as new:
            clusters.check_extensions(plan, new)
            clusters.check_icu(plan, new)
            copied = clusters.copy(plan, new, work.cluster.dump, jobs, on_progress, search_path)
            skipped = work.carry_settings(altered)
    on_progress(Progress("restart"))
    with work.new_server(bulk=False) as new:
        databases = clusters.verify(plan, copied, new, on_progress)
    on_progress(Progress("swap"))
    kept = work.swap()
    on_progress(Progress("done"))
    return UpgradeReport(
        data_dir,
        done=True,
        old_version=work.old_binaries.version,
        new_version=work.new_binaries.version,
        databases=databases,
        skipped=(*copied.skipped, *skipped),
        kept=kept,
    )


def _ignore(_: object) -> None:
    pass
