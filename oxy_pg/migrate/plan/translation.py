"""
Queries and conditions of SQLite, translated by sqlglot, with the target's names and types.

sqlglot (https://github.com/tobymao/sqlglot) knows the grammar and most
functions. It does not know the schema: names are spelled as the target has
them, and what depends on a column's type or collation is settled here. What it
translates is not trusted: load/proof.py compares the rows on both sides.

Importing this module takes 70 ms: it is imported where there is something to translate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from oxy_pg.migrate.convert.kinds.times import TIMESTAMPTZ
from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.source import stand_ins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan

_ORDERED = (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.Ordered, exp.Min, exp.Max)
_ARITHMETIC = (exp.Sum, exp.Avg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Min, exp.Max)
_COMPUTED = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Sum, exp.Avg)
_COMPARED = (exp.EQ, exp.NEQ, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ)
_CONDITIONS = (exp.Where, exp.Having, exp.And, exp.Or, exp.Not)
# A statement that is nested too deep, or odd in a way that sqlglot did not expect, too.
_FAILURES = (SqlglotError, RecursionError, AttributeError, ValueError, LookupError, TypeError)
_ROWIDS = {"rowid", "_rowid_", "oid"}


def parse(text: str) -> exp.Expr:
    """Parse a query or an expression of SQLite. Raises Uncertain."""
    try:
        return sqlglot.parse_one(text, read="sqlite")
    except _FAILURES as error:
        raise Uncertain(f"sqlglot cannot read it: {_first_line(error)}") from error


def spell(tree: exp.Expr, *, strict: bool = True) -> str:
    """Spell it for PostgreSQL. Raises Uncertain for what sqlglot knows to be impossible."""
    level = ErrorLevel.RAISE if strict else ErrorLevel.IGNORE
    try:
        return tree.sql(dialect="postgres", unsupported_level=level)
    except _FAILURES as error:
        raise Uncertain(f"sqlglot cannot translate it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")


def tables_of(tree: exp.Expr) -> set[str]:
    """Return the folded names of all tables and views that a query reads."""
    names = {folded(cte.alias) for cte in tree.find_all(exp.CTE)}
    return {folded(table.name) for table in tree.find_all(exp.Table)} - names


def _refuse_unknown_functions(tree: exp.Expr) -> None:
    """
    Raise Uncertain for a function that sqlglot leaves as it is, unless SQLite itself has it.

    One of the application's is not in PostgreSQL; and one of PostgreSQL's, which a file
    may name although SQLite cannot have called it, would run there with our rights.
    """
    for call in tree.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        if stand_ins.is_unknown_function(call.name):
            raise Uncertain(f"it calls {call.name}(), which SQLite does not have")


class Translation:
    """
    Translates one query or condition.

    ``tables`` are the tables that it may read, ``views`` the names of views in
    the target and their columns, by folded names, ``schema`` is that of the target.
    """

    def __init__(
        self,
        tables: Iterable[TablePlan],
        views: Mapping[str, tuple[str, tuple[str, ...]]],
        schema: str,
    ) -> None:
        self._tables = {folded(table.source.name): table for table in tables}
        self._views = views
        self._schema = schema
        self._names: dict[str, str] = {}  # of aliases, by folded names
        self._owners: dict[str, TablePlan] = {}  # tables by folded alias
        self._columns: dict[str, dict[str, ColumnPlan]] = {}  # by folded name, then by table

    def query(self, tree: exp.Expr, *, strict: bool = True) -> str:
        """Translate a SELECT. Raises Uncertain."""
        original, tree = tree, tree.copy()
        ctes = {folded(cte.alias) for cte in tree.find_all(exp.CTE)}
        for table in list(tree.find_all(exp.Table)):
            self._table(table, ctes)
        _refuse_unknown_functions(original)
        return self._finish(tree, strict=strict)

    def condition(self, tree: exp.Expr, table: TablePlan) -> str:
        """Translate a condition on the columns of one table. Raises Uncertain."""
        if tree.find(exp.Subquery, exp.Select):
            raise Uncertain("it is a query")
        _refuse_unknown_functions(tree)
        self._owns(table, folded(table.source.name))
        where = exp.Where(this=tree.copy())
        return self._finish(where, strict=True).removeprefix("WHERE ")

    def _finish(self, tree: exp.Expr, *, strict: bool) -> str:
        self._collect_names(tree)
        for column in list(tree.find_all(exp.Column)):
            self._column(column)
        for like in list(tree.find_all(exp.Like)):
            # LIKE ignores the case of A to Z in SQLite.
            like.replace(exp.ILike(this=like.this, expression=like.expression))
        for odd in tree.find_all(exp.Greatest, exp.Least, exp.Glob):
            raise Uncertain(f"{odd.key.upper()} means something else in PostgreSQL")
        for compared in list(tree.find_all(exp.EQ, exp.NEQ, exp.LT, exp.GT, exp.LTE, exp.GTE)):
            if isinstance(compared.parent, exp.Sum):
                _wrap(compared, "INT")
        for cast in list(tree.find_all(exp.Cast)):
            if cast.is_type("INT", "BIGINT") and isinstance(cast.this, _COMPUTED):
                # It cuts off in SQLite, and rounds in PostgreSQL.
                cast.this.replace(exp.Anonymous(this="TRUNC", expressions=[cast.this.copy()]))
        self._spell_names(tree)
        return spell(tree, strict=strict)

    # --- names ---

    def _table(self, table: exp.Table, ctes: set[str]) -> None:
        name = folded(table.name)
        if name in ctes:
            return
        if not isinstance(table.this, exp.Identifier):
            raise Uncertain("it reads a table-valued function")
        planned, view = self._tables.get(name), self._views.get(name)
        if planned is None and view is None:
            raise Uncertain(f"there is no table {table.name} in the target")
        alias = table.alias or table.name
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        target = planned.target if planned is not None else view[0] if view else ""
        table.set("this", exp.to_identifier(target, quoted=True))
        table.set("db", exp.to_identifier(self._schema, quoted=True))
        if planned is not None:
            self._owns(planned, folded(alias))
        elif view is not None:
            self._names |= {folded(column): column for column in view[1]}

    def _owns(self, table: TablePlan, alias: str) -> None:
        self._owners[alias] = table
        for column in table.columns:
            self._columns.setdefault(folded(column.source), {})[table.source.name] = column

    def _collect_names(self, tree: exp.Expr) -> None:
        for alias in tree.find_all(exp.Alias, exp.TableAlias):
            for identifier in (
                alias.args.get("alias") or alias.this,
                *(alias.args.get("columns") or ()),
            ):
                if isinstance(identifier, exp.Identifier):
                    self._names.setdefault(folded(identifier.name), identifier.name)

    def _found(self, column: exp.Column) -> ColumnPlan | None:
        """Return the column of a table that is meant."""
        found = self._columns.get(folded(column.name), {})
        owner = self._owners.get(folded(column.table)) if column.table else None
        if owner is not None:
            return found.get(owner.source.name)
        here = self._in_scope(column, found)
        if here is not None:
            return here
        spellings = {one.target for one in found.values()}
        if len(spellings) > 1:
            raise Uncertain(f"the column {column.name} is spelled differently in several tables")
        kinds = {one.type.kind for one in found.values()}
        return next(iter(found.values())) if len(kinds) == 1 else None

    def _in_scope(self, column: exp.Column, found: dict[str, ColumnPlan]) -> ColumnPlan | None:
        """Return the column of the only table of the nearest SELECT that has one of this name."""
        select = column.parent_select
        while select is not None:
            sources = [one for one in select.find_all(exp.Table) if one.parent_select is select]
            owners = [self._owners.get(folded(one.alias_or_name)) for one in sources]
            own = [found[o.source.name] for o in owners if o is not None and o.source.name in found]
            if own:
                return own[0] if len({one.target for one in own}) == 1 else None
            select = select.parent_select
        return None

    def _spell_names(self, tree: exp.Expr) -> None:
        # Before anything is renamed, because names tell what is meant.
        meant = {id(column): self._found(column) for column in tree.find_all(exp.Column)}
        for identifier in list(tree.find_all(exp.Identifier)):
            parent = identifier.parent
            if isinstance(parent, exp.Collate):
                continue
            if isinstance(parent, exp.Table) and identifier.arg_key in {"this", "db"}:
                if folded(identifier.name) in self._names and not parent.args.get("db"):
                    identifier.set("this", self._names[folded(identifier.name)])
                identifier.set("quoted", True)
                continue
            if isinstance(parent, exp.Column) and identifier.arg_key == "this":
                planned = meant.get(id(parent))
                if planned is not None:
                    identifier.set("this", planned.target)
                    identifier.set("quoted", True)
                    continue
            name = folded(identifier.name)
            spelled = {one.target for one in self._columns.get(name, {}).values()}
            if len(spelled) == 1:
                identifier.set("this", spelled.pop())
            else:
                identifier.set("this", self._names.get(name, identifier.name))
            identifier.set("quoted", True)

    # --- columns ---

    def _column(self, column: exp.Column) -> None:
        if isinstance(column.this, exp.Star):
            return
        name = folded(column.name)
        planned = self._found(column)
        if planned is None:
            if name in self._names or name in self._columns:
                return
            if column.this.args.get("quoted") and not column.table:
                column.replace(exp.Literal.string(column.name))
                return
            planned = self._rowid(column, name)
            column.set("this", exp.to_identifier(planned.source, quoted=True))
        self._typed(column, planned)

    def _rowid(self, column: exp.Column, name: str) -> ColumnPlan:
        owner = self._owners.get(folded(column.table)) if column.table else None
        if owner is None and len(self._owners) == 1:
            owner = next(iter(self._owners.values()))
        alias = owner.source.rowid_alias if owner is not None and name in _ROWIDS else None
        planned = owner.column(alias) if owner is not None and alias is not None else None
        if planned is None:
            raise Uncertain(f"there is no column {column.name} in the target")
        return planned

    def _typed(self, column: exp.Column, planned: ColumnPlan) -> None:
        """Settle what depends on the type of a column."""
        kind, parent = planned.type.kind, column.parent
        collation = self._collation(planned)
        is_output = isinstance(parent, exp.Select | exp.Alias)
        if collation != "BINARY" and not is_output:
            raise Uncertain(f"{planned.source} is compared by the collation {collation}")
        if kind.is_boolean:
            _boolean(column)
        elif kind.is_number and not kind.is_integer and isinstance(parent, exp.Cast):
            column.replace(exp.Anonymous(this="TRUNC", expressions=[column.copy()]))
        elif kind.is_number and isinstance(parent, _CONDITIONS):
            column.replace(exp.NEQ(this=column.copy(), expression=exp.Literal.number(0)))
        elif kind.is_text and isinstance(parent, _ORDERED):
            column.replace(
                exp.Collate(this=column.copy(), expression=exp.Identifier(this="C", quoted=True))
            )
        elif kind.is_instant:
            _time_function(column, zoned=kind is TIMESTAMPTZ)

    def _collation(self, planned: ColumnPlan) -> str:
        for table in self._owners.values():
            if planned in table.columns:
                return table.source.column(planned.source).collation
        return "BINARY"


def _wrap(tree: exp.Expr, to: str) -> None:
    tree.replace(exp.Cast(this=exp.Paren(this=tree.copy()), to=exp.DataType.build(to)))


def _boolean(column: exp.Column) -> None:
    parent = column.parent
    if isinstance(parent, _COMPARED):
        other = parent.expression if parent.this is column else parent.this
        if isinstance(other, exp.Literal) and other.name in {"0", "1"} and not other.is_string:
            other.replace(exp.Boolean(this=other.name == "1"))
    elif isinstance(parent, exp.In):
        for item in parent.expressions:
            if isinstance(item, exp.Literal) and item.name in {"0", "1"}:
                item.replace(exp.Boolean(this=item.name == "1"))
    elif isinstance(parent, _ARITHMETIC):
        column.replace(exp.Cast(this=column.copy(), to=exp.DataType.build("INT")))


_FUNCTIONS = {"date": "YYYY-MM-DD", "datetime": "YYYY-MM-DD HH24:MI:SS", "time": "HH24:MI:SS"}


def _time_function(column: exp.Column, *, zoned: bool) -> None:
    """Turn date(), datetime(), time() and strftime() of one time column into to_char()."""
    call = column.parent
    while isinstance(call, exp.TsOrDsToTimestamp | exp.TsOrDsToDate | exp.Cast):
        call = call.parent
    shape = None
    if isinstance(call, exp.TimeToStr):
        from oxy_pg.migrate.plan.ddl.terms import pattern

        shape = pattern(call.args["format"].name)
    elif (
        isinstance(call, exp.Date)
        and not call.args.get("expressions")
        and not call.args.get("zone")
    ):
        shape = _FUNCTIONS["date"]
    elif isinstance(call, exp.Anonymous | exp.Func) and len(list(call.iter_expressions())) == 1:
        shape = _FUNCTIONS.get(call.name.lower() if isinstance(call, exp.Anonymous) else call.key)
    if shape is None or call is None:
        return
    moment: exp.Expr = column.copy()
    if zoned:
        # Not in the session's time zone.
        moment = exp.AtTimeZone(this=moment, zone=exp.Literal.string("UTC"))
    call.replace(exp.Anonymous(this="TO_CHAR", expressions=[moment, exp.Literal.string(shape)]))
