"""The command ``tune``: settings that fit the machine, compared with the current ones."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
from typing import TYPE_CHECKING

import click

from oxy_pg import paths, project
from oxy_pg import url as urls
from oxy_pg.cli.display import terminal
from oxy_pg.cli.display.terminal import echo, note, spinner
from oxy_pg.cli.options import (
    external_url,
    json_option,
    need_embedded,
    state_dir,
    state_dir_option,
    timeout_option,
)
from oxy_pg.errors import OxyPgError
from oxy_pg.server.server import Server
from oxy_pg.system import machine as machines
from oxy_pg.system.deadline import Deadline
from oxy_pg.system.machine import Machine

if TYPE_CHECKING:
    from oxy_pg.server.tuning import Comparison

_FITS = "All settings already fit."
_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def _size(value: str) -> int:
    """Read a size as PostgreSQL writes it."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])i?b?\s*", value, re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a valid size; write it as 16GB or 512MB.")
    size = int(float(found[1]) * _UNITS[found[2].lower()])
    if size < 64 * _UNITS["m"]:
        raise click.BadParameter(f"{value} is too small; the minimum is 64MB.")
    return size


@click.command()
@click.option("--memory", type=_size, metavar="SIZE", help="The machine's memory: 16GB.")
@click.option("--cpus", type=click.IntRange(1, 1024), metavar="N", help="Its number of cores.")
@click.option("--disk", type=click.Choice(["ssd", "hdd"]), help="The kind of disk its data is on.")
@click.option(
    "--connections",
    type=click.IntRange(10, 10000),
    metavar="N",
    help="How many connections to allow (default: the current number).",
)
@click.option("--sql", "as_sql", is_flag=True, help="Print ALTER SYSTEM statements, for psql.")
@click.option("--apply", is_flag=True, help="Apply them to the embedded server.")
@click.option(
    "--restart", is_flag=True, help="With --apply: restart it now, so that all take effect."
)
@json_option
@timeout_option
@state_dir_option
def tune(
    memory: int | None,
    cpus: int | None,
    disk: str | None,
    connections: int | None,
    as_sql: bool,  # noqa: FBT001
    apply: bool,  # noqa: FBT001
    restart: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    timeout: float,
) -> None:
    """
    Show settings that fit the machine, compared with the current ones.

    The embedded server is started if it is not running; half of this machine is
    left to other programs, and --apply changes the settings. The server in
    OXY_DATABASE_URL is assumed to have a machine of its own: describe it with
    --memory, --cpus and --disk. That server is never changed; --sql prints
    statements for its administrator.
    """
    if as_sql + as_json + apply > 1:
        raise click.UsageError("Choose one of --sql, --json and --apply.")
    if restart and not apply:
        raise click.UsageError("--restart goes with --apply.")
    url = external_url()
    if url is not None:
        if apply:
            need_embedded("tune --apply")
        if memory is None or cpus is None:
            raise click.UsageError(
                "The machine of the server in OXY_DATABASE_URL cannot be inspected from here. "
                "Describe it, for instance: --memory 16GB --cpus 8 --disk ssd"
            )
        machine = Machine(memory, cpus, disk or machines.SSD)
        _show(_of_external(url, machine, connections, timeout), machine, as_sql, as_json)
        return
    project.refuse_embedded()
    place = paths.StateDir(paths.state_dir(state_dir()))
    here = machines.here(place.data_dir)
    machine = Machine(memory or here.memory, cpus or here.cpus, disk or here.disk)
    server = Server(place.root)
    with spinner("Starting PostgreSQL …"):
        server.start(timeout)
    found = _of_embedded(server, machine, connections, timeout)
    if apply:
        _apply(server, found, timeout, restart=restart)
    else:
        _show(found, machine, as_sql, as_json)


def _of_external(
    url: str, machine: Machine, connections: int | None, timeout: float
) -> tuple[Comparison, ...]:
    from oxy_pg.server import external, tuning

    with external.connect(urls.plain(url), Deadline(timeout)) as connection:
        row = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        if not (row and row[0]):
            note(
                "ALTER SYSTEM needs a superuser, and your role is not one: give the statements "
                "to that server's administrator, or enter the values in your provider's console."
            )
        return tuning.compare(connection, machine, dedicated=True, connections=connections)


def _of_embedded(
    server: Server, machine: Machine, connections: int | None, timeout: float
) -> tuple[Comparison, ...]:
    from oxy_pg.server import external, tuning

    with external.connect(server.superuser_url(), Deadline(timeout)) as connection:
        return tuning.compare(connection, machine, dedicated=False, connections=connections)


# --- show ---


def _show(
    found: tuple[Comparison, ...],
    machine: Machine,
    as_sql: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    from oxy_pg.server import tuning

    words = _words(machine)
    if as_sql:
        echo(f"-- oxy-pg tune, for {words}.\n{tuning.sql(found)}", nl=False)
    elif as_json:
        plain = {name: getattr(machine, name) for name in ("memory", "cpus", "disk")}
        rows = [dataclasses.asdict(one) for one in found]
        echo(json.dumps({"machine": plain, "settings": rows}, indent=2))
    else:
        note(f"For {words}:")
        _print_table(found)
        changes = [one for one in found if one.differs]
        note(_what_next(changes) if changes else _FITS)


def _words(machine: Machine) -> str:
    disk = {"ssd": "an SSD", "hdd": "a hard disk"}.get(machine.disk or "", "a disk of unknown kind")
    cores = "1 core" if machine.cpus == 1 else f"{machine.cpus} cores"
    return f"{machine.memory / 1024**3:.4g} GB of memory, {cores}, {disk}"


def _what_next(changes: list[Comparison]) -> str:
    waiting = [one.name for one in changes if one.restart]
    last = f" A restart is needed for {', '.join(waiting)}." if waiting else ""
    if external_url() is not None:
        return f"`oxy-pg tune … --sql` prints the statements for its administrator.{last}"
    return f"`oxy-pg tune --apply` applies them; --restart restarts now.{last}"


def _print_table(found: tuple[Comparison, ...]) -> None:
    if not sys.stdout.isatty():
        for one in found:
            change = one.proposed if one.differs else "fits"
            restart = " (restart)" if one.differs and one.restart else ""
            echo(f"{one.name}: {one.current} -> {change}{restart}; {one.why} ({one.source})")
        return
    from rich.padding import Padding
    from rich.text import Text

    console = terminal.console()
    name, now, then = (
        max(len(getattr(one, field)) for one in found) for field in ("name", "current", "proposed")
    )
    for one in found:
        # On two lines: five columns would wrap to one word each on a terminal of 80.
        line = Text(f"{one.name:{name}}  {one.current:>{now}}  ", style="bold")
        if one.differs:
            line.append(f"-> {one.proposed:>{then}}", style="yellow")
            line.append("  after a restart" * one.restart, style="not bold")
        else:
            line.append("fits", style="not bold green")
        console.print(line)
        why = Text(f"{one.why} ({one.source})", style="dim")
        console.print(Padding(why, (0, 0, 0, 2)))


# --- apply ---


def _apply(server: Server, found: tuple[Comparison, ...], timeout: float, *, restart: bool) -> None:
    changes = {one.name: one.proposed for one in found if one.differs}
    if not changes:
        note(_FITS)
        return
    waiting = [one.name for one in found if one.differs and one.restart]
    stronger = _overridden(server, list(changes), timeout)
    # This command names the settings that need a restart; the library's warning would repeat it.
    logging.getLogger("oxy_pg").setLevel(logging.ERROR)
    Server(state_dir(), settings=changes).start(timeout)
    if restart and waiting:
        with spinner("Restarting PostgreSQL …"):
            server.restart(timeout)
        waiting = []
    for name, value in changes.items():
        if name not in stronger:
            echo(f"{name} = {value}" + (" (after a restart)" if name in waiting else ""))
    if waiting:
        note("`oxy-pg restart` applies the rest.")
    if stronger:
        raise OxyPgError(
            f"{', '.join(stronger)} was set with ALTER SYSTEM, which takes precedence, and is "
            "unchanged. Run ALTER SYSTEM RESET for it (`oxy-pg psql --superuser`), and "
            "`oxy-pg restart`."
        )


def _overridden(server: Server, names: list[str], timeout: float) -> list[str]:
    from oxy_pg.server import external, tuning

    with external.connect(server.superuser_url(), Deadline(timeout)) as connection:
        return tuning.overridden(connection, names)
