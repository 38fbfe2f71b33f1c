"""The primary keys, UNIQUE constraints and CHECKs of new tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.ddl.conditions import translate_condition
from oxy_pg.migrate.plan.ddl.indexes import index_column
from oxy_pg.migrate.plan.ddl.writer import after, after_names, named
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.plan import Statement, UniqueKey
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.plan.ddl.writer import Writer
    from oxy_pg.migrate.plan.plan import TablePlan
    from oxy_pg.migrate.source.schema import SourceIndex


class Key(NamedTuple):
    """A key by the source's names; ``what`` is "PRIMARY KEY" or "UNIQUE"."""

    columns: tuple[str, ...]
    what: str
    name: str | None


def write_keys(table: TablePlan, writer: Writer) -> Iterator[tuple[bool, Statement]]:
    """
    Write the statements for keys, with whether it is named; note what is skipped.

    Those with a name come first: PostgreSQL chooses the others' around them.
    """
    for conflict in table.source.conflicts:
        reason = (
            f"{conflict}: PostgreSQL raises an error; INSERT … ON CONFLICT says it per statement"
        )
        writer.skip("on conflict", table.source.name, reason, conflict)
    for key in unique_keys(table, writer.referred):
        statement = _key(table, key, writer)
        if statement is not None:
            yield key.name is not None, statement
    for index in table.source.indexes:
        if index.origin in {"u", "pk"} and "NOCASE" in index.collations:
            statement = _folding(table, index, writer)
            if statement is not None:
                yield index.constraint is not None, statement


def _key(table: TablePlan, key: Key, writer: Writer) -> Statement | None:
    planned = [table.column(column) for column in key.columns]
    is_primary = key.columns == table.source.primary_key
    if key.what == "UNIQUE" and is_primary:
        reason = "it holds NULLs, so it becomes a UNIQUE constraint"
        writer.skip("primary key", table.source.name, reason)
    if any(column is None or not column.type.kind.is_ordered for column in planned):
        writer.skip(key.what.lower(), table.source.name, "a column's type has no order")
        return None
    spelled = ", ".join(ident(column.target) for column in planned if column is not None)
    label = "the primary key" if is_primary else "a UNIQUE constraint"
    unique = UniqueKey(label, key.columns, (False,) * len(key.columns))
    writer.uniques[table.source.name].append(unique)
    writer.note_key(table, key.columns, label)
    usual = "pkey" if key.what == "PRIMARY KEY" else "_".join((*key.columns, "key"))
    called = writer.constraint(table, key.name, usual, is_key=True)
    sql = f"ALTER TABLE {writer.table_name(table)} ADD {called}{key.what} ({spelled})"
    waits = after(table) if key.name else after_names(table, writer)
    return Statement(key.what.lower(), table.source.name, sql, waits)


def _folding(table: TablePlan, index: SourceIndex, writer: Writer) -> Statement | None:
    """Write the index that keeps a UNIQUE with NOCASE."""
    try:
        terms = [
            index_column(table, column or "", collation, unique=True)
            for column, collation in zip(index.columns, index.collations, strict=True)
        ]
    except Uncertain as reason:
        writer.skip("unique", table.source.name, str(reason))
        return None
    writer.note_unique(table, index)
    writer.note_key(table, tuple(c or "" for c in index.columns), "a UNIQUE constraint")
    # The name of a primary key is that of the constraint.
    name = index.constraint if index.origin == "u" else None
    called = f"{ident(writer.relation(name, 'constraint'))} " if name else ""
    on = f"{writer.table_name(table)} ({', '.join(terms)})"
    waits = after(table) if name else after_names(table, writer)
    return Statement("unique", table.source.name, f"CREATE UNIQUE INDEX {called}ON {on}", waits)


def unique_keys(
    table: TablePlan, referred: set[tuple[str, frozenset[str]]] | None = None
) -> list[Key]:
    """
    Return the primary key and the UNIQUE constraints.

    Of those that ignore case only the ones that foreign keys refer to, which
    need a constraint; ``referred`` has their table and columns, folded.
    """
    found: list[Key] = []
    key = [table.column(name) for name in table.source.primary_key]
    if key:
        whole = all(column is not None and column.not_null for column in key)
        what = "PRIMARY KEY" if whole else "UNIQUE"
        found.append(Key(table.source.primary_key, what, table.source.primary_key_name))
    for index in table.source.indexes:
        columns = tuple(column for column in index.columns if column is not None)
        if index.origin != "u":
            continue
        if "NOCASE" not in index.collations:
            found.append(Key(columns, "UNIQUE", index.constraint))
        elif (folded(table.source.name), frozenset(map(folded, columns))) in (referred or ()):
            found.append(Key(columns, "UNIQUE", None))
    return found


def write_checks(table: TablePlan, writer: Writer) -> Iterator[Statement]:
    """Write the statements for CHECKs; note what is skipped."""
    for name, text in sorted(table.source.checks, key=lambda check: check[0] is None):
        label = name or f"{table.source.name}: CHECK ({text})"
        try:
            condition = translate_condition(text, named(table))
        except Uncertain as reason:
            writer.skip("check", label, str(reason), f"CHECK ({text})")
            continue
        called = writer.constraint(table, name, "check")
        sql = f"ALTER TABLE {writer.table_name(table)} ADD {called}CHECK ({condition})"
        made = f"CHECK ({text})"
        yield Statement("check", label, sql, after(table), optional=True, source_sql=made)
