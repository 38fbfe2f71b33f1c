"""
The supervisor's clients: every connection to its control socket.

One that has taken a lease keeps the server up. The kernel closes a connection
however its process ends, so there are no lists of processes that could go
stale. What the lines mean that go back and forth is described in ``loop.py``.
"""

from __future__ import annotations

import _socket
import time

from oxy_pg.system import cheap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONGEST_REQUEST = 4096  # bytes


class Client:
    """One connection to the control socket."""

    __slots__ = ("buffer", "keep_alive", "leased", "pid", "socket", "waits_for")

    def __init__(self, connection: _socket.socket) -> None:
        self.socket = connection
        self.buffer = b""
        self.leased = False
        self.pid = 0
        self.waits_for = ""  # "ready" or "stopped"

    def send(self, line: str) -> None:
        """Send one line; the selector finds out a client that does not read any more."""
        with cheap.suppress(OSError):
            self.socket.send(line.encode() + b"\n")


class Clients:
    """Accepts connections, reads requests, and knows who holds a lease or waits for what."""

    def __init__(
        self,
        control: _socket.socket,
        selector: cheap.Selector,
        answers: Mapping[str, Callable[..., None]],
        released: Callable[[], None],
    ) -> None:
        """
        Serve a socket that listens, by way of the selector.

        ``answers`` has for each request what to call with the client and the
        request's words; TypeError and ValueError mean that it is none.
        ``released`` is called when a lease has ended.
        """
        self._control = control
        self._selector = selector
        self._answers = answers
        self._released = released
        self._clients: set[Client] = set()

    def listen(self) -> None:
        """Take requests from now on."""
        self._control.setblocking(False)
        self._selector.register(self._control.fileno(), self._accept)

    def listen_on(self, control: _socket.socket) -> None:
        """Take requests on another socket: the name of the first was removed."""
        self._selector.unregister(self._control.fileno())
        self._control.close()
        self._control = control
        self.listen()

    def close(self) -> None:
        """Accept no client any more."""
        self._control.close()

    # --- who is there ---

    def is_leased(self) -> bool:
        """Whether any client holds a lease."""
        return any(client.leased for client in self._clients)

    def lease_pids(self) -> list[int]:
        """Return the processes that hold a lease, in order."""
        return sorted(client.pid for client in self._clients if client.leased)

    # --- what they are told ---

    def announce(self, line: str) -> None:
        """Tell every client that holds a lease."""
        for client in self._clients:
            if client.leased:
                client.send(line)

    def ready(self, line: str) -> None:
        """Tell every client that holds a lease, or waits for one, that the server is ready."""
        for client in self._clients:
            if client.leased or client.waits_for == "ready":
                client.waits_for = ""
                client.send(line)

    def failed(self, line: str) -> None:
        """Tell the same that it will not be, and end their leases."""
        for client in self._clients:
            if client.leased or client.waits_for == "ready":
                client.send(line)
            client.leased = False

    def stopped(self) -> None:
        """Tell every client that waits for it that the server has stopped."""
        for client in self._clients:
            if client.waits_for == "stopped":
                client.send("stopped")

    # --- the connections ---

    def _accept(self) -> None:
        try:
            # What socket.accept() calls.
            descriptor, _ = self._control._accept()  # type: ignore[attr-defined] # noqa: SLF001
        except BlockingIOError:
            return
        except OSError:
            # No more files: a client that waits is accepted when another one has left.
            time.sleep(0.05)
            return
        connection = _socket.socket(fileno=descriptor)
        connection.setblocking(False)
        client = Client(connection)
        self._clients.add(client)
        self._selector.register(connection.fileno(), lambda: self._receive(client))

    def _receive(self, client: Client) -> None:
        try:
            received = client.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received or len(client.buffer) > _LONGEST_REQUEST:
            self._drop(client)
            return
        client.buffer += received
        while b"\n" in client.buffer:
            line, client.buffer = client.buffer.split(b"\n", 1)
            words = line.decode(errors="replace").split()
            answer = self._answers.get(words[0]) if words else None
            try:
                if answer is None:
                    raise ValueError(line)  # noqa: TRY301
                answer(client, *words[1:])
            except (TypeError, ValueError):
                client.send("failed not a request")

    def _drop(self, client: Client) -> None:
        self._selector.unregister(client.socket.fileno())
        client.socket.close()
        self._clients.discard(client)
        if client.leased:
            self._released()
