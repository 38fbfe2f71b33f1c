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

NAMES = (
    *("id", "name", "select", "user", "order", "Mixed Case", 'quo"te', "üñïçødé", "a.b", "100%s"),
    *(
        "UPPER",
        "references",
        "it's",
        "tab\there",
        "desc",
        "values",
        "ключ",
        "x" * 63,
        "back\\slash",
    ),
)

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
    st.sampled_from((0.1, 1e22, 5e-324, 1.7976931348623157e308, -0.0, 1e16, 123456.789)),
)
_days = st.dates().map(str)
_clocks = st.builds(
    "{:02}:{:02}:{:02}{}".format,
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(("", ".5", ".123", ".123456", ".123456789", ".9999996")),
)
_moments = st.builds(
    "{}{}{}{}".format,
    st.dates(
        min_value=date(1900, 1, 2),
        max_value=date(2999, 12, 30),
    ),
    st.sampled_from((" ", "T")),
    _clocks,
    st.sampled_from(("", "+00:00", "Z", "+05:30", "-08:00")),
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
_blobs = st.binary(max_size=20)
_uuid_blobs = st.binary(min_size=16, max_size=16)
_uuid_texts = st.uuids().flatmap(
    lambda u: st.sampled_from((str(u), u.hex, "{" + str(u) + "}", str(u).upper()))
)

VALUES: dict[str, st.SearchStrategy[object]] = {
    "integer": _integers,
    "boolean": st.sampled_from((0, 1)),
    "real": st.one_of(_reals, st.just(float("inf"))),
    "numeric": st.one_of(
        st.integers(-(10**6), 10**6), st.decimals(-(10**6), 10**6, places=2).map(str), _reals
    ),
    "text": _texts,
    "uuid": st.one_of(_uuid_blobs, _uuid_texts),
    "time": st.one_of(_moments, _moments, st.integers(1_000_000_000, 1_900_000_000)),
    "date": _days,
    "clock": _clocks,
    "json": _documents,
    "blob": _blobs,
    "any": st.one_of(_integers, _reals, _texts, _blobs),
}
# What a text-typed time column is likely to hold: one form throughout.
TIME_FORMS: tuple[st.SearchStrategy[object], ...] = (
    _moments,
    st.integers(1_000_000_000, 1_900_000_000),
    st.integers(1_000_000_000_000, 1_900_000_000_000),
    st.floats(1_000_000_000, 1_900_000_000),
    st.floats(2_440_000, 2_470_000),
)
NOISE = st.one_of(
    _integers,
    _reals,
    _texts,
    _blobs,
    st.sampled_from(("nul\0inside", "n/a", "2024-13-45", "0000-00-00", "{not json", 2, b"\xff")),
)

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
)


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Column:
    name: str
    family: str
    declared: str
    clauses: str = ""
    generated: bool = False


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


@st.composite
def _columns(draw: Callable[..., Any], strict: bool) -> list[Column]:  # noqa: FBT001
    vocabulary = STRICT if strict else DECLARED
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique_by=str.lower))
    columns = []
    for name in names:
        family = str(draw(st.sampled_from(sorted(vocabulary))))
        declared = str(draw(st.sampled_from(vocabulary[family])))
        columns.append(Column(name, family, declared))
    return columns


@st.composite
def databases(draw: Callable[..., Any]) -> Database:  # noqa: C901, PLR0912, PLR0915  # one choice after another
    """Draw one database of one to three tables."""

    def chance(one_in: int) -> bool:
        return bool(draw(st.integers(1, one_in)) == one_in)

    def one(choices: Sequence[str]) -> str:
        return str(draw(st.sampled_from(choices)))

    database = Database(one(("UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be")))
    noisy = chance(3)
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique_by=str.lower))
    keys: dict[str, Column] = {}  # tables with a key of one column
    used: dict[str, list[object]] = {}
    for name in names:
        strict = chance(6)
        columns: list[Column] = draw(_columns(strict))
        constraints: list[str] = []
        without_rowid = False
        match draw(st.sampled_from(("none", "rowid", "auto", "own", "own", "composite"))):
            case "rowid" | "auto" as kind:
                first = columns[0]
                first.family, first.declared = "integer", "INTEGER"
                first.clauses = " PRIMARY KEY" + (" AUTOINCREMENT" if kind == "auto" else "")
                keys[name] = first
            case "own":
                columns[0].clauses = " PRIMARY KEY" if chance(3) else " NOT NULL PRIMARY KEY"
                keys[name] = columns[0]
                without_rowid = chance(3)
            case "composite" if len(columns) > 1:
                parts = ", ".join(quote(c.name) for c in columns[:2])
                constraints.append(f"PRIMARY KEY ({parts})")
                without_rowid = chance(3)
        for column in columns:
            if "PRIMARY KEY" in column.clauses:
                continue
            if chance(4):
                column.clauses += " NOT NULL"
            if chance(6):
                column.clauses += " UNIQUE"
            if chance(5) and not strict:
                column.clauses += f" DEFAULT {one(DEFAULTS)}"
            if chance(8) and column.family == "text" and "COLLATE" not in column.declared:
                column.clauses += " COLLATE NOCASE"
            if chance(8):
                check = one(
                    (
                        "{} IS NOT NULL",
                        "length({}) < 1000",
                        "{} <> ''",
                        "typeof({}) <> 'blob'",
                        "{} IN (0, 1, 2) OR {} IS NULL",
                        "{} >= 0",
                    )
                )
                column.clauses += f" CHECK ({check.replace('{}', quote(column.name))})"
        generated = None
        if chance(6):
            of = columns[-1]
            term = {
                "integer": "{} % 1000 + 1",
                "boolean": "NOT {}",
                "text": "lower({})",
                "real": "{} * 2",
            }.get(of.family, "{}")
            declared = "ANY" if strict else of.declared.partition(" COLLATE")[0]
            generated = Column("generated", of.family, declared, generated=True)
            generated.clauses = f" AS ({term.format(quote(of.name))}) {one(('STORED', 'VIRTUAL'))}"
        if len(columns) > 2 and chance(5):
            constraints.append(f"UNIQUE ({quote(columns[1].name)}, {quote(columns[2].name)})")
        references: Column | None = None
        parent = ""
        if keys and chance(2):
            parent = one(sorted(keys)) if not chance(12) else "gone"
            target = keys.get(parent, columns[0])
            references = Column("parent_id", target.family, target.declared.partition(" COLL")[0])
            if strict and references.declared not in {
                "INT",
                "INTEGER",
                "REAL",
                "TEXT",
                "BLOB",
                "ANY",
            }:
                references = None
        every = [
            *columns,
            *([references] if references else []),
            *([generated] if generated else []),
        ]
        if references is not None:
            constraints.append(
                f"FOREIGN KEY ({quote('parent_id')}) REFERENCES {quote(parent)}"
                + (f" ({quote(keys[parent].name)})" if parent in keys and not chance(3) else "")
                + one(ACTIONS)
            )
        # The type-less and the collated come with their clauses in the right order.
        spelled = ", ".join(
            [*(f"{quote(c.name)} {c.declared}{c.clauses}" for c in every), *constraints]
        )
        options = ", ".join(["WITHOUT ROWID"] * without_rowid + ["STRICT"] * strict)
        database.script.append(f"CREATE TABLE {quote(name)} ({spelled}) {options}".rstrip())
        _draw_indexes(draw, database, name, columns)
        _draw_rows(draw, database, name, every, used, parent if references else "", noisy)
        if chance(10):
            database.script.append(f"CREATE VIEW {quote('view of ' + name)} AS SELECT 1 AS one")
    return database


def _draw_indexes(
    draw: Callable[..., Any], database: Database, table: str, columns: list[Column]
) -> None:
    for number in range(int(draw(st.sampled_from((0, 0, 0, 1, 2))))):
        column = columns[number % len(columns)]
        name = quote(column.name)
        term = draw(
            st.sampled_from(
                (
                    name,
                    f"{name} DESC",
                    f"lower({name})",
                    f"{name} COLLATE NOCASE",
                    f"coalesce({name}, '')",
                    f"abs({name})",
                    ", ".join(quote(c.name) for c in columns),
                )
            )
        )
        where = draw(
            st.sampled_from(
                ("", "", f" WHERE {name} IS NOT NULL", f" WHERE {name} > 5", f" WHERE {name} <> ''")
            )
        )
        unique = draw(st.sampled_from(("", "", "UNIQUE ")))
        database.script.append(
            f"CREATE {unique}INDEX {quote(f'index {number} of {table}')} "
            f"ON {quote(table)} ({term}){where}"
        )


def _draw_rows(
    draw: Callable[..., Any],
    database: Database,
    table: str,
    columns: list[Column],
    used: dict[str, list[object]],
    parent: str,
    noisy: bool,  # noqa: FBT001
) -> None:
    written = [column for column in columns if not column.generated]
    holes = ", ".join("?" * len(written))
    names = ", ".join(quote(column.name) for column in written)
    statement = f"INSERT INTO {quote(table)} ({names}) VALUES ({holes})"
    forms: dict[str, st.SearchStrategy[object]] = {
        column.name: draw(st.sampled_from(TIME_FORMS))
        for column in written
        if column.family == "time"
    }
    for _ in range(int(draw(st.integers(0, 7)))):
        values: list[object] = []
        for column in written:
            strategy = forms.get(column.name, VALUES[column.family])
            if noisy and draw(st.integers(1, 8)) == 1:
                strategy = NOISE
            elif column.name == "parent_id" and not noisy:
                strategy = st.sampled_from([None, *used.get(parent, [])])
            elif draw(st.integers(1, 10)) == 1:
                strategy = st.none()
            values.append(draw(strategy))
        used.setdefault(table, []).append(values[0])
        database.rows.append((statement, tuple(values)))
