"""The outcome of a push, a pull or an upgrade, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from oxy_pg.report import Report

if TYPE_CHECKING:
    from oxy_pg.report import Skipped


@dataclass(frozen=True, slots=True)
class MovedTable:
    """A table and its rows; ``bytes`` are those on disk in the source, without indexes."""

    schema: str
    name: str
    rows: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class TransferReport(Report):
    """
    A database that was pushed or pulled; with ``dry_run``, what would be.

    URLs are masked. ``replaced`` are the tables of the target that were dropped
    first, with their rows. ``skipped`` is what was left out, ``problems`` what a
    dry run has found that would prevent the transfer.
    """

    verb: Literal["push", "pull"]
    source: str
    target: str
    source_version: str
    target_version: str
    dry_run: bool
    tables: tuple[MovedTable, ...]
    replaced: tuple[MovedTable, ...]
    extensions: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True)
class MovedDatabase:
    """A database of a cluster that was upgraded."""

    name: str
    owner: str
    extensions: tuple[str, ...]
    tables: tuple[MovedTable, ...]

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True)
class UpgradeReport(Report):
    """
    A cluster that was moved to another major version.

    ``done`` is False where there was nothing to do. ``kept`` is where the old
    cluster is, None when it was discarded, ``discarded`` what was deleted.
    ``skipped`` is what was left out: settings and privileges that the new version
    does not know.
    """

    data_dir: str
    done: bool
    old_version: str
    new_version: str
    databases: tuple[MovedDatabase, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    kept: str | None = None
    discarded: tuple[str, ...] = ()
    seconds: float = 0.0
