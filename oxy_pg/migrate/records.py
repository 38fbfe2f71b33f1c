"""
A whole table the fast way: records of binary COPY, put together by SQLite.

PostgreSQL reads them in a third of the time that lines of text take. They are
for tables in which every value takes its column's fast way (codec.py); every
other table goes as lines (load.py).

The format (PostgreSQL manual: COPY, Binary Format): the number of fields, and
before each field its length in bytes, -1 for NULL. SQLite has no function that
turns a number into bytes: struct.pack() is called for all the numbers that
stand together, and SQLite puts its result and the texts one after the other.

A range of rows is one query that returns a single value: to step from row to
row in Python would take half as long again. A second thread that reads does
not help: both would wait for the interpreter's lock at each struct.pack().
"""

from __future__ import annotations

import re
import sqlite3
import struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from oxy_pg.migrate.names import quoted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from oxy_pg.migrate import codec
    from oxy_pg.migrate.plan import ColumnPlan, TablePlan

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_PIECE = 1024 * 1024  # bytes wanted of a query
_LARGEST = 4 * _PIECE  # a query that would give more fails, and is asked again for half of the rows
_FIRST, _LAST = -(2**63), 2**63 - 1  # rowids
_MOST_COLUMNS = 200  # SQLite limits the depth of an expression to 1,000
_MOST_ARGUMENTS = 90  # of a function: 100 in older versions of SQLite
_NULL = "x'ffffffff'"

# Some versions of SQLite end the outcome of group_concat() at a NUL.
_PROBE = "SELECT CAST(group_concat(x || x'ff', '') AS BLOB) FROM (SELECT x'610062' AS x)"


def possible(reader: sqlite3.Connection, table: TablePlan) -> bool:
    """Tell whether every row of a table can be a record made by SQLite."""
    return (
        not table.source.without_rowid
        and len(table.source.identity) == 1
        and 0 < len(table.loaded) <= _MOST_COLUMNS
        and all(_field(column) and not column.survey.unfit for column in table.loaded)
        and reader.execute(_PROBE).fetchone() == (b"a\0b\xff",)
    )


def _field(column: ColumnPlan) -> codec.Field | None:
    return column.survey.fast.field if column.survey.fast else None


def columns(table: TablePlan) -> list[ColumnPlan]:
    """
    Return the columns in the order in which the records have them.

    First what struct.pack() can take together; texts last, because SQLite copies what it has so
    far with each of them.
    """

    def place(column: ColumnPlan) -> tuple[bool, bool]:
        field = _field(column)
        return field is None or field.code is None, column.survey.nulls > 0

    return sorted(table.loaded, key=place)


class _Record:
    """SQL that makes a record, out of the fields in their order."""

    def __init__(self, count: int) -> None:
        self.formats: set[str] = set()
        self._terms: list[str] = []
        self._codes = "h"
        self._arguments = [str(count)]

    def add(self, field: codec.Field, name: str, *, nulls: bool) -> None:
        value = field.sql.replace("{x}", name)
        codes, arguments, text = f"i{field.code}", ["", value], ""
        if field.code is None:
            codes, arguments, text = "i", [f"length(CAST({value} AS BLOB))"], f" || {value}"
        else:
            arguments[0] = str(struct.calcsize(f">{field.code}"))
        if nulls:
            self._flush()
            packed = self._pack(codes, arguments)
            self._terms.append(f"CASE WHEN {name} ISNULL THEN {_NULL} ELSE {packed}{text} END")
            return
        self._codes += codes
        self._arguments += arguments
        if text or len(self._arguments) > _MOST_ARGUMENTS:
            self._flush()
            self._terms += [value] * bool(text)

    def _flush(self) -> None:
        if self._codes:
            self._terms.append(self._pack(self._codes, self._arguments))
            self._codes, self._arguments = "", []

    def _pack(self, codes: str, arguments: list[str]) -> str:
        self.formats.add(codes)
        return f"{quoted(_PACK + codes)}({', '.join(arguments)})"

    def sql(self) -> str:
        self._flush()
        return " || ".join(self._terms)


_PACK = "oxy_pack "


def _install(reader: sqlite3.Connection, formats: set[str]) -> None:
    for codes in formats:
        # The bound method of a Struct: called from SQLite without a line of Python.
        pack = struct.Struct(f">{codes}").pack
        count = len(re.findall(r"[a-z?]", codes))
        reader.create_function(_PACK + codes, count, pack, deterministic=True)


Piece: TypeAlias = tuple[int, bytes]  # a number of rows, and their records


class _Range(NamedTuple):
    """Rowids from ``first`` to ``last``, and how many there are at most."""

    first: int
    last: int
    rows: int


class Records:
    """
    The records of a table; ``pieces`` gives them in the order of the rows.

    No piece is larger than some megabytes, unless a single row is.
    """

    def __init__(self, reader: sqlite3.Connection, table: TablePlan) -> None:
        self._reader = reader
        ordered = columns(table)
        record = _Record(len(ordered))
        for column in ordered:
            field = _field(column)
            if field is not None:
                record.add(field, f"t.{quoted(column.source)}", nulls=column.survey.nulls > 0)
        made = record.sql()
        _install(reader, record.formats)
        name, rowid = quoted(table.source.name), table.source.identity[0]
        self._query = (
            f"SELECT count(*), group_concat({made}, '') FROM {name} AS t NOT INDEXED "
            f"WHERE t.{rowid} BETWEEN :first AND :last"
        )
        self._skip = (
            f"SELECT {rowid} FROM {name} NOT INDEXED WHERE {rowid} >= :first "
            f"ORDER BY {rowid} LIMIT 1 OFFSET :rows - 1"
        )
        self._rows = 200  # to a query, until it is known how large they are

    def pieces(self) -> Generator[Piece]:
        """Yield the number of rows and the bytes of each piece; headers count no rows."""
        reader = self._reader
        limit = reader.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST)
        factory, reader.text_factory = reader.text_factory, bytes
        try:
            yield 0, HEADER
            first = _FIRST
            while first <= _LAST:
                # The pages that are skipped now are in SQLite's cache when they are read.
                last = self._end(first, self._rows)
                yield from self._read(_Range(first, last, self._rows), limit)
                first = last + 1
            yield 0, TRAILER
        finally:
            reader.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)
            reader.text_factory = factory

    def _end(self, first: int, rows: int) -> int:
        found = self._reader.execute(self._skip, {"first": first, "rows": rows}).fetchone()
        return int(found[0]) if found else _LAST

    def _read(self, range_: _Range, limit: int) -> Iterator[Piece]:
        """Read a range: as one piece, else in halves, down to a row as large as it likes."""
        if range_.rows == 1:
            self._reader.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)
        try:
            count, piece = self._ask(range_)
        except sqlite3.DataError:
            if range_.rows == 1:
                raise
            yield from self._halves(range_, limit)
            return
        finally:
            self._reader.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST)
        if count:
            self._rows = max(1, min(4 * count, count * _PIECE // len(piece)))
            yield count, piece

    def _halves(self, range_: _Range, limit: int) -> Iterator[Piece]:
        rows = range_.rows // 2
        middle = self._end(range_.first, rows)
        if middle >= range_.last:
            yield from self._read(range_._replace(rows=rows), limit)
            return
        yield from self._read(_Range(range_.first, middle, rows), limit)
        yield from self._read(_Range(middle + 1, range_.last, range_.rows - rows), limit)

    def _ask(self, range_: _Range) -> Piece:
        parameters = {"first": range_.first, "last": range_.last}
        count, piece = self._reader.execute(self._query, parameters).fetchone()
        return count, piece
