"""
The sequences of the target: which column counts with which, and how.

A column has a sequence as its identity or serial, in its DEFAULT, or only by the customary name
``table_column_seq``, with which an application calls nextval() itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.names import LONGEST
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, slots=True)
class Counter:
    """
    A sequence with which a column counts; ``name`` is qualified and quoted.

    ``plain`` if the column's values are its numbers; else ``default`` is the
    expression in which they are used.
    """

    name: str
    plain: bool
    default: str = ""


@dataclass(frozen=True, slots=True)
class Counters:
    """
    The sequences of a schema's columns, by the table's oid and the column's name.

    ``free`` are the sequences of the schema that no column owns and no default
    names, by their names.
    """

    of: dict[tuple[int, str], tuple[Counter, ...]]
    free: dict[str, str]

    def behind(self, oid: int, table: str, column: str) -> tuple[Counter, ...]:
        """Return the sequences of a column; if it has none, the free one of the customary name."""
        found = self.of.get((oid, column), ())
        name = self.free.get(customary(table, column))
        return found or ((Counter(name, plain=True),) if name else ())


# Owned (serial, identity): 'a' or 'i'. In a default: the sequence is what the default depends on.
_OWNED = """
SELECT d.refobjid, a.attname, format('%%I.%%I', n.nspname, s.relname), s.oid,
       a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_class c ON c.oid = d.refobjid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype IN ('a', 'i') AND c.relnamespace = %s::regnamespace
"""

_DEFAULTS = """
SELECT f.adrelid, a.attname, pg_get_expr(f.adbin, f.adrelid),
       a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype),
       ARRAY(SELECT format('%%I.%%I', n.nspname, s.relname) FROM pg_depend d
             JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
             JOIN pg_namespace n ON n.oid = s.relnamespace
             WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid)::text[]
FROM pg_attrdef f
JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
JOIN pg_class c ON c.oid = f.adrelid
WHERE c.relnamespace = %s::regnamespace AND a.attgenerated = ''
  AND pg_get_expr(f.adbin, f.adrelid) LIKE '%%nextval(%%'
"""

_FREE = """
SELECT s.relname, format('%%I.%%I', n.nspname, s.relname)
FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE s.relkind = 'S' AND s.relnamespace = %s::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = s.oid AND d.classid = 'pg_class'::regclass
                  AND d.deptype IN ('a', 'i', 'e'))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refobjid = s.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_attrdef'::regclass)
"""

# nextval('s'::regclass), also cast to another type, or with a name that is looked up each time.
_PLAIN = re.compile(
    r"\(*nextval\(\(*'(?:[^']|'')+'::(?:regclass|text)\)*(?:::regclass)?\)\)*(?:::[a-z]+)?\)*"
)
_LATE = re.compile(r"nextval\(\(*'((?:[^']|'')+)'::text")


def read_counters(connection: psycopg.Connection[Any], schema: str) -> Counters:
    """Read which columns of a schema count with which sequences."""
    of: dict[tuple[int, str], dict[str, Counter]] = defaultdict(dict)
    free = dict(connection.execute(_FREE, [ident(schema)]).fetchall())
    for table, column, default, counts, sequences in connection.execute(_DEFAULTS, [ident(schema)]):
        names = list(sequences)
        for late in _LATE.findall(default):
            found = _find(connection, late.replace("''", "'"))
            if found:
                names.append(found)
                free = {name: own for name, own in free.items() if own != found}
        plain = counts and _PLAIN.fullmatch(default) is not None
        for name in names:
            of[table, column][name] = Counter(name, plain, default)
    for table, column, name, _, counts in connection.execute(_OWNED, [ident(schema)]):
        # Owned, but used in an expression: the expression counts.
        if counts:
            of[table, column].setdefault(name, Counter(name, plain=True))
    return Counters({key: tuple(found.values()) for key, found in of.items()}, free)


def _find(connection: psycopg.Connection[Any], name: str) -> str | None:
    row = connection.execute(
        "SELECT format('%%I.%%I', n.nspname, s.relname) FROM pg_class s "
        "JOIN pg_namespace n ON n.oid = s.relnamespace "
        "WHERE s.oid = to_regclass(%s) AND s.relkind = 'S'",
        [name],
    ).fetchone()
    return str(row[0]) if row else None


def customary(table: str, column: str) -> str:
    """Return the name that PostgreSQL gives the sequence of a serial column."""
    # As makeObjectName() in PostgreSQL: the longer of the two names is cut.
    one, other = table.encode(), column.encode()
    while len(one) + len(other) + len("__seq") > LONGEST:
        if len(one) > len(other):
            one = one[:-1]
        else:
            other = other[:-1]
    return f"{one.decode(errors='ignore')}_{other.decode(errors='ignore')}_seq"
