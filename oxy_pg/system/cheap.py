"""
What attaching to a server needs of ``contextlib``, ``socket`` and ``threading``.

To import those three takes as long as to start Python. Where a process has
imported them anyway, theirs are used: a library may have put its own in their
place (gevent, pytest-socket).
"""

from __future__ import annotations

import _socket
import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import threading
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


def rlock() -> threading.RLock:
    """Return a new lock that its holder may take again."""
    made: threading.RLock = sys.modules.get("threading", _thread).RLock()
    return made
