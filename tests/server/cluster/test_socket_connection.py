"""The little of PostgreSQL's protocol that is spoken without a driver."""

from __future__ import annotations

import pytest

from oxy_pg.server.cluster.socket_connection import Connection, QueryError
from oxy_pg.system.deadline import Deadline


def connected(server, database, **options):
    status = server.status()
    return Connection(f"{server.state_dir}/run/s", status.port, Deadline(30), database, **options)


def test_a_query_may_follow_at_once(server):
    """
    Without waiting to be let in: the answers are those of the query alone.
    """
    with connected(server, "postgres", waits=False) as connection:
        assert [("1",)] == connection.query("SELECT 1")
        assert [("2", "3"), ("4",)] == connection.query("SELECT 2, 3; SELECT 4")


def test_a_refusal_comes_with_the_first_query(server):
    """
    Why the server lets nobody in is not lost, however fast it hangs up.
    """
    for _ in range(20):
        with (
            connected(server, "nowhere", waits=False) as connection,
            pytest.raises(QueryError, match='database "nowhere" does not exist') as refused,
        ):
            connection.query("SELECT 1")
        assert "3D000" == refused.value.sqlstate


def test_a_refusal_comes_at_once_where_it_is_waited_for(server):
    """
    By default the constructor raises it.
    """
    with pytest.raises(QueryError, match="does not exist"):
        connected(server, "nowhere")
