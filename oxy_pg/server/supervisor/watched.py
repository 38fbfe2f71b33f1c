"""The postmaster that a supervisor watches: its child, or one that it has adopted."""

from __future__ import annotations

import os
import time

from oxy_pg.facts import ROLE
from oxy_pg.server.cluster import logs, postmaster
from oxy_pg.server.cluster.socket_connection import Connection, QueryError, monitor
from oxy_pg.server.supervisor.order import Started
from oxy_pg.system import cheap, process
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.server.supervisor.order import Order

_LAST_LINES = 2.0  # seconds for the log collector to write what the postmaster said at its end
_LOST_MEMORY = "shared memory segment"
_CRASHED = "was terminated by signal"
_NO_ROOM = 1 << 20  # bytes: less than a start needs


class Watched:
    """One postmaster after the other; ``pid`` is 0 while there is none."""

    __slots__ = (
        "_data_dir",
        "_log_dir",
        "_pidfd",
        "_segment",
        "_selector",
        "_started",
        "broken",
        "is_child",
        "pid",
        "port",
        "socket_dir",
    )

    def __init__(self, order: Order, selector: cheap.Selector) -> None:
        self._data_dir = order.data_dir
        self._log_dir = order.log_dir
        self._selector = selector
        self._started = Started(0, 0, {})
        self._pidfd = -1
        self._segment = ""
        self.broken = ""  # why no session can begin in it, if that is so
        self.pid = 0
        self.port = 0
        self.socket_dir = order.socket_dir
        self.is_child = True

    def started(self, started: Started, socket_dir: str) -> None:
        """Watch a child that was started just now."""
        self.pid = started.pid
        self.port = started.port
        self.socket_dir = socket_dir
        self.is_child = True
        self._started = started

    def adopt(self, pid: int) -> None:
        """Watch a postmaster whose parent was killed; the selector wakes when it ends (Linux)."""
        self.pid = pid
        self.is_child = False
        if hasattr(os, "pidfd_open"):
            with cheap.suppress(OSError):
                self._pidfd = os.pidfd_open(pid)
                self._selector.register(self._pidfd, lambda: None)

    def ended(self) -> None:
        """Watch nothing any more."""
        self.pid = 0
        if self._pidfd >= 0:
            self._selector.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self.is_child = True

    @property
    def wakes_us(self) -> bool:
        """Whether the kernel tells us when it ends."""
        return self.is_child or self._pidfd >= 0

    @property
    def has_vanished(self) -> bool:
        """Whether one that is not our child has ended."""
        return not self.is_child and not process.is_alive(self.pid)

    def is_ready(self) -> bool:
        """Whether it accepts connections; QueryError when an adopted one is not ours."""
        found = postmaster.read_pid_file(self._data_dir)
        if found is None or found.pid != self.pid or found.status != "ready":
            return False
        self.port = found.port
        self.socket_dir = found.socket_dir
        self._segment = found.segment
        self.broken = ""
        # Our own child, started for this directory, says in its pid file that it is ready. That
        # it answers, and for this directory, is what every client asks it first.
        return self.is_child or self._proves_identity()

    def _proves_identity(self) -> bool:
        """Ask which directory it serves: a pid and a port prove nothing. False: not yet."""
        try:
            with self._connect(10) as connection:
                rows = connection.query("SHOW data_directory")
        except QueryError as error:
            if error.sqlstate.startswith("57P"):
                return False  # still starting up, or on its way down
            raise
        except OSError:
            return False
        if not os.path.samefile(str(rows[0][0]), self._data_dir):
            raise QueryError("", f"another server answers on the socket, for {rows[0][0]}")
        return True

    def is_in_use(self) -> bool:
        """Whether a client is connected to it; also when it does not answer that."""
        self.broken = ""
        try:
            with self._connect(5) as connection:
                rows = connection.query(
                    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()"
                )
        except (OSError, QueryError) as error:
            # systemd removes a user's shared memory when he logs out (RemoveIPC in logind.conf).
            if isinstance(error, QueryError) and _LOST_MEMORY in error.message:
                self.broken = error.message
            return True  # it hangs, or has no connection left: that is not "unused"
        return rows[0][0] != "0"

    def has_crashed(self) -> bool:
        """Whether it has lost a server process, and begun anew, since it was asked last."""
        found = postmaster.read_pid_file(self._data_dir)
        if found is None or found.pid != self.pid or found.segment == self._segment:
            return False
        self._segment = found.segment
        return True

    def crash(self) -> str:
        """Return what the log says of the last crash of a server process."""
        lines = [line for line in logs.tail(self._log_dir, 200) if _CRASHED in line]
        return lines[-1].partition("LOG:")[2].strip() if lines else "a server process has ended"

    def revoke_password(self) -> None:
        """Leave the role without a password: it cannot connect over TCP. OSError, QueryError."""
        with Connection(self.socket_dir, self.port, Deadline(5)) as connection:
            connection.query(f"ALTER ROLE {ROLE} PASSWORD NULL")

    def _connect(self, timeout: float) -> Connection:
        return monitor(self.socket_dir, self.port, Deadline(timeout))

    def last_words(self, *, killed: bool) -> str:
        """Return what was logged since its start; for one that has ended, and waits for its log."""
        # The log collector lives a little longer, and takes its time on a busy machine. Without
        # waiting for it a port that was taken would look like a server that refuses to start.
        nothing_comes = killed or self.full_disk()
        until = time.monotonic() + (0.05 if nothing_comes else _LAST_LINES)
        before, pid = self._started.logged_before, self._started.pid
        while not logs.is_complete(self._log_dir, before, pid) and time.monotonic() < until:
            time.sleep(0.01)
        return self.log()

    def log(self) -> str:
        """Return what was logged since its start."""
        return logs.since(self._log_dir, self._started.logged_before)

    def full_disk(self) -> str:
        """Return the words for a disk without room: PostgreSQL could not even log its own."""
        with cheap.suppress(OSError):
            found = os.statvfs(self._data_dir)
            if found.f_bavail * found.f_frsize < _NO_ROOM:
                return f"\nNo space left on the disk of {self._data_dir}."
        return ""
