"""The results as pictures: bars with the targets, and growth on log axes."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks import bounds
from benchmarks.result import OURS, SLOW, Result

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

mpl.use("agg")

_OURS, _THEIRS, _LIMIT, _MISSED = "#2f6f9f", "#c3c9cf", "#b3322c", "#d9944a"
_COLORS = {OURS: _OURS, f"{OURS}, existing schema": "#7fb2d9", "PostgreSQL alone": "#444444"}
_WIDTH = 8.0  # inches


def draw(results: list[Result], home: Path) -> dict[str, str]:
    """Draw what there are results for below ``home``; return file names and captions."""
    by_key = {result.key: result for result in results}
    pictures = (
        (
            "ratios.png",
            f"{OURS}: distance from the limits and from the alternatives, and the targets",
            _ratios,
        ),
        ("starting.png", "Start, attach and stop", _starting),
        ("migration.png", "Migration from SQLite", _migration),
        ("growth.png", "Migration time by database size", _growth),
    )
    return {name: caption for name, caption, draw in pictures if draw(by_key, home / name)}


def _save(path: Path) -> bool:
    plt.savefig(path, dpi=144, bbox_inches="tight", metadata={"Software": None})
    plt.close()
    return True


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def _ratios(results: dict[str, Result], path: Path) -> bool:
    """
    Every bound that is a ratio: above to a limit, below to an alternative.

    The axis is logarithmic, so that a bar's length from 1 is the distance.
    """
    lines = [
        (bound.beside in bounds.LIMITS, f"{_short(result, bound)}\n{bound.beside}", value, bound)
        for result in results.values()
        for bound in bounds.of(result.key)
        if not result.key.startswith(SLOW)
        and bound.beside
        and not bound.beside.startswith(OURS)
        and (value := bound.value(result))
    ]
    panels = [
        ("Distance from the limit: what PostgreSQL, Python or the disk take themselves", True),
        ("Compared with other packages", False),
    ]
    chosen = [
        (title, [line[1:] for line in lines if line[0] is is_limit][::-1])
        for title, is_limit in panels
    ]
    chosen = [(title, found) for title, found in chosen if found]
    if not chosen:
        return False
    heights = [len(found) + 2 for _, found in chosen]
    figure, grid = plt.subplots(
        len(chosen),
        1,
        figsize=(_WIDTH, 0.5 * sum(heights)),
        squeeze=False,
        height_ratios=heights,
    )
    for axes, (title, found) in zip(grid.flat, chosen, strict=True):
        _distances(axes, title, found)
    figure.tight_layout(h_pad=2.0)
    return _save(path)


def _distances(axes: Axes, title: str, lines: list[tuple[str, float, bounds.Bound]]) -> None:
    for at, (_, value, bound) in enumerate(lines):
        color = _OURS if value <= bound.reach else _MISSED
        axes.plot([1, value], [at, at], color=color, linewidth=9, solid_capstyle="butt")
        axes.plot([bound.reach] * 2, [at - 0.36, at + 0.36], color=_LIMIT, linewidth=2.2)
        axes.annotate(
            f"{value:.2f}" if value >= 0.01 else "<0.01",
            (max(value, bound.reach, 1), at),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xscale("log", base=2)
    least = min(0.5, *(min(value, bound.reach) for _, value, bound in lines))
    most = max(2.0, *(max(value, bound.reach) for _, value, bound in lines))
    axes.set_xlim(max(least, 1 / 16) / 1.15, most * 1.6)
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:g} ×")
    axes.axvline(1, color="#555555", linewidth=1)
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines], fontsize=8)
    axes.set_ylim(-0.7, len(lines) - 0.3)
    axes.set_title(title, loc="right", fontsize=11)
    axes.plot([], [], color=_LIMIT, linewidth=2.2, label="target")
    axes.plot([], [], color=_OURS, linewidth=9, label="reached")
    axes.plot([], [], color=_MISSED, linewidth=9, label="not reached")
    axes.legend(
        loc="upper right",
        bbox_to_anchor=(1.0, -0.6 / len(lines)),
        frameon=False,
        fontsize=8,
        ncols=3,
    )
    _plain(axes)


def _short(result: Result, bound: bounds.Bound | None = None) -> str:
    words = result.what.replace(", import included", "").replace(", session included", "")
    if result.key.startswith("migration") and result.size:
        words = f"migration of {result.size / 1e6:.2g} million rows"
    words = words.removeprefix("migration: time, ").replace(": time, ", ", ")
    words = re.sub(r", [0-9,]+ MB of SQLite$", "", words).replace("`", "")
    return words + (bound.ours.removeprefix(OURS) if bound is not None else "")


def _starting(results: dict[str, Result], path: Path) -> bool:
    keys = ("first-start", "new-cluster", "warm-start", "attach", "stop", "suite")
    found = [results[key] for key in keys if key in results and results[key].figures]
    if not found:
        return False
    columns = 2
    rows = -(-len(found) // columns)
    most = max(len(result.figures) for result in found)
    figure, grid = plt.subplots(
        rows, columns, figsize=(_WIDTH * 1.35, rows * (0.34 * most + 1.1)), squeeze=False
    )
    for axes, result in zip(grid.flat, found, strict=False):
        _bars(axes, result)
        axes.set_title(_short(result), loc="left", fontsize=11)
    for axes in list(grid.flat)[len(found) :]:
        axes.set_visible(False)
    figure.tight_layout(h_pad=2.0, w_pad=2)
    return _save(path)


def _migration(results: dict[str, Result], path: Path) -> bool:
    result = results.get("migration")
    if result is None or not result.figures:
        return False
    figure, axes = plt.subplots(figsize=(_WIDTH * 1.1, 0.42 * len(result.figures) + 1.2))
    _bars(axes, result)
    axes.set_title(result.what, loc="left", fontsize=11)
    figure.tight_layout()
    return _save(path)


def _bars(axes: Axes, result: Result) -> None:
    """Draw a bar for each contender, and the targets as lines; very long bars are cut off."""
    names = sorted(result.figures, key=result.median, reverse=True)
    medians = [result.median(name) for name in names]
    limits = {
        f"target: {bound.reach:g} × {bound.beside}": bound.reach * result.median(bound.beside)
        for bound in bounds.of(result.key)
        if bound.beside in result.figures
    }
    usual = [median for median in medians if median <= 4 * statistics.median(medians)]
    end = max(*usual, *limits.values(), 0)
    for style, (label, limit) in zip(("-", "--"), limits.items(), strict=False):
        axes.axvline(limit, color=_LIMIT, linewidth=1.5, linestyle=style, label=label)
    for at, (name, median) in enumerate(zip(names, medians, strict=True)):
        color = _OURS if name.startswith(OURS) else _THEIRS
        axes.barh(at, min(median, 1.08 * end), color=color, height=0.6)
        number = f"{median:,.0f}" if median >= 100 else f"{median:.3g}"
        axes.annotate(
            f"{number} {result.unit}" + (" (cut off)" if median > end else ""),
            (min(median, 1.08 * end), at),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.85},
        )
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_xlim(0, end * 1.3)
    axes.set_xlabel(result.unit, loc="left")
    if limits:
        axes.legend(
            loc="upper right",
            bbox_to_anchor=(1.0, 0.0),
            borderaxespad=2.2,  # below the axis
            frameon=False,
            fontsize=8,
        )
    _plain(axes)


def _growth(results: dict[str, Result], path: Path) -> bool:
    found = sorted(
        (
            r
            for r in results.values()
            if r.key.startswith("migration") and r.unit == "s" and r.figures
        ),
        key=lambda result: result.size,
    )
    if len(found) < 2:
        return False
    figure, axes = plt.subplots(figsize=(_WIDTH * 1.2, 4.6))
    axes.set_prop_cycle(
        color=["#c77f2b", "#8a8a8a", "#7a9a3a", "#a05195", "#d45087", "#2a9d8f", "#bc5090"]
    )
    names = [name for name in found[-1].figures if sum(name in r.figures for r in found) > 1]
    for name in names:
        points = [(r.size, r.median(name)) for r in found if name in r.figures]
        axes.loglog(
            *zip(*points, strict=True),
            marker="o",
            markersize=4,
            linewidth=2.4 if name.startswith(OURS) else 1.5,
            linestyle="-" if len(points) > 2 else "--",
            color=_COLORS.get(name),
            label=name,
        )
    axes.set_xlabel("rows")
    axes.set_ylabel("s")
    axes.grid(visible=True, which="major", color="#e3e6e9")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _plain(axes)
    figure.tight_layout()
    return _save(path)
