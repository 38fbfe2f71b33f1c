"""The report of a migration: values, JSON, or a page to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from oxy_pg.migrate.report.values import Outcome


@dataclass(frozen=True, slots=True)
class MigrationReport(Outcome):
    """
    What a migration did, or in a dry run would do.

    Everything that is not in ``tables`` is in ``skipped``, with its reason.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and lists."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """Return the report as one HTML page without references to other files."""
        from oxy_pg.migrate.report import html

        return html.page(self)
