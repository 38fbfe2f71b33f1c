"""What a migration will do: a value that can be printed, tested and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from oxy_pg.migrate.target import LONGEST_NAME

if TYPE_CHECKING:
    from oxy_pg.migrate.source import SourceTable
    from oxy_pg.migrate.survey import ColumnSurvey
    from oxy_pg.migrate.target import SetAside, TargetTable
    from oxy_pg.migrate.types import PgType


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One statement.

    When PostgreSQL rejects an ``optional`` one, the object is left behind with
    that reason; any other rejection ends the migration.
    """

    kind: str
    name: str
    sql: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key that the target will have, in the names of the source."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    tables: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    schema: Literal["auto", "create", "existing"] = "auto"
    casts: tuple[tuple[str, str], ...] = ()
    on_bad_value: Literal["error", "null", "skip"] = "error"
    on_orphan: Literal["error", "null", "skip"] = "error"
    if_not_empty: Literal["error", "append", "truncate"] = "error"
    verify: Literal["counts", "full", "none"] = "counts"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that stays behind, and why."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column on its way."""

    source: str
    target: str
    declared: str
    type: PgType
    survey: ColumnSurvey
    not_null: bool  # in the target
    generated: bool = False  # PostgreSQL computes it


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table on its way."""

    source: SourceTable
    target: str
    action: Literal["create", "fill"]
    rows: int
    columns: tuple[ColumnPlan, ...]
    existing: TargetTable | None = None

    @property
    def loaded(self) -> tuple[ColumnPlan, ...]:
        """The columns that are written; the others PostgreSQL computes."""
        return tuple(column for column in self.columns if not column.generated)

    def column(self, name: str) -> ColumnPlan | None:
        """Return the column that has this name in the source."""
        return next((c for c in self.columns if c.source.lower() == name.lower()), None)

    def by_target(self, name: str) -> ColumnPlan | None:
        """Return the column that has this name in the target."""
        return next((c for c in self.columns if c.target == name), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will happen, in order."""

    source: str
    target: str  # masked
    schema: str
    encoding: str
    tables: tuple[TablePlan, ...]
    pre_data: tuple[Statement, ...]
    post_data: tuple[Statement, ...]
    set_aside: tuple[SetAside, ...]
    foreign_keys: tuple[ForeignKey, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    options: Options = Options()

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables)

    def table(self, name: str) -> TablePlan | None:
        """Return the plan of the source's table of this name."""
        return next((t for t in self.tables if t.source.name.lower() == name.lower()), None)

    def by_target(self, name: str) -> TablePlan | None:
        """Return the plan of the target's table of this name."""
        return next((t for t in self.tables if t.target == name), None)


def shorten(name: str, taken: set[str]) -> str:
    """Return a name that PostgreSQL can hold and that is not taken yet."""
    short = name.encode()[:LONGEST_NAME].decode(errors="ignore")
    number = 1
    while short in taken:
        ending = f"_{number}"
        short = name.encode()[: LONGEST_NAME - len(ending)].decode(errors="ignore") + ending
        number += 1
    return short
