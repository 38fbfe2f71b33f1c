"""Displays of progress as lines of text, and the one that shows nothing: their base."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from oxy_pg.cli.display.terminal import echo
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from oxy_pg.report import Progress

    # What each phase is called, and the unit that it counts: "" for none. "bytes" are shown as MB.
    Texts = Mapping[str, tuple[str, str]]


class Display:
    """
    Shows nothing, and is the base of the displays that show something.

    ``phase`` is what the work was at when it was last heard of.
    """

    def __init__(self) -> None:
        self.phase: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, progress: Progress) -> None:
        """Take note of how far it is; pass it to ``on_progress=``."""
        if progress.output:
            # Also where nothing else is shown: it may be a question.
            self.write(progress.output)
            return
        self.draw(progress)
        self.phase = progress.phase

    def write(self, text: str) -> None:
        """Write what a command has written."""
        echo(text, err=True, nl=False)

    def draw(self, progress: Progress) -> None:
        """Draw it; ``phase`` is still the one before."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        yield


class StepLines(Display):
    """A line as each step begins."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self.texts: Texts = texts

    def draw(self, progress: Progress) -> None:
        """Print the step's name when it is a new one."""
        if progress.phase != self.phase and progress.phase in self.texts:
            echo(f"{self.texts[progress.phase][0]} …", err=True)


class TableLines(Display):
    """A line for each table that has been loaded."""

    def draw(self, progress: Progress) -> None:
        """Print the table's row counts."""
        if progress.phase == "table":
            echo(
                f"[{progress.done}/{progress.of}] {progress.table}: "
                f"{many(progress.of_rows, 'row')} → {progress.rows:,} ✓",
                err=True,
            )
