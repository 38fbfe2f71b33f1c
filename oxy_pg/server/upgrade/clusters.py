"""
A cluster of another major version, and the new one that its contents are copied to.

Both are alongside each other until the new one is complete and takes the old
one's place (``swap.py``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from oxy_pg.errors import NotEnoughSpace, UpgradeFailed
from oxy_pg.facts import MAINTENANCE_DATABASE, MAJOR, SUPERUSER
from oxy_pg.installations import major_of
from oxy_pg.report import Skipped
from oxy_pg.server.cluster import account as accounts
from oxy_pg.server.cluster import (
    binaries,
    config,
    directory,
    postmaster,
    session,
    settings,
    template,
)
from oxy_pg.server.cluster.socket_connection import Connection, QueryError, identifier, literal
from oxy_pg.server.supervisor import lock
from oxy_pg.server.upgrade import private_server, swap
from oxy_pg.system import files
from oxy_pg.system.deadline import Deadline
from oxy_pg.url import socket_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.installations import Installation
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.account import Account

_SPARE = 96 << 20  # bytes: an empty cluster, and a reserve
_LOG = 1 << 30  # bytes of write-ahead log, at most; tables that are filled write none

# The new cluster is synced as a whole before anything relies on it (PostgreSQL 16 manual, 14.4).
_BULK = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "max_connections": "64",
    "max_locks_per_transaction": "256",
}


class Upgrade:
    """
    The two clusters; as long as the block of ``begin()`` lasts, no other process starts either.

    ``old_version`` and ``new_version`` are major versions.
    """

    def __init__(
        self, state: StateDir, account: Account, old: Installation, lock_fd: int, timeout: float
    ) -> None:
        self.state = state
        self.account = account
        self.cluster = state.cluster
        self.old_binaries = binaries.reachable(old, account)
        self.new_binaries = binaries.reachable(binaries.find(), account)
        self._lock_fd = lock_fd
        self._timeout = timeout
        self._kept: dict[str, str] = {}  # of what settings= asked for, what the new version takes
        self._unsupported: dict[str, str] = {}

    @property
    def old_version(self) -> int:
        """The major version that the cluster was made with."""
        return major_of(self.old_binaries.version)

    @property
    def new_version(self) -> int:
        """The major version that it is moved to."""
        return MAJOR

    def check_space(self) -> None:
        """Make sure that the disk has room for both; raises NotEnoughSpace or UpgradeFailed."""
        place = self.cluster.path
        if os.path.ismount(place):
            raise UpgradeFailed(
                place,
                "it is a mount point, and cannot be renamed.",
                "Mount the volume at the state directory above it, or move the data with "
                "`oxy-pg backup` and `oxy-pg restore`.",
            )
        data = files.size_of_tree(f"{place}/base")
        for name in os.listdir(f"{place}/pg_tblspc"):
            data += files.size_of_tree(os.path.realpath(f"{place}/pg_tblspc/{name}"))
        # The new one, and its log while it is filled.
        needed = data + min(data, _LOG) + _SPARE
        free = shutil.disk_usage(place).free
        if free < needed:
            raise NotEnoughSpace(os.path.dirname(place), needed, free)

    # --- the old one ---

    @contextlib.contextmanager
    def old_server(self) -> Iterator[str]:
        """Run the old cluster, read-only and for us alone; gives its superuser's URL."""
        sockets = self._sockets(self.old_version)
        overrides = {"default_transaction_read_only": "on", "max_connections": "64"}
        if self.old_version >= 17:
            overrides["event_triggers"] = "off"
        with self._running(self.old_binaries, self.cluster.path, sockets, overrides):
            yield _superuser_url(sockets)

    def old_settings(self) -> dict[str, str]:
        """Return what ALTER SYSTEM has set in the old cluster; it has to run."""
        with self._connect(self.old_version) as connection:
            rows = connection.query(
                "SELECT name, setting FROM pg_file_settings"
                " WHERE sourcefile LIKE '%/postgresql.auto.conf' ORDER BY seqno"
            )
        return {str(name): str(value) for name, value in rows if name not in config.MANAGED}

    # --- the new one ---

    def has_checksums(self) -> bool:
        """Whether the old cluster has data checksums; it has to run."""
        with self._connect(self.old_version) as connection:
            return connection.query("SHOW data_checksums")[0][0] == "on"

    def make_new(self, *, checksums: bool) -> None:
        """Make the new cluster, empty; raises InitdbFailed or OSError."""
        deadline = Deadline(self._timeout)
        # No copy of the template: that has a role and a database, which are about to come over.
        filling = self.cluster.filling
        options = ("--data-checksums",) * checksums
        template.initdb(filling.path, self.new_binaries, self.account, deadline, options)
        directory.mark(filling.path, self.account)
        owner = (self.account.uid, self.account.gid)
        files.write_text(filling.new, "", owner=owner)
        for name, value in settings.load(self.state).items():
            refused = settings.refusal(
                filling.path,
                {name: value},
                self.new_binaries,
                self.account,
                Deadline(self._timeout),
            )
            (self._kept if refused is None else self._unsupported)[name] = value
        directory.write_configuration(filling.path, self.account, self._kept)
        os.mkdir(self.cluster.dump, 0o700)

    @contextlib.contextmanager
    def new_server(self, *, bulk: bool) -> Iterator[str]:
        """
        Run the new cluster, for us alone; gives its superuser's URL.

        With ``bulk`` nothing of it would survive a crash, and it is fast;
        without, it runs as it will for its users.
        """
        sockets = self._sockets(self.new_version)
        filling = self.cluster.filling.path
        with self._running(self.new_binaries, filling, sockets, _BULK if bulk else {}):
            yield _superuser_url(sockets)

    def carry_settings(self, wanted: dict[str, str]) -> list[Skipped]:
        """
        Set with ALTER SYSTEM what the old cluster had; the new one has to run.

        Returns what this version does not accept.
        """
        reason = f"PostgreSQL {self.new_version} does not accept it"
        skipped = [
            Skipped("setting", f"{name} = {value}", reason)
            for name, value in self._unsupported.items()
        ]
        with self._connect(self.new_version) as connection:
            for name, value in wanted.items():
                # A list is a list of literals, a single one too (ALTER SYSTEM, "Parameters").
                listed = name in _LISTS
                values = [part.strip(' "') for part in value.split(",")] if listed else [value]
                spelled = ", ".join(map(literal, values))
                try:
                    connection.query(f"ALTER SYSTEM SET {_setting_name(name)} = {spelled}")
                except QueryError as error:
                    skipped.append(Skipped("ALTER SYSTEM", f"SET {name} = {value}", error.message))
        return skipped

    def swap(self) -> str:
        """
        Let the new cluster take the old one's place; return where the old one is kept.

        Both are stopped. Before it returns, all of it has reached the disk.
        """
        swap.complete(self.cluster)
        if self._unsupported:
            swap.keep_settings(self.state, self.old_version, self._kept)
        return swap.exchange(self.cluster, self.old_version)

    # --- how they run ---

    def _sockets(self, major: int) -> private_server.Sockets:
        return private_server.Sockets(self.state.socket_dir, major, self.account)

    def _connect(self, major: int) -> Connection:
        return Connection(self.state.socket_dir, major, Deadline(self._timeout), any_version=True)

    @contextlib.contextmanager
    def _running(
        self,
        programs: Installation,
        data_dir: str,
        sockets: private_server.Sockets,
        overrides: dict[str, str],
    ) -> Iterator[None]:
        # By name: before 16, "all" was the name of a role like any other.
        role = SUPERUSER if data_dir == self.cluster.path else "all"
        ident = config.pg_ident_conf(self.account.socket_users, role)
        files_named = private_server.hba_settings(sockets, config.pg_hba_conf(), ident)
        with private_server.running(
            programs.postgres,
            data_dir,
            sockets,
            {**files_named, **overrides},
            self._lock_fd,
            Deadline(self._timeout),
        ):
            yield


# GUC_LIST_QUOTE (src/backend/utils/misc/guc_tables.c): as one literal they would be one name.
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
    }
)


def _superuser_url(sockets: private_server.Sockets) -> str:
    """Return the superuser's URL; its sessions begin with the pinned settings."""
    return socket_url(
        SUPERUSER,
        sockets.socket_dir,
        sockets.port,
        MAINTENANCE_DATABASE,
        session.options(SUPERUSER, any_version=True),
    )


def _setting_name(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


@contextlib.contextmanager
def begin(state: StateDir, old_bin_dir: str | None, timeout: float) -> Iterator[Upgrade | None]:
    """
    Take the state directory for the length of the block; gives None if there is nothing to do.

    What an upgrade that was killed has left behind is finished or removed
    first, and what this one leaves is removed at the end. Raises UpgradeFailed
    when the server runs, BinariesNotFound, ForeignDataDirectory.
    """
    state.check_private()
    if not os.path.isdir(state.root) or swap.is_settled(state):
        yield None
        return
    deadline = Deadline(timeout)
    with _locked(state, deadline) as lock_fd:
        directory.settle(state)
        if not directory.exists(state):
            yield None
            return
        user = accounts.account_for(state)
        major = directory.check_ours(state, user)
        _wait_for_survivors(state, deadline)
        swap.settle(state)
        if major == MAJOR:
            yield None
            return
        old = binaries.of_major(major, old_bin_dir)
        directory.make_run_dir(state, user)
        postmaster.remove_sockets(state.socket_dir)  # of servers that were killed
        try:
            yield Upgrade(state, user, old, lock_fd, timeout)
        finally:
            swap.settle(state)


@contextlib.contextmanager
def _locked(state: StateDir, deadline: Deadline) -> Iterator[int]:
    directory.make_state_dir(state)
    for _ in deadline.attempts(0.01, 0.2):
        with lock.attempt(state) as descriptor:
            if descriptor is not None:
                yield descriptor
                return
    raise UpgradeFailed(
        state.data_dir,
        f"its server is running, or about to ({lock.holder(state)}).",
        "Stop it with `oxy-pg stop`, and call again.",
    )


def _wait_for_survivors(state: StateDir, deadline: Deadline) -> None:
    """Return when neither cluster is served; a server without its keeper is about to end."""
    place, filling = state.cluster.path, state.cluster.filling.path
    for _ in deadline.attempts(0.01, 0.1):
        postmasters, backends = set(), set()
        if os.path.isdir(place):
            # Backends first: they outlive a postmaster that was killed, and while they do,
            # running() leaves its pid file, with which no other postmaster starts.
            backends = set(postmaster.serving(place))
            postmasters |= {postmaster.running(place), *postmaster.launched(place)} - {0}
        if os.path.isdir(filling):
            # Not running(), which removes a wrong pid file: settle() reads there which shared
            # memory has to go with the directory.
            postmasters |= {*postmaster.serving(filling), *postmaster.launched(filling)}
        if not postmasters and not backends:
            return
        for pid in postmasters:
            postmaster.signal_stop(pid, "fast")
    raise UpgradeFailed(
        state.data_dir,
        "a PostgreSQL that serves it does not go.",
        "`oxy-pg logs` may tell why. Call again.",
    )
