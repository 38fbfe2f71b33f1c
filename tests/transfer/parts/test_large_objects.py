"""Large objects arrive with their numbers and comments, however many there are."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.transfer.copy import copy_database
from oxy_pg.transfer.copy.copy_plan import Order

COMMENTED = """
    SELECT lo_from_bytea(0, convert_to('object ' || g, 'UTF8')) FROM generate_series(1, {}) g;
    DO $$ DECLARE one oid; BEGIN
        FOR one IN SELECT oid FROM pg_largeobject_metadata WHERE oid::bigint % 3 = 0 LOOP
            EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', one, 'it''s ' || one);
        END LOOP;
    END $$;
"""


def found(url: str) -> list[tuple[int, bytes, str | None]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT oid, lo_get(oid), obj_description(oid, 'pg_largeobject')"
            " FROM pg_largeobject_metadata ORDER BY oid"
        ).fetchall()


@pytest.mark.parametrize("way", ["push", "push --swap", "pull", "restore", "restore of SQL"])
def test_comments_arrive(way, embedded, new_database, saved, tmp_path):
    source, target = new_database(COMMENTED.format(30)), new_database()
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]

    if way.startswith("restore"):
        path = saved.backup(source, tmp_path, plain=way == "restore of SQL").path
        saved.restore(path, target)
    elif way == "pull":
        order = Order("pull", source, target, superuser=embedded.superuser_url(), alongside=True)
        copy_database.run(order, dry_run=False, on_progress=None)
    else:
        order = Order("push", embedded.reader_url(name), target, alongside="swap" in way)
        copy_database.run(order, dry_run=False, on_progress=None)

    assert found(source) == found(target)
    assert 10 == len([1 for *_, comment in found(target) if comment is not None])


def many(url: str, number: int, role: str = "") -> None:
    """Make so many, with comments, in portions that a server has room for."""
    begun = f"SET ROLE {role};" if role else ""
    with psycopg.connect(url, autocommit=True) as connection:
        for first in range(0, number, 2000):
            connection.execute(
                f"{begun} DO $$ DECLARE one oid; BEGIN"
                f" FOR i IN {first + 1}..{min(first + 2000, number)} LOOP"
                " one := lo_from_bytea(100000 + i, convert_to('object ' || i, 'UTF8'));"
                " EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', one, i);"
                " END LOOP; END $$".encode()
            )
        connection.execute(
            "SELECT lo_put(100007, 0, convert_to(repeat('ü', 900000), 'UTF8')),"
            " lo_put(100008, 0, convert_to(repeat('x', 16384), 'UTF8')),"
            " lo_put(100009, 0, convert_to(repeat('x', 16385), 'UTF8'))"
        )


@pytest.mark.parametrize("swap", [True, False], ids=["swap", "in place"])
def test_more_than_there_are_locks(swap, embedded, new_database):
    """
    20,000 of them, where the server has room for 6,400 locks; in place, where they are there.
    """
    source, target = new_database(), new_database()
    many(source, 20_000)
    wanted = found(source)
    with psycopg.connect(target, autocommit=True) as connection:
        if not swap:
            many(target, 20_000)
            connection.execute("SELECT lo_put(100003, 0, 'this is longer than it was before')")
            connection.execute("COMMENT ON LARGE OBJECT 100004 IS 'another'")
            connection.execute("GRANT SELECT ON LARGE OBJECT 100005 TO PUBLIC")
            connection.execute("SELECT lo_unlink(100006), lo_create(99999)")
            connection.execute("SELECT lo_put(100002, 500000, 'far behind')")
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]

    order = Order("push", embedded.reader_url(name), target, alongside=swap, if_not_empty="replace")
    copy_database.run(order, dry_run=False, on_progress=None)

    others = [] if swap else [(99999, b"", None)]
    assert others + wanted == found(target)
    with psycopg.connect(target) as connection:
        rights = "SELECT oid FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL"
        assert [] == connection.execute(rights).fetchall()
