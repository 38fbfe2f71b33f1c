"""Connections of a transfer: how long a server is waited for, and what a session is like."""

from __future__ import annotations

import socket
import threading
import time

import psycopg
import pytest

import oxy_pg
from oxy_pg.system.deadline import Deadline
from oxy_pg.transfer import database, locks
from tests.other_servers import free_port


def listening(port: int, started: threading.Event) -> socket.socket:
    """A port that accepts connections and never answers."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", port))
    silent.listen()
    started.set()
    return silent


# --- how long ------------------------------------------------------------------------


def test_one_deadline_for_both_servers(server):
    """
    Two servers that do not listen are waited for together, not one after the other.
    """
    deadline = Deadline(3)
    urls = [f"postgresql://u:secret@127.0.0.1:{free_port()}/x" for _ in range(2)]
    ended = [time.monotonic()]

    for url in urls:
        with pytest.raises(oxy_pg.TransferRefused, match=r"(?s)refused.*waited 3 s") as caught:
            database.connect(url, deadline)
        ended.append(time.monotonic())
        assert "secret" not in str(caught.value)

    assert ended[1] - ended[0] >= 3 > ended[2] - ended[1]
    database.connect(server.url(), deadline).close()  # there is always one attempt


@pytest.mark.parametrize("verb", ["backup", "restore", "in_place", "push", "pull"])
def test_every_verb_waits_as_long_as_it_was_told(server, tmp_path, verb):
    """
    ``timeout`` is for all of a verb's waiting; a server that is not there is waited for once.
    """
    nowhere = f"postgresql://u@127.0.0.1:{free_port()}/x"
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    path = server.backup(tmp_path / "a.dump").path
    calls = {
        "backup": lambda: oxy_pg.backup(tmp_path / "b.dump", nowhere, timeout=3),
        "restore": lambda: oxy_pg.restore(path, nowhere, timeout=3),
        "in_place": lambda: oxy_pg.restore(path, nowhere, in_place=True, timeout=3),
        "push": lambda: server.push(nowhere, timeout=3),
        "pull": lambda: server.pull(nowhere, timeout=3),
    }
    began = time.monotonic()

    with pytest.raises(oxy_pg.TransferRefused, match="waited 3 s"):
        calls[verb]()

    assert 3 <= time.monotonic() - began < 2 * 3


def test_a_server_that_starts_is_waited_for(postgresql_18, tmp_path):
    """
    A backup that is called a moment before its server listens succeeds.
    """
    url = postgresql_18.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    postgresql_18.stop()
    starting = threading.Timer(0.7, postgresql_18.start)
    starting.start()
    try:
        with database.connect(url, Deadline(20)) as connection:
            assert [("public", "t")] == database.tables(connection)
    finally:
        starting.join()


def test_a_server_that_has_gone_is_not_waited_for():
    """
    Once connected, a transfer does not wait for a server to come back: its snapshot is lost.
    """
    with pytest.raises(oxy_pg.TransferRefused, match="refused") as caught:
        database.connect_again(f"postgresql://u@127.0.0.1:{free_port()}/x")

    assert "waited" not in str(caught.value)


def test_a_server_that_never_answers():
    """
    It accepts the connection and is silent: the deadline holds, in libpq's whole seconds.
    """
    port, started = free_port(), threading.Event()
    with listening(port, started):
        assert started.wait(5)
        with pytest.raises(oxy_pg.TransferRefused, match="timeout"):
            database.connect(f"postgresql://u@127.0.0.1:{port}/x", Deadline(2))


# --- what for --------------------------------------------------------------------------

TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
)


def test_timeouts_of_the_role_are_off(postgresql_18, new_database):
    """
    What the role has set for its sessions does not end a long transfer; 17 has one more.
    """
    ours, theirs = new_database(), postgresql_18.new_database()
    for url, names in ((ours, TIMEOUTS), (theirs, (*TIMEOUTS, "transaction_timeout"))):
        with psycopg.connect(url, autocommit=True) as connection:
            name = connection.info.dbname
            for setting in names:
                connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '1s'")
        with psycopg.connect(url) as connection:
            assert ("1s",) == connection.execute(f"SHOW {names[-1]}").fetchone()

        with database.connect_again(url) as connection:
            shown = {database.one(connection, f"SHOW {setting}") for setting in names}
            assert {"0"} == shown


def test_a_superusers_session_calls_no_function_of_the_role(new_database, saved, tmp_path):
    """
    A search_path that puts the role's own ``count()`` first changes neither result nor rights.
    """
    url = new_database("CREATE TABLE item AS SELECT generate_series(1, 7) AS id")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE seen (who text)")
        connection.execute("CREATE SCHEMA evil")
        connection.execute(
            "CREATE FUNCTION evil.pg_export_snapshot() RETURNS text LANGUAGE sql AS"
            " $$INSERT INTO public.seen VALUES (current_user) RETURNING 'no'$$"
        )
        connection.execute(
            f'ALTER DATABASE "{connection.info.dbname}" SET search_path = evil, pg_catalog'
        )

    report = saved.backup(url, tmp_path)

    rows = {table.name: table.rows for table in report.manifest.tables}
    assert {"item": 7, "seen": 0} == rows


def test_one_transfer_at_a_time_replaces_a_database(new_database):
    """
    The second one is told which database; after the first has ended it gets the lock.
    """
    url = new_database()
    with database.connect_again(url) as one, database.connect_again(url) as other:
        with locks.replacing(one, "shop"):
            with locks.replacing(other, "another"):
                pass
            with (
                pytest.raises(oxy_pg.TransferRefused, match=r"'shop'.*under way"),
                locks.replacing(other, "shop"),
            ):
                pytest.fail("both have it")
        with locks.replacing(other, "shop"):
            pass


def test_small_tables_are_counted_together(new_database):
    """
    250 of them and a large one in a few queries; each has its own number.
    """
    url = new_database(
        """
        DO $$ BEGIN FOR i IN 0..249 LOOP
            EXECUTE format('CREATE TABLE "t %s" AS SELECT generate_series(1, %s) AS a', i, i);
        END LOOP; END $$;
        CREATE TABLE "t 1 large" AS SELECT repeat('x', 1000) FROM generate_series(1, 3000);
        CREATE TABLE parent (a int); CREATE TABLE heir () INHERITS (parent);
        INSERT INTO parent VALUES (1); INSERT INTO heir VALUES (1), (2);
        """
    )
    asked = []
    with psycopg.connect(url, autocommit=True) as connection:
        found = database.count(connection, lambda *told: asked.append(told))

    numbers = {one.name: one.rows for one in found}
    assert {f"t {i}": i for i in range(250)} == {
        name: rows for name, rows in numbers.items() if name[2:].isdigit()
    }
    assert (3000, 1, 2) == tuple(numbers[name] for name in ("t 1 large", "parent", "heir"))
    assert len(asked) < 10
    assert (253, 253, "") == asked[-1]
