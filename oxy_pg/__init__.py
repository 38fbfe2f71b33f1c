"""
A real PostgreSQL 16 with the convenience of SQLite.

``oxy_pg.ensure()`` returns a running server's URL, ``oxy_pg.migrate_sqlite()``
migrates a SQLite database, ``oxy_pg.backup()`` and ``oxy_pg.restore()`` keep a
database safe, ``oxy_pg.push()`` and ``oxy_pg.pull()`` copy it to another server
and back. Importing this package starts nothing, writes nothing, and loads a
name only when it is used.
"""

from oxy_pg.facts import __version__ as __version__

TYPE_CHECKING = False  # spelled out: importing typing would take longer than all the rest
if TYPE_CHECKING:
    from oxy_pg._api import backup as backup
    from oxy_pg._api import check_backup as check_backup
    from oxy_pg._api import ensure as ensure
    from oxy_pg._api import export_sqlite as export_sqlite
    from oxy_pg._api import migrate_sqlite as migrate_sqlite
    from oxy_pg._api import pull as pull
    from oxy_pg._api import push as push
    from oxy_pg._api import restore as restore
    from oxy_pg._api import temporary as temporary
    from oxy_pg._api import upgrade as upgrade
    from oxy_pg._server import Server as Server
    from oxy_pg.errors import BackupDamaged as BackupDamaged
    from oxy_pg.errors import BackupExists as BackupExists
    from oxy_pg.errors import BackupTooNew as BackupTooNew
    from oxy_pg.errors import BadExportValues as BadExportValues
    from oxy_pg.errors import BadValues as BadValues
    from oxy_pg.errors import BinariesNotFound as BinariesNotFound
    from oxy_pg.errors import BinariesRefused as BinariesRefused
    from oxy_pg.errors import ChangedValues as ChangedValues
    from oxy_pg.errors import ConfigurationError as ConfigurationError
    from oxy_pg.errors import CountsDiffer as CountsDiffer
    from oxy_pg.errors import DatabaseNotEmpty as DatabaseNotEmpty
    from oxy_pg.errors import ExportDiffers as ExportDiffers
    from oxy_pg.errors import ExportError as ExportError
    from oxy_pg.errors import ExportRefused as ExportRefused
    from oxy_pg.errors import ExtensionsMissing as ExtensionsMissing
    from oxy_pg.errors import ExternalServerUnavailable as ExternalServerUnavailable
    from oxy_pg.errors import ForeignDataDirectory as ForeignDataDirectory
    from oxy_pg.errors import InitdbFailed as InitdbFailed
    from oxy_pg.errors import KeysInUse as KeysInUse
    from oxy_pg.errors import LockTimeout as LockTimeout
    from oxy_pg.errors import MigrationError as MigrationError
    from oxy_pg.errors import NotABackup as NotABackup
    from oxy_pg.errors import NotEnoughSpace as NotEnoughSpace
    from oxy_pg.errors import OrphanRows as OrphanRows
    from oxy_pg.errors import OxyPgError as OxyPgError
    from oxy_pg.errors import PortTaken as PortTaken
    from oxy_pg.errors import PreparationFailed as PreparationFailed
    from oxy_pg.errors import RightsMissing as RightsMissing
    from oxy_pg.errors import SchemaMismatch as SchemaMismatch
    from oxy_pg.errors import ServerError as ServerError
    from oxy_pg.errors import SourceUnreadable as SourceUnreadable
    from oxy_pg.errors import StartFailed as StartFailed
    from oxy_pg.errors import StartTimeout as StartTimeout
    from oxy_pg.errors import TargetNotEmpty as TargetNotEmpty
    from oxy_pg.errors import TargetRefused as TargetRefused
    from oxy_pg.errors import TargetUnreachable as TargetUnreachable
    from oxy_pg.errors import ToolFailed as ToolFailed
    from oxy_pg.errors import ToolsNotFound as ToolsNotFound
    from oxy_pg.errors import TransferError as TransferError
    from oxy_pg.errors import TransferRefused as TransferRefused
    from oxy_pg.errors import UnclearTimes as UnclearTimes
    from oxy_pg.errors import UnsupportedServer as UnsupportedServer
    from oxy_pg.errors import UpgradeFailed as UpgradeFailed
    from oxy_pg.errors import VerificationFailed as VerificationFailed
    from oxy_pg.errors import VersionMismatch as VersionMismatch
    from oxy_pg.export.report import ExportedColumn as ExportedColumn
    from oxy_pg.export.report import ExportedTable as ExportedTable
    from oxy_pg.export.report import ExportReport as ExportReport
    from oxy_pg.migrate.report.report import MigrationReport as MigrationReport
    from oxy_pg.migrate.report.values import Change as Change
    from oxy_pg.migrate.report.values import ColumnReport as ColumnReport
    from oxy_pg.migrate.report.values import Compared as Compared
    from oxy_pg.migrate.report.values import Count as Count
    from oxy_pg.migrate.report.values import Problem as Problem
    from oxy_pg.migrate.report.values import SeedReport as SeedReport
    from oxy_pg.migrate.report.values import SequenceReport as SequenceReport
    from oxy_pg.migrate.report.values import TableReport as TableReport
    from oxy_pg.migrate.report.values import Unexamined as Unexamined
    from oxy_pg.migrate.report.values import Verification as Verification
    from oxy_pg.report import BadValue as BadValue
    from oxy_pg.report import NumberGroup as NumberGroup
    from oxy_pg.report import Orphans as Orphans
    from oxy_pg.report import Progress as Progress
    from oxy_pg.report import Skipped as Skipped
    from oxy_pg.report import UnclearTime as UnclearTime
    from oxy_pg.report import ValueChange as ValueChange
    from oxy_pg.server.cluster.config import Settings as Settings
    from oxy_pg.server.monitor.status import Database as Database
    from oxy_pg.server.monitor.status import Installation as Installation
    from oxy_pg.server.monitor.status import Status as Status
    from oxy_pg.transfer.backup.backup import BackupReport as BackupReport
    from oxy_pg.transfer.backup.manifest import Manifest as Manifest
    from oxy_pg.transfer.backup.restore import RestoreReport as RestoreReport
    from oxy_pg.transfer.contents import Extension as Extension
    from oxy_pg.transfer.contents import TableRows as TableRows
    from oxy_pg.transfer.report import MovedDatabase as MovedDatabase
    from oxy_pg.transfer.report import MovedTable as MovedTable
    from oxy_pg.transfer.report import TransferReport as TransferReport
    from oxy_pg.transfer.report import UpgradeReport as UpgradeReport
    from oxy_pg.transfer.snapshots import Snapshot as Snapshot
    from oxy_pg.url import Driver as Driver

# Where each public name is defined.
_MODULES = {
    "BackupDamaged": "errors",
    "BackupExists": "errors",
    "BackupReport": "transfer.backup.backup",
    "BackupTooNew": "errors",
    "BadExportValues": "errors",
    "BadValue": "report",
    "BadValues": "errors",
    "BinariesNotFound": "errors",
    "BinariesRefused": "errors",
    "Change": "migrate.report.values",
    "ChangedValues": "errors",
    "ColumnReport": "migrate.report.values",
    "Compared": "migrate.report.values",
    "ConfigurationError": "errors",
    "Count": "migrate.report.values",
    "CountsDiffer": "errors",
    "Database": "server.monitor.status",
    "DatabaseNotEmpty": "errors",
    "Driver": "url",
    "ExportDiffers": "errors",
    "ExportError": "errors",
    "ExportRefused": "errors",
    "ExportReport": "export.report",
    "ExportedColumn": "export.report",
    "ExportedTable": "export.report",
    "Extension": "transfer.contents",
    "ExtensionsMissing": "errors",
    "ExternalServerUnavailable": "errors",
    "ForeignDataDirectory": "errors",
    "InitdbFailed": "errors",
    "Installation": "server.monitor.status",
    "KeysInUse": "errors",
    "LockTimeout": "errors",
    "Manifest": "transfer.backup.manifest",
    "MigrationError": "errors",
    "MigrationReport": "migrate.report.report",
    "MovedDatabase": "transfer.report",
    "MovedTable": "transfer.report",
    "NotABackup": "errors",
    "NotEnoughSpace": "errors",
    "NumberGroup": "report",
    "OrphanRows": "errors",
    "Orphans": "report",
    "OxyPgError": "errors",
    "PortTaken": "errors",
    "PreparationFailed": "errors",
    "Problem": "migrate.report.values",
    "Progress": "report",
    "RestoreReport": "transfer.backup.restore",
    "RightsMissing": "errors",
    "SchemaMismatch": "errors",
    "SeedReport": "migrate.report.values",
    "SequenceReport": "migrate.report.values",
    "Server": "_server",
    "ServerError": "errors",
    "Settings": "server.cluster.config",
    "Skipped": "report",
    "Snapshot": "transfer.snapshots",
    "SourceUnreadable": "errors",
    "StartFailed": "errors",
    "StartTimeout": "errors",
    "Status": "server.monitor.status",
    "TableReport": "migrate.report.values",
    "TableRows": "transfer.contents",
    "TargetNotEmpty": "errors",
    "TargetRefused": "errors",
    "TargetUnreachable": "errors",
    "ToolFailed": "errors",
    "ToolsNotFound": "errors",
    "TransferError": "errors",
    "TransferRefused": "errors",
    "TransferReport": "transfer.report",
    "UnclearTime": "report",
    "UnclearTimes": "errors",
    "Unexamined": "migrate.report.values",
    "UnsupportedServer": "errors",
    "UpgradeFailed": "errors",
    "UpgradeReport": "transfer.report",
    "ValueChange": "report",
    "Verification": "migrate.report.values",
    "VerificationFailed": "errors",
    "VersionMismatch": "errors",
    "backup": "_api",
    "check_backup": "_api",
    "ensure": "_api",
    "export_sqlite": "_api",
    "migrate_sqlite": "_api",
    "pull": "_api",
    "push": "_api",
    "restore": "_api",
    "temporary": "_api",
    "upgrade": "_api",
}

__all__ = [
    "BackupDamaged",
    "BackupExists",
    "BackupReport",
    "BackupTooNew",
    "BadExportValues",
    "BadValue",
    "BadValues",
    "BinariesNotFound",
    "BinariesRefused",
    "Change",
    "ChangedValues",
    "ColumnReport",
    "Compared",
    "ConfigurationError",
    "Count",
    "CountsDiffer",
    "Database",
    "DatabaseNotEmpty",
    "Driver",
    "ExportDiffers",
    "ExportError",
    "ExportRefused",
    "ExportReport",
    "ExportedColumn",
    "ExportedTable",
    "Extension",
    "ExtensionsMissing",
    "ExternalServerUnavailable",
    "ForeignDataDirectory",
    "InitdbFailed",
    "Installation",
    "KeysInUse",
    "LockTimeout",
    "Manifest",
    "MigrationError",
    "MigrationReport",
    "MovedDatabase",
    "MovedTable",
    "NotABackup",
    "NotEnoughSpace",
    "NumberGroup",
    "OrphanRows",
    "Orphans",
    "OxyPgError",
    "PortTaken",
    "PreparationFailed",
    "Problem",
    "Progress",
    "RestoreReport",
    "RightsMissing",
    "SchemaMismatch",
    "SeedReport",
    "SequenceReport",
    "Server",
    "ServerError",
    "Settings",
    "Skipped",
    "Snapshot",
    "SourceUnreadable",
    "StartFailed",
    "StartTimeout",
    "Status",
    "TableReport",
    "TableRows",
    "TargetNotEmpty",
    "TargetRefused",
    "TargetUnreachable",
    "ToolFailed",
    "ToolsNotFound",
    "TransferError",
    "TransferRefused",
    "TransferReport",
    "UnclearTime",
    "UnclearTimes",
    "Unexamined",
    "UnsupportedServer",
    "UpgradeFailed",
    "UpgradeReport",
    "ValueChange",
    "Verification",
    "VerificationFailed",
    "VersionMismatch",
    "backup",
    "check_backup",
    "ensure",
    "export_sqlite",
    "migrate_sqlite",
    "pull",
    "push",
    "restore",
    "temporary",
    "upgrade",
]

if not TYPE_CHECKING:  # a type checker has to find out that a name does not exist

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used (PEP 562)."""
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Not importlib.import_module(), which attaching to a server would have to wait for.
        value = getattr(__import__(f"oxy_pg.{module}", fromlist=[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
