"""The commands of the server's life: url start stop restart status logs psql run reset."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

import oxy_pg
from oxy_pg.cli.options import (
    database_option,
    external_url,
    json_option,
    state_dir,
    state_dir_option,
    timeout_option,
)
from oxy_pg.errors import ConfigurationError
from oxy_pg.server.handle import Server

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.table import Table

    from oxy_pg.server.status import Status


def _note(text: str) -> None:
    click.echo(text, err=True)


def _spinner(text: str) -> AbstractContextManager[object]:
    """Show on a terminal that something is going on; nothing in a pipe."""
    if not sys.stderr.isatty():
        from contextlib import nullcontext

        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


def _server(keep_alive: float | None = None) -> Server:
    return Server(state_dir(), keep_alive=keep_alive)


def _started(keep_alive: float | None, timeout: float) -> Server:
    server = _server(keep_alive)
    with _spinner("Starting PostgreSQL …"):
        server.start(timeout)
    return server


def _need_embedded(command: str) -> None:
    if external_url() is not None:
        raise ConfigurationError(
            f"`oxy-pg {command}` works on the embedded server, and OXY_DATABASE_URL names another "
            "one. Unset it for this command: env -u OXY_DATABASE_URL oxy-pg " + command
        )


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
    _note("The server stays up until `oxy-pg stop`.")


@click.command()
@timeout_option
@state_dir_option
def start(timeout: float) -> None:
    """Start the server and keep it until `oxy-pg stop`."""
    _need_embedded("start")
    server = _started(math.inf, timeout)
    server.ensure_database(timeout=timeout)
    found = server.status()
    _note(
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
    _need_embedded("stop")
    server = _server()
    was = server.status().state
    with _spinner("Stopping PostgreSQL …"):
        server.stop(mode)
    _note("PostgreSQL was not running." if was in _NOT_RUNNING else "PostgreSQL has stopped.")


_NOT_RUNNING = {"stopped", "uninitialized"}


@click.command()
@timeout_option
@state_dir_option
def restart(timeout: float) -> None:
    """Restart the server, which applies all its settings."""
    _need_embedded("restart")
    server = _server(math.inf)
    with _spinner("Restarting PostgreSQL …"):
        server.restart(timeout)
    _note(f"PostgreSQL is running on 127.0.0.1:{server.status().port}.")


# --- what is there ---


@click.command()
@json_option
@timeout_option
@state_dir_option
def status(as_json: bool, timeout: float) -> None:  # noqa: FBT001
    """Show whether the server runs, and how it does. Starts nothing."""
    external = external_url()
    if external is None:
        found = _server().status()
    else:
        from oxy_pg.server import status as statuses

        found = statuses.of_external(external, min(timeout, 10.0))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print_status(found)


def _print_status(found: Status) -> None:
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(_status_table(found))
        return
    for name, value in _status_rows(found):
        click.echo(f"{name}: {value}")


def _status_table(found: Status) -> Table:
    from rich.table import Table
    from rich.text import Text

    colour = {"running": "green", "external": "green", "starting": "yellow"}.get(found.state, "dim")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _status_rows(found):
        table.add_row(name, Text(value, style=colour if name == "state" else ""))
    return table


def _status_rows(found: Status) -> list[tuple[str, str]]:
    rows: list[tuple[str, object]] = [
        ("state", found.state),
        ("url", found.url),
        ("version", found.server_version),
        ("pid", found.pid),
        ("supervisor", found.supervisor_pid),
        ("up for", None if found.uptime_s is None else _duration(found.uptime_s)),
        ("clients", found.clients if found.supervisor_pid else None),
        (
            "connections",
            None
            if found.connections is None
            else f"{found.connections} of {found.max_connections}",
        ),
        ("keep-alive", None if found.keep_alive_s is None else _keep_alive(found.keep_alive_s)),
        ("data", found.data_dir),
        ("logs", found.log_dir),
    ]
    if found.binaries:
        installed = found.binaries
        rows.append(("binaries", f"{installed.version} ({installed.provider}) in {installed.path}"))
    rows += [(f"database {one.name}", _size(one.size_bytes)) for one in found.databases]
    return [(name, str(value)) for name, value in rows if value is not None]


def _keep_alive(seconds: float) -> str:
    return "until stopped" if math.isinf(seconds) else f"{seconds:g} s after the last user"


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = ((days, "d"), (hour, "h"), (minute, "min"), (second, "s"))
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "0 s"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


@click.command()
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until Ctrl-C.")
@state_dir_option
def logs(lines: int, follow: bool) -> None:  # noqa: FBT001
    """Print the server's last log lines."""
    _need_embedded("logs")
    from oxy_pg import paths
    from oxy_pg.server import logs as files

    log_dir = paths.StateDir(paths.state_dir(state_dir())).log_dir
    found = files.names(log_dir)
    if not found and not follow:
        _note(f"There are no logs in {log_dir} yet.")
        return
    for line in files.tail(log_dir, lines):
        click.echo(line)
    if follow:
        _follow(log_dir)


def _follow(log_dir: str) -> NoReturn:
    from oxy_pg.server import logs as files

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
    from oxy_pg.server import binaries

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
    _need_embedded("reset")
    server = _server()
    found = server.status()
    if found.state == "uninitialized":
        _note("There is nothing to delete.")
        return
    _note(f"This deletes {found.data_dir} with all databases in it.")
    for one in found.databases:
        _note(f"  {one.name}: {_size(one.size_bytes)}")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: add --yes to delete it.")
    if not yes:
        click.confirm("Delete it?", abort=True, err=True)
    with _spinner("Deleting …"):
        server.destroy()
    _note("Deleted. The next start makes a new, empty one.")


RUN = (run, url, psql)
LIFE = (start, stop, restart, status, logs, reset)
