"""The names of tables and indexes in SQLite."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from oxy_pg.errors import ExportRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 63  # bytes of a name in PostgreSQL
# What every table of PostgreSQL has.
_SYSTEM = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(name: str) -> str:
    """Spell a name so that names which are the same in SQLite are equal: it folds A to Z alone."""
    return name.translate(_FOLDED)


def of_table(schema: str, name: str) -> str:
    """Return what a table is called: its own name, with the schema's before it if not public."""
    return name if schema == "public" else f"{schema}.{name}"


def check(kind: str, names: Iterable[tuple[str, str]]) -> None:
    """
    Raise ExportRefused where two names are one in SQLite, or a table's is SQLite's own.

    ``names`` are pairs: what something is called in PostgreSQL, and in SQLite.
    """
    taken: dict[str, str] = {}
    for ours, name in names:
        other = taken.setdefault(folded(name), ours)
        if other != ours:
            raise ExportRefused(
                f"create the {kind} {name!r}",
                f"{ours} and {other} would have the same name in SQLite, where upper and lower "
                "case are one.",
                "Rename one of them in PostgreSQL, or leave it out: --exclude (exclude=).",
            )
        if kind == "table" and folded(name).startswith("sqlite_"):
            raise ExportRefused(
                f"create the {kind} {name!r}",
                "names of tables that begin with sqlite_ are SQLite's own.",
                "Rename it in PostgreSQL, or leave it out: --exclude (exclude=).",
            )


def shortened(names: Iterable[str], *, are_columns: bool) -> dict[str, str]:
    """
    Return SQLite's name for each that a migration has chosen in PostgreSQL.

    A name of more than 63 bytes is cut, and has a number at its end where that is taken.
    """
    taken = set(_SYSTEM if are_columns else ())
    found: dict[str, str] = {}
    for name in names:
        # In SQLite a name may be empty.
        short = name.encode()[:LONGEST].decode(errors="ignore") or "_"
        number = 1
        while short in taken:
            end = f"_{number}"
            short = name.encode()[: LONGEST - len(end)].decode(errors="ignore") + end
            number += 1
        taken.add(short)
        found[short] = name
    return found


def free(name: str, taken: set[str]) -> str:
    """Return a name for an index that is not taken, and take it; they share names with tables."""
    # Names that begin with sqlite_ are SQLite's own.
    base = f"_{name}" if folded(name).startswith("sqlite_") else name
    found, number = base, 1
    while folded(found) in taken:
        found, number = f"{base}_{number}", number + 1
    taken.add(folded(found))
    return found
