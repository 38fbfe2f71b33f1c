"""
A cluster of Debian's packages: etcd, three PostgreSQL 15 under Patroni, HAProxy before them.

Everything is on loopback addresses. Each node is reached, and reaches etcd, through
a forwarder of its own: a stopped forwarder is a cable that was pulled. HAProxy asks
each node's Patroni whether it is the primary, as Patroni's documentation shows it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from oxy_pg.paths import StateDir
from oxy_pg.server.cluster import account
from oxy_pg.system import process
from tests.other_servers import DEBIAN_15

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ("etcd", "patroni", "haproxy")
PASSWORD = "s3cret"
# Patroni's smallest sensible ones: a node that is gone is replaced after ttl seconds.
TTL, LOOP, RETRY = 6, 1, 2


def missing() -> list[str]:
    """Debian's packages that are not installed."""
    packages = {"etcd": "etcd-server", "patroni": "patroni", "haproxy": "haproxy"}
    found = [packages[name] for name in PROGRAMS if program(name) is None]
    return found + ["postgresql-15"] * (not (DEBIAN_15 / "postgres").exists())


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


class Node:
    """One of the three; ``address`` is what others know it by."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.name = f"node{number}"
        self.address = f"127.0.{cluster.net}.{number}"
        self.home = cluster.home / self.name
        self.home.mkdir()
        cluster.user.own(str(self.home))
        self.patroni: subprocess.Popen[bytes] | None = None
        self.is_cut_off = False
        self.link = cluster.spawn("haproxy", "-db", "-f", self._link(), log=f"{self.name}-link")

    def _link(self) -> Path:
        """Forward what comes in for PostgreSQL and Patroni, and what goes out to etcd."""
        ways = {
            "postgres": (f"{self.address}:5432", f"{self.address}:5433"),
            "rest": (f"{self.address}:8008", f"{self.address}:8009"),
            "etcd": (f"{self.address}:2379", f"{self.cluster.etcd}:2379"),
        }
        text = "defaults\n mode tcp\n timeout connect 2s\n timeout client 1h\n timeout server 1h\n"
        for name, (bind, to) in ways.items():
            text += f"listen {name}\n bind {bind}\n server one {to}\n"
        return self.cluster.write(f"{self.name}-link.cfg", text)

    def start(self) -> None:
        """Start its Patroni, which starts PostgreSQL."""
        roles = {
            name: {"username": user, "password": PASSWORD}
            for name, user in (
                ("superuser", "postgres"),
                ("replication", "replicator"),
                ("rewind", "rewinder"),
            )
        }
        settings = {
            "scope": "oxy",
            "name": self.name,
            "restapi": {
                "listen": f"{self.address}:8009",
                "connect_address": f"{self.address}:8008",
            },
            # A proxy: it must not ask etcd for its own address, and go there around the link.
            "etcd3": {"hosts": f"{self.address}:2379", "use_proxies": True},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": LOOP,
                    "retry_timeout": RETRY,
                    "maximum_lag_on_failover": 1 << 20,
                    "synchronous_mode": self.cluster.synchronous,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {
                            "max_connections": 60,
                            "wal_keep_size": "512MB",
                            "fsync": "off",
                            "wal_receiver_timeout": "5s",
                            "wal_sender_timeout": "5s",
                            "hot_standby_feedback": "on",
                        },
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
                "pg_hba": [
                    "local all all trust",
                    "local replication all trust",
                    "host replication replicator 127.0.0.0/8 scram-sha-256",
                    "host all all 127.0.0.0/8 scram-sha-256",
                ],
            },
            "postgresql": {
                "listen": f"{self.address}:5433",
                "connect_address": f"{self.address}:5432",
                "use_unix_socket": True,
                "data_dir": str(self.home / "data"),
                "bin_dir": str(DEBIAN_15),
                "pgpass": str(self.home / "pgpass"),
                "authentication": roles,
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
                "parameters": {"unix_socket_directories": str(self.home)},
            },
        }
        path = self.cluster.write(f"{self.name}.yml", json.dumps(settings))  # JSON is YAML
        self.patroni = self.cluster.spawn("patroni", path, log=self.name)

    def processes(self) -> list[psutil.Process]:
        """Patroni and all of its PostgreSQL."""
        if self.patroni is None:
            return []
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.pid == self.patroni.pid or f"{self.home}/" in " ".join(one.cmdline()):
                    found.append(one)
        for one in list(found):
            with contextlib.suppress(psutil.Error):
                found += one.children(recursive=True)
        return list({one.pid: one for one in found}.values())

    def kill(self) -> None:
        """Power it off: kill -9 for all of it at once."""
        doomed = self.processes()
        for one in doomed:
            with contextlib.suppress(psutil.Error):
                one.suspend()
        for one in doomed:
            with contextlib.suppress(psutil.Error):
                one.kill()
        assert self.patroni is not None
        self.patroni.wait(30)
        self.patroni = None

    def cut_off(self) -> None:
        """Pull its cable: nothing comes in, nothing reaches etcd, and nobody is told."""
        self.is_cut_off = True
        self.link.send_signal(signal.SIGSTOP)

    def connect_again(self) -> None:
        self.link.send_signal(signal.SIGCONT)
        self.is_cut_off = False


class Cluster:
    """The whole of it; ``stop()`` ends everything."""

    def __init__(self, home: Path, *, net: int, synchronous: bool = True) -> None:
        self.home, self.net, self.synchronous = home, net, synchronous
        self.user = account.account_for(StateDir(str(home / "none")))
        home.mkdir()
        self.user.own(str(home))
        self.spawned: list[subprocess.Popen[bytes]] = []
        self.etcd, self.proxy = f"127.0.{net}.8", f"127.0.{net}.9"
        place = home / "etcd"
        place.mkdir(mode=0o700)
        self.user.own(str(place))
        client, peer = f"http://{self.etcd}:2379", f"http://{self.etcd}:2380"
        self.spawn(
            *("etcd", "--data-dir", place, "--name", "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"etcd={peer}", "--heartbeat-interval", 50),
            *("--election-timeout", 500),
            log="etcd",
        )
        self.nodes = [Node(self, number) for number in (1, 2, 3)]
        self.spawn("haproxy", "-db", "-f", self._proxy(), log="haproxy")
        for node in self.nodes:
            node.start()
        self.wait_until_complete(120)
        self._make_database()

    def _proxy(self) -> Path:
        """Port 5000 leads to the primary, 5001 to a standby."""
        text = (
            "defaults\n mode tcp\n retries 2\n timeout connect 2s\n timeout client 1h\n"
            " timeout server 1h\n timeout check 2s\n"
        )
        for name, port, check in (("primary", 5000, "/primary"), ("standby", 5001, "/replica")):
            text += (
                f"listen {name}\n bind {self.proxy}:{port}\n option httpchk OPTIONS {check}\n"
                " http-check expect status 200\n"
                " default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions\n"
            )
            for node in self.nodes:
                text += f" server {node.name} {node.address}:5432 check port 8008\n"
        return self.write("haproxy.cfg", text)

    def write(self, name: str, text: str) -> Path:
        path = self.home / name
        path.write_text(text)
        self.user.own(str(path))
        return path

    def spawn(self, name: str, *words: object, log: str) -> subprocess.Popen[bytes]:
        found = program(name)
        assert found is not None
        with (self.home / f"{log}.log").open("ab") as file:
            one = subprocess.Popen(
                [found, *map(str, words)],
                stdout=file,
                stderr=file,
                cwd="/",
                env={**process.environment(), "PATH": "/usr/bin:/bin"},
                start_new_session=True,
                **self.user.popen_arguments(),
            )
        self.spawned.append(one)
        return one

    def _make_database(self) -> None:
        with self.superuser() as connection:
            connection.execute(f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{PASSWORD}'".encode())
            connection.execute("CREATE DATABASE app OWNER app")

    # --- its state ---

    def state(self) -> dict[str, tuple[str, str]]:
        """Each node's role and state, as its Patroni says; without those that do not answer."""
        found = {}
        for node in self.nodes:
            if node.patroni is None:
                continue
            with contextlib.suppress(OSError, ValueError):
                # Patroni's own port: the cable may have been pulled.
                url = f"http://{node.address}:8009/patroni"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    told = json.load(answer)
                found[node.name] = (str(told["role"]), str(told["state"]))
        return found

    def members(self) -> dict[str, str]:
        """Each node's role in etcd, as one says that can reach it."""
        for node in self.nodes:
            if node.patroni is None or node.is_cut_off:
                continue
            with contextlib.suppress(OSError, ValueError):
                url = f"http://{node.address}:8009/cluster"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return {one["name"]: one["role"] for one in json.load(answer)["members"]}
        return {}

    def primary(self) -> Node | None:
        """The node that holds the leader's key."""
        roles = self.members()
        return next(
            (one for one in self.nodes if roles.get(one.name) in {"leader", "master"}), None
        )

    def is_complete(self) -> bool:
        """One primary, two standbys that stream, one of them synchronous; all can be reached."""
        try:
            with self.superuser() as connection:
                rows = connection.execute(
                    "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
                ).fetchall()
        except psycopg.Error:
            return False
        states = sorted(row[0] for row in rows)
        if not self.synchronous:
            return states == ["async", "async"]
        # Not before it stands in etcd can that standby become the primary.
        return states == ["async", "sync"] and "sync_standby" in self.members().values()

    def wait_until_complete(self, seconds: float) -> None:
        """Wait until it is complete again; meanwhile the primary writes, as one in use does."""
        ends = time.monotonic() + seconds
        while not self.is_complete():
            assert time.monotonic() < ends, (self.state(), self.logs())
            # A former primary that has begun another segment waits for the new one to reach it.
            with contextlib.suppress(psycopg.Error), self.superuser() as connection:
                connection.execute("SELECT pg_switch_wal()")
            time.sleep(0.3)

    def superuser(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect to the primary through HAProxy, once it is one."""
        return psycopg.connect(
            host=self.proxy,
            port=5000,
            user="postgres",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=3,
        )

    def switch_over(self) -> None:
        """Have Patroni make the synchronous standby the primary; the old one becomes a standby."""
        primary = self.primary()
        assert primary is not None
        body = json.dumps({"leader": primary.name}).encode()
        request = urllib.request.Request(f"http://{primary.address}:8009/switchover", data=body)
        ends = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60):
                    return
            except urllib.error.HTTPError as error:
                # Not before Patroni has noted which standby is synchronous.
                if error.code != 412 or time.monotonic() > ends:
                    raise
                time.sleep(0.5)

    def logs(self) -> str:
        """The end of each log, for a test's message."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.home.glob("*.log"))
        )

    # --- addresses ---

    def url(self, database: str = "app", attributes: str = "read-write") -> str:
        """All three hosts; libpq chooses."""
        hosts = ",".join(f"{node.address}:5432" for node in self.nodes)
        return (
            f"postgresql://app:{PASSWORD}@{hosts}/{database}?target_session_attrs={attributes}"
            "&connect_timeout=3&tcp_user_timeout=8000&keepalives_idle=3&keepalives_interval=2"
            "&keepalives_count=2"
        )

    def proxied(self, database: str = "app", port: int = 5000) -> str:
        """HAProxy's address, which leads to the primary; port 5001 to a standby."""
        return f"postgresql://app:{PASSWORD}@{self.proxy}:{port}/{database}?connect_timeout=3"

    def stop(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.connect_again()
            if node.patroni is not None:
                node.kill()
        for one in self.spawned:
            if one.poll() is None:
                one.kill()
            one.wait(30)
        shutil.rmtree(self.home)
