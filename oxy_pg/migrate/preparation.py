"""``prepare``: the application's own migrations, which bring the target's schema up first."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from oxy_pg import connection as connections
from oxy_pg.errors import OxyPgError, PreparationFailed, TargetUnreachable
from oxy_pg.migrate import command, trial
from oxy_pg.migrate.plan.standing import Prepared
from oxy_pg.migrate.target import catalog, session
from oxy_pg.migrate.target.spelling import ident
from oxy_pg.report import Progress
from oxy_pg.system import libpq
from oxy_pg.system.deadline import Deadline
from oxy_pg.url import mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    import psycopg

    from oxy_pg.migrate.trial import Scratch

Prepare: TypeAlias = "Callable[[str], object] | str"


@dataclass(frozen=True, slots=True)
class Stage:
    """
    Where a migration works: the target after ``prepare``, or in a dry run what stands for it.

    ``prepared`` is what ``prepare`` has done, ``said`` tells where it was tried, or
    that it was not, and ``refused`` why not.
    """

    url: str
    prepared: Prepared = field(default_factory=Prepared)
    said: str = ""
    refused: str = ""


def stage(
    how: Prepare,
    url: str,
    *,
    tries: bool,
    looks_back: bool,
    deadline: Deadline,
    stack: ExitStack,
    environment: Mapping[str, str] | None,
    scratch: Scratch | None,
    on_progress: Callable[[Progress], object] | None,
) -> Stage:
    """
    Run ``prepare`` on the target; with ``tries`` in a temporary database, which ``stack`` drops.

    With ``looks_back``, rows that were there before are seeds too where they are just
    what ``prepare`` makes: an earlier attempt has left them. Raises
    PreparationFailed and TargetUnreachable.
    """
    left = deadline.remaining()
    if not tries:
        prepared = prepare(how, url, deadline, environment=environment, on_progress=on_progress)
        if looks_back and prepared.others:
            prepared = _looked_back(how, url, prepared, Deadline(left), environment, scratch)
        return Stage(url, prepared)
    tried = stack.enter_context(trial.database(url, deadline, scratch))
    if tried.url is None:
        return Stage(
            url,
            said=f"--prepare was NOT tried: no temporary database, {tried.where}. What follows "
            "judges the target as it is now; the move may find another schema",
            refused=tried.where,
        )
    prepared = prepare(
        how, tried.url, Deadline(left), environment=environment, on_progress=on_progress
    )
    others = frozenset(tried.rows)
    if looks_back and others:
        others -= _same(url, tried.url, prepared.seeds & others, Deadline(left))
    rows = {name: tried.rows[name] for name in others}
    return Stage(
        tried.url,
        replace(prepared, rows=rows, seeds=prepared.seeds - others, others=others),
        f"--prepare was tried in {tried.where}, which is dropped at the end",
    )


def _looked_back(
    how: Prepare,
    url: str,
    prepared: Prepared,
    deadline: Deadline,
    environment: Mapping[str, str] | None,
    scratch: Scratch | None,
) -> Prepared:
    """Find out which rows that were there before are what ``prepare`` makes."""
    with trial.database(url, deadline, scratch) as tried:
        if tried.url is None:
            return prepared
        try:
            fresh = prepare(how, tried.url, deadline, environment=environment)
        except PreparationFailed:
            return prepared
        same = _same(url, tried.url, fresh.seeds & prepared.others, deadline)
    return replace(prepared, seeds=prepared.seeds | same, others=prepared.others - same)


# What differs from one run to the next. Everything else has to be the same.
_CLOCKS = {"timestamptz", "timestamp", "date", "time"}


def _same(url: str, other: str, names: frozenset[str], deadline: Deadline) -> frozenset[str]:
    """Return which of these tables have the same rows in both databases, but for times."""
    if not names:
        return names
    with (
        closing(session.connect(url, deadline)) as server,
        closing(session.connect(other, deadline)) as fresh,
    ):
        return frozenset(name for name in names if _rows(server, name) == _rows(fresh, name))


def _rows(server: psycopg.Connection[Any], table: str) -> list[str] | None:
    """Return the rows of a table as text, without times; None where they are too many to seed."""
    with session.transaction(server):
        target = catalog.read_target(server)
        columns = [
            ident(column.name)
            for column in target.tables[table].columns
            if column.type.kind.name not in _CLOCKS
        ]
        query = (
            f"SELECT ROW({', '.join(columns)})::text FROM {ident(target.name, table)} "
            f"ORDER BY 1 LIMIT {_MOST_SEEDS + 1}"
        )
        found = [row[0] for row in server.execute(query.encode())]
    return found if len(found) <= _MOST_SEEDS else None


_MOST_SEEDS = 100_000


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
    left = deadline.remaining()
    before = _tables(url, deadline)
    if callable(how):
        _call(how, url)
    else:
        _run(how, url, environment or {}, on_progress)
    after = _tables(url, Deadline(left))
    seeds = {name for name, full in after.items() if full and not before.get(name, False)}
    return Prepared(
        seeds=frozenset(seeds),
        created=frozenset(after.keys() - before.keys()),
        others=frozenset(name for name, full in before.items() if full),
        ran=True,
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
        connections.variables(url, libpq.without(os.environ)) | own,
        None if on_progress is None else show,
    )
    if code:
        tail = mask_text(output.strip(), url)[-2000:]
        reason = f"exit code {code}:\n{tail}" if code > 0 else f"killed by signal {-code}\n{tail}"
        raise PreparationFailed(f"`{how}`", reason)
