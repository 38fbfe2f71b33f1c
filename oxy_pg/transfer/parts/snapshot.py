"""One moment of the source, for any number of connections."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg.transfer import database
from oxy_pg.transfer.parts import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A snapshot that was exported; it lives as long as the transaction of ``connection``.

    ``name`` is what ``pg_dump --snapshot`` takes.
    """

    url: str
    connection: psycopg.Connection[Any]
    name: str

    @contextlib.contextmanager
    def reader(self) -> Iterator[psycopg.Connection[Any]]:
        """Give another connection that sees the same moment."""
        with contextlib.closing(database.connect_again(self.url)) as connection:
            _begin(connection, self.name)
            yield connection


def export(connection: psycopg.Connection[Any], url: str) -> Snapshot:
    """Begin a read-only transaction, and export its snapshot; raises psycopg.Error."""
    _begin(connection)
    name = str(database.one(connection, "SELECT pg_export_snapshot()"))
    return Snapshot(url, connection, name)


def _begin(connection: psycopg.Connection[Any], name: str | None = None) -> None:
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    if name is not None:
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(name)))
    connection.execute(settings.ROWS)
    connection.execute("SET LOCAL synchronize_seqscans = off")
