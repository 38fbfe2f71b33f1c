"""How the values of a column are read, where the user decides: ``timestamptz:ms``."""

from __future__ import annotations

EPOCHS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "julian": "Julian day numbers",
}
NUL = {
    "strip_nul": "NUL characters are removed from text",
    "replace_nul": "NUL characters in text become U+FFFD",
}
UTF8 = {"utf8": "text becomes bytes, and bytes text, as UTF-8"}

# Every option; each kind says which of them mean something for it (Kind.options).
OPTIONS = {**EPOCHS, **NUL, **UTF8}
