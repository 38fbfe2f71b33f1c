"""The servers that stand for those elsewhere are what the tests that use them believe."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg


def test_debian_15_lets_in_with_tls_alone(debian_15, monkeypatch):
    """
    ``ensure()`` takes its URL with sslmode=verify-full; without TLS nobody gets in.
    """
    url = debian_15.new_database()
    monkeypatch.setenv("OXY_DATABASE_URL", url)

    assert url == oxy_pg.ensure()

    with psycopg.connect(url) as connection:
        assert connection.info.server_version // 10000 == 15
        assert connection.pgconn.ssl_in_use
        row = connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user")
        assert (False,) == row.fetchone()
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(url.replace("verify-full", "disable"))


def test_postgresql_18(postgresql_18, monkeypatch):
    """
    A server that is two versions ahead is as good as any.
    """
    url = postgresql_18.new_database()
    monkeypatch.setenv("OXY_DATABASE_URL", url)

    with psycopg.connect(oxy_pg.ensure()) as connection:
        assert connection.info.server_version // 10000 == 18


def test_pgbouncer_in_transaction_mode(debian_15, pgbouncer, monkeypatch):
    """
    ``ensure()`` takes the URL of a pool, whose sessions change with each transaction.
    """
    url = debian_15.new_database().partition("?")[0]
    pool = pgbouncer(debian_15)
    url = url.replace(f":{debian_15.port}/", f":{pool.port}/")
    monkeypatch.setenv("OXY_DATABASE_URL", url)

    with psycopg.connect(oxy_pg.ensure()) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()
