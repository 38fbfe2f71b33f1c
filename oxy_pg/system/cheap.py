"""
What attaching to a server, and supervising one, need of some modules of the standard library.

To import contextlib, hashlib, selectors, socket and threading takes as long as
to start Python. Where a process has imported socket and threading anyway,
theirs are used: a library may have put its own in their place (gevent,
pytest-socket).
"""

from __future__ import annotations

import _socket
import _thread
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable
    from types import TracebackType


class suppress:  # noqa: N801 - as contextlib spells it
    """Go on after one of these exceptions, as ``contextlib.suppress`` does."""

    __slots__ = ("_kinds",)

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


def unix_socket() -> socket.socket:
    """Return a new stream socket of the Unix domain."""
    made: socket.socket = sys.modules.get("socket", _socket).socket(
        _socket.AF_UNIX, _socket.SOCK_STREAM
    )
    return made


class Selector:
    """Waits until something can be read, as a ``selectors.DefaultSelector`` does."""

    __slots__ = ("_calls", "_poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Callable[[], object]] = {}

    def register(self, descriptor: int, call: Callable[[], object]) -> None:
        """Make this ``call`` whenever the descriptor can be read, or its other end has gone."""
        self._calls[descriptor] = call
        self._poll.register(descriptor, select.POLLIN)

    def unregister(self, descriptor: int) -> None:
        """Do not look at this one any more; before it is closed."""
        self._poll.unregister(descriptor)
        del self._calls[descriptor]

    def wait(self, seconds: float | None) -> None:
        """Make the calls that are due; return after so many seconds at most."""
        for descriptor, _ in self._poll.poll(None if seconds is None else seconds * 1000):
            call = self._calls.get(descriptor)
            if call is not None:  # not unregistered by one of those before it
                call()


def sha256(data: bytes) -> str:
    """
    Return the SHA-256 of a few bytes in hexadecimal, without loading OpenSSL.

    hashlib takes a third of the time that Python takes to start, and each start of a server
    needs a name or two.
    """
    for name in ("_sha2", "_sha256"):  # since Python 3.12, and before
        try:
            found: str = __import__(name).sha256(data).hexdigest()
        except ImportError:  # a Python that was built without
            continue
        return found
    import hashlib

    return hashlib.sha256(data).hexdigest()


def rlock() -> threading.RLock:
    """Return a new lock that its holder may take again."""
    made: threading.RLock = sys.modules.get("threading", _thread).RLock()
    return made
