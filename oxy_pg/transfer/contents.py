"""What a database holds, as values: tables with their rows, and extensions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableRows:
    """How many rows a table has."""

    schema: str
    name: str
    rows: int

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Extension:
    """
    An extension, its version, and the schema that it is in.

    ``uses`` are its types, functions and other members that objects of the
    database depend on, where that was asked for.
    """

    name: str
    version: str
    schema: str
    uses: tuple[str, ...] = ()
