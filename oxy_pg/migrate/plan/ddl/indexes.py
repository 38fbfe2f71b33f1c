"""The indexes of new tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.ddl.conditions import translate
from oxy_pg.migrate.plan.ddl.predicates import predicate
from oxy_pg.migrate.plan.ddl.writer import after, named
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.plan import Statement
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.plan.ddl.writer import Writer
    from oxy_pg.migrate.plan.plan import TablePlan
    from oxy_pg.migrate.source.schema import SourceIndex


def write_indexes(table: TablePlan, writer: Writer) -> Iterator[Statement]:
    """Write the statements for the indexes that CREATE INDEX made; note what is skipped."""
    for index in table.source.indexes:
        if index.origin != "c":
            continue
        try:
            yield _index(table, index, writer)
        except Uncertain as reason:
            what = "unique index" if index.unique else "index"
            writer.skip(what, index.name, f"on {table.source.name}: {reason}", index.sql)


def _index(table: TablePlan, index: SourceIndex, writer: Writer) -> Statement:
    terms = []
    for position, name in enumerate(index.columns):
        collation = index.collations[position]
        if name is not None:
            terms.append(index_column(table, name, collation, unique=index.unique))
        else:
            terms.append(f"({_index_term(table, index, position)})")
        terms[-1] += " DESC" if index.descending[position] else ""
    where, proof = "", None
    if index.predicate is not None:
        condition, proof = predicate(index.predicate, table, writer.target.name)
        where = f" WHERE {condition}"
    name = writer.relation(index.name, "index")
    if index.unique:
        writer.note_unique(table, index)
    columns = [_kept_whole(table, index, position) for position in range(len(index.columns))]
    if None not in columns:
        whole = tuple(column for column in columns if column is not None)
        writer.note_key(table, whole, f"the index {index.name}", index)
    unique = "UNIQUE " if index.unique else ""
    _note_collation(table, index, writer)
    on = f"{writer.table_name(table)} ({', '.join(terms)})"
    sql = f"CREATE {unique}INDEX {ident(name)} ON {on}{where}"
    return Statement(
        "index",
        index.name,
        sql,
        after(table),
        optional=not index.unique or proof is not None,
        source_sql=index.sql,
        proof=proof,
    )


_LOST = {
    "NOCASE": (
        "lower({})",
        "the characters as they are; queries with lower() need one of their own",
    ),
    "RTRIM": ("rtrim({})", "the blanks at the end of a text, too"),
}


def _note_collation(table: TablePlan, index: SourceIndex, writer: Writer) -> None:
    """Note that an index compared in another way. A unique one keeps NOCASE."""
    columns = [table.column(name or "") for name in index.columns]
    kept = {"NOCASE"} if index.unique else set()
    lost = [
        collation in _LOST.keys() - kept and column is not None and column.type.kind.is_text
        for column, collation in zip(columns, index.collations, strict=True)
    ]
    if not any(lost) or None in columns:
        return
    first = index.collations[lost.index(True)]
    terms = []
    for column, collation, is_lost in zip(columns, index.collations, lost, strict=True):
        name = ident(column.target) if column is not None else ""
        terms.append(_LOST[collation][0].format(name) if is_lost else name)
    unique = "UNIQUE " if index.unique else ""
    writer.skip(
        "collation",
        index.name,
        f"{first}: the index is created, and compares {_LOST[first][1]}",
        index.sql,
        f"CREATE {unique}INDEX ON {writer.table_name(table)} ({', '.join(terms)});",
    )


def index_column(table: TablePlan, name: str, collation: str, *, unique: bool) -> str:
    """Spell a column of an index. Raises Uncertain."""
    column = table.column(name)
    if column is None:
        raise Uncertain(f"there is no column {name}")
    if not column.type.kind.is_ordered:
        raise Uncertain(f"{column.type} has no order")
    if collation == "NOCASE" and unique and column.type.kind.is_text:
        # lower() with collation C folds the letters A to Z alone, exactly as NOCASE does.
        return f'lower({ident(column.target)} COLLATE "C")'
    return ident(column.target)


_AS_LONG = ("LOWER", "UPPER", "IFNULL", "COALESCE")


def _kept_whole(table: TablePlan, index: SourceIndex, position: int) -> str | None:
    """Return the column that a key holds, for a unique index also behind a function as long."""
    name = index.columns[position]
    if name is not None or not index.unique or position >= len(index.terms):
        # A plain index that is too long is left out when it is built.
        return name
    found = tokens.tokenize(index.terms[position])
    if len(found) not in {4, 6} or not found[0].is_word(*_AS_LONG):
        return None
    if len(found) == 6 and found[4].kind not in {"string", "number"}:
        return None
    columns = {folded(column.source): column.source for column in table.columns}
    return columns.get(folded(found[2].value))


def _index_term(table: TablePlan, index: SourceIndex, position: int) -> str:
    text = index.terms[position] if position < len(index.terms) else ""
    inner = folded(text.replace(" ", ""))
    for function in ("lower", "upper"):
        if inner.startswith(f"{function}(") and inner.endswith(")") and not index.unique:
            name = inner[len(function) + 1 : -1].strip('"`[]')
            column = table.column(name) if name in named(table) else None
            if column is not None and column.type.kind.is_text:
                return f"{function}({ident(column.target)})"
    if index.collations[position] != "BINARY":
        raise Uncertain(f"it compares with the collation {index.collations[position]}")
    return translate(text, named(table))
