"""Random CHECKs: what is translated decides for random rows as PostgreSQL does."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from typing import Any

import psycopg
import pytest

from oxy_pg.export.export import Order, export

EXAMPLES = int(os.environ.get("OXY_PG_EXAMPLES", "600"))
BATCH = 30  # tables for one export

COLUMNS = {
    "a": "bigint",
    "b": "integer",
    "f": "double precision",
    "t": "text",
    "u": "varchar(20)",
    "v": "char(4)",
    "w": "boolean",
}
NUMBERS: list[object] = [0, 1, 2, 3, -1, -7, 5, None]
TEXTS: list[str | None] = ["x", "", "Y ", "a)b", "[1]", "it's", "1", None]


class Conditions:
    """Writes random conditions about the columns, in PostgreSQL's SQL."""

    def __init__(self, chosen: random.Random) -> None:
        self.chosen = chosen

    def one_of(self, *options: str) -> str:
        return self.chosen.choice(options)

    def number(self, depth: int) -> str:
        whole = str(self.chosen.randint(-9, 9))
        kind = self.chosen.random()
        if depth <= 0 or kind < 0.35:
            return self.one_of("a", "b", "f", f"({whole})", "2.5", "NULL::bigint")
        one, other = self.number(depth - 1), self.number(depth - 1)
        if kind < 0.75:
            return f"({one} {self.one_of('+', '-', '*')} {other})"
        if kind < 0.85:
            return f"({one} {self.one_of('/', '%')} {self.one_of('2', '-3', '2.5')})"
        cast = self.one_of("numeric", "float8", "bigint", "int")
        length = f"length({self.text(depth - 1)})"
        return self.one_of(f"abs({one})", length, f"COALESCE({one}, {other})", f"({one})::{cast}")

    def text(self, depth: int) -> str:
        if depth <= 0 or self.chosen.random() < 0.6:
            return self.one_of("t", "u", "v", "'x'", "'Y '", "''", "'it''s'", "'a)b'", "'[1]'")
        one, other = self.text(depth - 1), self.text(depth - 1)
        return self.one_of(f"({one} || {other})", f"COALESCE({one}, {other})")

    def comparison(self) -> str:
        few = self.chosen.randint(1, 4)
        numbers = ", ".join(str(self.chosen.randint(-3, 5)) for _ in range(few))
        texts = ", ".join(self.text(0) for _ in range(few))
        order = self.one_of("=", "<>", "<", ">", "<=", ">=")
        within = self.one_of("IN", "NOT IN")
        return self.one_of(
            f"{self.number(2)} {order} {self.number(2)}",
            f"{self.text(1)} {order} {self.text(1)}",
            f"{self.number(1)} {within} ({numbers})",
            f"{self.text(0)} {within} ({texts})",
            f"{self.one_of('a', 't', 'w')} IS {self.one_of('NULL', 'NOT NULL')}",
            self.one_of("w", "NOT w", "a BETWEEN 1 AND 3", "w = true", "a IS DISTINCT FROM b"),
        )

    def condition(self, depth: int) -> str:
        kind = self.chosen.random()
        if depth <= 0 or kind < 0.3:
            return self.comparison()
        one, other = self.condition(depth - 1), self.condition(depth - 1)
        if kind < 0.85:
            return f"({one} {self.one_of('AND', 'OR')} {other})"
        return self.one_of(f"NOT ({one})", f"CASE WHEN {one} THEN {other} ELSE {one} END")


@pytest.mark.timeout(60 + EXAMPLES)
def test_random_checks_decide_the_same(pg_url, tmp_path):
    """
    The file can be written, and accepts a row if and only if PostgreSQL does.
    """
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    conditions = Conditions(chosen)
    translated = 0
    with psycopg.connect(pg_url, autocommit=True) as connection:
        for _ in range(EXAMPLES // BATCH):
            rows = [[chosen.choice(known) for known in _known()] for _ in range(40)]
            checks = _create(connection, conditions)
            path = str(tmp_path / "out.db")
            report = export(Order(path, pg_url, force=True))
            left = {one.name for one in report.skipped}
            with contextlib.closing(sqlite3.connect(path)) as lite:
                for table, check in checks.items():
                    if f"{table}.k" in left:
                        continue
                    expected = _accepted_by_postgresql(connection, check, rows)
                    if expected is not None:
                        translated += 1
                        found = _accepted_by_sqlite(lite, table, rows)
                        assert expected == found, f"seed {seed}: {check}"
    assert translated > EXAMPLES // 5


def _known() -> list[list[object]]:
    """Return the values of each column."""
    texts: list[object] = [*TEXTS]
    short: list[object] = [text and text[:4] for text in TEXTS]
    reals: list[object] = [0.0, 1.5, -2.25, 3.0, None]
    return [NUMBERS, NUMBERS, reals, texts, texts, short, [True, False, None]]


def _create(connection: psycopg.Connection[Any], conditions: Conditions) -> dict[str, str]:
    """Create tables with one random CHECK each; those that PostgreSQL refuses are no checks."""
    connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    checks = {}
    for number in range(BATCH):
        check = conditions.condition(conditions.chosen.randint(0, 3))
        with contextlib.suppress(psycopg.Error):
            connection.execute(f"CREATE TABLE t{number} ({columns}, CONSTRAINT k CHECK ({check}))")
            checks[f"t{number}"] = check
    return checks


def _accepted_by_postgresql(
    connection: psycopg.Connection[Any], check: str, rows: list[list[object]]
) -> list[bool] | None:
    """Return which rows a CHECK accepts; None where it cannot be computed for one of them."""
    values = ", ".join(f"%s::{kind}" for kind in COLUMNS.values())
    query = f"SELECT ({check.replace('%', '%%')}) IS NOT FALSE FROM (SELECT {values}) AS r"
    query += f" ({', '.join(COLUMNS)})"
    try:
        return [connection.execute(query, row).fetchone() == (True,) for row in rows]
    except psycopg.DataError:
        return None


def _accepted_by_sqlite(
    lite: sqlite3.Connection, table: str, rows: list[list[object]]
) -> list[bool]:
    accepted = []
    for row in rows:
        # As it is stored: PostgreSQL fills a char(n) up, and forgets that when it is text again.
        stored = [*row[:5], row[5] and str(row[5]).rstrip(" "), row[6]]
        try:
            lite.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", stored)
        except sqlite3.IntegrityError:
            accepted.append(False)
        else:
            accepted.append(True)
    return accepted
