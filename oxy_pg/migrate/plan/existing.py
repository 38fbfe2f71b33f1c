"""What the existing tables of the target bring along: keys, indexes and sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.plan.plan import IndexKey, UniqueKey
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan
    from oxy_pg.migrate.target.catalog import TargetSchema, TargetTable


def sequence_warnings(tables: list[TablePlan], target: TargetSchema) -> Iterator[str]:
    """Name the sequences of the target that are not advanced, because nobody can know how far."""
    filled = [table for table in tables if table.existing is not None]
    for table in filled:
        for column in table.columns:
            found = table.existing.column(column.target) if table.existing else None
            for counter in found.counters if found else ():
                if not counter.plain:
                    yield (
                        f"{table.target}.{column.target}: the sequence {counter.name} of its "
                        f"default ({counter.default}) is not advanced, as the values are not its "
                        f"numbers; set it: SELECT setval({literal(counter.name)}, …)"
                    )
    if filled and target.free_sequences:
        names = sorted(target.free_sequences)
        listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        yield (f"sequences that no column of the target counts with are not advanced: {listed}")


def existing_uniques(columns: tuple[ColumnPlan, ...], existing: TargetTable) -> Iterator[UniqueKey]:
    """Return the unique keys of an existing table, by the source's names."""
    sources = {column.target: column.source for column in columns}
    for unique in existing.uniques:
        if unique.nulls_distinct and set(unique.columns) <= sources.keys():
            names = tuple(sources[column] for column in unique.columns)
            predicate = unique.predicate and _for_sqlite(unique.predicate)
            label = f"the unique index {unique.name}"
            yield UniqueKey(label, names, (False,) * len(names), predicate)


def existing_index_keys(tables: list[TablePlan]) -> Iterator[IndexKey]:
    """Return the columns of the indexes of existing tables, by the source's names."""
    for table in tables:
        sources = {column.target: column.source for column in table.columns}
        for index in table.existing.indexes if table.existing else ():
            if set(index.columns) <= sources.keys():
                predicate = index.predicate and _for_sqlite(index.predicate)
                columns = tuple(sources[column] for column in index.columns)
                label = f"the index {index.name}"
                yield IndexKey(table.source.name, columns, index.name, label, predicate)


def _for_sqlite(predicate: str) -> str:
    """Turn PostgreSQL's spelling of a simple predicate into SQLite's: without its casts."""
    found = tokens.tokenize(predicate)
    kept: list[str] = []
    skip = 0
    for position, token in enumerate(found):
        if skip:
            skip -= 1
        elif token.text == ":" and found[position + 1].text == ":":
            skip = 2
        else:
            kept.append(token.text)
    return " ".join(kept)
