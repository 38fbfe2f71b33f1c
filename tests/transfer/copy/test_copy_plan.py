"""Plans of pushes and pulls: values, made by reading alone; a dry run is the plan."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import database
from oxy_pg.transfer.copy import copy_plan
from oxy_pg.transfer.parts import snapshot
from tests.other_servers import postgresql_18_bin
from tests.transfer.contents import differences, everything


@pytest.fixture(autouse=True)
def with_18(monkeypatch):
    """The fork of pgserver, as if it were installed in this Python."""
    monkeypatch.syspath_prepend(str(postgresql_18_bin().parents[2]))


@pytest.fixture
def home(server):
    """The embedded server, with something to push."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT generate_series(1, 70) AS a")
        connection.execute("CREATE TABLE u (b text)")
    with psycopg.connect(server.superuser_url("oxy"), autocommit=True) as connection:
        connection.execute("CREATE PUBLICATION news FOR TABLE public.t")
    return server


def planned(order):
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(contextlib.closing(database.connect_again(order.source_url)))
        snapshot.export(reading, order.source_url)
        target = stack.enter_context(contextlib.closing(database.connect_again(order.target_url)))
        return copy_plan.plan(order, reading, target)


def test_a_plan_is_a_value(home, postgresql_18):
    """
    Two plans are equal; neither side has changed, and the passwords are not in what it shows.
    """
    target = postgresql_18.new_database()
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS old")
    sides = (home.superuser_url("oxy"), target)
    before = [everything(url) for url in sides]
    order = copy_plan.Order("push", home.url(), target, if_not_empty="replace")

    plan = planned(order)

    assert plan == planned(order)
    assert ["public.t", "public.u"] == [str(table) for table in plan.inventory.tables]
    assert [("public.t", 1)] == [(str(table), table.rows) for table in plan.replaced]
    assert ["table public.t"] == [str(one) for one in plan.conflicts if one.kind == "table"]
    assert ((), True) == (plan.problems, plan.is_readable)
    assert "***" in order.target_shown
    for url, content in zip(sides, before, strict=True):
        assert [] == differences(content, everything(url))


@pytest.mark.parametrize("swap", [False, True], ids=["in place", "alongside"])
def test_the_dry_run_is_the_push(home, postgresql_18, swap):
    """
    What it reports is what the push reports afterwards: tables, rows, what is replaced and skipped.
    """
    target = postgresql_18.new_database(rights="CREATEDB")
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS old")
    options = {"if_not_empty": "replace", "swap": swap}

    tried = home.push(target, dry_run=True, **options)
    done = home.push(target, **options)

    told = ("tables", "replaced", "extensions", "skipped", "warnings", "problems")
    assert {name: getattr(tried, name) for name in told} == {
        name: getattr(done, name) for name in told
    }
    publication = {("PUBLICATION", "news"), ("PUBLICATION TABLE", "public news t")}
    assert publication == {(one.kind, one.name) for one in done.skipped}
    assert 70 == done.rows


def test_phases(home, postgresql_18):
    """
    Every phase in its turn, for both ways; their names are those of ``Progress``.
    """
    for swap, last in ((False, ["swap", "analyze", "done"]), (True, ["analyze", "swap", "done"])):
        seen = []
        home.push(
            postgresql_18.new_database(rights="CREATEDB"),
            swap=swap,
            on_progress=lambda step, seen=seen: seen.append(step.phase),
        )
        expected = ["connect", "plan", "schema", "load", "verify", "index", *last]
        assert expected == list(dict.fromkeys(seen))
        assert all(f'"{phase}"' in (oxy_pg.Progress.__doc__ or "") for phase in seen)
