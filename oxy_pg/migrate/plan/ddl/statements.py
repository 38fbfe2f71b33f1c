"""
The statements that create tables (pre-data), and their keys, indexes and constraints (post-data).

Manual: chapter 5, Data Definition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, shorten
from oxy_pg.migrate.plan.ddl.conditions import translate_value
from oxy_pg.migrate.plan.ddl.defaults import translate_default
from oxy_pg.migrate.plan.ddl.indexes import write_indexes
from oxy_pg.migrate.plan.ddl.keys import write_checks, write_keys
from oxy_pg.migrate.plan.ddl.references import existing_foreign_keys, write_foreign_keys
from oxy_pg.migrate.plan.ddl.writer import Writer, named
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.plan import ForeignKey, IndexKey, Statement
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.ddl.comparisons import Comparisons
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan
    from oxy_pg.migrate.target.catalog import TargetSchema
    from oxy_pg.report import Skipped


@dataclass(slots=True)
class Written:
    """All statements, and the tables with the decisions that were made with them."""

    tables: list[TablePlan]
    pre_data: list[Statement]
    post_data: list[Statement]
    foreign_keys: list[ForeignKey]
    index_keys: list[IndexKey]


def write(
    tables: list[TablePlan],
    target: TargetSchema,
    skipped: list[Skipped],
    warnings: list[str],
    options: Options,
    comparisons: Comparisons,
    *,
    compute: bool = True,
) -> Written:
    """
    Write the statements for the tables that are to be created; note what is skipped.

    Without ``compute``, generated columns become ordinary ones.
    """
    writer = Writer(tables, target, (skipped, warnings), options, compute=compute)
    done = [
        _with_generated(table, writer) if table.action == "create" else table for table in tables
    ]
    new = [table for table in done if table.action == "create"]
    written = Written(done, [], [], [], writer.index_keys)
    written.pre_data = [_create_table(table, writer) for table in new]
    for table in new:
        written.post_data.extend(write_indexes(table, writer))
    keys = [key for table in new for key in write_keys(table, writer)]
    # PostgreSQL chooses the other keys' names around those that are given.
    for named_ in (True, False):
        written.post_data.extend(statement for is_named, statement in keys if is_named is named_)
    for table in new:
        written.post_data.extend(write_checks(table, writer))
    written.tables = [
        replace(table, uniques=table.uniques + tuple(writer.uniques[table.source.name]))
        for table in done
    ]
    by_name = {folded(table.source.name): table for table in done}
    for table in done:
        if table.action == "create":
            for key, statement in write_foreign_keys(table, by_name, writer, comparisons):
                written.foreign_keys.append(key)
                written.post_data.append(statement)
        else:
            written.foreign_keys.extend(existing_foreign_keys(table, done))
    return written


def _with_generated(table: TablePlan, writer: Writer) -> TablePlan:
    columns = []
    for column in table.columns:
        expression = _generation(table, column, writer)
        columns.append(replace(column, generated=expression is not None))
    return replace(table, columns=tuple(columns))


def _generation(table: TablePlan, column: ColumnPlan, writer: Writer | None) -> str | None:
    source = table.source.column(column.source)
    if source.generated is None:
        return None
    try:
        if writer is not None and not writer.compute:
            raise Uncertain("PostgreSQL cannot compute all of them")  # noqa: TRY301
        if writer is not None and _may_be_emptied(table, source.generated, writer.options):
            raise Uncertain("a column that they are computed from is emptied in some rows")  # noqa: TRY301
        return _generated_as(table, column, source.generated)
    except Uncertain as reason:
        if writer is not None:
            name = f"{table.source.name}.{column.source}"
            made = f"GENERATED ALWAYS AS ({source.generated})"
            writer.skip("generated column", name, f"its values are moved; {reason}", made)
        return None


def _may_be_emptied(table: TablePlan, text: str, options: Options) -> bool:
    """Whether SQLite computed it from values that will be NULL in PostgreSQL."""
    used = {folded(token.value) for token in tokens.tokenize(text)}
    references = {folded(name) for key in table.source.foreign_keys for name in key.columns}
    unfit = {folded(column.source) for column in table.columns if column.survey.unfit}
    return bool(
        (options.on_bad_value == "null" and used & unfit)
        or (options.on_orphan == "null" and used & references)
    )


def _generated_as(table: TablePlan, column: ColumnPlan, text: str) -> str:
    if not column.type.kind.computes_alike:
        raise Uncertain(f"its type is {column.type}")
    if column.survey.unfit:
        raise Uncertain(f"not all of them are {column.type}")
    generated = {folded(c.name) for c in table.source.columns if c.generated}
    alike = {
        name: meant
        for name, meant in named(table).items()
        if meant.type.kind is column.type.kind and name not in generated
    }
    return translate_value(text, alike)


def _create_table(table: TablePlan, writer: Writer) -> Statement:
    lines = [_column(table, column, writer) for column in table.columns]
    body = ",\n  ".join(lines)
    sql = f"CREATE TABLE {writer.table_name(table)} (\n  {body}\n)"
    return Statement("table", table.source.name, sql)


def _column(table: TablePlan, column: ColumnPlan, writer: Writer) -> str:
    source = table.source.column(column.source)
    line = f"{ident(column.target)} {column.type.sql}"
    if column.generated:
        return f"{line} GENERATED ALWAYS AS ({_generation(table, column, None)}) STORED"
    if _is_identity(table, column):
        return f"{line} GENERATED BY DEFAULT AS IDENTITY{_sequence(table, column, writer)}"
    if source.default is not None:
        try:
            option = column.survey.option
            line += f" DEFAULT {translate_default(source.default, column.type, option)}"
        except Uncertain as reason:
            name = f"{table.source.name}.{column.source}"
            writer.skip("default", name, f"{source.default}: {reason}", source.default)
    if source.collation not in {"BINARY", "NOCASE"}:
        writer.warnings.append(
            f"{table.source.name}.{column.source}: its collation {source.collation} is not kept"
        )
    if source.collation == "NOCASE":
        writer.warnings.append(
            f"{table.source.name}.{column.source} ignored case in comparisons (NOCASE); in "
            "PostgreSQL queries must use lower(), its unique indexes do"
        )
    return line + (" NOT NULL" if column.not_null else "")


def _sequence(table: TablePlan, column: ColumnPlan, writer: Writer) -> str:
    """Name the sequence of an identity, where its usual name is in use."""
    usual = f"{table.target}_{column.target}_seq"
    name = shorten(usual, writer.taken, writer.indexes)
    writer.taken.add(name)
    return f" (SEQUENCE NAME {writer.name(name)})" if name != usual else ""


def _is_identity(table: TablePlan, column: ColumnPlan) -> bool:
    return table.source.rowid_alias == column.source and column.type.kind.is_integer
