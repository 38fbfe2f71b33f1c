"""Writes a plain backup: pg_dump's SQL, compressed, as every psql from 14 on takes it."""

from __future__ import annotations

import gzip
import re
import time
from typing import TYPE_CHECKING

from oxy_pg.errors import TransferRefused
from oxy_pg.transfer.backup import script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LEVEL = 1  # gzip's; 6 takes three times as long, for a file that is 13 % smaller
_PAUSE = 0.1  # seconds between two calls of on_progress

# What begins something in which psql looks for no command, or is one; see psql's psqlscan.l.
_BEGINS = re.compile(
    rb"""(?<![\w$\x80-\xff])[eE]' | ' | " | -- | /\*
      | (?<![\w$\x80-\xff])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$ | \\""",
    re.VERBOSE | re.ASCII,
)
_ENDS = {
    b"'": re.compile(rb"'"),  # '' is the end of one text and the beginning of the next
    b'"': re.compile(rb'"'),
    b"--": re.compile(rb"\n"),
    b"/*": re.compile(rb"\*/"),
}
# How psql reads a line depends on two settings, and a function that runs when a table is filled may
# change them: then texts end elsewhere, and what is in them may be a command. psql asks for each
# line anew, and reads this one, which sets them back, in the same way whatever they are.
_ENCODING = re.compile(rb"SET client_encoding = '\w+';\n")
_STRINGS = b"SET standard_conforming_strings = on;"
_HEADING = re.compile(rb"-- (?:Data for )?Name: .+; Type: ([A-Z ]+); Schema: ")
# Statements of these have semicolons in them.
_COMPOUND = frozenset({b"FUNCTION", b"PROCEDURE", b"RULE"})
# In rows: letters after which psql, if the table was not created, would look for a command's name.
_LETTERS = re.compile(rb"\\([\\bfnrtv])")
_AS_NUMBERS = {
    b"b": rb"\010",
    b"f": rb"\014",
    b"n": rb"\012",
    b"r": rb"\015",
    b"t": rb"\011",
    b"v": rb"\013",
    b"\\": rb"\\",
}
_ESCAPED = re.compile(rb"(?:[^\\']|''|\\.)*?'(?!')", re.DOTALL)  # to the end of E'…'


def write(
    lines: Iterable[bytes], path: str, server_major: int, on_progress: Callable[[], object]
) -> None:
    r"""
    Compress a script of pg_dump into a file that exists; raises OSError and TransferRefused.

    psqls of before August 2025 do not know ``\restrict``, with which pg_dump
    keeps commands of psql out of a script. So there is none in it, and a script
    that would need it is refused.
    """
    shown = 0.0
    with gzip.open(path, "wb", compresslevel=_LEVEL) as file:
        # A dump of chosen schemas creates this one, which is in every database.
        known = script.for_server(lines, server_major, {("public", "SCHEMA")})
        for number, line in enumerate(without_commands(known)):
            file.write(line)
            if not number % 1000 and time.monotonic() - shown > _PAUSE:
                shown = time.monotonic()
                on_progress()


def without_commands(lines: Iterable[bytes]) -> Iterator[bytes]:
    """
    Yield a script's lines, so that psql sees no command in them, whatever runs meanwhile.

    Raises TransferRefused for a line that psql would take as a command.
    """
    inside: re.Pattern[bytes] | None = None  # how what the line is in ends
    set_back: list[bytes] = []
    copying = compound = headed = False
    for line in lines:
        if copying:
            copying = line != b"\\.\n"
            yield _LETTERS.sub(_as_number, line) if copying and b"\\" in line else line
            if not copying:
                yield from set_back
            continue
        heading = _HEADING.match(line) if inside is None else None
        if compound and inside is None and line == b"--\n" and not headed:
            yield from set_back  # the statement before was one of these
        headed = heading is not None
        if heading:
            compound = heading[1] in _COMPOUND
        elif inside is None and not set_back and _ENCODING.fullmatch(line):
            set_back.append(_STRINGS + b" " + line)
        if inside is None and script.is_copy(line):
            copying = True
        else:
            inside = _inside_after(line, inside)
        yield line
        if inside is None and not copying and not compound and line.endswith(b";\n"):
            yield from set_back


def _as_number(found: re.Match[bytes]) -> bytes:
    return _AS_NUMBERS[found[1]]


def _inside_after(line: bytes, inside: re.Pattern[bytes] | None) -> re.Pattern[bytes] | None:
    position = 0
    while True:
        if inside is not None:
            end = (
                inside.match(line, position)
                if inside is _ESCAPED
                else inside.search(line, position)
            )
            if end is None:
                return inside
            inside, position = None, end.end()
        begin = _BEGINS.search(line, position)
        if begin is None:
            return None
        opener, position = begin[0], begin.end()
        if opener == b"\\":
            raise TransferRefused(
                "write a plain backup",
                "a definition holds what psql would take for a command of its own: "
                f"{line.decode(errors='replace').strip()[:200]!r}.",
                "Rename or drop that object, or make a backup in pg_dump's format: without --plain "
                "(plain=True).",
            )
        if opener in {b"e'", b"E'"}:
            inside = _ESCAPED
        elif opener.startswith(b"$"):
            inside = re.compile(re.escape(opener))
        else:
            inside = _ENDS[opener]
