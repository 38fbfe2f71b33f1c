"""
Functions that run while a copy is made: in CHECKs, domains, generated columns, indexes, views.

PostgreSQL copies the rows of one table after another, with an empty search_path.
A function that reads another table may find it empty then, and one that names a
table without its schema does not find it. So CHECKs and domains that call
functions are added again after all rows, generated columns are computed again,
and with a ``search_path`` the functions have it until the copy is complete.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from oxy_pg.errors import ConfigurationError
from oxy_pg.transfer import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import psycopg

    # Gives a connection of a role.
    ConnectedAs = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]

# Functions that users have written; those of extensions, and in C, read no tables of users.
_WRITTEN = """
    p.prolang NOT IN (SELECT oid FROM pg_language WHERE lanname IN ('internal', 'c'))
    AND p.pronamespace <> 'pg_catalog'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass
                    AND e.objid = p.oid AND e.deptype = 'e')
"""
# What calls which of them, itself or through an operator: class, object, function.
_CALLS = f"""
    calls AS (
      SELECT d.classid, d.objid, p.oid AS function
      FROM pg_depend d
      LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
      JOIN pg_proc p ON p.oid = CASE d.refclassid WHEN 'pg_proc'::regclass THEN d.refobjid
                                ELSE o.oprcode END
      WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND {_WRITTEN}
    )
"""
# Parents after the tables that inherit from them: that is how they are added again. Not where
# those have other owners, for then nobody but a superuser could.
_CHECKS = f"""
    WITH RECURSIVE {_CALLS},
    below AS (
      SELECT inhrelid AS id, 1 AS depth FROM pg_inherits
      UNION ALL SELECT inhrelid, depth + 1 FROM pg_inherits JOIN below ON inhparent = id
    )
    SELECT con.oid, CASE WHEN contypid = 0 THEN 'TABLE' ELSE 'DOMAIN' END,
           nspname, coalesce(relname, typname), conname, pg_get_constraintdef(con.oid),
           obj_description(con.oid, 'pg_constraint'),
           pg_get_userbyid(coalesce(relowner, typowner))
    FROM pg_constraint con
    LEFT JOIN pg_class c ON c.oid = conrelid LEFT JOIN pg_type t ON t.oid = contypid
    JOIN pg_namespace n ON n.oid = coalesce(relnamespace, typnamespace)
    WHERE contype = 'c' AND conislocal AND con.oid <> ALL (%s)
      AND EXISTS (SELECT FROM calls
                  WHERE classid = 'pg_constraint'::regclass AND objid = con.oid)
      AND NOT EXISTS (SELECT FROM pg_inherits JOIN pg_class k ON k.oid = inhrelid
                      WHERE inhparent = conrelid AND k.relowner <> c.relowner)
    ORDER BY (SELECT max(depth) FROM below WHERE id = conrelid) DESC NULLS LAST, con.oid
"""
# Those that were not dropped.
_KEPT = f"""
    WITH {_CALLS}
    SELECT nspname, relname FROM pg_constraint con
    JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE contype = 'c' AND con.oid <> ALL (%s)
      AND EXISTS (SELECT FROM calls
                  WHERE classid = 'pg_constraint'::regclass AND objid = con.oid)
"""
_GENERATED = f"""
    WITH {_CALLS}
    SELECT nspname, relname, t.attname, pg_get_expr(adbin, adrelid), pg_get_userbyid(relowner),
           t.attnotnull AND NOT relispartition,
           (SELECT min(b.attname) FROM pg_depend d JOIN pg_attribute b
              ON b.attrelid = refobjid AND b.attnum = refobjsubid AND b.attidentity <> 'a'
            WHERE refclassid = 'pg_class'::regclass AND refobjid = adrelid AND refobjsubid <> adnum
              AND (classid = 'pg_attrdef'::regclass AND objid = a.oid
                   OR classid = 'pg_class'::regclass AND objid = adrelid AND objsubid = adnum))
    FROM pg_attrdef a JOIN pg_class c ON c.oid = adrelid JOIN pg_namespace n ON n.oid = relnamespace
    JOIN pg_attribute t ON t.attrelid = adrelid AND t.attnum = adnum
    WHERE t.attgenerated = 's' AND relkind = 'r' AND a.oid <> ALL (%s)
      AND EXISTS (SELECT FROM calls WHERE classid = 'pg_attrdef'::regclass AND objid = a.oid)
    ORDER BY a.oid
"""
_COMMENT = """
    SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
    WHERE contypid = %s::regtype AND conname = (parse_ident(%s))[1]
"""
# A body of standard SQL names objects, not texts.
_WITHOUT_PATH = f"""
    SELECT p.oid, p.oid::regprocedure::text FROM pg_proc p
    WHERE {_WRITTEN} AND prokind IN ('f', 'p') AND prosqlbody IS NULL AND p.oid <> ALL (%s)
      AND NOT EXISTS (SELECT FROM unnest(proconfig) setting WHERE setting LIKE 'search_path=%%')
      AND pronamespace <> 'information_schema'::regnamespace
      AND (%s OR prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql'))
    ORDER BY p.oid
"""


@dataclass(frozen=True, slots=True)
class _Check:
    """A CHECK of a table or a domain."""

    kind: str  # TABLE or DOMAIN
    of: sql.Identifier
    name: sql.Identifier
    definition: str
    comment: str | None
    owner: str

    @property
    def drop(self) -> sql.Composed:
        """The statement that drops it, unless that of a parent has dropped it."""
        return sql.SQL(f"ALTER {self.kind} {{}} DROP CONSTRAINT IF EXISTS {{}}").format(
            self.of, self.name
        )

    def add(self, connection: psycopg.Connection[Any]) -> None:
        """
        Add it again; raises psycopg.Error.

        PostgreSQL cannot compare the values of a domain that a column has in an
        array or a record: that they were valid is then not known to it.
        """
        add = sql.SQL(f"ALTER {self.kind} {{}} ADD CONSTRAINT {{}} ").format(self.of, self.name)
        add += sql.SQL(self.definition)
        try:
            with connection.transaction():
                connection.execute(add)
        except errors.FeatureNotSupported:
            if self.kind != "DOMAIN":
                raise
            connection.execute(add + sql.SQL(" NOT VALID"))
        if self.comment is not None:
            on = "DOMAIN " * (self.kind == "DOMAIN")
            comment = sql.SQL(f"COMMENT ON CONSTRAINT {{}} ON {on}{{}} IS {{}}")
            connection.execute(comment.format(self.name, self.of, self.comment))


class Held:
    """
    What is held back while the rows of a new schema are copied.

    Created before the schema is, so that it leaves alone what is in the database
    already. ``search_path`` is what functions get that have none of their own,
    until ``at_end()``. An error leaves it to the caller to drop what was created.
    """

    def __init__(self, connection: psycopg.Connection[Any], search_path: str | None) -> None:
        self.connection = connection
        self.late: set[tuple[str, str]] = set()  # tables whose rows are copied after all others
        self._path = names(search_path)
        self._before = [
            [row[0] for row in connection.execute(f"SELECT oid FROM {catalog}")]
            for catalog in ("pg_constraint", "pg_attrdef", "pg_proc")
        ]
        self._checks: list[_Check] = []
        self._stand_ins: list[_Check] = []  # those that another CHECK has the name of
        self._computed: list[tuple[str, sql.Composed]] = []  # owner, statement
        self._functions: list[str] = []

    def after_domain(self) -> None:
        """
        Let no CHECK of a domain that there is now call a function.

        The server runs it for a constant of such a type, an array's or a record's,
        when it reads the definition of a view or a column, as the role that creates
        that. A CHECK of the same name takes its place: its comment may follow.
        """
        for check in self._found_checks():
            self._checks.append(check)
            self._stand_ins.append(check)
            add = sql.SQL("ALTER DOMAIN {} ADD CONSTRAINT {} CHECK (true)")
            self.connection.execute(check.drop)
            self.connection.execute(add.format(check.of, check.name))

    def _found_checks(self) -> list[_Check]:
        return [
            _Check(kind, sql.Identifier(schema, name), sql.Identifier(check), *rest)
            for _, kind, schema, name, check, *rest in self._new(_CHECKS, 0)
        ]

    def before_rows(self) -> None:
        """Drop the CHECKs that call functions, and give the functions their search_path."""
        for check in self._stand_ins:
            given = (check.of.as_string(self.connection), check.name.as_string(self.connection))
            comment = database.one(self.connection, _COMMENT, *given)
            self._checks[self._checks.index(check)] = replace(check, comment=comment)
        self._checks += self._found_checks()
        for schema, name, column, expression, owner, not_null, base in self._new(_GENERATED, 1):
            self.late.add((schema, name))
            of, what = sql.Identifier(schema, name), sql.Identifier(column)
            if base is not None:  # an update computes what depends on a column that it sets
                statement = sql.SQL(
                    "UPDATE ONLY {0} SET {1} = {1} WHERE {2}::text IS DISTINCT FROM ({3})::text"
                ).format(of, sql.Identifier(base), what, sql.SQL(expression))
                self._computed.append((owner, statement))
            # From 18 on the constraint has a name, which would be lost.
            if not_null and database.major(self.connection) < 18:
                alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} {} NOT NULL")
                self.connection.execute(alter.format(of, what, sql.SQL("DROP")))
                self._computed.append((owner, alter.format(of, what, sql.SQL("SET"))))
        for check in reversed(self._checks):
            self.connection.execute(check.drop)
        # What those that are kept read in other tables has to be there before their rows are.
        self.late |= {*self._new(_KEPT, 0)}
        if self._path:
            self.before_table()

    def before_table(self) -> None:
        """
        Give the functions that there are now their search_path.

        Those in SQL get one in any case, the empty one that the session has: it
        keeps them from being inlined, which fails in the definition of a generated
        column when a table that the function names does not exist yet.
        """
        path = sql.SQL(", ").join(
            map(sql.Identifier, self._path) if self._path else [sql.SQL("''")]
        )
        for oid, function in self._new(_WITHOUT_PATH, 2, bool(self._path)):
            alter = sql.SQL("ALTER ROUTINE {} SET search_path = {}")
            self.connection.execute(alter.format(sql.SQL(function), path))
            self._before[2].append(oid)
            self._functions.append(function)

    def _new(self, query: str, catalog: int, *more: object) -> list[Any]:
        given = (self._before[catalog], *more)
        return self.connection.execute(query.encode(), given).fetchall()

    def after_rows(self) -> None:
        """Compute generated columns again, and add the CHECKs; raises psycopg.Error."""
        self.compute(self._own)
        self.add_checks(self._own)

    def _own(self, _: str) -> AbstractContextManager[psycopg.Connection[Any]]:
        return contextlib.nullcontext(self.connection)

    def compute(self, connected_as: ConnectedAs) -> None:
        """
        Compute generated columns again; raises psycopg.Error.

        ``connected_as`` gives a connection of an owner: the functions run with
        the rights of the role that does this.
        """
        for owner, statement in self._computed:
            with connected_as(owner) as connection:
                connection.execute(statement)

    def add_checks(self, connected_as: ConnectedAs) -> None:
        """Add the CHECKs, in the same way; raises psycopg.Error."""
        for check in self._checks:
            with connected_as(check.owner) as connection:
                check.add(connection)

    def at_end(self, connection: psycopg.Connection[Any]) -> None:
        """Take the search_path from the functions again: when ANALYZE has called them, too."""
        for function in self._functions:
            statement = sql.SQL("ALTER ROUTINE {} RESET search_path")
            connection.execute(statement.format(sql.SQL(function)))


def names(search_path: str | None) -> tuple[str, ...]:
    """Return the schemas of a search_path as one writes it; raises ConfigurationError."""
    if search_path is None:
        return ()
    found = tuple(
        part[1:-1].replace('""', '"') if re.fullmatch('".*"', part) else part.lower()
        for part in (part.strip() for part in search_path.split(","))
    )
    if not all(found) or "\0" in search_path:
        raise ConfigurationError(
            f"search_path is {search_path!r}; it is a list of schemas, such as 'public, auth'."
        )
    return found


# --- what needs it ---------------------------------------------------------------------

# What is computed while a copy is made, and the functions that it calls, through views too.
_COMPUTED = f"""
    WITH RECURSIVE {_CALLS},
    uses AS (
      SELECT ev_class AS relation, r.oid AS rule FROM pg_rewrite r
      JOIN pg_class c ON c.oid = ev_class WHERE relkind = 'm'
      UNION
      SELECT u.relation, r.oid FROM uses u
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = u.rule
                      AND d.refclassid = 'pg_class'::regclass
      JOIN pg_rewrite r ON r.ev_class = d.refobjid
    ),
    found AS (
      SELECT 'materialized view' AS kind, relation AS relation, NULL::name AS part, function
      FROM uses JOIN calls ON classid = 'pg_rewrite'::regclass AND objid = rule
      UNION SELECT 'index', objid, NULL, function
      FROM calls JOIN pg_class c ON c.oid = objid
      WHERE classid = 'pg_class'::regclass AND relkind IN ('i', 'I')
      UNION SELECT 'generated column', adrelid, attname, function
      FROM calls JOIN pg_attrdef a ON classid = 'pg_attrdef'::regclass AND a.oid = objid
      JOIN pg_attribute t ON attrelid = adrelid AND attnum = adnum WHERE attgenerated = 's'
      UNION SELECT 'CHECK', conrelid, conname, function
      FROM calls JOIN pg_constraint k ON classid = 'pg_constraint'::regclass AND k.oid = objid
      WHERE contype = 'c' AND conrelid <> 0
    )
    SELECT kind, format('%I.%I', nspname, relname) || coalesce('.' || quote_ident(part), ''),
           function, nspname
    FROM found JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = relnamespace
    UNION
    SELECT 'domain', format('%I.%I', nspname, typname), function, nspname
    FROM calls JOIN pg_constraint k ON classid = 'pg_constraint'::regclass AND k.oid = objid
    JOIN pg_type t ON t.oid = contypid JOIN pg_namespace n ON n.oid = typnamespace
    ORDER BY 1, 2, 3
"""
_FUNCTIONS = f"""
    SELECT p.oid, p.oid::regprocedure::text, proname, prosrc, prosqlbody IS NULL AND NOT EXISTS (
             SELECT FROM unnest(proconfig) setting WHERE setting LIKE 'search_path=%')
    FROM pg_proc p WHERE {_WRITTEN} AND prokind IN ('f', 'p')
"""
_RELATIONS = """
    SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname !~ '^pg_'
      AND nspname <> 'information_schema'
"""
_SPOKEN_OF = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '(?:[^']|'')*'                       # nothing of interest
      | \b(?:FROM|JOIN|INTO|UPDATE|ONLY|TABLE)\s+("?)(?P<relation>\w+)\b\1(?!\s*[.(])
      | (?<![.\w"])("?)(?P<function>\w+)\3\s*\(
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Function:
    signature: str
    name: str
    body: str
    follows_path: bool  # it has the search_path of its caller


def unqualified(
    connection: psycopg.Connection[Any], schemas: Sequence[str] | None = None
) -> tuple[str, ...]:
    """
    Return a warning for each object whose function names others without their schema.

    It reads the functions' bodies, and may take a word for a name. Raises
    psycopg.Error.
    """
    computed = connection.execute(_COMPUTED.encode()).fetchall()
    if not computed:
        return ()
    functions = {row[0]: _Function(*row[1:]) for row in connection.execute(_FUNCTIONS.encode())}
    relations = {str(row[0]) for row in connection.execute(_RELATIONS)}
    found = {}
    for kind, name, called, schema in computed:
        if schemas is None or schema in schemas:
            for function, word in _named(functions[called], functions, relations):
                found[kind, name, function.signature] = word
    return tuple(
        f"the {kind} {name} needs the function {function}, which names {word!r} without its schema,"
        f" and a copy is made with an empty search_path: ALTER FUNCTION {function} SET"
        f" search_path = public (or the schemas that it needs); or restore, push, pull or upgrade"
        f" with --search-path (search_path=)"
        for (kind, name, function), word in sorted(found.items())
    )


def _named(
    first: _Function, functions: dict[int, _Function], relations: set[str]
) -> Iterator[tuple[_Function, str]]:
    """Yield the functions that this one calls, and itself, with what each names so; once each."""
    by_name: dict[str, list[_Function]] = {}
    for one in functions.values():
        by_name.setdefault(one.name, []).append(one)
    waiting, seen = [first], {first}
    while waiting:
        function = waiting.pop()
        word = ""
        for found in _SPOKEN_OF.finditer(function.body) if function.follows_path else ():
            relation, called = found["relation"] or "", found["function"] or ""
            callees = by_name.get(called, by_name.get(called.lower(), []))
            waiting += [one for one in callees if one not in seen]
            seen.update(callees)
            if relation in relations or relation.lower() in relations:
                word = word or relation
            elif callees:
                word = word or called
        if word:
            yield function, word
