"""``ensure(driver=…)``: the URL as each driver takes it, and what it says to an impostor."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import oxy_pg
from oxy_pg import url as urls
from tests.conftest import stop_everything_below
from tests.test_project import of_another_role

ODD_NAME = "Käse & 100%"


@pytest.fixture(scope="module")
def state_dir(base_dir):
    """The state directory of one server for all tests here."""
    path = Path(tempfile.mkdtemp(prefix="drivers-", dir=base_dir))
    path.chmod(0o711)
    yield path / "state"
    stop_everything_below(path)


@pytest.mark.parametrize("driver", ["pg8000", "psycopg", "psycopg2"])
@pytest.mark.parametrize("database", ["shop", ODD_NAME])
def test_sqlalchemy_connects_with_the_driver_that_is_asked_for(state_dir, driver, database):
    engine = sqlalchemy.create_engine(oxy_pg.ensure(database, state_dir=state_dir, driver=driver))
    with engine.connect() as session:
        assert database == session.scalar(sqlalchemy.text("SELECT current_database()"))
        assert driver == session.dialect.driver
    engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
@pytest.mark.parametrize("database", ["shop", ODD_NAME])
def test_so_it_does_with_an_asynchronous_one(state_dir, driver, database):
    async def used() -> tuple[str, str]:
        engine = create_async_engine(oxy_pg.ensure(database, state_dir=state_dir, driver=driver))
        async with engine.connect() as session:
            name = await session.scalar(sqlalchemy.text("SELECT current_database()"))
        await engine.dispose()
        return name, engine.dialect.driver

    assert (database, driver.removesuffix("_async")) == asyncio.run(used())


def test_through_the_socket(state_dir):
    """
    Its directory is where each driver of SQLAlchemy that can use it looks for it.
    """
    oxy_pg.ensure(state_dir=state_dir)
    address = oxy_pg.Server(state_dir).socket_url()

    async def used() -> str:
        engine = create_async_engine(urls.for_driver(address, "asyncpg"))
        async with engine.connect() as session:
            found = await session.scalar(sqlalchemy.text("SELECT current_user"))
        await engine.dispose()
        return str(found)

    for driver in ("psycopg", "psycopg2"):
        engine = sqlalchemy.create_engine(urls.for_driver(address, driver))
        with engine.connect() as session:
            assert "oxy" == session.scalar(sqlalchemy.text("SELECT current_user"))
        engine.dispose()
    assert "oxy" == asyncio.run(used())


@pytest.mark.parametrize(
    ("driver", "kept"),
    [("psycopg", True), ("psycopg2", True), ("psycopg_async", True), ("pg8000", False)],
)
def test_what_listens_on_our_port_is_not_told_the_password(state_dir, driver, kept):
    """
    While the server is down, another one may have its port, and ask for the password in clear.

    The drivers on libpq refuse that. pg8000 cannot be told to: it shows that the impostor works.
    """
    address = make_url(oxy_pg.ensure(state_dir=state_dir, driver=driver))
    oxy_pg.Server(state_dir).stop()
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", address.port))
    listener.settimeout(30)
    impostor = threading.Thread(target=ask_in_clear, args=(listener, heard))
    impostor.start()
    engine = sqlalchemy.create_engine(
        address.set(drivername=address.drivername.removesuffix("_async"))
    )
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        engine.connect()
    impostor.join()

    assert kept == (str(address.password).encode() not in b"".join(heard))


def ask_in_clear(listener: socket.socket, heard: list[bytes]) -> None:
    """Speak to one client as a server does, up to the answer to the demand for its password."""
    with listener, listener.accept()[0] as client:
        client.settimeout(30)
        for _ in range(3):
            size = int.from_bytes(client.recv(4))
            request = client.recv(size - 4)
            if request[:4] == (196608).to_bytes(4):  # StartupMessage, protocol 3.0
                break
            if len(request) == 4:  # SSLRequest, GSSENCRequest
                client.sendall(b"N")
        client.sendall(b"R" + (8).to_bytes(4) + (3).to_bytes(4))  # AuthenticationCleartextPassword
        heard.append(client.recv(1024))


def test_an_external_server_is_not_told_how_to_authenticate(state_dir, run_python, tmp_path):
    """
    It may trust the client, or ask for an md5 hash: the URL says what its owner has written.
    """
    url = oxy_pg.ensure("shop", state_dir=state_dir)
    code = "import oxy_pg; print(oxy_pg.ensure(driver='psycopg'))"
    elsewhere = tmp_path / "nothing"

    other = of_another_role(oxy_pg.Server(state_dir), url)
    external = run_python(code, OXY_DATABASE_URL=other, OXY_STATE_DIR=elsewhere)
    ours = run_python(code, OXY_DATABASE_URL=url, OXY_STATE_DIR=elsewhere)

    assert other.replace("postgresql://", "postgresql+psycopg://") == external
    ours_without = url.replace("postgresql://", "postgresql+psycopg://")
    assert f"{ours_without}?require_auth=scram-sha-256" == ours


def test_a_driver_that_is_not_installed_is_a_name_all_the_same(state_dir, run_python):
    """
    The URL may be for a program elsewhere; its libpq is not known.
    """
    code = (
        "import sys; sys.modules['psycopg2'] = None\n"
        f"import oxy_pg; print(oxy_pg.ensure(state_dir={str(state_dir)!r}, driver='psycopg2'))"
    )

    assert run_python(code).endswith("/oxy")


def test_a_driver_that_is_not_known_is_named(state_dir):
    with pytest.raises(oxy_pg.ConfigurationError, match="'psycopg3' is not one of asyncpg"):
        oxy_pg.ensure(state_dir=state_dir, driver="psycopg3")
