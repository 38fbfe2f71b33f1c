"""
The versions that migration tools have recorded in their bookkeeping tables, on both sides.

A schema that is *stamped* is the work of its application's migrations: what
they have not made there is not made by us unless an option asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.plan.bookkeeping import shape_of
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    import psycopg

    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.plan import TablePlan
    from oxy_pg.migrate.plan.standing import Prepared
    from oxy_pg.migrate.source.schema import SourceSchema, SourceTable
    from oxy_pg.migrate.target.catalog import TargetSchema, TargetTable

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Versions:
    """What one bookkeeping table says: ``ours`` in the source, ``theirs`` in the target."""

    table: str
    ours: frozenset[str]
    theirs: frozenset[str]

    @property
    def differ(self) -> bool:
        """Whether the two sides are not at the same version."""
        return self.ours != self.theirs

    @property
    def older(self) -> Literal["source", "target"] | None:
        """The side that is behind; None where the versions do not tell."""
        if self.ours < self.theirs:
            return "source"
        if self.theirs < self.ours:
            return "target"
        numbers = [_number(side) for side in (self.ours, self.theirs)]
        if None in numbers or numbers[0] == numbers[1]:
            return None
        return "source" if numbers < numbers[::-1] else "target"

    def __str__(self) -> str:
        text = f"{self.table}: the source is at {_shown(self.ours, self.theirs)}, the target at "
        text += _shown(self.theirs, self.ours)
        return text + (f": the {self.older} is older" if self.older else "")

    def lacking(self) -> Iterator[str]:
        """Say what each side lacks."""
        sides = ((self.ours - self.theirs, "target"), (self.theirs - self.ours, "source"))
        for missing, where in sides:
            if missing:
                listed = ", ".join(sorted(missing)[:_SHOWN])
                more = ", …" if len(missing) > _SHOWN else ""
                yield f"{self.table}: the {where} lacks {len(missing)} versions: {listed}{more}"


def _number(versions: frozenset[str]) -> int | None:
    """Return the greatest of versions that all begin with a number or a date; not Alembic's."""
    found = [re.match(r"m?(\d{3,5}|\d{8}|\d{14})(?=$|[_.-])", version) for version in versions]
    numbers = [int(match[1]) for match in found if match is not None]
    return max(numbers) if numbers and len(numbers) == len(found) else None


def _shown(versions: frozenset[str], others: frozenset[str]) -> str:
    """Show what tells one side from the other: all of a few versions, else the last of its own."""
    if not versions:
        return "no version"
    if len(versions) <= 2:
        return " and ".join(sorted(versions))
    own = sorted(versions - others) or sorted(versions)
    return f"{own[-1]} (the last of {len(versions)})"


def read_versions(
    lite: sqlite3.Connection,
    server: psycopg.Connection[Any],
    source: SourceSchema,
    target: TargetSchema,
) -> list[Versions]:
    """Read the versions of every bookkeeping table that both sides have."""
    found = []
    for table in source.tables:
        existing = target.table(table.name)
        shape = shape_of(table.name, (column.name for column in table.columns))
        if existing is None or shape is None or shape.version is None:
            continue
        columns = _columns(table, existing, shape.version)
        if not columns:
            continue
        named = ", ".join(ident(existing_name) for _, existing_name in columns)
        there = server.execute(f"SELECT {named} FROM {ident(target.name, existing.name)}")
        spelled = ", ".join(quoted(name) for name, _ in columns)
        here = lite.execute(f"SELECT {spelled} FROM {quoted(table.name)}")
        found.append(Versions(table.name, _spelled(here), _spelled(there)))
    return found


def _columns(table: SourceTable, existing: TargetTable, version: str) -> list[tuple[str, str]]:
    """Return the columns that make up a version, by their names on both sides."""
    ours = {folded(column.name): column.name for column in table.columns}
    columns = []
    for name in ("app", version):  # Django numbers the migrations of each application
        theirs = existing.column(name)
        if folded(name) in ours and theirs is not None:
            columns.append((ours[folded(name)], theirs.name))
        elif name == version:
            return []
    return columns


def _spelled(rows: Any) -> frozenset[str]:
    return frozenset(
        ".".join(str(part) for part in row) for row in rows if all(part is not None for part in row)
    )


def stamped_problems(
    versions: Sequence[Versions],
    prepared: Prepared,
    options: Options,
    created: Sequence[str],
    filled: Sequence[str],
) -> Iterator[str]:
    """
    Say why a stamped target is not what the source needs.

    ``created`` and ``filled`` are the tables that would be.
    """
    stamped = [one for one in versions if one.theirs]
    named = set(options.tables or ())
    unasked = [name for name in created if name not in named and options.schema != "create"]
    differs = [one for one in stamped if one.differ]
    if stamped and unasked and (differs or not filled):
        who = "--prepare has" if prepared.ran else "the application's migrations have"
        yield (
            f"{_listed(unasked)} not in the target, where {who} stamped a version without making "
            f"{'it' if len(unasked) == 1 else 'them'} ({'; '.join(map(str, stamped))}). Nothing is "
            "created next to a stamped schema: let the migrations make the tables (from an empty "
            "database, without the version table), or --schema create makes them as they are in "
            "the source"
        )
    elif prepared.ran and options.on_version_mismatch == "error":
        for one in differs:
            yield (
                f"{one}. Bring the source to that version first (run the application's migrations "
                "on a copy of the file), or empty the target (oxy-pg reset, or DROP SCHEMA) and "
                f"let --prepare stop at the source's{_command(one)}; --on-version-mismatch accept "
                "goes on"
            )


# How the migrations of a tool are run up to a version, where one command does that.
_UP_TO = {
    "alembic_version": "alembic upgrade {}",
    "django_migrations": "python manage.py migrate {}",
    "goose_db_version": "goose up-to {}",
    "flyway_schema_history": "flyway -target={} migrate",
}


def _command(one: Versions) -> str:
    """Spell the --prepare that stops at the source's version, for tools that can."""
    command = _UP_TO.get(folded(one.table))
    if command is None:
        return ""
    own, apart = one.ours, ""
    if folded(one.table) == "django_migrations":
        # Each application has migrations of its own: one that is further in the target.
        apart = min((name.partition(".")[0] for name in one.theirs - one.ours), default="")
        own = frozenset(name for name in own if name.startswith(f"{apart}."))
    if not own:
        return ""
    last = max(own, key=lambda version: (int(version) if version.isdigit() else 0, version))
    return f': --prepare "{command.format(last.replace(".", " ", 1) if apart else last)}"'


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    )
    return f"table {shown} is" if len(names) == 1 else f"tables {shown} are"


def older_side(
    versions: Sequence[Versions], source: SourceSchema, target: TargetSchema
) -> str | None:
    """Say which of two schemas that do not fit is the older one; None: nobody knows."""
    for one in versions:
        if one.differ:
            if one.older:
                return str(one)
            return f"{one}; {_by_shape(source, target)}"
    return None


def _by_shape(source: SourceSchema, target: TargetSchema) -> str:
    """Compare the schemas themselves, where their versions have no order."""
    ours = {(folded(t.name), folded(c.name)) for t in source.tables for c in t.columns}
    theirs = {(folded(t.name), folded(c.name)) for t in target.tables.values() for c in t.columns}
    more, less = len(theirs - ours), len(ours - theirs)
    if more == less:
        return "neither side has more columns than the other"
    side, count = ("source", more) if more > less else ("target", less)
    return (
        f"the {side} lacks {many(count, 'column')} of the other side: it is probably the older one"
    )


def compare_versions(
    tables: list[TablePlan],
    versions: Sequence[Versions],
    prepared: Prepared,
    options: Options,
    warnings: list[str],
) -> Iterator[str]:
    """Return why the versions stop the move; what each side lacks becomes a warning."""
    created = [table.source.name for table in tables if table.action == "create"]
    filled = [table.source.name for table in tables if table.action == "fill"]
    warnings += [said for one in versions for said in one.lacking()]
    return stamped_problems(versions, prepared, options, created, filled)
