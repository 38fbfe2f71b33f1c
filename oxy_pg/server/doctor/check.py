"""``Check``: one thing that `oxy-pg doctor` has looked at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oxy_pg.errors import OxyPgError
    from oxy_pg.paths import StateDir

    # What is looked at, and how.
    Look = tuple[str, Callable[[StateDir], Iterable["Check"]]]

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``pass``, ``warn`` or ``fail``, and why; what to do."""

    name: str
    verdict: str
    finding: str
    remedy: str = ""

    @classmethod
    def failed(cls, name: str, error: OxyPgError) -> Check:
        """Return an error's message as a failed check; its advice is part of it."""
        first, _, rest = str(error).partition("\n")
        return cls(name, FAIL, first, " ".join(rest.split()))
