"""
Random SQLite databases for hypothesis: any declaration, any constraint, any storage class.

``databases()`` draws a Database, a value that prints as the script which makes
it. Most hold what their declarations promise, so that most can be moved; a
drawn share is noisy: values of other storage classes, orphans, NUL characters.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.migrate.vocabulary import (
    ACTIONS,
    DECLARED,
    DEFAULTS,
    NAMES,
    NOISE,
    ODD,
    SHARED,
    STRICT,
    STRICT_WORDS,
    TEXTS,
    TIME_FORMS,
    TWINS,
    VALUES,
    Raw,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Spell a name so that those which SQLite takes for one are equal."""
    return "".join(c.lower() if c.isascii() else c for c in name)


@dataclass
class Column:
    name: str
    family: str
    declared: str
    clauses: str = ""
    generated: bool = False


@dataclass
class Table:
    name: str
    strict: bool
    columns: list[Column]
    key: tuple[Column, ...] = ()
    constraints: list[str] = field(default_factory=list)
    # How each row's references are drawn: the columns, the parent, its columns.
    references: list[tuple[tuple[Column, ...], Table, tuple[Column, ...]]] = field(
        default_factory=list
    )
    options: list[str] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)

    @property
    def script(self) -> str:
        # The type-less and the collated come with their clauses in the right order.
        spelled = [f"{quote(c.name)} {c.declared}{c.clauses}" for c in self.columns]
        body = ", ".join([*spelled, *self.constraints])
        return f"CREATE TABLE {quote(self.name)} ({body}) {', '.join(self.options)}".rstrip()


@dataclass
class Database:
    """A script and rows; ``repr`` is enough to make it again by hand."""

    encoding: str
    script: list[str] = field(default_factory=list)
    rows: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)

    def create(self, path: str) -> None:
        """Write it; rows that SQLite itself refuses are left out."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(f"PRAGMA encoding = '{self.encoding}'")
            db.execute("PRAGMA synchronous = OFF")
            # Not OFF: a refused row is rolled back.
            db.execute("PRAGMA journal_mode = MEMORY")
            db.execute("PRAGMA foreign_keys = OFF")
            for statement in self.script:
                db.execute(statement)
            db.execute("BEGIN")
            for statement, values in self.rows:
                if not db.in_transaction:
                    # An AUTOINCREMENT key that has reached its end gives the whole of it up.
                    db.execute("BEGIN")
                # A CHECK, a type in a STRICT table, a value too big for a generated column.
                with contextlib.suppress(sqlite3.Error):
                    db.execute(statement, values)
            if db.in_transaction:
                db.execute("COMMIT")


class _Draw:
    """Hypothesis's ``draw``, and what is said with it again and again."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw

    def chance(self, one_in: int) -> bool:
        return bool(self.draw(st.integers(1, one_in)) == one_in)

    def one(self, choices: Sequence[str]) -> str:
        return str(self.draw(st.sampled_from(choices)))

    def names(self, most: int) -> list[str]:
        names: list[str] = self.draw(
            st.lists(st.sampled_from(NAMES), min_size=1, max_size=most, unique_by=folded)
        )
        return names

    def table_names(self) -> list[str]:
        if not self.chance(4):
            return self.names(3)
        found: list[str] = self.draw(
            st.lists(st.sampled_from(SHARED), min_size=2, max_size=4, unique=True)
        )
        return found


@st.composite
def databases(draw: Callable[..., Any]) -> Database:
    """Draw one database of one to four tables."""
    at = _Draw(draw)
    database = Database(at.one(("UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be")))
    noisy = at.chance(3)
    tables: list[Table] = []
    for name in at.table_names():
        table = _table(at, name)
        tables.append(table)
        if at.chance(2):
            _refer(at, table, draw(st.sampled_from(tables)))
        if at.chance(6):
            _generate(at, table)
        database.script.append(table.script)
        _index(at, database, table)
        _fill(at, database, table, noisy=noisy)
        if at.chance(5):
            _view(at, database, table)
    if at.chance(6):
        _search(at, database, tables[0])
    if at.chance(8):
        _locate(at, database)
    if at.chance(4):
        _close_circle(database, tables[0], tables[-1])
    return database


VIEWS = (
    *(
        "SELECT 1 AS one",
        "SELECT * FROM {t}",
        "SELECT {a} AS x, {b} FROM {t} WHERE {a} IS NOT NULL",
    ),
    "SELECT count(*) AS n, min({a}) AS least, max({b}) AS most FROM {t}",
    "SELECT {a}, count(*) AS n FROM {t} GROUP BY {a}",
    "SELECT {a}, sum({b}) AS total, avg({b}) AS mean FROM {t} GROUP BY {a} HAVING count(*) > 0",
    "SELECT lower({a}) AS l, coalesce({b}, 'x') AS c FROM {t}",
    "SELECT one.{a} AS x, two.{b} AS y FROM {t} one LEFT JOIN {t} two ON one.{a} = two.{b}",
    "SELECT CASE WHEN {a} > 5 THEN 'large' ELSE 'small' END AS size, {b} FROM {t}",
    "SELECT DISTINCT upper({a}) || '!' AS u FROM {t}",
    "SELECT {a} FROM {t} UNION ALL SELECT {b} FROM {t}",
    "SELECT {a} FROM {t} WHERE {b} IN (SELECT {b} FROM {t}) ORDER BY {a} LIMIT 2",
    "SELECT {a} = {b} AS same, {a} < {b} AS less, NOT {a} AS negated FROM {t}",
    "SELECT {a} / 2 AS half, {a} % 3 AS rest, {a} || {b} AS both FROM {t}",
)


def _view(at: _Draw, database: Database, table: Table) -> None:
    """Make a view of a table, and sometimes a view of that."""
    one, two = (quote(at.draw(st.sampled_from(table.columns)).name) for _ in "ab")
    query = at.one(VIEWS).format(t=quote(table.name), a=one, b=two)
    name = quote(f"view of {table.name}")
    database.script.append(f"CREATE VIEW {name} AS {query}")
    if at.chance(4):
        database.script.append(f"CREATE VIEW {quote('of ' + name)} AS SELECT * FROM {name}")


MODULES = (
    *("fts5(body)", "fts5(body, note UNINDEXED)", "fts5(body, tokenize='porter ascii')"),
    *(
        "fts4(body)",
        "fts4(body, note, notindexed=note)",
        "fts3(body)",
        "fts4(body, matchinfo=fts3)",
    ),
    *("fts5(body, content='')", "fts4(content='', body)", "fts5(body, content={}, columnsize=0)"),
)
TREES = {
    "rtree(id, x, x2)": 2,
    "rtree_i32(id, x, x2)": 2,
    "rtree(id, x, x2, y, y2)": 4,
    "rtree(id, x, x2, +note)": 3,
}


def _search(at: _Draw, database: Database, table: Table) -> None:
    """Make a full-text table, with the shadow tables that its module keeps."""
    module = at.one(MODULES).format(quote(table.name))
    database.script.append(f"CREATE VIRTUAL TABLE found USING {module}")
    columns = ["rowid", "body"] + ["note"] * ("note" in module)
    listed, marks = ", ".join(columns), ", ".join("?" * len(columns))
    statement = f"INSERT INTO found ({listed}) VALUES ({marks})"
    for number in range(int(at.draw(st.integers(0, 4)))):
        texts = [at.draw(TEXTS | st.none() | st.integers(0, 9)) for _ in columns[1:]]
        database.rows.append((statement, (number * 7 + 1, *texts)))


def _locate(at: _Draw, database: Database) -> None:
    """Make an R-tree, whose rows are nowhere else."""
    module = at.one(sorted(TREES))
    database.script.append(f"CREATE VIRTUAL TABLE located USING {module}")
    statement = f"INSERT INTO located VALUES ({', '.join('?' * (TREES[module] + 1))})"
    for number in range(int(at.draw(st.integers(0, 3)))):
        edges = [at.draw(st.floats(-1e6, 1e6)) for _ in range(TREES[module] // 2)]
        row = [number, *(edge + width for edge in edges for width in (0, 1.5))]
        database.rows.append((statement, (*row, *[at.draw(TEXTS)] * ("note" in module))))


def _table(at: _Draw, name: str) -> Table:
    strict = at.chance(6)
    vocabulary = STRICT if strict else DECLARED
    columns = []
    for named in at.names(6):
        family = at.one(sorted(vocabulary))
        columns.append(Column(named, family, at.one(vocabulary[family])))
    table = Table(name, strict, columns, options=["STRICT"] * strict)
    _key(at, table)
    for column in columns:
        if "PRIMARY KEY" not in column.clauses:
            _promise(at, column, strict=strict)
    if len(columns) > 2 and at.chance(5):
        pair = f"{quote(columns[1].name)}, {quote(columns[2].name)}"
        table.constraints.append(f"{_called(at)}UNIQUE ({pair})")
    return table


def _key(at: _Draw, table: Table) -> None:
    first = table.columns[0]
    kind = at.one(("none", "rowid", "auto", "descending", "own", "own", "composite", "composite"))
    match kind:
        case "rowid" | "auto" | "descending":
            first.family, first.declared = "integer", "INTEGER"
            first.clauses = " PRIMARY KEY"
            first.clauses += {"rowid": "", "auto": " AUTOINCREMENT", "descending": " DESC"}[kind]
            table.key = (first,)
        case "own":
            first.clauses = " PRIMARY KEY" if at.chance(3) else " NOT NULL PRIMARY KEY"
            if first.family == "text" and "COLLATE" not in first.declared and at.chance(2):
                first.clauses += at.one((" COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY"))
            table.key = (first,)
        case "composite" if len(table.columns) > 1:
            # In any order, and not always the first ones.
            count = 3 if len(table.columns) > 2 and at.chance(3) else 2
            table.key = tuple(at.draw(st.permutations(table.columns))[:count])
            table.constraints.append(f"{_called(at)}PRIMARY KEY ({_spelled(table.key)})")
        case _:
            return
    if kind in {"own", "composite"} and at.chance(3):
        table.options.insert(0, "WITHOUT ROWID")


def _spelled(columns: Sequence[Column]) -> str:
    return ", ".join(quote(column.name) for column in columns)


CHECKS = (
    *("{} IS NOT NULL", "length({}) < 1000", "{} <> ''", "typeof({}) <> 'blob'"),
    *("{} IN (0, 1, 2) OR {} IS NULL", "{} >= 0", "{} BETWEEN -5 AND 1e30", "NOT {} = 'x'"),
    *("{}", "NOT {}", "{} IS NOT 5", "{} NOTNULL", "{} IS 'x' OR 1", "({} > 1) = ({} > 0)"),
    *("{} < 'm'", "{} BETWEEN 'A' AND 'z'", "lower({}) <> 'q'", "{} COLLATE NOCASE <> 'Q'"),
    *("coalesce({}, 'x') <> 'y'", "({} IS NULL) + 1 < 3", "{} + 1 > -10 AND {} * 2 < 1e40"),
)


def _called(at: _Draw) -> str:
    """Give a constraint a name: one of its own, or one that others of the schema have, too."""
    return f'CONSTRAINT "{at.one(("shared", "id_pkey", "user_id", "Of Its Own"))}" ' * at.chance(4)


def _promise(at: _Draw, column: Column, *, strict: bool) -> None:
    if at.chance(4):
        column.clauses += " NOT NULL"
    if at.chance(6):
        conflict = at.one(("", "", "", " ON CONFLICT REPLACE", " ON CONFLICT ABORT"))
        column.clauses += f" {_called(at)}UNIQUE{conflict}"
    if at.chance(5) and not strict:
        column.clauses += f" DEFAULT {at.one(DEFAULTS)}"
    if at.chance(8) and column.family == "text" and "COLLATE" not in column.declared:
        column.clauses += " COLLATE " + at.one(("NOCASE", "NOCASE", "RTRIM"))
    if at.chance(8):
        named = "CONSTRAINT " + quote(f"check {column.name}") + " " if at.chance(4) else ""
        check = at.one(CHECKS).replace("{}", quote(column.name))
        column.clauses += f" {named}CHECK ({check})"


def _generate(at: _Draw, table: Table) -> None:
    of = table.columns[-1]
    term = {
        "integer": "{} % 1000 + 1",
        "boolean": "NOT {}",
        "text": "lower({})",
        "real": "{} * 2",
    }.get(of.family, "{}")
    if of.family == "integer" and at.chance(2):
        term = "{} + 1"
    declared = "ANY" if table.strict else of.declared.partition(" COLLATE")[0]
    generated = Column("generated", of.family, declared, generated=True)
    generated.clauses = f" AS ({term.format(quote(of.name))}) {at.one(('STORED', 'VIRTUAL'))}"
    # PostgreSQL has a place of its own for each column, wherever it stands.
    table.columns.insert(at.draw(st.integers(1, len(table.columns))), generated)


def _refer(at: _Draw, table: Table, parent: Table) -> None:
    """Let new columns of ``table`` refer to the key of ``parent``, which may be itself."""
    if not parent.key:
        return
    copies = tuple(
        Column(f"parent_{number}", of.family, of.declared.partition(" COLL")[0])
        for number, of in enumerate(parent.key)
    )
    if table.strict and any(copy.declared not in STRICT_WORDS for copy in copies):
        return
    referred = f" ({_spelled(parent.key)})" if not at.chance(3) else ""
    action = at.one(ACTIONS)
    spelled = quote(parent.name) if not at.chance(12) else "gone"
    at_end = len(table.columns)
    table.columns[at_end:] = copies
    table.constraints.append(
        f"{_called(at)}FOREIGN KEY ({_spelled(copies)}) REFERENCES {spelled}{referred}{action}"
    )
    if spelled != "gone":
        table.references.append((copies, parent, parent.key))


def _close_circle(database: Database, table: Table, parent: Table) -> None:
    """Let the first table refer to the last, which may refer to the first."""
    if len(parent.key) != 1 or table.strict:
        return
    (key,) = parent.key
    name = quote("circle")
    database.script.append(
        f"ALTER TABLE {quote(table.name)} ADD COLUMN {name} {key.declared.partition(' COLL')[0]} "
        f"REFERENCES {quote(parent.name)} ({quote(key.name)})"
    )
    some = f"SELECT max({quote(key.name)}) FROM {quote(parent.name)}"
    database.rows.append((f"UPDATE {quote(table.name)} SET {name} = ({some})", ()))


def _index(at: _Draw, database: Database, table: Table) -> None:
    columns = [column for column in table.columns if not column.generated]
    for number in range(int(at.draw(st.sampled_from((0, 0, 0, 1, 2))))):
        column = at.draw(st.sampled_from(columns))
        name = quote(column.name)
        term = at.one(
            (
                name,
                f"{name} DESC",
                f"lower({name})",
                f"{name} COLLATE NOCASE",
                f"{name} COLLATE RTRIM",
                f"coalesce({name}, '')",
                f"abs({name})",
                _spelled(table.columns),
            )
        )
        predicates = (f"{name} IS NOT NULL", f"{name} > 5", f"{name} <> ''", f"{name} = 1")
        where = at.one(("", "", *(f" WHERE {predicate}" for predicate in predicates)))
        index = quote(at.one((f"index {number} of {table.name}", f"{table.name}_pkey{number}")))
        database.script.append(
            f"CREATE {at.one(('', '', 'UNIQUE '))}INDEX {index} "
            f"ON {quote(table.name)} ({term}){where}"
        )


def _fill(at: _Draw, database: Database, table: Table, *, noisy: bool) -> None:
    written = [column for column in table.columns if not column.generated]
    forms: dict[str, st.SearchStrategy[object]] = {
        column.name: at.draw(st.sampled_from(TIME_FORMS))
        for column in written
        if column.family == "time"
    }
    for _ in range(int(at.draw(st.integers(0, 7)))):
        row = {
            column.name: at.draw(
                _values(at, column, forms.get(column.name, VALUES[column.family]), noisy=noisy)
            )
            for column in written
        }
        for copies, parent, key in table.references:
            if not noisy and parent.rows:
                there = at.draw(st.sampled_from([None, *parent.rows]))
                for copy, of in zip(copies, key, strict=True):
                    row[copy.name] = there[of.name] if there else None
        table.rows.append(row)
        marks = ", ".join(
            "CAST(? AS TEXT)" if isinstance(value, Raw) else "?" for value in row.values()
        )
        statement = f"INSERT INTO {quote(table.name)} ({_spelled(written)}) VALUES ({marks})"
        database.rows.append((statement, tuple(row.values())))


def _values(
    at: _Draw, column: Column, usual: st.SearchStrategy[object], *, noisy: bool
) -> st.SearchStrategy[object]:
    if noisy and at.chance(8):
        odd = ODD.get(column.family)
        return NOISE if odd is None or at.chance(2) else st.sampled_from(odd)
    if column.family in TWINS and at.chance(12):
        return st.sampled_from(TWINS[column.family])
    return st.none() if at.chance(10) else usual
