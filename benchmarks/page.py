"""The results as a page of Markdown, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import bounds
from benchmarks.result import OURS, Result

if TYPE_CHECKING:
    from benchmarks.bounds import Bound

_HEAD = """\
# Benchmarks

Written by `nox -s bench`. The contenders take turns in one run; the figures are medians. On
another machine the figures will differ, but the ratios should be similar. The code in
`benchmarks/` shows how each is measured.
"""


def markdown(machine: dict[str, str], results: list[Result], pictures: dict[str, str]) -> str:
    """Return the page; ``pictures`` are file names and their captions."""
    parts = [_HEAD, *(f"![{caption}]({name})\n" for name, caption in pictures.items())]
    parts.append("## Targets\n\n" + reached(results))
    parts += [f"## {_capital(result.what)}\n\n{figures(result)}" for result in results]
    lines = "".join(f"| {name} | {value} |\n" for name, value in machine.items())
    parts.append("## Measured on\n\n| | |\n|---|---|\n" + lines)
    return "\n".join(parts)


def reached(results: list[Result]) -> str:
    """Return the table of all bounds, and whether they were reached."""
    lines = [
        "| what | compared with | target | measured | |",
        "|---|---|---:|---:|---|",
    ]
    lines += [_line(result, bound) for result in results for bound in bounds.of(result.key)]
    return "\n".join(lines) + "\n"


def _line(result: Result, bound: Bound) -> str:
    value = bound.value(result)
    unit = "×" if bound.beside else result.unit
    if value is None:
        words = result.failures.get(bound.beside) or result.failures.get(bound.ours, "missing")
        return f"| {result.what} | {bound.beside} | ≤ {bound.reach:g} {unit} | {_cell(words)} | |"
    verdict = "reached" if value <= bound.reach else "**not reached**"
    return (
        f"| {result.what} | {bound.beside} | ≤ {bound.reach:g} {unit} | {_number(value)} {unit} "
        f"| {verdict} |"
    )


def figures(result: Result) -> str:
    """Return the table of one result: a line for each contender, the fastest first."""
    lines = [
        f"| contender | median | lowest to highest | {OURS} / contender | |",
        "|---|---:|---:|---:|---|",
    ]
    for name in sorted(result.figures, key=result.median):
        numbers = result.figures[name]
        ratio = result.ratio(name)
        lines.append(
            f"| {name} | {_number(result.median(name))} {result.unit} "
            f"| {_number(min(numbers))} to {_number(max(numbers))} "
            f"| {'' if ratio is None or name == OURS else f'{ratio:.2f}'} "
            f"| {_cell(result.notes.get(name, ''))} |"
        )
    lines += [
        f"| {name} | | | | not measured: {_cell(words)} |"
        for name, words in result.failures.items()
    ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if value == 0 or value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
