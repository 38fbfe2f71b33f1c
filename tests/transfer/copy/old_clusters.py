"""State directories as an oxy_pg of another major version would have left them."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from oxy_pg.paths import StateDir, digest
from oxy_pg.server.cluster import account, databases, directory
from oxy_pg.system import process
from oxy_pg.url import socket_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# As template.py gives them to initdb.
OPTIONS = (
    *("--username=postgres", "--encoding=UTF8", "--auth-local=peer", "--auth-host=reject"),
    *("--wal-segsize=4", "--no-sync", "--locale=C", "--lc-ctype=C.UTF-8"),
)


class OldCluster:
    """A cluster of another version, with our mark, the role ``oxy`` and its password."""

    def __init__(self, state_dir: Path, bin_dir: Path) -> None:
        """Make it; in a directory that has been made already if ``postgres_data`` is there."""
        self.state = StateDir(str(state_dir.resolve()))
        self.bin_dir = bin_dir
        state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.user = account.account_for(self.state)
        self.data_dir = Path(self.state.data_dir)
        if not self.data_dir.exists():
            self.data_dir.mkdir(mode=0o700)
            self.user.own(str(self.data_dir))
        # By its real name: its user may not be able to come this way.
        self.place = self.data_dir.resolve()
        # initdb takes a second: the first one of a run is kept for the others.
        template = Path(tempfile.gettempdir()) / f"old-cluster-{digest(str(bin_dir))}"
        if not template.exists():
            self._make(template)
        shutil.copytree(template / "data", self.place, dirs_exist_ok=True)
        for path in (self.place, *self.place.rglob("*")):
            self.user.own(str(path))
        shutil.copy(template / "password", self.state.password)
        self.password = databases.password(self.state)

    def _make(self, template: Path) -> None:
        self._run("initdb", "-D", self.place, *OPTIONS)
        (self.place / "oxy_pg.txt").write_text("made by oxy_pg\n")
        self.user.own(str(self.place / "oxy_pg.txt"))
        directory.write_configuration(str(self.place), self.user, {})
        self.password = databases.password(self.state)
        with self.running() as url, psycopg.connect(url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE oxy LOGIN CREATEDB")
            connection.execute(f"ALTER ROLE oxy PASSWORD '{self.password}'".encode())
            connection.execute("CREATE DATABASE oxy OWNER oxy")
        shutil.copytree(self.place, template / "data")
        shutil.copy(self.state.password, template / "password")

    def _run(self, program: str, *words: object) -> None:
        subprocess.run(
            [str(self.bin_dir / program), *map(str, words)],
            check=True,
            capture_output=True,
            cwd="/",
            env=process.environment(),
            **self.user.popen_arguments(),
        )

    @contextlib.contextmanager
    def running(self, stop: str = "fast") -> Iterator[Callable[..., str]]:
        """Run it; gives what makes a URL of a database, for the superuser or another role."""
        sockets = self.place.parent / "old-sockets"
        shutil.rmtree(sockets, ignore_errors=True)
        sockets.mkdir()
        sockets.chmod(0o755)
        self.user.own(str(sockets))
        (sockets / "hba").write_text("local all all trust\n")
        quoted = shlex.quote(str(sockets))
        options = (
            f"-c listen_addresses='' -c logging_collector=off -c fsync=off -p 5432 -k {quoted}"
        )
        options += f" -c hba_file={quoted}/hba"
        log = self.place / "old.log"
        self._run("pg_ctl", "-D", self.place, "-l", log, "-w", "-o", options, "start")

        def url(database: str = "oxy", user: str = "postgres") -> str:
            return socket_url(user, str(sockets), 5432, database)

        try:
            yield url
        finally:
            self._run("pg_ctl", "-D", self.place, "-w", "-m", stop, "stop")
            shutil.rmtree(sockets)
