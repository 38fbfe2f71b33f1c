"""Names: which are equal in SQLite, and which PostgreSQL can hold."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container

T = TypeVar("T")

LONGEST = 63  # bytes (manual: 4.1.1, Identifiers)

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(name: str) -> str:
    """
    Spell a name so that names which are the same in SQLite are equal.

    SQLite folds the letters A to Z alone: a table may have both "ü" and "Ü".
    """
    return name.lower() if name.isascii() else name.translate(_FOLDED)


def quoted(name: str) -> str:
    """Spell a name for SQLite."""
    return '"' + name.replace('"', '""') + '"'


def match(name: str, among: dict[str, T]) -> T | None:
    """Find a name: exactly, else the only one that differs in case alone."""
    if name in among:
        return among[name]
    found = [value for key, value in among.items() if folded(key) == folded(name)]
    return found[0] if len(found) == 1 else None


def shorten(name: str, *taken: Container[str]) -> str:
    """Return a name that PostgreSQL can hold and that is not among those ``taken``."""
    # In SQLite a name may be empty.
    short = name.encode()[:LONGEST].decode(errors="ignore") or "_"
    number = 1
    while any(short in names for names in taken):
        ending = f"_{number}"
        short = name.encode()[: LONGEST - len(ending)].decode(errors="ignore") + ending
        number += 1
    return short
