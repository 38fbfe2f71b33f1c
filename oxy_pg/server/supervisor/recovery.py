"""What follows when a postmaster has ended unasked: another start, or the end of attempts."""

from __future__ import annotations

import time

_HOUR = 3600.0
_LONGEST_PAUSE = 1.0  # seconds between two attempts to bring back a crashed server
_MOST_FAILURES = 30  # in a row, until the supervisor gives up
_LONGEST_WAIT = 0.25  # seconds between two attempts while something is in the way that passes
_MOST_WAITS = 120  # of those, half a minute
_STABLE_AFTER = 2.0  # seconds after which earlier crashes no longer count

TAKEN_PORT = "could not bind"
# What goes away by itself: a port taken between the choice and the bind, and the last processes
# of a postmaster that was killed.
_PASSING = (
    TAKEN_PORT,
    "pre-existing shared memory block",
    'lock file "',
)


class Recovery:
    """
    Counts a server's failures, and says after which pause to start it again.

    The answers are seconds, or None: give up.
    """

    __slots__ = ("_crashes", "_failures", "_waits", "_was_ready")

    def __init__(self) -> None:
        self._failures = 0
        self._waits = 0
        self._was_ready = False
        self._crashes: list[float] = []

    def restarted(self) -> None:
        """Take the next start for a first one: its settings may be new, and wrong."""
        self._was_ready = False

    def crashed(self) -> None:
        """Count a crash, of the postmaster or of another process of the server."""
        self._crashes = [*self._crashes[-999:], time.monotonic()]

    def crashes(self) -> int:
        """Return how many there were in the last hour."""
        since = time.monotonic() - _HOUR
        return sum(when > since for when in self._crashes)

    def became_ready(self) -> None:
        """Count a start that succeeded, or a server that was adopted."""
        self._was_ready = True
        self._waits = 0

    def wait_after(self, said: str) -> float | None:
        """Answer for a start that failed with these log lines, if only a wait is needed."""
        if self._waits >= _MOST_WAITS or not any(one in said for one in _PASSING):
            return None
        self._waits += 1
        return min(0.005 * 2.0**self._waits, _LONGEST_WAIT)

    def after_start(self, *, killed: bool) -> float | None:
        """Answer for a start that failed otherwise."""
        # A postmaster that was killed did not refuse to start: it may even have been ready before.
        refused = not self._was_ready and not killed
        return None if refused else self._next()

    def after_crash(self, lasted: float) -> float | None:
        """Answer for a server that crashed after so many seconds."""
        if lasted > _STABLE_AFTER:
            self._failures = 0
        return self._next()

    def _next(self) -> float | None:
        self._failures += 1
        if self._failures > _MOST_FAILURES:
            return None
        return min(0.05 * 2.0**self._failures, _LONGEST_PAUSE) if self._failures > 1 else 0.0
