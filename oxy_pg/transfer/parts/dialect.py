"""What pg_dump and pg_restore write, as a server of another version knows it: line by line."""

from __future__ import annotations

import re

# What newer pg_dumps write against commands of psql (CVE-2025-8714).
_RESTRICT = re.compile(rb"\\(?:un)?restrict [0-9A-Za-z]+\n")
_TRANSACTION_TIMEOUT = b"SET transaction_timeout = 0;\n"  # a setting of 17
# Servers of late 2026 (15.20) keep this among a column's options. Their own pg_dump leaves it out,
# older ones take it for an option that a user has set, and no server lets it be set.
_INTERNAL = b"pg_attver="
_COLUMN_OPTIONS = re.compile(
    rb"ALTER (?:FOREIGN )?TABLE (?:ONLY )?.+ ALTER COLUMN .+ SET \((.*\bpg_attver=\d+.*)\);\n"
)


def line(text: bytes, server_major: int) -> bytes:
    """
    Return a line of a script that is not one of COPY's rows; b"" for one to leave out.

    Without commands of psql, settings that a server of this version does not
    know, and options that only a server itself may set.
    """
    if _INTERNAL in text:
        found = _COLUMN_OPTIONS.fullmatch(text)
        return _without_internal(found) if found else text
    if _RESTRICT.fullmatch(text) or (server_major < 17 and text == _TRANSACTION_TIMEOUT):
        return b""
    return text


def _without_internal(found: re.Match[bytes]) -> bytes:
    """Return the statement without the option that only the server sets; b"" if that is all."""
    options = [part.strip() for part in found[1].split(b",")]
    kept = b", ".join(part for part in options if not part.startswith(_INTERNAL))
    return found[0].replace(b"(" + found[1] + b")", b"(" + kept + b")") if kept else b""


def is_foreign(script: bytes) -> bool:
    """Whether a script has options that only a server itself may set."""
    return _INTERNAL in script
