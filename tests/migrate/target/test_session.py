"""The session: its settings end with the transaction, and what cannot be reached is said."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.errors import ConfigurationError, TargetUnreachable
from oxy_pg.migrate.target import session
from oxy_pg.system.deadline import Deadline

ASK = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name"


def test_a_pooler_keeps_none_of_the_settings(pg_url):
    """
    They hold in the transaction, and the session that the next client gets is as it was.
    """
    names = [*session._SETTINGS, "backend_flush_after"]
    with session.connect(pg_url, Deadline(10)) as connection:
        connection.execute("SET DateStyle = 'German'")
        connection.execute("SET lock_timeout = 7")
        before = connection.execute(ASK, [names]).fetchall()
        with session.transaction(connection, writes=True):
            inside = dict(connection.execute(ASK, [names]).fetchall())
        with pytest.raises(psycopg.DataError), session.transaction(connection):
            connection.execute("SELECT 1 / 0")
        assert before == connection.execute(ASK, [names]).fetchall()
    assert "ISO, MDY" == inside["DateStyle"]
    assert "60000" == inside["lock_timeout"]
    assert "128" == inside["backend_flush_after"]  # pages of 8 kB
    assert len(names) == len(inside)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda url: url.replace("sesame", "s3same"), "user and the password"),
        (lambda url: url + "x", "CREATE DATABASE"),
        (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "host's name"),
    ],
)
def test_a_refusal_comes_at_once_with_its_remedy(pg_url, change, remedy):
    """
    Without the password, and long before the time is up.
    """
    with pytest.raises(TargetUnreachable, match=remedy) as caught:
        session.connect(change(pg_url), Deadline(600))
    assert "same" not in str(caught.value)
    assert "waited" not in str(caught.value)


def test_another_kind_of_url_is_a_configuration_error():
    """
    Before anything is connected to.
    """
    with pytest.raises(ConfigurationError, match="mysql"):
        session.connect("mysql://localhost/app", Deadline(0))
