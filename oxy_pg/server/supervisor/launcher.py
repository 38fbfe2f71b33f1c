"""Get a lease on a state directory's server, which is started if it is not running."""

from __future__ import annotations

import os

from oxy_pg import project
from oxy_pg.errors import (
    ConfigurationError,
    InitdbFailed,
    LockTimeout,
    OxyPgError,
    ServerError,
    StartFailed,
)
from oxy_pg.server.supervisor.lease import Lease, SupervisorGone, SupervisorStopped
from oxy_pg.system import cheap, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oxy_pg.installations import Installation
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.account import Account
    from oxy_pg.server.supervisor.order import Order
    from oxy_pg.system.deadline import Deadline

_KEEP_ALIVE = 5.0
_PATIENCE = 4.0  # seconds for the fast shutdown of a server that has lost its supervisor
_STARTS_WITHIN = 1.0  # seconds from the lock to the control socket, usually
_MOST_FAILURES = 5  # supervisors of our own that end before they have granted a lease


class Request:
    """
    What the starting process wants the server to be.

    ``meanwhile`` is called while PostgreSQL starts, for what takes its time, too.
    """

    __slots__ = ("ephemeral", "keep_alive", "meanwhile", "port", "settings")

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        keep_alive: float | None = None,
        *,
        port: int | None = None,
        ephemeral: bool = False,
    ) -> None:
        self.port = port  # None: that of last time, or another one
        self.settings = settings
        self.keep_alive = keep_alive
        self.ephemeral = ephemeral
        self.meanwhile: Callable[[], object] | None = None


class _Started:
    """A supervisor that is starting, and what its starter has still to do."""

    __slots__ = ("pid", "waiting_template")

    def __init__(self, pid: int, waiting_template: str) -> None:
        self.pid = pid  # of our child, which forks the supervisor and goes
        self.waiting_template = waiting_template  # for template.publish()


def acquire(state: StateDir, request: Request, deadline: Deadline) -> tuple[Lease, bool]:
    """
    Return a lease on a running server, and whether it was started for it.

    Safe from any number of threads and processes: one starts the server, the
    rest wait for it, never longer than the deadline. Raises ServerError and
    ConfigurationError.
    """
    project.refuse_embedded()
    state.check_private()
    failures = 0
    nudge = _Nudge(state, deadline)
    for _ in deadline.attempts(0.002, 0.05):
        if failures == _MOST_FAILURES:
            last_words = (files.read_text(state.supervisor_log) or "")[-2000:]
            raise StartFailed(state.data_dir, f"The supervisor ended at once:\n{last_words}")
        with cheap.suppress(SupervisorGone):
            return Lease(state, request.keep_alive, deadline), False
        started = _start_if_free(state, request, deadline)
        if started is None:
            nudge.when_it_is_time()
            continue
        try:
            _prepare_meanwhile(state, started)
            if request.meanwhile is not None:
                request.meanwhile()
            lease = Lease(state, request.keep_alive, deadline)
            prove_settings(state, request, lease, deadline)
            _keep_settings(state, request)
        except SupervisorStopped:
            failures = 0  # something stops what we start: that is for the deadline to end
        except SupervisorGone:
            failures += 1
        except StartFailed as error:
            raise blame_settings(state, request.settings, error) from None
        else:
            return lease, True
        finally:
            with cheap.suppress(ChildProcessError):  # an application that reaps all children
                os.waitpid(started.pid, 0)  # it has forked the supervisor, and gone
    from oxy_pg.server.supervisor import lock

    raise LockTimeout(state.lock, lock.holder(state), deadline.timeout)


def _prepare_meanwhile(state: StateDir, started: _Started) -> None:
    """Do what can be done while PostgreSQL starts."""
    from oxy_pg.server.cluster import directory

    try:
        directory.sync_if_new(state)
        if started.waiting_template:
            from oxy_pg.server.cluster import template

            template.publish(started.waiting_template)
    except OSError as error:
        raise StartFailed(state.data_dir, f"It cannot be synced to disk: {error}") from error
    if not os.path.exists(state.verifier):
        import hashlib  # noqa: F401 - the password will be made or checked with these
        import hmac  # noqa: F401


def _keep_settings(state: StateDir, request: Request) -> None:
    """Remember settings that a server has been seen to start with."""
    if request.settings is not None and not request.ephemeral:
        from oxy_pg.server.cluster import settings

        settings.save(state, request.settings)


def prove_settings(state: StateDir, request: Request, lease: Lease, deadline: Deadline) -> None:
    """
    Make sure that a session lives in a server that has new settings.

    Otherwise it is stopped, the earlier settings return, and ConfigurationError
    is raised with what PostgreSQL has said.
    """
    waited = os.path.exists(state.earlier_settings)
    if not waited and (request.ephemeral or not request.settings):
        return
    from oxy_pg.server.cluster import settings
    from oxy_pg.server.supervisor import shutdown

    if not waited and dict(request.settings or {}) == settings.load(state):
        return
    words = settings.refusal_of_sessions(lease.socket_dir, lease.port, deadline)
    if words is None:
        settings.forget_earlier(state)
        return
    lease.release()
    shutdown.stop(state, "fast", deadline)
    raise blame_settings(state, request.settings, StartFailed(state.data_dir, words))


def blame_settings(
    state: StateDir, given: Mapping[str, str] | None, error: StartFailed
) -> OxyPgError:
    """Return what to raise when a start has failed that was the first with new settings."""
    from oxy_pg.server.cluster import settings

    known = settings.load(state)
    if settings.return_to_earlier(state):
        return ConfigurationError(
            f"PostgreSQL does not work with the settings {known!r}, of which some were waiting for "
            f"a restart. It said:\n{error.log_tail}\nThe earlier settings are in force again, at "
            "the next start; your data is untouched."
        )
    if not given or dict(given) == known:
        return error
    return ConfigurationError(
        f"PostgreSQL does not work with the settings {dict(given)!r}. It said:\n"
        f"{error.log_tail}\nThey were not kept. Correct them; your data is untouched."
    )


class _Nudge:
    """Tells a supervisor that is there, and cannot be reached, to look at its sockets."""

    def __init__(self, state: StateDir, deadline: Deadline) -> None:
        self._state = state
        self._deadline = deadline
        self._due = deadline.remaining() - _STARTS_WITHIN

    def when_it_is_time(self) -> None:
        """Do it where the supervisor is not just starting."""
        if self._deadline.remaining() > self._due:
            return
        from oxy_pg.server.supervisor import lock

        self._due -= _STARTS_WITHIN
        lock.nudge(self._state)


def _start_if_free(state: StateDir, request: Request, deadline: Deadline) -> _Started | None:
    """Start the supervisor unless another process is about to."""
    from oxy_pg.server.cluster import directory
    from oxy_pg.server.supervisor import lock
    from oxy_pg.system import process

    try:
        process.python()
    except process.NoPython as error:
        raise ConfigurationError(str(error)) from None
    directory.make_state_dir(state)
    try:
        with lock.attempt(state) as descriptor:
            if descriptor is None:
                return None
            return _start(state, request, descriptor, deadline)
    except OSError as error:
        if isinstance(error, ServerError):  # a LockTimeout is a TimeoutError, which is an OSError
            raise
        raise StartFailed(state.data_dir, str(error)) from error


def _start(state: StateDir, request: Request, lock_fd: int, deadline: Deadline) -> _Started:
    """Prepare the cluster and hand over to a supervisor; we hold the lock."""
    from oxy_pg.server.cluster import account, directory
    from oxy_pg.server.supervisor import spawn

    durable = not request.ephemeral
    adopt = 0
    waiting_template = ""
    user = account.account_for(state)
    if not directory.exists(state):
        directory.settle(state)
    if is_there := directory.exists(state):
        # Before a process is spawned in vain: who asks again and again would hold the lock all the
        # time, and an upgrade would not get it.
        directory.check(state, user)
    with spawn.daemon(state, lock_fd) as supervisor:
        # While its interpreter starts.
        if durable:
            directory.record(state)
        from oxy_pg.server.cluster import binaries, databases, settings

        programs = binaries.reachable(binaries.find(deadline), user)
        if is_there:
            adopt = _survivor(state, deadline)
        # While no other process can make one; and before a new cluster is written, because
        # to sync a file is to wait for all that was written before it.
        databases.password(state)
        if not is_there:
            try:
                waiting_template = directory.create(
                    state, programs, user, deadline, durable=durable
                )
            except OSError as error:
                raise InitdbFailed(state.data_dir, str(error)) from error
        directory.make_run_dir(state, user)
        if not adopt:
            wanted = settings.for_start(state, request.settings, programs, user, deadline)
            directory.configure(state, user, wanted, durable=durable)
        supervisor.go(_order(state, request, programs, user, adopt))
    return _Started(supervisor.pid, waiting_template)


def _survivor(state: StateDir, deadline: Deadline) -> int:
    """Return a postmaster that has lost its supervisor, or 0; wait for one that is going."""
    from oxy_pg.server.cluster import postmaster

    told_at = 0.0
    for remaining in deadline.attempts(0.005, 0.05):
        pid = postmaster.running(state.data_dir)
        found = postmaster.read_pid_file(state.data_dir)
        if pid and postmaster.dies_with_supervisor(pid, state.socket_dir):
            # The kernel has told it to go, or is about to. It may look ready all the same.
            told_at = told_at or remaining
            # PostgreSQL 16 hangs in a fast shutdown that comes while it recovers from a
            # backend's crash. An immediate one loses nothing: the next start recovers.
            patient = told_at - remaining < _PATIENCE
            postmaster.signal_stop(pid, "fast" if patient else "immediate")
            continue
        if not pid or found is None or found.status != "stopping":
            return pid
    return 0  # the supervisor waits on, longer than our caller


def _order(
    state: StateDir, request: Request, programs: Installation, user: Account, adopt: int
) -> Order:
    from oxy_pg import paths
    from oxy_pg.server.supervisor import ports
    from oxy_pg.server.supervisor.order import Order

    cluster = state.cluster
    above = os.path.dirname(state.run_dir)
    return Order(
        state_dir=state.root,
        data_dir=cluster.path,
        log_dir=cluster.log_dir,
        run_dir=state.run_dir,
        shared_dir=above if paths.is_private_temp_dir(above) else "",
        socket_dir=state.socket_dir,
        control=state.control,
        socket_links=state.socket_links,
        port_file=state.port,
        password_file=state.password,
        postgres=programs.postgres,
        ports=ports.candidates(state) if request.port is None else [ports.free(request.port)],
        any_port=request.port is None,
        uid=user.uid,
        gid=user.gid,
        keep_alive=_KEEP_ALIVE if request.keep_alive is None else float(request.keep_alive),
        ephemeral=request.ephemeral,
        adopt=adopt,
    )
