"""
``Server`` as the package exports it: the handle, with the verbs that move data.

This is where the wings meet: a server's URL is handed to what moves the data.
The functions do it for an embedded server, or for the URL of another one.
"""

from __future__ import annotations

import contextlib
import os

from oxy_pg import _defaults, project
from oxy_pg.errors import ConfigurationError
from oxy_pg.facts import DATABASE
from oxy_pg.server import place
from oxy_pg.server.server import Server as Handle
from oxy_pg.server.temporary import TemporaryServer as TemporaryHandle
from oxy_pg.server.temporary import running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from os import PathLike
    from typing import Any, Literal, TypedDict, Unpack

    from oxy_pg.export.report import ExportReport
    from oxy_pg.migrate.report.report import MigrationReport
    from oxy_pg.report import Progress
    from oxy_pg.transfer.backup.backup import BackupReport
    from oxy_pg.transfer.backup.restore import RestoreReport
    from oxy_pg.transfer.report import TransferReport
    from oxy_pg.transfer.snapshots import Snapshot

    # What each option means stands with the function of the same name in ``_api``.

    class BackupOptions(TypedDict, total=False):
        """The options of ``backup()``."""

        database: str
        keep: int | None
        plain: bool
        force: bool
        schemas: Sequence[str] | None
        exclude_schemas: Sequence[str]
        verify: Callable[[str], object] | None
        on_progress: Callable[[Progress], object] | None
        timeout: float

    class RestoreOptions(TypedDict, total=False):
        """The options of ``restore()``."""

        database: str | None
        keep_old: bool
        in_place: bool
        clean: bool
        jobs: int | None
        search_path: str | None
        confirm: Callable[[str], bool] | None
        on_progress: Callable[[Progress], object] | None
        timeout: float

    class ExportOptions(TypedDict, total=False):
        """The options of ``export_sqlite()``."""

        database: str
        tables: Sequence[str] | None
        exclude: Sequence[str]
        schemas: Sequence[str] | None
        like: str | PathLike[str] | None
        on_bad_value: Literal["error", "null"]
        force: bool
        dry_run: bool
        on_progress: Callable[[Progress], object] | None
        timeout: float

    class PullOptions(TypedDict, total=False):
        """The options of ``pull()``."""

        database: str
        schemas: Sequence[str] | None
        if_not_empty: Literal["error", "replace"]
        jobs: int
        search_path: str | None
        dry_run: bool
        on_progress: Callable[[Progress], object] | None
        timeout: float

    class PushOptions(PullOptions, total=False):
        """The options of ``push()``."""

        swap: bool

    class MigrationOptions(TypedDict, total=False):
        """The options of ``migrate_sqlite()``."""

        database: str
        tables: Sequence[str] | None
        exclude: Sequence[str]
        schema: Literal["auto", "create", "existing"]
        casts: Mapping[str, str] | None
        on_bad_value: Literal["error", "null", "skip"]
        on_orphan: Literal["error", "null", "skip"]
        on_change: Literal["stop", "accept"]
        integers: Literal["bigint", "auto"]
        if_not_empty: Literal["error", "append", "truncate"]
        prepare: Callable[[str], object] | str | None
        prepare_env: Mapping[str, str] | None
        seeds: Literal["keep", "replace", "error"] | None
        on_version_mismatch: Literal["error", "accept"]
        verify: Literal["counts", "full", "none"]
        dry_run: bool
        rehearse: bool
        on_progress: Callable[[Progress], object] | None
        jobs: int
        timeout: float


class Server(Handle):
    """
    The embedded PostgreSQL of one state directory; creating a ``Server`` touches nothing.

    A ``Server`` that has started the server holds it: it stays up until
    ``stop()``, or until ``keep_alive`` seconds after its last user has gone.
    Users are all processes that hold it, and all clients that are connected.
    As a context manager it starts the server, and releases it at the end.
    ``backup()``, ``restore()``, ``push()``, ``pull()``, ``migrate_sqlite()`` and
    ``export_sqlite()`` mean this server, also with OXY_DATABASE_URL set.

    ``state_dir``: where the data is; default OXY_STATE_DIR, or the user's data
    directory. ``settings``: PostgreSQL settings such as ``{"work_mem": "64MB"}``;
    None keeps the previous ones. ``keep_alive``: seconds; default
    OXY_PG_KEEP_ALIVE, or 5; ``math.inf`` keeps it until it is stopped.
    ``port``: the TCP port on 127.0.0.1; default the previous one if it is free,
    else any.

    It is safe to use from any number of threads, and after a fork. Raises
    ConfigurationError for an invalid setting, path or time.
    """

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """
        Create a database that belongs to the role ``oxy``, with the project's extensions.

        They are those of OXY_PG_EXTENSIONS or ``[tool.oxy-pg]`` in
        pyproject.toml. ``template`` is the database to copy; no client may be
        connected to it. Raises ConfigurationError when the name is taken or not
        possible, the template does not exist or an extension is not available,
        and ServerError, at once, with those who are connected to the template.
        """
        extensions = _project_extensions()
        super().create_database(name, template=template)
        if extensions:
            try:
                self.ensure_database(name, extensions=extensions)
            except BaseException:
                self.drop_database(name)
                raise

    def backup(self, path: str | PathLike[str], **options: Unpack[BackupOptions]) -> BackupReport:
        """Back up a database of this server; otherwise as ``oxy_pg.backup()``."""
        return backup(existing(self, "back up"), path, **options)

    def restore(
        self, path: str | PathLike[str], **options: Unpack[RestoreOptions]
    ) -> RestoreReport:
        """Restore a backup into this server; otherwise as ``oxy_pg.restore()``."""
        return restore(self, path, **options)

    def push(self, target: str, **options: Unpack[PushOptions]) -> TransferReport:
        """Copy a database of this server to another one; otherwise as ``oxy_pg.push()``."""
        return push(self, target, **options)

    def pull(self, source: str, **options: Unpack[PullOptions]) -> TransferReport:
        """Copy a database from elsewhere into this server; otherwise as ``oxy_pg.pull()``."""
        return pull(self, source, **options)

    def migrate_sqlite(
        self, source: str | PathLike[str], **options: Unpack[MigrationOptions]
    ) -> MigrationReport:
        """Migrate a SQLite database to this server; otherwise as ``oxy_pg.migrate_sqlite()``."""
        return migrate_sqlite(self, source, **options)

    def export_sqlite(
        self, path: str | PathLike[str], **options: Unpack[ExportOptions]
    ) -> ExportReport:
        """Export a database of this server to a file; otherwise as ``oxy_pg.export_sqlite()``."""
        return export_sqlite(existing(self, "export"), path, **options)

    # --- snapshots ---

    def snapshot(
        self,
        name: str | None = None,
        *,
        database: str = DATABASE,
        force: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Snapshot:
        """
        Make a snapshot of a database: a copy on this server, to which ``rewind()`` goes back.

        ``name`` is by default the git branch of the working directory, or else the
        database, and the time in UTC: ``main-20260131-235959``. PostgreSQL copies no
        database that somebody is connected to: sessions that are idle are ended;
        those at work are an error, or with ``force`` are ended too. New ones wait
        until the copy is made. Killed at any moment, the snapshot is there or not.
        ``on_progress`` is called, in a thread of its own, while a copy is made that
        takes more than half a second.

        Raises ConfigurationError for a name that is taken, TransferRefused, and what
        ``start()`` raises.
        """
        from oxy_pg.transfer import snapshots

        chosen = name
        if chosen is None:
            from oxy_pg.transfer import git

            chosen = snapshots.default_name(database, git.branch(os.getcwd()))
        snapshots.check_name(chosen)
        url = existing(self, "make a snapshot").superuser_url()
        return snapshots.make(url, database, chosen, force=force, on_progress=on_progress)

    def snapshots(self, database: str | None = None) -> tuple[Snapshot, ...]:
        """
        Return the snapshots of a database, by default of all, the newest first.

        They are not among ``databases()``. Raises TransferRefused, and what
        ``start()`` raises.
        """
        from oxy_pg.transfer import snapshots

        return snapshots.listed(existing(self, "list snapshots").superuser_url(), database)

    def rewind(
        self,
        name: str,
        *,
        database: str = DATABASE,
        keep: bool = True,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Snapshot:
        """
        Put a database back to what it was in a snapshot; the snapshot stays, and is returned.

        A copy of the snapshot takes the name of the database, whose sessions are
        ended. With ``keep`` what the database was is a snapshot afterwards, called
        ``before-rewind``, so that a rewind can be undone; else it is dropped. Settings
        and privileges of the database itself stay as they are. Killed at any moment,
        the database is the old one or the new one. ``on_progress`` is as for
        ``snapshot()``.

        Raises ConfigurationError for a snapshot that does not exist, TransferRefused,
        and what ``start()`` raises.
        """
        from oxy_pg.transfer import snapshots

        url = existing(self, "rewind").superuser_url()
        return snapshots.rewind(url, database, name, keep=keep, on_progress=on_progress)

    def delete_snapshot(self, name: str, *, database: str = DATABASE) -> None:
        """
        Delete a snapshot of a database.

        Raises ConfigurationError for one that does not exist, TransferRefused, and
        what ``start()`` raises.
        """
        from oxy_pg.transfer import snapshots

        url = existing(self, "delete a snapshot").superuser_url()
        snapshots.delete(url, database, name)


class TemporaryServer(Server, TemporaryHandle):
    """The server of ``temporary()``; nothing of it remains."""


def _project_extensions() -> tuple[str, ...]:
    """Return the extensions that every database of the project has."""
    return _defaults.extensions((), project.of_working_directory())


def existing(server: Handle, what: str) -> Handle:
    """Return the server; ConfigurationError where nothing was ever started there."""
    if server.status().state == "uninitialized":
        raise ConfigurationError(
            f"Failed to {what} from {server.state_dir}: no server has been started there yet. "
            "Name another state directory with OXY_STATE_DIR, state_dir= or --state-dir, or a "
            "server with its URL."
        )
    return server


def backup(
    server: Handle | str, path: str | PathLike[str], *, database: str = DATABASE, **options: Any
) -> BackupReport:
    """Back up a database of the embedded server, or the one that a URL names."""
    from oxy_pg.transfer.backup import backup as backups

    if isinstance(server, str):
        return backups.backup(os.fspath(path), server, **options)
    return backups.backup(
        os.fspath(path),
        # Not as superuser: functions in the database run with the rights of the role that reads.
        server.reader_url(database),
        server=f"the embedded server in {server.state_dir}",
        **options,
    )


def try_out(path: str, search_path: str | None, on_progress: Any) -> None:
    """Restore a backup into a temporary server, which compares the row counts."""
    # A backup may be larger than the memory.
    server = TemporaryHandle(place=place.choose(is_large=True))
    with contextlib.contextmanager(running)(server, (), 60.0) as server:
        restore(
            server,
            path,
            database=DATABASE,
            search_path=search_path,
            on_progress=on_progress,
        )


def restore(
    server: Handle | str,
    path: str | PathLike[str],
    *,
    database: str | None = None,
    in_place: bool = False,
    **options: Any,
) -> RestoreReport:
    """Restore into the embedded server, or into the database that a URL names."""
    from oxy_pg.transfer.backup import manifest
    from oxy_pg.transfer.backup import restore as restores

    if isinstance(server, str):
        return restores.restore(os.fspath(path), server, in_place=in_place, **options)
    name = database or manifest.read(os.path.expanduser(os.fspath(path))).database
    url = server.ensure_database(name) if in_place else server.url(name)
    return restores.restore(
        os.fspath(path),
        url,
        superuser_url=server.superuser_url(),
        reader_url=server.reader_url(),
        in_place=in_place,
        **options,
    )


def push(
    server: Handle,
    target: str,
    *,
    database: str = DATABASE,
    schemas: Sequence[str] | None = None,
    if_not_empty: Literal["error", "replace"] = "error",
    swap: bool = False,
    jobs: int = 2,
    search_path: str | None = None,
    dry_run: bool = False,
    on_progress: Any = None,
    timeout: float = 30.0,
) -> TransferReport:
    """Copy a database of the embedded server to the one that a URL names."""
    from oxy_pg.url import plain

    plain(target, "--to", needed=True)  # before a server is looked for
    existing(server, "push")
    from oxy_pg.transfer.copy import copy_database
    from oxy_pg.transfer.copy.copy_plan import Order

    order = Order(
        "push",
        server.reader_url(database),
        target,
        shown=server.url(database),
        schemas=None if schemas is None else tuple(schemas),
        if_not_empty=if_not_empty,
        alongside=swap,
        jobs=jobs,
        search_path=search_path,
        timeout=timeout,
    )
    return copy_database.run(order, dry_run=dry_run, on_progress=on_progress)


def pull(
    server: Handle,
    source: str,
    *,
    database: str = DATABASE,
    schemas: Sequence[str] | None = None,
    if_not_empty: Literal["error", "replace"] = "error",
    jobs: int = 2,
    search_path: str | None = None,
    dry_run: bool = False,
    on_progress: Any = None,
    timeout: float = 30.0,
) -> TransferReport:
    """Copy the database that a URL names into the embedded server."""
    from oxy_pg.transfer.copy import copy_database
    from oxy_pg.transfer.copy.copy_plan import Order

    with _or_an_empty_one(server, dry_run=dry_run) as chosen:
        order = Order(
            "pull",
            source,
            chosen.url(database),
            superuser=chosen.superuser_url(),
            target_dir=str(chosen.status().data_dir) if chosen is server else None,
            schemas=None if schemas is None else tuple(schemas),
            if_not_empty=if_not_empty,
            alongside=True,
            jobs=jobs,
            search_path=search_path,
            timeout=timeout,
        )
        return copy_database.run(order, dry_run=dry_run, on_progress=on_progress)


def migrate_sqlite(
    server: Handle | str,
    source: str | PathLike[str],
    *,
    database: str = DATABASE,
    dry_run: bool = False,
    rehearse: bool = False,
    **options: Any,
) -> MigrationReport:
    """Migrate a SQLite database to the embedded server, or to the database that a URL names."""
    from oxy_pg.migrate.migration import migrate
    from oxy_pg.migrate.source import database as sources

    path = os.fspath(source)
    sources.refuse_other_files(sources.path_of(path))  # before a server is made for it
    scratch = None if project.embedded_is_forbidden() else _scratch
    how = {"dry_run": dry_run, "rehearse": rehearse, "scratch": scratch, **options}
    if isinstance(server, str):
        return migrate(path, server, **how)
    with _or_an_empty_one(server, dry_run=dry_run or rehearse) as chosen:
        # A command that prepares the target (`alembic upgrade head`) may ask for them.
        url = chosen.ensure_database(database, extensions=_project_extensions())
        return migrate(path, url, **how)


def export_sqlite(
    server: Handle | str,
    path: str | PathLike[str],
    *,
    database: str = DATABASE,
    like: str | PathLike[str] | None = None,
    on_progress: Any = None,
    **options: Any,
) -> ExportReport:
    """Export a database of the embedded server, or the one that a URL names, to SQLite."""
    from oxy_pg.export.export import Order, export

    # Not as superuser: functions in the database run with the rights of the role that reads.
    url = server if isinstance(server, str) else server.reader_url(database)
    order = Order(
        os.path.abspath(os.path.expanduser(os.fspath(path))),
        url,
        like=None if like is None else os.path.abspath(os.path.expanduser(os.fspath(like))),
        **options,
    )
    return export(order, on_progress)


@contextlib.contextmanager
def _scratch(extensions: Sequence[str]) -> Iterator[str]:
    """Give an empty database of a temporary server, with those of the extensions that it has."""
    from oxy_pg.server.cluster import binaries

    installed = binaries.find().extensions()
    wanted = [name for name in extensions if name in installed]
    with contextlib.contextmanager(running)(TemporaryHandle(), wanted, 60.0) as server:
        yield server.ensure_database(DATABASE)


@contextlib.contextmanager
def _or_an_empty_one(server: Handle, *, dry_run: bool) -> Iterator[Handle]:
    """
    Give the server, or a temporary one in its place.

    A dry run or a rehearsal leaves nothing behind, not even an empty cluster.
    """
    if dry_run and server.status().state == "uninitialized":
        yield from running(TemporaryHandle(), (), 60.0)
    else:
        yield server
