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
                             down, and ready … again, each time it crashes or is restarted
    status                   status KEY=VALUE …
    stop MODE                stopped
    restart                  restarting, then ready …
    doubt                    ready …, after a restart if the server lets its supervisor in no more

Before ``ready`` there is ``crashes COUNT WORDS`` when the server has crashed in the last hour.

Any of them may be answered with ``stopping`` (come again when this connection
is closed) or ``failed TEXT``.
"""

from __future__ import annotations

import _socket
import os
import time

from oxy_pg.server.cluster import logs, postmaster
from oxy_pg.server.cluster.socket_connection import QueryError
from oxy_pg.server.supervisor.clients import Clients
from oxy_pg.server.supervisor.idle import KeepAlive
from oxy_pg.server.supervisor.order import Order, Started, start_postmaster
from oxy_pg.server.supervisor.ports import Ports
from oxy_pg.server.supervisor.recovery import TAKEN_PORT, Recovery
from oxy_pg.server.supervisor.sockets import Sockets
from oxy_pg.server.supervisor.watched import Watched
from oxy_pg.system import cheap, files
from oxy_pg.system.changes import CREATED, MODIFIED, REMOVED, Changes
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.private import NotPrivate

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from oxy_pg.server.supervisor.clients import Client
else:
    import _signal as signal  # as in postmaster.py

_ASKED_WITHIN = 10.0  # seconds for the starter to ask why the start has failed
# Seconds until a shutdown that hangs becomes one that asks for less: fast, immediate, SIGKILL.
_IMPATIENT_AFTER = 20.0
_FOR_ORPHANS = 1.0  # seconds
_AFTER_A_CHANGE = 0.1  # seconds for the one who removes our files to come to his end


class Supervisor:
    """The loop; its states: ``starting``, ``ready``, ``crashed``, ``failed``, ``stopping``."""

    def __init__(self, order: Order, control: _socket.socket) -> None:
        self._order = order
        self._selector = cheap.Selector()
        answers: dict[str, Callable[..., None]] = {
            "lease": self._lease,
            "status": self._status,
            "stop": self._stop_request,
            "restart": self._restart_request,
            "doubt": self._doubt,
        }
        self._clients = Clients(control, self._selector, answers, self._released)
        self._server = Watched(order, self._selector)
        self._sockets = Sockets(order)
        self._changes = Changes()
        self._ports = Ports(
            order.ports, "" if order.ephemeral else order.port_file, any_port=order.any_port
        )
        self._recovery = Recovery()
        self._keep_alive = KeepAlive(order.keep_alive)
        self._failure = ""
        self._state = "starting"
        self._restart_wanted = False
        self._is_impatient = False
        self._is_told = False  # of changes in the data directory
        self._last_crash = ""
        self._changed_at = float("inf")
        self._state_since = self._next_look = time.monotonic()

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
            self._selector.wait(self._pause())
            self._look()

    def _pause(self) -> float | None:
        """Seconds until the next look is due; None: until something happens."""
        due = min(self._next_due(), self._changed_at + _AFTER_A_CHANGE)
        return None if due == float("inf") else max(0.0, due - time.monotonic())

    def _next_due(self) -> float:
        if self._state == "ready":
            if self._clients.is_leased():
                # A postmaster that is not our child cannot be waited for everywhere.
                return float("inf") if self._server.wakes_us else time.monotonic() + 0.5
            return self._next_look
        if self._state == "failed":
            return self._state_since + _ASKED_WITHIN
        if self._state == "stopping":
            impatient = self._state_since + _IMPATIENT_AFTER
            return impatient if self._server.wakes_us else time.monotonic() + 0.05
        return self._next_look

    def _look(self) -> None:
        """Do what is due."""
        if self._server.has_vanished:
            self._exited(None)
        now = time.monotonic()
        if now >= self._changed_at + _AFTER_A_CHANGE:
            self._look_at_changes()
        if self._state == "starting" and now >= self._next_look:
            self._look_whether_ready()
        elif self._state == "crashed" and now >= self._next_look:
            self._start()
        elif self._state == "stopping" and now >= self._state_since + _IMPATIENT_AFTER:
            self._hurry()
        elif self._state == "failed" and now >= self._state_since + _ASKED_WITHIN:
            self._stop("fast")
        elif self._state == "ready" and now >= self._next_look and not self._clients.is_leased():
            self._look_whether_used()

    def _hurry(self) -> None:
        """End a postmaster that does not go; no row is lost, the next start recovers."""
        self._state_since = time.monotonic()
        if self._is_impatient:
            self._say("the immediate shutdown hangs; the postmaster is killed")
            with cheap.suppress(ProcessLookupError):
                os.kill(self._server.pid, signal.SIGKILL)
            return
        self._is_impatient = True
        self._say("the shutdown hangs; an immediate one follows")
        postmaster.signal_stop(self._server.pid, "immediate")

    def _enter(self, state: str) -> None:
        self._state = state
        self._state_since = self._next_look = time.monotonic()

    # --- signals and children ---

    def _listen_for_signals(self) -> None:
        reader, writer = _socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGIO):
            signal.signal(number, lambda *_: None)
        self._wakeup = (reader, writer)
        self._selector.register(reader.fileno(), self._signalled)

    def _signalled(self) -> None:
        numbers = set(self._wakeup[0].recv(4096))
        if signal.SIGIO in numbers:
            self._changed_at = time.monotonic()
            if self._state == "starting":
                self._next_look = self._changed_at  # the pid file may say more by now
            else:
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
                if self._server.pid and self._server.is_child:
                    self._exited(None)  # it ended while no process waited, and cannot be asked
                return
            if not pid:
                return
            if pid == self._server.pid and self._server.is_child:
                self._exited(os.waitstatus_to_exitcode(status))

    def _adopt(self) -> None:
        """Take over a postmaster that runs already; its parent was killed."""
        self._server.adopt(self._order.adopt)
        self._recovery.became_ready()
        self._say(f"adopts the running postmaster {self._server.pid}")
        self._changes.watch(self._order.log_dir, CREATED)

    # --- the postmaster ---

    def _start(self) -> None:
        self._supervise(start_postmaster(self._order, self._ports.choose()))

    def _supervise(self, started: Started) -> None:
        """Wait for a postmaster of ours that was started just now."""
        self._server.started(started, self._order.socket_dir)
        self._is_impatient = False
        self._enter("starting")
        self._changes.watch(self._order.log_dir, CREATED)
        self._is_told = self._changes.watch(self._order.data_dir, MODIFIED)

    def _look_whether_ready(self) -> None:
        waited = time.monotonic() - self._state_since
        at_first = 0.01 if self._is_told else 0.001  # where the kernel tells, just to be sure
        pause = at_first if waited < 1 else 0.02 if waited < 10 else 0.2
        self._next_look = time.monotonic() + pause
        try:
            if self._server.is_ready():
                self._ready()
        except QueryError as error:
            self._fail(f"The server refuses its supervisor: {error}")

    def _ready(self) -> None:
        self._enter("ready")
        self._recovery.became_ready()
        self._keep_alive.use()
        self._next_look = self._keep_alive.ends_at()
        if self._ports.lost:
            self._change_password()
        self._tell_ready()  # before all that no client waits for
        self._ports.keep(self._server.port)
        self._sockets.keep(self._server.port)
        self._watch_sockets()
        # Written when a server process has crashed, and otherwise not before the end.
        self._changes.watch(self._order.data_dir, MODIFIED)
        self._say(f"postmaster {self._server.pid} is ready on port {self._server.port}")

    def _watch_sockets(self) -> None:
        for path in (self._order.run_dir, self._order.socket_dir):
            self._changes.watch(path, REMOVED)

    def _tell_ready(self) -> None:
        if self._recovery.crashes():
            self._clients.announce(self._crashes_line())
        self._clients.ready(self._ready_line())

    def _look_at_changes(self) -> None:
        """Find out what has changed in a directory that is watched."""
        self._changed_at = float("inf")
        if self._state != "ready":
            return
        if self._server.has_crashed():
            self._crashed(self._server.crash())
            self._tell_ready()
        if not self._sockets.are_complete():
            self._restore_sockets()

    def _restore_sockets(self) -> None:
        self._say("the sockets have been removed by another program: they are made again")
        self._changed_at = time.monotonic() + 0.5  # it may not have come to its end
        try:
            made = self._sockets.restore()
        except (OSError, NotPrivate) as error:
            self._say(f"that failed: {error}")
            return
        if made is not None:
            self._clients.listen_on(made)
        self._watch_sockets()
        if not self._sockets.is_server_reachable():
            self._replace("its socket was removed")

    def _replace(self, reason: str) -> None:
        """Restart a server that runs and cannot be used."""
        self._say(f"the server cannot be used: {reason}; it is restarted")
        self._restart_wanted = True
        self._clients.announce("down")
        self._stop("fast")

    def _crashed(self, words: str) -> None:
        """Count a crash; the monitor reads it in our log."""
        self._recovery.crashed()
        self._last_crash = words
        self._say(f"{logs.CRASH} {words}")

    def _crashes_line(self) -> str:
        return f"crashes {self._recovery.crashes()} {self._last_crash}"

    def _change_password(self) -> None:
        """Have the next ``ensure()`` set another password; until then nobody comes in over TCP."""
        self._say("another process was on the port: the password is changed")
        try:
            self._server.revoke_password()
            os.unlink(self._order.password_file)
        except FileNotFoundError:
            pass
        except (OSError, QueryError) as error:
            self._say(f"the password could not be changed: {error}")

    def _ready_line(self) -> str:
        return f"ready {self._server.port} {self._server.pid} {self._server.socket_dir}"

    def _exited(self, code: int | None) -> None:
        """React to the postmaster's end; ``code`` as in subprocess, None: not known."""
        was = self._state
        self._server.ended()
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
        self._say(f"the postmaster has ended with {code} while it was {was}")
        if was == "ready":
            by = "" if code is None else f" by signal {-code}" if code < 0 else f" with {code}"
            self._crashed(f"the postmaster was ended{by}")
        self._bring_back(was, killed=code is None or code < 0)

    def _bring_back(self, was: str, *, killed: bool) -> None:
        """Start again after a crash, or say why not."""
        if was == "starting":
            said = self._server.last_words(killed=killed)
            wait = self._recovery.wait_after(said)
            if wait is not None:
                if TAKEN_PORT in said:
                    self._ports.avoid(self._server.port)
                self._enter("crashed")
                self._next_look += wait
                return
            pause = self._recovery.after_start(killed=killed)
        else:
            said = self._server.log()
            pause = self._recovery.after_crash(time.monotonic() - self._state_since)
        if pause is None:
            self._fail(said + self._server.full_disk())
            return
        self._enter("crashed")
        self._next_look += pause
        self._clients.announce("down")

    def _stop(self, mode: str) -> None:
        if self._state == "stopping":
            if mode != "smart":
                self._state_since = time.monotonic()
                postmaster.signal_stop(self._server.pid, mode)
            return
        self._enter("stopping")
        if mode == "smart":
            self._state_since = float("inf")  # it waits for sessions, as long as they last
        if self._server.pid:
            if not self._restart_wanted:
                postmaster.collect_orphans()  # not before: it takes memory
            postmaster.signal_stop(self._server.pid, mode)
        else:
            self._go()

    def _fail(self, reason: str) -> None:
        """Give up, and tell every client that waits why."""
        self._say(f"gives up: {reason}")
        self._failure = "failed " + reason.encode("unicode_escape").decode("ascii")
        self._clients.failed(self._failure)
        if self._keep_alive.was_leased:
            self._stop("fast")
        else:
            self._enter("failed")  # until the starter has asked, and knows why

    def _go(self) -> None:
        """Leave nothing behind. The lock is released last, with the end of this process."""
        self._clients.close()
        self._wait_for_orphans()
        self._sockets.forget()
        with cheap.suppress(OSError):
            os.unlink(self._order.control)
        with cheap.suppress(OSError):
            os.rmdir(self._order.socket_dir)
            os.rmdir(self._order.run_dir)
            if self._order.shared_dir:
                os.rmdir(self._order.shared_dir)  # only if it is empty
        if self._order.ephemeral:
            postmaster.remove_segment(self._order.data_dir)
            with cheap.suppress(OSError):
                files.remove_tree(self._order.state_dir)
                os.rmdir(os.path.dirname(self._order.state_dir))  # only if it is empty
        self._clients.stopped()
        self._state = "gone"

    def _wait_for_orphans(self) -> None:
        """Give the log collector, which ends after the postmaster, a moment to do so."""
        with cheap.suppress(ChildProcessError):
            for _ in Deadline(_FOR_ORPHANS).attempts(0.001, 0.02):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    # --- leases ---

    def _released(self) -> None:
        if self._state == "ready" and not self._clients.is_leased():
            self._keep_alive.use()
            self._next_look = self._keep_alive.ends_at()

    def _lease(self, client: Client, pid: str, keep_alive: str) -> None:
        if self._state in {"stopping", "gone"} and not self._restart_wanted:
            client.send("stopping")
            return
        if self._state == "failed":
            client.send(self._failure)
            self._stop("fast")
            return
        client.pid = int(pid)
        self._keep_alive.lease(0.0 if keep_alive == "-" else float(keep_alive))
        client.leased = True
        if self._state == "ready" and self._recovery.crashes():
            client.send(self._crashes_line())
        client.send(self._ready_line() if self._state == "ready" else "starting")

    def _status(self, client: Client) -> None:
        fields = {
            "state": self._state,
            "pid": os.getpid(),
            "postmaster_pid": self._server.pid,
            "port": self._server.port,
            "socket_dir": self._server.socket_dir,
            "keep_alive": self._keep_alive.seconds,
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
            self._recovery.restarted()
            self._restart_wanted = True
            self._clients.announce("down")
            self._stop("fast")

    def _doubt(self, client: Client) -> None:
        """A client was not let in: find out whether that concerns us too."""
        if self._state == "ready":
            self._server.is_in_use()
            if self._server.broken:
                self._replace(self._server.broken)
            else:
                client.send(self._ready_line())

    def _look_whether_used(self) -> None:
        """Stop the server if it has been unused for long enough."""
        if self._server.is_in_use():
            self._keep_alive.use()
            self._next_look = time.monotonic() + 1.0
            if self._server.broken:
                self._replace(self._server.broken)
        elif time.monotonic() < self._keep_alive.ends_at():
            self._next_look = self._keep_alive.ends_at()
        else:
            self._say("the server is no longer in use")
            self._stop("immediate" if self._order.ephemeral else "fast")

    # --- what it says ---

    def _say(self, text: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        with cheap.suppress(OSError):  # 2 is the supervisor's log
            os.write(2, f"{now} {text}\n".encode(errors="replace"))
