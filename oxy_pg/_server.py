"""``Server`` as the package exports it: the handle, with the verbs that move data."""

from __future__ import annotations

from oxy_pg import _data
from oxy_pg.server import server, temporary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Unpack

    from oxy_pg._options import (
        BackupOptions,
        MigrationOptions,
        PullOptions,
        PushOptions,
        RestoreOptions,
    )
    from oxy_pg.migrate.report.report import MigrationReport
    from oxy_pg.transfer.backup.backup import BackupReport
    from oxy_pg.transfer.backup.restore import RestoreReport
    from oxy_pg.transfer.report import TransferReport


class Server(server.Server):
    __doc__ = server.Server.__doc__

    def backup(self, path: str | PathLike[str], **options: Unpack[BackupOptions]) -> BackupReport:
        """Back up a database of this server; otherwise as ``oxy_pg.backup()``."""
        return _data.backup(_data.existing(self, "back up"), path, **options)

    def restore(
        self, path: str | PathLike[str], **options: Unpack[RestoreOptions]
    ) -> RestoreReport:
        """Restore a backup into this server; otherwise as ``oxy_pg.restore()``."""
        return _data.restore(self, path, **options)

    def push(self, target: str, **options: Unpack[PushOptions]) -> TransferReport:
        """Copy a database of this server to another one; otherwise as ``oxy_pg.push()``."""
        return _data.push(_data.existing(self, "push"), target, **options)

    def pull(self, source: str, **options: Unpack[PullOptions]) -> TransferReport:
        """Copy a database from elsewhere into this server; otherwise as ``oxy_pg.pull()``."""
        return _data.pull(self, source, **options)

    def migrate_sqlite(
        self, source: str | PathLike[str], **options: Unpack[MigrationOptions]
    ) -> MigrationReport:
        """Migrate a SQLite database to this server; otherwise as ``oxy_pg.migrate_sqlite()``."""
        return _data.migrate_sqlite(self, source, **options)


class TemporaryServer(Server, temporary.TemporaryServer):
    """The server of ``temporary()``."""
