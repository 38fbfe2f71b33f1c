"""The archive in a backup of pg_dump's custom format: its entries, read by pg_restore."""

from __future__ import annotations

import contextlib
import re
import tempfile
from typing import TYPE_CHECKING

from oxy_pg.errors import BackupDamaged, ToolFailed
from oxy_pg.transfer.backup import extensions
from oxy_pg.transfer.parts import dialect, schema
from oxy_pg.transfer.running import run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from oxy_pg.installations import Installation
    from oxy_pg.transfer.backup.manifest import Manifest

# A line of "pg_restore --list": number; catalog's and object's oid; type, schema, name and owner.
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<type>COMMENT|EXTENSION|SCHEMA) - (?P<name>.*)")
_ROUTINE = re.compile(r"\d+; \d+ \d+ (?:FUNCTION|PROCEDURE) ")
_COMPUTED = re.compile(rb" CHECK \(|\) STORED\b")


def contents(programs: Installation, path: str) -> list[str]:
    """Return the lines of an archive's table of contents; BackupDamaged if it cannot be read."""
    try:
        return run(programs, "pg_restore", ["--list", path]).decode().splitlines()
    except ToolFailed as error:
        raise BackupDamaged(path, f"pg_restore cannot read it ({error.output})") from error


def restored(lines: Iterable[str], manifest: Manifest) -> tuple[str, ...]:
    """Return the entries that pg_restore restores: all but those that ``extensions`` creates."""
    names = {one.name for one in manifest.extensions}
    schemas = {"public", *extensions.schemas(manifest)}  # the first is in every database
    return tuple(line for line in lines if not _is_created_before(line, names, schemas))


def _is_created_before(line: str, names: set[str], schemas: set[str]) -> bool:
    entry = _ENTRY.match(line)
    if entry is None:
        return False
    name = entry["name"].strip()
    if entry["type"] == "SCHEMA":
        return name.rpartition(" ")[0] in schemas
    if entry["type"] == "COMMENT":
        # Extensions have their own comments, and only their owner may set them.
        return name.startswith("EXTENSION ")
    return name in names


def needs_sections(programs: Installation, path: str, entries: Iterable[str]) -> bool:
    """
    Whether what pg_restore would run by itself has to be changed on the way.

    That is options that no server lets be set, and tables that call functions
    of the archive while their rows are copied.
    """
    with list_file(entries) as listed:
        definitions = run(
            programs, "pg_restore", ["--section=pre-data", f"--use-list={listed}", "--file=-", path]
        )
    return dialect.is_foreign(definitions) or (
        any(_ROUTINE.match(line) for line in entries) and _COMPUTED.search(definitions) is not None
    )


def ordered(
    entries: Iterable[str], late: Collection[tuple[str, str]]
) -> tuple[list[str], list[str]]:
    """Return the entries without the rows of some tables, by schema and name; and these rows."""
    headings = tuple(f"TABLE DATA {schema} {name} " for schema, name in late)
    first: list[str] = []
    last: list[str] = []
    for line in entries:
        is_late = bool(headings) and line.split(" ", 3)[-1].startswith(headings)
        (last if is_late else first).append(line)
    return first, last


@contextlib.contextmanager
def list_file(entries: Iterable[str]) -> Iterator[str]:
    """Give the path of a file with these entries, as ``pg_restore --use-list`` takes it."""
    with tempfile.NamedTemporaryFile("w", prefix="oxy_pg-", suffix=".list") as file:
        file.write("\n".join(entries) + "\n")
        file.flush()
        yield file.name


def stops_at_errors(programs: Installation, server_major: int) -> bool:
    """Whether pg_restore can be told to; a newer one fails at once on an older server."""
    return not programs.major >= 17 > server_major


@contextlib.contextmanager
def harmless_errors_ignored(programs: Installation, server_major: int) -> Iterator[None]:
    """Ignore a failure that consists of what an older server does not know, and does not need."""
    try:
        yield
    except ToolFailed as error:
        matters = "error: " not in error.output or schema.unexpected_errors(error.output)
        if matters or stops_at_errors(programs, server_major) or error.shortened:
            raise
