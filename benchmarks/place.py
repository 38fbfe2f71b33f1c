"""Where the benchmarks' servers have their files, and this process its environment."""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import oxy_pg

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def lent(parent: str | None = None) -> Iterator[Path]:
    """
    Give a directory for one run, removed at its end.

    Nothing in it should be removed before: ext4 makes new files slowly for
    minutes after many have been deleted, and that would be measured.
    """
    base = Path(tempfile.mkdtemp(prefix="oxy_pg-bench-", dir=parent)).resolve()
    base.chmod(0o711)  # as root the servers run as another user
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def settle(*servers: oxy_pg.Server) -> None:
    """
    Write what others have left, so that the next contender does not wait for the disk.

    That is what they have written, and what deleting their files takes.
    """
    for server in servers:
        with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
    os.sync()


def in_turn(number: int, contenders: Sequence[T]) -> list[T]:
    """Return the contenders in the order of a round: in each another one comes first."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def in_memory() -> str | None:
    """Return a directory in memory if there is room; None for the temporary directory."""
    with contextlib.suppress(OSError):
        found = os.statvfs("/dev/shm")
        if found.f_bavail * found.f_frsize > 4 << 30:
            return "/dev/shm"
    return None


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a contender's process: ours, without what would decide for it."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("OXY_")}
    # Their bytecode was compiled when they were installed, and so must ours be.
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**given, **more}


def with_cache(cache: Path, **more: str) -> dict[str, str]:
    """
    Return the environment of ours with a cache of its own.

    The checksum of its template is kept outside of it, and by the template's
    name: without a place of its own the next cache's would take its place, and
    the template would be refused.
    """
    return environment(OXY_PG_CACHE_DIR=str(cache), XDG_STATE_HOME=f"{cache}-state", **more)


def compile_ours() -> None:
    compileall.compile_dir(ROOT / "oxy_pg", quiet=2)
