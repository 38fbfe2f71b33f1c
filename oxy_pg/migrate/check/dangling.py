"""
Seeds that are kept, and refer to seeds that the source's rows replace.

An application's migrations may insert rows into a table that is empty in the
source, and let them refer to rows of a table that is not: the roles of a
default user. Where the source has no such row, the foreign key could not be
restored after the load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.check.rowsets import NUMBERS
from oxy_pg.migrate.plan.standing import fate
from oxy_pg.migrate.target import session
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.check.clashes import Clashes
    from oxy_pg.migrate.plan.plan import Plan, TablePlan

_SHOWN = 3
_REFERENCES = """
SELECT c.relname, p.relname,
       ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a
             ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o)::text[],
       ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a
             ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o)::text[]
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.connamespace = %s::regnamespace
ORDER BY c.relname, k.conname
"""


def dangling(
    source: sqlite3.Connection, server: psycopg.Connection[Any], plan: Plan, keys: Clashes
) -> Iterator[str]:
    """Say which kept seeds would refer to no row."""
    kept = {name for name, _ in plan.kept_seeds} | {
        table.target
        for table in plan.tables
        if table.standing is not None and table.standing.fate == "keep"
    }
    replaced = {t.target: t for t in plan.tables if t.existing and _is_replaced(t, plan)}
    if not kept or not replaced:
        return
    with session.transaction(server):
        references = server.execute(_REFERENCES, [ident(plan.schema)]).fetchall()
    for child, name, own, others in references:
        parent = replaced.get(name)
        if child not in kept or parent is None:
            continue
        missing = _missing(source, server, plan, keys, parent, (child, own, others))
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (", …" if missing[_SHOWN:] else "")
            yield (
                f"{child}: rows that --prepare has made and that are kept refer to rows of {name} "
                f"that the source does not have ({', '.join(own)} = {shown})"
            )


def _is_replaced(table: TablePlan, plan: Plan) -> bool:
    return table.standing is not None and fate(table, plan.options) == "replace"


def _missing(
    source: sqlite3.Connection,
    server: psycopg.Connection[Any],
    plan: Plan,
    keys: Clashes,
    parent: TablePlan,
    reference: tuple[str, list[str], list[str]],
) -> list[str]:
    """Return the keys, as PostgreSQL spells them, that the source has no row for."""
    child, own, others = reference
    columns = [parent.by_target(column) for column in others]
    found = [column for column in columns if column is not None]
    if len(found) != len(own) or any(column.type.kind.family is None for column in found):
        return []  # PostgreSQL alone can compare them
    name = f"oxy_parents_{next(NUMBERS)}"
    parts = ", ".join(f"k{n}" for n in range(len(own)))
    source.execute(f"CREATE TEMP TABLE {name} ({parts}, PRIMARY KEY ({parts}))")
    keys.collect(parent, found, name)
    terms = ", ".join(f"{ident(column)}::text" for column in own)
    there = " AND ".join(f"{ident(column)} IS NOT NULL" for column in own)
    query = f"SELECT DISTINCT {terms} FROM {ident(plan.schema, child)} WHERE {there}"
    with session.transaction(server):
        rows = server.execute(query.encode()).fetchall()
    same = " AND ".join(f"k{n} = ?" for n in range(len(own)))
    missing = []
    for row in rows:
        meant = [repr(c.type.kind.canonical(text)) for text, c in zip(row, found, strict=True)]
        if not source.execute(f"SELECT 1 FROM temp.{name} WHERE {same}", meant).fetchone():
            missing.append(", ".join(row))
    return missing
