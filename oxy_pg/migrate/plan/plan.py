"""What a migration will do: a value that can be printed, tested and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from oxy_pg.migrate.names import folded

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.survey import ColumnSurvey
    from oxy_pg.migrate.source.schema import SourceTable
    from oxy_pg.migrate.target.catalog import TargetTable
    from oxy_pg.migrate.target.set_aside import SetAside
    from oxy_pg.report import Skipped


# Stands among the tables of ``Statement.after`` for the keys of existing tables, which are removed
# for the load and restored after it; no table has this name.
KEYS_RESTORED = "\0"

Fate: TypeAlias = Literal["refuse", "keep", "replace"]


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One statement, which creates the ``what`` ("index", "check") that is called ``name``.

    ``after`` are the tables, by their names in the target, that are filled
    before it. When PostgreSQL rejects an ``optional`` one, the object is
    skipped with that reason; any other rejection ends the migration.
    ``source_sql`` is what made the object in SQLite, where it is known. One with a
    ``proof`` is kept only if that holds.
    """

    what: str
    name: str
    sql: str
    after: frozenset[str] = frozenset()
    optional: bool = False
    source_sql: str | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """
    What has to be the same on both sides: the rows of a view, or a number.

    ``source`` is a query; ``target`` the quoted name of the view, or the query
    of the number.
    """

    source: str
    target: str
    is_count: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key that the target will have, by its names in the source."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """
    Columns that are unique in the target, by their names in the source.

    ``folds`` says which columns are compared without the case of A to Z,
    ``predicate`` to which rows it applies, in SQLite's SQL.
    """

    name: str
    columns: tuple[str, ...]
    folds: tuple[bool, ...]
    predicate: str | None = None

    @property
    def index(self) -> str:
        """The name of its index alone, where it has one of its own."""
        return self.name.removeprefix("the unique index ")


@dataclass(frozen=True, slots=True)
class IndexKey:
    """
    The columns of an index that the target has or will have, by their names in the source.

    ``label`` names it in a message, ``predicate`` says in SQLite's SQL to which
    rows it applies. An ``optional`` one is left out where a row is too long for it.
    """

    table: str
    columns: tuple[str, ...]
    name: str
    label: str
    predicate: str | None = None
    optional: bool = False
    source_sql: str | None = None


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """What happens to one column."""

    source: str
    target: str
    declared: str
    type: PgType
    survey: ColumnSurvey
    not_null: bool  # in the target
    generated: bool = False  # PostgreSQL computes it
    changes: bool = False  # PostgreSQL changes some values, which was listed

    @property
    def group(self) -> str:
        """The types that may refer to each other in a foreign key have the same."""
        return self.type.kind.reference_group or self.type.kind.name


@dataclass(frozen=True, slots=True)
class Standing:
    """The rows that one table of the target has: how many, whether they are seeds, their fate."""

    rows: int
    seeds: bool  # `prepare` has made them (standing.py)
    fate: Fate


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What happens to one table."""

    source: SourceTable
    target: str
    action: Literal["create", "fill"]
    rows: int
    columns: tuple[ColumnPlan, ...]
    existing: TargetTable | None = None
    uniques: tuple[UniqueKey, ...] = ()
    standing: Standing | None = None  # rows that the target has in it

    @property
    def loaded(self) -> tuple[ColumnPlan, ...]:
        """The columns that are written; the others PostgreSQL computes."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def computed_by_target(self) -> tuple[ColumnPlan, ...]:
        """The columns that an existing table computes, in its own way."""
        return tuple(c for c in self.columns if c.generated and self.existing is not None)

    def column(self, name: str) -> ColumnPlan | None:
        """Return the column that has this name in the source."""
        exact = next((c for c in self.columns if c.source == name), None)
        return exact or next((c for c in self.columns if folded(c.source) == folded(name)), None)

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
    options: Options
    index_keys: tuple[IndexKey, ...] = ()
    kept_seeds: tuple[tuple[str, int], ...] = ()  # of tables that the source does not have
    preparation: str = ""  # where a dry run has tried ``prepare``, or why not

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables)
