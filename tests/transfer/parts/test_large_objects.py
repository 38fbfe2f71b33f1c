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
