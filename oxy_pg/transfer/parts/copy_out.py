"""
COPY TO STDOUT, read many rows at a time.

psycopg gives its rows one by one, through a generator each: that takes twice as
long as all the rest of reading them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from psycopg import sql
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

_BLOCK = 128 * 1024  # bytes that are passed on at once, more or less


class CopyOut:
    """The rows of a COPY TO STDOUT; ``rows`` is how many there were, when all have been read."""

    def __init__(self, connection: psycopg.Connection[Any], statement: sql.Composed) -> None:
        self._connection = connection
        self._statement = statement
        self.rows = -1

    def blocks(self) -> Iterator[bytes]:
        """Yield the rows as the server has sent them, many together; raises psycopg.Error."""
        connection = self._connection
        with connection.cursor().copy(self._statement):  # which is cancelled after an exception
            while self.rows < 0:
                block, is_last = connection.wait(_block(connection.pgconn))
                if block:
                    yield block
                if is_last:
                    self.rows = connection.wait(_number(connection.pgconn))


def _block(connection: PGconn) -> PQGen[tuple[bytes, bool]]:
    """Return rows that the server has sent, and whether these are the last."""
    rows: list[bytes] = []
    size = length = 0
    while size < _BLOCK and length >= 0:
        length, row = connection.get_copy_data(1)
        if not length:
            connection.consume_input()  # what has arrived need not be waited for
            length, row = connection.get_copy_data(1)
        if length > 0:
            rows.append(bytes(row))
            size += length
        elif not length:
            while not (yield Wait.R):
                continue
            connection.consume_input()
    return b"".join(rows), length < 0


def _number(connection: PGconn) -> PQGen[int]:
    """Return how many rows the server has sent, as it says at the end; raises psycopg.Error."""
    number = -1
    while True:
        while connection.is_busy():
            while not (yield Wait.R):
                continue
            connection.consume_input()
        if (result := connection.get_result()) is None:
            return number
        if result.status != ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)
        number = int(result.command_tuples or 0)
