"""
What a rehearsal needs besides the rollback: sequences that count back.

A rollback does not undo nextval(), unless the sequence has been restarted in
the same transaction: that gives it a new file, which goes with the rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import errors as pg

from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    import psycopg

    from oxy_pg.migrate.plan.plan import Plan

# Those that a column of the table owns, and those in the default of a column.
_SEQUENCES = """
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
        for (sequence,) in connection.execute(_SEQUENCES, {"table": name}).fetchall():
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
