"""
The rows: read from SQLite in the form that COPY takes, and sent to PostgreSQL.

Records of binary COPY (records.py) where every value allows it, else lines of
text. Readers work while this thread sends, so that both databases are busy at once.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql

from oxy_pg.migrate.check.rowsets import is_among
from oxy_pg.migrate.convert import codec, values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.load import records
from oxy_pg.migrate.load.prefetch import Ahead
from oxy_pg.migrate.names import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import LiteralString

    import psycopg

    from oxy_pg.migrate.load.prefetch import Maker
    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan
    from oxy_pg.migrate.source.readers import Readers

_CHUNK = 512 * 1024  # bytes to a write
_TAB = " || '\t' || "
_GROUP = 50  # columns to a concatenation: SQLite limits the depth of an expression to 1,000


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was written into one table."""

    rows: int
    bytes: int
    seconds: float


class Reading(NamedTuple):
    """A table that is being read: its columns and options for COPY, and the data."""

    columns: Sequence[ColumnPlan]
    options: LiteralString
    pieces: Ahead
    header: bytes = b""
    trailer: bytes = b""


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

    def read(self, table: TablePlan) -> Reading:
        """Choose how a table is read."""
        name = table.source.name
        exceptions = name in self._skipped or any(table_ == name for table_, _ in self._nulled)
        if (
            self._plan.encoding == "UTF-8"
            and not exceptions
            and records.possible(self._source, table)
        ):
            made = records.Records(self._readers.here, table)
            makers = [made.make(reader) for reader in self._readers.all]
            ends = (records.HEADER, records.TRAILER)
            return Reading(records.columns(table), "FORMAT binary", Ahead(makers), *ends)
        options = f"FORMAT csv, DELIMITER '\t', QUOTE '{codec.QUOTE}'"
        return Reading(table.loaded, options, Ahead([self.lines(table)]))

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

    def query(self, table: TablePlan) -> str:
        """Return the SELECT whose only column is a line of COPY."""
        fields = [self._field(table, column) for column in table.loaded]
        groups = [
            _TAB.join(fields[start : start + _GROUP]) for start in range(0, len(fields), _GROUP)
        ]
        row = _TAB.join(f"({group})" for group in groups) or "''"
        # An index that covers the columns would give the rows in another order than the comparison.
        sql = f"SELECT {row} || '\n' FROM {quoted(table.source.name)} AS t NOT INDEXED"
        if table.source.name in self._skipped:
            sql += f" WHERE NOT {is_among(table, self._skipped[table.source.name], 't')}"
        return sql

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

    def lines(self, table: TablePlan) -> Maker:
        """Make pieces of the table's rows as lines of COPY."""
        cursor = self._source.cursor()
        before, self._source.text_factory = self._source.text_factory, bytes
        try:
            rows: list[bytes] = []
            size = 0
            for (row,) in cursor.execute(self.query(table)):
                rows.append(row)
                size += len(row)
                if size >= _CHUNK:
                    yield 0, (len(rows), b"".join(rows))
                    rows, size = [], 0
            if rows:
                yield 0, (len(rows), b"".join(rows))
        finally:
            cursor.close()
            self._source.text_factory = before


def insert_defaults(
    connection: psycopg.Connection[Any], schema: str, table: TablePlan, rows: int
) -> Loaded:
    """Insert the rows of a table of which no column is written."""
    began = time.perf_counter()
    statement = sql.SQL("INSERT INTO {} SELECT FROM generate_series(1, {})").format(
        sql.Identifier(schema, table.target), rows
    )
    return Loaded(connection.execute(statement).rowcount, 0, time.perf_counter() - began)


def copy_table(
    connection: psycopg.Connection[Any],
    reading: Reading,
    target: sql.Identifier,
    on_rows: Callable[[int, int], None],
    *,
    fresh: bool,
) -> Loaded:
    """
    Copy one table; ``fresh`` when it was created or truncated in this transaction.

    ``on_rows`` is called with the rows and bytes so far.
    """
    began = time.perf_counter()
    rows = size = 0
    columns = sql.SQL(", ").join(sql.Identifier(column.target) for column in reading.columns)
    # FREEZE spares a second write of every row; allowed only where no other session sees the table.
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH ({}, FREEZE {})").format(
        target, columns, sql.SQL(reading.options), sql.Literal(fresh)
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(reading.header)
            for count, piece in reading.pieces:
                copy.write(piece)
                rows += count
                size += len(piece)
                on_rows(rows, size)
            copy.write(reading.trailer)
        # What the server counted, not what was sent.
        written = cursor.rowcount
    return Loaded(written, size, time.perf_counter() - began)
