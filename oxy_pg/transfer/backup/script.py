"""SQL as pg_dump writes it, for psql."""

from __future__ import annotations

import gzip
import re
import secrets
import subprocess
from typing import TYPE_CHECKING, Any

from psycopg import sql

from oxy_pg import installations
from oxy_pg.errors import CountsDiffer, TransferRefused
from oxy_pg.report import Progress
from oxy_pg.transfer.backup import extensions
from oxy_pg.transfer.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    import psycopg

    from oxy_pg.errors import ToolFailed, TransferError
    from oxy_pg.installations import Installation
    from oxy_pg.transfer.backup.restore_plan import RestorePlan
    from oxy_pg.transfer.contents import TableRows

PROBE = "oxy_pg: "  # how an error of verify() begins

_HEADER = re.compile(rb"-- (?:Data for )?Name: (.+); Type: ([A-Z ]+); Schema: ")
_COPY = re.compile(rb"COPY .+ FROM stdin;\n")
# Since these minor versions psql has a command that forbids its others (CVE-2025-8714), and
# pg_dump writes it.
_RESTRICT = re.compile(rb"\\(un)?restrict [0-9A-Za-z]+\n")
_RESTRICTS = {14: 19, 15: 14, 16: 10, 17: 6}
_TRANSACTION_TIMEOUT = b"SET transaction_timeout = 0;\n"  # a setting of 17


def knows_restrict(version: str) -> bool:
    """Whether psql of this version can be told to run none of its own commands in a script."""
    major = installations.major_of(version)
    return installations.minor_of(version) >= _RESTRICTS.get(major, 0) and major >= 14


def for_server(
    lines: Iterable[bytes], server_major: int, skip: Collection[tuple[str, str]] = ()
) -> Iterator[bytes]:
    """
    Yield the lines that a server of this version, and every psql, knows.

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
        elif _RESTRICT.fullmatch(line) or (server_major < 17 and line == _TRANSACTION_TIMEOUT):
            continue
        else:
            copying = _COPY.fullmatch(line) is not None
        yield line


def verify(connection: psycopg.Connection[Any], tables: Iterable[TableRows]) -> Iterator[bytes]:
    """Yield statements that fail unless every table has its rows."""
    for table in tables:
        body = sql.SQL(
            "DECLARE found bigint; BEGIN SELECT count(*) INTO found FROM ONLY {};"
            " IF found <> {} THEN"
            " RAISE EXCEPTION '{}%: % rows, and % in the backup', {}, found, {};"
            " END IF; END"
        ).format(
            sql.Identifier(table.schema, table.name),
            table.rows,
            sql.SQL(PROBE),
            sql.Literal(str(table)),
            table.rows,
        )
        text = sql.SQL("DO {};\n").format(sql.Literal(body.as_string(connection)))
        yield text.as_bytes(connection)


def feed(tools: Installation, url: str, parts: Iterable[bytes]) -> None:
    """
    Have psql run a script to its end or its first error.

    It runs only SQL, and none of psql's own commands where psql can be told so.
    When this process is killed, the script ends early for psql: without the
    COMMIT in ``parts`` nothing of it remains. Raises ToolFailed.
    """
    arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]
    with Running(tools, "psql", arguments, url=url, stdin=subprocess.PIPE) as running:
        key = secrets.token_hex(16).encode() if knows_restrict(tools.version) else b""
        running.stdin.write(b"\\restrict %s\n" % key if key else b"")
        for part in parts:
            running.stdin.write(part)
        running.stdin.write(b"\\unrestrict %s\n" % key if key else b"")
        running.stdin.close()


def of_plain_backup(
    plan: RestorePlan, on_progress: Callable[[Progress], object]
) -> Iterator[bytes]:
    """Yield the SQL of a plain backup, without what ``extensions`` creates."""
    size = plan.manifest.size
    lines = unpacked(plan.path, lambda done: on_progress(Progress("load", min(done, size), size)))
    yield from for_server(lines, plan.server_major, extensions.entries(plan.manifest))


def failed(plan: RestorePlan, error: ToolFailed) -> TransferError:
    """Return the error for a program that has failed while it carried out a plan."""
    if PROBE in error.output:
        lines = error.output.splitlines()
        found = [line.partition(PROBE)[2] for line in lines if PROBE in line]
        return CountsDiffer(tuple(found))
    remedy = f"The database {plan.database!r} is as it was."
    if "permission denied" in error.output or "must be" in error.output:
        remedy += " The role lacks a right; its administrator can grant it."
    return TransferRefused(plan.doing, error.output, remedy)


def unpacked(path: str, on_bytes: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the lines of a compressed script; ``on_bytes`` gets how much of the file was read."""
    with open(path, "rb") as file, gzip.open(file) as unpacking:
        for number, line in enumerate(unpacking):
            if not number % 1000:
                on_bytes(file.tell())
            yield line
