"""The WHERE of a partial index: what is certain is translated here, the rest by sqlglot, proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.ddl.conditions import translate_condition
from oxy_pg.migrate.plan.ddl.writer import named
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.plan import Proof
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    from oxy_pg.migrate.plan.plan import TablePlan


def predicate(text: str, table: TablePlan, schema: str) -> tuple[str, Proof | None]:
    """
    Translate a predicate; with it comes what has to be proven, if anything.

    Raises Uncertain.
    """
    try:
        return translate_condition(text, named(table)), None
    except Uncertain as reason:
        from oxy_pg.migrate.plan.translation import Translation, parse

        try:
            condition = Translation((), {}, schema).condition(parse(text), table)
        except Uncertain:
            raise reason from None
    source = f"SELECT count(*) FROM {quoted(table.source.name)} WHERE {text}"
    target = f"SELECT count(*) FROM {ident(schema, table.target)} WHERE {condition}"
    return condition, Proof(source, target, is_count=True)
