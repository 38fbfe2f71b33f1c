"""The commands of the server's life: url start stop restart logs psql run reset."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from typing import NoReturn

import click

import oxy_pg
from oxy_pg.cli.display import figures
from oxy_pg.cli.display.terminal import note, spinner
from oxy_pg.cli.options import (
    database_option,
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
    server = _server(keep_alive)
    with spinner("Starting PostgreSQL …"):
        server.start(timeout)
    return server


# --- start and stop ---


@click.command()
@database_option
@click.option("--socket", is_flag=True, help="The URL by way of the private Unix socket.")
@timeout_option
@state_dir_option
def url(database: str, socket: bool, timeout: float) -> None:  # noqa: FBT001
    """Print the server's URL, for `export` or a database editor."""
    external = external_url()
    if external is not None:
        click.echo(oxy_pg.ensure(timeout=timeout))
        return
    server = _started(math.inf, timeout)
    address = server.ensure_database(database, timeout=timeout)
    click.echo(server.socket_url(database) if socket else address)
    note("The server stays up until `oxy-pg stop`.")


@click.command()
@timeout_option
@state_dir_option
def start(timeout: float) -> None:
    """Start the server and keep it until `oxy-pg stop`."""
    need_embedded("start")
    server = _started(math.inf, timeout)
    server.ensure_database(timeout=timeout)
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
    help="As with pg_ctl: end the sessions, wait for them, or do not even write a checkpoint.",
)
@state_dir_option
def stop(mode: str) -> None:
    """Stop the server, for everybody who uses it."""
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


# --- what is there ---


@click.command()
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until Ctrl-C.")
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
        click.echo(line)
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
                    click.echo(file.read(), nl=False)
                    at[path] = file.tell()
            except FileNotFoundError:  # removed to keep the logs within bounds
                continue


# --- other programs ---


@click.command(context_settings={"ignore_unknown_options": True})
@database_option
@click.option("--superuser", is_flag=True, help="As the superuser, by way of the private socket.")
@timeout_option
@state_dir_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(database: str, superuser: bool, timeout: float, arguments: tuple[str, ...]) -> None:  # noqa: FBT001
    """Open psql; what follows `--` goes to psql."""
    from oxy_pg.server.cluster import binaries

    # The bundled one cannot speak TLS, which another server may ask for.
    program = (external_url() and shutil.which("psql")) or f"{binaries.find().bin_dir}/psql"
    if not os.access(program, os.X_OK):
        program = shutil.which("psql") or binaries.find().program("psql")
    if external_url() is not None:
        environment = _environment(oxy_pg.ensure(timeout=timeout))
    else:
        server = _started(None, timeout)
        address = server.ensure_database(database, timeout=timeout)
        address = server.superuser_url(database) if superuser else address
        environment = _environment(address)
        server.keep_through_exec()
    _exec(program, [program, *arguments], environment)


@click.command(context_settings={"ignore_unknown_options": True})
@database_option
@timeout_option
@state_dir_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(database: str, timeout: float, command: tuple[str, ...]) -> None:
    """
    Run a dev server with a database: `oxy-pg run -- CMD…`.

    It finds the server's URL in OXY_DATABASE_URL and DATABASE_URL, and its
    parts in PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE. The server is
    held as long as the command runs, which takes this process's place: its
    signals and its exit code are its own.
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
        address = server.ensure_database(database, timeout=timeout)
        server.keep_through_exec()
    environment = _environment(address)
    environment |= {"OXY_DATABASE_URL": address, "DATABASE_URL": address}
    _exec(program, list(command), environment)


def _environment(address: str) -> dict[str, str]:
    """Return libpq's variables for a URL; a command line would show the password to all."""
    from psycopg import conninfo, pq

    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    parts = conninfo.conninfo_to_dict(address)
    kept = {name: value for name, value in os.environ.items() if name not in names.values()}
    return kept | {names[part]: str(value) for part, value in parts.items() if part in names}


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
    """Delete the data directory, with all databases in it."""
    need_embedded("reset")
    server = _server()
    found = server.status()
    if found.state == "uninitialized":
        note("There is nothing to delete.")
        return
    note(f"This deletes {found.data_dir} with all databases in it.")
    for one in found.databases:
        note(f"  {one.name}: {figures.size(one.size_bytes)}")
    for path in _kept_by_upgrades():
        note(f"And {path}, which an upgrade has kept.")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Not a terminal; pass --yes to delete it.")
    if not yes:
        click.confirm("Delete it?", abort=True, err=True)
    with spinner("Deleting …"):
        server.destroy()
    note("Deleted. The next start makes a new, empty one.")


def _kept_by_upgrades() -> list[str]:
    from oxy_pg import paths

    return paths.StateDir(paths.state_dir(state_dir())).cluster.kept()


RUN = (run, url, psql)
LIFE = (start, stop, restart, logs, reset)
