"""Pieces of a table, made in advance by threads and handed out in their order."""

from __future__ import annotations

import threading
from collections import deque
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import Self

Piece: TypeAlias = tuple[int, bytes]  # a number of rows, and what COPY takes for them
Maker: TypeAlias = "Generator[tuple[int, Piece]]"

_MOST = 16 * 1024 * 1024  # bytes in the queue, unless a single row has more


class Ahead:
    """
    The pieces of several makers, each run by a thread of its own.

    A maker yields pieces with their place, and continues with a later place when
    it has yielded all of one; the places of all makers together are 0, 1, 2, …
    The context manager ends all threads on exit. What a maker raises is raised
    where the pieces are taken.
    """

    def __init__(self, makers: Sequence[Maker]) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[Piece]] = {}
        self._bytes = 0
        self._next = 0
        self._done: set[int] = set()  # places whose pieces have all been put
        self._running = len(makers)
        self._error: BaseException | None = None
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._run, args=(maker,), name="oxy_pg-reader", daemon=True)
            for maker in makers
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._take, None)

    def _take(self) -> Piece | None:
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if waiting := self._waiting.get(self._next):
                    piece = waiting.popleft()
                    self._bytes -= len(piece[1])
                    self._changed.notify_all()
                    return piece
                if self._next in self._done:
                    self._waiting.pop(self._next, None)
                    self._done.discard(self._next)
                    self._next += 1
                    self._changed.notify_all()
                elif self._running:
                    self._changed.wait()
                else:
                    return None

    def _run(self, maker: Maker) -> None:
        try:
            for place, made in groupby(maker, key=itemgetter(0)):
                if not all(self._put(place, piece) for _, piece in made):
                    break
                self._finish(place)
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            self._error = error
        finally:
            maker.close()
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _finish(self, place: int) -> None:
        with self._changed:
            self._done.add(place)
            self._changed.notify_all()

    def _put(self, place: int, piece: Piece) -> bool:
        """Queue a piece; False when no more are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(place))
            self._waiting.setdefault(place, deque()).append(piece)
            self._bytes += len(piece[1])
            self._changed.notify_all()
            return not self._stopped

    def _has_room(self, place: int) -> bool:
        # The maker of the piece that is needed next never waits.
        return self._bytes < _MOST or (place == self._next and not self._waiting.get(place))
