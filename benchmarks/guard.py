"""
The short form that runs with every change: no ratio to an alternative may become worse.

It compares ratios only, measured in one run and in memory where there is
room, so that neither the machine's speed nor its disk matters. A line that
exceeds its bound by more than a quarter is measured once more, with more
rounds; only then does it fail.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import attached, bounds, idle, limits, migration, place, starting, suites
from benchmarks.movers import MOVERS
from benchmarks.result import COUNTS, OURS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.bounds import Bound
    from benchmarks.result import Result


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that are measured together: the alternatives, the rounds, the rounds of a retry."""

    beside: tuple[str, ...]  # "" for bounds in a unit of their own
    measure: Callable[[Path, int], list[Result]]
    rounds: int
    more: int


def _starting(base: Path, rounds: int) -> list[Result]:
    return starting.Starting(base, (OURS, "pgserver")).measure(rounds)


def _limits(base: Path, rounds: int) -> list[Result]:
    return limits.measure(base, rounds)


def _suite(base: Path, rounds: int) -> list[Result]:
    names = (OURS, "pytest-postgresql")
    return [suites.measure(base, tests, rounds, names) for tests in (1, 50)]


def _migration(base: Path, rounds: int) -> list[Result]:
    movers = tuple(mover for mover in MOVERS if mover.name in {OURS, COUNTS, "PostgreSQL alone"})
    return migration.measure(base, {_MESSAGES: (rounds, movers)}, lambda _: None)


def _idle(base: Path, rounds: int) -> list[Result]:
    return idle.measure(base, float(rounds))


def _attached(base: Path, rounds: int) -> list[Result]:
    return attached.measure(base, _CLIENTS, 3 * rounds, float(rounds))


_MESSAGES = 100_000
_CLIENTS = 100
_HAVE_TO_BE = {"pgserver", "pytest-postgresql"}  # installed; pgserver has no wheel for Python 3.13
PARTS = (
    Part(("pgserver",), _starting, 9, 21),
    Part(limits.NAMES, _limits, 7, 15),
    Part(("pytest-postgresql",), _suite, 3, 7),
    Part(("PostgreSQL alone", COUNTS, ""), _migration, 3, 9),
    Part(("",), _idle, 3, 10),
    Part(("", attached.SECOND), _attached, 3, 10),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    bound: Bound
    what: str
    value: float | None

    @property
    def limit(self) -> float:
        return self.bound.guard if self.bound.guard is not None else self.bound.reach

    @property
    def holds(self) -> bool:
        return self.value is not None and self.value <= self.limit * bounds.TOLERANCE

    def __str__(self) -> str:
        value = "missing" if self.value is None else f"{self.value:.2f}"
        return (
            f"| {self.what} | {self.bound.beside or 'itself'} | {value} | {self.limit:g} "
            f"{f' ({self.bound.why})' if self.bound.why else ''} "
            f"| {'ok' if self.holds else 'TOO MUCH'} |"
        )


def run() -> int:
    """Measure, print the table, and return the exit code."""
    print("| what | compared with | measured | bound | |\n|---|---|---:|---:|---|")
    verdicts = []
    for part in PARTS:
        if missing := [name for name in part.beside if name in _HAVE_TO_BE and not _is_here(name)]:
            print(f"| | {missing[0]} | not installed | | not measured |")
        else:
            verdicts += _judge(part)
    failed = [verdict for verdict in verdicts if not verdict.holds]
    if failed:
        print(f"{len(failed)} of {len(verdicts)} exceed their bound by more than a quarter.")
    return 1 if failed else 0


def _is_here(name: str) -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(name))
    return False


def _judge(part: Part) -> list[Verdict]:
    verdicts = _measure(part, part.rounds)
    if not all(verdict.holds for verdict in verdicts):
        print("once more, with more rounds:", file=sys.stderr)
        again = {verdict.bound: verdict for verdict in _measure(part, part.more)}
        verdicts = [v if v.holds else again.get(v.bound, v) for v in verdicts]
    for verdict in verdicts:
        print(verdict, flush=True)
    return verdicts


def _measure(part: Part, rounds: int) -> list[Verdict]:
    with place.lent(place.in_memory()) as base:
        results = part.measure(base, rounds)
    return [
        Verdict(bound, result.what + bound.ours.removeprefix(OURS), _value(bound, result))
        for result in results
        for bound in bounds.of(result.key)
        if bound.beside in part.beside
    ]


def _value(bound: Bound, result: Result) -> float | None:
    """Return the bound's value, or that of the best rounds if it is less."""
    value = bound.value(result)
    best = result.best_ratio(bound.beside, bound.ours) if bound.beside else None
    return value if value is None or best is None else min(value, best)
