"""The outcome of an export, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.report import Report

if TYPE_CHECKING:
    from oxy_pg.report import BadValue, Skipped


@dataclass(frozen=True, slots=True)
class ExportedColumn:
    """A column: its type in PostgreSQL, and what it is declared as in SQLite."""

    name: str
    type: str
    declared: str


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A table, its name in SQLite, and the rows that were written; in a dry run those there are."""

    schema: str
    name: str
    target: str
    rows: int
    columns: tuple[ExportedColumn, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class ExportReport(Report):
    """
    A database that was exported to a SQLite file; with ``dry_run``, what would be.

    ``source`` is the masked URL. ``values`` were compared after they had been
    written, ``size`` is that of the file in bytes. ``skipped`` is what SQLite has
    no place for; ``bad_values`` are values that it cannot hold, which a dry run
    lists, or which were stored as text (``on_bad_value="text"``).
    """

    source: str
    path: str
    dry_run: bool
    server_version: str
    tables: tuple[ExportedTable, ...]
    skipped: tuple[Skipped, ...]
    bad_values: tuple[BadValue, ...]
    values: int
    size: int
    seconds: float

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)
