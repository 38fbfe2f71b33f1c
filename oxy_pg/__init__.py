"""
A real PostgreSQL 16 with the convenience of SQLite.

``oxy_pg.ensure()`` gives a running server's URL, ``oxy_pg.migrate_sqlite()``
moves a SQLite database in. Importing this package starts nothing, writes
nothing, and loads a name only when it is used.
"""

TYPE_CHECKING = False  # spelled out: importing typing would take longer than all the rest
if TYPE_CHECKING:
    from oxy_pg._api import Server as Server
    from oxy_pg._api import Status as Status
    from oxy_pg._api import ensure as ensure
    from oxy_pg._api import migrate_sqlite as migrate_sqlite
    from oxy_pg._api import temporary as temporary
    from oxy_pg.errors import BadValues as BadValues
    from oxy_pg.errors import BinariesNotFound as BinariesNotFound
    from oxy_pg.errors import ConfigurationError as ConfigurationError
    from oxy_pg.errors import ExternalServerUnavailable as ExternalServerUnavailable
    from oxy_pg.errors import ForeignDataDirectory as ForeignDataDirectory
    from oxy_pg.errors import InitdbFailed as InitdbFailed
    from oxy_pg.errors import LockTimeout as LockTimeout
    from oxy_pg.errors import MigrationError as MigrationError
    from oxy_pg.errors import OrphanRows as OrphanRows
    from oxy_pg.errors import OxyPgError as OxyPgError
    from oxy_pg.errors import PreparationFailed as PreparationFailed
    from oxy_pg.errors import SchemaMismatch as SchemaMismatch
    from oxy_pg.errors import ServerError as ServerError
    from oxy_pg.errors import SourceUnreadable as SourceUnreadable
    from oxy_pg.errors import StartFailed as StartFailed
    from oxy_pg.errors import StartTimeout as StartTimeout
    from oxy_pg.errors import TargetNotEmpty as TargetNotEmpty
    from oxy_pg.errors import TargetRefused as TargetRefused
    from oxy_pg.errors import TargetUnreachable as TargetUnreachable
    from oxy_pg.errors import TransferError as TransferError
    from oxy_pg.errors import UnsupportedServer as UnsupportedServer
    from oxy_pg.errors import VerificationFailed as VerificationFailed
    from oxy_pg.errors import VersionMismatch as VersionMismatch
    from oxy_pg.migrate.report import MigrationReport as MigrationReport

__version__ = "0.1.0"

_API = frozenset({"Server", "Status", "ensure", "migrate_sqlite", "temporary"})

__all__ = [
    "BadValues",
    "BinariesNotFound",
    "ConfigurationError",
    "ExternalServerUnavailable",
    "ForeignDataDirectory",
    "InitdbFailed",
    "LockTimeout",
    "MigrationError",
    "MigrationReport",
    "OrphanRows",
    "OxyPgError",
    "PreparationFailed",
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
    "TransferError",
    "UnsupportedServer",
    "VerificationFailed",
    "VersionMismatch",
    "ensure",
    "migrate_sqlite",
    "temporary",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _API:
        from oxy_pg import _api as module
    elif name == "MigrationReport":
        from oxy_pg.migrate import report as module  # type: ignore[no-redef]
    else:
        from oxy_pg import errors as module  # type: ignore[no-redef]
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
