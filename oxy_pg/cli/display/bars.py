"""The bars that a migration shows on a terminal."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType
    from rich.progress import Task, TaskID

    from oxy_pg import report as moved

_WAITS = {
    "connect": "connecting",
    "plan": "looking at the source",
    "check": "checking",
    "index": "building indexes",
    "verify": "verifying",
}


class Bars:
    """
    A bar for each table with rows, rows/s and time left, and one for the whole.

    Finished tables scroll away upwards: the last two lines are always the table
    under way and the whole, however many tables there are.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        # Fixed widths, so that a table's bar can be compared with those above it.
        name = Column(width=max(12, min(32, console.width // 4)), no_wrap=True, overflow="ellipsis")
        self._progress = _WholeLast(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(bar_width=None),
            _Rows(table_column=Column(width=21, justify="right", no_wrap=True)),
            _Rate(table_column=Column(width=14, justify="right", no_wrap=True)),
            _Clock(table_column=Column(width=7, justify="right", no_wrap=True)),
            console=console,
            expand=True,
        )
        self._whole = self._progress.add_task("looking at the source", total=None, whole=True)
        self._table: TaskID | None = None
        self._rows = 0
        self._done = 0  # rows of finished tables, as the source has them
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._progress.update(self._whole, description="stopped")
        self._progress.stop()

    def show(self, progress: moved.Progress) -> None:
        """Move the bars."""
        if progress.phase in _WAITS:
            self._rows = progress.of_rows or self._rows
            # How long it takes is not known, so the bar swings.
            self._replace_whole(_WAITS[progress.phase], None)
        elif progress.phase == "load":
            if self._table is None:
                self._begin_table(progress)
            self._move(progress)
        elif progress.phase == "table":
            self._move(progress)
            self._end_table(progress)
        elif progress.phase == "done":
            self._replace_whole("all tables", self._rows)
            took = time.monotonic() - self._began
            self._progress.update(self._whole, completed=self._rows, took=took)

    def _replace_whole(self, description: str, rows: int | None) -> None:
        self._progress.remove_task(self._whole)
        self._whole = self._progress.add_task(description, total=rows, whole=True)

    def _begin_table(self, progress: moved.Progress) -> None:
        if progress.done == 1:
            self._done = 0
            self._began = time.monotonic()
            self._replace_whole("all tables", self._rows)
        self._table = self._progress.add_task(progress.table, total=progress.of_rows)

    def _move(self, progress: moved.Progress) -> None:
        if self._table is not None:
            self._progress.update(self._table, completed=progress.rows)
        self._progress.update(self._whole, completed=self._done + progress.rows)

    def _end_table(self, progress: moved.Progress) -> None:
        if self._table is None:
            return
        # Rows that stay behind do not come any more.
        self._progress.update(self._table, total=progress.rows)
        self._done += progress.of_rows
        self._progress.leave(self._table)
        self._table = None


class _WholeLast(Progress):
    """Tasks with ``whole`` stand below the others."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(sorted(self.tasks, key=lambda task: "whole" in task.fields))

    def leave(self, task_id: TaskID) -> None:
        """Print a task's bar for good, above those that still move."""
        row = self.make_tasks_table(task for task in self.tasks if task.id == task_id)
        # Printing while the refreshing thread counts the lines to draw over loses one of them.
        with self.live._lock:  # noqa: SLF001
            self.remove_task(task_id)
            self.console.print(row)


class _Rows(ProgressColumn):
    """So many of so many rows."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text()
        return Text(f"{task.completed:,.0f}/{task.total:,.0f}")


class _Rate(ProgressColumn):
    """Rows in a second."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        took = task.fields.get("took") or task.finished_time or task.elapsed
        if not took or not task.completed:
            return Text()
        rate = task.completed / took
        # Short: on a narrow terminal the columns share what there is.
        return Text(f"{rate / 1e6:.1f}M rows/s" if rate >= 1e6 else f"{rate:,.0f} rows/s")


class _Clock(ProgressColumn):
    """The time left, or the time it took."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        known = task.total is not None and task.completed < task.total
        seconds = task.time_remaining if known else task.fields.get("took", task.elapsed)
        if seconds is None:
            return Text("-:--:--")
        return Text(str(timedelta(seconds=int(seconds))))
