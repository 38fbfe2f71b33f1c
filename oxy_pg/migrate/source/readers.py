"""
The processes that read the source: this one and, where it is large, others alongside.

All of them see the database as it was at one moment. They are processes,
because threads hardly help: SQLite's allocator has one lock, and the functions
that it calls in Python need the interpreter's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from oxy_pg.errors import MigrationError
from oxy_pg.migrate.source import database
from oxy_pg.migrate.source.functions import install_functions, install_packs
from oxy_pg.system import process, worker
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.machine import cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

_log = logging.getLogger("oxy_pg")

_WORTH = 32 * 1024 * 1024  # bytes of a source from which on more processes save time
_ATTEMPTS = 20  # to see one moment, while another program keeps writing


class Question(NamedTuple):
    """
    A query that gives one row, texts as bytes.

    ``packs`` are the functions.pack_function() that it calls; no value in it
    may have more than ``limit`` bytes: sqlite3.DataError else.
    """

    query: str
    parameters: Mapping[str, int] = {}
    packs: frozenset[str] = frozenset()
    limit: int | None = None


class Reader(Protocol):
    """Answers questions about the source, in the order in which they are sent."""

    def send(self, question: Question) -> None:
        """Ask; one more question may wait while another is answered."""

    def receive(self) -> tuple[Any, ...]:
        """Return the row that answers the oldest open question. Raises sqlite3.Error."""


class ConnectionReader:
    """Reads with a connection of this process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._open: deque[Question] = deque()
        self._packs: set[str] = set()
        self._most = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        install_functions(connection)

    def send(self, question: Question) -> None:
        """Ask; it is answered when it is received."""
        self._open.append(question)

    def receive(self) -> tuple[Any, ...]:
        """Answer the oldest open question."""
        return self.ask(self._open.popleft())

    def ask(self, question: Question) -> tuple[Any, ...]:
        """Return the row. Raises sqlite3.Error."""
        connection = self.connection
        install_packs(connection, question.packs - self._packs)
        self._packs |= question.packs
        factory, connection.text_factory = connection.text_factory, bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, question.limit or self._most)
        try:
            row: tuple[Any, ...] = connection.execute(
                question.query, question.parameters
            ).fetchone()
            return row
        finally:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._most)
            connection.text_factory = factory

    def begin(self, deadline: Deadline) -> None:
        """End the read transaction, and begin another."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        database.begin(self.connection, deadline)


class ProcessReader:
    """Reads with another process, which ends when it is told to, or when this one has ended."""

    def __init__(self, path: str, deadline: Deadline) -> None:
        """Start it. Raises OSError."""
        self._worker = worker.Worker(__name__, "answer()")
        self.send((os.path.abspath(path), deadline.remaining()))

    def send(self, question: object) -> None:
        """Ask."""
        self._worker.send(question)

    def receive(self) -> tuple[Any, ...]:
        """Wait for an answer. Raises MigrationError when the process has ended."""
        row: tuple[Any, ...] = self._receive()
        return row

    def begin(self, deadline: Deadline) -> None:
        """See the source as it is now. Raises sqlite3.Error."""
        self.send(deadline.remaining())
        self._receive()

    def _receive(self) -> Any:
        try:
            return self._worker.receive()
        except worker.Ended as error:
            raise MigrationError(
                "A process that was reading the source has ended unexpectedly; nothing was "
                "written. Try again; --jobs 1 reads without other processes."
            ) from error

    def end(self) -> None:
        """End the process at once: it only reads."""
        self._worker.end()


def answer() -> None:
    """Run the other process: answer questions until the pipe is closed."""
    questions = worker.questions()
    path, seconds = next(questions)
    reader = ConnectionReader(database.connect(path, Deadline(seconds)))
    for question in questions:
        found: object = None
        try:
            if isinstance(question, Question):
                found = reader.ask(question)
            else:  # how many seconds to wait for locks
                reader.begin(Deadline(question))
        except sqlite3.Error as error:
            found = error
        worker.answer(found)


def _ignore(_: int) -> None:
    pass


class Readers:
    """
    The readers of one source: ``here`` with its ``connection``, and ``all`` that share the work.

    Use it as a context manager, and call begin() before anything is read.
    """

    def __init__(self, path: str, deadline: Deadline, jobs: int) -> None:
        self._path = path
        self.connection = database.connect(path, deadline)
        self.here = ConnectionReader(self.connection)
        self._others: list[ProcessReader] = []
        self.all: Sequence[Reader] = [self.here]
        jobs = min(jobs, cpus())
        if jobs > 1 and database.size(path) >= _WORTH and process.has_python():
            self._start_others(jobs, deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_others()
        self.connection.close()

    def _start_others(self, count: int, deadline: Deadline) -> None:
        try:
            for _ in range(count):
                self._others.append(ProcessReader(self._path, deadline))
        except OSError as error:
            self._read_alone(error)

    def begin(self, deadline: Deadline) -> None:
        """
        Let all readers see the same moment.

        Where another program writes without a pause, or no process can be
        started, this process reads alone. Raises SourceUnreadable.
        """
        if not self._others:
            return
        try:
            with contextlib.closing(database.Watch(self._path, deadline)) as watch:
                for _ in range(_ATTEMPTS):
                    before = watch.version()
                    self.here.begin(deadline)
                    for other in self._others:
                        other.begin(deadline)
                    if before == watch.version():
                        self.all = self._others
                        return
            self._read_alone("it is written to without a pause")
        except sqlite3.Error as error:
            raise database.unreadable(self._path, error) from error
        except MigrationError as error:
            self._read_alone(error)

    def ask_all(
        self, questions: Sequence[Question], on_answer: Callable[[int], object] | None = None
    ) -> list[tuple[Any, ...]]:
        """
        Return the answers to all questions, in their order. Raises sqlite3.Error.

        ``on_answer`` gets the place of each question that has been answered.
        """
        answered = on_answer or _ignore
        if len(self.all) == 1 or len(questions) == 1:
            found = []
            for place, question in enumerate(questions):
                found.append(self.here.ask(question))
                answered(place)
            return found
        idle: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for reader in self.all:
            idle.put(reader)

        def ask(question: Question) -> tuple[Any, ...]:
            reader = idle.get()
            try:
                reader.send(question)
                return reader.receive()
            finally:
                idle.put(reader)

        with ThreadPoolExecutor(len(self.all)) as pool:
            answers = [pool.submit(ask, question) for question in questions]
            try:
                rows = []
                for place, answer in enumerate(answers):
                    rows.append(answer.result())
                    answered(place)
                return rows
            finally:
                for answer in answers:
                    answer.cancel()

    def _read_alone(self, reason: object) -> None:
        _log.info("the source is read by this process alone: %s", reason)
        self._end_others()

    def _end_others(self) -> None:
        self.all = [self.here]
        for other in self._others:
            other.end()
        self._others = []
