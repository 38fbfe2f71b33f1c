"""asyncpg's connections and pools for one database, and their end."""

from __future__ import annotations

import contextlib
from typing import Any

import asyncpg


class AsyncpgDatabase:
    """``asyncpg.connect()`` and ``asyncpg.create_pool()`` for the database of a test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open: list[Any] = []

    async def connect(self, **options: Any) -> Any:
        """Return a new connection; ``options`` are those of ``asyncpg.connect()``."""
        connection = await asyncpg.connect(self.url, **options)
        self._open.append(connection)
        return connection

    def create_pool(self, **options: Any) -> Any:
        """
        Return a new pool, to be awaited or used with ``async with``.

        ``options`` are those of ``asyncpg.create_pool()``; unless they say
        otherwise, it begins with one connection.
        """
        pool = asyncpg.create_pool(self.url, **{"min_size": 1, **options})
        self._open.append(pool)
        return pool

    def terminate(self) -> None:
        """Close what is still open, without waiting; its event loop may have ended."""
        for each in self._open:
            with contextlib.suppress(RuntimeError, asyncpg.InterfaceError):
                each.terminate()
