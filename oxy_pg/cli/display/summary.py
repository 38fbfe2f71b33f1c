"""The summary of a migration."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from oxy_pg.cli.display import terminal
from oxy_pg.cli.display.terminal import echo, say
from oxy_pg.report import BadValue, grouped
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.report.report import MigrationReport
    from oxy_pg.migrate.report.values import Count, Problem


def show(report: MigrationReport) -> None:
    """Print the report, or in a dry run the plan: as a table on a terminal, else as text."""
    if report.preparation:
        echo(report.preparation)
    if report.dry_run:
        _show_plan(report)
    elif sys.stdout.isatty():
        terminal.console(highlight=False).print(_counts(report, box.SIMPLE_HEAD))
    else:
        # Rich knows the width of each character; the console is too wide for lines to wrap.
        text = io.StringIO()
        terminal.console(file=text, width=10_000, color_system=None).print(_counts(report, None))
        for line in text.getvalue().splitlines():
            echo(line.rstrip())
    for seed in report.seeds:
        echo(f"seeds: {seed}")
    for skipped in report.skipped:
        echo(f"skipped: {skipped.kind} {skipped.name}: {skipped.reason}")
    for change in report.changes:
        example = f" ({change.example})" if change.example else ""
        echo(f"changed: {change.table}.{change.column}: {change.count:,} {change.what}{example}")
    for warning in report.warnings:
        echo(f"warning: {warning}")
    _show_problems(report)
    say(_last_line(report))


def _show_problems(report: MigrationReport) -> None:
    for one in report.unexamined:
        place = f" on {one.table}" if one.table else ""
        echo(f"not examined: {one.kind} {one.name}{place}: {one.definition}")
    values = [BadValue(p.table, p.column, p.row, p.value, p.reason) for p in _bad(report)]
    for line in grouped(values):
        echo(f"problem: bad value: {line}")
    for problem in report.problems:
        if problem.kind != "bad value":
            echo(f"problem: {problem.kind}: {problem.message}")


def _bad(report: MigrationReport) -> Iterator[Problem]:
    return (problem for problem in report.problems if problem.kind == "bad value")


def _show_plan(report: MigrationReport) -> None:
    echo(f"Plan for {report.source} → {report.target}")
    width = max([len(table.name) for table in report.tables], default=0)
    for table in report.tables:
        verb = "create" if table.action == "create" else "fill  "
        skipped = f", {table.rows_skipped:,} of them skipped" if table.rows_skipped else ""
        noun = "row" if table.rows_read == 1 else "rows"
        echo(f"  {verb} {table.name:<{width}}  {table.rows_read:>12,} {noun}{skipped}")
        for column in table.columns:
            echo(f"         {column.name}: {column.declared or '-'} → {column.type}")


# --- row counts of both sides ---


def _counts(report: MigrationReport, lines: box.Box | None) -> Table:
    counts = report.verification.counts
    table = Table(box=lines, pad_edge=False)
    table.add_column("table", overflow="fold")
    table.add_column("rows in SQLite", justify="right", no_wrap=True)
    table.add_column("rows in PostgreSQL" if counts else "rows written", justify="right")
    table.add_column("")
    for name, source, target, note in _rows(report):
        table.add_row(Text(name), f"{source:,}", f"{target:,}", note)
    table.add_section()
    names = [one.name for one in report.tables]
    source = sum(one.rows_read for one in report.tables)
    target = sum(one.target for one in counts) if counts else report.rows
    mark = Text("✓", "green") if counts else Text()
    table.add_row(Text(f"all {many(len(names), 'table')}"), f"{source:,}", f"{target:,}", mark)
    return table


def _rows(report: MigrationReport) -> Iterator[tuple[str, int, int, Text]]:
    if report.verification.counts:
        for one in report.verification.counts:
            yield one.table, one.source, one.target, Text.assemble(("✓", "green"), _note(one))
    else:  # not counted
        for table in report.tables:
            yield table.name, table.rows_read, table.rows_written, Text()


def _note(one: Count) -> str:
    """Why the two numbers differ, where they do."""
    notes = []
    if one.left:
        notes.append(f"{one.left:,} skipped")
    if one.before:
        notes.append(f"{one.before:,} existing")
    return f"  {', '.join(notes)}" if notes else ""


def _last_line(report: MigrationReport) -> str:
    if report.dry_run:
        found = many(len(report.problems), "problem") if report.problems else "no problems"
        unknown = (
            f" {many(len(report.unexamined), 'thing')} that only PostgreSQL can examine: "
            "--rehearse does it."
            if report.unexamined
            else ""
        )
        return f"Dry run: nothing was written; {found} found.{unknown}"
    checked = {
        "counts": "row counts verified",
        "full": f"{many(report.verification.values, 'value')} compared",
        "none": "not verified",
    }[report.verification.mode]
    moved = (
        f"{many(report.rows, 'row')} of {many(len(report.tables), 'table')} "
        f"in {report.seconds:.1f} s; {checked}"
    )
    if report.rehearsal:
        return f"Rehearsed: moved {moved}, and rolled back. The target is as it was."
    return f"Moved {moved}."
