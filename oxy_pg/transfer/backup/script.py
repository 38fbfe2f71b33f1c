r"""
SQL as pg_dump writes it, run without psql.

In a script psql would obey commands of its own (``\!`` runs a program of this
machine), which the author of a backup may have put there. Here the server
gets everything but the rows of COPY as it is; to the server such a command is a
syntax error.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.errors import CountsDiffer, ToolFailed, TransferRefused
from oxy_pg.report import Progress
from oxy_pg.transfer import refusals
from oxy_pg.transfer.backup import extensions
from oxy_pg.transfer.parts import dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from oxy_pg.errors import TransferError
    from oxy_pg.transfer.backup.restore_plan import RestorePlan
    from oxy_pg.transfer.contents import TableRows
    from oxy_pg.transfer.parts.functions import Held

PROBE = "oxy_pg: "  # how an error of verify() begins

# Forced row-level security would hide rows from the role that owns the table.
_COUNT = """
    DECLARE
      found bigint;
      forced boolean := relforcerowsecurity FROM pg_class WHERE oid = {name}::regclass;
    BEGIN
      IF forced THEN ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; END IF;
      SELECT count(*) INTO found FROM ONLY {table};
      IF found <> {wanted} THEN
        RAISE EXCEPTION '{probe}%: % rows, and % in the backup', {shown}, found, {wanted};
      END IF;
      IF forced THEN ALTER TABLE {table} FORCE ROW LEVEL SECURITY; END IF;
    END
"""

_HEADER = re.compile(rb"-- (?:Data for )?Name: (.+); Type: ([A-Z ]+); Schema: ")
_COPY = re.compile(rb"COPY .+ FROM stdin;\n")
_ROUTINES = frozenset({b"FUNCTION", b"PROCEDURE"})
_LONG = 1 << 20  # bytes that are sent at once, unless one statement is longer
# The types of entries with rows and values; before these come definitions, after them more.
_ROWS = frozenset({b"TABLE DATA", b"SEQUENCE SET", b"BLOBS"})


def for_server(
    lines: Iterable[bytes], server_major: int, skip: Collection[tuple[str, str]] = ()
) -> Iterator[bytes]:
    """
    Yield the lines that a server of this version knows.

    ``skip`` are entries to leave out: name and type, as their headings have them.
    """
    copying = skipping = commented = False
    for line in lines:
        heading = _HEADER.match(line) if commented else None
        commented = not copying and line.startswith(b"--")
        if copying:
            copying = line != b"\\.\n"
        elif heading:
            skipping = (heading[1].decode(errors="replace"), heading[2].decode()) in skip
        elif skipping and not commented:
            skipping = not line.endswith(b";\n")  # to the end of the statement
            continue
        else:
            copying = is_copy(line)
            yield dialect.line(line, server_major)
            continue
        yield line


def is_copy(line: bytes) -> bool:
    r"""Whether rows follow, up to a line with ``\.``."""
    return _COPY.fullmatch(line) is not None


def verify(connection: psycopg.Connection[Any], tables: Iterable[TableRows]) -> Iterator[bytes]:
    """Yield statements that fail unless every table has its rows."""
    for table in tables:
        body = sql.SQL(_COUNT).format(
            table=sql.Identifier(table.schema, table.name),
            name=sql.Literal(sql.Identifier(table.schema, table.name).as_string(connection)),
            wanted=table.rows,
            probe=sql.SQL(PROBE),
            shown=sql.Literal(str(table)),
        )
        text = sql.SQL("DO {};\n").format(sql.Literal(body.as_string(connection)))
        yield text.as_bytes(connection)


def feed(connection: psycopg.Connection[Any], lines: Iterable[bytes], held: Held) -> None:
    """
    Run a script to its end or its first error, and nothing but its SQL.

    The server splits it into statements: it gets everything between two COPYs
    at once, or up to a heading where that is long. ``held`` is told where the
    rows begin and end. Raises psycopg.Error.
    """
    statements: list[bytes] = []
    size = 0
    rows_follow = routines = False
    steps = [held.after_rows, held.before_rows]

    def run() -> None:
        nonlocal size
        connection.execute(b"".join(statements))
        statements.clear()
        size = 0

    rest = iter(lines)
    for line in rest:
        heading = _HEADER.match(line)
        if heading:
            rows_follow = heading[2] == b"TABLE DATA"
            if len(steps) == (2 if heading[2] in _ROWS else 1):
                run()
                steps.pop()()
            elif heading[2] == b"TABLE" and routines:
                run()
                held.before_table()
                routines = False
            elif size > _LONG:
                run()
            routines = routines or heading[2] in _ROUTINES
        if rows_follow and is_copy(line):
            run()
            _copy(connection, line, rest)
        else:
            statements.append(line)
            size += len(line)
    run()
    for step in reversed(steps):
        step()


def _copy(connection: psycopg.Connection[Any], statement: bytes, lines: Iterator[bytes]) -> None:
    """Copy rows up to the line that ends them."""
    with connection.cursor().copy(statement) as into:
        for line in lines:
            if line == b"\\.\n":
                return
            into.write(line)


def of_plain_backup(
    plan: RestorePlan, on_progress: Callable[[Progress], object]
) -> Iterator[bytes]:
    """Yield the SQL of a plain backup, without what ``extensions`` creates."""
    size = plan.manifest.size
    lines = unpacked(plan.path, lambda done: on_progress(Progress("load", min(done, size), size)))
    yield from for_server(lines, plan.server_major, extensions.entries(plan.manifest))


def failed(plan: RestorePlan, error: ToolFailed | psycopg.Error) -> TransferError:
    """Return the error for what has failed while a plan was carried out."""
    output = error.output if isinstance(error, ToolFailed) else str(error)
    if PROBE in output:
        lines = output.splitlines()
        found = [line.partition(PROBE)[2] for line in lines if PROBE in line]
        return CountsDiffer(tuple(found))
    remedy = f"The database {plan.database!r} is as it was."
    known = refusals.remedy(output)
    if known:
        return TransferRefused(plan.doing, output, f"{known} {remedy}")
    if "permission denied" in output or "must be" in output:
        remedy += " The role lacks a right; its administrator can grant it."
    return TransferRefused(plan.doing, output, remedy)


def unpacked(path: str, on_bytes: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the lines of a compressed script; ``on_bytes`` gets how much of the file was read."""
    with open(path, "rb") as file, gzip.open(file) as unpacking:
        for number, line in enumerate(unpacking):
            if not number % 1000:
                on_bytes(file.tell())
            yield line
