"""
The process that owns the postmaster and counts leases.

There is one for each state directory. Every process that uses the server
holds a connection to the supervisor's control socket, its lease; the kernel
closes it however that process ends. When there is no lease, no client is
connected to PostgreSQL, and the keep-alive time has passed, the supervisor
stops PostgreSQL with a fast shutdown and goes. Leases are granted by the same
loop that decides to stop, so no client is given a server that is about to stop.

It sleeps until something happens: nothing here polls while a lease is held.
It inherits the lock of the state directory, locked, and the control socket,
listening, so there is no moment at which a second one could start.

Requests and answers are lines of text:

    lease PID KEEP_ALIVE     starting, then ready PORT POSTMASTER_PID SOCKET_DIR; afterwards
                             down, and ready … again, whenever it crashes or is restarted
    status                   status KEY=VALUE …
    stop MODE                stopped
    restart                  restarting, then ready …

Any of them may be answered with ``stopping`` (come again when this connection
is closed) or ``failed TEXT``.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time

from oxy_pg.paths import is_private_temp_dir
from oxy_pg.server.cluster import logs, postmaster
from oxy_pg.server.cluster.socket_connection import Connection, QueryError
from oxy_pg.server.supervisor.clients import Clients
from oxy_pg.server.supervisor.order import Order, Started, start_postmaster
from oxy_pg.system import files, process
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.server.supervisor.clients import Client

_LONGEST_PAUSE = 1.0  # seconds between two attempts to bring back a crashed server
_MOST_FAILURES = 30  # in a row, until it gives up
_LONGEST_WAIT = 0.25  # seconds between two attempts while something is in the way that passes
_MOST_WAITS = 120  # of those, half a minute
_FIRST_LEASE = 10.0  # seconds for the starter to take a lease
_STABLE_AFTER = 2.0  # seconds after which earlier crashes no longer count
_NO_ROOM = 1 << 20  # bytes: less than a start needs
_IMPATIENT_AFTER = 20.0  # seconds until a fast shutdown that hangs becomes an immediate one


class Supervisor:
    """The loop; its states: ``starting``, ``ready``, ``crashed``, ``failed``, ``stopping``."""

    def __init__(self, order: Order, control: socket.socket) -> None:
        self._order = order
        self._selector = selectors.DefaultSelector()
        answers: dict[str, Callable[..., None]] = {
            "lease": self._lease,
            "status": self._status,
            "stop": self._stop_request,
            "restart": self._restart_request,
        }
        self._clients = Clients(control, self._selector, answers, self._released)
        self._keep_alive = order.keep_alive
        self._was_leased = False
        self._failure = ""
        self._state = "starting"
        self._pid = 0
        self._port = 0
        self._socket_dir = order.socket_dir
        self._is_child = True
        self._was_ready = False
        self._restart_wanted = False
        self._failures = 0
        self._waits = 0
        self._logged_before: dict[str, int] = {}
        now = time.monotonic()
        self._last_use = now
        self._state_since = now
        self._next_look = now

    # --- the loop ---

    def run(self, started: Started | None) -> None:
        """Supervise what was started, or is to be adopted, until there is nothing left to do."""
        self._clients.listen()
        self._listen_for_signals()
        if started is None:
            self._adopt()
        else:
            self._supervise(started)
            self._reap()  # it may have ended before we listened
        while self._state != "gone":
            for key, _ in self._selector.select(self._pause()):
                key.data()
            self._look()

    def _pause(self) -> float | None:
        """Seconds until the next look is due; None: until something happens."""
        due = self._next_due()
        return None if due is None else max(0.0, due - time.monotonic())

    def _next_due(self) -> float | None:
        if self._state == "ready":
            if self._clients.is_leased():
                # A postmaster that is not our child cannot be waited for everywhere.
                return None if self._watched() else time.monotonic() + 0.5
            return None if self._next_look == float("inf") else self._next_look
        if self._state == "failed":
            return self._state_since + _FIRST_LEASE
        if self._state == "stopping":
            impatient = self._state_since + _IMPATIENT_AFTER
            return impatient if self._watched() else time.monotonic() + 0.05
        return self._next_look

    def _look(self) -> None:
        """Do what is due."""
        if not self._is_child and not process.is_alive(self._pid):
            self._exited(None)
        now = time.monotonic()
        if self._state == "starting" and now >= self._next_look:
            self._look_whether_ready()
        elif self._state == "crashed" and now >= self._next_look:
            self._start()
        elif self._state == "stopping" and now >= self._state_since + _IMPATIENT_AFTER:
            self._say("the fast shutdown hangs; an immediate one follows")
            self._state_since = now
            postmaster.signal_stop(self._pid, "immediate")
        elif self._state == "failed" and now >= self._state_since + _FIRST_LEASE:
            self._stop("fast")
        elif self._state == "ready" and now >= self._next_look and not self._clients.is_leased():
            self._look_whether_used(now)

    def _enter(self, state: str) -> None:
        self._state = state
        self._state_since = self._next_look = time.monotonic()

    # --- signals and children ---

    def _listen_for_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGIO):
            signal.signal(number, lambda *_: None)
        self._wakeup = (reader, writer)
        self._selector.register(reader, selectors.EVENT_READ, self._signalled)

    def _signalled(self) -> None:
        numbers = set(self._wakeup[0].recv(4096))
        if signal.SIGIO in numbers:
            logs.prune(self._order.log_dir)
        if signal.SIGCHLD in numbers:
            self._reap()
        if numbers & {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}:
            self._say("told to stop by a signal")
            self._stop("fast")

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self._pid and self._is_child:
                    self._exited(None)  # it ended while no process waited, and cannot be asked
                return
            if not pid:
                return
            if pid == self._pid and self._is_child:
                self._exited(os.waitstatus_to_exitcode(status))

    def _watched(self) -> bool:
        """Whether the kernel tells us when the postmaster ends."""
        return self._is_child or self._pidfd >= 0

    _pidfd = -1

    def _adopt(self) -> None:
        """Take over a postmaster that runs already; its parent was killed."""
        self._pid = self._order.adopt
        self._is_child = False
        self._was_ready = True
        self._say(f"adopts the running postmaster {self._pid}")
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self._pid)
                self._selector.register(self._pidfd, selectors.EVENT_READ, lambda: None)
        self._watch_logs()

    # --- the postmaster ---

    def _start(self) -> None:
        self._supervise(start_postmaster(self._order, self._choose_port()))

    def _supervise(self, started: Started) -> None:
        """Wait for a postmaster of ours that was started just now."""
        self._pid = started.pid
        self._port = started.port
        self._logged_before = started.logged_before
        self._is_child = True
        self._socket_dir = self._order.socket_dir
        self._enter("starting")
        self._watch_logs()

    def _choose_port(self) -> int:
        """Return the port of last time if it is free, else one that was free just now."""
        for port in self._order.ports:
            if _is_free(port):
                return port
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def _look_whether_ready(self) -> None:
        waited = time.monotonic() - self._state_since
        self._next_look = time.monotonic() + (0.001 if waited < 1 else 0.02 if waited < 10 else 0.2)
        found = postmaster.read_pid_file(self._order.data_dir)
        if found is None or found.pid != self._pid or found.status != "ready":
            return
        self._port = found.port
        self._socket_dir = found.socket_dir
        if self._is_child:
            # Our own child, started for this directory, says in its pid file that it is ready.
            # That it answers, and for this directory, is what every client asks it first.
            self._ready()
            return
        try:
            self._prove_identity()
        except QueryError as error:
            if error.sqlstate.startswith("57P"):
                return  # still starting up, or on its way down
            self._fail(f"The server refuses its supervisor: {error}")
        except OSError:
            return
        else:
            self._ready()

    def _prove_identity(self) -> None:
        """Ask a server that we adopt which directory it serves; a pid and a port prove nothing."""
        with self._connect(10) as connection:
            rows = connection.query("SHOW data_directory")
        if not os.path.samefile(str(rows[0][0]), self._order.data_dir):
            raise QueryError("", f"another server answers on the socket, for {rows[0][0]}")

    def _connect(self, timeout: float) -> Connection:
        return Connection(self._socket_dir, self._port, Deadline(timeout))

    def _ready(self) -> None:
        self._enter("ready")
        self._was_ready = True
        self._waits = 0
        self._last_use = self._state_since
        self._next_look = self._last_use + self._patience()
        self._order.ports = [self._port]
        if not self._order.ephemeral:
            with contextlib.suppress(OSError):  # a full disk: the next start finds another port
                if files.read_text(self._order.port_file) != f"{self._port}\n":
                    files.write_text(self._order.port_file, f"{self._port}\n", sync=False)
        self._say(f"postmaster {self._pid} is ready on port {self._port}")
        self._clients.ready(self._ready_line())

    def _ready_line(self) -> str:
        return f"ready {self._port} {self._pid} {self._socket_dir}"

    def _exited(self, code: int | None) -> None:
        """React to the postmaster's end; ``code`` as in subprocess, None: not known."""
        was, now = self._state, time.monotonic()
        self._pid = 0
        if self._pidfd >= 0:
            self._selector.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._is_child = True
        if was == "stopping" and self._restart_wanted:
            self._restart_wanted = False
            self._start()
            return
        if was == "failed":
            return
        if was == "stopping" or (was == "ready" and code == 0):
            self._say("the server was shut down")
            self._go()
            return
        if was == "ready" and now - self._state_since > _STABLE_AFTER:
            self._failures = 0
        self._failures += 1
        self._say(f"the postmaster has ended with {code} while it was {was}")
        self._bring_back(was, killed=code is None or code < 0)

    def _bring_back(self, was: str, *, killed: bool) -> None:
        """Start again after a crash, or say why not."""
        if was == "starting":
            time.sleep(0.05)  # the log collector writes its last lines after the postmaster's end
        said = logs.since(self._order.log_dir, self._logged_before)
        if was == "starting" and self._waits < _MOST_WAITS and any(one in said for one in _PASSING):
            self._failures -= 1
            self._waits += 1
            if "could not bind" in said:
                self._order.ports = [port for port in self._order.ports if port != self._port]
            self._enter("crashed")
            self._next_look += min(0.005 * 2**self._waits, _LONGEST_WAIT)
            return
        # A postmaster that was killed did not refuse to start: it may even have been ready before.
        refused = was == "starting" and not self._was_ready and not killed
        if refused or self._failures > _MOST_FAILURES:
            self._fail(said + _full_disk(self._order.data_dir))
            return
        self._enter("crashed")
        if self._failures > 1:
            self._next_look += min(0.05 * 2**self._failures, _LONGEST_PAUSE)
        self._clients.announce("down")

    def _stop(self, mode: str) -> None:
        if self._state == "stopping":
            if mode == "immediate":
                postmaster.signal_stop(self._pid, mode)
            return
        self._enter("stopping")
        if self._pid:
            postmaster.signal_stop(self._pid, mode)
        else:
            self._go()

    def _fail(self, reason: str) -> None:
        """Give up, and tell everybody who waits why."""
        self._say(f"gives up: {reason}")
        self._failure = "failed " + reason.encode("unicode_escape").decode("ascii")
        self._clients.failed(self._failure)
        if self._was_leased:
            self._stop("fast")
        else:
            self._enter("failed")  # until the starter has asked, and knows why

    def _go(self) -> None:
        """Leave nothing behind. The lock goes last, with this process."""
        self._clients.close()
        with contextlib.suppress(OSError):
            os.unlink(self._order.control)
        with contextlib.suppress(OSError):
            os.rmdir(self._order.socket_dir)
            os.rmdir(self._order.run_dir)
            if is_private_temp_dir(parent := os.path.dirname(self._order.run_dir)):
                os.rmdir(parent)  # only if it is empty
        if self._order.ephemeral:
            postmaster.remove_segment(self._order.data_dir)
            with contextlib.suppress(OSError):
                files.remove_tree(self._order.state_dir)
                os.rmdir(os.path.dirname(self._order.state_dir))  # only if it is empty
        self._clients.stopped()
        self._state = "gone"

    # --- leases ---

    def _patience(self) -> float:
        """Seconds that the server stays up unused; the starter may be slow to come."""
        return self._keep_alive if self._was_leased else max(self._keep_alive, _FIRST_LEASE)

    def _released(self) -> None:
        if self._state == "ready" and not self._clients.is_leased():
            self._last_use = time.monotonic()
            self._next_look = self._last_use + self._patience()

    def _lease(self, client: Client, pid: str, keep_alive: str) -> None:
        if self._state in {"stopping", "gone"} and not self._restart_wanted:
            client.send("stopping")
            return
        if self._state == "failed":
            client.send(self._failure)
            self._stop("fast")
            return
        client.pid = int(pid)
        client.leased = self._was_leased = True
        if keep_alive != "-":
            # The longest that anybody has asked for: `oxy-pg start` keeps the server until it is
            # stopped, also when an application asks for it afterwards.
            self._keep_alive = max(self._keep_alive, float(keep_alive))
        client.send(self._ready_line() if self._state == "ready" else "starting")

    def _status(self, client: Client) -> None:
        fields = {
            "state": self._state,
            "pid": os.getpid(),
            "postmaster_pid": self._pid,
            "port": self._port,
            "socket_dir": self._socket_dir,
            "keep_alive": self._keep_alive,
            "postgres": self._order.postgres,
            "leases": ",".join(map(str, self._clients.lease_pids())),
        }
        client.send("status " + "\t".join(f"{name}={value}" for name, value in fields.items()))

    def _stop_request(self, client: Client, mode: str) -> None:
        if mode not in postmaster.STOP_SIGNALS:
            raise ValueError(mode)
        self._say(f"told to stop ({mode})")
        client.waits_for = "stopped"
        self._restart_wanted = False
        self._stop(mode)

    def _restart_request(self, client: Client) -> None:
        if self._state == "stopping" and not self._restart_wanted:
            client.send("stopping")
            return
        self._say("told to restart")
        client.waits_for = "ready"
        client.send("restarting")
        if self._state == "ready":
            self._restart_wanted = True
            self._clients.announce("down")
            self._stop("fast")

    def _look_whether_used(self, now: float) -> None:
        """Stop the server if it has been unused for long enough."""
        if self._is_anybody_connected():
            self._last_use = now
            self._next_look = now + 1.0
        elif now < self._last_use + self._patience():
            self._next_look = self._last_use + self._patience()
        else:
            self._say("the server is no longer in use")
            self._stop("immediate" if self._order.ephemeral else "fast")

    def _is_anybody_connected(self) -> bool:
        try:
            with self._connect(5) as connection:
                rows = connection.query(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
        except (OSError, QueryError):
            return True  # it does not answer, or has no connection left: that is not "unused"
        return rows[0][0] != "0"

    # --- what it says ---

    def _watch_logs(self) -> None:
        """Be woken when the log collector begins a new file (F_NOTIFY in fcntl(2), Linux)."""
        import fcntl

        if not hasattr(fcntl, "F_NOTIFY"):
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self._order.log_dir, os.O_RDONLY)
            if self._log_dir_fd >= 0:
                os.close(self._log_dir_fd)
            self._log_dir_fd = descriptor
            fcntl.fcntl(descriptor, fcntl.F_NOTIFY, fcntl.DN_CREATE | fcntl.DN_MULTISHOT)

    _log_dir_fd = -1

    def _say(self, text: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        with contextlib.suppress(OSError):
            os.write(
                2, f"{now} {text}\n".encode(errors="replace")
            )  # the state dir's supervisor.log


# What goes away by itself: a port taken between the choice and the bind, and the last processes
# of a postmaster that was killed.
_PASSING = (
    "could not bind",
    "pre-existing shared memory block",
    'lock file "',
)


def _full_disk(data_dir: str) -> str:
    """Return the words for a disk without room: PostgreSQL could not even log its own."""
    with contextlib.suppress(OSError):
        found = os.statvfs(data_dir)
        if found.f_bavail * found.f_frsize < _NO_ROOM:
            return f"\nNo space left on the disk of {data_dir}."
    return ""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
