"""
Values that would not arrive as they are: counted, with an example of each.

A change is found before the first write, by what a kind says that it rounds
(Kind.loss), or by what PostgreSQL gives back for the text that would be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from oxy_pg.migrate.check.judge import judge
from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.survey import exact_text, readable, row_name, show
from oxy_pg.report import BadValue, ValueChange

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    import psycopg

    from oxy_pg.migrate.convert.unfit import Value
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan

_BATCH = 500
_LONG = 100_000  # characters: no more are sent along
_REMEMBERED = 50_000  # texts of one column that PostgreSQL returned as they were
_REREAD = "read by PostgreSQL as something else"


class Found(NamedTuple):
    """A value as the survey yields it (plan/survey.py)."""

    where: str
    key: tuple[Any, ...]
    value: Value
    result: str | BadValue


@dataclass(slots=True)
class _Tally:
    count: int
    stops: bool
    row: str
    before: str
    after: str


class Changes:
    """The changes of all columns; ``stop`` holds those that stop the migration unless allowed."""

    def __init__(self, target: psycopg.Connection[Any]) -> None:
        self._target = target
        self._found: dict[tuple[str, str, str], _Tally] = {}

    def stop(self) -> tuple[ValueChange, ...]:
        """Return the changes that nothing in PostgreSQL would force."""
        return tuple(change for change, stops in self._all() if stops)

    def every(self) -> tuple[ValueChange, ...]:
        """Return all changes."""
        return tuple(change for change, _ in self._all())

    def _all(self) -> Iterator[tuple[ValueChange, bool]]:
        for (table, column, what), found in self._found.items():
            change = ValueChange(
                table, column, found.count, what, found.row, found.before, found.after
            )
            yield change, found.stops

    def _add(
        self,
        place: tuple[str, str, str],
        row: str,
        texts: tuple[str, str],
        *,
        stops: bool,
        count: int = 1,
    ) -> None:
        if place in self._found:
            self._found[place].count += count
        else:
            self._found[place] = _Tally(count, stops, row, *texts)

    def examine(
        self, table: TablePlan, column: ColumnPlan, found: Iterator[Found]
    ) -> Iterator[tuple[tuple[Any, ...], BadValue, bool]]:
        """
        Look at the values of a column; yield those that do not fit.

        With each come its row's identity, and whether PostgreSQL said so.
        """
        kind = column.type.kind
        known: set[str] = set()
        batch: list[Found] = []
        for one in found:
            if isinstance(one.result, BadValue):
                yield one.key, one.result, False
                continue
            if kind.is_lossy:
                self._lose(table, column, one)
            if kind.is_judged_by_postgres and one.result not in known:
                batch.append(one)
                if len(batch) >= _BATCH or len(one.result) > _LONG:
                    yield from self._asked(table, column, batch, known)
                    batch = []
        yield from self._asked(table, column, batch, known)

    def _lose(self, table: TablePlan, column: ColumnPlan, one: Found) -> None:
        loss = values.loss(one.value, column.type, column.survey.option)
        if loss is None:
            return
        # The plan has chosen the type by the digits that the column is declared with.
        forgiven = loss.is_least or (loss.is_noise and table.action == "create")
        name = f"{table.source.name}.{column.source}"
        what = loss.what.replace("table.column", name)
        place = (table.source.name, column.source, what)
        after = one.result if loss.after is None else loss.after
        texts = (show(one.value), show(str(after)))
        self._add(place, one.where, texts, stops=not forgiven)

    def _asked(
        self, table: TablePlan, column: ColumnPlan, batch: list[Found], known: set[str]
    ) -> Iterator[tuple[tuple[Any, ...], BadValue, bool]]:
        if not batch:
            return
        kind = column.type.kind
        texts = [str(one.result) for one in batch]
        for one, verdict in zip(batch, judge(self._target, texts, column.type), strict=True):
            sent = str(one.result)
            if verdict.refused is not None:
                bad = (column.source, one.where, show(one.value), verdict.refused)
                yield one.key, BadValue(table.source.name, *bad), True
                continue
            if not kind.is_spelled_by_postgres:
                continue
            there = verdict.spelled
            if there == sent or (there is not None and kind.same(sent, there, column.type)):
                if len(known) < _REMEMBERED and len(sent) < _LONG:
                    known.add(sent)
                continue
            place = (table.source.name, column.source, _REREAD)
            self._add(place, one.where, (show(one.value), show(there)), stops=True)

    def note_rounded(self, source: sqlite3.Connection, table: TablePlan) -> None:
        """Note the times that the survey has counted, with the first of each column."""
        for column in table.columns:
            rounding = column.type.kind.rounding(column.type)
            if column.generated or not column.survey.rounded or rounding is None:
                continue
            name = quoted(column.source)
            terms = ", ".join((*table.source.identity, name))
            query = f"SELECT {terms} FROM {quoted(table.source.name)} "
            query += f"WHERE {rounding.sql.replace('{x}', name)} LIMIT 1"
            with exact_text(source):
                row = source.execute(query).fetchone() or (None,)
            *key, value = (readable(part) for part in row)
            try:
                text = values.to_text(value or "", column.type, column.survey.option)
            except Unfit:
                text = ""
            where = row_name(table.source, tuple(key)) if key else ""
            place = (table.source.name, column.source, rounding.change)
            texts = (show(value), show(text))
            self._add(place, where, texts, stops=False, count=column.survey.rounded)
