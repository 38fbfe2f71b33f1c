"""
The schema of a database: pg_dump's sections before the rows (pre-data) and after (post-data).

It is an archive without rows, in a temporary directory; pg_restore turns it into
SQL, or restores it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import psycopg

from oxy_pg.errors import ToolFailed, TransferRefused
from oxy_pg.report import Skipped
from oxy_pg.transfer import database, refusals
from oxy_pg.transfer.parts import dialect
from oxy_pg.transfer.running import Running, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oxy_pg.installations import Installation
    from oxy_pg.transfer.parts.functions import Held

Section: TypeAlias = Literal["pre-data", "data", "post-data"]

# A line of "pg_restore --list": number; catalog's and object's oid; type, schema, name, owner.
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<words>.*)")

# Created before, or present in every database.
_SCHEMA = "SCHEMA - "
_CHECK = "CHECK CONSTRAINT "
_CREATED_BEFORE = (
    "EXTENSION ",
    "COMMENT - EXTENSION ",
    "SCHEMA - public ",
    "COMMENT - SCHEMA public ",
)
# They belong to the server that they were created on, or are a superuser's; longer names first.
_LOCAL = (
    "PUBLICATION TABLES IN SCHEMA",
    "PUBLICATION TABLE",
    "PUBLICATION",
    "SUBSCRIPTION TABLE",
    "SUBSCRIPTION",
    "EVENT TRIGGER",
)

_LONG = 32 * 1024  # characters of a script from which on they are run

# Where an entry begins; before the first are settings.
_BEGINS = re.compile(r"^--\n-- (?:Name|TOC entry)\b", re.MULTILINE)

# An extension's has been created before.
_CREATE_SCHEMA = re.compile(r"^CREATE SCHEMA (?=\")", re.MULTILINE)
# A privilege that versions before 17 do not have.
_MAINTAIN = re.compile(r"^(GRANT|REVOKE) (.*\bMAINTAIN\b.*) ON TABLE .*;\n", re.MULTILINE)

# What a newer pg_restore sets on every server, and an older server does not know.
_UNKNOWN_SETTING = re.compile(r'unrecognized configuration parameter "transaction_timeout"')


def _left_out(entry: str) -> Skipped:
    """Return what an entry of pg_restore's list names: "PUBLICATION - news owner"."""
    kind = next(kind for kind in _LOCAL if entry.startswith(kind))
    name = entry.removeprefix(kind).strip().rpartition(" ")[0]
    return Skipped(kind, name.removeprefix("- "), "it is not copied to another server")


@dataclass(frozen=True, slots=True)
class Script:
    """The SQL of a section, entry by entry, and what the target's version does not know of it."""

    entries: tuple[str, ...]
    unsupported: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """A schema that pg_dump has written to ``path``, and which of its entries are copied."""

    programs: Installation
    path: str
    options: tuple[str, ...]  # pg_restore's
    skipped: tuple[Skipped, ...]  # what is left out on purpose

    def sql(self, section: Section, target_major: int) -> Script:
        """Return the SQL of a section as a server of this version knows it; raises ToolFailed."""
        arguments = (f"--section={section}", *self.options, "--file=-", self.path)
        lines = run(self.programs, "pg_restore", arguments).splitlines(keepends=True)
        text = b"".join(dialect.line(line, target_major) for line in lines).decode()
        text = _CREATE_SCHEMA.sub("CREATE SCHEMA IF NOT EXISTS ", text)
        unsupported: tuple[Skipped, ...] = ()
        if target_major < 17:
            reason = f"PostgreSQL {target_major} does not have this privilege"
            unsupported = tuple(
                Skipped("privilege", found[0].strip(), reason) for found in _MAINTAIN.finditer(text)
            )
            text = _MAINTAIN.sub(_without_maintain, text)
        begins = [found.start() for found in _BEGINS.finditer(text)]
        entries = tuple(text[here:there] for here, there in pairwise([*begins, len(text)]))
        return Script(entries, unsupported)

    def execute(
        self,
        section: Section,
        connection: psycopg.Connection[Any],
        held: Held | None = None,
    ) -> tuple[Skipped, ...]:
        """
        Run a section's SQL, and return what the target's version does not know of it.

        ``held`` is told before a table with generated columns is created. Raises
        TransferRefused with the statement that was refused.
        """
        script = self.sql(section, database.major(connection))
        for portion in _portions(script.entries):
            if held is not None and _needs_functions(portion[0]):
                held.before_table()
            text = "".join(portion)
            try:
                connection.execute(text.encode())
            except psycopg.Error as error:
                raise refused(text, error) from error
            if held is not None and _is_domain(portion[-1]):
                held.after_domain()
        return script.unsupported

    def parted(self) -> tuple[Archive, Archive]:
        """
        Return two archives: without the CHECKs that are entries by themselves, and of these alone.

        pg_dump has those so that are not valid, and some that depend on themselves.
        """
        place = f"{self.path}.list"
        with open(place, encoding="utf-8") as file:
            lines = file.readlines()
        found = []
        for name, wanted in (("rest", False), ("checks", True)):
            with open(f"{self.path}.{name}", "w", encoding="utf-8") as file:
                file.writelines(
                    line
                    for line in lines
                    if wanted
                    is bool((entry := _ENTRY.match(line)) and entry["words"].startswith(_CHECK))
                )
            options = (*self.options[:-1], f"--use-list={self.path}.{name}")
            found.append(Archive(self.programs, self.path, options, self.skipped))
        return found[0], found[1]

    def restore(
        self, section: Section, url: str, jobs: int, settings: Mapping[str, str] | None = None
    ) -> None:
        """
        Have pg_restore run a section with ``jobs`` connections, each statement by itself.

        ``settings`` are what these connections begin with. Raises ToolFailed and
        TransferRefused, but not for a setting that an older server does not know.
        """
        errors: list[str] = []
        ignored: list[str] = []
        last = errors  # where the last one is, and what follows belongs
        number = 0

        def listen(line: str) -> None:
            nonlocal last, number
            number += unexpected_errors(line)
            if line.startswith("pg_restore: error:"):
                last = ignored if _UNKNOWN_SETTING.search(line) else errors
                last.append(line)
            elif last and not line.startswith("pg_restore:"):
                last.append(line)

        arguments = (f"--section={section}", f"--jobs={jobs}", *self.options, self.path)
        try:
            with Running(
                self.programs, "pg_restore", arguments, url=url, settings=settings, on_line=listen
            ):
                pass
        except ToolFailed as failed:
            if number or errors or not ignored:
                output = "\n".join(errors) or failed.output
                known = refusals.remedy(output)
                if known:
                    what = "create the schema in the target"
                    raise TransferRefused(what, output, known) from None
                raise ToolFailed("pg_restore", output, failed.returncode) from None


def unexpected_errors(output: str) -> int:
    """
    Return how many errors of pg_restore are not about a setting that an older server does not know.

    Its processes write to one pipe, each error in pieces, so that a line may have
    parts of several: no piece is lost, and their numbers tell.
    """
    return output.count("error: ") - len(_UNKNOWN_SETTING.findall(output))


def _portions(entries: Sequence[str]) -> Iterator[list[str]]:
    """Yield the entries that are run at once: many, but none before what ``Held`` has to see."""
    portion: list[str] = []
    size = 0
    for entry in entries:
        if portion and (size > _LONG or _needs_functions(entry) or _is_domain(portion[-1])):
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += len(entry)
    if portion:
        yield portion


def _needs_functions(entry: str) -> bool:
    return ") STORED" in entry


def _is_domain(entry: str) -> bool:
    return "\nCREATE DOMAIN " in entry


def _without_maintain(found: re.Match[str]) -> str:
    rights = [right for right in found[2].split(",") if right.strip() != "MAINTAIN"]
    return found[0].replace(found[2], ",".join(rights), 1) if rights else ""


def dump(
    programs: Installation,
    url: str,
    path: str,
    *,
    snapshot: str | None = None,
    schemas: Sequence[str] | None = None,
    options: Sequence[str] = (),
    leave_local: bool = False,
) -> Archive:
    """
    Write the schema of a database to ``path``; raises ToolFailed and TransferRefused.

    ``options`` are pg_restore's, for later. With ``leave_local`` publications,
    subscriptions and event triggers are left out, and the schemas are created
    by the caller.
    """
    arguments = ["--format=custom", "--section=pre-data", "--section=post-data", "--no-blobs"]
    arguments += ["--encoding=UTF8", "--quote-all-identifiers", f"--file={path}"]
    if snapshot is not None:
        arguments.append(f"--snapshot={snapshot}")
    arguments += [f"--schema={quoted(schema)}" for schema in schemas or ()]
    try:
        with Running(programs, "pg_dump", arguments, url=url):
            pass
    except ToolFailed as error:
        if (known := refusals.remedy(error.output)) is None:
            raise
        raise TransferRefused("read the schema of the source", error.output, known) from None
    listed = run(programs, "pg_restore", ("--list", path)).decode()
    kept, skipped = _selected(listed.splitlines(), leave_local=leave_local)
    with open(f"{path}.list", "w", encoding="utf-8") as file:
        file.write("\n".join(kept) + "\n")
    all_options = (*options, "--no-tablespaces", f"--use-list={path}.list")
    return Archive(programs, path, all_options, tuple(skipped))


def _selected(lines: Sequence[str], *, leave_local: bool) -> tuple[list[str], list[Skipped]]:
    """Return the lines of pg_restore's list that are copied, and what is left out on purpose."""
    kept, skipped = [], []
    for line in lines:
        found = _ENTRY.match(line)
        words = found["words"] if found else ""
        if leave_local and words.startswith(_LOCAL):
            skipped.append(_left_out(words))
        elif not words.startswith(_CREATED_BEFORE) and not (
            leave_local and words.startswith(_SCHEMA)
        ):
            kept.append(line)
    return kept, skipped


def quoted(name: str) -> str:
    """Quote a name so that pg_dump takes it literally, and not as a pattern."""
    return '"' + name.replace('"', '""') + '"'


def refused(text: str, error: psycopg.Error) -> TransferRefused:
    """Return the typed error for a script with a statement that was refused."""
    position = int(error.diag.statement_position or 0)
    statement = _statement_at(text, position) if position else ""
    reason = (error.diag.message_primary or str(error)).strip()
    if error.diag.message_detail:
        reason += f"\n{error.diag.message_detail}"
    named = " ".join(part for part in (error.diag.schema_name, error.diag.table_name) if part)
    if statement:
        reason += f"\nThe statement: {statement}"
    elif named or error.diag.context:
        reason += f"\nAt: {named or error.diag.context}"
    remedy = refusals.remedy(reason) or database.refused("", error).remedy
    return TransferRefused("create the schema in the target", reason, remedy)


def _statement_at(text: str, position: int) -> str:
    begin = text.rfind("\n\n", 0, position)
    end = text.find(";\n", position)
    found = text[begin + 1 : end + 1 if end >= 0 else None].strip()
    lines = [line for line in found.splitlines() if not line.startswith("--")]
    return "\n".join(lines)[:600]
