"""What a transfer shows on the way: a bar for each step on a terminal, lines in a pipe."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Step(Protocol):
    """How far it is, as every transfer tells it."""

    @property
    def phase(self) -> str:
        """What is done just now."""

    @property
    def done(self) -> int:
        """How much of it is done."""

    @property
    def of(self) -> int:
        """How much there is to do; 0 where that is not known."""


class Steps:
    """
    No display; the base of the others. ``texts`` are the steps to show, and what they are called.

    A text that ends in "bytes" counts those, and is shown in MB.
    """

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        self.texts = texts  # phase: what it is called, and its unit
        self.phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, step: Step) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        yield


class Lines(Steps):
    """A line as each step begins."""

    def show(self, step: Step) -> None:
        """Print the step's name when it is a new one."""
        if step.phase != self.phase and step.phase in self.texts:
            click.echo(f"{self.texts[step.phase][0]} …", err=True)
        self.phase = step.phase


class Moving(Steps):
    """A bar for each step, that stays when the step is done."""

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(texts)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        width = max(len(text) for text, _ in texts.values())
        self.bars: Bars = Progress(
            TextColumn(f"{{task.description:<{width}}}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[amount]:>26}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            expand=True,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._end()
        self.bars.stop()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        self._end()
        self.bars.stop()
        for task in self.bars.task_ids:  # they stand above the question already
            self.bars.remove_task(task)
        yield
        self.bars.start()

    def show(self, step: Step) -> None:
        """Move the bar."""
        if step.phase != self.phase:
            self._end()
            self.phase = step.phase
            if step.phase in self.texts:
                text = self.texts[step.phase][0]
                self.task = self.bars.add_task(text, total=None, amount="")
        if self.task is not None:
            unit = self.texts[step.phase][1]
            self.bars.update(
                self.task, completed=step.done, total=step.of or None, amount=amount(step, unit)
            )

    def _end(self) -> None:
        """Leave the finished step's bar where it is, full."""
        if self.task is not None:
            total = self.bars.tasks[-1].total or 1
            self.bars.update(self.task, completed=total, total=total)
            self.bars.refresh()
        self.task = None


def amount(step: Step, unit: str) -> str:
    """Say how much of how much is done."""
    if not unit or not step.of:
        return ""
    if unit == "bytes":
        return f"{step.done / 1e6:,.1f}/{step.of / 1e6:,.1f} MB"
    return f"{step.done:,}/{step.of:,} {unit}"


def display(texts: Mapping[str, tuple[str, str]], *, quiet: bool) -> Steps:
    """Return the display for where stderr goes."""
    if quiet:
        return Steps(texts)
    return Moving(texts) if sys.stderr.isatty() else Lines(texts)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let a service manager's SIGTERM clean up as Ctrl-C does."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
