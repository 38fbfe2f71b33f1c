"""What there is to see of a failed test: its lines in the server's log, a crash, its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.pytest_plugin.hosted import Hosted, Lent


def keep(lent: Lent, reason: str) -> str:
    """Leave a test's database; return how to connect to it, and how to get rid of it."""
    import shlex

    from oxy_pg.server.external import ExternalServer
    from oxy_pg.url import mask

    server = lent.hosted.server
    lent.hosted.clones.keep(lent.name, reason)
    lent.is_kept = True
    if isinstance(server, ExternalServer):
        url = shlex.quote(mask(server.url(lent.name)))
        return f"psql {url}\nIt stays until: DROP DATABASE {lent.name}"
    server.keep()
    url = shlex.quote(server.socket_url(lent.name))
    return (
        f"psql {url}\n"
        f"Its server stays until: oxy-pg stop --state-dir {shlex.quote(server.state_dir)}"
    )


def log_of(hosted: Hosted, names: list[str], position: dict[str, int]) -> str:
    """Return what the server has logged of these databases since then."""
    import secrets

    from oxy_pg.server.external import ExternalServer
    from oxy_pg.system.deadline import Deadline

    if isinstance(hosted.server, ExternalServer):
        return ""
    mark = f"oxy_pg reads the log ({secrets.token_hex(4)})"
    hosted.clones.log(mark)
    text = ""
    for _ in Deadline(2).attempts(0.002, 0.05):  # the log collector writes when it can
        text = hosted.server.log_since(position)
        if mark in text:
            break
    return "\n".join(_lines_of([f"@{name} " for name in names], text))


def crash_during(hosted: Hosted, position: dict[str, int]) -> str:
    """Return what the server has logged of a crash since then."""
    from oxy_pg.server.external import ExternalServer
    from oxy_pg.system import machine

    if isinstance(hosted.server, ExternalServer):
        return ""
    lines = hosted.server.log_since(position).splitlines()
    found = [line for line in lines if any(words in line for words in _CRASHES)]
    if any("terminated by signal 9" in line for line in found):
        found.append(
            "Signal 9 comes from `kill -9`, or from the system when memory runs out (dmesg "
            "tells). PostgreSQL has restarted, and every session of that moment was lost."
        )
        if machine.is_memory(hosted.server.state_dir):
            found.append(
                "The databases are in memory, too: OXY_PG_TEMP_DIR names a directory on a disk."
            )
    return "\n".join(found)


# What the postmaster logs when a server process dies (src/backend/postmaster/postmaster.c).
_CRASHES = (
    "was terminated by signal",
    "terminating any other active server processes",
    "all server processes terminated; reinitializing",
)


def _lines_of(marks: list[str], log: str) -> Iterator[str]:
    """Yield the log lines of some databases, with those that continue them."""
    is_its = False
    for line in log.splitlines():
        if not line.startswith("\t"):
            is_its = any(mark in line for mark in marks)
        if is_its:
            yield line
