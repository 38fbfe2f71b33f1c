"""One point in time that everything a caller asked for shares."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Deadline:
    """
    When the caller's time is up.

    It travels down: no callee restarts the clock. Measured on the monotonic
    clock, so that setting the machine's time moves nothing.
    """

    __slots__ = ("at", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.at = time.monotonic() + timeout

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    def attempts(self, pause: float, longest_pause: float) -> Iterator[float]:
        """
        Yield until the time is up, sleeping longer between the attempts each time.

        There is always a first attempt, and one right at the end. What is
        yielded is the time left, in seconds.
        """
        while True:
            remaining = self.remaining()
            yield remaining
            if not remaining:
                return
            time.sleep(min(pause, self.remaining()))
            pause = min(pause * 2, longest_pause)
