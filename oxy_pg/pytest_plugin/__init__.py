"""
Fixtures for pytest: a PostgreSQL, and a fresh database on it for each test.

``oxy_pg_url`` and those built on it give a test a database of its own, copied
from a template that ``oxy_pg_template`` fills. With OXY_DATABASE_URL set they
work on that server. Nothing is imported or started before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oxy_pg.pytest_plugin import options, workers
from oxy_pg.pytest_plugin.hosted import LENT, Hosted, Lent, Shared
from oxy_pg.pytest_plugin.options import pytest_addoption
from oxy_pg.pytest_plugin.report import pytest_runtest_makereport
from oxy_pg.pytest_plugin.workers import (
    pytest_configure_node,
    pytest_testnodedown,
    pytest_unconfigure,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    import sqlalchemy
    from psycopg import AsyncConnection

    from oxy_pg.server.external import ExternalServer
    from oxy_pg.server.temporary import TemporaryServer

# pytest finds its hooks here.
__all__ = [
    "pytest_addoption",
    "pytest_configure_node",
    "pytest_runtest_makereport",
    "pytest_testnodedown",
    "pytest_unconfigure",
]

# --- the server ---


@pytest.fixture(scope="session")
def oxy_pg_server(pytestconfig: pytest.Config) -> Iterator[TemporaryServer | ExternalServer]:
    """
    The PostgreSQL of this test session: ``url()``, ``create_database()``, ``drop_database()``, …

    It is an ``oxy_pg.Server`` that is thrown away at the end (fsync is off),
    the same for all workers of pytest-xdist. With OXY_DATABASE_URL set it is
    that server, with the same four methods: ``url``, ``create_database``,
    ``drop_database`` and ``databases``.
    """
    import threading

    # psycopg takes longer to import than PostgreSQL to start: at the same time, then.
    threading.Thread(target=__import__, args=("psycopg",)).start()
    from oxy_pg import _endpoint

    external_url = _endpoint.external_url()
    settings = options.settings(pytestconfig)
    if external_url is not None:
        from oxy_pg.server.external import ExternalServer

        yield ExternalServer(external_url)
        return
    from oxy_pg.server import temporary

    name = workers.run_name(pytestconfig)
    temporary.sweep(but=name)
    server = temporary.TemporaryServer(settings=settings, name=name)
    try:
        server.start()
    except BaseException:
        server.release()
        temporary.sweep()  # what never started has no supervisor that removes it
        raise
    try:
        yield server
    finally:
        # The last process that lets go ends it. No test has to wait while its files are removed.
        server.release()


@pytest.fixture(scope="session")
def _oxy_pg_hosted(
    oxy_pg_server: TemporaryServer | ExternalServer, pytestconfig: pytest.Config
) -> Iterator[Hosted]:
    hosted = Hosted(oxy_pg_server, pytestconfig)
    try:
        yield hosted
    finally:
        hosted.close()


# --- the template ---


@pytest.fixture(scope="session")
def oxy_pg_template_url(_oxy_pg_hosted: Hosted, pytestconfig: pytest.Config) -> str:
    """
    The URL of the database that all test databases are copied from.

    It is for ``oxy_pg_template`` alone: afterwards no client can connect to it.
    The extensions that were asked for are in it already.
    """
    extensions = options.extensions(pytestconfig)
    if extensions:
        _oxy_pg_hosted.ensure_extensions(extensions)
    return _oxy_pg_hosted.url(_oxy_pg_hosted.template)


@pytest.fixture(scope="session")
def oxy_pg_template(oxy_pg_template_url: str) -> None:
    """
    Override this in conftest.py to create a schema, and rows for all tests, in the template.

    It runs once in a session (with pytest-xdist once in each worker), before
    the first test that needs a database:

        @pytest.fixture(scope="session")
        def oxy_pg_template(oxy_pg_template_url):
            with psycopg.connect(oxy_pg_template_url) as connection:
                connection.execute(SCHEMA)
    """


@pytest.fixture(scope="session")
def _oxy_pg_filled(
    _oxy_pg_hosted: Hosted, oxy_pg_template_url: str, oxy_pg_template: object
) -> Hosted:
    _oxy_pg_hosted.clones.use_template(_oxy_pg_hosted.template)
    return _oxy_pg_hosted


# --- a database for each test ---


@pytest.fixture
def _oxy_pg_lent(
    request: pytest.FixtureRequest, oxy_pg_template: object, _oxy_pg_filled: Hosted
) -> Iterator[Lent]:
    # oxy_pg_template once more: a second override, for a part of the tests, would otherwise be
    # passed over in silence. This way it runs, and finds the template closed.
    lent = Lent(_oxy_pg_filled, _oxy_pg_filled.clones.take())
    request.node.stash[LENT] = lent
    yield lent
    if not lent.is_kept:
        _oxy_pg_filled.clones.give_back(lent.name)


@pytest.fixture
def oxy_pg_url(_oxy_pg_lent: Lent) -> str:
    """
    The URL of a database for this test alone, as ``oxy_pg_template`` left it.

    It suits every driver. The database is dropped after the test, and
    sessions that are still connected are ended.
    """
    return _oxy_pg_lent.hosted.url(_oxy_pg_lent.name)


@pytest.fixture
def oxy_pg_connection(_oxy_pg_lent: Lent) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection to this test's database (that of ``oxy_pg_url``)."""
    import psycopg

    connection = psycopg.connect(_oxy_pg_lent.hosted.quick_url(_oxy_pg_lent.name))
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture
def oxy_pg_async_connection(_oxy_pg_lent: Lent) -> Iterator[AsyncConnection[Any]]:
    """
    An asynchronous psycopg connection to this test's database (that of ``oxy_pg_url``).

    It works in any event loop that the test runs: pytest-asyncio's, anyio's
    (with asyncio), or one of ``asyncio.run()``.
    """
    import psycopg

    url = _oxy_pg_lent.hosted.quick_url(_oxy_pg_lent.name)
    connection = _in_a_loop(lambda: psycopg.AsyncConnection.connect(url))
    try:
        yield connection
    finally:
        _in_a_loop(connection.close)


def _in_a_loop(make: Any) -> Any:
    """Run a coroutine to its end, in a thread: this one may have an event loop already."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


@pytest.fixture
def oxy_pg_engine(_oxy_pg_lent: Lent) -> Iterator[sqlalchemy.Engine]:
    """An SQLAlchemy engine on this test's database (that of ``oxy_pg_url``)."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(_oxy_pg_lent.hosted.quick_url(_oxy_pg_lent.name))
    try:
        yield engine
    finally:
        engine.dispose()


# --- one database for many tests ---


@pytest.fixture(scope="session")
def _oxy_pg_shared(_oxy_pg_filled: Hosted) -> Iterator[Shared]:
    shared = Shared(_oxy_pg_filled)
    yield shared
    shared.discard()


@pytest.fixture
def oxy_pg_transaction(
    request: pytest.FixtureRequest, oxy_pg_template: object, _oxy_pg_shared: Shared
) -> Iterator[psycopg.Connection[Any]]:
    """
    A psycopg connection to a database that tests share; all it does is rolled back after the test.

    ``commit()`` inside becomes a savepoint, ``rollback()`` goes back to the
    last one, and ``close()`` leaves the connection open. That is quicker than
    a database for each test, and enough where the test and the code under test
    use this one connection. A COMMIT in SQL text would get through: the test
    then fails, and the next one gets another database.
    """
    from oxy_pg.pytest_plugin.savepoint import SavepointConnection

    hosted = _oxy_pg_shared.hosted
    name = _oxy_pg_shared.take()
    request.node.stash[LENT] = lent = Lent(hosted, name)
    lent.is_kept = True  # what is rolled back cannot be kept
    connection = SavepointConnection.begin(hosted.quick_url(name))
    yield connection
    if not connection.end():
        _oxy_pg_shared.discard()
        pytest.fail(
            "This test has ended the transaction of oxy_pg_transaction with SQL (COMMIT or "
            "ROLLBACK). Use the connection's commit() and rollback(), or oxy_pg_connection.",
            pytrace=False,
        )
