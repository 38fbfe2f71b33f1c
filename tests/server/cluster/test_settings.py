"""Settings: defaults that suit one developer, the caller's on top, a reload for the rest."""

from __future__ import annotations

import logging

import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until


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
        ("max_locks_per_transaction", "128"),
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


NO_LIFE = [
    {"statement_timeout": 1},
    {"session_preload_libraries": "no_such_library"},
    {"local_preload_libraries": "no_such_library"},
    {"idle_session_timeout": 1},
    {"idle_in_transaction_session_timeout": 1},
    {"db_user_namespace": True},
]


@pytest.fixture(scope="module")
def living(base_dir):
    """A server that every such setting leaves as it was."""
    server = oxy_pg.Server(base_dir / "settings", keep_alive=60, settings={"work_mem": "5MB"})
    server.ensure_database()
    yield server.state_dir
    server.destroy()


def asked(state_dir) -> str:
    with psycopg.connect(oxy_pg.ensure(state_dir=state_dir)) as connection:
        return connection.execute("SHOW work_mem").fetchone()[0]


@pytest.mark.parametrize("settings", NO_LIFE)
@pytest.mark.parametrize("is_running", [True, False])
def test_settings_under_which_no_session_lives(living, settings, is_running):
    """
    They are refused with PostgreSQL's words, and the earlier ones are in force.
    """
    if not is_running:
        oxy_pg.Server(living).stop()

    with pytest.raises(oxy_pg.ConfigurationError, match=next(iter(settings))):
        oxy_pg.ensure(state_dir=living, settings={"work_mem": "6MB", **settings})

    assert "5MB" == asked(living)
    oxy_pg.Server(living).stop()
    assert "5MB" == asked(living)


@pytest.mark.parametrize(
    "settings",
    [
        {"shared_preload_libraries": "no_such_library"},
        {"max_connections": 3},  # fewer than the superuser's
    ],
)
@pytest.mark.parametrize("how", ["restart", "stop"])
def test_settings_that_wait_for_a_restart(living, settings, how):
    """
    What only the next start finds wrong returns to what worked, once it was said.
    """
    server = oxy_pg.Server(living)
    server.start()
    oxy_pg.ensure(state_dir=living, settings=settings)
    if how == "stop":
        server.stop()
    start = server.restart if how == "restart" else server.start
    with pytest.raises(oxy_pg.ConfigurationError, match="earlier settings"):
        start()

    assert "5MB" == asked(living)


def test_a_supervisor_asks_also_where_a_library_is_missing(state_dir):
    """
    A server in which only the superuser gets in stops by itself when it is not in use.
    """
    server = oxy_pg.Server(state_dir, keep_alive=0.5)
    server.ensure_database()
    with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET session_preload_libraries = 'no_such_library'")
        connection.execute("SELECT pg_reload_conf()")
    with psycopg.connect(server.superuser_url()) as connection:
        assert connection.execute("SHOW session_preload_libraries").fetchone() == ("",)
    server.release()

    assert wait_until(lambda: "stopped" == server.status().state, 15)
