"""
The options of the verbs that move data, as the methods of ``Server`` take them.

For type checkers and editors alone: nothing imports this module at run time.
What each option means stands with the function of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oxy_pg.progress import Progress


class BackupOptions(TypedDict, total=False):
    """The options of ``backup()``."""

    database: str
    keep: int | None
    plain: bool
    force: bool
    on_progress: Callable[[Progress], object] | None
    timeout: float


class RestoreOptions(TypedDict, total=False):
    """The options of ``restore()``."""

    database: str | None
    keep_old: bool
    in_place: bool
    clean: bool
    jobs: int | None
    confirm: Callable[[str], bool] | None
    on_progress: Callable[[Progress], object] | None
    timeout: float


class PullOptions(TypedDict, total=False):
    """The options of ``pull()``."""

    database: str
    schemas: Sequence[str] | None
    if_not_empty: Literal["error", "replace"]
    jobs: int
    dry_run: bool
    on_progress: Callable[[Progress], object] | None
    timeout: float


class PushOptions(PullOptions, total=False):
    """The options of ``push()``."""

    swap: bool


class MigrationOptions(TypedDict, total=False):
    """The options of ``migrate_sqlite()``."""

    database: str
    tables: Sequence[str] | None
    exclude: Sequence[str]
    schema: Literal["auto", "create", "existing"]
    casts: Mapping[str, str] | None
    on_bad_value: Literal["error", "null", "skip"]
    on_orphan: Literal["error", "null", "skip"]
    if_not_empty: Literal["error", "append", "truncate"]
    prepare: Callable[[str], object] | str | None
    verify: Literal["counts", "full", "none"]
    dry_run: bool
    on_progress: Callable[[Progress], object] | None
    jobs: int
    timeout: float
