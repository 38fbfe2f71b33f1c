"""CREATE TABLE and CREATE INDEX in SQLite's words, and what could not be said in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.export import names
from oxy_pg.export.columns import compared, form
from oxy_pg.export.expressions import condition, default, literal, quoted
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oxy_pg.export.catalog import Column, Constraint, Index, Table

_ACTIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_DESCENDING = 1  # pg_index.indoption
_NOT_VALID = "PostgreSQL has not validated it, so that rows may contradict it"
_UNKNOWN = (
    "SQLite has no such expression, or another meaning for it: it compares values as they are "
    "stored there (a numeric is a text or a double)"
)
_INTEGERS = {"int2", "int4", "int8"}


@dataclass(frozen=True, slots=True)
class Written:
    """A table in SQLite's words; ``rowid`` is the column that is the key of SQLite's own."""

    create: str
    indexes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    rowid: Column | None


def write(table: Table, targets: Mapping[int, str], taken: set[str]) -> Written:
    """
    Write a table.

    ``targets`` are the names of all tables that are exported, ``taken`` those of
    tables and indexes, to which the indexes' are added.
    """
    return _Writer(table, targets, taken).write()


class _Writer:
    """Writes one table, and collects what is left out."""

    def __init__(self, table: Table, targets: Mapping[int, str], taken: set[str]) -> None:
        self.table = table
        self.targets = targets
        self.taken = taken
        self.target = targets[table.oid]
        self.compared = {column.name: compared(column) for column in table.columns}
        self.skipped: list[Skipped] = []
        self.rowid = self._rowid()

    def _rowid(self) -> Column | None:
        """Return the key that SQLite gives numbers to: one that PostgreSQL gives numbers to."""
        for constraint in self.table.constraints:
            if constraint.kind == "p" and len(constraint.columns) == 1:
                column = self.table.column(constraint.columns[0])
                if column.type_name in _INTEGERS and column.sequence:
                    return column
        return None

    def write(self) -> Written:
        lines = [self._column(column) for column in self.table.columns]
        for constraint in self.table.constraints:
            line = self._constraint(constraint)
            if line is not None:
                lines.append(f"CONSTRAINT {quoted(constraint.name)} {line}")
        lines += [self._labels(column) for column in self.table.columns if column.labels]
        # PostgreSQL has tables without columns, SQLite has none.
        body = ",\n    ".join(lines or ['"nothing"'])
        indexes = [self._index(index) for index in self.table.indexes]
        return Written(
            f"CREATE TABLE {quoted(self.target)} (\n    {body}\n)",
            tuple(index for index in indexes if index is not None),
            tuple(self.skipped),
            self.rowid,
        )

    def _leave(self, kind: str, name: str, reason: str, definition: str | None = None) -> None:
        self.skipped.append(Skipped(kind, f"{self.target}.{name}", reason, definition))

    def _column(self, column: Column) -> str:
        if column is self.rowid:
            if column.type_name != "int8":
                self._leave(
                    "type",
                    column.name,
                    f"it is {column.type}: a key to which SQLite gives numbers has 64 bits",
                )
            return f"{quoted(column.name)} INTEGER PRIMARY KEY AUTOINCREMENT"
        words = [quoted(column.name), form(column).spelled]
        if column.not_null:
            words.append("NOT NULL")
        if column.is_generated:
            self._leave(
                "generated column",
                column.name,
                "its values are stored, as they are",
                column.default,
            )
        elif column.sequence:
            self._leave("sequence", column.name, "SQLite gives numbers to a primary key alone")
        elif column.default is not None:
            found = default(
                column.default,
                is_boolean=column.type_name == "bool",
                is_binary=column.type_name == "bytea",
            )
            if found is None:
                self._leave("default", column.name, "SQLite has no such expression", column.default)
            else:
                words.append(f"DEFAULT {found}")
        return " ".join(words)

    def _labels(self, column: Column) -> str:
        labels = ", ".join(map(literal, column.labels))
        return f"CHECK ({quoted(column.name)} IN ({labels}))"

    def _keys(self, table: Table, numbers: tuple[int, ...]) -> str:
        return ", ".join(quoted(table.column(number).name) for number in numbers)

    def _constraint(self, one: Constraint) -> str | None:
        if one.kind == "p":
            if self.rowid is not None:
                return None  # it is in the column
            return f"PRIMARY KEY ({self._keys(self.table, one.columns)})"
        if one.kind == "u":
            if "NULLS NOT DISTINCT" in one.definition:
                self._leave("unique constraint", one.name, "in SQLite no NULL equals another")
            return f"UNIQUE ({self._keys(self.table, one.columns)})"
        if one.kind == "f":
            return self._reference(one)
        if one.kind == "c":
            found = condition(one.expression or "", self.compared)
            if found is not None and one.validated:
                return f"CHECK ({found})"
            reason = _UNKNOWN if one.validated else _NOT_VALID
            self._leave("check", one.name, reason, one.definition)
        else:
            self._leave(
                "exclusion constraint", one.name, "SQLite has no such constraints", one.definition
            )
        return None

    def _reference(self, one: Constraint) -> str | None:
        parent = self.targets.get(one.parent)
        if parent is None:
            self._leave(
                "foreign key",
                one.name,
                "the table that it refers to is not exported",
                one.definition,
            )
            return None
        if not one.validated:
            self._leave("foreign key", one.name, _NOT_VALID, one.definition)
            return None
        words = [
            f"FOREIGN KEY ({self._keys(self.table, one.columns)})",
            f"REFERENCES {quoted(parent)} ({', '.join(map(quoted, one.parent_columns))})",
        ]
        words += [f"ON UPDATE {_ACTIONS[one.on_update]}"] if one.on_update in _ACTIONS else []
        words += [f"ON DELETE {_ACTIONS[one.on_delete]}"] if one.on_delete in _ACTIONS else []
        words += ["DEFERRABLE INITIALLY DEFERRED"] if one.deferred else []
        return " ".join(words)

    def _index(self, index: Index) -> str | None:
        where = None
        if index.predicate is not None:
            where = condition(index.predicate, self.compared)
        keys = [
            quoted(self.table.column(number).name) if number else condition(text, self.compared)
            for number, text in zip(index.keys, index.expressions, strict=False)
        ]
        reason = None
        if index.method not in {"btree", "hash"}:
            reason = f"SQLite has no indexes of the kind {index.method}"
        elif None in keys or (index.predicate is not None and where is None):
            reason = _UNKNOWN
        if reason is not None:
            self._leave("index", index.name, reason, index.definition)
            return None
        if index.nulls_not_distinct:
            self._leave("unique index", index.name, "in SQLite no NULL equals another")
        name = names.free(index.name, self.taken)
        spelled = ", ".join(
            f"{key} DESC" if option & _DESCENDING else str(key)
            for key, option in zip(keys, index.options, strict=False)
        )
        unique = "UNIQUE " if index.unique else ""
        end = f" WHERE {where}" if where else ""
        return f"CREATE {unique}INDEX {quoted(name)} ON {quoted(self.target)} ({spelled}){end}"
