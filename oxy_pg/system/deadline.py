"""
One point in time that everything a caller asked for shares, and the clock it is read from.

Tests freeze time (freezegun, time-machine): they replace time.monotonic(),
time.time() and their like, and a wait on a frozen clock never ends. What
clock_gettime(2) says of the clocks used here stays true.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def now() -> float:
    """Return seconds on a clock that nothing sets and that no test freezes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def wall_clock() -> float:
    """Return seconds since 1970, as files are stamped with them, where tests freeze time too."""
    # time-machine replaces CLOCK_REALTIME; Linux has the same clock under another number.
    coarse = 5 if sys.platform == "linux" else time.CLOCK_REALTIME  # CLOCK_REALTIME_COARSE
    return time.clock_gettime(coarse)


# Seconds, 23 days: what poll(2) takes as milliseconds, and so the sockets and locks of Python.
_LONGEST = 2_000_000.0


class Deadline:
    """
    When the caller's time is up.

    It travels down: no callee restarts the clock. Measured on the monotonic
    clock, so that setting the machine's time moves nothing. ``math.inf`` is for
    as long as it takes.
    """

    __slots__ = ("at", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.at = now() + min(timeout, _LONGEST)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - now())

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
