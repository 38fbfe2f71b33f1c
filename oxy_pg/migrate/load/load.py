"""
The rows: read from SQLite in the form that COPY takes, and sent to PostgreSQL.

Records of binary COPY (records.py) where every value allows it, else lines of
text. Readers work while this thread sends, so that both databases are busy at once.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql

from oxy_pg.migrate.check.rowsets import in_order, is_among
from oxy_pg.migrate.convert import codec, values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.load import records
from oxy_pg.migrate.load.digests import Digest, Sum
from oxy_pg.migrate.load.prefetch import Ahead
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.source.functions import install_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from typing import LiteralString

    import psycopg

    from oxy_pg.migrate.load.prefetch import Maker, Piece
    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan
    from oxy_pg.migrate.source.readers import Readers

_CHUNK = 512 * 1024  # bytes to a write
_TAB = " || '\t' || "
FEW = 1000  # rows: with no more, every value is compared, and nothing need be digested
_TINY = 100  # rows
_PAGES = 64 * 1024  # bytes
_VALUE = 16  # bytes, of one that is not long
_GROUP = 50  # columns to a concatenation: SQLite limits the depth of an expression to 1,000


@dataclass(frozen=True, slots=True)
class Sent:
    """
    What was sent of some columns, as records of binary COPY.

    It is ``digest`` in the order of the rows, or a ``sum`` in any order.
    ``starts`` are numbers of some rows, from 0, each with its rowid or a lower
    one that has no row.
    """

    columns: Sequence[ColumnPlan]
    digest: Digest | None = None
    sum: Sum | None = None
    starts: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was written into one table; its ``largest`` rows took so many bytes each, about."""

    rows: int
    bytes: int
    seconds: float
    sent: Sent | None = None
    largest: int = 0


class Reading(NamedTuple):
    """A table that is being read: its columns and options for COPY, and the data."""

    columns: Sequence[ColumnPlan]
    options: LiteralString
    pieces: Ahead
    header: bytes = b""
    trailer: bytes = b""
    sent: Sent | None = None
    made: records.Records | None = None


class Loader:
    """
    Reads the tables of a plan as COPY takes them.

    ``skipped`` names the temporary tables of rows that are skipped, by source
    table, ``nulled`` those of rows in which a column becomes NULL, by source
    table and column.
    """

    def __init__(
        self,
        readers: Readers,
        plan: Plan,
        skipped: dict[str, str],
        nulled: dict[tuple[str, str], list[str]],
    ) -> None:
        self._readers = readers
        self._source = readers.connection
        self._plan = plan
        self._skipped = skipped
        self._nulled = nulled
        self._slow: list[ColumnPlan] = []
        self.changes: Counter[tuple[str, str, str]] = Counter()
        self._tables: list[str] = []
        self._source.create_function("oxy_slow", 3, self._convert)

    def read(self, table: TablePlan, *, in_order: bool = True) -> Reading:
        """
        Choose how a table is read.

        ``in_order`` where the rows will lie in the order in which they are sent.
        """
        name = table.source.name
        exceptions = name in self._skipped or any(table_ == name for table_, _ in self._nulled)
        is_digested = self._plan.options.verify == "full"
        if (
            self._plan.encoding == "UTF-8"
            and not exceptions
            and records.possible(self._source, table)
        ):
            columns = records.columns(table.loaded)
            sum_ = Sum() if is_digested and not in_order else None
            digest = Digest() if is_digested and in_order else None
            made = records.Records(self._readers.here, table, columns, sum_)
            makers = [made.make(reader) for reader in self._readers.all]
            ends = (records.HEADER, records.TRAILER, Sent(columns, digest, sum_), made)
            return Reading(columns, "FORMAT binary", Ahead(makers), *ends)
        options = f"FORMAT csv, DELIMITER '\t', QUOTE '{codec.QUOTE}'"
        sent = self._sent_as_lines(table) if is_digested and in_order else None
        return Reading(table.loaded, options, Ahead([self.lines(table, sent)]), sent=sent)

    def _sent_as_lines(self, table: TablePlan) -> Sent | None:
        """Choose the columns that are sent as lines, and could be sent as records."""
        if self._plan.encoding != "UTF-8" or table.rows <= FEW:
            return None
        columns = [
            column
            for column in table.loaded
            if records.is_field(column) and (table.source.name, column.source) not in self._nulled
        ]
        return Sent(records.columns(columns)[: records.MOST_COLUMNS], Digest()) if columns else None

    def foretell(self, refused: AbstractSet[str]) -> None:
        """Count the ``changes`` of all tables but the refused ones, and send nothing."""
        for table in self._plan.tables:
            name = table.source.name
            slow = any(c.survey.fast is None or c.survey.unfit for c in table.loaded)
            if slow and table.rows and name not in refused:
                for _ in self.lines(table):
                    pass

    def _convert(self, number: int, storage: str, raw: Any) -> str | None:
        column = self._slow[number]
        try:
            value = values.decode(raw, self._plan.encoding) if storage == "text" else raw
            text = values.to_text(value, column.type, column.survey.option)
        except Unfit:
            if self._plan.options.on_bad_value != "null":
                raise
            self.changes[self._tables[number], column.source, "emptied: it did not fit"] += 1
            return None
        what = ""
        if isinstance(value, str) and "\0" in value:
            what = "NUL characters removed or replaced"
        elif column.type.kind.is_text and not isinstance(value, str):
            what = "numbers became text"
        if what:
            self.changes[self._tables[number], column.source, what] += 1
        return codec.quote(text)

    def query(self, table: TablePlan, record: str = "NULL") -> str:
        """Return the SELECT whose columns are a line of COPY, and a record of some columns."""
        fields = [self._field(table, column) for column in table.loaded]
        groups = [
            _TAB.join(fields[start : start + _GROUP]) for start in range(0, len(fields), _GROUP)
        ]
        row = _TAB.join(f"({group})" for group in groups) or "''"
        # An index that covers the columns would give the rows in another order than the comparison.
        sql = f"SELECT {row} || '\n', {record} FROM {quoted(table.source.name)} AS t NOT INDEXED"
        if table.source.name in self._skipped:
            sql += f" WHERE NOT {is_among(table, self._skipped[table.source.name], 't')}"
        return sql + in_order(table)

    def _field(self, table: TablePlan, column: ColumnPlan) -> str:
        name = f"t.{quoted(column.source)}"
        fast = column.survey.fast
        text = fast.text.replace("{x}", name) if fast else ""
        if fast is None or column.survey.unfit:
            slow = self._slow_field(table, column, name)
            fits = fast.fits.replace("{x}", name) if fast else ""
            text = f"CASE WHEN {fits} THEN {text} ELSE {slow} END" if fast else slow
        empties = self._nulled.get((table.source.name, column.source), [])
        empty = "".join(f" OR {is_among(table, names, 't')}" for names in empties)
        if column.survey.nulls or empty:
            # NULL comes first, because hex(NULL) is an empty text.
            text = f"CASE WHEN {name} ISNULL{empty} THEN '' ELSE {text} END"
        if fast is None or column.survey.unfit:
            text = f"coalesce({text}, '')"  # NULL, because it did not fit
        return f"({text})"

    def _slow_field(self, table: TablePlan, column: ColumnPlan, name: str) -> str:
        self._slow.append(column)
        self._tables.append(table.source.name)
        raw = f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
        number = len(self._slow) - 1
        return f"oxy_slow({number}, typeof({name}), {raw})"

    def lines(self, table: TablePlan, sent: Sent | None = None) -> Maker:
        """Make pieces of the table's rows as lines of COPY; digest those columns that are sent."""
        query = self.query(table)
        if sent is not None:
            record, packs = records.record(sent.columns)
            install_packs(self._source, packs)
            query = self.query(table, record)
        cursor = self._source.cursor()
        before, self._source.text_factory = self._source.text_factory, bytes
        try:
            yield from ((0, piece) for piece in _pieces(cursor.execute(query), sent))
        finally:
            cursor.close()
            self._source.text_factory = before


def _pieces(rows: Iterable[tuple[bytes, bytes | None]], sent: Sent | None) -> Iterator[Piece]:
    lines: list[bytes] = []
    size = 0
    for line, record in rows:
        if sent is not None and sent.digest is not None and record is not None:
            sent.digest.add(record)
        lines.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield len(lines), b"".join(lines)
            lines, size = [], 0
    if lines:
        yield len(lines), b"".join(lines)


def insert_defaults(
    connection: psycopg.Connection[Any], schema: str, table: TablePlan, rows: int
) -> Loaded:
    """Insert the rows of a table of which no column is written."""
    began = time.perf_counter()
    statement = sql.SQL("INSERT INTO {} SELECT FROM generate_series(1, {})").format(
        sql.Identifier(schema, table.target), rows
    )
    return Loaded(connection.execute(statement).rowcount, 0, time.perf_counter() - began)


def fits_few_pages(table: TablePlan) -> bool:
    """Whether a table is so small that its visibility map would be as large."""
    # Of so few rows the survey has seen each.
    widest = sum(column.survey.facts.longest + _VALUE for column in table.loaded)
    return table.rows <= _TINY and table.rows * widest <= _PAGES


def copy_table(
    connection: psycopg.Connection[Any],
    reading: Reading,
    target: sql.Identifier,
    on_rows: Callable[[int, int], None],
    *,
    freeze: bool,
) -> Loaded:
    """
    Copy one table; with ``freeze`` it was created or truncated in this transaction.

    ``on_rows`` is called with the rows and bytes so far.
    """
    began = time.perf_counter()
    rows = size = largest = row = 0
    digest = reading.sent.digest if reading.sent else None
    columns = sql.SQL(", ").join(sql.Identifier(column.target) for column in reading.columns)
    # FREEZE spares a second write of every row; allowed only where no other session sees the table.
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH ({}, FREEZE {})").format(
        target, columns, sql.SQL(reading.options), sql.Literal(freeze)
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(reading.header)
            for count, piece in reading.pieces:
                # psycopg sends it in slices: those of a memoryview are no copies.
                copy.write(memoryview(piece))
                if digest is not None and reading.made is not None:
                    digest.add(piece)
                rows += count
                size += len(piece)
                row += len(piece)  # of the parts of a large row only the last is counted
                if count:
                    largest, row = max(largest, row // count), 0
                on_rows(rows, size)
            copy.write(reading.trailer)
        # What the server counted, not what was sent.
        written = cursor.rowcount
    sent = reading.sent
    if sent is not None and reading.made is not None:
        sent = replace(sent, starts=reading.made.starts())
    return Loaded(written, size, time.perf_counter() - began, sent, largest)
