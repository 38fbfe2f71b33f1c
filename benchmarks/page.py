"""The results as a page of Markdown, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import bounds
from benchmarks.result import OURS, SLOW, Result

if TYPE_CHECKING:
    from benchmarks.bounds import Bound

_HEAD = """\
# Benchmarks

Written by `nox -s bench`. The contenders take turns in one run; the figures are medians. On
another machine the figures will differ, but the ratios should be similar. The code in
`benchmarks/` shows how each is measured.
"""

_SLOW_AND_FAST = """\
## On a slow machine

The starts and the limits once more, in the same run, with the processor throttled. A target that is
a good one has the same verdict on both.

"""


def markdown(machine: dict[str, str], results: list[Result], pictures: dict[str, str]) -> str:
    """Return the page; ``pictures`` are file names and their captions."""
    parts = [_HEAD, *(f"![{caption}]({name})\n" for name, caption in pictures.items())]
    parts.append("## Targets\n\n" + reached(results))
    if slow := slow_and_fast(results):
        parts.append(_SLOW_AND_FAST + slow)
    parts += [
        f"## {_capital(result.what)}\n\n{figures(result)}"
        for result in results
        if not result.key.startswith(SLOW)  # their figures are in the JSON
    ]
    lines = "".join(f"| {name} | {value} |\n" for name, value in machine.items())
    parts.append("## Measured on\n\n| | |\n|---|---|\n" + lines)
    return "\n".join(parts)


def reached(results: list[Result]) -> str:
    """Return the table of all bounds, and whether they were reached."""
    lines = [
        "| what | compared with | target | measured | |",
        "|---|---|---:|---:|---|",
    ]
    lines += [
        _line(result, bound)
        for result in results
        if not result.key.startswith(SLOW)
        for bound in bounds.of(result.key)
    ]
    return "\n".join(lines) + "\n"


def _line(result: Result, bound: Bound) -> str:
    value = bound.value(result)
    unit = "×" if bound.beside else result.unit
    start = f"| {what(result, bound)} | {_cell(bound.beside)} | ≤ {bound.reach:g} {unit} "
    if value is None:
        words = result.failures.get(bound.beside) or result.failures.get(bound.ours, "missing")
        return f"{start}| {_cell(words)} | |"
    verdict = "reached" if value <= bound.reach else "**not reached**"
    return f"{start}| {_number(value)} {unit} | {verdict} |"


def what(result: Result, bound: Bound) -> str:
    """Return what a bound is for, in words."""
    return result.what + (f" ({bound.ours})" if bound.ours != OURS else "")


def slow_and_fast(results: list[Result]) -> str:
    """Return the table of the bounds on a slow machine beside the same in the open; "" if none."""
    slow = {result.key: result for result in results if result.key.startswith(SLOW)}
    lines = [
        _both(result, slow[SLOW + result.key], bound)
        for result in results
        if SLOW + result.key in slow
        for bound in bounds.of(result.key)
    ]
    if not lines:
        return ""
    head = "| what | compared with | target | in the open | throttled | verdicts |\n"
    return head + "|---|---|---:|---:|---:|---|\n" + "\n".join(lines) + "\n"


def _both(fast: Result, slow: Result, bound: Bound) -> str:
    start = f"| {slow.what} | {_cell(bound.beside)} | ≤ {bound.reach:g} × "
    values = [bound.value(fast), bound.value(slow)]
    found = [value for value in values if value is not None]
    shown = " | ".join("missing" if value is None else f"{_number(value)} ×" for value in values)
    same = len({value <= bound.reach for value in found}) == 1 and len(found) == len(values)
    return f"{start}| {shown} | {'the same' if same else '**different**'} |"


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
            f"| {_cell(name)} | {_number(result.median(name))} {result.unit} "
            f"| {_number(min(numbers))} to {_number(max(numbers))} "
            f"| {'' if ratio is None or name == OURS else f'{ratio:.2f}'} "
            f"| {_cell(result.notes.get(name, ''))} |"
        )
    lines += [
        f"| {_cell(name)} | | | | not measured: {_cell(words)} |"
        for name, words in result.failures.items()
    ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if value == 0 or value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
