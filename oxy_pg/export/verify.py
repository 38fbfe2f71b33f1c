"""The file, read back and compared: by this process or, where it is large, by others together."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.errors import ExportDiffers
from oxy_pg.export.digests import digest, marshalled, total, unordered
from oxy_pg.system import files, process, worker
from oxy_pg.system.machine import cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from oxy_pg.export.load import Block
    from oxy_pg.export.plan import TablePlan

_log = logging.getLogger("oxy_pg")

_WORTH = 1_000_000  # values from which on more processes save time
_MOST = 4  # processes
_SUMMED = 100  # rows of a table without an order that are read at a time
_LEAST, _GREATEST = -(2**63), 2**63 - 1  # rowids


class Question(NamedTuple):
    """Rows of the file: all that a query gives, or those with a rowid between two."""

    query: str
    rowids: tuple[int, int] | None
    has_columns: bool


class Expected(NamedTuple):
    """What the answer to a question has to be, and which rows it is about."""

    question: Question
    digest: bytes
    plan: TablePlan
    first: int  # the number of the first row, from 1
    rows: int


class Readers:
    """
    Read a file: this process does or, where there are many values, others together.

    A context manager; the others start at once, while the file is not yet written.
    """

    def __init__(self, path: str, values: int) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        self._others: list[worker.Worker] = []
        jobs = min(cpus(), _MOST)
        if jobs > 1 and values >= _WORTH and process.has_python():
            self._start(jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, jobs: int) -> None:
        try:
            for _ in range(jobs):
                self._others.append(other := worker.Worker(__name__, "serve()"))
                self._stack.callback(other.end)
                other.send(self._path)
        except OSError as error:
            _log.info("the file is compared by this process alone: %s", error)
            self._others = []

    def answers(self, questions: Sequence[Question]) -> Iterator[bytes]:
        """Give the answers in the order of the questions. Raises sqlite3.Error."""
        if not self._others:
            lite = self._stack.enter_context(contextlib.closing(_open(self._path)))
            return (answer(lite, question) for question in questions)
        idle: queue.SimpleQueue[worker.Worker] = queue.SimpleQueue()
        for other in self._others:
            idle.put(other)
        pool = ThreadPoolExecutor(len(self._others))
        # After an error the open questions are not asked any more.
        self._stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        return pool.map(functools.partial(self._ask, idle), questions)

    def _ask(self, idle: queue.SimpleQueue[worker.Worker], question: Question) -> bytes:
        """Let the next process that is idle answer."""
        other = idle.get()
        try:
            other.send(question)
            found: bytes = other.receive()
        except worker.Ended:  # the system may have killed it: no reason to give up
            with contextlib.closing(_open(self._path)) as lite:
                return answer(lite, question)
        finally:
            idle.put(other)
        return found


def compare(
    readers: Readers,
    tables: Sequence[tuple[TablePlan, list[Block]]],
    on_rows: Callable[[TablePlan, int], object],
) -> int:
    """
    Compare every value in the file with what was fetched; return how many there are.

    ``on_rows`` gets how many rows more of a table are equal. Raises ExportDiffers
    and sqlite3.Error.
    """
    expected = [one for plan, blocks in tables for one in _expected(plan, blocks)]
    answers = readers.answers([one.question for one in expected])
    for one, found in zip(expected, answers, strict=True):
        if found != one.digest:
            raise ExportDiffers(one.plan.target, one.first, max(one.rows, 1))
        on_rows(one.plan, one.rows)
    return sum(one.rows * len(one.plan.columns) for one in expected)


def _expected(plan: TablePlan, blocks: list[Block]) -> Iterator[Expected]:
    """Divide a table, so that no row is left out: also none that was not written."""
    query, has_columns = plan.read_back, bool(plan.columns)
    if not plan.rowid:
        rows = sum(block.rows for block in blocks)
        question = Question(query, None, has_columns)
        yield Expected(question, total(block.digest for block in blocks), plan, 1, rows)
        return
    first, least = 1, _LEAST
    for number, block in enumerate(blocks, 1):
        greatest = block.last if number < len(blocks) else _GREATEST
        question = Question(query, (least, greatest), has_columns)
        yield Expected(question, block.digest, plan, first, block.rows)
        first, least = first + block.rows, greatest + 1
    if not blocks:
        question = Question(query, (_LEAST, _GREATEST), has_columns)
        yield Expected(question, digest(marshalled([])), plan, 1, 0)


def _open(path: str) -> sqlite3.Connection:
    return sqlite3.connect(files.sqlite_uri(path), uri=True)


def answer(lite: sqlite3.Connection, question: Question) -> bytes:
    """Return what identifies the rows. Raises sqlite3.Error."""
    if question.rowids is None:
        cursor = lite.execute(question.query)
        return total(map(unordered, iter(lambda: cursor.fetchmany(_SUMMED), [])))
    rows = lite.execute(question.query, question.rowids).fetchall()
    # A row without columns has one in SQLite.
    return digest(marshalled(rows if question.has_columns else [()] * len(rows)))


def serve() -> None:
    """Run another process: answer questions about the file."""
    import gc

    gc.disable()  # rows are no garbage: to look for some in them takes a twelfth of the time
    questions = worker.questions()
    lite = _open(next(questions))
    for question in questions:
        try:
            worker.answer(answer(lite, question))
        except sqlite3.Error as error:
            worker.answer(error)
