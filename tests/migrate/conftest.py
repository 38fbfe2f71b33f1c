"""A real PostgreSQL 16 for the whole session, and a fresh database for each test."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import oxy_pg
from oxy_pg.migrate.migration import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def running_server(**settings: str) -> Iterator[str]:
    """Start a server of one's own; yield the URL of a superuser who may use TCP."""
    # What is tested is moving data, so nothing is left out that makes it safe.
    durable = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    with oxy_pg.temporary(settings=durable | settings) as server:
        with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'sesame'")
            connection.execute("ALTER ROLE oxy PASSWORD 'sesame'")
        yield f"postgresql://admin:sesame@127.0.0.1:{server.status().port}/postgres"


@pytest.fixture(scope="session")
def server_url(base_dir: Path) -> Iterator[str]:
    """The superuser's URL of a server that has the role ``oxy``."""
    with running_server() as url:
        yield url


@pytest.fixture
def pg_url(server_url: str) -> Iterator[str]:
    """A fresh database that the ordinary role ``oxy`` owns."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER oxy")
    yield server_url.replace("admin:", "oxy:").removesuffix("/postgres") + f"/{name}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def lite(tmp_path: Path) -> Callable[..., str]:
    """Make a SQLite database from a script and rows; return its path."""

    def make(script: str, rows: dict[str, list[tuple[Any, ...]]] | None = None) -> str:
        path = str(tmp_path / "app.db")
        connection = sqlite3.connect(path)
        connection.executescript(script)
        for table, values in (rows or {}).items():
            marks = ", ".join("?" * len(values[0]))
            connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', values)
        connection.commit()
        connection.close()
        return path

    return make


@pytest.fixture
def move(lite: Callable[..., str], pg_url: str) -> Callable[..., Any]:
    """Make a SQLite database and migrate it with full verification."""

    def run(
        script: str, rows: dict[str, list[tuple[Any, ...]]] | None = None, **options: Any
    ) -> Any:
        return migrate(lite(script, rows), pg_url, **{"verify": "full", **options})

    return run


@pytest.fixture
def pg(pg_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Ask the target something."""
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def ask(query: str, *arguments: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query, arguments or None)
            return cursor.fetchall() if cursor.description else []

        yield ask
