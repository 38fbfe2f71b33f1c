"""The rows: fetched from PostgreSQL, written to SQLite, read back and compared."""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.errors import ExportDiffers, ExportRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psycopg

    from oxy_pg.export.plan import ExportPlan, TablePlan

    Batch = tuple[list[tuple[Any, ...]], bytes]
    # How many rows a batch had, and what they were.
    Digests = list[tuple[int, bytes]]

# A batch has so many rows at first, and takes so many bytes at most.
_FIRST = 8
_BATCH = 4_000_000
_SUMMED = 100  # rows of a table without an order that are read at a time
_CURSOR = "oxy_pg_export"
# Without a journal nothing could be rolled back; but the file has no name yet.
_PRAGMAS = (
    "PRAGMA journal_mode = off",
    "PRAGMA synchronous = off",
    "PRAGMA locking_mode = exclusive",
    "PRAGMA foreign_keys = off",
    "PRAGMA cache_size = -32768",
)


def create(path: str, plan: ExportPlan) -> sqlite3.Connection:
    """Return a connection to the file, with its tables, in a transaction."""
    lite = sqlite3.connect(path, isolation_level=None)
    for statement in (*plan.pragmas, *_PRAGMAS, "BEGIN", *plan.before):
        lite.execute(statement)
    return lite


def copy(
    connection: psycopg.Connection[Any],
    lite: sqlite3.Connection,
    plan: TablePlan,
    most: int,
    on_rows: Callable[[int], object],
) -> Digests:
    """
    Copy a table's rows, ``most`` of them at a time; return what to compare them with.

    The next batch is fetched while one is written. ``on_rows`` gets how many
    were written. Raises psycopg.Error and ExportRefused.
    """
    found: Digests = []
    with _fetched(connection, plan, most) as batches:
        for rows, digest in batches:
            try:
                lite.executemany(plan.write, rows)
            except sqlite3.Error as error:
                raise ExportRefused(
                    f"write the table {plan.target!r}",
                    f"SQLite said: {error}.",
                    "Leave the table out with --exclude (exclude=). No file was written.",
                ) from error
            found.append((len(rows), digest if plan.rowid else unordered(rows)))
            on_rows(len(rows))
    return found


@contextlib.contextmanager
def _fetched(
    connection: psycopg.Connection[Any], plan: TablePlan, most: int
) -> Iterator[Iterator[Batch]]:
    """Fetch a table's rows in a thread: while SQLite writes, PostgreSQL need not wait."""
    found: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=2)
    over = threading.Event()

    def hand_over(item: Batch | BaseException | None) -> None:
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                found.put(item, timeout=0.1)
                return

    def fetch() -> None:
        size = min(most, _FIRST)
        try:
            with connection.cursor(_CURSOR, binary=True) as cursor:
                cursor.execute(plan.read)
                while not over.is_set() and (rows := cursor.fetchmany(size)):
                    raw = marshalled(rows)
                    hand_over((rows, digest(raw)))
                    # PostgreSQL may have compressed them: how large they are is known only now.
                    room = _BATCH * len(rows) // len(raw)
                    size = max(1, min(most, 2 * size, room))
            hand_over(None)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            hand_over(error)

    def batches() -> Iterator[Batch]:
        while (item := found.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=fetch, daemon=True, name="oxy_pg export")
    thread.start()
    try:
        yield batches()
    finally:
        over.set()
        thread.join()


def marshalled(rows: list[tuple[Any, ...]]) -> bytes:
    """Return bytes that are the same for the same values alone: 1 is another one than 1.0."""
    return marshal.dumps(rows, 2)  # later versions have references between equal objects


def digest(raw: bytes) -> bytes:
    """Return what is compared in the place of so many bytes."""
    return hashlib.blake2b(raw, digest_size=16).digest()


def unordered(rows: list[tuple[Any, ...]]) -> bytes:
    """Return a sum over rows, which are the same in any order."""
    return _total(digest(marshalled([row])) for row in rows)


def finish(connection: psycopg.Connection[Any], lite: sqlite3.Connection, plan: ExportPlan) -> None:
    """Set the numbers with which keys go on, create the indexes, and commit."""
    for table in plan.tables:
        if table.sequence is not None:
            _go_on(connection, lite, table)
    for statement in plan.after:
        lite.execute(statement)
    lite.execute("COMMIT")
    lite.close()


def _go_on(connection: psycopg.Connection[Any], lite: sqlite3.Connection, plan: TablePlan) -> None:
    """Let SQLite's next key be PostgreSQL's next one: deleted numbers are not given again."""
    # As PostgreSQL spells the sequence's name.
    query = sql.SQL("SELECT last_value, is_called FROM " + str(plan.sequence))
    last, is_called = connection.execute(query).fetchone() or (0, False)
    last = last if is_called else last - 1
    lite.execute("DELETE FROM sqlite_sequence WHERE name = ?", (plan.target,))
    # SQLite goes on after the greatest key if that is greater.
    lite.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (plan.target, last))


def compare(
    lite: sqlite3.Connection, plan: TablePlan, digests: Digests, on_rows: Callable[[int], object]
) -> int:
    """
    Compare every value in the file with what was fetched; return how many there are.

    Raises ExportDiffers.
    """
    if not plan.rowid:
        digests = _summed(digests)
    values = done = 0
    cursor = lite.execute(plan.read_back)
    for count, expected in digests:
        if _found(cursor, count, plan) != expected:
            raise ExportDiffers(plan.target, done + 1, count)
        done += count
        values += count * len(plan.columns)
        on_rows(count)
    if cursor.fetchone() is not None:
        raise ExportDiffers(plan.target, done + 1, 1)
    return values


def _found(cursor: sqlite3.Cursor, count: int, plan: TablePlan) -> bytes:
    """Return what identifies the next rows of a table."""
    if not plan.rowid:
        batches = iter(lambda: cursor.fetchmany(_SUMMED), [])
        return _total(unordered(rows) for rows in batches)
    rows = cursor.fetchmany(count)
    # A row without columns has one in SQLite.
    return digest(marshalled(rows if plan.columns else [()] * len(rows)))


def _summed(digests: Digests) -> Digests:
    """Return one digest for all rows of a table."""
    return [(sum(count for count, _ in digests), _total(one for _, one in digests))]


def _total(sums: Iterable[bytes]) -> bytes:
    return (sum(map(int.from_bytes, sums)) % 2**128).to_bytes(16)
