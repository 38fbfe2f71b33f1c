"""Progress bars on a terminal: one for each step, or one for each table."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from oxy_pg.cli.display import terminal
from oxy_pg.cli.display.lines import Display

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType
    from rich.progress import Task, TaskID

    from oxy_pg import report
    from oxy_pg.cli.display.lines import Texts


class _Bars(Display):
    """What the bars have in common: they move from ``__enter__`` to ``__exit__``."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(failed=kind is not None)
        self._progress.stop()

    def _end(self, *, failed: bool) -> None:
        """Leave the bars as they are to stay on the screen."""


class StepBars(_Bars):
    """A bar for each step, that stays when the step is done."""

    def __init__(self, texts: Texts) -> None:
        width = max(len(text) for text, _ in texts.values())
        super().__init__(
            Progress(
                TextColumn(f"{{task.description:<{width}}}", markup=False),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[amount]:>26}", markup=False),
                _Percent(),
                TimeElapsedColumn(),
                console=terminal.console(stderr=True),
                expand=True,
            )
        )
        self._texts = texts
        self._task: TaskID | None = None
        self._full = ""  # the amount at the end of the step

    def draw(self, progress: report.Progress) -> None:
        """Move the step's bar; a new step ends the one before."""
        if progress.phase != self.phase:
            self._end(failed=False)
            if progress.phase in self._texts:
                text, self._full = self._texts[progress.phase][0], ""
                self._task = self._progress.add_task(text, total=None, amount="")
        if self._task is not None:
            unit = self._texts[progress.phase][1]
            amount = _amount(progress, unit)
            total = progress.of or None
            self._progress.update(self._task, completed=progress.done, total=total, amount=amount)
            self._full = _amount(dataclasses.replace(progress, done=progress.of), unit)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        self._end(failed=False)
        self._progress.stop()
        for task in self._progress.task_ids:  # they stand above the question already
            self._progress.remove_task(task)
        yield
        self._progress.start()

    def _end(self, *, failed: bool) -> None:
        """Leave the step's bar where it is: full, if it has succeeded."""
        if self._task is not None and not failed:
            total = self._progress.tasks[-1].total or 1
            self._progress.update(self._task, completed=total, total=total, amount=self._full)
            self._progress.refresh()
        self._task = None


def _amount(progress: report.Progress, unit: str) -> str:
    """Say how much of how much is done."""
    if not unit or not progress.of:
        return ""
    if unit == "bytes":
        return f"{progress.done / 1e6:,.1f}/{progress.of / 1e6:,.1f} MB"
    noun = unit.removesuffix("s") if progress.of == 1 else unit
    return f"{progress.done:,}/{progress.of:,} {noun}"


class _Percent(ProgressColumn):
    """How much of a step is done, where that is known."""

    def render(self, task: Task) -> Text:
        if not task.total:
            return Text("     ")
        return Text(f"{_percent(task):3d} %")


def _percent(task: Task) -> int:
    """Return the percentage: 100 only when nothing is missing."""
    done = task.total is not None and task.completed >= task.total
    return 100 if done else min(99, int(task.percentage))


_WAITS = {
    "prepare": "running --prepare",
    "connect": "connecting",
    "plan": "analysing source",
    "check": "checking",
    "index": "building indexes",
    "verify": "verifying",
}


class TableBars(_Bars):
    """
    A bar for each table with rows, rows/s and time left, and one for the total.

    Finished tables scroll away upwards: the last two lines are always the table
    being loaded and the total, however many tables there are.
    """

    def __init__(self) -> None:
        console = terminal.console(stderr=True)
        # Fixed widths, so that a table's bar can be compared with those above it.
        name = Column(width=max(12, min(32, console.width // 4)), no_wrap=True, overflow="ellipsis")
        self._bars = _TotalLast(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(bar_width=None),
            _Rows(table_column=Column(width=21, justify="right", no_wrap=True)),
            _Rate(table_column=Column(width=14, justify="right", no_wrap=True)),
            _Clock(table_column=Column(width=7, justify="right", no_wrap=True)),
            console=console,
            expand=True,
        )
        super().__init__(self._bars)
        self._total = self._bars.add_task(_WAITS["plan"], total=None, is_total=True)
        self._table: TaskID | None = None
        self._left = False  # the terminal is a command's
        self._rows = 0
        self._done = 0  # rows of finished tables, as the source has them
        self._began = 0.0

    def draw(self, progress: report.Progress) -> None:
        """Move the bars."""
        if progress.phase in _WAITS:
            self._wait(progress)
        elif progress.phase == "load":
            if self._table is None:
                self._begin_table(progress)
            self._move(progress)
        elif progress.phase == "table":
            self._move(progress)
            self._end_table(progress)
        elif progress.phase == "done":
            self._replace_total("all tables", self._rows)
            took = time.monotonic() - self._began
            self._bars.update(self._total, completed=self._rows, took=took)

    def show(self, progress: report.Progress) -> None:
        """Draw the bars again where a command has had the terminal."""
        if self._left and not progress.output:
            self._left = False
            self._bars.start()
        super().show(progress)

    def write(self, text: str) -> None:
        """Leave the terminal to the command."""
        if not self._left:
            self._left = True
            self._bars.stop()
        super().write(text)

    def _end(self, *, failed: bool) -> None:
        if failed:
            self._bars.update(self._total, description="stopped")
        elif self.phase in _WAITS:  # a dry run ends there
            total = self._bars.total(self._total) or 1
            self._bars.update(self._total, completed=total, total=total, is_percent=True)

    def _wait(self, progress: report.Progress) -> None:
        """Show how far a step is; where that is not known, the bar pulses."""
        if progress.phase != self.phase:
            self._replace_total(_WAITS[progress.phase], None)
        if progress.phase == "check":
            self._rows = progress.of_rows or self._rows
        if progress.of_rows and progress.rows:
            self._bars.update(
                self._total, completed=progress.rows, total=progress.of_rows, is_percent=True
            )

    def _replace_total(self, description: str, rows: int | None) -> None:
        self._bars.remove_task(self._total)
        self._total = self._bars.add_task(description, total=rows, is_total=True)

    def _begin_table(self, progress: report.Progress) -> None:
        if progress.done == 1:
            self._done = 0
            self._began = time.monotonic()
            self._replace_total("all tables", self._rows)
        self._table = self._bars.add_task(progress.table, total=progress.of_rows)

    def _move(self, progress: report.Progress) -> None:
        if self._table is not None:
            self._bars.update(self._table, completed=progress.rows)
        self._bars.update(self._total, completed=self._done + progress.rows)

    def _end_table(self, progress: report.Progress) -> None:
        if self._table is None:
            return
        # Skipped rows do not come any more.
        self._bars.update(self._table, total=progress.rows)
        self._done += progress.of_rows
        self._bars.leave(self._table)
        self._table = None


class _TotalLast(Progress):
    """The task with ``is_total`` stands below the others."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(sorted(self.tasks, key=lambda task: "is_total" in task.fields))

    def total(self, task_id: TaskID) -> float | None:
        """Return how much a task is altogether, where that is known."""
        return next(task.total for task in self.tasks if task.id == task_id)

    def leave(self, task_id: TaskID) -> None:
        """Print a finished bar above those that still move; it is not drawn again."""
        row = self.make_tasks_table(task for task in self.tasks if task.id == task_id)
        # Printing while the refreshing thread counts the lines to draw over loses one of them.
        with self.live._lock:  # noqa: SLF001
            self.remove_task(task_id)
            self.console.print(row)


class _Rows(ProgressColumn):
    """Rows loaded, of how many; of the steps before and after that, the percentage."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text()
        if task.fields.get("is_percent"):
            return Text(f"{_percent(task)} %")
        return Text(f"{task.completed:,.0f}/{task.total:,.0f}")


class _Rate(ProgressColumn):
    """Rows per second."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.fields.get("is_percent"):
            return Text()
        took = task.fields.get("took") or task.finished_time or task.elapsed
        if not took or not task.completed:
            return Text()
        rate = task.completed / took
        # Short, because on a narrow terminal the columns share the width.
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
