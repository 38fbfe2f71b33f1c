"""
The queries that took long.

An embedded server logs each that takes longer than log_min_duration_statement
(1 s unless set otherwise); the values of parameters are not in it. Elsewhere
pg_stat_statements counts them, where an administrator has installed it.
"""

from __future__ import annotations

import os

from oxy_pg.server.cluster import logs
from oxy_pg.server.monitor import redaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_READ = 2 * 1024 * 1024  # bytes of the log's end
_MOST = 10

# log_line_prefix as config.py has it; what belongs to the same entry begins with a tab. Names have
# 63 bytes at most: without that bound, a line of a million @ would take hours.
_SLOW = b" LOG:  duration: "
_ENTRY = (
    r"(?m)^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+ (?P<zone>\S+) \[\d+\] "
    r"(?P<role>.{0,63}?)@(?P<database>.{0,63}?) LOG:  duration: (?P<ms>[\d.]+) ms  "
    r"(?:statement|parse|bind|execute|fastpath)\b[^:]*: (?P<query>.*(?:\n\t.*)*)"
)

# For servers that have it; {} is the schema it is in. The times are those of all calls.
STATEMENTS = """
SELECT coalesce(json_agg(t), '[]') FROM (
SELECT s.query, d.datname AS database, r.rolname AS role, s.calls,
       s.mean_exec_time AS mean_ms, s.max_exec_time AS max_ms, NULL AS last_at
  FROM {}.pg_stat_statements s
  LEFT JOIN pg_database d ON d.oid = s.dbid LEFT JOIN pg_roles r ON r.oid = s.userid
 WHERE s.max_exec_time >= {}
 ORDER BY s.total_exec_time DESC LIMIT 10) t
"""
STATEMENTS_SCHEMA = """
SELECT to_json((SELECT quote_ident(nspname) FROM pg_extension e
                  JOIN pg_namespace n ON n.oid = e.extnamespace
                 WHERE extname = 'pg_stat_statements'))
"""


def from_log(log_dir: str, at_least_ms: float) -> list[dict[str, Any]]:
    """
    Return what the log's last megabytes have; those first that took most time in all.

    Each has the fields of an ``activity.SlowQuery``.
    """
    log = _end_of_log(log_dir)
    if _SLOW not in log:
        return []
    import re  # where there is something to find: see plain.py

    found: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
    for entry in re.finditer(_ENTRY, log.decode(errors="replace")):
        took = float(entry["ms"])
        if took >= at_least_ms:
            key = (redaction.shown(entry["query"]), entry["database"], entry["role"])
            found.setdefault(key, []).append((took, f"{entry['at']} {entry['zone']}"))
    grouped: list[dict[str, Any]] = [
        {
            "query": query,
            "database": redaction.printable(database),
            "role": redaction.printable(role),
            "calls": len(calls),
            "mean_ms": round(sum(took for took, _ in calls) / len(calls), 3),
            "max_ms": max(took for took, _ in calls),
            "last_at": max(at for _, at in calls),
        }
        for (query, database, role), calls in found.items()
    ]
    return sorted(grouped, key=lambda one: one["calls"] * -one["mean_ms"])[:_MOST]


def _end_of_log(log_dir: str) -> bytes:
    parts: list[bytes] = []
    left = _READ
    for part in _backwards(log_dir, left):
        parts.insert(0, part)
        left -= len(part)
        if left <= 0:
            break
    return b"".join(parts)


def _backwards(log_dir: str, most: int) -> Iterator[bytes]:
    """Give the ends of the log files, newest first."""
    for path in reversed(logs.names(log_dir)):
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - most))
                yield file.read(most)
        except OSError:  # removed to keep the logs within bounds, or not ours to read
            continue
