"""Plans of backups and restores: values, made by reading alone."""

from __future__ import annotations

import dataclasses

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import contents as values
from oxy_pg.transfer import database, swap
from oxy_pg.transfer.backup import backup, backup_plan, manifest, restore_plan
from tests.transfer.compare import contents
from tests.transfer.conftest import superuser

TABLE = "CREATE TABLE item AS SELECT g AS id FROM generate_series(1, 9) g"


def order(path, url, **options):
    """What ``oxy_pg.restore()`` asks for by default."""
    asked = {
        "superuser_url": None,
        "reader_url": None,
        "keep_old": False,
        "in_place": False,
        "clean": False,
    }
    return restore_plan.order(str(path), url, jobs=None, **{**asked, **options})


def all_databases(connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


def test_a_plan_of_a_backup(new_database, embedded, tmp_path):
    """
    Two plans of one database are equal, and nothing is written for them; they cannot be changed.
    """
    url = superuser(embedded, new_database(TABLE))
    where = backup_plan.destination(str(tmp_path), keep=3, force=False)

    with database.connect_again(url) as connection:
        one, other = (backup_plan.plan(connection, url, where, "custom") for _ in range(2))

    assert one == other
    assert (True, str(tmp_path), "custom") == (where.is_directory, where.directory, one.kind)
    assert one.server_version.startswith("16.")
    assert [] == list(tmp_path.iterdir())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, "kind", "plain")  # noqa: B010 - mypy knows that it cannot be set


def test_a_plan_of_a_restore(new_database, saved, tmp_path):
    """
    It says what is replaced and asks about it; database and server are as they were.
    """
    url = new_database(TABLE)
    path = saved.backup(url, tmp_path).path
    before = contents(url)

    with swap.maintenance(url) as connection:
        names = all_databases(connection)
        given = order(path, url, superuser_url=saved.server.superuser_url())
        plan = restore_plan.plan(given, manifest.read(path), connection)
        again = restore_plan.plan(given, manifest.read(path), connection)
        assert names == all_databases(connection)

    assert plan == again
    assert () == plan.problems
    assert plan.old is not None
    assert plan.replaces_tables
    assert any("TABLE DATA public item" in line for line in plan.entries)
    assert "will be replaced by the backup" in plan.question
    assert before == contents(url)


def test_every_problem_of_a_restore_at_once(debian_15, tmp_path):
    """
    No right to create databases, and an extension that is missing: both are in the plan.
    """
    url = debian_15.new_database()
    with psycopg.connect(url) as connection:
        connection.execute(TABLE)
    path = backup.backup(str(tmp_path), url).path
    lacking = (values.Extension("postgis", "3.4.0", "public"),)
    found = dataclasses.replace(manifest.read(path), extensions=lacking)

    with swap.maintenance(url) as connection:
        plan = restore_plan.plan(order(path, url), found, connection)

    assert 2 == len(plan.problems)
    assert "postgis 3.4.0" in str(plan.problems[0])
    assert "CREATEDB" in str(plan.problems[1])
    with database.connect_again(url) as connection:
        plan = restore_plan.plan(order(path, url, in_place=True), found, connection)
    assert "it is not empty: public.item" in str(plan.problems[1])


def test_a_restore_with_problems_is_not_carried_out(debian_15, tmp_path):
    """
    The first of them is raised.
    """
    url = debian_15.new_database()
    path = backup.backup(str(tmp_path), url).path

    with pytest.raises(oxy_pg.TransferRefused, match="CREATEDB"):
        oxy_pg.restore(path, url)
