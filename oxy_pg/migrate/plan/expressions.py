"""
The defaults of SQLite's columns, as PostgreSQL means the same.

Only what is certain is translated; everything else raises Uncertain, and is
skipped with that reason. Conditions are in conditions.py.
"""

from __future__ import annotations


class Uncertain(Exception):
    """The expression may mean something else in PostgreSQL."""
