"""
A whole table the fast way: records of binary COPY, built by SQLite.

PostgreSQL reads them in a third of the time that lines of text take. They are
for tables in which every value takes its column's fast way (codec.py); every
other table goes as lines (load.py).

The format (PostgreSQL manual: COPY, Binary Format): the number of fields, and
before each field its length in bytes, -1 for NULL. SQLite has no function that
turns a number into bytes: struct.pack() is called for all the numbers that
stand together, and SQLite puts its result and the texts one after the other.

A range of rows is one query that returns a single value: to fetch row by row in
Python would take half as long again. Several readers (source/readers.py) take
the ranges in turn; threads would wait for each other at each struct.pack(),
processes do not. A row too large for that is read in parts (large.py).
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import threading
from array import array
from collections import deque
from functools import partial
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from oxy_pg.errors import MigrationError
from oxy_pg.migrate.load.large import LargeRows
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.source.functions import pack_function
from oxy_pg.migrate.source.readers import Question
from oxy_pg.migrate.source.sums import RowDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from oxy_pg.migrate.convert import codec
    from oxy_pg.migrate.load.digests import Sum
    from oxy_pg.migrate.load.prefetch import Maker, Piece
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan
    from oxy_pg.migrate.source.readers import ConnectionReader, Reader

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_PIECE = 1024 * 1024  # bytes wanted of a query
_LARGEST = 2 * _PIECE  # a query that would give more fails, and is asked again for half of the rows
_LARGE_ROW = 256 * 1024  # bytes of a single row, from which on it is read in parts
_ROWS = 20  # to the first queries, until it is known how large they are
_AT_ONCE = 2  # questions to a reader, so that it need not wait for the next one
_FIRST, _LAST = -(2**63), 2**63 - 1  # rowids
MOST_COLUMNS = 200  # SQLite limits the depth of an expression to 1,000
_MOST_ARGUMENTS = 90  # of a function: 100 in older versions of SQLite
_SHORT = 400  # characters of texts up to which they are given to a function in Python
_WORTH = 3  # such texts, from which on that saves time
_NULL = "x'ffffffff'"

# In some versions of SQLite the result of group_concat() ends at a NUL.
_PROBE = "SELECT CAST(group_concat(x || x'ff', '') AS BLOB) FROM (SELECT x'610062' AS x)"


def possible(reader: sqlite3.Connection, table: TablePlan) -> bool:
    """Whether SQLite can build a record of every row of a table."""
    return (
        table.source.has_rowid
        and 0 < len(table.loaded) <= MOST_COLUMNS
        and all(is_field(column) for column in table.loaded)
        and reader.execute(_PROBE).fetchone() == (b"a\0b\xff",)
    )


def is_field(column: ColumnPlan) -> bool:
    """Whether SQLite can build a field of a record of every value of a column."""
    return _field(column) is not None and not column.survey.unfit


def _field(column: ColumnPlan) -> codec.Field | None:
    return column.survey.fast.field if column.survey.fast else None


def columns(chosen: Iterable[ColumnPlan]) -> list[ColumnPlan]:
    """
    Return the columns in the order in which the records have them.

    First what struct.pack() can take together; texts later, because SQLite copies what it has so
    far with each of them, and those that may be long last.
    """

    def place(column: ColumnPlan) -> tuple[bool, bool, bool]:
        field = _field(column)
        is_text = field is None or field.code is None
        return is_text, is_text and not _is_short_text(column), column.survey.nulls > 0

    return sorted(chosen, key=place)


def record(ordered: Sequence[ColumnPlan], count: int | None = None) -> tuple[str, frozenset[str]]:
    """
    Return the SQL that builds a record of columns of ``t``, and the packs that it needs.

    ``count`` where it is only the beginning of a record of so many fields.
    """
    made = _Record(len(ordered) if count is None else count)
    joins = sum(map(_is_short_text, ordered)) >= _WORTH
    for column in ordered:
        field, name = _field(column), f"t.{quoted(column.source)}"
        if field is not None and joins and _is_short_text(column):
            made.add_short(field.sql.replace("{x}", name))
        elif field is not None:
            made.add(field, name, nulls=column.survey.nulls > 0)
    return made.sql(), frozenset(made.formats)


def _is_short_text(column: ColumnPlan) -> bool:
    field = _field(column)
    if field is None or field.code is not None or column.type.kind.is_binary:
        return False
    return column.survey.facts.longest < _SHORT


def _divided(
    table: TablePlan, ordered: Sequence[ColumnPlan]
) -> tuple[Sequence[ColumnPlan], list[str]]:
    """Return the columns with which a record begins, and the names of the large ones at its end."""
    large = [column.source for column in takewhile(_may_be_large, reversed(ordered))]
    if any(column.generated is not None for column in table.source.columns):
        # SQLite 3.40 opens the value of another column then, and newer versions refuse.
        large = []
    return ordered[: len(ordered) - len(large)], large[::-1]


def _may_be_large(column: ColumnPlan) -> bool:
    """Whether its values may be long, and are sent as the bytes that SQLite has."""
    field = _field(column)
    is_bytes = field is not None and field.code is None and field.sql == "{x}"
    return is_bytes and not _is_short_text(column)


class _Record:
    """SQL that builds a record of the fields in their order."""

    def __init__(self, count: int) -> None:
        self.formats: set[str] = set()
        self._terms: list[str] = []
        self._codes = "h"
        self._arguments = [str(count)]
        self._texts: list[str] = []

    def add(self, field: codec.Field, name: str, *, nulls: bool) -> None:
        value = field.sql.replace("{x}", name)
        codes, arguments, text = f"i{field.code}", ["", value], ""
        if field.code is None:
            codes, arguments, text = "i", [field.size.replace("{x}", value)], f" || {value}"
        else:
            arguments[0] = str(struct.calcsize(f">{field.code}"))
        if nulls or self._texts:
            self._flush()
        if nulls:
            packed = self._pack(codes, arguments)
            self._terms.append(f"CASE WHEN {name} ISNULL THEN {_NULL} ELSE {packed}{text} END")
            return
        self._codes += codes
        self._arguments += arguments
        if text or len(self._arguments) > _MOST_ARGUMENTS:
            self._flush()
            self._terms += [value] * bool(text)

    def add_short(self, text: str) -> None:
        """Add a text, or NULL, that is put together with those before and after it."""
        if self._codes or len(self._texts) >= _MOST_ARGUMENTS:
            self._flush()
        self._texts.append(f"CAST({text} AS BLOB)")

    def _flush(self) -> None:
        if self._codes:
            self._terms.append(self._pack(self._codes, self._arguments))
            self._codes, self._arguments = "", []
        if self._texts:
            self._terms.append(f"oxy_fields({', '.join(self._texts)})")
            self._texts = []

    def _pack(self, codes: str, arguments: list[str]) -> str:
        self.formats.add(codes)
        return f"{quoted(pack_function(codes))}({', '.join(arguments)})"

    def sql(self) -> str:
        self._flush()
        return " || ".join(self._terms)


class _Range(NamedTuple):
    """Rowids from ``first`` to ``last``, and how many there are at most."""

    first: int
    last: int
    rows: int


class Records:
    """
    The records of a table, made by all readers; ``here`` finds where ranges end.

    No piece is larger than some megabytes, unless a single row is.
    """

    def __init__(
        self,
        here: ConnectionReader,
        table: TablePlan,
        ordered: Sequence[ColumnPlan],
        sum_: Sum | None = None,
    ) -> None:
        made, self._packs = record(ordered)
        name, rowid = quoted(table.source.name), table.source.identity[0]
        rows = f"FROM {name} AS t NOT INDEXED WHERE t.{rowid} BETWEEN :first AND :last"
        self._sum = sum_
        if sum_ is None:
            self._query = f"SELECT count(*), group_concat({made}, '') {rows}"
        else:
            # The limit keeps SQLite from making each record twice.
            self._query = (
                f"SELECT count(*), group_concat(r, ''), oxy_sum(CAST(r AS BLOB)) "
                f"FROM (SELECT {made} AS r {rows} LIMIT -1)"
            )
        self._skip = (
            f"SELECT (SELECT {rowid} FROM {name} NOT INDEXED WHERE {rowid} >= :first "
            f"ORDER BY {rowid} LIMIT 1 OFFSET :rows - 1)"
        )
        self._here = here
        self._rows = _ROWS
        self._row = 0  # bytes of a row, of late
        self._next = _FIRST
        self._firsts = array("q")  # of the ranges, by place: 16 bytes to a megabyte of rows
        self._counts = array("q")
        self._taking = threading.Lock()
        self._using_here = threading.Lock()
        head, large = _divided(table, ordered)
        self._large = LargeRows(here, self._using_here, table, record(head, len(ordered)), large)

    def make(self, reader: Reader) -> Maker:
        """Make pieces of ranges that no other reader has, until none is left."""
        asked: deque[tuple[int, _Range]] = deque()
        try:
            while self._ask(reader, asked):
                place, range_ = asked[0]
                try:
                    for piece in self._pieces(range_, reader.receive):
                        self._counts[place] += piece[0]
                        yield place, piece
                finally:
                    asked.popleft()
        finally:
            # The answers are of no use, but must not be read as answers to later questions.
            for _ in asked:
                with contextlib.suppress(sqlite3.Error, MigrationError):
                    reader.receive()

    def starts(self) -> list[tuple[int, int]]:
        """Return where the ranges begin: the number of a row, from 0, and its rowid or less."""
        numbers = accumulate(self._counts, initial=0)
        return [
            (number, first)
            for number, first, count in zip(numbers, self._firsts, self._counts, strict=False)
            if count
        ]

    def _ask(self, reader: Reader, asked: deque[tuple[int, _Range]]) -> bool:
        """Let a reader begin with its next ranges; False when there is nothing to wait for."""
        while len(asked) < _AT_ONCE and (taken := self._take()) is not None:
            reader.send(self._question(taken[1]))
            asked.append(taken)
        return bool(asked)

    def _take(self) -> tuple[int, _Range] | None:
        with self._taking:
            if self._next > _LAST:
                return None
            rows = self._rows  # once: another thread may change it
            last = self._end(self._next, rows)
            taken = (len(self._firsts), _Range(self._next, last, rows))
            self._firsts.append(self._next)
            self._counts.append(0)
            self._next = last + 1
            return taken

    def _end(self, first: int, rows: int) -> int:
        (last,) = self._ask_here(Question(self._skip, {"first": first, "rows": rows}))
        return _LAST if last is None else int(last)

    def _ask_here(self, question: Question) -> tuple[Any, ...]:
        with self._using_here:
            return self._here.ask(question)

    def _question(self, range_: _Range) -> Question:
        limit = _LARGE_ROW if range_.rows == 1 else _LARGEST
        parameters = {"first": range_.first, "last": range_.last}
        return Question(self._query, parameters, self._packs, limit)

    def _pieces(self, range_: _Range, receive: Callable[[], tuple[Any, ...]]) -> Iterator[Piece]:
        """Yield what is received: one piece, or if it is too large, the range in parts."""
        try:
            count, made, *sums = receive()
        except sqlite3.DataError:
            if range_.rows > 1:
                self._rows = min(self._rows, range_.rows // 2)
                yield from self._halves(range_)
            else:
                yield from self._large_row(range_)
            return
        yield self._piece(count, made, sums)

    def _piece(self, count: int, made: bytes | None, sums: Sequence[bytes]) -> Piece:
        if count and made is not None:
            self._note(count, len(made))
            if self._sum is not None:
                self._sum.add_number(int.from_bytes(sums[0], "big"))
        # Also where there is no row: every place has a piece (prefetch.py).
        return count, made or b""

    def _large_row(self, range_: _Range) -> Iterator[Piece]:
        """Yield the one row of a range in parts, or where SQLite does not give them, as a whole."""
        size, digest = 0, RowDigest()
        try:
            for count, part in self._large.pieces(range_.first, range_.last):
                size += len(part)
                if self._sum is not None:
                    digest.add(part)
                yield count, part
        except (sqlite3.OperationalError, OverflowError):
            # Early versions of Python 3.11 open values of rowids up to 2³¹ only.
            if size:
                raise
            question = self._question(range_)._replace(limit=None)
            count, made, *sums = self._ask_here(question)
            yield self._piece(count, made, sums)
            return
        self._note(1, size)
        if self._sum is not None:
            self._sum.add_number(digest.result())

    def _note(self, count: int, size: int) -> None:
        """Choose how many rows the next query is for: small and large rows may come in turn."""
        row = size // count + 1
        self._row = (self._row + row) // 2
        self._rows = max(1, min(4 * count, _PIECE // max(self._row, row)))

    def _halves(self, range_: _Range) -> Iterator[Piece]:
        rows = range_.rows // 2
        middle = self._end(range_.first, rows)
        halves = [_Range(range_.first, min(middle, range_.last), rows)]
        if middle < range_.last:
            halves.append(_Range(middle + 1, range_.last, range_.rows - rows))
        for half in halves:
            question = self._question(half)
            yield from self._pieces(half, partial(self._ask_here, question))
