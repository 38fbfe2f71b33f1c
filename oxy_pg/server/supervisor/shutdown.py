"""Stop, restart or remove the server of a state directory, for all its users."""

from __future__ import annotations

import contextlib
import os
import signal

from oxy_pg.errors import ConfigurationError, LockTimeout
from oxy_pg.server.cluster import directory, postmaster
from oxy_pg.server.supervisor import lock
from oxy_pg.server.supervisor.lease import Line, SupervisorGone
from oxy_pg.system import process
from oxy_pg.system.deadline import Deadline, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.paths import StateDir

_ANSWERS_WITHIN = 5.0  # seconds for a supervisor to say something
_PATIENCE = 20.0  # seconds for a fast shutdown, until it becomes an immediate one


def stop(state: StateDir, mode: str, deadline: Deadline) -> None:
    """Stop the server and return when it has gone; LockTimeout when it does not go."""
    if mode not in postmaster.STOP_SIGNALS:
        known = ", ".join(postmaster.STOP_SIGNALS)
        raise ConfigurationError(f"{mode!r} is not a shutdown mode; there are: {known}.")
    directory.check_access(state)
    if not os.path.isdir(state.root):
        return
    state.check_private()
    unreachable = _Unreachable(state, mode)
    for _ in deadline.attempts(0.01, 0.1):
        try:
            _ask(state, f"stop {mode}", "stopped", deadline)
        except SupervisorGone:
            if _stop_without_supervisor(state, mode, deadline):
                return
            unreachable.tried()
        except _Silent:
            unreachable.end()
        else:
            _collect(state, deadline)
            return
    raise LockTimeout(state.lock, lock.holder(state), deadline.timeout)


def _collect(state: StateDir, deadline: Deadline) -> None:
    """Leave no zombie where we are the first process of a container: who takes the lock does it."""
    if os.getpid() == 1 and os.path.isdir(state.root):
        pid = lock.named(state)
        for _ in Deadline(min(1.0, deadline.remaining())).attempts(0.01, 0.1):
            if not process.is_alive(pid):
                break
        with lock.attempt(state):
            pass


def restart(state: StateDir, deadline: Deadline) -> None:
    """Restart a running server; one that does not run is left alone."""
    state.check_private()
    try:
        _ask(state, "restart", "ready", deadline)
    except SupervisorGone:
        return


def destroy(state: StateDir, deadline: Deadline) -> None:
    """Stop the server and remove its cluster; ForeignDataDirectory if it is not ours."""
    directory.check_access(state)
    if not os.path.isdir(state.root):
        return
    state.check_private()
    if directory.exists(state):
        directory.check_mark(state)
    elif state.strangers():
        return
    for _ in deadline.attempts(0.01, 0.1):
        stop(state, "fast", deadline)
        with lock.attempt(state) as descriptor:
            if descriptor is not None:
                directory.destroy(state)
                return
            if not os.path.isdir(state.root):  # another process was faster
                return
    raise LockTimeout(state.lock, lock.holder(state), deadline.timeout)


def _ask(state: StateDir, request: str, answer: str, deadline: Deadline) -> None:
    """Send a request and wait for its answer; for ``stopped``, until the supervisor has gone."""
    line = Line(state, deadline)
    try:
        line.send("status")
        _hear(line, deadline)
        line.send(request)
        while not line.receive(deadline).startswith(answer):
            pass
        if answer == "stopped":
            with contextlib.suppress(SupervisorGone):
                # The kernel closes the lock before it closes this connection.
                line.receive(deadline)
    except TimeoutError:
        raise LockTimeout(state.lock, lock.holder(state), deadline.timeout) from None
    finally:
        line.close()


class _Silent(Exception):
    """A supervisor is there and does not answer, not even what it knows at once."""


def _hear(line: Line, deadline: Deadline) -> None:
    try:
        line.receive(Deadline(min(deadline.remaining(), _ANSWERS_WITHIN)))
    except TimeoutError:
        raise _Silent from None


class _Unreachable:
    """A supervisor that holds the lock and cannot be asked: by its pid it is told more and more."""

    def __init__(self, state: StateDir, mode: str) -> None:
        self._state = state
        self._mode = mode
        self._since = now()
        self._step = 0

    def tried(self) -> None:
        """It could not be reached once more; a starting one takes a moment."""
        if now() - self._since > (1.0, 2.0, 30.0, _ANSWERS_WITHIN)[min(self._step, 3)]:
            self.end()

    def end(self) -> None:
        """Take the next step; without its supervisor, PostgreSQL shuts down (Linux)."""
        pid = lock.supervisor(self._state)
        if not pid:
            return
        self._since = now()
        self._step += 1
        if self._step == 1:
            lock.nudge(self._state)
            return
        with contextlib.suppress(ProcessLookupError):
            if self._step == 2:
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)
                found = postmaster.read_pid_file(self._state.data_dir)
                if self._mode == "immediate" and found is not None:
                    self._signal_postmaster(found.pid)
                return
            os.kill(pid, signal.SIGKILL)

    def _signal_postmaster(self, pid: int) -> None:
        if pid in postmaster.serving(self._state.data_dir):
            postmaster.signal_stop(pid, self._mode)


def _stop_without_supervisor(state: StateDir, mode: str, deadline: Deadline) -> bool:
    """Stop a postmaster without a supervisor; False when another process is starting one."""
    if state.strangers():
        return True  # not even a lock is put there
    # The supervisor of a temporary server may just have removed the directory.
    return _stop_holding_the_lock(state, mode, deadline) or not os.path.isdir(state.root)


def _stop_holding_the_lock(state: StateDir, mode: str, deadline: Deadline) -> bool:
    with lock.attempt(state) as descriptor:
        if descriptor is None:
            return False
        pid = postmaster.running(state.data_dir)
        if not pid:
            return True
        postmaster.signal_stop(pid, mode)
        impatient = now() + _PATIENCE
        for _ in deadline.attempts(0.005, 0.1):
            if not process.is_alive(pid):
                return True
            if mode == "fast" and now() > impatient:
                mode = "immediate"
                postmaster.signal_stop(pid, mode)
    return False
