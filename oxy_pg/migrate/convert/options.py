"""How the values of a column are read, where the user decides: ``timestamptz:ms``."""

from __future__ import annotations

EPOCHS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "julian": "Julian day numbers",
    "mac": "seconds since 2001 (Core Data, Safari)",
    "mac_ns": "nanoseconds since 2001 (iOS messages)",
    "webkit": "microseconds since 1601 (Chrome)",
    "filetime": "intervals of 100 ns since 1601 (Windows)",
    "ticks": "intervals of 100 ns since the year 1 (.NET)",
    "excel": "days since 1899-12-30 (Excel)",
    "days": "days since 1970",
    "yyyymmdd": "the digits of a date (20240131), or of a date and a time (20240131123456)",
}
# For intervals; "epoch" is an instant whose distance from 1970 is meant (SQLAlchemy's Interval).
LENGTHS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "epoch": "times, of which the distance from 1970-01-01 is meant",
}
NUL = {
    "strip_nul": "NUL characters are removed from text",
    "replace_nul": "NUL characters in text become U+FFFD",
}
UTF8 = {"utf8": "text becomes bytes, and bytes text, as UTF-8"}

# Every option; each kind says which of them mean something for it (Kind.options).
OPTIONS = {**LENGTHS, **EPOCHS, **NUL, **UTF8}
