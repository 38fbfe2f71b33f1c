"""The report of a migration: a value, JSON, or an HTML page."""

from __future__ import annotations

from dataclasses import dataclass

from oxy_pg.migrate.report import html
from oxy_pg.migrate.report.values import Outcome
from oxy_pg.report import Report


@dataclass(frozen=True, slots=True)
class MigrationReport(Outcome, Report):
    """
    What a migration did, or in a dry run would do.

    ``tables`` are the tables with their columns and row counts, ``changes``
    counts the values that were changed as allowed, ``skipped`` is everything
    that was left out, with its reason. ``verification`` says what was
    compared; ``problems`` is what a dry run has found that would stop the
    migration.
    """

    def to_html(self) -> str:
        """Return the report as one HTML page that needs nothing else."""
        return html.page(self)
