"""Long work survives the timeouts that the role, the database or the server has set."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer.backup import backup, restore
from oxy_pg.transfer.copy import copy_database
from oxy_pg.transfer.copy.copy_plan import Order

TIMEOUTS = {
    "idle_session_timeout": "40ms",
    "statement_timeout": "40ms",
    "lock_timeout": "5ms",
    "idle_in_transaction_session_timeout": "40ms",
    "transaction_timeout": "200ms",
}
# While one table is loaded, the sessions that wait for it are idle.
ROWS = """
    CREATE TABLE small AS SELECT 1 AS a;
    CREATE TABLE large AS SELECT g AS a, repeat(md5(g::text), 5) AS b, g % 7 AS c, g % 11 AS d
        FROM generate_series(1, 150000) g;
    CREATE INDEX ON large (b); CREATE INDEX ON large (c); CREATE INDEX ON large (d);
    ALTER TABLE large ADD PRIMARY KEY (a);
    CREATE INDEX ON small (a);
"""


@pytest.fixture
def hasty(postgresql_18, with_18):
    """A database of a role with these timeouts, and the role's URL of it."""
    url = postgresql_18.new_database(rights="CREATEDB")
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with postgresql_18.superuser() as connection:
        for setting, value in TIMEOUTS.items():
            connection.execute(f"ALTER ROLE {name} SET {setting} = '{value}'".encode())
    yield url
    with postgresql_18.superuser() as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '_oxy_'")
        assert [] == left.fetchall()


def rows(url: str) -> int:
    with psycopg.connect(url, options="-c statement_timeout=0") as connection:
        return connection.execute("SELECT count(*) FROM large").fetchone()[0]


def test_restore_and_backup(hasty, new_database, saved, tmp_path):
    made = saved.backup(new_database(ROWS), tmp_path)

    restore.restore(made.path, hasty, jobs=3)
    again = backup.backup(str(tmp_path / "again"), hasty)

    assert rows(hasty) == 150_000
    assert again.manifest.rows == made.manifest.rows == 150_001


@pytest.mark.parametrize("swap", [False, True], ids=["in place", "swap"])
def test_push(hasty, new_database, embedded, swap):
    source = new_database(ROWS)
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
    order = Order("push", embedded.reader_url(name), hasty, alongside=swap)

    copy_database.run(order, dry_run=False, on_progress=None)

    assert rows(hasty) == 150_000


def test_what_fails_leaves_nothing(hasty, new_database, saved, tmp_path):
    """
    Also where a session of the transfer has ended meanwhile.
    """
    source = new_database(ROWS)
    with psycopg.connect(source) as connection:
        connection.execute(
            "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS"
            " 'BEGIN RETURN (SELECT count(*) FROM small); END'"
        )
        connection.execute("CREATE MATERIALIZED VIEW m AS SELECT f()")
    path = saved.backup(source, tmp_path).path

    with pytest.raises(oxy_pg.TransferRefused, match='relation "small" does not exist'):
        restore.restore(path, hasty)
