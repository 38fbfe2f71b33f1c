"""Settings: defaults that suit one developer, the caller's on top, a reload for the rest."""

from __future__ import annotations

import logging

import psycopg
import pytest

import oxy_pg


def show(url, *names):
    with psycopg.connect(url) as connection:
        wanted = ", ".join(f"current_setting('{name}')" for name in names)
        return list(connection.execute(f"SELECT {wanted}").fetchone() or ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("shared_buffers", "256MB"),
        ("work_mem", "16MB"),
        ("maintenance_work_mem", "64MB"),
        ("random_page_cost", "1.1"),
        ("max_connections", "100"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
        ("lc_messages", "C"),
        ("listen_addresses", "127.0.0.1"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_default(shared_url, name, value):
    """
    What a server of ours is set to on a machine with 2 GB of memory or more.
    """
    assert [value] == show(shared_url, name)


@pytest.fixture(scope="module")
def shared_url(base_dir):
    with oxy_pg.Server(base_dir / "defaults", keep_alive=0) as server:
        yield server.ensure_database()
    server.destroy()


def test_letters_have_cases(shared_url):
    """
    The collation is C, but upper() knows more letters than ASCII's.
    """
    with psycopg.connect(shared_url) as connection:
        assert ("ÉÑ",) == connection.execute("SELECT upper('éñ')").fetchone()


def test_the_caller_decides(state_dir):
    """
    ``settings=`` overrides, and stays for later starts that say nothing.
    """
    url = oxy_pg.ensure(
        state_dir=state_dir,
        settings={"Work_Mem": "33MB", "max_connections": 33, "jit": False, "seq_page_cost": 1.5},
    )
    names = ("work_mem", "max_connections", "jit", "seq_page_cost")
    assert ["33MB", "33", "off", "1.5"] == show(url, *names)

    oxy_pg.Server(state_dir).stop()

    assert ["33MB", "33", "off", "1.5"] == show(oxy_pg.ensure(state_dir=state_dir), *names)


def test_other_settings_replace_them_at_the_next_start(state_dir):
    """
    What the caller no longer names is back at its default.
    """
    oxy_pg.ensure(state_dir=state_dir, settings={"work_mem": "33MB"})
    oxy_pg.Server(state_dir).stop()

    url = oxy_pg.ensure(state_dir=state_dir, settings={"seq_page_cost": 2})

    assert ["16MB", "2"] == show(url, "work_mem", "seq_page_cost")


def test_a_running_server_takes_over_what_a_reload_can(state_dir, caplog):
    """
    The rest is named in a warning, and is in effect after a restart.
    """
    url = oxy_pg.ensure(state_dir=state_dir)

    with caplog.at_level(logging.WARNING, "oxy_pg"):
        other = oxy_pg.ensure(
            state_dir=state_dir, settings={"work_mem": "44MB", "shared_buffers": "64MB"}
        )

    assert url == other
    assert ["44MB", "256MB"] == show(url, "work_mem", "shared_buffers")
    assert "shared_buffers" in caplog.text
    assert "oxy-pg restart" in caplog.text
    assert "work_mem" not in caplog.text
    oxy_pg.Server(state_dir).restart()
    assert ["44MB", "64MB"] == show(
        oxy_pg.ensure(state_dir=state_dir), "work_mem", "shared_buffers"
    )


def test_what_postgresql_rejects_does_not_change_a_running_server(state_dir):
    """
    ConfigurationError with PostgreSQL's words; the server goes on as it was.
    """
    url = oxy_pg.ensure(state_dir=state_dir, settings={"work_mem": "44MB"})

    with pytest.raises(oxy_pg.ConfigurationError, match="invalid value"):
        oxy_pg.ensure(state_dir=state_dir, settings={"work_mem": "a lot"})

    oxy_pg.Server(state_dir).restart()
    assert ["44MB"] == show(url, "work_mem")


def test_alter_system_wins_and_stays(state_dir):
    """
    PostgreSQL's own way of setting things works as its manual says.
    """
    server = oxy_pg.Server(state_dir)
    with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET work_mem = '55MB'")

    server.stop()

    assert ["55MB"] == show(oxy_pg.ensure(state_dir=state_dir), "work_mem")
