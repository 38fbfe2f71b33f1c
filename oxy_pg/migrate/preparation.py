"""``prepare``: the application's own migrations, which bring the target's schema up first."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

from oxy_pg import connection as connections
from oxy_pg.errors import OxyPgError, PreparationFailed, TargetUnreachable
from oxy_pg.migrate import command
from oxy_pg.migrate.plan.standing import Prepared
from oxy_pg.migrate.target import catalog, session
from oxy_pg.report import Progress
from oxy_pg.url import mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oxy_pg.system.deadline import Deadline

Prepare: TypeAlias = "Callable[[str], object] | str"


def prepare(
    how: Prepare,
    url: str,
    deadline: Deadline,
    *,
    environment: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> Prepared:
    """
    Call a function with the URL, or run a shell command; return what it has done.

    The command finds the server as one of `oxy-pg run` does, and gets the
    variables of ``environment``, with the URL filled in. The server is waited
    for until the deadline. Raises PreparationFailed and TargetUnreachable.
    """
    before = _tables(url, deadline)
    if callable(how):
        _call(how, url)
    else:
        _run(how, url, environment or {}, on_progress)
    after = _tables(url, deadline)
    seeds = {name for name, full in after.items() if full and not before.get(name, False)}
    return Prepared(
        seeds=frozenset(seeds), created=frozenset(after.keys() - before.keys()), ran=True
    )


def _tables(url: str, deadline: Deadline) -> dict[str, bool]:
    """Return the tables of the target, and whether each has rows."""
    with closing(session.connect(url, deadline)) as server, session.transaction(server):
        try:
            target = catalog.read_target(server)
        except TargetUnreachable:  # no schema yet: the preparation may create it
            return {}
        return {name: table.has_rows for name, table in target.tables.items()}


def _call(how: Callable[[str], object], url: str) -> None:
    try:
        how(url)
    except OxyPgError:
        raise
    except Exception as error:
        message = mask_text(f"{type(error).__name__}: {error}", url)
        raise PreparationFailed("the `prepare` function", message) from error


def _run(
    how: str,
    url: str,
    environment: Mapping[str, str],
    on_progress: Callable[[Progress], object] | None,
) -> None:
    own = {name: connections.filled(value, url) for name, value in environment.items()}

    def show(text: str) -> None:
        if on_progress is not None:
            on_progress(Progress("prepare", output=mask_text(text, url)))

    code, output = command.run(
        how,
        connections.variables(url, os.environ) | own,
        None if on_progress is None else show,
    )
    if code:
        tail = mask_text(output.strip(), url)[-2000:]
        reason = f"exit code {code}:\n{tail}" if code > 0 else f"killed by signal {-code}\n{tail}"
        raise PreparationFailed(f"`{how}`", reason)
