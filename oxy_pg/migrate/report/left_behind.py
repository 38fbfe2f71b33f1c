"""
What was left behind, as a SQL script: the reason, SQLite's SQL, and what may serve in its place.

Only what PostgreSQL has not refused already stands there as a statement;
all else is a comment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.report.values import Outcome
    from oxy_pg.report import Skipped

_HEAD = """\
-- Left behind when {source} was moved to {target}.
--
-- Each object comes with the reason, with its SQL in SQLite, and where there is one with a
-- suggestion for PostgreSQL. Suggestions are translated by a program, and not proven: read each one
-- before you run it.
"""


def script(report: Outcome) -> str:
    """Return the script."""
    head = _HEAD.format(source=_one_line(report.source), target=_one_line(report.target))
    parts = [part for left in report.skipped for part in _part(left)]
    return head + "".join(parts or ["\n-- Nothing was left behind.\n"])


def _part(left: Skipped) -> Iterator[str]:
    yield f"\n-- {_one_line(left.kind)} {_one_line(left.name)}\n"
    yield _comment(f"Reason: {left.reason}")
    if left.sql:
        yield _comment(f"SQLite: {left.sql}")
    if left.suggestion and left.reason.startswith(_REFUSED):
        yield _comment(f"Tried: {left.suggestion};")
    elif left.suggestion:
        yield f"{left.suggestion};\n"


_REFUSED = ("PostgreSQL refuses it", "translated, it gives")


def _comment(text: str) -> str:
    return "".join(f"--   {line}\n" for line in text.splitlines())


def _one_line(text: str) -> str:
    return " ".join(text.split())
