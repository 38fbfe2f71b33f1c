"""The commands that control the server: url start stop restart logs psql run reset."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from typing import NoReturn

import click

import oxy_pg
from oxy_pg import _defaults, _endpoint, project
from oxy_pg.cli.display import figures
from oxy_pg.cli.display.terminal import echo, note, spinner
from oxy_pg.cli.options import (
    database_option,
    embedded_server,
    external_url,
    need_embedded,
    state_dir,
    state_dir_option,
    timeout_option,
)
from oxy_pg.errors import ConfigurationError
from oxy_pg.server.server import Server


def _server(keep_alive: float | None = None) -> Server:
    return Server(state_dir(), keep_alive=keep_alive)


def _started(keep_alive: float | None, timeout: float) -> Server:
    server = embedded_server(keep_alive)
    with spinner("Starting PostgreSQL …"):
        server.start(timeout)
    return server


def _ensured(server: Server, database: str | None, timeout: float) -> str:
    """Return the URL of a database, which is created with the project's extensions."""
    ours = project.of_working_directory()
    return server.ensure_database(
        _defaults.database(database, ours),
        extensions=_defaults.extensions((), ours),
        timeout=timeout,
    )


# --- start and stop ---


@click.command()
@database_option
@click.option("--socket", is_flag=True, help="Print the URL for the private Unix socket.")
@timeout_option
@state_dir_option
def url(database: str, socket: bool, timeout: float) -> None:  # noqa: FBT001
    """Print the server's URL, for `export` or a database editor."""
    external = external_url()
    if external is not None:
        echo(oxy_pg.ensure(timeout=timeout))
        return
    server = _started(math.inf, timeout)
    address = _ensured(server, database, timeout)
    echo(server.socket_url(database) if socket else address)
    note("The server stays up until `oxy-pg stop`.")


@click.command()
@timeout_option
@state_dir_option
def start(timeout: float) -> None:
    """Start the server and keep it until `oxy-pg stop`."""
    need_embedded("start")
    server = _started(math.inf, timeout)
    _ensured(server, None, timeout)
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
def stop(mode: str) -> None:
    """Stop the server, for all processes that use it."""
    need_embedded("stop")
    server = _server()
    was = server.status().state
    with spinner("Stopping PostgreSQL …"):
        server.stop(mode)
    note("PostgreSQL was not running." if was in _NOT_RUNNING else "PostgreSQL has stopped.")


_NOT_RUNNING = {"stopped", "uninitialized"}


@click.command()
@timeout_option
@state_dir_option
def restart(timeout: float) -> None:
    """Restart the server, which applies all its settings."""
    need_embedded("restart")
    server = _server(math.inf)
    with spinner("Restarting PostgreSQL …"):
        server.restart(timeout)
    note(f"PostgreSQL is running on 127.0.0.1:{server.status().port}.")


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


# --- other programs ---


@click.command(context_settings={"ignore_unknown_options": True})
@database_option
@click.option(
    "--superuser", is_flag=True, help="Connect as the superuser, through the private socket."
)
@timeout_option
@state_dir_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(database: str, superuser: bool, timeout: float, arguments: tuple[str, ...]) -> None:  # noqa: FBT001
    """Open psql; what follows `--` goes to psql."""
    from oxy_pg.server.cluster import binaries

    # The bundled psql has no TLS, which an external server may require.
    program = (external_url() and shutil.which("psql")) or binaries.client("psql")
    if external_url() is not None:
        environment = _environment(oxy_pg.ensure(timeout=timeout))
    else:
        server = _started(None, timeout)
        address = _ensured(server, database, timeout)
        if superuser:
            address = server.superuser_url(database)
            _warn_of_superuser(database)
        environment = _environment(address)
        server.keep_through_exec()
    _exec(program, [program, *arguments], environment)


def _warn_of_superuser(database: str) -> None:
    """Say what a person at a terminal should know; a script has read it in the documentation."""
    if sys.stderr.isatty():
        note(
            f"You are the superuser. What the application has put into {database} (functions, "
            "operators, views, triggers) runs with these rights if you use it, up to commands of "
            "the operating system. search_path is pg_catalog, pg_temp: write schema.table."
        )


@click.command(context_settings={"ignore_unknown_options": True})
@database_option
@timeout_option
@state_dir_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(database: str, timeout: float, command: tuple[str, ...]) -> None:
    """
    Run a dev server with a database: `oxy-pg run -- CMD…`.

    The command gets the server's URL in OXY_DATABASE_URL and DATABASE_URL, and
    its parts in PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE. It replaces
    this process, so signals and the exit code are its own. The server stays up
    as long as it runs.
    """
    program = shutil.which(command[0])
    if program is None:
        raise ConfigurationError(
            f"The command {command[0]!r} was not found. Check its name and PATH."
        )
    if external_url() is not None:
        address = oxy_pg.ensure(timeout=timeout)
    else:
        server = _started(None, timeout)
        address = _ensured(server, database, timeout)
        server.keep_through_exec()
    environment = _environment(address)
    environment |= {"OXY_DATABASE_URL": address, "DATABASE_URL": address}
    if external_url() is None:
        environment[_endpoint.RUN_STATE_DIR] = server.state_dir
    _exec(program, list(command), environment)


def _environment(address: str) -> dict[str, str]:
    """Return the environment with libpq's variables for a URL."""
    from oxy_pg import connection

    return connection.libpq_variables(address, os.environ)


def _exec(program: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, arguments, environment)  # noqa: S606
    except OSError as error:
        raise ConfigurationError(f"{program} cannot be run: {error.strerror}.") from error


# --- remove ---


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_dir_option
def reset(yes: bool) -> None:  # noqa: FBT001
    """Delete the data directory with all its databases."""
    need_embedded("reset")
    server = _server()
    found = server.status()
    if found.state == "uninitialized":
        note("Nothing was deleted: there is no data directory.")
        return
    note(f"This deletes {found.data_dir} with all its databases.")
    for one in found.databases:
        note(f"  {one.name}: {figures.size(one.size_bytes)}")
    for path in _kept_by_upgrades():
        note(f"Also {path}, which an upgrade kept.")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Not a terminal; pass --yes to delete it.")
    if not yes:
        click.confirm("Delete it?", abort=True, err=True)
    with spinner("Deleting …"):
        server.destroy()
    note("Deleted. The next start creates a new, empty one.")


def _kept_by_upgrades() -> list[str]:
    from oxy_pg import paths

    return paths.StateDir(paths.state_dir(state_dir())).cluster.kept()


RUN = (run, url, psql)
LIFE = (start, stop, restart, logs, reset)
