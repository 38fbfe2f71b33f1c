"""A database of a test, as its test sees it: its URL, and how to go back in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy

    from oxy_pg.pytest_plugin.hosted import Lent


class Snapshot:
    """The contents of a database at one moment; made by ``Database.snapshot()``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Snapshot({self._name!r})"


class Database:
    """
    A database for tests: what ``oxy_pg_database`` and ``oxy_pg_database_factory`` give.

    ``url`` suits every driver, ``name`` is the database's name.
    """

    def __init__(self, lent: Lent) -> None:
        self._lent = lent
        self.name = lent.name
        self.url = lent.hosted.url(lent.name)

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """
        Return a new psycopg connection to it, which the caller closes.

        ``options`` are those of ``psycopg.connect()``. Raises psycopg.Error.
        """
        import psycopg

        return psycopg.connect(self._lent.hosted.quick_url(self.name), **options)

    def engine(self, **options: Any) -> sqlalchemy.Engine:
        """
        Return a new SQLAlchemy engine for it, which the caller disposes of.

        ``options`` are those of ``sqlalchemy.create_engine()``.
        """
        import sqlalchemy

        return sqlalchemy.create_engine(self._lent.hosted.engine_url(self.name), **options)

    def snapshot(self) -> Snapshot:
        """
        Remember what is in the database, for ``restore()``.

        No client may be connected to it, except for the fixtures'
        connections, which go on. Raises ServerError, at once, with those who
        are connected, and where a fixture's transaction is not finished.
        """
        self._lent.pause("a snapshot holds what was committed")
        try:
            name = self._lent.hosted.clones.copy(self.name)
        finally:
            self._lent.resume()
        self._lent.copies.append(name)
        return Snapshot(name)

    def restore(self, snapshot: Snapshot) -> None:
        """
        Leave the database as it was at a snapshot, which can be used again.

        All sessions in it are ended; the fixtures' connections go on. Raises
        ServerError.
        """
        self._lent.pause("")
        try:
            self._lent.hosted.clones.replace(self.name, snapshot._name)  # noqa: SLF001
        finally:
            self._lent.resume()
