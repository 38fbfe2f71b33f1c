"""What a supervisor was started to do, and its first act: to start the postmaster."""

from __future__ import annotations

import os

from oxy_pg.server import logs, postmaster


class Plan:
    """What the supervisor was started to do; decided by whoever started it."""

    __slots__ = (
        "adopt",
        "control",
        "data_dir",
        "ephemeral",
        "gid",
        "keep_alive",
        "port_file",
        "ports",
        "postgres",
        "run_dir",
        "socket_dir",
        "state_dir",
        "uid",
    )

    def __init__(
        self,
        state_dir: str,
        data_dir: str,
        run_dir: str,
        port_file: str,
        postgres: str,
        ports: str,
        uid: str,
        gid: str,
        keep_alive: str,
        ephemeral: str,
        adopt: str,
    ) -> None:
        self.state_dir = state_dir
        self.data_dir = data_dir
        self.run_dir = run_dir
        self.socket_dir = f"{run_dir}/s"
        self.control = f"{run_dir}/control"
        self.port_file = port_file
        self.postgres = postgres
        self.ports = [int(port) for port in ports.split(",")]
        self.uid = int(uid)
        self.gid = int(gid)
        self.keep_alive = float(keep_alive)
        self.ephemeral = ephemeral == "yes"
        self.adopt = int(adopt)  # the pid of a postmaster that runs already, or 0

    @classmethod
    def from_argv(cls, argv: list[str]) -> Plan:
        """Read the plan from ``name=value`` arguments."""
        return cls(**dict(argument.split("=", 1) for argument in argv))


class Started:
    """A postmaster that was started just now."""

    __slots__ = ("logged_before", "pid", "port")

    def __init__(self, pid: int, port: int, logged_before: dict[str, int]) -> None:
        self.pid = pid
        self.port = port
        self.logged_before = logged_before  # for logs.since()


def start_postmaster(plan: Plan, port: int) -> Started:
    """Start PostgreSQL on ``port``; whether it can bind it, it says itself."""
    argv = postmaster.command(plan.postgres, plan.data_dir, plan.socket_dir, port)
    postmaster.running(plan.data_dir)  # removes a pid file that would be in the way
    # A postmaster that was killed leaves its socket, with a lock that names its pid. We know
    # better than the pid that nobody serves here: it may be alive, in somebody else.
    for name in os.listdir(plan.socket_dir):
        os.unlink(f"{plan.socket_dir}/{name}")
    log_dir = f"{plan.data_dir}/log"
    logs.prune(log_dir)
    logged_before = logs.sizes(log_dir)
    pid = postmaster.spawn(argv, f"{log_dir}/{logs.STARTUP_LOG}", plan.uid, plan.gid)
    return Started(pid, port, logged_before)
