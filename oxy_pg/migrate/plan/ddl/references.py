"""The foreign keys of new tables, and what is known about those of existing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.ddl.keys import unique_keys
from oxy_pg.migrate.plan.ddl.writer import after, after_names
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.plan import KEYS_RESTORED, ForeignKey, Statement
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oxy_pg.migrate.plan.ddl.comparisons import Comparisons
    from oxy_pg.migrate.plan.ddl.writer import Writer
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan
    from oxy_pg.migrate.source.schema import SourceForeignKey


def write_foreign_keys(
    table: TablePlan, tables: Mapping[str, TablePlan], writer: Writer, comparisons: Comparisons
) -> Iterator[tuple[ForeignKey, Statement]]:
    """
    Write the statements for the foreign keys of a new table; note what is skipped.

    ``tables`` are by their names in the source, folded.
    """
    for key in sorted(table.source.foreign_keys, key=lambda key: key.name is None):
        label = f"{table.source.name} ({', '.join(key.columns)}) → {key.parent}"
        try:
            parent, columns = _parent(table, key, tables, writer)
            reason = comparisons.differ(table, key.columns, parent, [c.source for c in columns])
            if reason:
                raise Uncertain(reason)  # noqa: TRY301
        except Uncertain as reason:
            writer.skip("foreign key", label, str(reason))
            writer.warnings.append(f"foreign key {label} is skipped: {reason}")
            continue
        own = [table.column(column) for column in key.columns]
        spelled = ", ".join(ident(column.target) for column in own if column)
        called = writer.constraint(table, key.name, "_".join((*key.columns, "fkey")))
        sql = (
            f"ALTER TABLE {writer.table_name(table)} ADD {called}FOREIGN KEY ({spelled}) "
            f"REFERENCES {writer.table_name(parent)} "
            f"({', '.join(ident(column.target) for column in columns)})"
        )
        for event, action in (("UPDATE", key.on_update), ("DELETE", key.on_delete)):
            sql += f" ON {event} {action}" if action != "NO ACTION" else ""
        sql += f" {key.deferrable}" if key.deferrable else ""
        found = ForeignKey(
            table.source.name, key.columns, parent.source.name, tuple(c.source for c in columns)
        )
        # Not before the parent's key, which may itself wait for other tables.
        waits = after(table) | after_names(parent, writer)
        if parent.existing is not None:
            waits |= {KEYS_RESTORED}
        yield found, Statement("foreign key", label, sql, waits)


def _parent(
    table: TablePlan, key: SourceForeignKey, tables: Mapping[str, TablePlan], writer: Writer
) -> tuple[TablePlan, list[ColumnPlan]]:
    parent = tables.get(folded(key.parent))
    if parent is None:
        raise Uncertain(f"there is no table {key.parent}")
    names = key.parent_columns or parent.source.primary_key
    columns = [parent.column(name) for name in names]
    found = [column for column in columns if column is not None]
    if len(found) != len(key.columns):
        raise Uncertain(f"the columns that it refers to do not exist ({', '.join(names)})")
    if not _is_unique(parent, {column.source for column in found}, writer):
        raise Uncertain(f"{', '.join(names)} is not unique in {key.parent}")
    for name, other in zip(key.columns, found, strict=True):
        own = table.column(name)
        if own is None or own.group != other.group:
            raise Uncertain(f"{name} is {own.type if own else '?'}, {other.source} is {other.type}")
    return parent, found


def _is_unique(parent: TablePlan, columns: set[str], writer: Writer) -> bool:
    if parent.existing is not None:
        targets = {c.target for c in parent.columns if c.source in columns}
        return any(
            set(unique.columns) == targets and unique.predicate is None
            for unique in parent.existing.uniques
        )
    keys = [set(key.columns) for key in unique_keys(parent, writer.referred)]
    keys += [
        {column for column in index.columns if column is not None}
        for index in parent.source.indexes
        if index.origin == "c" and index.unique and index.predicate is None
        and None not in index.columns and "NOCASE" not in index.collations
    ]  # fmt: skip
    ordered = all(
        column is not None and column.type.kind.is_ordered
        for column in (parent.column(name) for name in columns)
    )
    return ordered and columns in keys


def existing_foreign_keys(table: TablePlan, tables: list[TablePlan]) -> Iterator[ForeignKey]:
    """Return the foreign keys that an existing table of the target has, by the source's names."""
    if table.existing is None:
        return
    for key in table.existing.foreign_keys:
        parent = next((other for other in tables if other.target == key.parent), None)
        own = [table.by_target(column) for column in key.columns]
        if parent is None or None in own:
            continue
        others = [parent.by_target(column) for column in key.parent_columns]
        if None not in others:
            yield ForeignKey(
                table.source.name,
                tuple(column.source for column in own if column),
                parent.source.name,
                tuple(column.source for column in others if column),
            )
