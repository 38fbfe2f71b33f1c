"""
A cluster of another major version, and the one that takes its place.

Both stand side by side until the new one is complete:

    postgres_data             the old one, until the swap; then the new one
    postgres_data.upgrading   the new one, while it is filled
    postgres_data.upgraded    the new one, complete and on disk; after the swap the old one
    postgres_data.dump        what is on its way from one to the other
    postgres_data.old-18      the old one, kept

Killed at any moment it leaves the old state or the new one; ``settle()`` says how
each leftover is finished or removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.errors import NotEnoughSpace, ServerError, UpgradeFailed
from oxy_pg.facts import MAJOR
from oxy_pg.installations import major_of
from oxy_pg.report import Skipped
from oxy_pg.server.cluster import account as accounts
from oxy_pg.server.cluster import binaries, config, directory, postmaster, settings, template
from oxy_pg.server.cluster.socket_connection import Connection, QueryError, identifier, literal
from oxy_pg.server.supervisor import lock
from oxy_pg.server.upgrade import private_server
from oxy_pg.system import files
from oxy_pg.system.deadline import Deadline
from oxy_pg.url import socket_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.installations import Installation
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.account import Account

_SPARE = 96 << 20  # bytes: an empty cluster, and a little peace
_LOG = 1 << 30  # bytes of write-ahead log, at most; tables that are filled write none

# The new cluster is synced as a whole before anybody relies on it (PostgreSQL 16 manual, 14.4).
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

# In the new cluster until it has taken the old one's place and name: which of two it is.
_NEW = "oxy_pg.new"


@dataclass(frozen=True, slots=True)
class Directories:
    """The names beside the cluster's; a link is followed, so that they are on its disk."""

    place: str

    @property
    def filling(self) -> str:
        """The new cluster, not complete."""
        return f"{self.place}.upgrading"

    @property
    def complete(self) -> str:
        """The new cluster before the swap, the old one after it."""
        return f"{self.place}.upgraded"

    @property
    def dump(self) -> str:
        """What pg_dump writes and pg_restore reads."""
        return f"{self.place}.dump"

    def kept(self) -> list[str]:
        """Every old cluster that an upgrade has kept."""
        home, name = os.path.split(self.place)
        prefix = f"{name}.old-"
        return sorted(f"{home}/{found}" for found in os.listdir(home) if found.startswith(prefix))

    def keep_as(self, major: int) -> str:
        """Return a free name to keep an old cluster under."""
        name = f"{self.place}.old-{major}"
        number = 1
        while os.path.lexists(name):
            number += 1
            name = f"{self.place}.old-{major}-{number}"
        return name


def directories(state: StateDir) -> Directories:
    """Return the names for the cluster of a state directory."""
    return Directories(os.path.realpath(state.data_dir))


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
        self.names = directories(state)
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
        place = self.names.place
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
        place = self._place(self.old_version)
        overrides = {"default_transaction_read_only": "on", "max_connections": "64"}
        if self.old_version >= 17:
            overrides["event_triggers"] = "off"
        with self._running(self.old_binaries, self.names.place, place, overrides):
            yield socket_url("postgres", place.socket_dir, place.port, "postgres")

    def old_settings(self) -> dict[str, str]:
        """Return what ALTER SYSTEM has set in the old cluster; it has to run."""
        with self._connect(self.old_version) as connection:
            rows = connection.query(
                "SELECT name, setting FROM pg_file_settings"
                " WHERE sourcefile LIKE '%/postgresql.auto.conf' ORDER BY seqno"
            )
        return {str(name): str(value) for name, value in rows if name not in config.MANAGED}

    # --- the new one ---

    def make_new(self) -> None:
        """Make the new cluster, empty; raises InitdbFailed or OSError."""
        deadline = Deadline(self._timeout)
        # No copy of the template: that has a role and a database, which are about to come over.
        template.initdb(self.names.filling, self.new_binaries, self.account, deadline)
        directory.mark(self.names.filling, self.account)
        owner = (self.account.uid, self.account.gid)
        files.write_text(f"{self.names.filling}/{_NEW}", "", owner=owner)
        for name, value in settings.load(self.state).items():
            refused = settings.refusal(
                self.names.filling, {name: value}, self.new_binaries, self.account
            )
            (self._kept if refused is None else self._unsupported)[name] = value
        directory.write_configuration(self.names.filling, self.account, self._kept)
        os.mkdir(self.names.dump, 0o700)

    @contextlib.contextmanager
    def new_server(self, *, bulk: bool) -> Iterator[str]:
        """
        Run the new cluster, for us alone; gives its superuser's URL.

        With ``bulk`` nothing of it would survive a crash, and it is fast;
        without, it runs as it will for its users.
        """
        place = self._place(self.new_version)
        with self._running(self.new_binaries, self.names.filling, place, _BULK if bulk else {}):
            yield socket_url("postgres", place.socket_dir, place.port, "postgres")

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

    # --- the swap ---

    def swap(self) -> str:
        """
        Let the new cluster take the old one's place; return where the old one is kept.

        Both are stopped. Before it returns, all of it has reached the disk.
        """
        names = self.names
        home = os.path.dirname(names.place)
        files.remove_tree(names.dump)
        files.sync_tree(names.filling)
        os.rename(names.filling, names.complete)
        files.sync_file(home)
        if self._unsupported:
            files.write_text(
                f"{self.state.settings}.old-{self.old_version}",
                files.read_text(self.state.settings) or "",
            )
            settings.save(self.state, self._kept)
        old = names.keep_as(self.old_version)
        if files.exchange(names.complete, names.place):
            files.sync_file(home)
            os.rename(names.complete, old)
        else:
            # A moment without a cluster: the next process settles it before anything else.
            os.rename(names.place, old)
            os.rename(names.complete, names.place)
        files.sync_file(home)
        os.unlink(f"{names.place}/{_NEW}")
        return old

    # --- how they run ---

    def _place(self, major: int) -> private_server.Place:
        return private_server.Place(self.state.socket_dir, major, self.account)

    def _connect(self, major: int) -> Connection:
        return Connection(self.state.socket_dir, major, Deadline(self._timeout))

    @contextlib.contextmanager
    def _running(
        self,
        programs: Installation,
        data_dir: str,
        place: private_server.Place,
        overrides: dict[str, str],
    ) -> Iterator[None]:
        # By name: before 16, "all" was the name of a role like any other.
        ident = config.pg_ident_conf(self.account.socket_users, "postgres")
        files_named = private_server.hba_settings(place, config.pg_hba_conf(), ident)
        with private_server.running(
            programs.postgres,
            data_dir,
            place,
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
    if not os.path.isdir(state.root) or is_settled(state):
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
        settle(state)
        if major == MAJOR:
            yield None
            return
        old = binaries.of_major(major, old_bin_dir)
        directory.make_run_dir(state, user)
        postmaster.remove_sockets(state.socket_dir)  # of servers that were killed
        try:
            yield Upgrade(state, user, old, lock_fd, timeout)
        finally:
            settle(state)


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
    names = directories(state)
    for _ in deadline.attempts(0.01, 0.1):
        running = set()
        if os.path.isdir(names.place):
            running |= {postmaster.running(names.place), *postmaster.launched(names.place)} - {0}
        if os.path.isdir(names.filling):
            # Not running(), which removes a pid file that lies: settle() reads there which shared
            # memory has to go with the directory.
            running |= {*postmaster.serving(names.filling), *postmaster.launched(names.filling)}
        if not running:
            return
        for pid in running:
            postmaster.signal_stop(pid, "fast")
    raise UpgradeFailed(
        state.data_dir,
        "a PostgreSQL that serves it does not go.",
        "`oxy-pg logs` may tell why. Call again.",
    )


def is_settled(state: StateDir) -> bool:
    """Whether the cluster is of this version, and nothing of an upgrade is under way."""
    names = directories(state)
    leftovers = (names.filling, names.complete, names.dump, f"{names.place}/{_NEW}")
    here = directory.version(state) or ""
    return major_of(here) == MAJOR and not any(map(os.path.lexists, leftovers))


def settle(state: StateDir) -> None:
    """
    Finish a swap that was interrupted, and remove what was never swapped in.

    Only for the holder of the lock, and when neither cluster runs.
    """
    directory.settle(state)
    names = directories(state)
    here_is_new = os.path.exists(f"{names.place}/{_NEW}")
    if os.path.isdir(names.complete):
        there_is_new = os.path.exists(f"{names.complete}/{_NEW}")
        if here_is_new and not there_is_new:  # it has been swapped in; the old one has no name yet
            found = files.read_text(f"{names.complete}/PG_VERSION") or "unknown"
            os.rename(names.complete, names.keep_as(major_of(found)))
            files.sync_file(os.path.dirname(names.place))
        elif there_is_new:  # the old cluster may have been used since
            files.remove_tree(names.complete)
    if here_is_new:
        os.unlink(f"{names.place}/{_NEW}")
    postmaster.remove_segment(names.filling)
    for path in (names.filling, names.dump):
        files.remove_tree(path)


def discard_old(state: StateDir) -> list[str]:
    """
    Remove the clusters that upgrades have kept; returns their paths.

    The server may run: they are none of its business. Raises ServerError when
    there is no cluster of this version that has taken their place.
    """
    state.check_private()
    kept = directories(state).kept() if os.path.isdir(state.root) else []
    if kept and major_of(directory.version(state) or "") != MAJOR:
        raise ServerError(
            f"There is no cluster of PostgreSQL {MAJOR} in {state.data_dir}, so the old "
            "ones beside it are kept."
        )
    for path in kept:
        files.remove_tree(path)
    for name in os.listdir(state.root) if kept else ():
        if name.startswith("settings.json.old-"):
            os.unlink(f"{state.root}/{name}")
    return kept
