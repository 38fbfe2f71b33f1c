"""The schema of a SQLite database: values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, quoted

if TYPE_CHECKING:
    from oxy_pg.report import Skipped

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column as SQLite has it."""

    name: str
    declared: str
    not_null: bool
    default: str | None
    key_position: int  # in the primary key, counted from 1; 0: not in it
    hidden: bool
    stored: bool
    generated: str | None
    collation: str


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """One index, or the UNIQUE constraint that made it."""

    name: str
    unique: bool
    origin: str  # c: CREATE INDEX, u: UNIQUE, pk: PRIMARY KEY
    columns: tuple[str | None, ...]  # None: an expression
    terms: tuple[str, ...]  # as written, for expressions
    collations: tuple[str, ...]
    descending: tuple[bool, ...]
    predicate: str | None
    sql: str | None  # the CREATE INDEX statement; None for that of a constraint
    constraint: str | None = None  # the name that was given to the constraint
    conflict: str | None = None  # what follows ON CONFLICT


@dataclass(frozen=True, slots=True)
class SourceForeignKey:
    """One foreign key."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]  # empty: the parent's primary key
    on_update: str
    on_delete: str
    name: str | None = None
    deferrable: str = ""  # as PostgreSQL spells it


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One table as SQLite has it."""

    name: str
    columns: tuple[SourceColumn, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[SourceIndex, ...]
    foreign_keys: tuple[SourceForeignKey, ...]
    checks: tuple[tuple[str | None, str], ...]
    without_rowid: bool
    strict: bool
    autoincrement: bool
    sequence: int | None  # the last key in sqlite_sequence
    # The key of a virtual table's rows, which its definition does not mention.
    implicit_key: str | None = None
    primary_key_name: str | None = None
    # The constraints with an ON CONFLICT clause, as they were written.
    conflicts: tuple[str, ...] = ()

    def column(self, name: str) -> SourceColumn:
        """Return the column of this name, as SQLite would find it."""
        exact = (c for c in self.columns if c.name == name)
        return next(exact, None) or next(c for c in self.columns if folded(c.name) == folded(name))

    @property
    def rowid_alias(self) -> str | None:
        """The INTEGER PRIMARY KEY, which is the rowid itself."""
        if self.without_rowid or len(self.primary_key) != 1:
            return None
        column = self.column(self.primary_key[0])
        # "INTEGER PRIMARY KEY DESC" is not an alias, and has an index of its own.
        has_index = any(index.origin == "pk" for index in self.indexes)
        return column.name if column.declared.upper() == "INTEGER" and not has_index else None

    @property
    def identity(self) -> tuple[str, ...]:
        """SQL expressions that together name one row."""
        if self.without_rowid:
            return tuple(quoted(name) for name in self.primary_key)
        taken = {folded(column.name) for column in self.columns}
        free = [name for name in _ROWID_NAMES if name not in taken]
        return (free[0],) if free else tuple(quoted(c.name) for c in self.columns)

    @property
    def has_rowid(self) -> bool:
        """Whether a rowid names each row: the only part of ``identity`` then."""
        return not self.without_rowid and len(self.identity) == 1


@dataclass(frozen=True, slots=True)
class SourceSchema:
    """Everything that the database holds."""

    path: str
    size: int
    encoding: str
    tables: tuple[SourceTable, ...]
    skipped: tuple[Skipped, ...]
    versions: dict[str, str] = field(default_factory=dict)

    def table(self, name: str) -> SourceTable | None:
        """Return the table of this name, as SQLite would find it."""
        exact = next((t for t in self.tables if t.name == name), None)
        return exact or next((t for t in self.tables if folded(t.name) == folded(name)), None)
