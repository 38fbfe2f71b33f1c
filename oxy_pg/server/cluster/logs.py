"""The server's log files: kept within bounds, and read back."""

from __future__ import annotations

import os

# A new file begins at 8 MB (config.py), so this much may be kept besides it for 64 MB in all.
_KEPT_BYTES = 56 * 1024 * 1024
_KEPT_FILES = 200  # one is made at every start, however short

_STARTUP_LOG = "startup.log"
# In the startup log, of a postmaster whose log collector writes the rest.
_COLLECTED = "redirecting log output"
# What a postmaster says at its end, unless it was killed (src/backend/utils/init/miscinit.c).
_LAST_LINE = "database system is shut down"


# In the supervisor's log, before what is known of a crash.
CRASH = "crash:"


def startup_log(log_dir: str) -> str:
    """Return the file for what the postmaster says before its log collector runs."""
    return f"{log_dir}/{_STARTUP_LOG}"


def names(log_dir: str) -> list[str]:
    """Return the paths of the server's log files, oldest first."""
    try:
        found = sorted(name for name in os.listdir(log_dir) if name.startswith("postgresql-"))
    except OSError:
        return []
    return [f"{log_dir}/{name}" for name in found]


def prune(log_dir: str) -> None:
    """Remove the oldest log files, so that all of them stay within 64 MB."""
    try:
        # By descriptor: as root, the server's own user could put a link in its place.
        directory = os.open(log_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _prune(directory)
    finally:
        os.close(directory)


def _prune(directory: int) -> None:
    total = 0
    found = sorted(name for name in os.listdir(directory) if name.startswith("postgresql-"))
    # The newest is being written; counting it as full keeps the bound while it grows.
    for number, name in enumerate(reversed(found[:-1]), start=1):
        try:
            total += os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
            if total > _KEPT_BYTES or number > _KEPT_FILES:
                os.unlink(name, dir_fd=directory)
        except OSError:
            continue  # it has gone


def sizes(log_dir: str) -> dict[str, int]:
    """Return how long each log file is now, for ``since()``."""
    found = {}
    for path in (startup_log(log_dir), *names(log_dir)):
        try:
            found[path] = os.stat(path).st_size
        except OSError:
            continue  # it has gone
    return found


def _no_link(path: str, flags: int) -> int:
    """Open a log file and nothing that its owner has put in its place, a pipe for instance."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def since(log_dir: str, before: dict[str, int], limit: int = 4096) -> str:
    """Return what was logged after ``before`` was taken: its last ``limit`` bytes."""
    parts = _parts([startup_log(log_dir)], {}, limit) + _parts(names(log_dir), before, limit)
    lines = "".join(parts)[-limit:].splitlines()
    # The collector's own announcement does not explain why a start has failed.
    noise = (_COLLECTED, "Future log output will appear")
    return "\n".join(line for line in lines if not any(words in line for words in noise))


def is_complete(log_dir: str, before: dict[str, int], pid: int) -> bool:
    """
    Whether all that a postmaster has logged is there, which has ended since ``before``.

    Only as far as log_line_prefix has its pid, as it has by default.
    """
    if not any(_COLLECTED in text for text in _parts([startup_log(log_dir)], {}, 4096)):
        return True
    # What the postmaster before it said at its end may come late, too.
    lines = "".join(_parts(names(log_dir), before, 4096)).splitlines()
    return any(_LAST_LINE in line and f"[{pid}]" in line for line in lines)


def _parts(paths: list[str], before: dict[str, int], limit: int) -> list[str]:
    """Return what was added to each of these files: its end."""
    from oxy_pg.system import cheap  # not at the top: see daemon.py

    parts = []
    for path in paths:
        begin = before.get(path, 0)
        with cheap.suppress(OSError), open(path, "rb", opener=_no_link) as file:
            end = os.fstat(file.fileno()).st_size
            file.seek(max(begin, end - limit, 0))
            parts.append(file.read(limit).decode(errors="replace"))
    return parts


def crashes(supervisor_log: str) -> list[str]:
    """Return what the supervisor's log says of each crash in the last hour, oldest first."""
    import time

    from oxy_pg.system.deadline import wall_clock

    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(wall_clock() - 3600))
    text = "".join(_parts([supervisor_log], {}, 1 << 20))
    found = [line[20:] for line in text.splitlines() if line[:19] >= since]
    return [line.removeprefix(CRASH).strip() for line in found if line.startswith(CRASH)]


def tail(log_dir: str, lines: int) -> list[str]:
    """Return the last ``lines`` lines of the newest logs."""
    import contextlib

    result: list[str] = []
    for path in reversed(names(log_dir)):
        with contextlib.suppress(OSError), open(path, "rb", opener=_no_link) as file:
            result = file.read().decode(errors="replace").splitlines()[-lines:] + result
        if len(result) >= lines:
            break
    return result[-lines:] if lines else []
