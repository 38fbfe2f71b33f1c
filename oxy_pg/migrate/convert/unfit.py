"""A value of SQLite's, and why it cannot be kept."""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = int | float | str | bytes


class Unfit(ValueError):
    """The value cannot be kept in a column of this type."""
