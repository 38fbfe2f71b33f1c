"""What a report of a migration consists of: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oxy_pg.report import Skipped


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column: its declaration, its new type, and its number of NULLs."""

    name: str
    target: str
    declared: str
    type: str
    nulls: int


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table: ``bytes`` as they were sent, ``seconds`` for the rows alone."""

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
    """Values of one column that were changed; ``example`` is the first, before → after."""

    table: str
    column: str
    count: int
    what: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """A sequence, and the next number that it gives."""

    name: str
    next: int


@dataclass(frozen=True, slots=True)
class SeedReport:
    """
    Rows of one table that ``prepare`` has made, and what becomes of them.

    ``action`` is "replaced" (by the source's ``by`` rows), "kept" (and ``by`` rows of
    the source are added), or "in the way".
    """

    table: str
    rows: int
    action: str
    by: int

    def __str__(self) -> str:
        noun = "row" if self.rows == 1 else "rows"
        ends = {
            "replaced": f"replaced by the source's {self.by:,}",
            "kept": f"kept; {self.by:,} of the source added" if self.by else "kept",
        }
        return (
            f"{self.table}: {self.rows:,} {noun} of --prepare {ends.get(self.action, self.action)}"
        )


@dataclass(frozen=True, slots=True)
class Count:
    """
    One table's rows on both sides, as they were counted before the commit.

    ``before`` were in the target already, ``left`` were skipped, as was asked:
    target = before + source - left.
    """

    table: str
    source: int
    target: int
    before: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """
    How the values of one table were compared.

    ``bytes``: columns whose stored bytes have the digest of those that were
    sent; ``sampled`` of their rows were read again and compared by what they
    mean. ``values``: columns of which every value was.
    """

    table: str
    bytes: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """
    What was compared: ``counts``, ``full`` or ``none``, and how many values.

    ``compared`` says of each table how it was done, with ``full``.
    """

    mode: str
    tables: int
    rows: int
    values: int
    counts: tuple[Count, ...] = ()
    compared: tuple[Compared, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something that would stop the migration, found by a dry run.

    A bad value has its place, and the reason why it does not fit.
    """

    kind: str
    message: str
    table: str = ""
    column: str = ""
    row: str = ""
    value: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unexamined:
    """
    Something that may refuse or change rows, or be left behind, and that a dry run cannot know.

    It is of an existing table, or of one with values that are emptied or
    changed; or it is a view or a condition that is kept only if it gives the same rows.
    ``table`` is "" for a view. A rehearsal examines it.
    """

    kind: str
    table: str
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a migration did, or in a dry run would do.

    A ``rehearsal`` did all of it, and rolled it back. Everything that is not in
    ``tables`` is in ``skipped``, with its reason.
    """

    source: str
    target: str  # without its password
    dry_run: bool
    seconds: float
    tables: tuple[TableReport, ...]
    changes: tuple[Change, ...]
    skipped: tuple[Skipped, ...]
    sequences: tuple[SequenceReport, ...]
    warnings: tuple[str, ...]
    verification: Verification
    problems: tuple[Problem, ...] = ()
    statements: tuple[str, ...] = ()
    rehearsal: bool = False
    unexamined: tuple[Unexamined, ...] = ()
    seeds: tuple[SeedReport, ...] = ()
    preparation: str = ""

    @property
    def rows(self) -> int:
        """All rows written."""
        return sum(table.rows_written for table in self.tables)
