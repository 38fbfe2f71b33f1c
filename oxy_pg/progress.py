"""``Progress``: how far a migration or a transfer is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """
    A moment on the way, as ``on_progress`` gets it.

    ``phase`` is what is being done:

    - a migration: "connect", "plan", "check", "load", "index", "verify",
      "table" (one table has been loaded), "done";
    - a backup: "count", "dump", "check", "done"; a restore: "check", "load",
      "compare", "swap", "done";
    - a push or pull: "connect", "plan", "schema", "rows", "index", "compare",
      "swap", "done"; an upgrade: "start", the same, "restart", "swap", "done".

    ``done`` of ``of`` are tables, for "check" and "load" of a restore and
    "check" of a backup bytes; ``of`` is 0 where it is not known. ``table`` is
    the table at work. ``rows`` of ``of_rows`` are rows of all tables, or of
    ``table`` in a migration. ``bytes`` were read or written so far.
    """

    phase: str
    done: int = 0
    of: int = 0
    table: str = ""
    rows: int = 0
    of_rows: int = 0
    bytes: int = 0
