"""
A real PostgreSQL 16 with the convenience of SQLite.

``oxy_pg.ensure()`` gives a running server's URL, ``oxy_pg.migrate_sqlite()``
moves a SQLite database in, ``oxy_pg.backup()`` and ``oxy_pg.restore()`` keep
it safe, ``oxy_pg.push()`` and ``oxy_pg.pull()`` take it elsewhere and back.
Importing this package starts nothing, writes nothing, and loads a name only
when it is used.
"""

TYPE_CHECKING = False  # spelled out: importing typing would take longer than all the rest
if TYPE_CHECKING:
    from oxy_pg._api import Server as Server
    from oxy_pg._api import Status as Status
    from oxy_pg._api import backup as backup
    from oxy_pg._api import check_backup as check_backup
    from oxy_pg._api import ensure as ensure
    from oxy_pg._api import migrate_sqlite as migrate_sqlite
    from oxy_pg._api import pull as pull
    from oxy_pg._api import push as push
    from oxy_pg._api import restore as restore
    from oxy_pg._api import temporary as temporary
    from oxy_pg._api import upgrade as upgrade
    from oxy_pg.errors import BackupDamaged as BackupDamaged
    from oxy_pg.errors import BackupExists as BackupExists
    from oxy_pg.errors import BackupTooNew as BackupTooNew
    from oxy_pg.errors import BadValues as BadValues
    from oxy_pg.errors import BinariesNotFound as BinariesNotFound
    from oxy_pg.errors import ConfigurationError as ConfigurationError
    from oxy_pg.errors import CountsDiffer as CountsDiffer
    from oxy_pg.errors import DatabaseNotEmpty as DatabaseNotEmpty
    from oxy_pg.errors import ExtensionsMissing as ExtensionsMissing
    from oxy_pg.errors import ExternalServerUnavailable as ExternalServerUnavailable
    from oxy_pg.errors import ForeignDataDirectory as ForeignDataDirectory
    from oxy_pg.errors import InitdbFailed as InitdbFailed
    from oxy_pg.errors import LockTimeout as LockTimeout
    from oxy_pg.errors import MigrationError as MigrationError
    from oxy_pg.errors import NotABackup as NotABackup
    from oxy_pg.errors import NotEnoughSpace as NotEnoughSpace
    from oxy_pg.errors import OrphanRows as OrphanRows
    from oxy_pg.errors import OxyPgError as OxyPgError
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
    from oxy_pg.errors import UnsupportedServer as UnsupportedServer
    from oxy_pg.errors import UpgradeFailed as UpgradeFailed
    from oxy_pg.errors import VerificationFailed as VerificationFailed
    from oxy_pg.errors import VersionMismatch as VersionMismatch
    from oxy_pg.migrate.report.report import MigrationReport as MigrationReport
    from oxy_pg.progress import Progress as Progress
    from oxy_pg.transfer.backup.backup import BackupReport as BackupReport
    from oxy_pg.transfer.backup.manifest import Manifest as Manifest
    from oxy_pg.transfer.backup.restore import RestoreReport as RestoreReport
    from oxy_pg.transfer.report import TransferReport as TransferReport
    from oxy_pg.transfer.report import UpgradeReport as UpgradeReport

__version__ = "0.1.0"

_API = frozenset(
    {
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
    }
)
# The outcomes, and the module of each.
_VALUES = {
    "Progress": "progress",
    "BackupReport": "transfer.backup.backup",
    "Manifest": "transfer.backup.manifest",
    "MigrationReport": "migrate.report.report",
    "RestoreReport": "transfer.backup.restore",
    "TransferReport": "transfer.report",
    "UpgradeReport": "transfer.report",
}

__all__ = [
    "BackupDamaged",
    "BackupExists",
    "BackupReport",
    "BackupTooNew",
    "BadValues",
    "BinariesNotFound",
    "ConfigurationError",
    "CountsDiffer",
    "DatabaseNotEmpty",
    "ExtensionsMissing",
    "ExternalServerUnavailable",
    "ForeignDataDirectory",
    "InitdbFailed",
    "LockTimeout",
    "Manifest",
    "MigrationError",
    "MigrationReport",
    "NotABackup",
    "NotEnoughSpace",
    "OrphanRows",
    "OxyPgError",
    "PreparationFailed",
    "Progress",
    "RestoreReport",
    "RightsMissing",
    "SchemaMismatch",
    "Server",
    "ServerError",
    "SourceUnreadable",
    "StartFailed",
    "StartTimeout",
    "Status",
    "TargetNotEmpty",
    "TargetRefused",
    "TargetUnreachable",
    "ToolFailed",
    "ToolsNotFound",
    "TransferError",
    "TransferRefused",
    "TransferReport",
    "UnsupportedServer",
    "UpgradeFailed",
    "UpgradeReport",
    "VerificationFailed",
    "VersionMismatch",
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


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _API:
        from oxy_pg import _api as module
    elif name in _VALUES:
        from importlib import import_module

        module = import_module(f"oxy_pg.{_VALUES[name]}")
    else:
        from oxy_pg import errors as module  # type: ignore[no-redef]
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
