"""
A row that is too large for a query, read in parts: it is never in memory as a whole.

SQLite gives a value in parts by its incremental I/O (https://www.sqlite.org/c3ref/blob_open.html),
as its bytes, and with less work than a query takes: it copies none of them.
"""

from __future__ import annotations

import sqlite3
import struct
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.source.readers import Question

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from oxy_pg.migrate.load.prefetch import Piece
    from oxy_pg.migrate.plan.plan import TablePlan
    from oxy_pg.migrate.source.readers import ConnectionReader

_PART = 256 * 1024  # bytes
_NULL = struct.pack(">i", -1)


class LargeRows:
    """
    Records of single rows: what ``head`` makes of a row ``t``, and then its ``values``.

    These are columns of which PostgreSQL gets the bytes that SQLite has. Nothing else uses the
    connection while ``using`` is held.
    """

    def __init__(
        self,
        here: ConnectionReader,
        using: threading.Lock,
        table: TablePlan,
        head: tuple[str, frozenset[str]],
        values: Sequence[str],
    ) -> None:
        made, self._packs = head
        rowid, name = table.source.identity[0], quoted(table.source.name)
        # SQLite knows the type of a value that it has not read.
        nulls = "".join(f", typeof(t.{quoted(value)}) = 'null'" for value in values)
        self._query = (
            f"SELECT t.{rowid}, {made}{nulls} FROM {name} AS t NOT INDEXED "
            f"WHERE t.{rowid} BETWEEN :first AND :last"
        )
        self._here = here
        self._using = using
        self._table = table.source.name
        self._values = values

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """
        Yield the one row between two rowids.

        Before the first part it raises sqlite3.OperationalError where SQLite does not open its
        values (those that ADD COLUMN gave to older rows), OverflowError where Python does not
        take the rowid, and sqlite3.DataError for a row that is longer than SQLite allows a value
        to be.
        """
        question = Question(self._query, {"first": first, "last": last}, self._packs)
        values: list[sqlite3.Blob | None] = []
        try:
            with self._using:
                rowid, head, *nulls = self._here.ask(question)
                self._open(rowid, nulls, values)
            for value in values:
                yield 0, head + (_NULL if value is None else struct.pack(">i", len(value)))
                head = b""
                while value is not None and (part := self._read(value)):
                    yield 0, part
            yield 1, head
        finally:
            with self._using:
                for value in values:
                    if value is not None:
                        value.close()

    def _open(self, rowid: int, nulls: Sequence[Any], values: list[sqlite3.Blob | None]) -> None:
        open_ = self._here.connection.blobopen
        for column, is_null in zip(self._values, nulls, strict=True):
            values.append(None if is_null else open_(self._table, column, rowid, readonly=True))
        most = self._here.connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        if sum(len(value) for value in values if value is not None) > most:
            raise sqlite3.DataError("string or blob too big")

    def _read(self, value: sqlite3.Blob) -> bytes:
        with self._using:
            return value.read(_PART)
