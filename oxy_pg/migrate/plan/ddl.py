"""
The statements that create tables (pre-data), and their keys, indexes and constraints (post-data).

Manual: chapter 5, Data Definition.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, shorten
from oxy_pg.migrate.plan.defaults import translate_default
from oxy_pg.migrate.plan.expressions import Uncertain, translate
from oxy_pg.migrate.plan.plan import KEYS_RESTORED, ForeignKey, Statement, UniqueKey
from oxy_pg.migrate.plan.predicates import predicate
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan
    from oxy_pg.migrate.source.schema import SourceForeignKey, SourceIndex
    from oxy_pg.migrate.target.catalog import TargetSchema


@dataclass(slots=True)
class Written:
    """All statements, and the tables with the decisions that were made with them."""

    tables: list[TablePlan]
    pre_data: list[Statement]
    post_data: list[Statement]
    foreign_keys: list[ForeignKey]


class _Writer:
    def __init__(
        self,
        target: TargetSchema,
        skipped: list[Skipped],
        warnings: list[str],
        options: Options,
        *,
        compute: bool,
    ) -> None:
        self.target = target
        self.options = options
        self.compute = compute
        self.skipped = skipped
        self.warnings = warnings
        self.taken = set(target.names)
        self.indexes: dict[str, str] = {}  # of the source, and the target's tables they are on
        self.uniques: dict[str, list[UniqueKey]] = defaultdict(list)

    def skip(self, what: str, name: str, reason: str, sql: str | None = None) -> None:
        self.skipped.append(Skipped(what, name, reason, sql))

    def name(self, relation: str) -> str:
        return ident(self.target.name, relation)

    def table_name(self, table: TablePlan) -> str:
        return self.name(table.target)


def write(
    tables: list[TablePlan],
    target: TargetSchema,
    skipped: list[Skipped],
    warnings: list[str],
    options: Options,
    *,
    compute: bool = True,
) -> Written:
    """
    Write the statements for the tables that are to be created; note what is skipped.

    Without ``compute``, generated columns become ordinary ones.
    """
    writer = _Writer(target, skipped, warnings, options, compute=compute)
    writer.taken |= {table.target for table in tables}
    writer.indexes = {
        index.name: table.target for table in tables for index in table.source.indexes
    }
    done = [
        _with_generated(table, writer) if table.action == "create" else table for table in tables
    ]
    new = [table for table in done if table.action == "create"]
    written = Written(done, [], [], [])
    written.pre_data = [_create_table(table, writer) for table in new]
    for table in new:
        written.post_data.extend(_indexes(table, writer))
    for table in new:
        written.post_data.extend(_keys(table, writer))
        written.post_data.extend(_checks(table, writer))
    written.tables = [
        replace(table, uniques=table.uniques + tuple(writer.uniques[table.source.name]))
        for table in done
    ]
    for table in done:
        if table.action == "create":
            for key, statement in _foreign_keys(table, done, writer):
                written.foreign_keys.append(key)
                written.post_data.append(statement)
        else:
            written.foreign_keys.extend(_existing_foreign_keys(table, done))
    return written


def _names(table: TablePlan) -> dict[str, tuple[str, PgType]]:
    return {folded(column.source): (column.target, column.type) for column in table.columns}


def _with_generated(table: TablePlan, writer: _Writer) -> TablePlan:
    columns = []
    for column in table.columns:
        expression = _generation(table, column, writer)
        columns.append(replace(column, generated=expression is not None))
    return replace(table, columns=tuple(columns))


def _generation(table: TablePlan, column: ColumnPlan, writer: _Writer | None) -> str | None:
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
        name: (target, type_)
        for name, (target, type_) in _names(table).items()
        if type_.kind is column.type.kind and name not in generated
    }
    return translate(text, alike)


def _create_table(table: TablePlan, writer: _Writer) -> Statement:
    lines = [_column(table, column, writer) for column in table.columns]
    body = ",\n  ".join(lines)
    sql = f"CREATE TABLE {writer.table_name(table)} (\n  {body}\n)"
    return Statement("table", table.source.name, sql)


def _column(table: TablePlan, column: ColumnPlan, writer: _Writer) -> str:
    source = table.source.column(column.source)
    line = f"{ident(column.target)} {column.type.sql}"
    if column.generated:
        return f"{line} GENERATED ALWAYS AS ({_generation(table, column, None)}) STORED"
    if _is_identity(table, column):
        return f"{line} GENERATED BY DEFAULT AS IDENTITY{_sequence(table, column, writer)}"
    if source.default is not None:
        try:
            line += f" DEFAULT {translate_default(source.default, column.type)}"
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


def _sequence(table: TablePlan, column: ColumnPlan, writer: _Writer) -> str:
    """Name the sequence of an identity, where its usual name is in use."""
    usual = f"{table.target}_{column.target}_seq"
    name = shorten(usual, writer.taken | writer.indexes.keys())
    writer.taken.add(name)
    return f" (SEQUENCE NAME {writer.name(name)})" if name != usual else ""


def _is_identity(table: TablePlan, column: ColumnPlan) -> bool:
    return table.source.rowid_alias == column.source and column.type.kind.is_integer


def _term(name: str, collation: str) -> str:
    # lower() with collation C folds the letters A to Z alone, exactly as NOCASE does.
    return f'lower({ident(name)} COLLATE "C")' if collation == "NOCASE" else ident(name)


def _indexes(table: TablePlan, writer: _Writer) -> Iterator[Statement]:
    for index in table.source.indexes:
        if index.origin != "c":
            continue
        try:
            yield _index(table, index, writer)
        except Uncertain as reason:
            what = "unique index" if index.unique else "index"
            writer.skip(what, index.name, f"on {table.source.name}: {reason}", index.sql)


def _index(table: TablePlan, index: SourceIndex, writer: _Writer) -> Statement:
    terms = []
    for position, name in enumerate(index.columns):
        collation = index.collations[position]
        if name is not None:
            terms.append(_index_column(table, name, collation, unique=index.unique))
        else:
            terms.append(f"({_index_term(table, index, position)})")
        terms[-1] += " DESC" if index.descending[position] else ""
    where, proof = "", None
    if index.predicate is not None:
        condition, proof = predicate(index.predicate, table, _names(table), writer.target.name)
        where = f" WHERE {condition}"
    name = shorten(index.name, writer.taken)
    if name != index.name:
        writer.warnings.append(f"index {index.name} is called {name}")
    writer.taken.add(name)
    if index.unique:
        _note_unique(table, index, writer)
    unique = "UNIQUE " if index.unique else ""
    on = f"{writer.table_name(table)} ({', '.join(terms)})"
    sql = f"CREATE {unique}INDEX {ident(name)} ON {on}{where}"
    return Statement(
        "index",
        index.name,
        sql,
        _after(table),
        optional=not index.unique or proof is not None,
        source_sql=index.sql,
        proof=proof,
    )


def _after(*tables: TablePlan) -> frozenset[str]:
    return frozenset(table.target for table in tables)


def _after_names(table: TablePlan, writer: _Writer) -> frozenset[str]:
    # PostgreSQL chooses the names of keys, which begin with the table's: indexes of the source that
    # have such a name are created first.
    begins = table.target[:20]
    return _after(table) | {
        owner for name, owner in writer.indexes.items() if name.startswith(begins)
    }


def _note_unique(table: TablePlan, index: SourceIndex, writer: _Writer) -> None:
    columns = tuple(column for column in index.columns if column is not None)
    if len(columns) == len(index.columns):  # else PostgreSQL alone can tell
        name = f"the unique index {index.name}" if index.origin == "c" else "a UNIQUE constraint"
        folds = tuple(collation == "NOCASE" for collation in index.collations)
        writer.uniques[table.source.name].append(UniqueKey(name, columns, folds, index.predicate))


def _index_column(table: TablePlan, name: str, collation: str, *, unique: bool) -> str:
    column = table.column(name)
    if column is None:
        raise Uncertain(f"there is no column {name}")
    if not column.type.kind.is_ordered:
        raise Uncertain(f"{column.type} has no order")
    folds = collation == "NOCASE" and unique and column.type.kind.is_text
    return _term(column.target, "NOCASE" if folds else "BINARY")


def _index_term(table: TablePlan, index: SourceIndex, position: int) -> str:
    text = index.terms[position] if position < len(index.terms) else ""
    inner = folded(text.replace(" ", ""))
    for function in ("lower", "upper"):
        if inner.startswith(f"{function}(") and inner.endswith(")") and not index.unique:
            name = inner[len(function) + 1 : -1].strip('"`[]')
            column = table.column(name)
            if column is not None and column.type.kind.is_text:
                return f"{function}({ident(column.target)})"
    return translate(text, _names(table))


def _keys(table: TablePlan, writer: _Writer) -> Iterator[Statement]:
    name = writer.table_name(table)
    after = _after_names(table, writer)
    for columns, what in unique_keys(table):
        planned = [table.column(column) for column in columns]
        if what == "UNIQUE" and columns == table.source.primary_key:
            reason = "it holds NULLs, so it becomes a UNIQUE constraint"
            writer.skip("primary key", table.source.name, reason)
        if any(column is None or not column.type.kind.is_ordered for column in planned):
            writer.skip(what.lower(), table.source.name, "a column's type has no order")
            continue
        spelled = ", ".join(ident(column.target) for column in planned if column is not None)
        label = "the primary key" if columns == table.source.primary_key else "a UNIQUE constraint"
        writer.uniques[table.source.name].append(UniqueKey(label, columns, (False,) * len(columns)))
        sql = f"ALTER TABLE {name} ADD {what} ({spelled})"
        yield Statement(what.lower(), table.source.name, sql, after)
    for index in table.source.indexes:
        if index.origin in {"u", "pk"} and "NOCASE" in index.collations:
            try:
                terms = [
                    _index_column(table, column or "", collation, unique=True)
                    for column, collation in zip(index.columns, index.collations, strict=True)
                ]
            except Uncertain as reason:
                writer.skip("unique", table.source.name, str(reason))
                continue
            _note_unique(table, index, writer)
            create = f"CREATE UNIQUE INDEX ON {name} ({', '.join(terms)})"
            yield Statement("unique", table.source.name, create, after)


def unique_keys(table: TablePlan) -> list[tuple[tuple[str, ...], str]]:
    """Return the primary key and the UNIQUE constraints, by the source's names."""
    found: list[tuple[tuple[str, ...], str]] = []
    key = [table.column(name) for name in table.source.primary_key]
    if key:
        whole = all(column is not None and column.not_null for column in key)
        found.append((table.source.primary_key, "PRIMARY KEY" if whole else "UNIQUE"))
    for index in table.source.indexes:
        columns = tuple(column for column in index.columns if column is not None)
        if index.origin == "u" and "NOCASE" not in index.collations:
            found.append((columns, "UNIQUE"))
    return found


def _checks(table: TablePlan, writer: _Writer) -> Iterator[Statement]:
    for name, text in table.source.checks:
        label = name or f"{table.source.name}: CHECK ({text})"
        try:
            condition = translate(text, _names(table))
        except Uncertain as reason:
            writer.skip("check", label, str(reason), f"CHECK ({text})")
            continue
        named = f"CONSTRAINT {ident(shorten(name, set()))} " if name else ""
        sql = f"ALTER TABLE {writer.table_name(table)} ADD {named}CHECK ({condition})"
        made = f"CHECK ({text})"
        yield Statement("check", label, sql, _after(table), optional=True, source_sql=made)


def _foreign_keys(
    table: TablePlan, tables: list[TablePlan], writer: _Writer
) -> Iterator[tuple[ForeignKey, Statement]]:
    for key in table.source.foreign_keys:
        label = f"{table.source.name} ({', '.join(key.columns)}) → {key.parent}"
        try:
            parent, columns = _parent(table, key, tables)
        except Uncertain as reason:
            writer.skip("foreign key", label, str(reason))
            writer.warnings.append(f"foreign key {label} is skipped: {reason}")
            continue
        own = [table.column(column) for column in key.columns]
        spelled = ", ".join(ident(column.target) for column in own if column)
        sql = (
            f"ALTER TABLE {writer.table_name(table)} ADD FOREIGN KEY ({spelled}) REFERENCES "
            f"{writer.table_name(parent)} ({', '.join(ident(c.target) for c in columns)})"
        )
        for event, action in (("UPDATE", key.on_update), ("DELETE", key.on_delete)):
            sql += f" ON {event} {action}" if action != "NO ACTION" else ""
        sql += " DEFERRABLE INITIALLY DEFERRED" if table.source.deferred else ""
        found = ForeignKey(
            table.source.name, key.columns, parent.source.name, tuple(c.source for c in columns)
        )
        # Not before the parent's key, which may itself wait for other tables.
        after = _after(table) | _after_names(parent, writer)
        if parent.existing is not None:
            after |= {KEYS_RESTORED}
        yield found, Statement("foreign key", label, sql, after)


def _parent(
    table: TablePlan, key: SourceForeignKey, tables: list[TablePlan]
) -> tuple[TablePlan, list[ColumnPlan]]:
    parent = next((t for t in tables if folded(t.source.name) == folded(key.parent)), None)
    if parent is None:
        raise Uncertain(f"there is no table {key.parent}")
    names = key.parent_columns or parent.source.primary_key
    columns = [parent.column(name) for name in names]
    found = [column for column in columns if column is not None]
    if len(found) != len(key.columns):
        raise Uncertain(f"the columns that it refers to do not exist ({', '.join(names)})")
    if not _is_unique(parent, {column.source for column in found}):
        raise Uncertain(f"{', '.join(names)} is not unique in {key.parent}")
    for name, other in zip(key.columns, found, strict=True):
        own = table.column(name)
        if own is None or _group(own) != _group(other):
            raise Uncertain(f"{name} is {own.type if own else '?'}, {other.source} is {other.type}")
    return parent, found


def _group(column: ColumnPlan) -> str:
    """Name the types that may refer to each other."""
    return column.type.kind.reference_group or column.type.kind.name


def _is_unique(parent: TablePlan, columns: set[str]) -> bool:
    if parent.existing is not None:
        targets = {c.target for c in parent.columns if c.source in columns}
        return any(
            set(unique.columns) == targets and unique.predicate is None
            for unique in parent.existing.uniques
        )
    keys = [set(key) for key, _ in unique_keys(parent)]
    keys += [
        {column for column in index.columns if column is not None}
        for index in parent.source.indexes
        if index.unique and index.predicate is None and None not in index.columns
        and "NOCASE" not in index.collations
    ]  # fmt: skip
    ordered = all(
        column is not None and column.type.kind.is_ordered
        for column in (parent.column(name) for name in columns)
    )
    return ordered and columns in keys


def _existing_foreign_keys(table: TablePlan, tables: list[TablePlan]) -> Iterator[ForeignKey]:
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
