"""The commands that hand a database to other programs: run url env psql."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, NoReturn

import click

import oxy_pg
from oxy_pg import _defaults, _endpoint, project
from oxy_pg.cli.databases import refuse_unknown
from oxy_pg.cli.display import spelling
from oxy_pg.cli.display.terminal import echo, note, spinner
from oxy_pg.cli.options import (
    create_option,
    database_option,
    embedded_server,
    existing_database_option,
    external_url,
    state_dir_option,
    timeout_option,
)
from oxy_pg.cli.quick import STAYS_UP, ensured
from oxy_pg.errors import BinariesNotFound, ConfigurationError, ToolsNotFound
from oxy_pg.facts import MAJOR
from oxy_pg.url import DRIVERS

if TYPE_CHECKING:
    from oxy_pg.server.server import Server


def started(keep_alive: float | None, timeout: float) -> Server:
    """Return the embedded server that is meant, running and held."""
    server = embedded_server(keep_alive)
    with spinner("Starting PostgreSQL …"):
        server.start(timeout)
    return server


def _meant(
    database: str | None,
    timeout: float,
    keep_alive: float | None = None,
    *,
    create: bool = True,
) -> tuple[str, Server | None]:
    """
    Return the URL of the database that is meant, and the server if it is an embedded one.

    Without ``create``, a database that is named on the command line has to exist.
    """
    name = _defaults.database(database, project.of_working_directory())
    if external_url(name) is not None:
        return oxy_pg.ensure(database, timeout=timeout), None
    server = started(keep_alive, timeout)
    if database is not None and not create:
        refuse_unknown(server, database)
    return ensured(server, database, timeout), server


# --- what the other program gets ---


def _assignments(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, str]]:
    found = []
    for value in values:
        name, equals, template = value.partition("=")
        if not equals or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE.")
        found.append((name, template))
    return found


_set_option = click.option(
    "--set",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_assignments,
    help="Another variable; {url}, {url:DRIVER}, {host}, {port}, {user}, {password} and {database} "
    "are filled in.",
)


def _variables(
    address: str, server: Server | None, assignments: list[tuple[str, str]]
) -> dict[str, str]:
    """Return the variables that name this database, and those that the user has asked for."""
    from oxy_pg import connection

    found = connection.variables(address, {})
    if server is not None:
        found[_endpoint.RUN_STATE_DIR] = server.state_dir
    return found | {name: connection.filled(text, address) for name, text in assignments}


def _environment(address: str) -> dict[str, str]:
    """Return the environment with libpq's variables for a URL."""
    from oxy_pg import connection

    return connection.libpq_variables(address, os.environ)


def _client_programs() -> str:
    """
    Return the directory of the psql and pg_dump that fit the embedded server.

    Raises ToolsNotFound.
    """
    from oxy_pg.server.cluster import binaries
    from oxy_pg.transfer import tools

    found = binaries.clients()
    return found.bin_dir if found.has("psql") else tools.find(MAJOR).bin_dir


def _exec(program: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, arguments, environment)  # noqa: S606
    except OSError as error:
        raise ConfigurationError(f"{program} cannot be run: {error.strerror}.") from error


# --- the commands ---


@click.command()
@existing_database_option
@create_option
@click.option("--socket", is_flag=True, help="Print the URL for the private Unix socket.")
@click.option(
    "--driver",
    type=click.Choice(DRIVERS),
    help="Spell it for SQLAlchemy with this driver, or for Java (jdbc).",
)
@timeout_option
@state_dir_option
def url(
    *, database: str | None, create: bool, socket: bool, driver: str | None, timeout: float
) -> None:
    """Print the server's URL, for `export` or a database editor."""
    from oxy_pg.url import for_driver

    address, server = _meant(database, timeout, math.inf, create=create)
    if server is not None and socket:
        address = server.socket_url(_defaults.database(database, project.of_working_directory()))
    echo(address if driver is None else for_driver(address, driver))
    if server is not None:
        note(STAYS_UP)


@click.command()
@database_option
@click.option(
    "--format",
    "spelled",
    type=click.Choice([*spelling.FORMATS, "jdbc"]),
    default="export",
    show_default=True,
    help="How to print them: for a shell, for a .env file, as JSON; jdbc: the URL for Java alone.",
)
@_set_option
@timeout_option
@state_dir_option
def env(
    database: str | None, spelled: str, assignments: list[tuple[str, str]], timeout: float
) -> None:
    """
    Print the variables that `oxy-pg run` sets: `eval "$(oxy-pg env)"`.

    The server stays up until `oxy-pg stop`.
    """
    from oxy_pg.url import for_driver

    if spelled == "jdbc" and assignments:
        raise click.UsageError("--format jdbc prints a URL and no variables: leave out --set.")
    address, server = _meant(database, timeout, math.inf)
    if spelled == "jdbc":
        echo(for_driver(address, "jdbc"))
    else:
        echo(spelling.FORMATS[spelled](_variables(address, server, assignments)))
    if server is not None:
        note(STAYS_UP)


@click.command(context_settings={"ignore_unknown_options": True})
@existing_database_option
@create_option
@click.option(
    "--superuser", is_flag=True, help="Connect as the superuser, through the private socket."
)
@timeout_option
@state_dir_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(
    *,
    database: str | None,
    create: bool,
    superuser: bool,
    timeout: float,
    arguments: tuple[str, ...],
) -> None:
    """Open psql; what follows `--` goes to psql."""
    address, server = _meant(database, timeout, create=create)
    if server is None:
        # The bundled psql has no TLS, which an external server may require.
        program = shutil.which("psql") or f"{_client_programs()}/psql"
    else:
        program = f"{_client_programs()}/psql"
        if superuser:
            name = _defaults.database(database, project.of_working_directory())
            address = server.superuser_url(name)
            _warn_of_superuser(name)
        server.keep_through_exec()
    _exec(program, [program, *arguments], _environment(address))


def _warn_of_superuser(database: str) -> None:
    """Say what a person at a terminal should know; a script has read it in the documentation."""
    if sys.stderr.isatty():
        note(
            f"You are the superuser. What the application has put into {database} (functions, "
            "operators, views, triggers) runs with these rights if you use it, up to commands of "
            "the operating system. search_path is pg_catalog, pg_temp: write schema.table, "
            "and CREATE EXTENSION … SCHEMA public."
        )


@click.command(context_settings={"ignore_unknown_options": True})
@database_option
@_set_option
@timeout_option
@state_dir_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    database: str | None,
    assignments: list[tuple[str, str]],
    timeout: float,
    command: tuple[str, ...],
) -> None:
    """
    Run a dev server with a database: `oxy-pg run -- CMD…`.

    The command gets the server's URL in OXY_DATABASE_URL and DATABASE_URL, and
    its parts in PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE; with the
    embedded server, its psql, pg_dump and other programs come first on PATH. It
    replaces this process, so signals and the exit code are its own. The server
    stays up as long as it runs.
    """
    with_clients = _path_with_clients()
    _program(command[0], with_clients)  # before a server is started for it
    address, server = _meant(database, timeout)
    environment = _environment(address)
    if server is not None:
        server.keep_through_exec()
    if server is not None or _endpoint.embedded_state_dir(address, set()) is not None:
        environment["PATH"] = with_clients
    environment |= _variables(address, server, assignments)
    _exec(_program(command[0], environment.get("PATH")), list(command), environment)


def _path_with_clients() -> str:
    """Return PATH with the client programs of the embedded server in front."""
    path = os.environ.get("PATH", os.defpath)
    try:
        return f"{_client_programs()}{os.pathsep}{path}"
    except (BinariesNotFound, ToolsNotFound):
        return path


def _program(name: str, path: str | None) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        raise ConfigurationError(f"The command {name!r} was not found. Check its name and PATH.")
    return found


COMMANDS = (run, url, env, psql)
