"""How far a migration is: what ``on_progress`` is called with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a migration is.

    ``phase`` is connect, plan, check, load, index, verify, table (one table is done) or done.
    """

    phase: str
    table: str = ""
    number: int = 0  # of the table, counted from 1
    tables: int = 0
    rows: int = 0
    of_rows: int = 0
    bytes: int = 0
