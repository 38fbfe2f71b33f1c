"""
Random SQLite databases for hypothesis: any declaration, any constraint, any storage class.

``databases()`` draws a Database, a value that prints as the script which makes
it. Most hold what their declarations promise, so that most can be moved; a
drawn share is noisy: values of other storage classes, orphans, NUL characters.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Declarations by what they mean, as their authors write them: SQLite's documentation, SQLAlchemy,
# Django, Rails, Prisma, SeaORM, Laravel, EF Core.
DECLARED = {
    "integer": (
        *("INTEGER", "integer", "INT", "BIGINT", "bigint", "SMALLINT", "TINYINT", "INT8"),
        *("UNSIGNED BIG INT", "integer unsigned", "smallint unsigned", "MEDIUMINT", "int(11)"),
    ),
    "boolean": ("boolean", "BOOLEAN", "bool", "tinyint(1)", "BOOL"),
    "real": ("REAL", "real", "DOUBLE", "double precision", "FLOAT", "float", "DOUBLE PRECISION"),
    "numeric": (
        *("NUMERIC", "numeric", "DECIMAL(10,2)", "decimal", "DECIMAL(10,5)", "NUMERIC(18, 4)"),
        *("real_money", "numeric(5)", "number"),
    ),
    "text": (
        *("TEXT", "text", "VARCHAR", "varchar(255)", "VARCHAR(20)", "character varying(30)"),
        *("NVARCHAR(100)", "CLOB", "char(32)", "CHARACTER(20)", "string", "TEXT COLLATE NOCASE"),
        *("NATIVE CHARACTER(70)", "varying character(255)", "citext"),
    ),
    "uuid": ("uuid_text", "char(36)", "UUID", "uuid", "uuid_blob", "CHAR(32)", "GUID"),
    "time": (
        *("datetime", "DATETIME", "timestamp", "TIMESTAMP", "timestamp_with_timezone_text"),
        *("datetime_text", "datetime(6)", "timestamp with time zone", "timestamp_text"),
    ),
    "date": ("date", "DATE", "date_text"),
    "clock": ("time", "TIME", "time_text"),
    "json": ("JSON", "json", "json_text", "jsonb", "jsonb_text", "JSONB"),
    "blob": ("BLOB", "blob", "BINARY(16)", "varbinary(100)", "bytea"),
    "any": ("", "ANY", "GEOMETRY", "my own type", "point", "xml"),
}
STRICT = {
    "integer": ("INT", "INTEGER"),
    "real": ("REAL",),
    "text": ("TEXT",),
    "blob": ("BLOB",),
    "any": ("ANY",),
}

STRICT_WORDS = frozenset(word for words in STRICT.values() for word in words)

NAMES = (
    *("id", "name", "select", "user", "order", "Mixed Case", 'quo"te', "üñïçødé", "a.b", "100%s"),
    *("UPPER", "references", "it's", "tab\there", "desc", "values", "ключ", "back\\slash", ""),
    # SQLite folds the letters A to Z alone: another name than the one in small letters.
    "ÜÑÏÇØDÉ",
    # PostgreSQL's names end after 63 bytes.
    *("x" * 63, "y" * 63 + "1", "y" * 63 + "2", "ü" * 40),
    # What PostgreSQL's own columns, and the indexes and sequences that it makes, are called.
    *("ctid", "xmin", "tableoid", "id_pkey", "id_id_seq", "user_id_seq"),
    # One begins like another: so do the names that PostgreSQL chooses for their keys.
    *("user_a", "user_b", "user_id"),
    *("rowid", "_rowid_", "oid"),
)

# Tables whose names share a prefix, and are what PostgreSQL calls the keys of others.
SHARED = ("u", "u_a", "u_b", "u_id", "u_id_key", "u_pkey", "u_id_seq", "u_a_id_fkey", "u_a_pkey")

_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_texts = st.one_of(
    st.text(_characters, max_size=12),
    st.sampled_from(
        (
            "",
            "\\N",
            "\\.",
            "\\",
            "a\tb",
            "a\nb",
            "a\r\nb",
            "NULL",
            "'",
            '"',
            " ",
            "🚀",
            "\ufeff",
            "\x01",
            "\x01\x01a",
            "x" * 21,
            "🚀" * 20,
        )
    ),
)
_integers = st.one_of(
    st.integers(-100, 100),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 0, 1)),
)
_reals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        (0.1, 1e22, 5e-324, 2.2250738585072e-308, 1.7976931348623157e308, -0.0, 1e16, 123.456)
    ),
)
_days = st.dates().map(str)
_clocks = st.builds(
    "{:02}:{:02}:{:02}{}".format,
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(("", ".5", ".123", ".123456", ".123456789", ".9999996")),
)
_moments = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.dates(min_value=date(1, 1, 2), max_value=date(9999, 12, 30)),
        st.sampled_from((" ", "T")),
        _clocks,
        st.sampled_from(("", "+00:00", "Z", "+05:30", "-08:00", " +01:00", "+14", "-0330")),
    ),
    st.sampled_from(
        (
            *("0001-01-01 00:00:00", "9999-12-31 23:59:59", "9999-12-31T23:59:59.999999Z"),
            *("1969-12-31 23:59:59", "2024-02-29 24:00:00", "2024-03-31 02:30", "2024-01-01"),
        )
    ),
)
_documents = st.one_of(
    st.sampled_from(
        (
            '{"a": 1}',
            "[]",
            '"x"',
            '{"b":  [1.50, null, true], "ü": "🚀"}',
            '{"n": 12345678901234567890}',
        )
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | _texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
        max_leaves=5,
    ).map(json.dumps),
)
_blobs = st.one_of(st.binary(max_size=20), st.sampled_from((b"", b"\x00", b"\x00a")))
_uuid_blobs = st.binary(min_size=16, max_size=16)
_uuid_texts = st.uuids().flatmap(
    lambda u: st.sampled_from((str(u), u.hex, "{" + str(u) + "}", str(u).upper()))
)

VALUES: dict[str, st.SearchStrategy[object]] = {
    "integer": _integers,
    "boolean": st.sampled_from((0, 1)),
    "real": st.one_of(_reals, st.sampled_from((float("inf"), float("-inf")))),
    "numeric": st.one_of(
        st.integers(-(10**6), 10**6), st.decimals(-(10**6), 10**6, places=2).map(str), _reals
    ),
    "text": _texts,
    "uuid": st.one_of(_uuid_blobs, _uuid_texts),
    "time": st.one_of(_moments, _moments, st.integers(1_000_000_000, 1_900_000_000)),
    "date": _days,
    "clock": st.one_of(_clocks, st.sampled_from(("24:00:00", "07:30"))),
    "json": _documents,
    "blob": _blobs,
    "any": st.one_of(_integers, _reals, _texts, _blobs),
}
# What a text-typed time column is likely to hold: one form throughout.
TIME_FORMS: tuple[st.SearchStrategy[object], ...] = (
    _moments,
    _moments,
    st.integers(1_000_000_000, 1_900_000_000),
    st.integers(1_000_000_000_000, 1_900_000_000_000),
    st.floats(1_000_000_000, 1_900_000_000),
    st.floats(2_440_000, 2_470_000),
)


class Raw(bytes):
    """The bytes of a text as SQLite keeps them, valid or not."""

    __slots__ = ()


_broken = st.sampled_from(
    (
        # Never UTF-8: a stray byte, a letter cut off, an overlong form, a surrogate, too great.
        *(b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
        # Never UTF-16: a surrogate alone or the wrong way round; and a byte too many.
        *(b"\x00\xd8", b"\xd8\x00A\x00", b"\x00\xdc\x00\xd8", b"A\x00B"),
    )
).map(Raw)
NOISE = st.one_of(
    _integers,
    _reals,
    _texts,
    _blobs,
    _broken,
    st.sampled_from(("nul\0inside", "n/a", "2024-13-45", "0000-00-00", "{not json", 2, b"\xff")),
)
# What looks like a value of the family: some are, in a way that one side knows and the other not.
ODD: dict[str, Sequence[object]] = {
    "integer": (
        "9" * 5000,
        "+5",
        " 5",
        "5 ",
        "\uff11",
        "0x10",
        "1_0",
        1e18,
        9.3e18,
        2.5,
        "1e3",
        "",
    ),
    "boolean": ("t", "YES", "oFf", " true", 1.0, -1, 2, "1", "", "y"),
    "real": ("1.5", "nan", "inf", "0.1", "1e400", "\uff19", "1_0.5", 2**53 + 1, ""),
    "numeric": (
        *(
            "9" * 5000,
            "1_000",
            "\uff11\uff12",
            "nan",
            "-inf",
            "1e200000",
            "1e-20000",
            " 12 ",
            "0x1F",
        ),
        *("+5", ".5", "5.", "1,5", "", "1e131071", "1" + "0" * 400 + ".5", float("inf")),
    ),
    "text": (5, 1e16, 0.1, -0.0, 2**62),
    "uuid": ("urn:uuid:" + "0" * 32, "0" * 31, "{" + "a" * 32, "g" * 32, "a-" * 16 + "a" * 16, 7),
    "time": (
        *("0001-01-01 00:00:00+05:00", "9999-12-31 23:59:59-08:00", "2024-02-30 10:00:00"),
        *("9999-12-31 23:59:59.9999999", "2024-06-30 23:59:60", "2024-01-01 10:00:00 UTC"),
        *("10000-01-01 00:00:00", "-0044-03-15 00:00:00", "2024-01-01 10:00:00\n", "infinity", ""),
        *("2024-01-01 10:00:00z", "2024-01-01 10:00:00+16:00", "2024-01-01 25:00:00", "now"),
        *("2024-1-1 1:00:00", "20240101T100000", "0000-01-01 00:00:00", float("inf"), -1, 0),
        *("2024-01-01 10:00:00.5.5", "2024-01-01 10:00:00+05:30:15", "12:30", 1e300),
    ),
    "date": (
        *("0001-01-01", "9999-12-31", "2023-02-29", "2024-02-29 00:00:00", "2024-02-29T12:00"),
        *(
            "",
            "\n",
            "2024-01-01\0",
            "24-02-29",
            "2024-02-29Z",
            "2024-060",
            "today",
            1700000000,
            1700006400,
            19782,
        ),
    ),
    "clock": ("24:00:01", "23:59:60", "25:00", "12", "1:2:3", "12:00:00Z", "12:00 PM", 43200),
    "json": (
        *('"\\ud800"', '"\\ud83d\\ude80"', '{"a": 1e999}', "NaN", "[1,]", "9" * 5000, "1_0"),
        *('"\\u0000"', "\ufeff{}", "[" * 2000 + "]" * 2000, ' {"a":1,"a":2} ', "'x'", "", 5, 0.5),
        *("1e400000", '"\t"', '{"a":\x0b1}', "-0", "01", '"\\x"'),
    ),
    "blob": ("", "text", 5),
    "any": (-0.0, float("inf"), 2**53 + 1),
}
# One value in several spellings: where PostgreSQL knows better, no longer unique.
TWINS: dict[str, Sequence[object]] = {
    "boolean": (1, "1", "t", "true", 1.0),
    "numeric": (1, "1", "1.0", "1.00", "01", "1e0"),
    "uuid": (bytes(range(16)), bytes(range(16)).hex(), str(UUID(bytes=bytes(range(16)))).upper()),
    "time": (
        *("2024-01-01 00:00:00", "2024-01-01T00:00:00Z", "2024-01-01", "2024-01-01 00:00"),
        *("2024-01-01 00:00:00.0000001", "2024-01-01 01:00:00+01:00"),
    ),
    "date": ("2024-01-01", "2024-01-01 00:00:00", "2024-01-01T00:00"),
    "clock": ("12:00:00", "12:00", "12:00:00.0", "12:00:00.0000001"),
    "json": ('{"a": 1}', '{"a":1}', '{"a": 2, "a": 1}', '{"a": 1.0}'),
    "any": (1, 1.0, "1"),
}

DEFAULTS = (
    *("0", "1", "-1", "1.5", "''", "'it''s'", "NULL", "TRUE", "false", "CURRENT_TIMESTAMP"),
    *(
        "current_date",
        "(datetime('now'))",
        "x'00ff'",
        "(1 + 1)",
        "'0'",
        "(lower(hex(randomblob(4))))",
    ),
    *("(strftime('%s','now'))", "-9223372036854775808", "0x10", "1e3", "+1", "'a' COLLATE NOCASE"),
)
ACTIONS = (
    "",
    " ON DELETE CASCADE",
    " ON DELETE SET NULL",
    " ON DELETE RESTRICT",
    " ON UPDATE CASCADE ON DELETE SET DEFAULT",
    " DEFERRABLE INITIALLY DEFERRED",
    " ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE",
    " NOT DEFERRABLE",
)


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
        if at.chance(10):
            query = at.one(("SELECT 1 AS one", f"SELECT * FROM {quote(name)}"))
            database.script.append(f"CREATE VIEW {quote('view of ' + name)} AS {query}")
    if at.chance(10):
        _search(at, database)
    if at.chance(4):
        _close_circle(database, tables[0], tables[-1])
    return database


def _search(at: _Draw, database: Database) -> None:
    """Make a virtual table, with the shadow tables that its module keeps."""
    database.script.append(f"CREATE VIRTUAL TABLE found USING {at.one(MODULES)}")
    for number in range(int(at.draw(st.integers(0, 3)))):
        statement = "INSERT INTO found (rowid, body) VALUES (?, ?)"
        database.rows.append((statement, (number + 1, at.draw(_texts))))


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
            if first.family == "text" and "COLLATE" not in first.declared and at.chance(4):
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


MODULES = ("fts5(body)", "fts4(body)", "fts5(body, content='')")


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
