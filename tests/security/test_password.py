"""The password: changed when another process may know it, and closed to other users."""

from __future__ import annotations

import os
import signal
import socket
import stat

import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until


def listener(port: int) -> socket.socket:
    """A process that listens on the server's port while the server is down."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def parts(url: str) -> dict[str, str]:
    return {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(url).items()}


def refused(url: str, port: str) -> bool:
    old = {**parts(url), "port": port}
    try:
        psycopg.connect(psycopg.conninfo.make_conninfo(**old)).close()
    except psycopg.OperationalError as error:
        return "password authentication failed" in str(error)
    return False


def test_another_process_on_the_port_while_stopped(state_dir):
    """
    It may have been shown the password by a client with a saved URL: the next start changes it.
    """
    url = oxy_pg.ensure(state_dir=state_dir)
    oxy_pg.Server(state_dir).stop()
    with listener(int(parts(url)["port"])):
        new = oxy_pg.ensure(state_dir=state_dir)

    assert parts(new)["port"] != parts(url)["port"]
    assert parts(new)["password"] != parts(url)["password"]
    psycopg.connect(new).close()
    assert refused(url, parts(new)["port"])
    oxy_pg.Server(state_dir).stop()
    assert new == oxy_pg.ensure(state_dir=state_dir)  # nobody was on the port this time


def test_another_process_on_the_port_after_a_crash(state_dir):
    """
    The same between a crash and the restart; a handle that was there gets the new one.
    """
    url = oxy_pg.ensure(state_dir=state_dir)
    server = oxy_pg.Server(state_dir)
    assert url == server.url()
    found = server.status()
    supervisor = int((state_dir / "lock").read_text().split()[0])
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(found.pid, signal.SIGKILL)
        port = int(parts(url)["port"])
        taken = []

        def take() -> bool:
            try:
                taken.append(listener(port))
            except OSError:
                return False
            return True

        assert wait_until(take)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    with taken[0]:
        assert wait_until(lambda: server.url() != url)
        new = server.url()
    assert parts(new)["password"] != parts(url)["password"]
    psycopg.connect(new).close()
    assert refused(url, parts(new)["port"])
    assert new == oxy_pg.ensure(state_dir=state_dir)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622])
@pytest.mark.parametrize("running", [False, True])
def test_a_file_that_others_can_read(state_dir, caplog, mode, running):
    """
    It is closed, and what was in it is not the password any more: said in one warning.
    """
    url = oxy_pg.ensure(state_dir=state_dir)
    server = oxy_pg.Server(state_dir)
    if not running:
        server.stop()
    path = state_dir / "password"
    path.chmod(mode)
    session = psycopg.connect(url) if running else None

    new = oxy_pg.Server(state_dir).ensure_database("oxy")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parts(new)["password"] != parts(url)["password"]
    psycopg.connect(new).close()
    assert refused(url, parts(new)["port"])
    assert "could be read by other users" in caplog.text
    assert parts(url)["password"] not in caplog.text
    if session is not None:  # it may be the other user's
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        session.close()
    server.stop()


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o770])
def test_a_directory_that_others_can_write_to(state_dir, mode):
    """
    Refused at every start, with the command that closes it.
    """
    oxy_pg.ensure(state_dir=state_dir)
    oxy_pg.Server(state_dir).stop()
    state_dir.chmod(mode)
    try:
        with pytest.raises(oxy_pg.ConfigurationError, match="chmod go-w"):
            oxy_pg.ensure(state_dir=state_dir)
    finally:
        state_dir.chmod(0o711)
