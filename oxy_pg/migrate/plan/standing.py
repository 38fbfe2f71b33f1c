"""
Rows that the target's tables have before the move, and what becomes of them.

*Seeds* are the rows that ``prepare`` has put into tables that were empty a
moment before: the application's own migrations insert permissions, content
types, settings. Other rows are a user's data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.plan.bookkeeping import is_bookkeeping
from oxy_pg.migrate.plan.plan import Standing
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from oxy_pg.migrate.options import Options
    from oxy_pg.migrate.plan.plan import Fate, TablePlan
    from oxy_pg.migrate.target.catalog import TargetSchema


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    What ``prepare`` has done to the target.

    ``rows`` are those of all tables that have any, by table; ``seeds`` names the
    tables whose rows it has made, ``others`` those that had other rows before,
    ``created`` the tables that it has created.
    ``ran`` is False where there was no ``prepare``.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    seeds: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    created: frozenset[str] = frozenset()
    ran: bool = False


def standing(table: str, prepared: Prepared, options: Options, rows: int) -> Standing | None:
    """
    Return what becomes of the rows of a table of the target; None where it has none.

    ``rows`` are those that the source has for it.
    """
    there = prepared.rows.get(table, 0)
    if not there:
        return None
    if table not in prepared.seeds:
        return Standing(there, seeds=False, fate=_unasked(options))
    fate: Fate
    if options.if_not_empty == "truncate":
        fate = "replace"
    elif options.seeds == "error":
        fate = "refuse"
    else:
        adds = options.seeds is None and options.if_not_empty == "append"
        fate = "keep" if adds or options.seeds == "keep" or not rows else "replace"
    return Standing(there, seeds=True, fate=fate)


def _unasked(options: Options) -> Fate:
    fates: dict[str, Fate] = {"error": "refuse", "append": "keep", "truncate": "replace"}
    return fates[options.if_not_empty]


def fate(table: TablePlan, options: Options) -> Fate:
    """Return what becomes of the rows of a table, also of those that have come since the plan."""
    return table.standing.fate if table.standing is not None else _unasked(options)


def count_rows(connection: psycopg.Connection[Any], target: TargetSchema) -> dict[str, int]:
    """Count the rows of every table of the target that has any."""
    found = {}
    for name, table in target.tables.items():
        if table.has_rows:
            query = f"SELECT count(*) FROM {ident(target.name, name)}"
            row = connection.execute(query).fetchone()
            found[name] = int(row[0]) if row else 0
    return found


def with_standing(
    table: TablePlan, prepared: Prepared, options: Options, warnings: list[str]
) -> TablePlan:
    """Decide what becomes of the rows that the target has in a table."""
    if table.existing is None:
        return table
    found = standing(table.target, prepared, options, table.rows)
    if found is not None and found.fate == "replace" and not table.rows:
        warnings.append(
            f"{table.target}: {many(found.rows, 'row')} in the target will be deleted "
            "(--if-not-empty truncate), and the source has none for it"
        )
    return replace(table, standing=found)


def seeds_elsewhere(
    tables: list[TablePlan], prepared: Prepared, target: TargetSchema
) -> tuple[tuple[str, int], ...]:
    """Return the seeds of tables that the migration does not touch, with their rows."""
    planned = {table.target for table in tables}
    return tuple(
        (name, prepared.rows[name])
        for name in sorted(prepared.seeds - planned)
        if not is_bookkeeping(target.table(name))
    )
