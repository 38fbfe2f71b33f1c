"""
A client's hold on a running server.

A lease is one open connection to the supervisor, so it ends with the process
that holds it, however that process ends. The supervisor's requests and
answers are described in ``loop.py``.
"""

from __future__ import annotations

import os
import select

from oxy_pg.errors import LockTimeout, ServerError, StartFailed, StartTimeout
from oxy_pg.system import cheap
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.paths import StateDir

_NOTICED_WITHIN = 2.0  # seconds for the supervisor to speak of a postmaster that has ended


# Of which crashes this process has said something, for each state directory.
_warned: dict[str, tuple[int, str]] = {}


class SupervisorGone(Exception):
    """No supervisor answers at the control socket, or it is about to end."""


class SupervisorStopped(SupervisorGone):
    """It has answered, and was told to go: no fault of its own."""


class Line:
    """A connection to the supervisor that carries lines of text both ways."""

    __slots__ = ("_buffer", "_socket", "_state")

    def __init__(self, state: StateDir, deadline: Deadline) -> None:
        """Connect; raises SupervisorGone when no process listens, LockTimeout when none answers."""
        self._state = state
        self._buffer = b""
        self._socket = cheap.unix_socket()
        try:
            self._socket.settimeout(deadline.remaining() or 0.001)
            self._socket.connect(state.control)
        except TimeoutError:
            self.close()
            raise self._no_answer(deadline) from None
        except OSError as error:
            self.close()
            raise SupervisorGone from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __del__(self) -> None:
        # A handle that is forgotten is released: that is not a resource to be warned of.
        if hasattr(self, "_socket"):
            self._socket.close()

    def keep_through_exec(self) -> None:
        """Do not hang up when this process executes another program."""
        os.set_inheritable(self._socket.fileno(), True)

    def send(self, line: str) -> None:
        """Send a request; raises SupervisorGone."""
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError as error:
            raise SupervisorGone from error

    def receive(self, deadline: Deadline) -> str:
        """Wait for one line; raises SupervisorGone, TimeoutError, or what the supervisor says."""
        while b"\n" not in self._buffer:
            self._socket.settimeout(deadline.remaining() or 0.001)
            try:
                received = self._socket.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise SupervisorGone from error
            if not received:
                raise SupervisorGone
            self._buffer += received
        return self._next()

    def poll(self) -> str | None:
        """Return a line that has come in, or None; raises SupervisorGone. Never waits."""
        if b"\n" in self._buffer:
            return self._next()
        self._socket.settimeout(0)
        try:
            received = self._socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as error:
            raise SupervisorGone from error
        if not received:
            raise SupervisorGone
        self._buffer += received
        return self._next() if b"\n" in self._buffer else None

    def _next(self) -> str:
        line, self._buffer = self._buffer.split(b"\n", 1)
        word, _, rest = line.decode(errors="replace").partition(" ")
        if word == "stopping":
            self._wait_for_the_end()
            raise SupervisorStopped
        if word == "failed":
            reason = rest.encode("latin-1", "replace").decode("unicode_escape")
            raise StartFailed(self._state.data_dir, reason)
        return f"{word} {rest}" if rest else word

    def _wait_for_the_end(self) -> None:
        """The supervisor hangs up when it goes; the caller's deadline was set before."""
        try:
            while self._socket.recv(4096):
                pass
        except OSError:
            pass

    def _no_answer(self, deadline: Deadline) -> LockTimeout:
        from oxy_pg.server.supervisor.lock import holder

        return LockTimeout(self._state.lock, holder(self._state), deadline.timeout)


class Lease:
    """
    The server stays up as long as one of these is held.

    ``port``, ``postmaster_pid`` and ``socket_dir`` are those of the server that
    was last known to be ready; ``check()`` brings them up to date.
    """

    __slots__ = (
        "_end",
        "_line",
        "_pidfd",
        "_state",
        "owner_pid",
        "port",
        "postmaster_pid",
        "socket_dir",
    )

    def __init__(self, state: StateDir, keep_alive: float | None, deadline: Deadline) -> None:
        """
        Take a lease and wait until the server is ready.

        Raises SupervisorGone when no process can grant one, StartFailed
        when the server does not start, StartTimeout when it is still starting
        at the deadline, and LockTimeout when the supervisor does not answer.
        """
        self._state = state
        self.owner_pid = os.getpid()
        self.port = 0
        self.postmaster_pid = 0
        self.socket_dir = ""
        self._pidfd = -1
        self._end: select.poll | None = None
        self._line = Line(state, deadline)
        try:
            wanted = "-" if keep_alive is None else repr(float(keep_alive))
            self._line.send(f"lease {self.owner_pid} {wanted}")
            self._wait_until_ready(deadline)
        except BaseException:
            self.release()
            raise

    def _wait_until_ready(self, deadline: Deadline, *, answered: bool = False) -> None:
        while True:
            try:
                line = self._line.receive(deadline)
            except TimeoutError:
                raise self._timeout(deadline, answered=answered) from None
            except SupervisorGone as error:
                if not answered:
                    raise
                raise SupervisorStopped from error
            answered = True
            if self._is_ready(line):
                return

    def _is_ready(self, line: str) -> bool:
        """Take over what the supervisor says of a ready server; False: it said something else."""
        word, *fields = line.split(" ", 3)
        if word == "crashes":
            self._warn(int(fields[0]), " ".join(fields[1:]))
        if word != "ready":
            return False
        self.port, self.postmaster_pid = int(fields[0]), int(fields[1])
        self.socket_dir = fields[2]
        self._watch()
        return True

    def _warn(self, crashes: int, last: str) -> None:
        if _warned.get(self._state.root) == (crashes, last):
            return
        _warned[self._state.root] = (crashes, last)
        import logging

        from oxy_pg.system.remedies import remedy

        times = "once" if crashes == 1 else f"{crashes} times"
        logging.getLogger("oxy_pg").warning(
            "the PostgreSQL in %s has crashed %s in the last hour; the last time: %s. %s",
            self._state.root,
            times,
            last,
            remedy(last) or "`oxy-pg logs` may say why.",
        )

    def doubt(self, deadline: Deadline) -> None:
        """
        Have the supervisor look whether the server can be used, after it has let us in no more.

        Returns when it is ready, which may be after a restart. Raises what
        ``check()`` raises.
        """
        self._line.send("doubt")
        self._wait_until_ready(deadline, answered=True)

    def _watch(self) -> None:
        """Learn of the postmaster's end from the kernel too (pidfd_open(2), Linux)."""
        self._unwatch()
        if hasattr(os, "pidfd_open"):
            with cheap.suppress(OSError):
                self._pidfd = os.pidfd_open(self.postmaster_pid)
                self._end = select.poll()
                self._end.register(self._pidfd, select.POLLIN)

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd, self._end = -1, None

    def _has_ended(self) -> bool:
        return self._end is not None and bool(self._end.poll(0))

    def _timeout(self, deadline: Deadline, *, answered: bool) -> ServerError:
        from oxy_pg.server.cluster import logs
        from oxy_pg.server.supervisor import lock

        if not answered:
            return LockTimeout(self._state.lock, lock.holder(self._state), deadline.timeout)
        last_words = "\n".join(logs.tail(self._state.log_dir, 5))
        return StartTimeout(self._state.data_dir, deadline.timeout, last_words)

    def check(self, deadline: Deadline) -> None:
        """
        Return when the server is ready; at once if it never ceased to be.

        Costs a few system calls unless something has happened. Waits while a
        crashed server is brought back. Raises what the constructor raises.
        """
        while (line := self._line.poll()) is not None:
            if not self._is_ready(line):
                self._wait_until_ready(deadline, answered=True)
        if self._has_ended():
            self._wait_for_word(deadline)

    def _wait_for_word(self, deadline: Deadline) -> None:
        """The postmaster has ended, and the supervisor is about to learn of it, and to say so."""
        self._unwatch()
        try:
            line = self._line.receive(Deadline(min(deadline.remaining(), _NOTICED_WITHIN)))
        except TimeoutError:
            return  # the number is another process's, outside of the server's pid namespace
        if not self._is_ready(line):
            self._wait_until_ready(deadline, answered=True)

    def keep_through_exec(self) -> None:
        """Leave the connection open in a program that takes this process's place."""
        self._line.keep_through_exec()

    def release(self) -> None:
        """Give the lease back."""
        self._unwatch()
        self._line.close()

    def __del__(self) -> None:
        if hasattr(self, "_pidfd"):
            self._unwatch()
