"""The command ``databases``, and the check that a database was not mistyped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from oxy_pg.cli.display import figures
from oxy_pg.cli.display.terminal import echo, note
from oxy_pg.cli.group import near_ones
from oxy_pg.cli.options import embedded_server, json_option, need_embedded, state_dir_option
from oxy_pg.errors import ConfigurationError

if TYPE_CHECKING:
    from oxy_pg.server.server import Server


@click.command()
@json_option
@state_dir_option
def databases(*, as_json: bool) -> None:
    """List the databases of the embedded server, with their sizes."""
    need_embedded("databases")
    server = embedded_server()
    if server.status().state == "uninitialized":
        note(f"There are no databases: no server has been started in {server.state_dir} yet.")
    else:
        server.start()
    found = server.status().databases
    if as_json:
        rows = [{"name": one.name, "size_bytes": one.size_bytes} for one in found]
        echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max([len(one.name) for one in found], default=0)
    sizes = max([len(figures.size(one.size_bytes)) for one in found], default=0)
    for one in found:
        echo(f"{one.name:<{width}}  {figures.size(one.size_bytes):>{sizes}}")


def refuse_unknown(server: Server, name: str) -> None:
    """Raise ConfigurationError for a database that does not exist: it may be a typing error."""
    known = {one.name: one for one in server.status().databases}
    if name in known or name in {"postgres", "template1"}:
        return
    near = near_ones(name, known)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ConfigurationError(
        f"There is no database {name!r}.{hint} `oxy-pg databases` lists them; --create creates it."
    )
