"""The progress display for where stderr goes: bars on a terminal, lines in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from oxy_pg.cli.display.lines import Display, StepLines, TableLines

if TYPE_CHECKING:
    from oxy_pg.cli.display.lines import Texts


def of_steps(texts: Texts, *, quiet: bool) -> Display:
    """Return the display for work that is a few steps, for where stderr goes."""
    if quiet:
        return Display()
    if not sys.stderr.isatty():
        return StepLines(texts)
    from oxy_pg.cli.display.bars import StepBars

    return StepBars(texts)


def of_tables(*, quiet: bool) -> Display:
    """Return the display for work that goes table by table, for where stderr goes."""
    if quiet:
        return Display()
    if not sys.stderr.isatty():
        return TableLines()
    from oxy_pg.cli.display.bars import TableBars

    return TableBars()
