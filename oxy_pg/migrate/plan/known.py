"""
Files whose numbers are known by the tables that stand beside them.

Core Data and the browsers write times as numbers since epochs of their own,
and Django's DurationField writes microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.source.schema import SourceSchema, SourceTable


@dataclass(frozen=True, slots=True)
class _Program:
    """The tables by which a program's file is known, and what its columns count."""

    name: str
    tables: frozenset[str]
    columns: dict[str, str]  # "table.column": epoch


def _program(name: str, tables: str, **epochs: str) -> _Program:
    columns = {column: epoch for epoch, text in epochs.items() for column in text.split()}
    return _Program(name, frozenset(tables.split()), columns)


_PROGRAMS = (
    _program(
        "Chrome (history)",
        "urls visits keyword_search_terms",
        webkit="""
            urls.last_visit_time visits.visit_time downloads.start_time downloads.end_time
            downloads.last_access_time segment_usage.time_slot clusters_and_visits.time
        """,
    ),
    _program(
        "Chrome (cookies)",
        "cookies meta",
        webkit="""
            cookies.creation_utc cookies.expires_utc cookies.last_access_utc
            cookies.last_update_utc
        """,
    ),
    _program(
        "Chrome (passwords)",
        "logins stats meta",
        webkit="logins.date_created logins.date_last_used logins.date_password_modified",
    ),
    _program(
        "Firefox (places)",
        "moz_places moz_historyvisits",
        us="""
            moz_places.last_visit_date moz_historyvisits.visit_date moz_bookmarks.dateAdded
            moz_bookmarks.lastModified moz_annos.dateAdded moz_annos.lastModified
            moz_inputhistory.last_used
        """,
    ),
    _program(
        "Firefox (cookies)",
        "moz_cookies",
        us="moz_cookies.lastAccessed moz_cookies.creationTime",
        s="moz_cookies.expiry",
    ),
    _program(
        "Firefox (form history)",
        "moz_formhistory",
        us="moz_formhistory.firstUsed moz_formhistory.lastUsed",
    ),
    _program("Safari (history)", "history_items history_visits", mac="history_visits.visit_time"),
    _program(
        "iOS (contacts)",
        "ABPerson ABMultiValue",
        mac="ABPerson.CreationDate ABPerson.ModificationDate ABPerson.Birthday",
    ),
    _program(
        "iOS 11 and later (messages)",
        "message chat chat_message_join",
        mac_ns="""
            message.date message.date_read message.date_delivered message.date_played
            message.date_edited message.date_retracted message.date_recovered
            chat.last_read_message_timestamp chat_message_join.message_date
        """,
        mac="attachment.created_date attachment.start_date",
    ),
)
_CORE_DATA = {"z_primarykey", "z_metadata"}
_DISTANT = (-63_114_076_800, 63_113_904_000)  # NSDate.distantPast and distantFuture


class Known:
    """What is known about the numbers of one file."""

    def __init__(self, source: SourceSchema) -> None:
        tables = {folded(table.name) for table in source.tables}
        self._core_data = tables >= _CORE_DATA
        self._django = "django_migrations" in tables
        self._programs = [
            program for program in _PROGRAMS if {folded(name) for name in program.tables} <= tables
        ]

    def epoch(self, table: str, column: str) -> tuple[str, str] | None:
        """Return the epoch of a column's times, and the program that writes them so."""
        place = f"{folded(table)}.{folded(column)}"
        for program in self._programs:
            for name, epoch in program.columns.items():
                if folded(name) == place:
                    return epoch, program.name
        if self._core_data and folded(table).startswith("z"):
            return "mac", "Core Data"
        return None

    def interval_of(self, type_: PgType) -> str | None:
        """Return what the numbers of a column of this type count, if they are lengths of time."""
        return "us" if self._django and type_.kind.is_interval else None

    def proposals(self, tables: list[SourceTable]) -> Iterator[tuple[str, str, str, str]]:
        """Yield table, column, epoch and program of the times that programs declare as numbers."""
        for table in tables:
            for column in table.columns:
                found = self.epoch(table.name, column.name)
                if found and found[1] != "Core Data":
                    yield table.name, column.name, *found


def is_never(value: float, epoch: str) -> bool:
    """Whether a number customarily means "never" or "unknown" in columns of this epoch."""
    return value == 0 or value in _NEVER.get(epoch, ()) or value in _EXTREMES


_EXTREMES = frozenset(
    (2**63 - 1, -(2**63), float(2**63), 2**53 - 1, 8_640_000_000_000_000, -8_640_000_000_000_000)
)
# The first and last day that many libraries know, the years 3000 and 9999, and the last
# nanosecond of 64 bits.
_SECONDS = (
    *(-62_135_596_800, 253_402_300_799, 253_402_214_400, 253_370_764_800),
    *(32_503_680_000, 32_503_593_600, 32_503_679_999, 9_223_372_036),
)
_NEVER: dict[str, frozenset[float]] = {
    "s": frozenset(_SECONDS),
    "ms": frozenset(
        (
            *(second * 1000 for second in _SECONDS),
            *(253_402_300_799_999, 32_503_679_999_999, 9_223_372_036_854),
        )
    ),
    "us": frozenset(
        (
            *(second * 1_000_000 for second in _SECONDS),
            *(253_402_300_799_999_999, 32_503_679_999_999_999, 9_223_372_036_854_775),
        )
    ),
    "mac": frozenset(_DISTANT),
    "ticks": frozenset((3_155_378_975_999_999_999, 3_155_378_112_000_000_000)),
    "yyyymmdd": frozenset((99_991_231, 99_991_231_235_959, 19_000_101, 10_101)),
    "webkit": frozenset(),
}
NEVER = sorted({value for values in _NEVER.values() for value in values} | _EXTREMES | {0})
