"""Environment variables, read quickly where they are not set, as most are not."""

from __future__ import annotations

import os

# The dictionary behind os.environ, keyed by bytes on POSIX. os.environ raises and catches two
# exceptions for a variable that is not set: eight of them took longer than the rest of ensure().
_DATA: dict[object, object] | None = getattr(os.environ, "_data", None)


def get(name: str) -> str | None:
    """Return a variable's value as ``os.environ.get()`` does; None where it is not set."""
    if _DATA is not None and name.encode() not in _DATA:
        return None
    return os.environ.get(name)
