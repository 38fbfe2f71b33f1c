"""What ``status`` shows of a server, once or live: facts about it, and sections of what it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.cli.display import figures
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from oxy_pg.server.monitor.activity import Activity, Blocker
    from oxy_pg.server.monitor.status import Observation, Status


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under a title, which heads the first column; the last takes the room that is left."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(found: Activity) -> Iterator[Section]:
    """Give what the server does, the most urgent first."""
    yield Section(
        "waiting",
        ("for", "wants", "held by", "query"),
        tuple(
            (
                str(one.pid),
                figures.seconds(one.seconds),
                f"{one.mode} on {one.relation or one.kind}",
                ", ".join(_blocker(by) for by in one.blocked_by),
                one.query or "",
            )
            for one in found.waiting
        ),
    )
    yield Section(
        "running",
        ("for", "state", "who", "query"),
        tuple(
            (
                str(one.pid),
                figures.seconds(one.query_s if one.state == "active" else one.transaction_s),
                one.state + (f" ({one.wait})" if one.wait and one.state == "active" else ""),
                _who(one.role, one.database, one.application),
                one.query,
            )
            for one in found.running
        ),
    )
    yield Section(
        "slow",
        ("calls", "most", "who", "query"),
        tuple(
            (
                figures.seconds(one.mean_ms / 1000),
                f"{one.calls:,}",
                figures.seconds(one.max_ms / 1000),
                _who(one.role, one.database, ""),
                one.query,
            )
            for one in found.slow_queries
        ),
    )
    yield Section(
        "connected",
        ("state", "who"),
        tuple(
            (str(one.count), one.state or "-", _who(one.role, one.database, one.application))
            for one in found.connections
        ),
    )
    yield Section(
        "dead tuples",
        ("live", "last vacuum", "table"),
        tuple(
            (
                f"{one.dead:,}",
                f"{one.live:,}",
                _moment(max(one.last_vacuum or "", one.last_autovacuum or "")),
                f"{one.table} in {one.database}",
            )
            for one in found.dead_tuples
        ),
    )


def _blocker(one: Blocker) -> str:
    known = " ".join(part for part in (one.role, one.state) if part)
    return f"{one.pid} ({known})" if known else str(one.pid)


def _who(role: str | None, database: str | None, application: str) -> str:
    return f"{role or '?'}@{database or '?'}" + (f" {application}" if application else "")


def _moment(text: str) -> str:
    return text[:16].replace("T", " ") or "never"


def rows(found: Observation) -> list[tuple[str, str]]:
    """Return what is known of the server itself, by name."""
    known: list[tuple[str, object]] = [*_about(found.status)]
    if found.activity is not None:
        known += _totals(found.activity)
    known += [
        (f"database {one.name}", figures.size(one.size_bytes)) for one in found.status.databases
    ]
    return [(name, str(value)) for name, value in known if value is not None]


def _about(found: Status) -> Iterator[tuple[str, object]]:
    yield "state", found.state
    yield "problem", found.problem
    yield "url", found.url
    if found.role is not None:
        yield "answered by", _answered_by(found)
    yield "version", found.server_version
    yield "pid", found.pid
    yield "supervisor", found.supervisor_pid
    yield "up for", None if found.uptime_s is None else figures.duration(found.uptime_s)
    yield "clients", found.clients if found.supervisor_pid else None
    if found.connections is not None:
        yield "connections", f"{found.connections} of {found.max_connections}"
    if found.keep_alive_s is not None:
        yield "keep-alive", _keep_alive(found.keep_alive_s)
    if found.crashes_last_hour:
        yield "crashes", f"{found.crashes_last_hour} in the last hour; last: {found.last_crash}"
    yield "data", found.data_dir
    yield "logs", found.log_dir
    if found.binaries:
        one = found.binaries
        yield "binaries", f"{one.version} ({one.provider}) in {one.path}"


def _answered_by(found: Status) -> str:
    """Return the host of several that has answered, its role, and how far it is behind."""
    place = f"{found.host}, port {found.port}: {found.role}"
    if found.role == "primary":
        return place
    behind = "by an unknown time" if found.lag_s is None else figures.duration(found.lag_s)
    return f"{place}, {'not behind' if found.lag_s == 0 else f'behind {behind}'}"


def _keep_alive(seconds: float) -> str:
    return "until stopped" if math.isinf(seconds) else f"{seconds:g} s after the last user"


def _totals(found: Activity) -> Iterator[tuple[str, object]]:
    if found.cache_hit_ratio is not None:
        yield "cache hits", figures.percent(found.cache_hit_ratio)
    if found.checkpoints:
        timed, requested = found.checkpoints["timed"], found.checkpoints["requested"]
        yield "checkpoints", f"{timed} by time, {requested} by size or request"
    if found.transaction_ids:
        ids = found.transaction_ids
        yield (
            "oldest transaction",
            f"{ids.age:,} ids ago in {ids.database}; autovacuum acts at {ids.freeze_at:,}",
        )
    if found.hidden:
        what = f"what {many(found.hidden, 'session')} of other roles do"
        yield "not shown", f"{what}: {found.role} has not the rights of pg_read_all_stats"
    for name, reason in found.unknown.items():
        yield "not known", f"{name.replace('_', ' ')}: {reason}"


def plain_lines(found: Observation) -> Iterator[str]:
    """Give it in lines for a pipe."""
    for name, value in rows(found):
        yield f"{name}: {value}"
    if found.activity is not None:
        for section in sections(found.activity):
            for first, *cells in section.rows:
                named = zip(section.header, cells, strict=True)
                words = (
                    f"{name} {cell}" if name in _SAID else cell for name, cell in named if cell
                )
                yield f"{section.title}: {', '.join((first, *words))}"


_SAID = {"for", "wants", "held by", "calls", "most", "live", "last vacuum"}


STATE_COLOURS = {"running": "green", "external": "green", "starting": "yellow"}


_NUMBERS = {"for", "calls", "most", "live"}


def section_table(section: Section, most: int, width: int) -> Table:
    """Return a section with its first ``most`` rows, each on one line of a screen's ``width``."""
    from rich.table import Table
    from rich.text import Text

    shown = section.rows[:most]
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    for number, name in enumerate((section.title, *section.header)):
        header, last = Text(name), number == len(section.header)
        if number == 0:
            header.stylize("bold red" if name == "waiting" else "bold not dim")
        longest = max(len(name), *(len(row[number]) for row in shown))
        is_figure = number == 0 or name in _NUMBERS
        table.add_column(
            header,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if is_figure else "left",
            # Figures are whole, a query takes what is left, and the rest does not crowd it out.
            min_width=longest if is_figure else None,
            max_width=None if is_figure or last else max(9, width // 4),
            ratio=1 if last else None,
        )
    for row in shown:
        table.add_row(*map(Text, row))
    return table
