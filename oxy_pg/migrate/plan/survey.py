"""
What the columns of the source really hold, examined before the first write.

One pass over each table counts the values that have the form that their
column's type expects. Only columns with other values are examined closely.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from oxy_pg.migrate.convert import codec, values
from oxy_pg.migrate.convert.instants import instant
from oxy_pg.migrate.convert.kind import Facts
from oxy_pg.migrate.convert.kinds.numbers import BIGINT
from oxy_pg.migrate.convert.types import choose, is_departure, narrowed
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan import units
from oxy_pg.migrate.source.functions import encoding_of
from oxy_pg.migrate.source.readers import Question
from oxy_pg.report import BadValue

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.types import Cast
    from oxy_pg.migrate.convert.unfit import Value
    from oxy_pg.migrate.plan.known import Known
    from oxy_pg.migrate.source.readers import Readers
    from oxy_pg.migrate.source.schema import SourceColumn, SourceTable
    from oxy_pg.report import UnclearTime

_SAMPLE = 500  # rows, of a table that is not very wide
_SAMPLED = 20_000  # values
_LARGE = 400  # characters of a text from which on its end may lie on another page
_PART = 10_000  # rowids that a reader is asked about at once, at least
_PARTS = 8  # of a table for each reader, at most

# CASE and not AND, of which SQLite may compute both sides: it would read every large value.
_FACTS = """
    sum(typeof({x}) = 'null'), sum(typeof({x}) = 'integer'), sum(typeof({x}) = 'real'),
    sum(typeof({x}) = 'text'), sum(typeof({x}) = 'blob'),
    max(CASE WHEN typeof({x}) = 'text' THEN length({x}) END),
    min(CASE WHEN typeof({x}) IN ('integer', 'real') THEN {x} END),
    max(CASE WHEN typeof({x}) IN ('integer', 'real') THEN {x} END),
    sum(CASE WHEN typeof({x}) <> 'text' THEN 0 WHEN length({x}) < 80 THEN
        substr({x}, 20) GLOB '*[-+Z]*' OR {x} GLOB '????-??-??T??:??*[-+Z]*' ELSE 0 END),
    sum(CASE WHEN typeof({x}) = 'integer' THEN {x} NOT IN (0, 1) END),
    sum(CASE WHEN typeof({x}) = 'integer' THEN
        {x} NOT BETWEEN -9007199254740992 AND 9007199254740992 END),
    max(CASE WHEN typeof({x}) = 'real' THEN oxy_decimals(CAST(printf('%.15g', {x}) AS REAL)) END),
    sum(typeof({x}) = 'blob' AND length({x}) <> 16),
    sum(CASE WHEN typeof({x}) = 'real' THEN {x} <> round({x}) END)
"""
_COUNT = 14  # of _FACTS


@dataclass(frozen=True, slots=True)
class ColumnSurvey:
    """
    What one column holds, the type that it gets, and how its values are sent.

    ``unfit`` values do not have the form for the fast way, and go through
    values.to_text().
    """

    name: str
    type: PgType
    nulls: int
    facts: Facts
    fast: codec.Fast | None
    unfit: int
    option: str | None  # one of the kind's options
    notes: tuple[str, ...] = ()
    rounded: int = 0  # values that are rounded (Kind.rounding)
    unclear: UnclearTime | None = None  # why its numbers cannot be read


@dataclass(frozen=True, slots=True)
class TableSurvey:
    """What one table holds."""

    rows: int
    columns: tuple[ColumnSurvey, ...]


def exact(connection: sqlite3.Connection, name: str) -> str:
    """
    Return the term that reads a column so that a broken text is still broken.

    SQLite converts UTF-16 to UTF-8, and a lone surrogate to another character.
    Such a text is read as bytes that are not valid UTF-8 instead.
    """
    if encoding_of(connection) == "UTF-8":
        return name
    broken = f"typeof({name}) = 'text' AND oxy_is_broken(CAST({name} AS BLOB))"
    return f"CASE WHEN {broken} THEN CAST(x'd8d8' AS TEXT) ELSE {name} END"


@dataclass(frozen=True, slots=True)
class Wishes:
    """
    What is wanted of the columns of one table, by their names.

    ``types`` are those of columns that exist in the target, ``casts`` the
    user's; the other types are chosen, whole numbers as ``integers`` says.
    """

    types: Mapping[str, PgType]
    casts: Mapping[str, Cast]
    known: Known
    integers: str = "bigint"


class Pace:
    """
    How many rows have been examined, of how many, by the numbers of the rows.

    A table is examined by one query, and some are closely after that: each is
    counted as half of the work.
    """

    def __init__(
        self, readers: Readers, tables: Sequence[SourceTable], show: Callable[[int, int], object]
    ) -> None:
        self._show = show
        self._extents = [_extent(readers, table) for table in tables]
        self._total = 2 * sum(self._extents)
        self._halves = 0

    def part(self, part: tuple[int, int] | None, number: int) -> None:
        """Count a part of a table as examined; None: all of it."""
        self._add(self._extents[number] if part is None else part[1] - part[0] + 1)

    def table(self, number: int) -> None:
        """Count a table as examined closely, if that was necessary."""
        self._add(self._extents[number])

    def _add(self, rows: int) -> None:
        self._halves += rows
        self._show(min(self._halves, self._total) // 2, self._total // 2)


def survey_tables(
    readers: Readers,
    tables: Sequence[tuple[SourceTable, Wishes]],
    on_rows: Callable[[int, int], object] | None = None,
) -> list[TableSurvey]:
    """Examine every value of these tables; ``on_rows`` gets how many rows of how many were."""
    connection = readers.connection
    pace = Pace(readers, [table for table, _ in tables], on_rows) if on_rows else None
    proposals = [_propose_all(connection, *job) for job in tables]
    # All at once: the parts of a large table go to several readers.
    counts = _sums(
        readers,
        [
            (table, _fitting_terms(table, proposed))
            for (table, *_), proposed in zip(tables, proposals, strict=True)
        ],
        pace,
    )
    surveys = []
    for number, (job, proposed, sums) in enumerate(zip(tables, proposals, counts, strict=True)):
        quick = _all_fitting(readers, job[0], proposed, sums)
        surveys.append(quick or _look_closely(readers, *job, proposed))
        if pace is not None:
            pace.table(number)
    return surveys


def _sums(
    readers: Readers,
    asked: Sequence[tuple[SourceTable, list[str]]],
    pace: Pace | None = None,
) -> list[list[Any]]:
    """Return the sums of the terms of each table; none where it has no terms."""
    questions: list[Question] = []
    owners: list[tuple[int, tuple[int, int] | None]] = []
    for number, (table, terms) in enumerate(asked):
        if terms:
            parts = _parts(readers, table)
            questions += [_sum_question(table, terms, part) for part in parts]
            owners += [(number, part) for part in parts]
        elif pace is not None:
            pace.part(None, number)

    def on_answer(place: int) -> None:
        number, part = owners[place]
        if pace is not None:
            pace.part(part, number)

    found: list[list[Any]] = [[] for _ in asked]
    for (number, _), row in zip(owners, readers.ask_all(questions, on_answer), strict=True):
        so_far = found[number]
        numbers = [value or 0 for value in row]
        found[number] = [a + b for a, b in zip(so_far, numbers, strict=True)] if so_far else numbers
    return found


def _sum_question(table: SourceTable, terms: list[str], part: tuple[int, int] | None) -> Question:
    query = f"SELECT {', '.join(terms)} FROM {quoted(table.name)}"
    if part is None:
        return Question(query)
    query += f" NOT INDEXED WHERE {table.identity[0]} BETWEEN :first AND :last"
    return Question(query, {"first": part[0], "last": part[1]})


def _parts(readers: Readers, table: SourceTable) -> list[tuple[int, int] | None]:
    """Return the ranges of rowids in which a table is read; None: all of it at once."""
    ends = _ends(readers, table)
    if ends is None or ends[1] - ends[0] < _PART:
        return [None]
    least, greatest = ends
    width = max(_PART, -(-(greatest - least + 1) // (_PARTS * len(readers.all))))
    return [
        (first, min(first + width - 1, greatest)) for first in range(least, greatest + 1, width)
    ]


def _ends(readers: Readers, table: SourceTable) -> tuple[int, int] | None:
    """Return the least and the greatest rowid; None where there is none."""
    if not table.has_rowid:
        return None
    rowid, name = table.identity[0], quoted(table.name)
    # Two queries: for one with both, SQLite would read the whole table.
    query = f"SELECT (SELECT min({rowid}) FROM {name}), (SELECT max({rowid}) FROM {name})"
    least, greatest = readers.connection.execute(query).fetchone()
    return None if least is None else (least, greatest)


def _extent(readers: Readers, table: SourceTable) -> int:
    """Return about how many rows a table has."""
    ends = _ends(readers, table)
    return 0 if ends is None else ends[1] - ends[0] + 1


def _propose_all(
    connection: sqlite3.Connection, table: SourceTable, wishes: Wishes
) -> list[ColumnSurvey]:
    """Guess from the first rows, and where there is a rowid, from the last."""
    columns = [column for column in table.columns if not column.hidden]
    encoding = encoding_of(connection)
    name = quoted(table.name)
    rows = min(_SAMPLE, max(1, _SAMPLED // max(1, len(columns))))
    if table.has_rowid and table.implicit_key is None:
        # Not a query in FROM: its columns are read whole, however large they are.
        rowid = table.identity[0]
        some = f"SELECT {rowid} FROM {name} NOT INDEXED ORDER BY {rowid}"
        ends = (f"SELECT * FROM ({some} {order} LIMIT {rows // 2})" for order in ("", "DESC"))
        sample = f"{name} WHERE {rowid} IN ({' UNION '.join(ends)})"
    else:
        # Not "*": that would also compute the columns that cannot be.
        names = ", ".join(quoted(column.name) for column in columns)
        sample = f"(SELECT {names} FROM {name} LIMIT {rows})"
    return [
        _propose(column, facts, wishes, encoding=encoding)
        for column, facts in zip(columns, _all_facts(connection, sample, columns), strict=True)
    ]


def _look_closely(
    readers: Readers, table: SourceTable, wishes: Wishes, proposed: list[ColumnSurvey]
) -> TableSurvey:
    """Survey a table in which some values are not like those of the first rows."""
    connection = readers.connection
    columns = [column for column in table.columns if not column.hidden]
    encoding = encoding_of(connection)
    rows, counts = _count(readers, table, proposed)
    surveyed = []
    for column, proposal, (present, fitting, rounded) in zip(
        columns, proposed, counts, strict=True
    ):
        if proposal.fast is not None and fitting == present:
            found = replace(proposal, nulls=rows - present, unfit=0, rounded=rounded)
        else:
            (facts,) = _all_facts(connection, quoted(table.name), [column])
            found = _propose(column, facts, wishes, encoding=encoding)
            if found.type.kind.is_instant and (facts.integers + facts.reals or found.option):
                found = _with_unit(connection, table, found, wishes, encoding=encoding)
            found = _recount(readers, table, replace(found, nulls=rows - present))
        surveyed.append(found)
    return TableSurvey(rows, tuple(surveyed))


def _all_facts(
    connection: sqlite3.Connection, relation: str, columns: list[SourceColumn]
) -> list[Facts]:
    found: list[Facts] = []
    # SQLite compares each aggregate with all others: one query for all takes long to prepare.
    for start in range(0, len(columns), 25):
        part = columns[start : start + 25]
        terms = ", ".join(_FACTS.replace("{x}", quoted(column.name)) for column in part)
        row = connection.execute(f"SELECT {terms} FROM {relation}").fetchone()
        found.extend(_facts(row[_COUNT * i : _COUNT * i + _COUNT]) for i in range(len(part)))
    return found


def _facts(row: tuple[float | None, ...]) -> Facts:
    numbers = [value or 0 for value in row]
    nulls, integers, reals, texts, blobs, longest = (int(number) for number in numbers[:6])
    return Facts(
        nulls=nulls,
        integers=integers,
        reals=reals,
        texts=texts,
        blobs=blobs,
        longest=longest,
        least=numbers[6],
        greatest=numbers[7],
        offsets=int(numbers[8]),
        bits=numbers[9] == 0,
        whole=numbers[10] == 0,
        plain_decimals=int(numbers[11]),
        sixteen=numbers[12] == 0,
        fractions=int(numbers[13]),
    )


def _propose(column: SourceColumn, facts: Facts, wishes: Wishes, *, encoding: str) -> ColumnSurvey:
    wanted, cast_ = wishes.types.get(column.name), wishes.casts.get(column.name)
    notes: tuple[str, ...] = ()
    if wanted is not None:
        type_ = wanted
    elif cast_ is not None:
        type_ = cast_.type
    elif column.generated is None and column.key_position and _is_rowid(column):
        type_ = _whole(BIGINT.type, column, facts, wishes)
    else:
        type_ = _whole(choose(column.declared, facts, column.name), column, facts, wishes)
        notes = _departures(column, facts, type_)
    # The target may have another type than the cast, for which its option means nothing.
    option = cast_.option if cast_ and cast_.option in type_.kind.options else None
    if option is None and facts.integers + facts.reals > facts.texts:
        # What the numbers of a time are is decided when all of them have been looked at.
        option = "s" if type_.kind.is_instant else wishes.known.interval_of(type_)
    fast = type_.fast(facts, option, encoding)
    return ColumnSurvey(column.name, type_, facts.nulls, facts, fast, 0, option, notes)


def _whole(type_: PgType, column: SourceColumn, facts: Facts, wishes: Wishes) -> PgType:
    """Return the type of whole numbers that was asked for."""
    if wishes.integers != "auto" or column.generated is not None:
        return type_
    return narrowed(type_, column.declared, facts, column.default)


def _departures(column: SourceColumn, facts: Facts, type_: PgType) -> tuple[str, ...]:
    """Say where the values have another type than the declaration."""
    if not is_departure(column.declared, facts, type_):
        return ()
    return (f"declared {column.declared}, and becomes {type_}, which its values are",)


def _with_unit(
    connection: sqlite3.Connection,
    table: SourceTable,
    found: ColumnSurvey,
    wishes: Wishes,
    *,
    encoding: str,
) -> ColumnSurvey:
    """Decide what the numbers of a time column count, or describe what the user has decided."""
    column, facts = table.column(found.name), found.facts
    numbers = units.read_numbers(connection, table.name, found.name, in_texts=found.facts.texts > 0)
    cast_ = wishes.casts.get(found.name)
    if cast_ is not None and cast_.option is not None and cast_.option == found.option:
        note = units.described(numbers, cast_.option)
        return replace(found, notes=(*found.notes, note))
    # A stray text among numbers is a bad value, and a stray number among texts too. Only texts
    # that are times show that a number among them is not.
    times = _count_times(connection, table, column) if facts.texts else 0
    if facts.integers + facts.reals <= times:
        return replace(found, option=None, fast=found.type.fast(facts, None, encoding))
    place = (table.name, found.name)
    reading = units.decide(numbers, place, found.type, wishes.known.epoch(*place))
    notes = (*found.notes, reading.note) if reading.note else found.notes
    fast = found.type.fast(facts, reading.option, encoding)
    return replace(found, option=reading.option, fast=fast, notes=notes, unclear=reading.unclear)


def _count_times(connection: sqlite3.Connection, table: SourceTable, column: SourceColumn) -> int:
    name = quoted(column.name)
    query = f"SELECT {exact(connection, name)} FROM {quoted(table.name)} "
    query += f"WHERE typeof({name}) = 'text'"
    count = 0
    with exact_text(connection):
        for (raw,) in connection.execute(query):
            try:
                instant(values.decode(raw), None)
            except Unfit:
                continue
            count += 1
    return count


def _is_rowid(column: SourceColumn) -> bool:
    return column.declared.upper() == "INTEGER"


# Counts a row in which a value does not fit, among rows that have a NULL. Neither these nor those,
# two billion of each, may be too many for a sum in SQLite, which fails beyond 64 bits.
_MISFIT = 2**32


def _fitting_terms(table: SourceTable, proposed: list[ColumnSurvey]) -> list[str]:
    """
    Return the sums that show whether every value fits, which is nearly always so.

    A single condition for all columns takes less time than a sum for each. The
    NULLs are counted of those columns alone that have shown one; a row with a
    NULL in another is counted as such. Empty where it is known already that some
    values do not fit.
    """
    if len(proposed) > 300 or any(column.fast is None for column in proposed):
        return []
    # The rowid is a whole number of 64 bits in any case.
    rowid = table.rowid_alias
    terms, fits, fits_or_null = ["count(*)"], ["1"], ["1"]
    for column in proposed:
        if column.name == rowid and column.type.kind is BIGINT:
            continue
        name = quoted(column.name)
        test = f"({column.fast.fits.replace('{x}', name)})" if column.fast else ""
        if table.column(column.name).not_null:
            fits_or_null.append(test)
        elif _may_be_large(column):  # whether it is NULL is asked last, because it reads the value
            fits_or_null.append(f"({test} OR {name} ISNULL)")
        else:
            fits_or_null.append(f"({name} ISNULL OR {test})")
        fits.append(fits_or_null[-1] if _has_shown_null(table, column) else test)
        if _has_shown_null(table, column):
            terms.append(_present(table, column))
        if (rounded := _rounded(column, name)) != "0":
            terms.append(rounded)
    cases = f"WHEN {' AND '.join(fits)} THEN 0"
    if fits != fits_or_null:
        cases += f" WHEN {' AND '.join(fits_or_null)} THEN 1"
    return [*terms, f"sum(CASE {cases} ELSE {_MISFIT} END)"]


def _has_shown_null(table: SourceTable, column: ColumnSurvey) -> bool:
    return column.nulls > 0 and not table.column(column.name).not_null


def _all_fitting(
    readers: Readers, table: SourceTable, proposed: list[ColumnSurvey], sums: list[int]
) -> TableSurvey | None:
    """Return the survey of a table in which every value fits; None if some do not."""
    if not sums or sums[-1] >= _MISFIT:
        return None
    rows, *counts, nulls = sums
    found = iter(counts)
    rest = _nulls(readers, table, proposed) if nulls else {}
    surveyed = [
        replace(
            column,
            nulls=rows - next(found)
            if _has_shown_null(table, column)
            else rest.get(column.name, 0),
            unfit=0,
            rounded=next(found) if _rounded(column, "") != "0" else 0,
        )
        for column in proposed
    ]
    return TableSurvey(rows, tuple(surveyed))


def _nulls(readers: Readers, table: SourceTable, proposed: list[ColumnSurvey]) -> dict[str, int]:
    """Count the NULLs of the columns that have not shown one."""
    asked = [
        column
        for column in proposed
        if not (_has_shown_null(table, column) or table.column(column.name).not_null)
    ]
    terms = ["count(*)", *(_present(table, column) for column in asked)]
    ((rows, *present),) = _sums(readers, [(table, terms)])
    return {column.name: rows - count for column, count in zip(asked, present, strict=True)}


def _count(
    readers: Readers, table: SourceTable, proposed: list[ColumnSurvey]
) -> tuple[int, list[tuple[int, int, int]]]:
    """Return the rows, and of each column the values, those that fit, and the rounded times."""
    rows = 0
    counts: list[tuple[int, int, int]] = []
    for start in range(0, max(1, len(proposed)), 300):
        terms = ["count(*)"]
        for column in proposed[start : start + 300]:
            name = quoted(column.name)
            fits = column.fast.fits.replace("{x}", name) if column.fast else "0"
            terms += [_present(table, column), f"sum({fits})", _rounded(column, name)]
        ((rows, *numbers),) = _sums(readers, [(table, terms)])
        counts += zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return rows, counts


def _present(table: SourceTable, column: ColumnSurvey) -> str:
    # SQLite enforces NOT NULL, so it need not be counted.
    if table.column(column.name).not_null:
        return "count(*)"
    name = quoted(column.name)
    # SQLite knows the type of a value that it has not read.
    return f"sum(typeof({name}) <> 'null')" if _may_be_large(column) else f"count({name})"


def _may_be_large(column: ColumnSurvey) -> bool:
    """Whether its values are perhaps not on the page of their row."""
    return column.type.kind.is_binary or column.facts.longest >= _LARGE


def _rounded(column: ColumnSurvey, name: str) -> str:
    rounding = column.type.kind.rounding(column.type)
    is_exact = column.fast is not None and column.fast.is_exact
    return "0" if is_exact or rounding is None else f"sum({rounding.sql.replace('{x}', name)})"


def _recount(readers: Readers, table: SourceTable, column: ColumnSurvey) -> ColumnSurvey:
    _, ((present, fitting, rounded),) = _count(readers, table, [column])
    return replace(column, unfit=present - fitting, rounded=rounded)


def row_name(table: SourceTable, identity: tuple[Value | None, ...]) -> str:
    """Name one row in a message."""
    if not table.without_rowid and len(identity) == 1:
        return f"{table.rowid_alias or 'rowid'} {identity[0]!r}"
    names = table.primary_key if table.without_rowid else [c.name for c in table.columns]
    return ", ".join(f"{name} {show(value)}" for name, value in zip(names, identity, strict=True))


def show(value: Value | None) -> str:
    """Spell a value for a message, shortened."""
    text = f"x'{value[:40].hex()}'" if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def unfit_values(
    connection: sqlite3.Connection,
    table: SourceTable,
    column: ColumnSurvey,
    *,
    everything: bool = False,
) -> Iterator[tuple[str, tuple[Any, ...], Value, str | BadValue]]:
    """
    Yield the values that cannot take the fast way, or all of them.

    With each come the row's name, its identity as it was read, and either its
    text for PostgreSQL or the reason why there is none.
    """
    name = quoted(column.name)
    identity = table.identity
    terms = [*identity, exact(connection, name)]
    query = f"SELECT {', '.join(terms)} FROM {quoted(table.name)} WHERE {name} NOTNULL"
    if column.fast is not None and not everything:
        # Not NOT: a function that cannot read a value returns NULL.
        query += f" AND ({column.fast.fits.replace('{x}', name)}) IS NOT TRUE"
    # The name of a row with a rowid takes no time, and millions of rows may come.
    rowid = f"{table.rowid_alias or 'rowid'} " if table.has_rowid else None
    with exact_text(connection):
        for *found, raw in connection.cursor().execute(query):
            key = tuple(found)
            if rowid is not None:
                where = f"{rowid}{key[0]}"
            else:
                where = row_name(table, tuple(readable(part) for part in key))
            try:
                value = values.decode(raw) if isinstance(raw, bytearray) else raw
                yield where, key, value, values.to_text(value, column.type, column.option)
            except Unfit as reason:
                shown = show(readable(raw))
                why = str(reason).replace("table.column", f"{table.name}.{column.name}")
                yield where, key, raw, BadValue(table.name, column.name, where, shown, why)


@contextmanager
def exact_text(connection: sqlite3.Connection) -> Iterator[None]:
    """
    Read text as bytearray: it may not be valid, and blobs remain bytes.

    It is UTF-8 for every encoding of the database; see exact().
    """
    before, connection.text_factory = connection.text_factory, bytearray
    try:
        yield
    finally:
        connection.text_factory = before


def readable(raw: Any) -> Value | None:
    """Return a text that was read exactly as text where that is possible, else as bytes."""
    if not isinstance(raw, bytearray):
        return cast("Value | None", raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return bytes(raw)


def identities(connection: sqlite3.Connection, query: str) -> Iterator[tuple[Value | None, ...]]:
    """Yield the identities of rows that a query returns, whatever is in their texts."""
    with exact_text(connection):
        for row in connection.cursor().execute(query):
            yield tuple(map(readable, row))
