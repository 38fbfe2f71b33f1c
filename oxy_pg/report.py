"""What callers are told: progress, what does not fit, what was left out, and reports as such."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

from oxy_pg.system.printable import json_text


def timestamp(moment: dt.datetime) -> str:
    """Spell a time as all JSON does: ``2026-01-31T23:59:59.000000Z``."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Report:
    """The base of the reports, which are frozen dataclasses."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain dictionaries, lists, texts and numbers."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    def to_json(self) -> str:
        """Return it as JSON."""
        return json_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False))


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """
    Something that was left out, and why.

    ``sql`` is its own definition where there is one, ``suggestion`` SQL that
    may serve in its place.
    """

    kind: str  # "table", "view", "index", "PUBLICATION", "ALTER SYSTEM", …
    name: str
    reason: str = ""
    sql: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f": {self.reason}" if self.reason else "")


class BadValue(NamedTuple):
    """One value that does not fit: where it stands, what it is, and why it cannot stay so."""

    table: str
    column: str
    row: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}, {self.row}: {self.value}: {self.reason}"


def grouped(values: Iterable[BadValue], shown: int = 5) -> list[str]:
    """
    Describe values by table, column and reason: the first of them, and how many there are.

    Reasons that differ in numbers or quoted values alone are one.
    """
    groups: dict[tuple[str, str, str], list[BadValue]] = {}
    for value in values:
        reason = re.sub(r"[0-9][0-9,]*|'[^']*'|\"[^\"]*\"", "…", value.reason)
        groups.setdefault((value.table, value.column, reason), []).append(value)
    lines = []
    for found in groups.values():
        lines += [str(value) for value in found[:shown]]
        if len(found) > shown:
            first = found[0]
            lines.append(
                f"{first.table}.{first.column}: {len(found) - shown:,} more, {len(found):,} in "
                f"all: {first.reason}"
            )
    return lines


class ValueChange(NamedTuple):
    """The values of one column that are changed in one way, and the first of them."""

    table: str
    column: str
    total: int
    what: str  # "rounded to 3 fraction digits, …"
    row: str
    before: str
    after: str

    @property
    def example(self) -> str:
        """The first of them, before and after."""
        return f"{self.row}: {self.before} → {self.after}"

    def __str__(self) -> str:
        noun = "value" if self.total == 1 else "values"
        return f"{self.table}.{self.column}: {self.total:,} {noun} {self.what} ({self.example})"


class NumberGroup(NamedTuple):
    """Numbers of a time column that count the same unit, by their size."""

    total: int
    first: str
    last: str
    readings: tuple[tuple[str, str, str], ...]  # unit, and the first and last instant under it

    def __str__(self) -> str:
        numbers = self.first if self.first == self.last else f"{self.first} to {self.last}"
        read = "; ".join(
            f"as {unit} {first}" + (f" to {last}" if last != first else "")
            for unit, first, last in self.readings
        )
        noun = "number" if self.total == 1 else "numbers"
        return f"{self.total:,} {noun}, {numbers}: {read or 'a time in no unit'}"


class UnclearTime(NamedTuple):
    """A column of times whose numbers do not agree within one unit, or within more than one."""

    table: str
    column: str
    groups: tuple[NumberGroup, ...]
    casts: tuple[str, ...]  # what may be chosen

    def __str__(self) -> str:
        groups = "".join(f"\n      {group}" for group in self.groups)
        casts = " or ".join(f"--cast {cast}" for cast in self.casts)
        return f"{self.table}.{self.column}: {casts}{groups}"


# Of rows that are orphans for PostgreSQL alone.
SPELLED_OTHERWISE = (
    "spelled otherwise than what they refer to, which SQLite's collation allows and PostgreSQL "
    "does not: correct the spelling"
)


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


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """
    A moment on the way, as ``on_progress`` gets it.

    ``phase`` is what is being done:

    - "connect": the servers are connected to, and waited for;
    - "prepare": the ``prepare`` of a migration runs; ``output`` is what its command
      has written, once it has run for two seconds;
    - "plan": what is there is read, and what to do decided;
    - "check": the values of a migration are checked;
    - "count": rows are counted, by a backup or the dry run of a push or pull; an
      export looks for values that do not fit;
    - "dump": a backup, or the SQLite file of an export, is written;
    - "checksum": the SHA-256 of a backup is computed;
    - "schema": the schema is read and created;
    - "load": rows are loaded; "table": a migration has loaded one table;
    - "index": indexes and constraints are created;
    - "verify": what has arrived is compared with the source, or the manifest;
    - "analyze": statistics for the planner are collected;
    - "copy": a database is copied, for a snapshot or a rewind;
    - "swap": a new database, or cluster, replaces the old one; for a push in one
      transaction, its commit;
    - "start", "restart": the old server of an upgrade, and then the new one, is
      started;
    - "done": it has succeeded.

    ``done`` of ``of`` are tables; for "dump" they are rows, and for "verify" in an
    export; for "checksum" and "copy" bytes,
    and for "load" bytes too, but tables in a migration. ``of`` is 0 where it is
    not known. ``table`` is the table that is worked on. ``rows`` of ``of_rows``
    are rows of all tables, or of ``table`` in a migration. ``bytes`` were read or
    written so far.
    """

    phase: str
    done: int = 0
    of: int = 0
    table: str = ""
    rows: int = 0
    of_rows: int = 0
    bytes: int = 0
    output: str = ""
