"""``Options``: what the user asked a migration to do, declared and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from oxy_pg.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SchemaMode: TypeAlias = Literal["auto", "create", "existing"]
Policy: TypeAlias = Literal["error", "null", "skip"]
IfNotEmpty: TypeAlias = Literal["error", "append", "truncate"]
Seeds: TypeAlias = Literal["keep", "replace", "error"]
Verify: TypeAlias = Literal["counts", "full", "none"]
OnChange: TypeAlias = Literal["stop", "accept"]
Integers: TypeAlias = Literal["bigint", "auto"]

# A field that is one of some words has them here too, for callers without a type checker.
_CHOICES: dict[str, object] = {
    "schema": SchemaMode,
    "on_bad_value": Policy,
    "on_orphan": Policy,
    "on_change": OnChange,
    "integers": Integers,
    "if_not_empty": IfNotEmpty,
    "seeds": Seeds,
    "on_version_mismatch": Literal["error", "accept"],
    "verify": Verify,
}


@dataclass(frozen=True, slots=True)
class Options:
    """
    What a migration is to do.

    - ``tables`` and ``exclude`` name tables of the source (``*`` matches); None: all of them.
    - ``schema``: create the tables, fill those that exist, or decide for each ("auto").
    - ``casts`` maps "table.column" to a type, with an option after a colon
      (convert/options.py).
    - ``on_bad_value`` and ``on_orphan``: for values that do not fit, and for rows whose parent is
      missing: stop, store NULL, or skip the row.
    - ``on_change``: for values that PostgreSQL would round, cut or read otherwise: stop, or accept
      what becomes of them.
    - ``integers``: what INTEGER columns of new tables become: bigint, or integer where all their
      values fit well ("auto").
    - ``if_not_empty``: for rows that the target has already: stop, keep them, or delete them.
    - ``seeds``: for rows that ``prepare`` has put into empty tables: keep them, replace them by the
      source's rows where it has any, or stop. None: as ``if_not_empty`` says, else replace.
    - ``on_version_mismatch``: when ``prepare`` has brought the target to another version than the
      source's: stop, or go on.
    - ``verify``: what is compared before the commit.
    - ``dry_run``: write nothing, and report every problem.
    - ``rehearse``: do everything, verify it, and roll it back.
    - ``jobs``: how many processes read a large source.

    Raises ConfigurationError for a value that is not one of those allowed, and for
    options that exclude each other.
    """

    tables: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    schema: SchemaMode = "auto"
    casts: Mapping[str, str] | None = None
    on_bad_value: Policy = "error"
    on_orphan: Policy = "error"
    on_change: OnChange = "stop"
    integers: Integers = "bigint"
    if_not_empty: IfNotEmpty = "error"
    seeds: Seeds | None = None
    on_version_mismatch: Literal["error", "accept"] = "error"
    verify: Verify = "full"
    dry_run: bool = False
    rehearse: bool = False
    jobs: int = 2

    def __post_init__(self) -> None:
        for name, choice in _CHOICES.items():
            value, allowed = getattr(self, name), get_args(choice)
            if value not in allowed and (name, value) != ("seeds", None):
                choices = ", ".join(word for word in allowed if word is not None)
                raise ConfigurationError(f"{name} is {value!r}; choose one of {choices}.")
        if self.dry_run and self.rehearse:
            raise ConfigurationError(
                "dry_run and rehearse exclude each other: a dry run (--dry-run) writes nothing, a "
                "rehearsal (--rehearse) writes everything and rolls it back. Choose one of them."
            )
