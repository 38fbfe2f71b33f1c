"""
Fixtures for pytest: a PostgreSQL, and a fresh database on it for each test.

``oxy_pg_url`` and those built on it give a test a database of its own, copied
from a template that ``oxy_pg_template`` fills. With OXY_DATABASE_URL set they
work on that server. Nothing is imported or started before a test asks for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import psycopg
    import sqlalchemy
    from psycopg import AsyncConnection

    from oxy_pg.server.clones import Clones
    from oxy_pg.server.external import ExternalServer
    from oxy_pg.server.temporary import TemporaryServer

# Every statement and how long it took, for --oxy-pg-log.
_VERBOSE = {"log_min_duration_statement": "0"}


class _Lent:
    """The database that a test is using."""

    def __init__(self, hosted: _Hosted, name: str) -> None:
        self.hosted = hosted
        self.name = name
        self.log_position = hosted.log_position()
        self.is_kept = False


_RUN = pytest.StashKey[str]()  # names the temporary server that all workers share
_KILLED = pytest.StashKey[bool]()  # a worker was
_LENT = pytest.StashKey[_Lent]()


# --- options ---


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; each can stand in pyproject.toml or pytest.ini too."""
    group = parser.getgroup("oxy_pg", "a PostgreSQL database for each test")
    group.addoption(
        "--oxy-pg-setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a PostgreSQL setting of the test server, such as work_mem=64MB; may be repeated",
    )
    group.addoption(
        "--oxy-pg-extension",
        action="append",
        default=[],
        metavar="NAME",
        help="an extension to create in every test database; may be repeated",
    )
    group.addoption(
        "--oxy-pg-keep",
        action="store_true",
        help="keep the database of a failing test, and print how to connect to it",
    )
    group.addoption(
        "--oxy-pg-log",
        action="store_true",
        help="log every statement, and show those of a failing test in its report",
    )
    parser.addini("oxy_pg_settings", "lines of NAME=VALUE: see --oxy-pg-setting", "linelist", [])
    parser.addini("oxy_pg_extensions", "names, one a line: see --oxy-pg-extension", "linelist", [])
    parser.addini("oxy_pg_keep", "see --oxy-pg-keep", "bool", default=False)
    parser.addini("oxy_pg_log", "see --oxy-pg-log", "bool", default=False)


def _settings(config: pytest.Config) -> dict[str, str]:
    """Return the settings of the test server; the command line beats the file."""
    found = dict(_VERBOSE) if _is_on(config, "log") else {}
    for line in (*config.getini("oxy_pg_settings"), *config.getoption("oxy_pg_setting")):
        name, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(
                f"oxy_pg: {line!r} is no setting; write NAME=VALUE, such as work_mem=64MB"
            )
        found[name.strip()] = value.strip().strip("'")
    return found


def _extensions(config: pytest.Config) -> tuple[str, ...]:
    names = (*config.getini("oxy_pg_extensions"), *config.getoption("oxy_pg_extension"))
    return tuple(dict.fromkeys(names))


def _is_on(config: pytest.Config, option: str) -> bool:
    return bool(config.getoption(f"oxy_pg_{option}") or config.getini(f"oxy_pg_{option}"))


# --- the server ---


class _Hosted:
    """The server of this session, ours or somebody else's, and this process's databases on it."""

    def __init__(self, server: TemporaryServer | ExternalServer, config: pytest.Config) -> None:
        import psycopg

        from oxy_pg.deadline import Deadline
        from oxy_pg.server import clones, external

        self.server = server
        self.keeps = _is_on(config, "keep")
        if isinstance(server, external.ExternalServer):
            url = server.url()
            self.clones: Clones = clones.Clones(
                lambda: external.connect(url, Deadline(60)), ours=False
            )
            with external.connect(url, Deadline(60)) as connection:
                clones.sweep(connection)
        else:
            # By way of the socket: a password takes longer to check than all the rest.
            url = server.socket_url("postgres")
            sharers = int(_workerinput(config).get("workercount", 1))
            self.clones = clones.Clones(
                lambda: psycopg.connect(url, autocommit=True), ours=True, sharers=sharers
            )
        self.template = self.clones.create()

    def url(self, name: str) -> str:
        return self.server.url(name)

    def quick_url(self, name: str) -> str:
        """Return the URL for psycopg and SQLAlchemy: a socket's where there is one."""
        from oxy_pg.server.external import ExternalServer

        server = self.server
        return server.url(name) if isinstance(server, ExternalServer) else server.socket_url(name)

    def ensure_extensions(self, names: tuple[str, ...]) -> None:
        from oxy_pg.server.external import ExternalServer

        if isinstance(self.server, ExternalServer):
            self.server.ensure_extensions(self.template, names)
        else:
            self.server.ensure_database(self.template, extensions=names)

    def close(self) -> None:
        from oxy_pg.server.external import ExternalServer

        self.clones.close(drop=isinstance(self.server, ExternalServer))

    def keep(self, lent: _Lent, reason: str) -> str:
        """Leave a test's database; return how to connect to it, and how to get rid of it."""
        import shlex

        from oxy_pg.server.external import ExternalServer
        from oxy_pg.url import mask

        self.clones.keep(lent.name, reason)
        lent.is_kept = True
        if isinstance(self.server, ExternalServer):
            url = shlex.quote(mask(self.server.url(lent.name)))
            return f"psql {url}\nIt stays until: DROP DATABASE {lent.name}"
        self.server.keep()
        url = shlex.quote(self.server.socket_url(lent.name))
        return (
            f"psql {url}\n"
            f"Its server stays until: oxy-pg stop --state-dir {shlex.quote(self.server.state_dir)}"
        )

    def log_position(self) -> dict[str, int]:
        from oxy_pg.server.external import ExternalServer

        return {} if isinstance(self.server, ExternalServer) else self.server.log_position()

    def log_of(self, lent: _Lent) -> str:
        """Return what the server has logged of a test's database since the test got it."""
        import secrets

        from oxy_pg.deadline import Deadline
        from oxy_pg.server.external import ExternalServer

        if isinstance(self.server, ExternalServer):
            return ""
        mark = f"oxy_pg reads the log ({secrets.token_hex(4)})"
        self.clones.log(mark)
        text = ""
        for _ in Deadline(2).attempts(0.002, 0.05):  # the log collector writes when it can
            text = self.server.log_since(lent.log_position)
            if mark in text:
                break
        return "\n".join(_lines_of(f"@{lent.name} ", text))


def _lines_of(database: str, log: str) -> Iterator[str]:
    """Yield the log lines of one database, with those that continue them."""
    is_its = False
    for line in log.splitlines():
        if not line.startswith("\t"):
            is_its = database in line
        if is_its:
            yield line


def _workerinput(config: pytest.Config) -> dict[str, Any]:
    """Return what xdist's controller has told this process; nothing if it is no worker."""
    found: dict[str, Any] = getattr(config, "workerinput", {})
    return found


def _run_name(config: pytest.Config) -> str:
    """Return the name of this run's server: the same for the controller and all its workers."""
    if _RUN not in config.stash:
        import secrets

        given = _workerinput(config).get("oxy_pg_run")
        config.stash[_RUN] = str(given or f"pytest-{secrets.token_hex(4)}")
    return config.stash[_RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist which server it shares."""
    node.workerinput["oxy_pg_run"] = _run_name(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Remember that a worker was killed."""
    if error:
        node.config.stash[_KILLED] = True


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop, when all workers have gone, what those that were killed could not."""
    url = os.environ.get("OXY_DATABASE_URL")
    if url is None or not config.stash.get(_KILLED, False):
        return
    from oxy_pg.deadline import Deadline
    from oxy_pg.server import clones, external
    from oxy_pg.url import plain

    with external.connect(plain(url), Deadline(60)) as connection:
        clones.sweep(connection)


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
    external_url = os.environ.get("OXY_DATABASE_URL")
    settings = _settings(pytestconfig)
    if external_url is not None:
        from oxy_pg.server.external import ExternalServer

        yield ExternalServer(external_url)
        return
    from oxy_pg.server import temporary

    name = _run_name(pytestconfig)
    temporary.sweep(but=name)
    server = temporary.TemporaryServer(settings=settings, name=name)
    try:
        server.start()
    except BaseException:
        server.release()
        temporary.sweep()  # what never started has nobody who removes it when it ends
        raise
    try:
        yield server
    finally:
        # The last of us that lets go ends it. Nobody has to wait while its files are removed.
        server.release()


@pytest.fixture(scope="session")
def _oxy_pg_hosted(
    oxy_pg_server: TemporaryServer | ExternalServer, pytestconfig: pytest.Config
) -> Iterator[_Hosted]:
    hosted = _Hosted(oxy_pg_server, pytestconfig)
    try:
        yield hosted
    finally:
        hosted.close()


# --- the template ---


@pytest.fixture(scope="session")
def oxy_pg_template_url(_oxy_pg_hosted: _Hosted, pytestconfig: pytest.Config) -> str:
    """
    The URL of the database that all test databases are copied from.

    It is for ``oxy_pg_template`` alone: afterwards nobody can connect to it.
    The extensions that were asked for are in it already.
    """
    extensions = _extensions(pytestconfig)
    if extensions:
        _oxy_pg_hosted.ensure_extensions(extensions)
    return _oxy_pg_hosted.url(_oxy_pg_hosted.template)


@pytest.fixture(scope="session")
def oxy_pg_template(oxy_pg_template_url: str) -> None:
    """
    Override this in conftest.py to put a schema, and whatever all tests need, into the template.

    It runs once in a session (with pytest-xdist once in each worker), before
    the first test that needs a database:

        @pytest.fixture(scope="session")
        def oxy_pg_template(oxy_pg_template_url):
            with psycopg.connect(oxy_pg_template_url) as connection:
                connection.execute(SCHEMA)
    """


@pytest.fixture(scope="session")
def _oxy_pg_filled(
    _oxy_pg_hosted: _Hosted, oxy_pg_template_url: str, oxy_pg_template: object
) -> _Hosted:
    _oxy_pg_hosted.clones.use_template(_oxy_pg_hosted.template)
    return _oxy_pg_hosted


# --- a database for each test ---


@pytest.fixture
def _oxy_pg_lent(
    request: pytest.FixtureRequest, oxy_pg_template: object, _oxy_pg_filled: _Hosted
) -> Iterator[_Lent]:
    # oxy_pg_template once more: a second override, for a part of the tests, would otherwise be
    # passed over in silence. This way it runs, and finds the template closed.
    lent = _Lent(_oxy_pg_filled, _oxy_pg_filled.clones.take())
    request.node.stash[_LENT] = lent
    yield lent
    if not lent.is_kept:
        _oxy_pg_filled.clones.give_back(lent.name)


@pytest.fixture
def oxy_pg_url(_oxy_pg_lent: _Lent) -> str:
    """
    The URL of a database for this test alone, as ``oxy_pg_template`` left it.

    It suits every driver. The database is dropped after the test, whoever is
    still connected to it.
    """
    return _oxy_pg_lent.hosted.url(_oxy_pg_lent.name)


@pytest.fixture
def oxy_pg_connection(_oxy_pg_lent: _Lent) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection to this test's database (that of ``oxy_pg_url``)."""
    import psycopg

    connection = psycopg.connect(_oxy_pg_lent.hosted.quick_url(_oxy_pg_lent.name))
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture
def oxy_pg_async_connection(_oxy_pg_lent: _Lent) -> Iterator[AsyncConnection[Any]]:
    """
    An asynchronous psycopg connection to this test's database (that of ``oxy_pg_url``).

    It works in whatever event loop the test runs: pytest-asyncio's, anyio's
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
def oxy_pg_engine(_oxy_pg_lent: _Lent) -> Iterator[sqlalchemy.Engine]:
    """An SQLAlchemy engine on this test's database (that of ``oxy_pg_url``)."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(_oxy_pg_lent.hosted.quick_url(_oxy_pg_lent.name))
    try:
        yield engine
    finally:
        engine.dispose()


# --- one database for many tests ---


class _Shared:
    """The database of ``oxy_pg_transaction``, made when it is first needed."""

    def __init__(self, hosted: _Hosted) -> None:
        self.hosted = hosted
        self.name = ""

    def take(self) -> str:
        if not self.name:
            self.name = self.hosted.clones.take()
        return self.name

    def discard(self) -> None:
        if self.name:
            self.hosted.clones.give_back(self.name)
        self.name = ""


@pytest.fixture(scope="session")
def _oxy_pg_shared(_oxy_pg_filled: _Hosted) -> Iterator[_Shared]:
    shared = _Shared(_oxy_pg_filled)
    yield shared
    shared.discard()


@pytest.fixture
def oxy_pg_transaction(
    request: pytest.FixtureRequest, oxy_pg_template: object, _oxy_pg_shared: _Shared
) -> Iterator[psycopg.Connection[Any]]:
    """
    A psycopg connection to a database that tests share; all it does is rolled back after the test.

    ``commit()`` inside becomes a savepoint, ``rollback()`` goes back to the
    last one, and ``close()`` leaves the connection open. That is quicker than
    a database for each test, and enough where the test and the code under test
    use this one connection. A COMMIT in SQL text would get through: the test
    then fails, and the next one gets another database.
    """
    from oxy_pg.server.savepoint import SavepointConnection

    hosted = _oxy_pg_shared.hosted
    name = _oxy_pg_shared.take()
    request.node.stash[_LENT] = lent = _Lent(hosted, name)
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


# --- a failing test ---


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report what the server has logged, and how to look at its data."""
    report = yield
    lent = item.stash.get(_LENT, None)
    # At teardown its database may be gone already.
    if lent is None or not report.failed or report.when == "teardown":
        return report
    import psycopg

    from oxy_pg.errors import OxyPgError

    try:
        log = lent.hosted.log_of(lent)
        if log:
            report.sections.append(("PostgreSQL log", log))
        if lent.hosted.keeps and not lent.is_kept:
            how = lent.hosted.keep(lent, item.nodeid)
            report.sections.append(("PostgreSQL database kept", how))
    except (OSError, psycopg.Error, OxyPgError) as error:
        # The test's own failure is what matters, and the server may be the reason for it.
        report.sections.append(("PostgreSQL log", f"It could not be read: {error}"))
    return report
