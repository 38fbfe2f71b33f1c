"""
Sequences, which continue where the keys ended.

They are found through the catalogs (target/sequences.py), and set with ALTER
SEQUENCE … RESTART, which a rollback undoes; it does not undo setval(). Those of
new tables go with the rollback anyway: setval() spares each a second file, and
one statement sets them all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import errors as pg

from oxy_pg.migrate.report.values import SequenceReport
from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.migrate.plan.plan import ColumnPlan, Plan, TablePlan

_TOGETHER = 100  # columns that one query looks at


@dataclass(slots=True)
class Advanced:
    """The sequences that were set, and what could not be done, in words."""

    done: list[SequenceReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def advance(connection: psycopg.Connection[Any], plan: Plan) -> Advanced:
    """Set every sequence with which a filled column counts to its next number."""
    advanced = Advanced()
    columns: dict[str, list[tuple[TablePlan, ColumnPlan]]] = defaultdict(list)
    for table, column in _left(connection, plan, advanced):
        for name in _sequences(connection, plan, table, column):
            columns[name].append((table, column))
    for name, users in columns.items():
        numbers = [n for table, column in users for n in _numbers(connection, plan, table, column)]
        if numbers:
            _advance(connection, name, numbers, advanced)
    return advanced


def _left(
    connection: psycopg.Connection[Any], plan: Plan, advanced: Advanced
) -> list[tuple[TablePlan, ColumnPlan]]:
    """Set the sequences of new tables together; return the columns that are to be looked at."""
    new = [
        (table, column)
        for table in plan.tables
        for column in table.columns
        if table.existing is None and table.source.rowid_alias == column.source
    ]
    old = [(t, column) for t in plan.tables if t.existing is not None for column in t.columns]
    try:
        with connection.transaction():
            done, full = _advance_new(connection, plan, new)
    except (pg.InsufficientPrivilege, pg.UndefinedFunction, pg.FeatureNotSupported):
        # An event trigger has given them to another role, or it is not quite PostgreSQL.
        return new + old
    advanced.done += done
    return full + old


_NEW = """
SELECT u.place, u.name, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
       pg_sequence_last_value(s.seqrelid)
FROM (SELECT place, pg_get_serial_sequence(t, c) AS name
      FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS given (t, c, place)) AS u
JOIN pg_sequence s ON s.seqrelid = u.name::regclass
ORDER BY u.place
"""


def _advance_new(
    connection: psycopg.Connection[Any], plan: Plan, new: list[tuple[TablePlan, ColumnPlan]]
) -> tuple[list[SequenceReport], list[tuple[TablePlan, ColumnPlan]]]:
    """Set the sequences of new tables; return also the columns whose sequence has no more."""
    tables = [ident(plan.schema, table.target) for table, _ in new]
    found = connection.execute(_NEW, [tables, [column.target for _, column in new]]).fetchall()
    users = [new[place - 1] for place, *_ in found]
    numbers: dict[str, int] = {}
    full = []
    for user, last, row in zip(users, _greatest(connection, plan, users), found, strict=True):
        _, name, start, step, least, most, given = row
        known = [n for n in (last, user[0].source.sequence) if n is not None]
        if not known:
            continue
        is_called = given is not None
        number = _following(known, given if is_called else start, start, step, is_called=is_called)
        if number is not None and least <= number <= most:
            numbers[name] = number
        elif number is not None:
            full.append(user)
    connection.execute(
        "SELECT setval(name::regclass, number, false) "
        "FROM unnest(%s::text[], %s::bigint[]) AS given (name, number)",
        [list(numbers), list(numbers.values())],
    )
    return [SequenceReport(_shown(name), number) for name, number in numbers.items()], full


def _greatest(
    connection: psycopg.Connection[Any], plan: Plan, users: list[tuple[TablePlan, ColumnPlan]]
) -> list[int | None]:
    """Return the greatest number of each column."""
    found: list[int | None] = []
    for start in range(0, len(users), _TOGETHER):
        terms = ", ".join(
            f"(SELECT max({ident(column.target)}) FROM {ident(plan.schema, table.target)})"
            for table, column in users[start : start + _TOGETHER]
        )
        found += connection.execute(f"SELECT {terms}").fetchone() or ()
    return found


def _sequences(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan, column: ColumnPlan
) -> list[str]:
    if table.existing is not None:
        found = table.existing.column(column.target)
        return [c.name for c in found.counters if c.plain] if found else []
    row = connection.execute(
        "SELECT pg_get_serial_sequence(%s, %s)", [ident(plan.schema, table.target), column.target]
    ).fetchone()
    return [str(row[0])] if row and row[0] else []


def _numbers(
    connection: psycopg.Connection[Any], plan: Plan, table: TablePlan, column: ColumnPlan
) -> list[int]:
    """Return the least and the greatest number of a column, and the last one that SQLite gave."""
    name = ident(column.target)
    query = f"SELECT min({name}), max({name}) FROM {ident(plan.schema, table.target)}"
    row = connection.execute(query).fetchone() or ()
    found = [int(number) for number in row if number is not None]
    if table.source.rowid_alias == column.source and table.source.sequence is not None:
        found.append(table.source.sequence)
    return found


def _advance(
    connection: psycopg.Connection[Any], name: str, numbers: list[int], advanced: Advanced
) -> None:
    try:
        # Without the right to a sequence the rows are moved all the same.
        with connection.transaction():
            number = _next(connection, name, numbers)
            if number is not None:
                end = restart(connection, name, number)
                advanced.done.append(SequenceReport(_shown(name), number))
                if end is not None:
                    advanced.warnings.append(
                        f"the sequence {name} ends at {end}, and the values that were moved reach "
                        "that: an INSERT that takes its next number fails; ALTER SEQUENCE "
                        f"{name} AS bigint NO MAXVALUE NO MINVALUE, or other values, helps"
                    )
    except pg.InsufficientPrivilege as error:
        advanced.warnings.append(
            f"the sequence {name} is not advanced ({error.diag.message_primary}); as its owner: "
            f"SELECT setval({literal(name)}, {max(numbers)});"
        )


def _next(connection: psycopg.Connection[Any], name: str, numbers: list[int]) -> int | None:
    """Return the number that comes next; None where the sequence has not begun, and need not."""
    row = connection.execute(
        f"SELECT last_value, is_called, seqstart, seqincrement FROM {name}, pg_sequence "
        f"WHERE seqrelid = {literal(name)}::regclass"
    ).fetchone()
    if row is None:
        return None
    last, is_called, start, step = row
    return _following(numbers, last, start, step, is_called=is_called)


def _following(
    numbers: list[int], last: int, start: int, step: int, *, is_called: bool
) -> int | None:
    comes = last + step if is_called else last
    # Applications take "step" numbers at a time (Hibernate), or one of them on each of several
    # servers: all numbers that exist are passed by a whole step, and the rhythm is kept.
    edge = (max(numbers) if step > 0 else min(numbers)) + step
    wanted = start + -(-(edge - start) // step) * step
    ahead = wanted > comes if step > 0 else wanted < comes
    return wanted if ahead else comes if is_called else None


def _shown(name: str) -> str:
    return name.replace('"', "")


def restart(connection: psycopg.Connection[Any], name: str, number: int) -> int | None:
    """
    Let a sequence continue with this number; return where it ends, if that is before it.

    None, too, at the end of bigint: there is nothing beyond.
    """
    row = connection.execute(
        "SELECT seqmin, seqmax FROM pg_sequence WHERE seqrelid = %s::regclass", [name]
    ).fetchone()
    least, most = (int(row[0]), int(row[1])) if row else (-(2**63), 2**63 - 1)
    within = min(max(number, least), most)
    connection.execute(f"ALTER SEQUENCE {name} RESTART WITH {within}")
    if number != within:
        # Every number is used up: the next nextval() must say so, not repeat the last one.
        connection.execute("SELECT nextval(%s::regclass)", [name])
        return within if -(2**63) < within < 2**63 - 1 else None
    return None


# --- a rehearsal ---------------------------------------------------------------------

# A rollback does not undo nextval(), unless the sequence was restarted in the same transaction:
# that gives it a new file, which goes with the rollback.

# Those that a column of the table owns, and those in the default of a column.
_OF_TABLE = """
SELECT DISTINCT s.oid::regclass::text FROM pg_class s JOIN pg_depend d ON s.relkind = 'S' AND (
  d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i')
    AND d.refobjid = %(table)s::regclass
  OR d.classid = 'pg_attrdef'::regclass AND d.refobjid = s.oid
    AND EXISTS (SELECT FROM pg_attrdef a WHERE a.oid = d.objid AND a.adrelid = %(table)s::regclass))
ORDER BY 1
"""


def hold_sequences(connection: psycopg.Connection[Any], plan: Plan) -> tuple[str, ...]:
    """
    Let a rollback undo what the existing tables take from their sequences.

    Return a warning for each with which that is not possible.
    """
    warnings = {}
    for table in plan.tables:
        if table.existing is None:
            continue
        name = ident(plan.schema, table.target)
        for (sequence,) in connection.execute(_OF_TABLE, {"table": name}).fetchall():
            try:
                with connection.transaction():
                    _hold(connection, sequence)
            except (pg.InsufficientPrivilege, pg.LockNotAvailable) as error:
                warnings[sequence] = (
                    f"the sequence {sequence} may have advanced, which a rollback does not undo: "
                    f"{error.diag.message_primary}"
                )
    return tuple(warnings.values())


def _hold(connection: psycopg.Connection[Any], sequence: str) -> None:
    row = connection.execute(
        "SELECT seqcache FROM pg_sequence WHERE seqrelid = %s::regclass", [sequence]
    ).fetchone()
    # This changes nothing, and locks it: no other session takes a number after it has been read.
    connection.execute(f"ALTER SEQUENCE {sequence} CACHE {int(row[0]) if row else 1}")
    row = connection.execute(f"SELECT last_value, is_called FROM {sequence}").fetchone()
    number, is_called = row or (1, False)
    connection.execute(f"ALTER SEQUENCE {sequence} RESTART WITH {int(number)}")
    connection.execute("SELECT setval(%s::regclass, %s, %s)", [sequence, number, is_called])
