"""A password of the role ``oxy`` that an application has changed: said, and set back."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.server.cluster import databases


@pytest.fixture(scope="module")
def kept(base_dir):
    server = oxy_pg.Server(base_dir / "password", keep_alive=60)
    server.ensure_database()
    yield server
    server.destroy()


@pytest.fixture
def changed(kept):
    """The server after an application has set a password of its own; and that URL."""
    kept.restart()
    url = kept.url()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE oxy PASSWORD 'of-the-application'")
    return oxy_pg.Server(kept.state_dir)


def test_it_is_said(changed, cli):
    """
    A process that attaches gets no URL that does not work, but what has happened.
    """
    with pytest.raises(oxy_pg.ServerError, match=r"(?s)ALTER ROLE.*password --reset"):
        changed.ensure_database()
    with psycopg.connect(changed.socket_url()) as connection:  # needs none
        assert ("oxy",) == connection.execute("SELECT current_user").fetchone()
    answer = cli("doctor", OXY_STATE_DIR=changed.state_dir).stdout

    assert "fail  password" in answer


@pytest.mark.parametrize("command", [("restart",), ("password", "--reset")])
def test_it_is_repaired(changed, cli, command):
    """
    Either command leaves a server whose URL works.
    """
    done = cli(*command, OXY_STATE_DIR=changed.state_dir)
    assert 0 == done.returncode, done.stderr

    with psycopg.connect(oxy_pg.Server(changed.state_dir).ensure_database()) as connection:
        assert ("oxy",) == connection.execute("SELECT current_user").fetchone()


def test_a_reset_makes_earlier_urls_invalid(kept, cli):
    """
    It is a new password, which the command prints when it is asked.
    """
    before = kept.url()
    cli("password", "--reset", OXY_STATE_DIR=kept.state_dir)

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(before)
    printed = cli("password", OXY_STATE_DIR=kept.state_dir).stdout.strip()
    assert f":{printed}@" in oxy_pg.Server(kept.state_dir).url()
    assert f":{printed}@" in kept.url()  # of a process that was there before


def has_ended(connection) -> bool:
    try:
        while connection.pgconn.get_result() is not None:
            pass
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_a_reset_ends_the_sessions_of_the_old_password(kept, cli):
    """
    All that have needed it, whatever they do; those through the private socket have not.
    """
    idle, at_work, in_transaction = (
        psycopg.connect(kept.url(database), autocommit=True) for database in ("oxy", "oxy", "oxy")
    )
    in_transaction.execute("BEGIN; CREATE TABLE half (a int); SET ROLE oxy")
    at_work.pgconn.send_query(b"SELECT pg_sleep(600)")
    with psycopg.connect(kept.socket_url()) as private:
        done = cli("password", "--reset", OXY_STATE_DIR=kept.state_dir)

        assert "3 sessions with the old one ended" in done.stderr
        for connection in (idle, at_work, in_transaction):
            assert has_ended(connection)
            connection.close()
        assert ("oxy",) == private.execute("SELECT current_user").fetchone()
    assert "0 sessions" in cli("password", "--reset", OXY_STATE_DIR=kept.state_dir).stderr


def test_a_verifier_that_takes_long_to_compute(kept, cli):
    """
    An application can store one of hours; no process computes it, even if it is the password's.
    """
    kept.restart()
    url = kept.url()
    with psycopg.connect(url, autocommit=True) as connection:
        secret = connection.info.password
        verifier = databases._verifier(secret, b"salt" * 4, 200_000)
        connection.execute(f"ALTER ROLE oxy PASSWORD '{verifier}'")

    with pytest.raises(oxy_pg.ServerError, match="password --reset"):
        oxy_pg.Server(kept.state_dir).ensure_database()
    assert "fail  password" in cli("doctor", OXY_STATE_DIR=kept.state_dir).stdout
    assert 0 == cli("restart", OXY_STATE_DIR=kept.state_dir).returncode

    psycopg.connect(oxy_pg.Server(kept.state_dir).ensure_database()).close()
