"""
What the columns of the source really hold, looked at before the first write.

One pass over each table counts the values that are what their column's type
expects. Only columns where some are not get a closer look.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from oxy_pg.migrate import codec, values
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.times import instant, unit_of
from oxy_pg.migrate.types import SIMPLE, Cast, Facts, PgType, choose
from oxy_pg.migrate.unfit import Unfit, Value
from oxy_pg.problems import BadValue

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oxy_pg.migrate.source_schema import SourceColumn, SourceTable

_SAMPLE = 500
_INSTANTS = {"timestamp", "timestamptz", "date"}

_FACTS = """
    sum({x} ISNULL), sum(typeof({x}) = 'integer'), sum(typeof({x}) = 'real'),
    sum(typeof({x}) = 'text'), sum(typeof({x}) = 'blob'),
    max(CASE WHEN typeof({x}) = 'text' THEN length({x}) END),
    min(CASE WHEN typeof({x}) IN ('integer', 'real') THEN {x} END),
    max(CASE WHEN typeof({x}) IN ('integer', 'real') THEN {x} END),
    sum(typeof({x}) = 'text' AND length({x}) < 50 AND (substr({x}, 20) GLOB '*[-+Z]*'
        OR {x} GLOB '????-??-??T??:??*[-+Z]*')),
    sum(typeof({x}) = 'integer' AND {x} NOT IN (0, 1)),
    sum(typeof({x}) = 'integer' AND {x} NOT BETWEEN -9007199254740992 AND 9007199254740992),
    max(CASE WHEN typeof({x}) = 'real' THEN oxy_decimals({x}) END)
"""


@dataclass(frozen=True, slots=True)
class ColumnSurvey:
    """
    What one column holds, the type it gets, and how its values travel.

    ``unfit`` values are not of the fast way's form and go through values.to_text().
    """

    name: str
    type: PgType
    nulls: int
    facts: Facts
    fast: codec.Fast | None
    unfit: int
    option: str | None  # one of CAST_OPTIONS
    notes: tuple[str, ...] = ()
    overlong: int = 0  # times with more than six fraction digits


@dataclass(frozen=True, slots=True)
class TableSurvey:
    """What one table holds."""

    rows: int
    columns: tuple[ColumnSurvey, ...]


def install_functions(connection: sqlite3.Connection) -> None:
    """Give SQLite the functions that the survey and the load use."""
    encoding = encoding_of(connection)
    connection.create_function("oxy_repr", 1, repr, deterministic=True)
    connection.create_function("oxy_unhex", 1, bytes.fromhex, deterministic=True)
    connection.create_function("oxy_decimals", 1, _decimals, deterministic=True)
    connection.create_function("oxy_is_broken", 1, _is_broken_utf16(encoding), deterministic=True)


def encoding_of(connection: sqlite3.Connection) -> str:
    """Return the encoding of the texts in the file."""
    before, connection.text_factory = connection.text_factory, str
    try:
        return str(connection.execute("PRAGMA main.encoding").fetchone()[0])
    finally:
        connection.text_factory = before


def _is_broken_utf16(encoding: str) -> Callable[[bytes | None], bool]:
    def is_broken(raw: bytes | None) -> bool:
        try:
            # SQLite may ask about what is no text before it looks at typeof().
            (raw or b"").decode(encoding)
        except UnicodeDecodeError:
            return True
        return False

    return is_broken


def exact(connection: sqlite3.Connection, name: str) -> str:
    """
    Return the term that reads a column so that a broken text is seen to be one.

    SQLite turns UTF-16 into UTF-8 and makes some other letter of a lone surrogate.
    It then reads as one that UTF-8 cannot have.
    """
    if encoding_of(connection) == "UTF-8":
        return name
    broken = f"typeof({name}) = 'text' AND oxy_is_broken(CAST({name} AS BLOB))"
    return f"CASE WHEN {broken} THEN CAST(x'd8d8' AS TEXT) ELSE {name} END"


def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 99


def survey_tables(
    connections: list[sqlite3.Connection],
    tables: Sequence[tuple[SourceTable, Mapping[str, PgType], Mapping[str, Cast]]],
) -> list[TableSurvey]:
    """Look at the values of all tables, with as many threads as there are connections."""
    idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
    for connection in connections:
        idle.put(connection)

    def one(job: tuple[SourceTable, Mapping[str, PgType], Mapping[str, Cast]]) -> TableSurvey:
        connection = idle.get()
        try:
            return survey_table(connection, *job)
        finally:
            idle.put(connection)

    with ThreadPoolExecutor(len(connections)) as pool:
        return list(pool.map(one, tables))


def survey_table(
    connection: sqlite3.Connection,
    table: SourceTable,
    wanted: Mapping[str, PgType],
    casts: Mapping[str, Cast],
) -> TableSurvey:
    """
    Look at every value of a table.

    ``wanted`` has the types of columns that the target has already; the others
    are chosen. ``casts`` is by column name too.
    """
    columns = [column for column in table.columns if not column.hidden]
    encoding = encoding_of(connection)
    sample = f"(SELECT * FROM {quoted(table.name)} LIMIT {_SAMPLE})"
    guesses = _all_facts(connection, sample, columns)
    proposed = [
        _propose(column, facts, wanted.get(column.name), casts.get(column.name), encoding=encoding)
        for column, facts in zip(columns, guesses, strict=True)
    ]
    quick = _count_fitting(connection, table, proposed)
    if quick is not None:
        return quick
    rows, counts = _count(connection, table, proposed)
    surveyed = []
    for column, proposal, (present, fitting, overlong) in zip(
        columns, proposed, counts, strict=True
    ):
        if proposal.fast is not None and fitting == present:
            found = replace(proposal, nulls=rows - present, unfit=0, overlong=overlong)
        else:
            (facts,) = _all_facts(connection, quoted(table.name), [column])
            wish = (wanted.get(column.name), casts.get(column.name))
            found = _propose(column, facts, *wish, encoding=encoding)
            if found.type.kind in _INSTANTS and facts.texts and facts.integers + facts.reals:
                # Only texts that are times say that a number beside them is none.
                times = _count_times(connection, table, column)
                found = _propose(column, facts, *wish, encoding=encoding, times=times)
            found = _recount(connection, table, replace(found, nulls=rows - present))
        surveyed.append(found)
    return TableSurvey(rows, tuple(surveyed))


def _all_facts(
    connection: sqlite3.Connection, relation: str, columns: list[SourceColumn]
) -> list[Facts]:
    found: list[Facts] = []
    # A result may have 2,000 columns.
    for start in range(0, len(columns), 100):
        part = columns[start : start + 100]
        terms = ", ".join(_FACTS.replace("{x}", quoted(column.name)) for column in part)
        row = connection.execute(f"SELECT {terms} FROM {relation}").fetchone()
        found.extend(_facts(row[12 * i : 12 * i + 12]) for i in range(len(part)))
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
        decimals=int(numbers[11]),
    )


def _propose(
    column: SourceColumn,
    facts: Facts,
    wanted: PgType | None,
    cast_: Cast | None,
    *,
    encoding: str,
    times: int | None = None,
) -> ColumnSurvey:
    notes: list[str] = []
    type_ = wanted or (cast_.type if cast_ else choose(column.declared, facts))
    if wanted is None and column.generated is None and column.key_position and _is_rowid(column):
        type_ = cast_.type if cast_ else SIMPLE["bigint"]
    option = cast_.option if cast_ else None
    if option is None and type_.kind in _INSTANTS:
        numbers = facts.integers + facts.reals
        # A stray text among numbers is a bad value; a stray number among texts is one too.
        if numbers > (facts.texts if times is None else times):
            unit = unit_of(facts.least, facts.greatest, reals=facts.reals > 0)
            option = unit
            notes.append(f"{numbers:,} numbers are read as {_UNIT_NAMES[unit]}")
    fast = codec.fast(type_, facts, Cast(type_, option) if option else None, encoding)
    return ColumnSurvey(column.name, type_, facts.nulls, facts, fast, 0, option, tuple(notes))


_UNIT_NAMES = {
    "s": "seconds since 1970 (UTC)",
    "ms": "milliseconds since 1970 (UTC)",
    "us": "microseconds since 1970 (UTC)",
    "ns": "nanoseconds since 1970 (UTC)",
    "julian": "Julian days (UTC)",
}


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


def _count_fitting(
    connection: sqlite3.Connection, table: SourceTable, proposed: list[ColumnSurvey]
) -> TableSurvey | None:
    """
    Survey a table in which every value fits, which is nearly always so; None if not.

    A single condition for all columns takes less time than a sum for each.
    """
    if len(proposed) > 300 or any(column.fast is None for column in proposed):
        return None
    terms, fits = ["count(*)"], []
    for column in proposed:
        name = quoted(column.name)
        test = column.fast.fits.replace("{x}", name) if column.fast else ""
        # What SQLite holds to be NOT NULL need not be counted.
        not_null = table.column(column.name).not_null
        fits.append(f"({test})" if not_null else f"({name} ISNULL OR {test})")
        terms += ["NULL" if not_null else f"count({name})", _overlong(column, name)]
    terms.append(f"sum(CASE WHEN {' AND '.join(fits)} THEN 0 ELSE 1 END)")
    rows, *counts, unfit = connection.execute(
        f"SELECT {', '.join(terms)} FROM {quoted(table.name)}"
    ).fetchone()
    if unfit:
        return None
    surveyed = [
        replace(
            column,
            nulls=0 if present is None else rows - present,
            unfit=0,
            overlong=overlong or 0,
        )
        for column, present, overlong in zip(proposed, counts[::2], counts[1::2], strict=True)
    ]
    return TableSurvey(rows, tuple(surveyed))


def _count(
    connection: sqlite3.Connection, table: SourceTable, proposed: list[ColumnSurvey]
) -> tuple[int, list[tuple[int, int, int]]]:
    rows = 0
    counts: list[tuple[int, int, int]] = []
    for start in range(0, max(1, len(proposed)), 300):
        part = proposed[start : start + 300]
        terms = ["count(*)"]
        for column in part:
            name = quoted(column.name)
            fits = column.fast.fits.replace("{x}", name) if column.fast else "0"
            # What SQLite holds to be NOT NULL need not be counted.
            present = "count(*)" if table.column(column.name).not_null else f"count({name})"
            terms += [present, f"sum({fits})", _overlong(column, name)]
        found = connection.execute(
            f"SELECT {', '.join(terms)} FROM {quoted(table.name)}"
        ).fetchone()
        rows = found[0]
        numbers = [value or 0 for value in found[1:]]
        counts += [(numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, 3 * len(part), 3)]
    return rows, counts


def _overlong(column: ColumnSurvey, name: str) -> str:
    if column.type.kind not in {"timestamp", "timestamptz"}:
        return "0"
    return f"sum({name} GLOB '{codec.TIME}.{'[0-9]' * 7}*')"


def _recount(
    connection: sqlite3.Connection, table: SourceTable, column: ColumnSurvey
) -> ColumnSurvey:
    _, ((present, fitting, overlong),) = _count(connection, table, [column])
    return replace(column, unfit=present - fitting, overlong=overlong)


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
    Stream the values that cannot take the fast way, or all of them.

    Yields the row's name and its identity as it was read, the value, and
    either its text for PostgreSQL or the reason why there is none.
    """
    name = quoted(column.name)
    identity = table.identity
    terms = [*identity, exact(connection, name)]
    query = f"SELECT {', '.join(terms)} FROM {quoted(table.name)} WHERE {name} NOTNULL"
    if column.fast is not None and not everything:
        # Not NOT: a function that cannot make anything of a value gives NULL.
        query += f" AND ({column.fast.fits.replace('{x}', name)}) IS NOT TRUE"
    with exact_text(connection):
        for *found, raw in connection.cursor().execute(query):
            key = tuple(found)
            where = row_name(table, tuple(readable(part) for part in key))
            try:
                value = values.decode(raw) if isinstance(raw, bytearray) else raw
                yield where, key, value, values.to_text(value, column.type, column.option)
            except Unfit as reason:
                shown = show(readable(raw))
                yield where, key, raw, BadValue(table.name, column.name, where, shown, str(reason))


@contextmanager
def exact_text(connection: sqlite3.Connection) -> Iterator[None]:
    """
    Read text as bytearray: it may not be valid, and a blob stays told apart from it.

    It is UTF-8, whatever the encoding of the database; see exact().
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
