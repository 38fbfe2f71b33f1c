"""
Settings that fit a machine, beside those that a server has.

``propose()`` decides, and touches nothing; each value carries its rule and the
chapter of the manual that the rule comes from. The starting point is the table
of Oxy's migration guide, which suits a machine with 2 GB; a smaller machine
gets less and a larger one more.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from oxy_pg.system.machine import HDD

if TYPE_CHECKING:
    from psycopg import Connection

    from oxy_pg.system.machine import Machine

_MB = 1024 * 1024
_UNITS = {"B": 1, "kB": 1024, "8kB": 8192, "MB": _MB, "GB": 1024 * _MB, "TB": _MB * _MB}
_NEAR = 0.05  # a value that is so near is not worth a change
_BASELINE = 2048  # MB: the machine that the guide's table suits


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """A setting's value for a machine, the rule that gave it, and where that comes from."""

    name: str
    value: str
    why: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """A proposal beside what the server has; ``restart``: a reload does not apply it."""

    name: str
    current: str
    proposed: str
    differs: bool
    restart: bool
    why: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """What the rules have to know of the server itself."""

    version: int  # 16 is 16
    linux: bool
    dedicated: bool  # nothing else of weight runs on the machine
    max_connections: int
    max_worker_processes: int = 8


def propose(machine: Machine, server: Server) -> tuple[Proposal, ...]:
    """Choose the settings for a server on a machine, and touch nothing."""
    return (*_memory(machine, server), *_disk(machine, server), *_cores(machine, server))


def _memory(machine: Machine, server: Server) -> tuple[Proposal, ...]:
    total = machine.memory // _MB
    alone, connections = server.dedicated, server.max_connections
    # The embedded server shares its machine with the application, an editor and a browser.
    ours = total if alone else total // 2
    shared = max(16, ours // 4) if alone else max(16, min(2048, ours // 4))
    guide = min(16, total * 16 // _BASELINE) * 100 // max(100, connections)
    spare = (ours - shared) // (3 * connections)
    return (
        Proposal(
            "shared_buffers",
            _size(shared),
            "a quarter of the memory"
            if alone
            else "an eighth of the memory, which it shares; at most 2GB",
            _manual("20.4.1"),
        ),
        Proposal(
            "effective_cache_size",
            _size(max(64, total * 3 // 4 if alone else total // 2)),
            f"{'three quarters' if alone else 'half'} of the memory: shared_buffers and what the "
            "system caches",
            _manual("20.7.2"),
        ),
        Proposal(
            "work_mem",
            _size(min(256, max(4, guide, spare))),
            f"the rest of {'the' if alone else 'half the'} memory, for three sorts in each of "
            f"{connections} connections; 16MB where the guide's table fits, 4MB to 256MB",
            _manual("20.4.1"),
        ),
        Proposal(
            "maintenance_work_mem",
            _size(max(16, min(1024, ours // 16))),
            f"a {'sixteenth' if alone else 'thirty-second'} of the memory, 16MB to 1GB: VACUUM "
            "and CREATE INDEX are few at a time",
            _manual("20.4.1"),
        ),
        Proposal(
            "max_connections",
            str(connections),
            "as many as asked for: each takes memory, and a pool serves more clients",
            _manual("20.3.1"),
        ),
        Proposal(
            "max_wal_size",
            _size(max(1024, min(16384 if alone else 2048, 2 * shared))),
            f"twice shared_buffers, 1GB to {'16GB' if alone else '2GB'}: checkpoints come by time "
            "and not by size; the disk needs that much",
            _manual("20.5.2"),
        ),
    )


def _disk(machine: Machine, server: Server) -> tuple[Proposal, ...]:
    rotates = machine.disk == HDD
    kind = {None: "taken for an SSD: its kind is not known", HDD: "a disk that rotates"}
    why = kind.get(machine.disk, "an SSD")
    found = [
        Proposal(
            "random_page_cost",
            "4" if rotates else "1.1",
            f"{why}: a random page costs {'much' if rotates else 'little'} more than the next one",
            _manual("20.7.2"),
        )
    ]
    if server.linux:  # elsewhere there is no posix_fadvise(2), and only 0 is taken before 18
        few = 16 if server.version >= 18 else 2
        found.append(
            Proposal(
                "effective_io_concurrency",
                str(few if rotates else 200),
                f"{why}: it answers {few if rotates else 'hundreds of'} requests at once",
                _manual("20.4.6"),
            )
        )
    return tuple(found)


def _cores(machine: Machine, server: Server) -> tuple[Proposal, ...]:
    cpus = machine.cpus
    half = min(4, cpus // 2)
    found = [
        Proposal(
            "max_worker_processes",
            str(max(8, cpus, server.max_worker_processes)),
            "one for each core, at least 8, and no less than now: extensions need theirs",
            _manual("20.4.6"),
        ),
        Proposal("max_parallel_workers", str(cpus), "one for each core", _manual("20.4.6")),
        *(
            Proposal(
                name,
                str(half),
                "half of the cores, at most 4: others work too",
                _manual("20.4.6"),
            )
            for name in ("max_parallel_workers_per_gather", "max_parallel_maintenance_workers")
        ),
    ]
    if server.version >= 18:
        found.append(
            Proposal(
                "io_workers",
                str(max(3, min(32, cpus // 4))),
                "a quarter of the cores, 3 to 32",
                "PostgreSQL 18 manual, 19.4.5",
            )
        )
    return tuple(found)


def _manual(section: str) -> str:
    return f"PostgreSQL 16 manual, {section}"


def _size(megabytes: int) -> str:
    if megabytes > 256:
        megabytes -= megabytes % (16 if megabytes < 4096 else 256)
    return f"{megabytes // 1024}GB" if megabytes % 1024 == 0 else f"{megabytes}MB"


# --- beside what a server has ---


def compare(
    connection: Connection[Any], machine: Machine, *, dedicated: bool, connections: int | None
) -> tuple[Comparison, ...]:
    """
    Set the proposals for a machine beside a server's settings, in the proposals' order.

    ``connections`` is the number to allow; None: as many as now. A setting that
    the server does not have is left out. Raises psycopg.Error.
    """
    rows = connection.execute(
        "SELECT name, setting, unit, context, current_setting(name) FROM pg_settings"
    ).fetchall()
    known = {str(row[0]): row[1:] for row in rows}
    platform = connection.execute("SELECT version()").fetchone()
    server = Server(
        version=connection.info.server_version // 10000,
        linux="linux" in str(platform).lower(),
        dedicated=dedicated,
        max_connections=connections or int(known["max_connections"][0]),
        # An embedded server has no extensions that need more than the cores do.
        max_worker_processes=int(known["max_worker_processes"][0]) if dedicated else 0,
    )
    return tuple(
        _compared(one, *known[one.name]) for one in propose(machine, server) if one.name in known
    )


def _compared(
    one: Proposal, setting: str, unit: str | None, context: str, shown: str
) -> Comparison:
    now, wanted = float(setting) * _UNITS.get(unit or "B", 1), _number(one.value)
    return Comparison(
        one.name,
        shown,
        one.value,
        differs=abs(now - wanted) > _NEAR * wanted,
        restart=context == "postmaster",
        why=one.why,
        source=one.source,
    )


def _number(value: str) -> float:
    """Return a size in bytes, or a number as it is."""
    digits = value.rstrip("kMGTB")
    return float(digits) * _UNITS[value[len(digits) :] or "B"]


def sql(found: tuple[Comparison, ...]) -> str:
    """Spell the differences as ALTER SYSTEM statements, for psql."""
    lines = [
        f"ALTER SYSTEM SET {one.name} = '{one.proposed}';  -- now {one.current}"
        + ("; needs a restart" if one.restart else "")
        for one in found
        if one.differs
    ]
    if not lines:
        return "-- Every setting fits already.\n"
    waiting = ", ".join(one.name for one in found if one.differs and one.restart)
    lines.append("SELECT pg_reload_conf();")
    if waiting:
        lines.append(f"-- A restart has to follow for: {waiting}.")
    return "\n".join(lines) + "\n"


def overridden(connection: Connection[Any], names: list[str]) -> list[str]:
    """Return those settings that ALTER SYSTEM has set, which wins over ours; for a superuser."""
    rows = connection.execute(
        "SELECT DISTINCT name FROM pg_file_settings"
        " WHERE sourcefile LIKE '%%/postgresql.auto.conf' AND name = ANY (%s) ORDER BY name",
        [names],
    ).fetchall()
    return [str(row[0]) for row in rows]
