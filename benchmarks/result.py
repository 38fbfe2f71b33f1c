"""What was measured: one thing, done by several contenders in turn."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass, field
from typing import Any

OURS = "oxy_pg"
SLOW = "throttled-"  # begins the keys of what was measured with the processor throttled
COUNTS = f"{OURS}, --verify counts"


@dataclass(slots=True, eq=False)
class Result:
    """
    The figures of one thing, one for each round and contender.

    ``unit`` is that of the figures: ``s``, ``ms``, ``MB`` or a plain count.
    A contender that cannot do it stands in ``failures``, with its own words.
    """

    key: str
    what: str
    unit: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    size: int = 0  # rows, of what grows

    def add(self, contender: str, figure: float) -> None:
        self.figures.setdefault(contender, []).append(figure)

    def fail(self, contender: str, words: str) -> None:
        self.failures.setdefault(contender, words)

    def median(self, contender: str) -> float:
        return statistics.median(self.figures[contender])

    def ratio(self, contender: str, ours: str = OURS) -> float | None:
        """
        Return how many times a contender's figure ours is; None if one is missing.

        It is the median of the rounds' ratios where both took part in each
        round: what slows the machine down for one slows it for both.
        """
        mine, theirs = self.figures.get(ours), self.figures.get(contender)
        if not mine or not theirs or not all(theirs):
            return None
        if len(mine) == len(theirs):
            return statistics.median(one / other for one, other in zip(mine, theirs, strict=True))
        return statistics.median(mine) / statistics.median(theirs)

    def best_ratio(self, contender: str, ours: str = OURS) -> float | None:
        """Return the same of the best rounds: on a busy machine all noise is on top of those."""
        mine, theirs = self.figures.get(ours), self.figures.get(contender)
        return min(mine) / min(theirs) if mine and theirs and min(theirs) else None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        medians = {name: self.median(name) for name in self.figures}
        return {**dataclasses.asdict(self), "medians": medians}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Result:
        """Read what ``document()`` has returned."""
        return cls(**{name: value for name, value in document.items() if name != "medians"})
