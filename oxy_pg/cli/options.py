"""Options that several commands share, and the server that they name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from oxy_pg import _endpoint
from oxy_pg.cli import quick
from oxy_pg.errors import ConfigurationError
from oxy_pg.system.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.server.server import Server

_ASKS_WITHIN = 10.0  # seconds for a server to say that it wants a password


def _remember_state_dir(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(dict)["state_dir"] = value


def state_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--state-dir``; before and after the command's name it means the same."""
    return click.option(
        "--state-dir",
        metavar="DIR",
        expose_value=False,
        callback=_remember_state_dir,
        help="Where the data is (default: OXY_STATE_DIR, or the user's data directory).",
    )(function)


def state_dir() -> str | None:
    """Return the ``--state-dir`` of this call, if one was given."""
    found = click.get_current_context().find_object(dict) or {}
    value = found.get("state_dir")
    return str(value) if value is not None else None


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the server.",
)


database_option = click.option(
    "-d",
    "--database",
    metavar="NAME",
    help="The database; created if it does not exist (default: OXY_PG_DATABASE, the project's, or "
    "oxy).",
)

existing_database_option = click.option(
    "-d",
    "--database",
    metavar="NAME",
    help="The database, which has to exist (default: OXY_PG_DATABASE, the project's, or oxy).",
)
create_option = click.option(
    "--create", is_flag=True, help="Create the database if it does not exist."
)

search_path_option = click.option(
    "--search-path",
    metavar="SCHEMAS",
    help="Let functions that have no search_path of their own find names in these schemas "
    "meanwhile, such as public,auth.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def external_url(database: str | None = None) -> str | None:
    """
    Return OXY_DATABASE_URL; None where the embedded server is meant, as with --state-dir.

    For a ``database``, OXY_DATABASE_URL_NAME comes first.
    """
    return None if state_dir() is not None else _endpoint.external_url(database)


def embedded_server(keep_alive: float | None = None) -> Server:
    """Return the handle on the embedded server that is meant, with the project's defaults."""
    return quick.server_of(state_dir(), keep_alive)


def need_embedded(command: str) -> None:
    """Raise ConfigurationError when OXY_DATABASE_URL names another server."""
    if external_url() is not None:
        raise ConfigurationError(
            f"`oxy-pg {command}` works on the embedded server, and OXY_DATABASE_URL names another "
            "one. Name the embedded one with --state-dir, or unset the variable for this command: "
            f"env -u OXY_DATABASE_URL oxy-pg {command}"
        )


def with_password(_: click.Context, __: click.Parameter, url: str) -> str:
    """Return a URL with the password that is typed, where the server wants one, and has none."""
    from oxy_pg import connection as connections
    from oxy_pg import url as urls

    if not sys.stdin.isatty() or urls.has_password(url):
        return url
    try:
        connections.connect(url, Deadline(_ASKS_WITHIN), wait=False).close()
    except connections.Unreachable as error:
        if "no password supplied" in error.reason:
            shown = f"Password for {urls.mask(url)}"
            return urls.with_password(url, click.prompt(shown, hide_input=True, err=True))
    except ConfigurationError:
        pass  # the command says what is wrong with the URL
    return url
