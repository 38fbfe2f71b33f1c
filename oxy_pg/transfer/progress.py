"""How far a transfer is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """
    A moment on the way, as ``on_progress`` gets it.

    ``phase`` is what is done: of a backup "count" (tables), "dump" (rows),
    "check" (bytes); of a restore "check" (bytes), "load" (bytes of the
    database), "compare" (tables), "swap"; at the end "done". ``done`` of ``of``
    are in the unit of the phase; ``of`` is 0 where it is not known, and for
    "load" an estimate. ``written`` are the bytes of the file so far.
    """

    phase: str
    done: int = 0
    of: int = 0
    table: str = ""
    written: int = 0
