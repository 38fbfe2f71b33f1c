"""
The verification: source and target are compared before the commit.

``counts`` compares the number of rows. ``full`` proves two things besides:

* What is stored is what was sent. Values that took their kind's fast way are
  read back by binary COPY, and have the digest of the bytes that were sent.
* What was sent means what the source says. Values that took another way, and
  those of small tables but large bytes, are compared one by one (comparison.py);
  of the others a sample is, and the tests of the kinds prove the rest.

Where digests differ, the rows are compared one by one, to say which they are.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.errors import VerificationFailed
from oxy_pg.migrate.load import records
from oxy_pg.migrate.load.comparison import OURS, Rows, compare_sums, fetched
from oxy_pg.migrate.load.digests import Digest, Sum
from oxy_pg.migrate.load.load import FEW
from oxy_pg.migrate.load.sample import Sample
from oxy_pg.migrate.report.values import Compared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from oxy_pg.migrate.load.comparison import Comparison
    from oxy_pg.migrate.load.digests import Buffer
    from oxy_pg.migrate.load.load import Loaded, Sent
    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan

_BATCH = 256 * 1024  # bytes
# With more objects than some hundred, the garbage collector would look at each, again and again.
_ROWS = 200
_COUNTED = 100  # tables in one query
_AT_ONCE = 4 * 1024 * 1024  # bytes of a table that is read without a cursor
_ROOM = 200_000  # bytes


def count(connection: psycopg.Connection[Any], schema: str, table: str) -> int:
    """Count the rows of one table of the target."""
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def count_all(connection: psycopg.Connection[Any], schema: str, tables: Sequence[str]) -> list[int]:
    """Count the rows of tables of the target."""
    found: list[int] = []
    for start in range(0, len(tables), _COUNTED):
        terms = [
            sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(schema, table))
            for table in tables[start : start + _COUNTED]
        ]
        query = sql.SQL("SELECT {}").format(sql.SQL(", ").join(terms))
        found += connection.execute(query).fetchone() or ()
    return found


class Verifier:
    """Compares the values of tables, and says of each how it was done."""

    def __init__(
        self, connection: psycopg.Connection[Any], plan: Plan, comparison: Comparison
    ) -> None:
        # Rows are to come as they lie: not by an index that has all columns that are asked for, and
        # not from several processes.
        connection.execute("SET LOCAL enable_indexonlyscan = off")
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        self._connection = connection
        self._schema = plan.schema
        self._comparison = comparison
        self._has_room = False
        self.rows = Rows(connection, plan.schema, comparison)

    def compare(self, table: TablePlan, loaded: Loaded, *, in_order: bool) -> Compared:
        """
        Compare a table; ``in_order`` where its rows lie in the order in which they were sent.

        Raises VerificationFailed.
        """
        sent = loaded.sent
        if in_order and sent is not None and sent.digest and _is_digested(loaded, sent):
            return self._by_digest(table, loaded, sent, sent.digest)
        many = fetched(loaded.largest)
        if in_order:
            self.rows.compare(table, table.columns, many, at_once=loaded.bytes <= _AT_ONCE)
            return _compared(table, values=table.columns)
        if sent is not None and sent.sum and len(sent.columns) == len(table.columns):
            found = Sum()
            for record in self._new(table, sent):
                found.add(record)
            if found.result() != sent.sum.result():
                raise VerificationFailed((f"{table.source.name}: the rows are not the same",))
            return _compared(table, digested=sent.columns)
        columns = compare_sums(self._connection, self._schema, self._comparison, table, many)
        return _compared(table, values=columns)

    def _by_digest(self, table: TablePlan, loaded: Loaded, sent: Sent, digest: Digest) -> Compared:
        self._make_room(loaded)
        found = Digest()
        sample = Sample(table, sent, loaded.rows)
        number = 0
        for stored in self._stored(table, sent, loaded):
            found.add(stored[0] if len(stored) == 1 else b"".join(stored))
            sample.take(number, stored)
            number += len(stored)
        many = fetched(loaded.largest)
        if found.result() != digest.result():
            self.rows.compare(table, table.columns, many)
            # A value that means the same, and is stored in other bytes than those that were sent.
            return _compared(table, values=table.columns)
        # Of few rows every value is compared, but bytes: what they mean is what they are.
        digested = [c for c in sent.columns if loaded.rows > FEW or c.type.kind.is_binary]
        names = {column.source for column in digested}
        others = [column for column in table.columns if column.source not in names]
        if others:
            self.rows.compare(table, others, many)
        if differences := tuple(sample.differences(self._comparison)):
            raise VerificationFailed(differences)
        return _compared(table, digested=digested, values=others, sampled=sample.rows)

    def _make_room(self, loaded: Loaded) -> None:
        """
        Let libpq receive more at a time, where there is much to receive.

        Its buffer has 16 kB, and grows only for a value that is longer: it would wait, and both
        sides would take turns, fifty times as often.
        """
        if loaded.bytes > _AT_ONCE and not self._has_room:
            self._has_room = True
            self._connection.execute(f"SELECT repeat(' ', {_ROOM})".encode())

    def _stored(self, table: TablePlan, sent: Sent, loaded: Loaded) -> Iterator[list[Buffer]]:
        """Yield the rows that are stored, some at a time, as binary COPY sends them."""
        get = self._connection.pgconn.get_copy_data
        many = max(1, min(_ROWS, _BATCH // max(1, loaded.largest)))
        with self._copy(table, sent) as copy:
            yield [memoryview(copy.read())[len(records.HEADER) :]]
            left = loaded.rows - 1
            while left > 0:
                batch: list[Buffer] = []
                for _ in range(min(many, left)):
                    # What has arrived already is taken without the detour through psycopg's
                    # waiting, which takes several times as long. It never takes the end: that is
                    # one more.
                    length, arrived = get(1)
                    batch.append(arrived if length > 0 else copy.read())
                left -= len(batch)
                yield batch
            for _ in copy:
                pass

    def _new(self, table: TablePlan, sent: Sent) -> Iterator[Buffer]:
        """Yield the rows that this transaction has written."""
        with self._copy(table, sent, OURS) as copy:
            before: Buffer = copy.read()[len(records.HEADER) :]
            for row in copy:
                yield before
                before = row
            # The last is the trailer; in an empty table it came with the header.

    @contextmanager
    def _copy(
        self, table: TablePlan, sent: Sent, where: sql.SQL | None = None
    ) -> Iterator[psycopg.Copy]:
        columns = sql.SQL(", ").join(sql.Identifier(column.target) for column in sent.columns)
        name = sql.Identifier(self._schema, table.target)
        rows = sql.SQL("{} ({})") if where is None else sql.SQL("(SELECT {1} FROM {0}{2})")
        statement = sql.SQL("COPY {} TO STDOUT (FORMAT binary)")
        query = statement.format(rows.format(name, columns, where))
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            yield copy


def _is_digested(loaded: Loaded, sent: Sent) -> bool:
    """Whether a table has so many rows, or such large values, that its bytes are compared."""
    is_large = loaded.bytes > _AT_ONCE and any(c.type.kind.is_binary for c in sent.columns)
    return loaded.rows > FEW or is_large


def _compared(
    table: TablePlan,
    digested: Sequence[ColumnPlan] = (),
    values: Sequence[ColumnPlan] = (),
    sampled: int = 0,
) -> Compared:
    return Compared(
        table.source.name,
        tuple(column.source for column in digested),
        tuple(column.source for column in values),
        sampled,
    )
