"""How much of a database PostgreSQL has copied: CREATE DATABASE itself does not say."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg

from oxy_pg.report import Progress
from oxy_pg.transfer import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AFTER = 0.5  # seconds: what takes less is not spoken of
EVERY = 0.2  # seconds between two looks
# The files of databases that are not complete: of the one that is being made nobody else sees
# even its number (PostgreSQL 16 manual, 73.1: a directory below base for each database).
_INCOMPLETE = """
    SELECT coalesce(sum((pg_stat_file(concat_ws('/', 'base', d, f), true)).size), 0)::bigint
    FROM pg_ls_dir('base') AS d, LATERAL pg_ls_dir('base/' || d, true, false) AS f
    WHERE d NOT IN (SELECT oid::text FROM pg_database)
"""


@contextlib.contextmanager
def shown(
    other: psycopg.Connection[Any],
    template: str,
    on_progress: Callable[[Progress], object] | None,
) -> Iterator[None]:
    """
    Tell how many bytes of ``template`` are copied, while the block has PostgreSQL copy it.

    ``other`` is a superuser's session that nothing else uses meanwhile. What
    ``on_progress`` raises is raised at the end of the block.
    """
    if on_progress is None:
        yield
        return
    ended = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        watching = executor.submit(_watch, other, template, on_progress, ended)
        try:
            yield
        finally:
            ended.set()
    watching.result()


def _watch(
    other: psycopg.Connection[Any],
    template: str,
    on_progress: Callable[[Progress], object],
    ended: threading.Event,
) -> None:
    pause = AFTER
    # A session that has ended, a file that has gone: what matters, the copy itself says.
    with contextlib.suppress(psycopg.Error):
        # A crash may have left directories that belong to no database.
        before = database.one(other, _INCOMPLETE)
        size = database.one(other, "SELECT pg_database_size(%s)", template)
        copied = 0
        while not ended.wait(pause):
            # Complete, it is no longer among them.
            copied = max(copied, database.one(other, _INCOMPLETE) - before)
            on_progress(Progress("copy", min(copied, size), size))
            pause = EVERY
