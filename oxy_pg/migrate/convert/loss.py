"""What a value loses on its way, where its column cannot hold all of it."""

from __future__ import annotations

from dataclasses import dataclass

MICROSECONDS = "rounded to microseconds"


@dataclass(frozen=True, slots=True)
class Loss:
    """
    What read() changes of a value: ``what`` was done to it.

    ``after`` is what becomes of it, where that is not what read() returns.
    ``is_least``: no type of PostgreSQL's would change less (microseconds).
    ``is_noise``: the digits are those that a binary number adds to the decimal
    one that was meant.
    """

    what: str
    is_least: bool = False
    is_noise: bool = False
    after: str | None = None
