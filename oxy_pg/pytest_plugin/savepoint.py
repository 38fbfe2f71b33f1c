"""psycopg connections whose work is never committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from typing import Self

_NAME = "oxy_pg"
# Sessions in the database that tests share are read-only otherwise.
_BEGIN = f"BEGIN READ WRITE; SAVEPOINT {_NAME}"
_COMMIT = f"RELEASE SAVEPOINT {_NAME}; SAVEPOINT {_NAME}"
_ROLLBACK = f"ROLLBACK TO SAVEPOINT {_NAME}"


class SavepointConnection(psycopg.Connection[tuple[Any, ...]]):
    """
    One transaction from ``begin()`` to ``end()``, in which commits are savepoints.

    ``commit()`` and ``rollback()`` end and undo what came since the last
    commit, as they would in a connection of its own; ``transaction()`` blocks
    nest. ``close()`` rolls back to the last commit and leaves the connection
    open, so that code which closes its connections, and SQLAlchemy's pools,
    can be given it again and again.
    """

    @classmethod
    def begin(cls, url: str) -> Self:
        """Connect and begin the transaction."""
        # In autocommit mode psycopg sends no BEGIN of its own, and this one is never seen as the
        # user's: transaction() finds itself inside a transaction and makes savepoints.
        connection = cls.connect(url, autocommit=True)
        connection.execute(_BEGIN)
        return connection

    def commit(self) -> None:
        """Keep what was done, until ``end()``; after an error it is rolled back, as always."""
        if self.info.transaction_status == TransactionStatus.INERROR:
            self.rollback()
        else:
            self.execute(_COMMIT)

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        self.execute(_ROLLBACK)

    def close(self) -> None:
        """Undo what was not committed, and stay open."""
        if not self.closed and self.info.transaction_status != TransactionStatus.IDLE:
            self.rollback()

    def set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - psycopg's signature
        """Do nothing: every statement is visible to the next one anyway."""

    def end(self) -> bool:
        """Undo everything and disconnect; False: the transaction was ended with SQL's COMMIT."""
        try:
            self.rollback()
        except psycopg.Error:
            return self.broken  # a lost connection has committed nothing
        finally:
            super().close()
        return True


class AsyncSavepointConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """As ``SavepointConnection``, asynchronous."""

    @classmethod
    async def begin(cls, url: str) -> Self:
        """Connect and begin the transaction."""
        connection = await cls.connect(url, autocommit=True)
        await connection.execute(_BEGIN)
        return connection

    async def commit(self) -> None:
        """Keep what was done, until ``end()``; after an error it is rolled back, as always."""
        if self.info.transaction_status == TransactionStatus.INERROR:
            await self.rollback()
        else:
            await self.execute(_COMMIT)

    async def rollback(self) -> None:
        """Undo what was done since the last commit."""
        await self.execute(_ROLLBACK)

    async def close(self) -> None:
        """Undo what was not committed, and stay open."""
        if not self.closed and self.info.transaction_status != TransactionStatus.IDLE:
            await self.rollback()

    async def set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - psycopg's signature
        """Do nothing: every statement is visible to the next one anyway."""

    async def end(self) -> bool:
        """Undo everything and disconnect; False: the transaction was ended with SQL's COMMIT."""
        try:
            await self.rollback()
        except psycopg.Error:
            return self.broken  # a lost connection has committed nothing
        finally:
            await super().close()
        return True
