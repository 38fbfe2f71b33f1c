"""The commands that control the server: start stop restart logs."""

from __future__ import annotations

import math
import time
from typing import Literal, NoReturn

import click

from oxy_pg import project
from oxy_pg.cli.display.terminal import echo, note, spinner
from oxy_pg.cli.options import (
    need_embedded,
    state_dir,
    state_dir_option,
    timeout_option,
)
from oxy_pg.cli.programs import started
from oxy_pg.cli.quick import ensured
from oxy_pg.paths import StateDir
from oxy_pg.server.server import Server


def _server(keep_alive: float | None = None) -> Server:
    return Server(state_dir(), keep_alive=keep_alive)


# --- start and stop ---


@click.command()
@timeout_option
@state_dir_option
def start(timeout: float) -> None:
    """Start the server and keep it until `oxy-pg stop`."""
    need_embedded("start")
    server = started(math.inf, timeout)
    ensured(server, None, timeout)
    found = server.status()
    note(
        f"PostgreSQL {found.server_version} is running on {found.host}:{found.port}, data in "
        f"{found.data_dir}. It stays up until `oxy-pg stop`; `oxy-pg url` prints its URL."
    )


@click.command()
@click.option(
    "--mode",
    type=click.Choice(["fast", "smart", "immediate"]),
    default="fast",
    show_default=True,
    help="As with pg_ctl: end all sessions, wait for them, or stop without a checkpoint.",
)
@state_dir_option
def stop(mode: Literal["fast", "smart", "immediate"]) -> None:
    """Stop the server, for all processes that use it."""
    from oxy_pg.server.cluster import postmaster
    from oxy_pg.server.supervisor import lock

    need_embedded("stop")
    server = _server()
    # Not its status: the supervisor may have gone, or the data directory.
    state = StateDir(server.state_dir)
    was_running = lock.is_held(state) or bool(postmaster.serving(state.data_dir))
    with spinner("Stopping PostgreSQL …"):
        server.stop(mode)
    note("PostgreSQL has stopped." if was_running else "PostgreSQL was not running.")


@click.command()
@timeout_option
@state_dir_option
def restart(timeout: float) -> None:
    """Restart the server, which applies all its settings."""
    need_embedded("restart")
    project.refuse_embedded()  # one that does not run is started
    server = _server(math.inf)
    with spinner("Restarting PostgreSQL …"):
        server.restart(timeout)
    note(f"PostgreSQL is running on 127.0.0.1:{server.status().port}.")


@click.command()
@click.option("--reset", is_flag=True, help="Set a new one; earlier URLs are no longer valid.")
@timeout_option
@state_dir_option
def password(reset: bool, timeout: float) -> None:  # noqa: FBT001
    """Print the password of the role oxy, or set a new one."""
    need_embedded("password")
    server = _server(math.inf)
    if reset:
        ended = server.reset_password(timeout)
        sessions = "1 session" if ended == 1 else f"{ended} sessions"
        note(
            f"The password was changed, and {sessions} with the old one ended. `oxy-pg url` prints "
            "the new URL."
        )
        return
    from oxy_pg import connection

    server.start(timeout)
    echo(connection.libpq_variables(server.url(), {})["PGPASSWORD"])


# --- logs ---


@click.command()
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True)
@click.option(
    "-f", "--follow", is_flag=True, help="Print new lines as they are written, until Ctrl-C."
)
@state_dir_option
def logs(lines: int, follow: bool) -> None:  # noqa: FBT001
    """Print the server's last log lines."""
    need_embedded("logs")
    from oxy_pg import paths
    from oxy_pg.server.cluster import logs as files

    log_dir = paths.StateDir(paths.state_dir(state_dir())).log_dir
    found = files.names(log_dir)
    if not found and not follow:
        note(f"There are no logs in {log_dir} yet.")
        return
    for line in files.tail(log_dir, lines):
        echo(line)
    if follow:
        _follow(log_dir)


def _follow(log_dir: str) -> NoReturn:
    from oxy_pg.server.cluster import logs as files

    at = files.sizes(log_dir)
    while True:
        time.sleep(0.2)
        for path in files.names(log_dir):
            try:
                with open(path, "rb") as file:
                    file.seek(at.get(path, 0))
                    echo(file.read().decode(errors="replace"), nl=False)
                    at[path] = file.tell()
            except FileNotFoundError:  # removed to keep the logs within bounds
                continue


COMMANDS = (start, stop, restart, password, logs)
