"""A database that somebody is connected to is not copied: the answer comes at once, with names."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import oxy_pg


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary() as server:
        server.create_database("source")
        yield server


@pytest.fixture(params=["embedded", "external"])
def handle(request, server, monkeypatch):
    if request.param == "embedded":
        return server
    from oxy_pg.server.external import ExternalServer

    return ExternalServer(server.url())


@pytest.mark.parametrize("source", ["source", "template1"])
@pytest.mark.parametrize("state", ["idle", "idle in transaction", "active"])
def test_answers_at_once(server, handle, source, state):
    """
    Process, role, program and state of whoever is connected; afterwards it works.
    """
    url = server.url(source) if source == "source" else server.superuser_url(source)
    template = {"template": source} if source == "source" else {}
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url, autocommit=True, application_name="a visitor") as visitor,
    ):
        pid = visitor.info.backend_pid
        if state == "idle in transaction":
            visitor.execute("BEGIN")
        if state == "active":
            sleeping = pool.submit(visitor.execute, "SELECT pg_sleep(30)")
        try:
            started = time.monotonic()
            with pytest.raises(oxy_pg.ServerError) as error:
                handle.create_database("copy", **template)
            assert time.monotonic() - started < 5  # which PostgreSQL itself waits
        finally:
            visitor.cancel()
        if state == "active":
            assert isinstance(sleeping.exception(), psycopg.errors.QueryCanceled)
    assert f"process {pid} " in str(error.value)
    assert "'a visitor'" in str(error.value)
    # An external server's role does not see the state of a superuser's session.
    hidden = source == "template1" and handle is not server
    assert ("state is hidden" if hidden else state) in str(error.value)
    handle.create_database("copy", **template)
    handle.drop_database("copy")


def test_somebody_in_template1_and_ensure(server):
    """
    The same for a new database of ensure().
    """
    with psycopg.connect(server.superuser_url("template1")) as visitor:
        started = time.monotonic()
        with pytest.raises(oxy_pg.ServerError, match=f"process {visitor.info.backend_pid} "):
            oxy_pg.ensure("new", state_dir=server.state_dir)
        assert time.monotonic() - started < 5
    assert oxy_pg.ensure("new", state_dir=server.state_dir).endswith("/new")


def test_a_session_that_is_just_going(server):
    """
    Whoever has closed the connection a moment before is no obstacle.
    """
    for number in range(10):
        psycopg.connect(server.url("source")).close()
        server.create_database(f"copy{number}", template="source")
        server.drop_database(f"copy{number}")
