"""
The schema of a database: what pg_dump says before the rows and after them.

It is kept as an archive of pg_dump's, without rows, in a directory of ours;
pg_restore puts it into SQL, or into a server.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import psycopg

from oxy_pg.errors import ToolFailed, TransferRefused
from oxy_pg.report import Skipped
from oxy_pg.transfer import database, tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oxy_pg.installations import Installation

Section: TypeAlias = Literal["pre-data", "post-data"]

# A line of "pg_restore --list": number; catalog's and object's oid; type, schema, name, owner.
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<words>.*)")

# Made by whoever may make them, or there in every database.
_SCHEMA = "SCHEMA - "
_NOT_OURS = ("EXTENSION ", "COMMENT - EXTENSION ", "SCHEMA - public ", "COMMENT - SCHEMA public ")
# They belong to the server that they were made on, or are a superuser's.
_LOCAL = ("PUBLICATION", "SUBSCRIPTION", "EVENT TRIGGER")

# What the text of a schema is written for (pg_backup_archiver.c, _doSetFixedOutputState).
SETTINGS = """
    SET client_encoding = 'UTF8'; SET search_path = ''; SET check_function_bodies = off;
    SET xmloption = 'content'; SET row_security = off; SET standard_conforming_strings = on
"""

# psql's commands, which newer pg_restores put around a script.
_META = re.compile(r"^\\(?:un)?restrict \w+\n", re.MULTILINE)
# Where an entry begins; what stands before the first are settings.
_BEGINS = re.compile(r"^--\n-- (?:Name|TOC entry)\b", re.MULTILINE)

# Servers of late 2026 (15.20) keep this among a column's options. Their own pg_dump leaves it out,
# older ones take it for something that a user has set, and no server lets it be set.
_INTERNAL_OPTION = re.compile(
    r"^ALTER (?:FOREIGN )?TABLE (?:ONLY )?.+ ALTER COLUMN .+ SET \((.*\bpg_attver=\d+.*)\);\n",
    re.MULTILINE,
)
# An extension's has been made already.
_CREATE_SCHEMA = re.compile(r"^CREATE SCHEMA (?=\")", re.MULTILINE)
# A right that versions before 17 do not have.
_MAINTAIN = re.compile(r"^(GRANT|REVOKE) (.*\bMAINTAIN\b.*) ON TABLE .*;\n", re.MULTILINE)

# What a newer pg_restore says to every server, and an older one does not know.
_UNKNOWN_SETTING = re.compile(r'unrecognized configuration parameter "transaction_timeout"')


def _left_out(entry: str) -> Skipped:
    """Return what an entry of pg_restore's list names: "PUBLICATION - news owner"."""
    kind = next(kind for kind in _LOCAL if entry.startswith(kind)).strip()
    name = entry.removeprefix(kind).strip().rpartition(" ")[0]
    return Skipped(kind, name.removeprefix("- "), "it is not copied to another server")


class Archive:
    """A schema that pg_dump has written to ``path``."""

    def __init__(
        self,
        programs: Installation,
        path: str,
        *,
        options: Sequence[str] = (),
        leave_local: bool = False,
    ) -> None:
        """
        ``options`` are pg_restore's.

        With ``leave_local`` publications, subscriptions and event triggers stay
        behind, and the schemas have been made already.
        """
        self.programs = programs
        self.path = path
        self._list = f"{path}.list"
        self._options = (*options, "--no-tablespaces", f"--use-list={self._list}")
        self.unsupported: list[Skipped] = []  # what the target's version does not know
        self.skipped: list[Skipped] = []  # what is left out on purpose
        kept = []
        listed = tools.run(programs, "pg_restore", ("--list", path)).decode()
        for line in listed.splitlines():
            found = _ENTRY.match(line)
            words = found["words"] if found else ""
            if leave_local and words.startswith(_LOCAL):
                self.skipped.append(_left_out(words))
            elif not words.startswith(_NOT_OURS) and not (
                leave_local and words.startswith(_SCHEMA)
            ):
                kept.append(line)
        with open(self._list, "w", encoding="utf-8") as file:
            file.write("\n".join(kept) + "\n")

    def sql(self, section: Section, target_major: int) -> list[str]:
        """
        Return the SQL of a section, entry by entry, as this version understands it.

        What it does not know is added to ``unsupported``.
        """
        arguments = (f"--section={section}", *self._options, "--file=-", self.path)
        text = tools.run(self.programs, "pg_restore", arguments).decode()
        text = _INTERNAL_OPTION.sub(_without_internal, _META.sub("", text))
        text = _CREATE_SCHEMA.sub("CREATE SCHEMA IF NOT EXISTS ", text)
        if target_major < 17:
            reason = f"PostgreSQL {target_major} does not have this privilege"
            self.unsupported += [
                Skipped("privilege", found[0].strip(), reason) for found in _MAINTAIN.finditer(text)
            ]
            text = _MAINTAIN.sub(_without_maintain, text)
        begins = [found.start() for found in _BEGINS.finditer(text)]
        return [text[here:there] for here, there in pairwise([*begins, len(text)])]

    def execute(self, section: Section, connection: psycopg.Connection[Any]) -> None:
        """Run a section's SQL; raises TransferRefused with the statement that was refused."""
        for entry in self.sql(section, database.major(connection)):
            try:
                connection.execute(entry.encode())
            except psycopg.Error as error:
                raise refused(entry, error) from error

    def restore(self, section: Section, url: str, jobs: int) -> None:
        """
        Have pg_restore run a section with ``jobs`` connections, each statement for itself.

        Raises ToolFailed, but not for a setting that an older server does not know.
        """
        errors: list[str] = []
        forgiven: list[str] = []

        def hear(line: str) -> None:
            if line.startswith("pg_restore: error:"):
                (forgiven if _UNKNOWN_SETTING.search(line) else errors).append(line)
            elif errors and not forgiven and not line.startswith("pg_restore:"):
                errors.append(line)

        arguments = (f"--section={section}", f"--jobs={jobs}", *self._options, self.path)
        program = tools.Running(self.programs, "pg_restore", arguments, url=url, on_line=hear)
        try:
            with program:
                pass
        except ToolFailed as failed:
            if errors or not forgiven:
                said = "\n".join(errors) or failed.output
                raise ToolFailed("pg_restore", said, failed.returncode) from None


def _without_internal(found: re.Match[str]) -> str:
    """Return the statement without the option that only the server sets; nothing if that is all."""
    options = [part.strip() for part in found[1].split(",")]
    kept = ", ".join(part for part in options if not part.startswith("pg_attver="))
    return found[0].replace(f"({found[1]})", f"({kept})") if kept else ""


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
) -> None:
    """Write the schema of a database to ``path``; raises ToolFailed."""
    arguments = ["--format=custom", "--section=pre-data", "--section=post-data", "--no-blobs"]
    arguments += ["--encoding=UTF8", "--quote-all-identifiers", f"--file={path}"]
    if snapshot is not None:
        arguments.append(f"--snapshot={snapshot}")
    arguments += [f"--schema={quoted(schema)}" for schema in schemas or ()]
    with tools.Running(programs, "pg_dump", arguments, url=url):
        pass


def quoted(name: str) -> str:
    """Quote a name so that pg_dump takes it for itself, and not for a pattern."""
    return '"' + name.replace('"', '""') + '"'


def refused(text: str, error: psycopg.Error) -> TransferRefused:
    """Return the typed error for a script of which a statement was refused."""
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
    remedy = database.refused("", error).remedy
    return TransferRefused("make the schema in the target", reason, remedy)


def _statement_at(text: str, position: int) -> str:
    begin = text.rfind("\n\n", 0, position)
    end = text.find(";\n", position)
    found = text[begin + 1 : end + 1 if end >= 0 else None].strip()
    lines = [line for line in found.splitlines() if not line.startswith("--")]
    return "\n".join(lines)[:600]
