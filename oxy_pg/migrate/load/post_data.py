"""
Post-data: the statements for keys, indexes, constraints and views of filled tables.

What belongs to small tables waits for more of them, and is executed together: PostgreSQL
looks at every relation of the transaction when a savepoint ends, so a savepoint for each
statement would take longer with every table.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.migrate.load.load import FEW
from oxy_pg.migrate.load.proof import Unproven, prove
from oxy_pg.report import Skipped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from oxy_pg.migrate.plan.plan import Plan, Statement

_TOGETHER = 100  # statements


class PostData:
    """
    Executes the statements of a plan's post-data, in their order, when their tables are filled.

    ``skipped`` are the objects that PostgreSQL refuses, where they may be left behind.
    """

    def __init__(
        self, lite: sqlite3.Connection, server: psycopg.Connection[Any], plan: Plan
    ) -> None:
        self._lite = lite
        self._server = server
        self._plan = plan
        self._statements = plan.post_data
        self._missing = [len(statement.after) for statement in plan.post_data]
        self._of: dict[str, list[int]] = defaultdict(list)
        for place, statement in enumerate(plan.post_data):
            for table in statement.after:
                self._of[table].append(place)
        self._ready = [place for place, missing in enumerate(self._missing) if not missing]
        self._small = {
            t.target: t.rows for t in plan.tables if t.existing is None and t.rows <= FEW
        }
        self._rows = 0  # of small tables whose statements wait for others
        self.proves = True  # without rows in the target there is nothing to compare
        self.skipped: list[Skipped] = []

    def fill(self, *tables: str) -> None:
        """Note that tables are filled, by their names in the target, or another condition holds."""
        for table in tables:
            self._rows += self._small.get(table, FEW)
            for place in self._of.pop(table, ()):
                self._missing[place] -= 1
                if not self._missing[place]:
                    self._ready.append(place)

    def run_ahead(self) -> None:
        """
        Execute what is ready while another thread reads the SQLite file, or let it wait.

        Not those whose proof reads it, too: SQLite has one lock for a connection and
        Python one for all threads, and each thread would wait for the other's.
        """
        if self._rows >= FEW or len(self._ready) >= _TOGETHER:
            self._run([place for place in self._ready if self._statements[place].proof is None])

    def run(self) -> None:
        """Execute all that is ready."""
        self._run(self._ready)

    def _run(self, places: Iterable[int]) -> None:
        chosen = set(places)
        self._ready = [place for place in self._ready if place not in chosen]
        self._rows = 0
        statements = [self._statements[place] for place in sorted(chosen)]
        for is_quick, group in groupby(statements, self._is_quick):
            if is_quick:
                self._run_together(list(group))
            else:
                self._run_each(group)

    def _is_quick(self, statement: Statement) -> bool:
        return statement.proof is None and statement.after <= self._small.keys()

    def _run_together(self, statements: Sequence[Statement]) -> None:
        """Execute many with one savepoint; each alone if one of them is refused."""
        for start in range(0, len(statements), _TOGETHER):
            some = statements[start : start + _TOGETHER]
            if not any(statement.optional for statement in some):
                self._run_each(some)
                continue
            try:
                with self._server.transaction():
                    for statement in some:
                        self._server.execute(statement.sql)
            except psycopg.Error as error:
                if not _is_about_object(error):
                    raise
                self._run_each(some)

    def _run_each(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            if statement.optional:
                self._try(statement)
            else:
                self._server.execute(statement.sql)

    def _try(self, statement: Statement) -> None:
        try:
            with self._server.transaction():
                self._server.execute(statement.sql)
                if statement.proof is not None and self.proves:
                    prove(self._lite, self._server, self._plan, statement.proof)
        except Unproven as unproven:
            self._leave(statement, str(unproven))
        except psycopg.Error as error:
            if not _is_about_object(error):
                raise
            self._leave(statement, f"PostgreSQL refuses it: {error.diag.message_primary}")

    def _leave(self, statement: Statement, reason: str) -> None:
        """Leave an object behind, with what was tried."""
        made = statement.source_sql
        self.skipped.append(Skipped(statement.what, statement.name, reason, made, statement.sql))


def _is_about_object(error: psycopg.Error) -> bool:
    # A limit of PostgreSQL's (class 54) is about this object, the others about the server.
    limit = (error.sqlstate or "").startswith("54")
    return limit or not isinstance(error, psycopg.OperationalError)
