"""The rows: fetched from PostgreSQL, and written to SQLite."""

from __future__ import annotations

import contextlib
import itertools
import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql

from oxy_pg.errors import ExportRefused
from oxy_pg.export.digests import digest, marshalled, unordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from oxy_pg.export.digests import Rows
    from oxy_pg.export.plan import ExportPlan, TablePlan

    Batch = tuple[Rows, bytes]  # and what identifies them

# A batch has so many rows at first, and takes so many bytes at most.
_FIRST = 8
_BATCH = 4_000_000
# One statement writes rows of so many values: half the time of one for each row. Every SQLite
# takes 999.
_VALUES = 250
_CURSOR = "oxy_pg_export"
# Without a journal nothing could be rolled back; but the file has no name yet.
_PRAGMAS = (
    "PRAGMA journal_mode = off",
    "PRAGMA synchronous = off",
    "PRAGMA locking_mode = exclusive",
    "PRAGMA foreign_keys = off",
    "PRAGMA cache_size = -32768",
)


class Block(NamedTuple):
    """Rows that were written one after the other: how many, their digest, the last one's rowid."""

    rows: int
    digest: bytes
    last: int


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
) -> list[Block]:
    """
    Copy a table's rows, ``most`` of them at a time; return what to compare them with.

    The next batch is fetched while one is written. ``on_rows`` gets how many
    were written. Raises psycopg.Error and ExportRefused.
    """
    found = []
    with _fetched(connection, plan, most) as batches:
        for rows, identity in batches:
            try:
                last = _write(lite, plan, rows)
            except sqlite3.Error as error:
                is_check = str(error).startswith("CHECK")  # and the constraint's name
                remedy = "Drop this CHECK in PostgreSQL, or leave" if is_check else "Leave"
                raise ExportRefused(
                    f"write the table {plan.target!r}",
                    f"SQLite said: {error}.",
                    f"{remedy} the table out with --exclude (exclude=). No file was written.",
                ) from error
            found.append(Block(len(rows), identity, last))
            on_rows(len(rows))
    return found


def _write(lite: sqlite3.Connection, plan: TablePlan, rows: Rows) -> int:
    """Write rows, and return the rowid of the last one."""
    # DEFAULT VALUES, of a table without columns, is one row.
    together = max(1, _VALUES // len(plan.columns)) if plan.columns else 1
    whole = len(rows) - len(rows) % together
    parts = (rows[place : place + together] for place in range(0, whole, together))
    lite.executemany(
        plan.write(together), (tuple(itertools.chain.from_iterable(part)) for part in parts)
    )
    lite.executemany(plan.write(1), rows[whole:])
    (last,) = lite.execute("SELECT last_insert_rowid()").fetchone()
    return int(last)


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
                    # Here, where it runs beside SQLite: neither needs Python's lock meanwhile.
                    hand_over((rows, digest(raw) if plan.rowid else unordered(rows)))
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
