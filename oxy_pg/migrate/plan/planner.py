"""
Decide what a migration will do.

Making a plan reads both sides and changes neither.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from oxy_pg.errors import ConfigurationError, SchemaMismatch
from oxy_pg.migrate.convert.options import EPOCHS
from oxy_pg.migrate.convert.types import parse_cast
from oxy_pg.migrate.names import LONGEST, folded, quoted, shorten
from oxy_pg.migrate.plan.bookkeeping import shape_of, tools_of
from oxy_pg.migrate.plan.ddl import statements
from oxy_pg.migrate.plan.ddl.comparisons import Comparisons, casts_for_references
from oxy_pg.migrate.plan.existing import (
    existing_index_keys,
    existing_uniques,
    sequence_warnings,
)
from oxy_pg.migrate.plan.known import Known
from oxy_pg.migrate.plan.plan import ColumnPlan, ForeignKey, Plan, TablePlan
from oxy_pg.migrate.plan.standing import Prepared, seeds_elsewhere, with_standing
from oxy_pg.migrate.plan.survey import TableSurvey, Wishes, survey_tables
from oxy_pg.migrate.plan.versions import compare_versions, older_side
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.catalog import MOST_COLUMNS
from oxy_pg.report import Skipped
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.types import Cast
    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.plan import Statement
    from oxy_pg.migrate.plan.versions import Versions
    from oxy_pg.migrate.source.readers import Readers
    from oxy_pg.migrate.source.schema import SourceSchema, SourceTable
    from oxy_pg.migrate.target.catalog import TargetColumn, TargetSchema, TargetTable
    from oxy_pg.migrate.target.set_aside import SetAside


# A table, and what is wanted of its columns.
Job: TypeAlias = "tuple[SourceTable, Wishes]"


class _Notes:
    """What is found while the plan is made."""

    def __init__(self) -> None:
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []
        self.problems: list[str] = []


def make_plan(
    readers: Readers,
    source: SourceSchema,
    target: TargetSchema,
    url: str,
    options: Options,
    *,
    compute: bool = True,
    prepared: Prepared | None = None,
    versions: Sequence[Versions] = (),
    elsewhere: Mapping[str, str] | None = None,
    on_rows: Callable[[int, int], object] | None = None,
) -> Plan:
    """
    Make the plan.

    Without ``compute``, generated columns become ordinary ones, with their values.
    ``prepared`` has the rows that stand in the target, and which of them are seeds;
    ``versions`` are those of the migration tools on both sides; ``elsewhere`` are the tools
    that have their tables in another schema of the target, and which; ``on_rows`` gets how
    many rows have been examined, of how many.

    Raises SchemaMismatch with every way in which the two schemas do not fit,
    and ConfigurationError for options that name tables or columns that do not exist.
    """
    notes = _Notes()
    notes.skipped += source.skipped
    chosen = _choose_tables(readers.connection, source, target, options, notes, elsewhere or {})
    casts = _casts(source, options)
    found = _find_tables(chosen, target)
    names = _table_names(chosen, found, notes)
    existing = {t.name: _existing(t, found[t.name], target, options, notes) for t in chosen}
    known = Known(source)
    wanted = {t.name: _wanted(t, existing[t.name]) for t in chosen}
    _refuse_options(wanted, casts)
    jobs = [
        (t, Wishes(wanted[t.name], _casts_of(t, casts), known, options.integers)) for t in chosen
    ]
    surveys = survey_tables(readers, jobs, on_rows)
    tables = [
        _plan_table(table, existing[table.name], names[table.name], survey, notes)
        for table, survey in zip(chosen, surveys, strict=True)
    ]
    tables = _cast_for_references(readers, tables, jobs, notes)
    prepared = prepared or Prepared()
    tables = [with_standing(table, prepared, options, notes.warnings) for table in tables]
    _warn_of_casts(tables, casts, notes)
    notes.problems += compare_versions(tables, versions, prepared, options, notes.warnings)
    notes.warnings += sequence_warnings(tables, target)
    _propose_epochs(tables, known, notes)
    if notes.problems:
        older = older_side(versions, source, target)
        if older and not any(older.partition(";")[0] in problem for problem in notes.problems):
            notes.problems.append(older)
        raise SchemaMismatch(tuple(notes.problems))
    comparisons = Comparisons(readers.connection)
    planned = statements.write(
        tables, target, notes.skipped, notes.warnings, options, comparisons, compute=compute
    )
    notes.skipped[:] = [left for left in notes.skipped if not _is_theirs(left, tables)]
    planned.post_data += _views(readers, planned.tables, target, notes)
    return Plan(
        source=source.path,
        target=url,
        schema=target.name,
        encoding=source.encoding,
        tables=_parents_first(planned.tables, planned.foreign_keys),
        pre_data=tuple(planned.pre_data),
        post_data=tuple(planned.post_data),
        set_aside=_all_set_aside(tables),
        foreign_keys=tuple(planned.foreign_keys),
        skipped=tuple(notes.skipped),
        warnings=tuple(notes.warnings),
        options=options,
        index_keys=(*planned.index_keys, *existing_index_keys(tables)),
        kept_seeds=seeds_elsewhere(tables, prepared, target),
    )


def _is_theirs(left: Skipped, tables: list[TablePlan]) -> bool:
    """Whether it is a trigger on a table that the target's own migrations have made."""
    if left.kind != "trigger":
        return False
    filled = {folded(table.source.name) for table in tables if table.action == "fill"}
    found = tokens.tokenize(left.sql or "")
    names = [found[n + 1].value for n, token in enumerate(found[:-1]) if token.is_word("ON")]
    return bool(names) and folded(names[0]) in filled


def _views(
    readers: Readers, tables: list[TablePlan], target: TargetSchema, notes: _Notes
) -> list[Statement]:
    """Return the statements that create views; the others stay among what is skipped."""
    listed = [skipped for skipped in notes.skipped if skipped.kind == "view"]
    if not listed:
        return []
    from oxy_pg.migrate.plan.views import plan_views

    statements, left = plan_views(readers.connection, listed, tables, target)
    notes.skipped[:] = [skipped for skipped in notes.skipped if skipped.kind != "view"] + left
    return statements


def _choose_tables(
    lite: sqlite3.Connection,
    source: SourceSchema,
    target: TargetSchema,
    options: Options,
    notes: _Notes,
    elsewhere: Mapping[str, str],
) -> list[SourceTable]:
    every = [table.name for table in source.tables]
    for pattern in (*(options.tables or ()), *options.exclude):
        if not _matches(every, [pattern]):
            raise ConfigurationError(
                f"No table of the source is called {pattern!r}. "
                f"There are: {', '.join(every) or 'none'}."
            )
    wanted = set(every if options.tables is None else _matches(every, options.tables))
    wanted -= set(_matches(every, options.exclude))
    asked_for = {folded(name) for name in options.tables or ()}
    why = _whose(source, target, elsewhere)
    chosen = []
    for table in source.tables:
        books = folded(table.name) not in asked_for and shape_of(
            table.name, (column.name for column in table.columns)
        )
        if table.name not in wanted:
            notes.skipped.append(Skipped("table", table.name, "excluded by --tables or --exclude"))
        elif books and (
            target.table(table.name) or options.schema == "existing" or books.tool in why
        ):
            rows = lite.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()[0]
            has = "has its own" if target.table(table.name) else why.get(books.tool, _FROM_TOOL)
            reason = (
                f"a migration tool's own table ({books.tool}); the target {has}, and "
                f"{rows:,} {'row is' if rows == 1 else 'rows are'} not moved"
            )
            notes.skipped.append(Skipped("table", table.name, reason))
        elif not [c for c in table.columns if not c.hidden]:
            notes.skipped.append(Skipped("table", table.name, "it has no columns"))
        else:
            if books:
                notes.warnings.append(
                    f"{table.name} is moved, because the target has no such table and its other "
                    f"tables are created as they are in the source. What {books.tool} declares "
                    "otherwise in PostgreSQL (uuid, interval, jsonb) keeps its type of SQLite "
                    "(char(32), bigint, text): --prepare lets its migrations create the tables"
                )
            chosen.append(table)
    return chosen


_FROM_TOOL = "gets it from the tool, or needs none"


def _whose(
    source: SourceSchema, target: TargetSchema, elsewhere: Mapping[str, str]
) -> dict[str, str]:
    """Say of each migration tool at work in the target what it has there."""
    # Not all of a tool's tables are in every database: EF Core locks PostgreSQL without one.
    tools = dict.fromkeys(tools_of(target.tables.values()), _FROM_TOOL)
    ours = (t for t in source.tables if not shape_of(t.name, (c.name for c in t.columns)))
    if any(target.table(table.name) for table in ours):
        # Drizzle keeps its table in a schema of its own. Without any of the source's tables
        # it is another application's.
        tools |= {tool: f"has {name}" for tool, name in elsewhere.items() if tool not in tools}
    return tools


def _matches(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    wanted = [folded(pattern) for pattern in patterns]
    return [n for n in names if any(folded(n) == p or fnmatchcase(folded(n), p) for p in wanted)]


def _casts(source: SourceSchema, options: Options) -> dict[tuple[str, str], Cast]:
    casts = {}
    for name, spelled in (options.casts or {}).items():
        table_name, _, column_name = name.rpartition(".")
        table = source.table(table_name)
        columns = {folded(c.name): c.name for c in table.columns} if table else {}
        if table is None or folded(column_name) not in columns:
            raise ConfigurationError(
                f"The cast {name}={spelled} names no column of the source; write table.column=type."
            )
        casts[table.name, columns[folded(column_name)]] = parse_cast(spelled)
    return casts


def _refuse_options(
    wanted: Mapping[str, Mapping[str, PgType]], casts: Mapping[tuple[str, str], Cast]
) -> None:
    """Refuse options that mean nothing for the type that the column has in the target."""
    for (table, column), cast in casts.items():
        type_ = wanted.get(table, {}).get(column)
        if type_ is None or cast.option is None or cast.option in type_.kind.options:
            continue
        raise ConfigurationError(
            f"The cast {table}.{column}={cast.type}:{cast.option} has the option {cast.option!r}, "
            f"which means nothing here: the target has this column already, as {type_}."
        )


def _propose_epochs(tables: list[TablePlan], known: Known, notes: _Notes) -> None:
    """Say which columns of numbers are times in files of programs that are known."""
    plans = {table.source.name: table for table in tables}
    sources = [table.source for table in tables]
    for table, column, epoch, program in known.proposals(sources):
        planned = plans[table].column(column)
        if planned is not None and planned.type.kind.is_number:
            notes.warnings.append(
                f"{table}.{column}: {program} writes times into it, as {EPOCHS[epoch]}: "
                f"--cast {table}.{column}=timestamptz:{epoch} makes them times"
            )


def _warn_of_casts(
    tables: list[TablePlan], casts: Mapping[tuple[str, str], Cast], notes: _Notes
) -> None:
    for table in tables:
        for column in table.columns:
            cast = casts.get((table.source.name, column.source))
            if cast is not None and cast.type != column.type:
                notes.warnings.append(
                    f"{table.source.name}.{column.source} stays {column.type}, as the target has "
                    f"it: the cast to {cast.type} applies to tables that are created"
                )


def _cast_for_references(
    readers: Readers, tables: list[TablePlan], jobs: list[Job], notes: _Notes
) -> list[TablePlan]:
    """Give columns of texts that refer to whole numbers, or the reverse, the type of the other."""
    fixed = {(table.name, column) for table, wishes in jobs for column in wishes.casts}
    # A column may refer to one that has got another type itself.
    for _ in tables:
        found = list(casts_for_references(readers.connection, tables, fixed))
        if not found:
            break
        for name, column, cast, why in found:
            if (name, column) in fixed:
                continue
            fixed.add((name, column))
            notes.warnings.append(why)
            place, (source, wishes) = next(
                (n, job) for n, job in enumerate(jobs) if job[0].name == name
            )
            jobs[place] = (source, replace(wishes, casts={**wishes.casts, column: cast}))
            (survey,) = survey_tables(readers, [jobs[place]])
            planned = _new_columns(source, survey, _Notes())
            tables[place] = replace(tables[place], columns=planned)
    return tables


def _find_tables(tables: list[SourceTable], target: TargetSchema) -> dict[str, TargetTable | None]:
    """Find each table in the target, also where an earlier run had to shorten its name."""
    taken: set[str] = set()
    found = {}
    for table in tables:
        short = shorten(table.name, taken)
        taken.add(short)
        found[table.name] = target.table(table.name) or (
            target.table(short) if short != table.name else None
        )
    return found


def _table_names(
    tables: list[SourceTable], found: Mapping[str, TargetTable | None], notes: _Notes
) -> dict[str, str]:
    names: dict[str, str] = {}
    taken: set[str] = set()
    for table in tables:
        existing = found[table.name]
        names[table.name] = existing.name if existing else shorten(table.name, taken)
        if not existing and names[table.name] != table.name:
            notes.warnings.append(
                f"table {table.name} is called {names[table.name]} (PostgreSQL's names have 1 to "
                f"{LONGEST} bytes)"
            )
        taken.add(names[table.name])
    return names


def _existing(
    table: SourceTable,
    existing: TargetTable | None,
    target: TargetSchema,
    options: Options,
    notes: _Notes,
) -> TargetTable | None:
    if existing is None and options.schema == "existing":
        notes.problems.append(f"table {table.name} does not exist in the target")
    if existing is None and table.name in target.names:
        notes.problems.append(
            f"{table.name} is a view or something else in the target, not a table"
        )
    if existing is not None and options.schema == "create":
        notes.problems.append(
            f"table {table.name} exists in the target already, and --schema create was asked for "
            "(--schema auto fills it)"
        )
    return existing


def _wanted(table: SourceTable, existing: TargetTable | None) -> dict[str, PgType]:
    if existing is None:
        return {}
    matches = _find_columns(table, existing)
    return {name: match.type for name, match in matches.items() if match is not None}


def _find_columns(table: SourceTable, existing: TargetTable) -> dict[str, TargetColumn | None]:
    names = _column_names(table)
    return {name: existing.column(name) or existing.column(names[name]) for name in names}


def _column_names(table: SourceTable) -> dict[str, str]:
    """Return the names that the columns get in a table that is to be created."""
    names: dict[str, str] = {}
    taken = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
    for column in table.columns:
        if not column.hidden:
            names[column.name] = shorten(column.name, taken)
            taken.add(names[column.name])
    return names


def _casts_of(table: SourceTable, casts: Mapping[tuple[str, str], Cast]) -> dict[str, Cast]:
    return {column: cast for (owner, column), cast in casts.items() if owner == table.name}


def _plan_table(
    table: SourceTable,
    existing: TargetTable | None,
    name: str,
    survey: TableSurvey,
    notes: _Notes,
) -> TablePlan:
    for column_survey in survey.columns:
        notes.warnings += [f"{table.name}.{column_survey.name}: {n}" for n in column_survey.notes]
        rounding = column_survey.type.kind.rounding(column_survey.type)
        if rounding is not None and column_survey.rounded:
            notes.warnings.append(
                f"{table.name}.{column_survey.name}: {column_survey.rounded:,} {rounding.note}"
            )
    if existing is None:
        return TablePlan(table, name, "create", survey.rows, _new_columns(table, survey, notes))
    columns = _matched_columns(table, existing, survey, notes)
    uniques = tuple(existing_uniques(columns, existing))
    return TablePlan(table, name, "fill", survey.rows, columns, existing, uniques)


def _new_columns(table: SourceTable, survey: TableSurvey, notes: _Notes) -> tuple[ColumnPlan, ...]:
    if len(survey.columns) > MOST_COLUMNS:
        notes.problems.append(
            f"table {table.name} has {many(len(survey.columns), 'column')}; PostgreSQL takes "
            f"{MOST_COLUMNS:,}"
        )
    planned: list[ColumnPlan] = []
    names = _column_names(table)
    for found in survey.columns:
        column = table.column(found.name)
        name = names[column.name]
        if name != column.name:
            notes.warnings.append(f"column {table.name}.{column.name} is called {name}")
        # SQLite lets NULL into most primary keys. Such a key becomes UNIQUE, which means the same.
        in_key = column.name in table.primary_key and not found.nulls
        planned.append(
            ColumnPlan(
                column.name, name, column.declared, found.type, found, column.not_null or in_key
            )
        )
    return tuple(planned)


def _matched_columns(
    table: SourceTable, existing: TargetTable, survey: TableSurvey, notes: _Notes
) -> tuple[ColumnPlan, ...]:
    planned: list[ColumnPlan] = []
    matches = _find_columns(table, existing)
    for found in survey.columns:
        column = table.column(found.name)
        match = matches[column.name]
        if match is None:
            if column.name == table.implicit_key:
                reason = "the numbers of the rows; the target has no such column"
                notes.skipped.append(Skipped("column", f"{table.name}.{column.name}", reason))
            elif found.nulls == survey.rows:
                reason = "the target has no such column, and there are no values in it"
                notes.skipped.append(Skipped("column", f"{table.name}.{column.name}", reason))
            else:
                values = survey.rows - found.nulls
                notes.problems.append(
                    f"column {table.name}.{column.name} has {many(values, 'value')} and no "
                    "column in the target"
                )
            continue
        planned.append(
            ColumnPlan(
                column.name, match.name, column.declared, match.type, found, match.not_null,
                match.generated,
            )
        )  # fmt: skip
    notes.warnings += [
        f"{existing.name}.{column.target} is computed by PostgreSQL (GENERATED); the load counts "
        "the values that differ from those of SQLite"
        for column in planned
        if column.generated
    ]
    filled = {column.target for column in planned}
    for wanted in existing.columns:
        if wanted.name not in filled and not wanted.generated:
            if wanted.has_default or not wanted.not_null:
                notes.warnings.append(
                    f"{existing.name}.{wanted.name} does not exist in the source and gets "
                    + ("its default" if wanted.has_default else "NULL")
                )
            elif survey.rows:
                notes.problems.append(
                    f"column {existing.name}.{wanted.name} needs a value (NOT NULL, no default), "
                    "and the source has no such column"
                )
    return tuple(planned)


def _parents_first(
    tables: list[TablePlan], foreign_keys: list[ForeignKey]
) -> tuple[TablePlan, ...]:
    """Order by foreign keys, for targets whose constraints must stay; cycles as they come."""
    parents: dict[str, list[str]] = {table.source.name: [] for table in tables}
    for key in foreign_keys:
        parents[key.table].append(key.parent)
    by_name = {table.source.name: table for table in tables}
    ordered: dict[str, TablePlan] = {}
    for name in by_name:
        # Not by recursion: a chain of parents may be longer than the stack.
        waiting, seen = [name], set()
        while waiting:
            current = waiting[-1]
            missing = [p for p in parents[current] if p not in ordered and p not in seen]
            seen.add(current)
            missing = [p for p in missing if p != current]
            if missing:
                waiting.append(missing[0])
            else:
                waiting.pop()
                ordered.setdefault(current, by_name[current])
    return tuple(ordered.values())


def _all_set_aside(tables: list[TablePlan]) -> tuple[SetAside, ...]:
    unique = {
        aside.remove: aside
        for table in tables
        if table.existing is not None and table.rows
        for aside in table.existing.set_aside
    }
    return tuple(sorted(unique.values(), key=_phase))


def _phase(aside: SetAside) -> int:
    return aside.phase
