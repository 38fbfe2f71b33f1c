"""
Fixtures for pytest: a PostgreSQL, and a fresh database on it for each test.

``oxy_pg_url`` and those built on it give a test a database of its own, copied
from a template that ``oxy_pg_template`` fills. With OXY_DATABASE_URL set they
work on that server. Nothing is imported or started before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.pytest_plugin import options, workers
from oxy_pg.pytest_plugin.fixtures.asynchronous import (
    oxy_pg_async_connection,
    oxy_pg_async_engine,
    oxy_pg_async_transaction,
    oxy_pg_asyncpg,
)
from oxy_pg.pytest_plugin.fixtures.connections import (
    _oxy_pg_shared,
    _oxy_pg_transacted,
    oxy_pg_connection,
    oxy_pg_engine,
    oxy_pg_transaction,
)
from oxy_pg.pytest_plugin.fixtures.databases import (
    _oxy_pg_class_lent,
    _oxy_pg_lent,
    _oxy_pg_module_lent,
    _oxy_pg_package_lent,
    _oxy_pg_session_lent,
    oxy_pg_class_url,
    oxy_pg_database,
    oxy_pg_database_factory,
    oxy_pg_module_url,
    oxy_pg_package_url,
    oxy_pg_session_url,
    oxy_pg_url,
)
from oxy_pg.pytest_plugin.fixtures.server import (
    _oxy_pg_filled,
    _oxy_pg_hosted,
    _oxy_pg_key,
    oxy_pg_server,
    oxy_pg_template,
    oxy_pg_template_key,
    oxy_pg_template_url,
    pytest_fixture_setup,
)
from oxy_pg.pytest_plugin.options import pytest_addoption
from oxy_pg.pytest_plugin.report import (
    pytest_report_header,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_terminal_summary,
)
from oxy_pg.pytest_plugin.workers import (
    pytest_collection_finish,
    pytest_configure_node,
    pytest_testnodedown,
)

if TYPE_CHECKING:
    import pytest

# pytest finds its hooks and its fixtures here.
__all__ = [
    "_oxy_pg_class_lent",
    "_oxy_pg_filled",
    "_oxy_pg_hosted",
    "_oxy_pg_key",
    "_oxy_pg_lent",
    "_oxy_pg_module_lent",
    "_oxy_pg_package_lent",
    "_oxy_pg_session_lent",
    "_oxy_pg_shared",
    "_oxy_pg_transacted",
    "oxy_pg_async_connection",
    "oxy_pg_async_engine",
    "oxy_pg_async_transaction",
    "oxy_pg_asyncpg",
    "oxy_pg_class_url",
    "oxy_pg_connection",
    "oxy_pg_database",
    "oxy_pg_database_factory",
    "oxy_pg_engine",
    "oxy_pg_module_url",
    "oxy_pg_package_url",
    "oxy_pg_server",
    "oxy_pg_session_url",
    "oxy_pg_template",
    "oxy_pg_template_key",
    "oxy_pg_template_url",
    "oxy_pg_transaction",
    "oxy_pg_url",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure_node",
    "pytest_fixture_setup",
    "pytest_report_header",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]


def pytest_configure(config: pytest.Config) -> None:
    """Let the whole session ignore OXY_DATABASE_URL, if that was asked for."""
    options.hide_external(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind, when all workers have gone."""
    workers.clean_up(config)
    options.show_external(config)
