"""What a supervisor was started to do, and its first act: to start the postmaster."""

from __future__ import annotations

import marshal

from oxy_pg.server.cluster import logs, postmaster


class Order:
    """
    What the supervisor was started to do; decided by its starter.

    It names every path: to import ``paths`` before PostgreSQL has been started
    would delay each start.
    """

    def __init__(
        self,
        *,
        state_dir: str,
        data_dir: str,
        log_dir: str,
        run_dir: str,
        shared_dir: str,
        socket_dir: str,
        control: str,
        socket_links: list[str],
        port_file: str,
        password_file: str,
        postgres: str,
        ports: list[int],
        any_port: bool,
        uid: int,
        gid: int,
        keep_alive: float,
        ephemeral: bool,
        adopt: int,
    ) -> None:
        self.state_dir = state_dir
        self.data_dir = data_dir
        self.log_dir = log_dir
        self.run_dir = run_dir
        self.shared_dir = shared_dir  # that it is in with those of other servers, or ""
        self.socket_dir = socket_dir
        self.control = control
        self.socket_links = socket_links
        self.port_file = port_file
        self.password_file = password_file
        self.postgres = postgres
        self.ports = ports
        self.any_port = any_port  # False: no other one than the first
        self.uid = uid
        self.gid = gid
        self.keep_alive = keep_alive
        self.ephemeral = ephemeral
        self.adopt = adopt  # the pid of a postmaster that runs already, or 0

    def encode(self) -> bytes:
        """Return it as bytes, for a process of this Python or a newer one."""
        return marshal.dumps(vars(self), 4)

    @classmethod
    def decode(cls, data: bytes) -> Order | None:
        """Read what ``encode()`` has returned; None if it is not there, or not all of it."""
        try:
            return cls(**marshal.loads(data))  # noqa: S302 - from our own starter
        except (EOFError, ValueError, TypeError):
            return None


def at_work() -> list[str]:
    """Return the state directories of all supervisors that run and that we may look at."""
    import psutil

    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if any("become_supervisor()" in word for word in words):
            found += [word.partition("=")[2] for word in words if word.startswith("state_dir=")]
    return found


class Started:
    """A postmaster that was started just now."""

    __slots__ = ("logged_before", "pid", "port")

    def __init__(self, pid: int, port: int, logged_before: dict[str, int]) -> None:
        self.pid = pid
        self.port = port
        self.logged_before = logged_before  # for logs.since()


def start_postmaster(order: Order, port: int) -> Started:
    """Start PostgreSQL on ``port``; whether it can bind it, it says itself."""
    argv = postmaster.command(order.postgres, order.data_dir, order.socket_dir, port)
    postmaster.running(order.data_dir)  # removes a pid file that would be in the way
    # A postmaster that was killed leaves its socket, with a lock that names its pid. We know
    # better than the pid that no server is here: the number may be another process's by now.
    postmaster.remove_sockets(order.socket_dir)
    logs.prune(order.log_dir)
    logged_before = logs.sizes(order.log_dir)
    pid = postmaster.spawn(argv, logs.startup_log(order.log_dir), order.uid, order.gid)
    return Started(pid, port, logged_before)
