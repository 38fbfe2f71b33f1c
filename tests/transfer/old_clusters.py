"""State directories as an oxy_pg of another major version would have left them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from oxy_pg.paths import StateDir
from oxy_pg.server import account, cluster, config, databases, postmaster

if TYPE_CHECKING:
    from collections.abc import Iterator

# As template.py gives them to initdb.
OPTIONS = (
    *("--username=postgres", "--encoding=UTF8", "--auth-local=peer", "--auth-host=reject"),
    *("--wal-segsize=4", "--no-sync", "--locale=C", "--lc-ctype=C.UTF-8"),
)


class OldCluster:
    """A cluster of another version in a state directory, with our mark, ``oxy`` and its password."""

    def __init__(self, state_dir: Path, bin_dir: Path) -> None:
        self.state = StateDir(str(state_dir.resolve()))
        self.bin_dir = bin_dir
        state_dir.mkdir(mode=0o711, parents=True)
        self.user = account.account_for(self.state)
        self.data_dir = Path(self.state.data_dir)
        self.data_dir.mkdir(mode=0o700)
        self.user.own(str(self.data_dir))
        self._run("initdb", "-D", self.data_dir, *OPTIONS)
        (self.data_dir / "oxy_pg.txt").write_text("made by oxy_pg\n")
        self.user.own(str(self.data_dir / "oxy_pg.txt"))
        cluster.write_configuration(self.state.data_dir, self.user, {})
        self.password = databases.password(self.state)
        with self.running() as connect, connect() as connection:
            connection.execute("CREATE ROLE oxy LOGIN CREATEDB")
            connection.execute(f"ALTER ROLE oxy PASSWORD '{self.password}'".encode())
            connection.execute("CREATE DATABASE oxy OWNER oxy")

    def _run(self, program: str, *words: object) -> None:
        subprocess.run(
            [str(self.bin_dir / program), *map(str, words)],
            check=True,
            capture_output=True,
            cwd="/",
            env=postmaster.environment(),
            **self.user.popen_arguments(),
        )

    @contextlib.contextmanager
    def running(self, stop: str = "fast") -> Iterator:
        """Run it; gives what connects to a database as superuser, or as another role."""
        sockets = Path(self.state.root) / "old-sockets"
        shutil.rmtree(sockets, ignore_errors=True)
        sockets.mkdir()
        sockets.chmod(0o755)
        self.user.own(str(sockets))
        log = self.data_dir / "old.log"
        (sockets / "hba").write_text("local all all trust\n")
        options = f"-c listen_addresses='' -c logging_collector=off -k {sockets} -c fsync=off"
        options += f" -c hba_file={sockets}/hba"
        self._run("pg_ctl", "-D", self.data_dir, "-l", log, "-w", "-o", options, "start")

        def connect(database: str = "postgres", user: str = "postgres") -> psycopg.Connection:
            return psycopg.connect(host=str(sockets), user=user, dbname=database, autocommit=True)

        try:
            yield connect
        finally:
            self._run("pg_ctl", "-D", self.data_dir, "-w", "-m", stop, "stop")
            shutil.rmtree(sockets)
