"""What reports share: what each of them can do, and how they name what was left out."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


class Report:
    """The base of the reports, which are frozen dataclasses."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain dictionaries, lists, texts and numbers."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """
    Something that was left out, and why.

    ``sql`` is its own definition where there is one, ``suggestion`` SQL that
    may serve in its place.
    """

    kind: str  # "table", "view", "index", "PUBLICATION", "ALTER SYSTEM", …
    name: str
    reason: str = ""
    sql: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f": {self.reason}" if self.reason else "")
