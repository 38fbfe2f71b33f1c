"""Post-data: what belongs to many small tables is executed together, and each on its own."""

from __future__ import annotations

import random

import psycopg
import pytest

from oxy_pg.migrate.load import post_data

TABLES = "".join(
    f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY, x TEXT, o INTEGER REFERENCES t{max(n - 1, 0)});"
    f"CREATE INDEX t{n}_x ON t{n} (lower(x));"
    for n in range(30)
)
# More than the row of an index holds, and no compression makes it shorter.
LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=12_000))
INDEXES = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%lower(x)%'"


def test_one_refused_index_leaves_nothing_else_behind(move, pg):
    """
    All others are created, and the keys too.
    """
    report = move(TABLES, {"t7": [(1, LONG, None)], "t8": [(5, "b", 1)]})

    assert [("index", "t7_x")] == [(left.kind, left.name) for left in report.skipped]
    assert "PostgreSQL refuses it: index row" in report.skipped[0].reason
    assert {f"t{n}_x" for n in range(30)} - {"t7_x"} == {name for (name,) in pg(INDEXES)}
    assert [(30,)] == pg(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conname LIKE 't%'"
    )
    assert [(30,)] == pg(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conname LIKE 't%'"
    )


def test_a_dry_run_tries_all_statements(move, pg):
    """
    Together, and leaves nothing.
    """
    report = move(TABLES, dry_run=True)

    assert not report.skipped
    assert not report.problems
    assert [] == pg(INDEXES)


def test_many_small_tables_share_a_savepoint(move, monkeypatch):
    """
    When a savepoint ends, PostgreSQL looks at every relation of the transaction.
    """
    begun = []
    transaction = psycopg.Connection.transaction

    def counted(self, *given, **options):
        begun.append(self.info.transaction_status)
        return transaction(self, *given, **options)

    monkeypatch.setattr(psycopg.Connection, "transaction", counted)

    move(TABLES)

    assert len(begun) < 10


def test_a_lost_connection_is_not_a_refusal(move, monkeypatch):
    """
    The statements are not tried again with it: its own error is the one that is reported.
    """
    tried = []
    monkeypatch.setattr(post_data.PostData, "_run_each", lambda *_: tried.append(1))
    execute = psycopg.Connection.execute

    def cut(self, query, *given, **options):
        if "CREATE INDEX" in str(query):
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return execute(self, query, *given, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", cut)

    with pytest.raises(Exception, match="closed the connection unexpectedly"):
        move(TABLES)

    assert not tried
