"""
A sample of rows that is read from the source a second time, and compared by what it means.

It is what would show a fault in the SQL that turns values into records: plain
columns are read, and nothing of the loading's is used (meaning.py).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.load import meaning
from oxy_pg.migrate.plan.survey import readable, row_name, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oxy_pg.migrate.convert.unfit import Value
    from oxy_pg.migrate.load.comparison import Comparison
    from oxy_pg.migrate.load.digests import Buffer
    from oxy_pg.migrate.load.load import Sent
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan

_BLOCKS = 4  # of rows that follow each other, from the first on to the end of the table
_ROWS = 100  # to a block
_MOST = 8 * 1024 * 1024  # bytes: no more rows are taken then


def _blocks(sent: Sent, rows: int) -> Iterator[tuple[int, int | None]]:
    """Choose where blocks begin: the number of the row, and its rowid where it is known."""
    if sent.starts:
        step = max(1, (len(sent.starts) - 1) // (_BLOCKS - 1))
        yield from sent.starts[::step][:_BLOCKS]
        return
    for number in range(_BLOCKS):
        yield number * (max(0, rows - _ROWS) // (_BLOCKS - 1)), None


class Sample:
    """
    The sample of one table, which has so many rows.

    take() is to get what is stored in all of them, in their order.
    """

    def __init__(self, table: TablePlan, sent: Sent, rows: int) -> None:
        self._table = table
        self._columns = sent.columns
        self._blocks = sorted(set(_blocks(sent, rows)))
        self._bytes = 0
        self._found: dict[int, bytes] = {}

    @property
    def rows(self) -> int:
        """How many rows are in it."""
        return len(self._found)

    def take(self, first: int, records: Sequence[Buffer]) -> None:
        """Keep those of these rows that are in the sample; ``first`` is the number of the first."""
        for start, _ in self._blocks:
            for number in range(max(start, first), min(start + _ROWS, first + len(records))):
                if self._bytes < _MOST:
                    record = bytes(records[number - first])
                    self._found[number] = record
                    self._bytes += len(record)

    def differences(self, comparison: Comparison) -> Iterator[str]:
        """Yield what is not as the source has it."""
        for start, rowid in self._blocks:
            where, limit = "", f"LIMIT {_ROWS} OFFSET {start}"
            if rowid is not None:
                name = f"t.{self._table.source.identity[0]}"
                where, limit = f"AND {name} >= {rowid}", f"ORDER BY {name} LIMIT {_ROWS}"
            rows = comparison.expected(self._table, self._columns, where, limit)
            for number, (identity, wanted) in enumerate(rows, start):
                if number not in self._found:
                    break  # they are large, and there are enough
                yield from self._row(identity, wanted, self._found[number])

    def _row(
        self, identity: tuple[object, ...], wanted: tuple[Value | None, ...], record: bytes
    ) -> Iterator[str]:
        where = row_name(self._table.source, tuple(readable(part) for part in identity))
        for column, value, field in zip(self._columns, wanted, fields(record), strict=True):
            if not _same(column, value, field):
                stored = "NULL" if field is None else f"x'{field[:40].hex()}'"
                yield (
                    f"{self._table.source.name}.{column.source}, {where}: "
                    f"{show(value)} became {stored}"
                )


def fields(record: bytes) -> Iterator[bytes | None]:
    """Yield the fields of a record of binary COPY; NULL is None."""
    place = 2
    while place < len(record):
        (size,) = struct.unpack_from(">i", record, place)
        place += 4
        yield None if size < 0 else record[place : place + size]
        place += max(size, 0)


def _same(column: ColumnPlan, value: Value | None, field: bytes | None) -> bool:
    if value is None or field is None:
        return value is None and field is None
    if column.changes:
        return (
            True  # listed and accepted; the rows were compared with what PostgreSQL makes of them
        )
    found = meaning.stored(field, column.type)
    wanted = meaning.meant(value, column.type, column.survey.option)
    if wanted is meaning.UNKNOWN:
        # A spelling that is rare: what the kind says it is, which is not how it was sent.
        try:
            said = values.to_text(value, column.type, column.survey.option)
        except Unfit:
            return False
        wanted = meaning.spelled(said, column.type)
    if meaning.UNKNOWN in (wanted, found):
        return True  # a type that meaning.py does not know; the digest has been compared
    return meaning.same(wanted, found)
