"""
What may serve in PostgreSQL in place of what was left behind: for a reader to check and to run.

A suggestion is what sqlglot makes of SQLite's SQL, with the target's names.
Nobody has proven it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.plan.translation import parse, spell
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oxy_pg.migrate.plan.plan import Plan, TablePlan
    from oxy_pg.report import Skipped


def suggested(plan: Plan, skipped: Iterable[Skipped]) -> tuple[Skipped, ...]:
    """Add a suggestion to everything that was left behind and has SQL of its own."""
    writer = _Writer(plan)
    return tuple(
        one if one.suggestion or not one.sql else replace(one, suggestion=writer.suggest(one))
        for one in skipped
    )


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self._schema = plan.schema
        self._tables = {folded(table.source.name): table for table in plan.tables}
        self._columns: dict[str, set[str]] = {}
        for table in plan.tables:
            for column in table.columns:
                self._columns.setdefault(folded(column.source), set()).add(column.target)

    def suggest(self, left: Skipped) -> str | None:
        """Return SQL, or None where there is nothing to suggest."""
        writers = {
            "index": self._index,
            "unique index": self._index,
            "check": self._check,
            "default": self._default,
            "trigger": self._trigger,
        }
        writer = writers.get(left.kind)
        try:
            return None if writer is None else writer(left)
        except Exception:  # noqa: BLE001 - the rows are committed, and this is only a suggestion
            return None

    # --- each kind ---

    def _index(self, left: Skipped) -> str:
        tree = parse(left.sql or "")
        for term in tree.find_all(exp.Ordered):
            if not isinstance(term.this, exp.Column | exp.Paren):
                term.set("this", exp.Paren(this=term.this.copy()))
            term.set("nulls_first", None)
        return self._spelled(tree)

    def _check(self, left: Skipped) -> str | None:
        table = self._checked(left.name)
        condition = (left.sql or "").removeprefix("CHECK")
        if table is None:
            return None
        named = "" if ": CHECK (" in left.name else f"CONSTRAINT {ident(left.name)} "
        return (
            f"ALTER TABLE {self._name(table)} ADD {named}CHECK ({self._spelled(parse(condition))})"
        )

    def _checked(self, name: str) -> TablePlan | None:
        for table in self._tables.values():
            for label, _ in table.source.checks:
                if label == name or name.startswith(f"{table.source.name}: CHECK ("):
                    return table
        return None

    def _default(self, left: Skipped) -> str | None:
        owner, _, column = left.name.rpartition(".")
        table = self._tables.get(folded(owner))
        planned = table.column(column) if table is not None else None
        if table is None or planned is None:
            return None
        return (
            f"ALTER TABLE {self._name(table)} ALTER COLUMN {ident(planned.target)} SET DEFAULT "
            f"{self._spelled(parse(left.sql or ''))}"
        )

    def _trigger(self, left: Skipped) -> str:
        made = _Trigger(tokens.tokenize(left.sql or ""))
        table = self._tables.get(folded(made.table))
        name = ident(self._schema, left.name)
        body = "\n  ".join(self._statement(one) for one in made.statements)
        when = f"\nWHEN ({self._spelled(parse(made.condition))})" if made.condition else ""
        returned = "OLD" if made.event == "DELETE" else "NEW"
        on = self._name(table) if table is not None else ident(self._schema, made.table)
        columns = ", ".join(ident(self._column(name)) for name in made.columns)
        event = f"{made.event} OF {columns}" if columns else made.event
        return (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$\nBEGIN\n"
            f"  {body}\n  RETURN {returned};\nEND $body$;\n"
            f"CREATE TRIGGER {ident(left.name)} {made.time} {event} ON {on}\n"
            f"FOR EACH ROW{when}\nEXECUTE FUNCTION {name}()"
        )

    def _statement(self, text: str) -> str:
        tree = parse(text)
        if not isinstance(tree, exp.Select):
            return f"{self._spelled(tree)};"
        raised = next((c for c in tree.find_all(exp.Anonymous) if c.name.upper() == "RAISE"), None)
        if raised is None:
            return f"PERFORM {self._spelled(tree).removeprefix('SELECT ')};"
        message = raised.expressions[1].name if len(raised.expressions) > 1 else "not allowed"
        stop = f"RAISE EXCEPTION USING MESSAGE = {literal(message)};"
        where = tree.args.get("where")
        case = tree.find(exp.Case)
        if where is not None:
            return f"IF {self._spelled(where.this)} THEN {stop} END IF;"
        if case is not None:
            return f"IF {self._spelled(case.args['ifs'][0].this)} THEN {stop} END IF;"
        return stop

    # --- names ---

    def _name(self, table: TablePlan) -> str:
        return ident(self._schema, table.target)

    def _column(self, name: str) -> str:
        spelled = self._columns.get(folded(name), set())
        return next(iter(spelled)) if len(spelled) == 1 else name

    def _spelled(self, tree: exp.Expr) -> str:
        for table in list(tree.find_all(exp.Table)):
            planned = self._tables.get(folded(table.name))
            if planned is not None and isinstance(table.this, exp.Identifier):
                table.set("this", exp.to_identifier(planned.target, quoted=True))
                table.set("db", exp.to_identifier(self._schema, quoted=True))
        for column in list(tree.find_all(exp.Column)):
            if isinstance(column.this, exp.Identifier):
                column.set("this", exp.to_identifier(self._column(column.name), quoted=True))
            if column.table.upper() in {"NEW", "OLD"}:
                column.set("table", exp.to_identifier(column.table.upper(), quoted=False))
        return spell(tree, strict=False)


class _Trigger:
    """The parts of a CREATE TRIGGER statement."""

    def __init__(self, found: list[tokens.Token]) -> None:
        words = [token.text.upper() if token.kind == "word" else "" for token in found]
        try:
            begin = words.index("BEGIN")
            on = words.index("ON", 0, begin)
            place = next(n for n in range(on) if words[n] in {"DELETE", "INSERT", "UPDATE"})
        except (ValueError, StopIteration) as error:
            raise Uncertain("it is not a CREATE TRIGGER statement") from error
        self.event = words[place]
        self.time = {"BEFORE": "BEFORE", "OF": "INSTEAD OF"}.get(words[place - 1], "AFTER")
        self.columns = [one.value for one in found[place + 1 : on] if one.text != ","][1:]
        table = found[on + 1 : on + 4]
        self.table = table[2].value if table[1:2] and table[1].text == "." else table[0].value
        when = words.index("WHEN", on, begin) if "WHEN" in words[on:begin] else None
        self.condition = tokens.join(found[when + 1 : begin]) if when is not None else ""
        if self.time == "AFTER" and words[place - 1] not in {"AFTER", "BEFORE", "OF"}:
            self.time = "BEFORE"  # SQLite's default
        self.statements = list(_statements(found[begin + 1 : -1]))


def _statements(found: list[tokens.Token]) -> Iterable[str]:
    statement: list[tokens.Token] = []
    for token in found:
        if token.text == ";":
            if statement:
                yield tokens.join(statement)
            statement = []
        else:
            statement.append(token)
