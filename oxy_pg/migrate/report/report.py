"""The outcome of a migration: a value, JSON, or a page to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column: what was declared, what it became, what it held."""

    name: str
    target: str
    declared: str
    type: str
    nulls: int


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table: ``bytes`` as they went over the wire, ``seconds`` for the rows alone."""

    name: str
    target: str
    action: str
    rows_read: int
    rows_written: int
    rows_skipped: int
    bytes: int
    seconds: float
    columns: tuple[ColumnReport, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Values of one column that did not stay exactly as they were."""

    table: str
    column: str
    count: int
    what: str


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Something that did not come along, and why."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """A sequence, and the number it gives next."""

    name: str
    next: int


@dataclass(frozen=True, slots=True)
class Count:
    """
    One table's rows on both sides, as they were counted before the commit.

    ``before`` were in the target already, ``left`` stayed in the source, as
    was asked: target = before + source - left.
    """

    table: str
    source: int
    target: int
    before: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared: ``counts``, ``full`` or ``none``, and how many values."""

    mode: str
    tables: int
    rows: int
    values: int
    counts: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that would stop the migration, found by a dry run."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """
    What a migration did, or in a dry run would do.

    Nothing is lost in silence: what is not in ``tables`` stands in
    ``skipped``, with its reason.
    """

    source: str
    target: str  # without its password
    dry_run: bool
    seconds: float
    tables: tuple[TableReport, ...]
    changes: tuple[Change, ...]
    skipped: tuple[LeftBehind, ...]
    sequences: tuple[SequenceReport, ...]
    warnings: tuple[str, ...]
    verification: Verification
    problems: tuple[Problem, ...] = ()
    statements: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """All rows written."""
        return sum(table.rows_written for table in self.tables)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and lists."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """Return the report as one HTML page that needs nothing else."""
        from oxy_pg.migrate.report import html

        return html.page(self)
