"""The views of the source, as statements that are tried once all rows have been loaded."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, quoted, shorten
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.plan import KEYS_RESTORED, Proof, Statement
from oxy_pg.migrate.plan.translation import Translation, parse, spell, tables_of
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlglot import exp

    from oxy_pg.migrate.plan.plan import TablePlan
    from oxy_pg.migrate.target.catalog import TargetSchema

# A view of tables that the application's own migrations have made is theirs to make.
_NOT_OURS = "the target's tables are not created here; its own migrations create its views"


def plan_views(
    lite: sqlite3.Connection,
    listed: Sequence[Skipped],
    tables: Sequence[TablePlan],
    target: TargetSchema,
) -> tuple[list[Statement], list[Skipped]]:
    """
    Translate the views; return their statements, in order, and those that are left behind.

    A view is created only where tables are created, and only under a free name.
    """
    plan = _Views(lite, tables, target)
    left = [skipped for view in _in_order(listed) if (skipped := plan.add(*view))]
    return plan.statements, left


def _in_order(listed: Sequence[Skipped]) -> list[tuple[Skipped, exp.Expr | str]]:
    """Sort views, each after those that it reads."""
    found: dict[str, tuple[Skipped, exp.Expr | str]] = {}
    for view in listed:
        try:
            found[folded(view.name)] = (view, parse(select_of(view.sql or "")))
        except Uncertain as reason:
            found[folded(view.name)] = (view, str(reason))
    ordered: dict[str, tuple[Skipped, exp.Expr | str]] = {}

    def place(name: str, seen: frozenset[str]) -> None:
        if name in ordered or name in seen:
            return
        tree = found[name][1]
        for other in sorted(tables_of(tree)) if not isinstance(tree, str) else ():
            if other in found:
                place(other, seen | {name})
        ordered[name] = found[name]

    for name in found:
        place(name, frozenset())
    return list(ordered.values())


def select_of(text: str) -> str:
    """Return the query of a CREATE VIEW statement."""
    found = tokens.tokenize(text)
    depth = 0
    for place, token in enumerate(found):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.is_word("AS"):
            return tokens.join(found[place + 1 :]).rstrip("; ")
    raise Uncertain("it is not a CREATE VIEW statement")


class _Views:
    def __init__(
        self, lite: sqlite3.Connection, tables: Sequence[TablePlan], target: TargetSchema
    ) -> None:
        self._lite = lite
        self._tables = tables
        self._target = target
        self._taken = set(target.names) | {table.target for table in tables}
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.statements: list[Statement] = []

    def add(self, view: Skipped, tree: exp.Expr | str) -> Skipped | None:
        """Add the statement of one view, or return why there is none."""
        suggestion = None
        try:
            if isinstance(tree, str):
                raise Uncertain(tree)  # noqa: TRY301
            columns = self._columns(view.name)
            suggestion = self._loose(view, columns, tree)
            statement = self._statement(view, columns, tree)
        except Uncertain as reason:
            return Skipped("view", view.name, str(reason), view.sql, suggestion)
        if not any(table.action == "create" for table in self._tables):
            return Skipped("view", view.name, _NOT_OURS, view.sql, statement.sql)
        if view.name in self._target.names:
            reason_ = "the target has something of this name"
            return Skipped("view", view.name, reason_, view.sql, statement.sql)
        self.statements.append(statement)
        return None

    def _columns(self, name: str) -> tuple[str, ...]:
        try:
            rows = self._lite.execute(f"PRAGMA main.table_xinfo({quoted(name)})").fetchall()
        except sqlite3.Error as error:
            raise Uncertain(f"SQLite itself cannot use it: {error}") from error
        taken: set[str] = set()
        for row in rows:
            taken.add(shorten(row[1], taken))
        return tuple(shorten(row[1], set()) for row in rows) if len(taken) == len(rows) else ()

    def _statement(self, view: Skipped, columns: tuple[str, ...], tree: exp.Expr) -> Statement:
        if not columns:
            raise Uncertain("its columns have no names of their own")
        translation = Translation(self._tables, self._known, self._target.name)
        query = translation.query(tree)
        name = shorten(view.name, self._taken)
        self._taken.add(name)
        self._known[folded(view.name)] = (name, columns)
        proof = Proof(f"SELECT * FROM {quoted(view.name)}", ident(self._target.name, name))
        return Statement(
            "view",
            view.name,
            self._create(name, columns, query),
            frozenset({KEYS_RESTORED, *(table.target for table in self._tables)}),
            optional=True,
            source_sql=view.sql,
            proof=proof,
        )

    def _create(self, name: str, columns: tuple[str, ...], query: str) -> str:
        names = ", ".join(map(ident, columns))
        listed = f" ({names})" if names else ""
        return f"CREATE VIEW {ident(self._target.name, name)}{listed} AS {query}"

    def _loose(self, view: Skipped, columns: tuple[str, ...], tree: exp.Expr) -> str | None:
        """Return what sqlglot makes of it, for a reader to correct."""
        try:
            return self._create(view.name, columns, spell(tree, strict=False))
        except Uncertain:
            return None
