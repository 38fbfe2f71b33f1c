"""What does not fit: the values that the migration errors carry."""

from __future__ import annotations

from typing import NamedTuple


class BadValue(NamedTuple):
    """One value that does not fit: where it stands, what it is, and why it cannot stay so."""

    table: str
    column: str
    row: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}, {self.row}: {self.value}: {self.reason}"


class Orphans(NamedTuple):
    """The rows of one table whose foreign key points at nothing."""

    table: str
    columns: tuple[str, ...]
    parent: str
    orphans: int
    rows: tuple[str, ...]  # the first ones
    note: str = ""  # why what was asked for is not possible

    def __str__(self) -> str:
        rows = ", ".join(self.rows[:5]) + (", …" if self.orphans > len(self.rows[:5]) else "")
        key = f"{self.table} ({', '.join(self.columns)}) → {self.parent}"
        noun = "row" if self.orphans == 1 else "rows"
        return f"{key}: {self.orphans:,} {noun} ({rows})" + (f"; {self.note}" if self.note else "")
