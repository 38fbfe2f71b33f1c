"""The report of a migration: values, JSON, or a page to read."""

from __future__ import annotations

from dataclasses import dataclass

from oxy_pg.migrate.report.values import Outcome
from oxy_pg.report import Report


@dataclass(frozen=True, slots=True)
class MigrationReport(Outcome, Report):
    """
    What a migration did, or in a dry run would do.

    Everything that is not in ``tables`` is in ``skipped``, with its reason.
    """

    def to_html(self) -> str:
        """Return the report as one HTML page without references to other files."""
        from oxy_pg.migrate.report import html

        return html.page(self)

    def to_left_behind(self) -> str:
        """Return what was left behind as a SQL script, with reasons and suggestions."""
        from oxy_pg.migrate.report import left_behind

        return left_behind.script(self)
