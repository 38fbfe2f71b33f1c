"""How long a server stays up that is not in use."""

from __future__ import annotations

import time

_FIRST_LEASE = 10.0  # seconds for the starter to take a lease


class KeepAlive:
    """
    The seconds that a server stays up unused: the longest time that a client asked for.

    `oxy-pg start` keeps the server until it is stopped, also when an application
    asks for it afterwards.
    """

    __slots__ = ("_last_use", "_was_leased", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._was_leased = False
        self._last_use = time.monotonic()

    def lease(self, seconds: float) -> None:
        """A client takes a lease, and asks for so many seconds."""
        self._was_leased = True
        self.seconds = max(self.seconds, seconds)

    @property
    def was_leased(self) -> bool:
        """Whether any client has taken a lease so far."""
        return self._was_leased

    def use(self) -> None:
        """It is in use, or was until now."""
        self._last_use = time.monotonic()

    def ends_at(self) -> float:
        """When it is over, on the monotonic clock; the starter may be slow to take its lease."""
        wait = self.seconds if self._was_leased else max(self.seconds, _FIRST_LEASE)
        return self._last_use + wait
