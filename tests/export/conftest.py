"""The server and the databases of the migration's tests, and exports of them."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from oxy_pg.export.export import Order, export
from tests.migrate.conftest import lite, pg, pg_url, server_url  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def exported(tmp_path: Path, pg_url: str) -> Callable[..., Any]:  # noqa: F811
    """Export the test's database; return a function that asks the file, and the report."""

    def run(**options: Any) -> Any:
        path = str(tmp_path / "out.db")
        report = export(Order(path, pg_url, **options))

        def ask(query: str) -> list[tuple[Any, ...]]:
            with contextlib.closing(sqlite3.connect(path)) as connection:
                return connection.execute(query).fetchall()

        return ask, report

    return run
