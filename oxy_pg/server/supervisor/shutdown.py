"""Stop, restart or remove the server of a state directory, for all its users."""

from __future__ import annotations

import contextlib
import os

from oxy_pg.errors import ConfigurationError, LockTimeout
from oxy_pg.server.cluster import directory, postmaster
from oxy_pg.server.supervisor import lock
from oxy_pg.server.supervisor.lease import Line, SupervisorGone
from oxy_pg.system import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.paths import StateDir
    from oxy_pg.system.deadline import Deadline


def stop(state: StateDir, mode: str, deadline: Deadline) -> None:
    """Stop the server and return when it has gone; LockTimeout when it does not go."""
    if mode not in postmaster.STOP_SIGNALS:
        known = ", ".join(postmaster.STOP_SIGNALS)
        raise ConfigurationError(f"{mode!r} is not a shutdown mode; there are: {known}.")
    directory.check_access(state)
    if not os.path.isdir(state.root):
        return
    state.check_private()
    for _ in deadline.attempts(0.01, 0.1):
        try:
            _ask(state, f"stop {mode}", "stopped", deadline)
        except SupervisorGone:
            if _stop_without_supervisor(state, mode, deadline):
                return
        else:
            return
    raise LockTimeout(state.lock, lock.holder(state), deadline.timeout)


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
        for _ in deadline.attempts(0.005, 0.1):
            if not process.is_alive(pid):
                return True
    return False
