"""
One query over the private socket, without a driver.

The supervisor has to ask its server which one it is, and whether a client is
connected; a process that attaches asks whether its database exists. psycopg
would take longer to import than either takes in all, and would double the
supervisor's memory. So this speaks the little of the protocol that they need:
startup, simple query, text results (PostgreSQL 16 manual, chapter 55).
"""

from __future__ import annotations

from oxy_pg.facts import MAINTENANCE_DATABASE, MONITOR, SUPERUSER
from oxy_pg.server.cluster import session
from oxy_pg.system import cheap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from oxy_pg.system.deadline import Deadline

_PROTOCOL_3_0 = 196608
# Starting or going down, no connection left: it would be the same for the superuser.
_PASSING = ("57P", "53")


class QueryError(Exception):
    """PostgreSQL refused: its message, and the SQLSTATE of it."""

    def __init__(self, sqlstate: str, message: str, *, fatal: bool = False) -> None:
        super().__init__(sqlstate, message)
        self.sqlstate = sqlstate
        self.message = message
        self.fatal = fatal  # the connection is gone

    def __str__(self) -> str:
        return self.message


class Connection:
    """A connection through the socket, with pinned settings; a context manager."""

    def __init__(
        self,
        socket_dir: str,
        port: int,
        deadline: Deadline,
        database: str = MAINTENANCE_DATABASE,
        user: str = SUPERUSER,
        *,
        any_version: bool = False,
        pinned: bool = True,
        waits: bool = True,
    ) -> None:
        """
        Connect to ``database`` as ``user``, by default the superuser.

        ``any_version``: the server may be older than PostgreSQL 16. Without
        ``pinned`` the session begins as an application's does. Without
        ``waits`` the server's answer is awaited with that of the first query,
        and what is raised here otherwise is raised there.

        Raises OSError when no answer comes in time and QueryError when the
        server refuses, for instance because it is still starting (57P03).
        """
        self.deadline = deadline
        self._buffer = b""
        self._socket = cheap.unix_socket()
        try:
            self._socket.settimeout(deadline.remaining() or 0.001)
            self._socket.connect(f"{socket_dir}/.s.PGSQL.{port}")
            parameters = {"user": user, "database": database, "application_name": "oxy_pg"}
            if pinned:
                parameters |= session.parameters(user, any_version=any_version)
            words = (word for pair in parameters.items() for word in pair)
            body = b"\0".join(word.encode() for word in words) + b"\0\0"
            self._socket.sendall(_int32(len(body) + 8) + _int32(_PROTOCOL_3_0) + body)
            self._is_let_in = False
            if waits:
                self._wait_to_be_let_in()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with cheap.suppress(OSError):
            self._socket.sendall(b"X\0\0\0\x04")  # Terminate: spares the server a log line
        self._socket.close()

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """Run one statement, or several without results, and return the rows as text."""
        body = sql.encode() + b"\0"
        try:
            self._socket.sendall(b"Q" + _int32(len(body) + 4) + body)
        except BrokenPipeError:
            if self._is_let_in:
                raise
            # Its refusal is there to be read.
        self._wait_to_be_let_in()
        return self._rows()

    def _wait_to_be_let_in(self) -> None:
        if not self._is_let_in:
            self._rows()
            self._is_let_in = True

    def _rows(self) -> list[tuple[str | None, ...]]:
        """Read until ReadyForQuery; raises the error that came on the way, if one did."""
        rows: list[tuple[str | None, ...]] = []
        error: QueryError | None = None
        while True:
            kind, body = self._message()
            if kind == b"Z":
                if error is not None:
                    raise error
                return rows
            if kind == b"D":
                rows.append(_row(body))
            elif kind == b"E":
                error = _error(body)
                if error.fatal:
                    raise error  # no ReadyForQuery will follow
            elif kind == b"R" and body[:4] != b"\0\0\0\0":
                raise QueryError("28000", "the server asks for a password on its private socket")

    def _message(self) -> tuple[bytes, bytes]:
        header = self._read(5)
        return header[:1], self._read(int.from_bytes(header[1:]) - 4)

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._socket.settimeout(self.deadline.remaining() or 0.001)
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            self._buffer += received
        result, self._buffer = self._buffer[:size], self._buffer[size:]
        return result


def monitor(
    socket_dir: str, port: int, deadline: Deadline, database: str = MAINTENANCE_DATABASE
) -> Connection:
    """
    Connect as the role that reads statistics and may do nothing else.

    Raises what Connection raises. As superuser where it cannot: in a server
    that an older oxy_pg has started the role is missing until the next
    ``ensure()``, and a library in session_preload_libraries may be missing.
    """
    try:
        return Connection(socket_dir, port, deadline, database, MONITOR)
    except QueryError as error:
        if error.sqlstate.startswith(_PASSING):
            raise
    return Connection(socket_dir, port, deadline, database)


def _int32(number: int) -> bytes:
    return number.to_bytes(4)


def _row(body: bytes) -> tuple[str | None, ...]:
    fields: list[str | None] = []
    at = 2
    for _ in range(int.from_bytes(body[:2], signed=True)):
        size = int.from_bytes(body[at : at + 4], signed=True)
        at += 4
        if size < 0:
            fields.append(None)
            continue
        fields.append(body[at : at + size].decode())
        at += size
    return tuple(fields)


def _error(body: bytes) -> QueryError:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    detail = "".join(f"\n{fields[key]}" for key in (b"D", b"H") if key in fields)
    message = fields.get(b"M", "") + detail
    return QueryError(fields.get(b"C", ""), message, fatal=fields.get(b"V") in {"FATAL", "PANIC"})


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a string for SQL (standard_conforming_strings is on)."""
    return "'" + text.replace("'", "''") + "'"
