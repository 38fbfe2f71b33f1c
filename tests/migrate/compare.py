"""
Whether PostgreSQL holds what SQLite holds, by rules of its own.

Nothing here is shared with oxy_pg.migrate: both sides are read afresh, each
value is brought to a form that does not depend on how it was written down,
and what is left unequal comes back as sentences.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import re
import sqlite3
import struct
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from oxy_pg.migrate.report.report import MigrationReport


class _NotThisError(ValueError):
    """The source's value cannot be what the target's type says."""


# (table, None) and (table, column) to the names in PostgreSQL.
Names: TypeAlias = "Mapping[tuple[str, str | None], str]"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    target: str  # its name in PostgreSQL
    full: str  # PostgreSQL's type
    kind: str  # and without its arguments
    digits: int  # of a second's fraction that the type keeps
    unit: Decimal | None  # how many seconds one is, where numbers mean times; None: Julian days


def differences(
    source: str,
    url: str,
    *,
    schema: str = "public",
    tables: Iterable[str] | None = None,
    without: Mapping[str, Iterable[object]] | None = None,
    names: Names | None = None,
    emptied: bool = False,
    limit: int = 20,
) -> list[str]:
    """
    Compare every value of every row; return at most ``limit`` differences.

    ``tables`` are the ones to look at (default: all that hold data of their
    own). ``without`` names rows, by the value of their first column, that were
    left out on purpose. ``names`` tells what is called otherwise in PostgreSQL.
    ``emptied`` says that what PostgreSQL cannot hold was to become NULL there.
    """
    found: list[str] = []
    with (
        contextlib.closing(_open(source)) as lite,
        psycopg.connect(url) as conn,
    ):
        conn.execute("SET TimeZone = 'UTC'")
        conn.execute("SET DateStyle = 'ISO, YMD'")
        conn.execute("SET IntervalStyle = 'postgres'")
        conn.execute("SET bytea_output = 'hex'")
        conn.execute("SET extra_float_digits = 1")
        for table in own_tables(lite) if tables is None else tables:
            left_out = set((without or {}).get(table, ()))
            found += _table_differences(
                lite, conn, (schema, table), left_out, names or {}, emptied=emptied
            )
            if len(found) >= limit:
                return found[:limit]
    return found


def own_tables(lite: sqlite3.Connection) -> list[str]:
    """Name the tables that hold data: no views, no virtual tables, none of SQLite's own."""
    lite.text_factory = str
    listed = lite.execute("PRAGMA main.table_list").fetchall()
    return sorted(
        name
        for _, name, kind, *_ in listed
        if kind == "table" and not name.lower().startswith("sqlite_")
    )


def _open(source: str) -> sqlite3.Connection:
    return sqlite3.connect(source, isolation_level=None)


def _folded(name: str) -> str:
    """SQLite folds A to Z, and nothing else."""
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), name)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table_differences(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    place: tuple[str, str],
    left_out: set[object],
    names: Names,
    *,
    emptied: bool,
) -> Iterator[str]:
    schema, table = place
    target = _target_table(conn, schema, names.get((table, None), table))
    if target is None:
        yield f"{table}: no such table in PostgreSQL"
        return
    columns = list(_columns(lite, conn, schema, table, target, names))
    missing = [column.name for column in columns if not column.target]
    if missing:
        yield f"{table}: no column for {missing}"
        return
    if emptied:
        ours = list(_fitting_rows(lite, conn, table, columns))
    else:
        ours = list(_source_rows(lite, table, columns, left_out))
    theirs = list(_target_rows(conn, schema, target, columns))
    if len(ours) != len(theirs):
        yield f"{table}: {len(ours)} rows in SQLite, {len(theirs)} in PostgreSQL"
    mine: collections.Counter[tuple[object, ...]] = collections.Counter(ours)
    his: collections.Counter[tuple[object, ...]] = collections.Counter(theirs)
    rest = sorted((mine - his).elements(), key=repr), sorted((his - mine).elements(), key=repr)
    yield from _pair(table, columns, *rest)


def _pair(
    table: str,
    columns: list[_Column],
    ours: list[tuple[object, ...]],
    theirs: list[tuple[object, ...]],
) -> Iterator[str]:
    # What is left differs, or was written down in two ways that mean the same.
    lonely = list(theirs[:_LOOKED_AT])
    different = []
    for row in ours[:_LOOKED_AT]:
        same = next((other for other in lonely if _alike(row, other)), None)
        if same is None:
            different.append(row)
        else:
            lonely.remove(same)
    # Only now: a row without a counterpart must not take another one's.
    for row in different:
        nearest = max(
            lonely,
            key=lambda other: sum(a == b for a, b in zip(row, other, strict=True)),
            default=None,
        )
        if nearest is None:
            yield f"{table}: in SQLite only: {_shortened(row)}"
            continue
        lonely.remove(nearest)
        for column, left, right in zip(columns, row, nearest, strict=True):
            if not _same(left, right):
                yield (
                    f"{table}.{column.name} ({column.kind}): {_shortened(left)} in SQLite, "
                    f"{_shortened(right)} in PostgreSQL (row {_shortened(row)})"
                )
    for other in lonely:
        yield f"{table}: in PostgreSQL only: {_shortened(other)}"


# Every row is paired with every other that is left: some are enough to see what went wrong.
_LOOKED_AT = 300


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:120]}… ({len(text)} characters)"


def _target_table(conn: psycopg.Connection[Any], schema: str, table: str) -> str | None:
    names = [
        str(row[0])
        for row in conn.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = %s AND relkind IN ('r', 'p')",
            [schema],
        )
    ]
    return _named(table, names)


def _named(name: str, names: list[str]) -> str | None:
    if name in names:
        return name
    folded = [other for other in names if _folded(other) == _folded(name)]
    return folded[0] if len(folded) == 1 else None


def _columns(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    schema: str,
    table: str,
    target: str,
    names: Names,
) -> Iterator[_Column]:
    types = {
        str(name): (str(full), str(kind), int(modifier))
        for name, full, kind, modifier in conn.execute(
            """
            SELECT attname, format_type(atttypid, atttypmod), format_type(atttypid, NULL), atttypmod
            FROM pg_attribute
            JOIN pg_class t ON t.oid = attrelid JOIN pg_namespace n ON n.oid = t.relnamespace
            WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped
            """,
            [schema, target],
        )
    }
    lite.text_factory = str
    for _, name, *_ in lite.execute(f"PRAGMA main.table_xinfo({_quote(table)})").fetchall():
        place = _named(names.get((table, name), name), list(types)) or ""
        full, kind, modifier = types.get(place, ("", "", -1))
        is_time = kind.startswith(("timestamp", "time", "date"))
        digits = modifier if is_time and modifier >= 0 else 6
        unit = _unit(lite, table, name) if is_time else None
        yield _Column(name, place, full, kind, digits, unit)


def _unit(lite: sqlite3.Connection, table: str, column: str) -> Decimal | None:
    """What one means in a column of times that holds numbers, by their size."""
    numbers = ordinary_numbers(lite, table, column)
    reals = any(isinstance(number, float) for number in numbers)
    if reals and all(1_721_425.5 <= number <= 5_373_484.5 for number in numbers):
        return None
    for unit in ("1", "0.001", "0.000001", "0.000000001"):
        seconds = [float(number) * float(unit) for number in numbers]
        if all(-2_208_988_800 <= second <= 7_258_118_400 for second in seconds):  # 1900 to 2200
            return Decimal(unit)
    return Decimal(1)


def ordinary_numbers(lite: sqlite3.Connection, table: str, column: str) -> list[int | float]:
    """Read the numbers of a column besides 0 and those that stand for "never"."""
    never = {0, 2**63 - 1, -(2**63), 2**53 - 1, 253_402_300_799}
    name = _quote(column)
    query = f"SELECT {name} FROM {_quote(table)} WHERE typeof({name}) IN ('integer', 'real')"
    return [number for (number,) in lite.execute(query) if number not in never]


# --- virtual tables and views --------------------------------------------------------------------


def virtual_differences(
    source: str,
    url: str,
    *,
    schema: str = "public",
    allowed: Mapping[tuple[str, str], str] | None = None,
    names: Names | None = None,
) -> list[str]:
    """
    Compare the rows that SQLite's modules give with those of the ordinary tables they became.

    One without rows of its own must be among those ``allowed`` to be left behind,
    if these are given. The tables that a module keeps for itself must not be in
    PostgreSQL.
    """
    found: list[str] = []
    with contextlib.closing(_open(source)) as lite, psycopg.connect(url) as conn:
        lite.text_factory = str
        listed = lite.execute("PRAGMA main.table_list").fetchall()
        for _, name, kind, *_ in listed:
            place = (schema, name)
            if kind == "shadow" and _target_table(conn, schema, name):
                found.append(f"{name}: a module's own table, and it is in PostgreSQL")
            elif kind == "virtual":
                found += _virtual_table_differences(lite, conn, place, allowed, names or {})
    return found


def _virtual_table_differences(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    place: tuple[str, str],
    allowed: Mapping[tuple[str, str], str] | None,
    names: Names,
) -> Iterator[str]:
    schema, table = place
    target = _target_table(conn, schema, names.get((table, None), table))
    (text,) = lite.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
    is_search = "USING fts" in text
    if "content=" in text:
        if target is not None:
            yield f"{table}: has no rows of its own, and is a table in PostgreSQL"
        if allowed is not None and ("virtual", table) not in allowed:
            yield f"{table}: is not listed as left behind"
        return
    if target is None:
        yield f"{table}: no such table in PostgreSQL"
        return
    columns = list(_columns(lite, conn, schema, table, target, names))
    columns = [column for column in columns if column.target]  # not the hidden ones
    if is_search:
        others = {column.target for column in columns}
        (key,) = {name for name in _column_names(conn, place, target) if name not in others}
        columns.append(_Column("rowid", key, "bigint", "bigint", 6, None))
    terms = ", ".join(_quote(column.name) for column in columns)
    rows = lite.execute(f"SELECT {terms} FROM {_quote(table)}").fetchall()
    ours = [tuple(map(_from_sqlite, row, columns)) for row in rows]
    theirs = list(_target_rows(conn, schema, target, columns))
    mine, his = collections.Counter(ours), collections.Counter(theirs)
    rest = sorted((mine - his).elements(), key=repr), sorted((his - mine).elements(), key=repr)
    yield from _pair(table, columns, *rest)


def _column_names(conn: psycopg.Connection[Any], place: tuple[str, str], target: str) -> list[str]:
    rows = conn.execute(
        "SELECT attname FROM pg_attribute JOIN pg_class t ON t.oid = attrelid "
        "JOIN pg_namespace n ON n.oid = t.relnamespace "
        "WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [place[0], target],
    )
    return [name for (name,) in rows]


def view_differences(
    source: str,
    url: str,
    *,
    schema: str = "public",
    allowed: Mapping[tuple[str, str], str],
) -> list[str]:
    """Compare the rows of views; those ``allowed`` to be left behind need not exist."""
    found: list[str] = []
    with contextlib.closing(_open(source)) as lite, psycopg.connect(url) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        lite.text_factory = str
        views = lite.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
        there = {
            name
            for (name,) in conn.execute(
                "SELECT viewname FROM pg_views WHERE schemaname = %s", [schema]
            )
        }
        for (view,) in views:
            name = view.encode()[:63].decode(errors="ignore")
            if ("view", view) in allowed:
                if name in there:
                    found.append(f"{view}: left behind, and it is there")
            elif name not in there:
                found.append(f"{view}: neither in PostgreSQL nor listed as left behind")
            else:
                found += _view_rows_differ(lite, conn, (schema, view, name))
    return found


def _view_rows_differ(
    lite: sqlite3.Connection, conn: psycopg.Connection[Any], place: tuple[str, str, str]
) -> Iterator[str]:
    schema, view, name = place
    targets = _column_names(conn, (schema, view), name)
    sources = [row[1] for row in lite.execute(f"PRAGMA main.table_info({_quote(view)})").fetchall()]
    types = dict(
        conn.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = "
            "%s::regclass AND attnum > 0",
            [sql.Identifier(schema, name).as_string(conn)],
        ).fetchall()
    )
    columns = [
        _Column(
            here,
            there,
            types[there],
            types[there],
            6,
            _unit(lite, view, here) if types[there].startswith(("time", "date")) else None,
        )
        for here, there in zip(sources, targets, strict=True)
    ]
    ours = [
        tuple(
            _rounded(_from_sqlite(value, column), column)
            for value, column in zip(row, columns, strict=True)
        )
        for row in lite.execute(f"SELECT * FROM {_quote(view)}").fetchall()
    ]
    theirs = [
        tuple(map(_rounded, row, columns)) for row in _target_rows(conn, schema, name, columns)
    ]
    mine, his = collections.Counter(ours), collections.Counter(theirs)
    rest = sorted((mine - his).elements(), key=repr), sorted((his - mine).elements(), key=repr)
    yield from _pair(view, columns, *rest)


def _rounded(value: object, column: _Column) -> object:
    """Forget the last digits of a sum or a mean, which depend on the order of the rows."""
    if isinstance(value, _NegativeZero):
        return 0.0
    is_number = column.kind in {"numeric", "double precision", "real"}
    if is_number and isinstance(value, float | Decimal):
        return float(f"{float(value):.9g}")
    return value


# --- the schema ----------------------------------------------------------------------------------


def schema_differences(
    source: str,
    url: str,
    *,
    schema: str = "public",
    allowed: Mapping[tuple[str, str], str] | None = None,
    names: Names | None = None,
) -> list[str]:
    """
    Compare what tables promise: columns and their order, NOT NULL, keys, actions.

    A UNIQUE that compares in another way than PostgreSQL does (NOCASE), holds
    an expression or is partial has no exact counterpart and is not looked at.
    ``allowed`` are the objects that were reported as left behind: kind and
    name, with the reason.
    """
    found: list[str] = []
    with contextlib.closing(_open(source)) as lite, psycopg.connect(url) as conn:
        for table in own_tables(lite):
            target = _target_table(conn, schema, (names or {}).get((table, None), table))
            if target is None:
                found.append(f"{table}: no such table in PostgreSQL")
                continue
            ours = _renamed(_source_facts(lite, table), table, names or {})
            if reason := (allowed or {}).get(("primary key", table)):
                ours = _without_key(ours, reason)
            found += _facts_lost(table, ours, _target_facts(conn, schema, target))
            left = frozenset(allowed or {})
            found += _column_promises_lost(lite, conn, (schema, table, target), names or {}, left)
            found += _indexes_lost(lite, conn, (schema, table, target), left)
    return [lost for lost in found if not _is_explained(lost, allowed or {})]


def _is_explained(lost: str, allowed: Mapping[tuple[str, str], str]) -> bool:
    words = {
        "no longer unique": ("unique", "unique index", "index"),
        "foreign keys": ("foreign key",),
        "primary key": ("primary key",),
    }
    for phrase, kinds in words.items():
        if f": {phrase}" in lost:
            table = lost.partition(f": {phrase}")[0]
            return any(
                kind.lower() in kinds and table in name + reason
                for (kind, name), reason in allowed.items()
            )
    return False


def _without_key(facts: _Facts, reason: str) -> _Facts:
    """What is left of a table whose primary key could not come along."""
    if "UNIQUE" not in reason:
        return replace(facts, key=())
    return replace(
        facts,
        key=(),
        not_null=facts.declared_not_null,
        may_be_not_null=facts.not_null,
        uniques=facts.uniques | {frozenset(facts.key)},
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    columns: tuple[str, ...]
    not_null: frozenset[str]
    declared_not_null: frozenset[str]
    may_be_not_null: frozenset[str]
    key: tuple[str, ...]
    uniques: frozenset[frozenset[str]]
    # Unique by another collation: unique byte by byte as well, when somebody says so.
    folded: frozenset[frozenset[str]]
    # columns, parent, its columns, ON UPDATE, ON DELETE
    foreign_keys: frozenset[tuple[tuple[str, ...], str, tuple[str, ...], str, str]]


def _renamed(facts: _Facts, table: str, names: Names) -> _Facts:
    def mine(*columns: str) -> tuple[str, ...]:
        return tuple(names.get((table, column), column) for column in columns)

    return _Facts(
        columns=mine(*facts.columns),
        not_null=frozenset(mine(*facts.not_null)),
        declared_not_null=frozenset(mine(*facts.declared_not_null)),
        may_be_not_null=frozenset(),
        key=mine(*facts.key),
        uniques=frozenset(frozenset(mine(*unique)) for unique in facts.uniques),
        folded=frozenset(frozenset(mine(*unique)) for unique in facts.folded),
        foreign_keys=frozenset(
            (
                mine(*own),
                names.get((parent, None), parent),
                tuple(names.get((parent, column), column) for column in referred),
                update,
                delete,
            )
            for own, parent, referred, update, delete in facts.foreign_keys
        ),
    )


def _facts_lost(table: str, ours: _Facts, theirs: _Facts) -> Iterator[str]:
    if ours.columns != theirs.columns:
        yield f"{table}: columns {ours.columns} became {theirs.columns}"
    if ours.key != theirs.key:
        yield f"{table}: primary key {ours.key} became {theirs.key}"
    if not ours.not_null <= theirs.not_null <= ours.not_null | ours.may_be_not_null:
        yield f"{table}: NOT NULL {sorted(ours.not_null)} became {sorted(theirs.not_null)}"
    if lost := ours.uniques - theirs.uniques:
        yield f"{table}: no longer unique: {[sorted(columns) for columns in lost]}"
    if more := theirs.uniques - ours.uniques - ours.folded:
        yield f"{table}: unique, and was not: {[sorted(columns) for columns in more]}"
    if ours.foreign_keys != theirs.foreign_keys:
        yield (
            f"{table}: foreign keys {sorted(ours.foreign_keys)} "
            f"became {sorted(theirs.foreign_keys)}"
        )


def _source_facts(lite: sqlite3.Connection, table: str) -> _Facts:
    lite.text_factory = str
    rows = lite.execute(f"PRAGMA main.table_xinfo({_quote(table)})").fetchall()
    key = tuple(name for _, name, _, _, _, place, _ in sorted(rows, key=lambda r: r[5]) if place)
    uniques: set[frozenset[str]] = set()
    folded: set[frozenset[str]] = set()
    for _, index, unique, origin, partial in lite.execute(
        f"PRAGMA main.index_list({_quote(table)})"
    ).fetchall():
        terms = [
            row
            for row in lite.execute(f"PRAGMA main.index_xinfo({_quote(index)})").fetchall()
            if row[5]
        ]
        names = frozenset(row[2] for row in terms)
        if not unique or partial or origin == "pk" or any(row[1] < 0 for row in terms):
            continue
        plain = all(str(row[4]).upper() == "BINARY" for row in terms)
        (uniques if plain else folded).add(names)
    return _Facts(
        columns=tuple(row[1] for row in rows),
        # A primary key is NOT NULL in PostgreSQL whatever SQLite made of it.
        not_null=frozenset(row[1] for row in rows if row[3] or row[1] in key),
        declared_not_null=frozenset(row[1] for row in rows if row[3]),
        may_be_not_null=frozenset(),
        key=key,
        uniques=frozenset(uniques - {frozenset(key)}),
        folded=frozenset(folded),
        foreign_keys=frozenset(foreign_keys(lite, table)),
    )


def foreign_keys(
    lite: sqlite3.Connection, table: str
) -> Iterator[tuple[tuple[str, ...], str, tuple[str, ...], str, str]]:
    """Read foreign keys: columns, parent, its columns, ON UPDATE, ON DELETE."""
    lite.text_factory = str
    rows = lite.execute(f"PRAGMA main.foreign_key_list({_quote(table)})").fetchall()
    names = {_folded(name): name for name in own_tables(lite)}
    for number in {row[0] for row in rows}:
        parts = sorted((row for row in rows if row[0] == number), key=lambda row: int(row[1]))
        parent = names.get(_folded(parts[0][2]))
        if parent is None:
            continue  # refers to nothing
        columns = lite.execute(f"PRAGMA main.table_xinfo({_quote(parent)})").fetchall()
        if parts[0][4] is None:
            referred = tuple(row[1] for row in sorted(columns, key=lambda r: r[5]) if row[5])
        else:
            spelled = {_folded(row[1]): row[1] for row in columns}
            referred = tuple(spelled[_folded(part[4])] for part in parts)
        own = {
            _folded(row[1]): row[1]
            for row in lite.execute(f"PRAGMA main.table_xinfo({_quote(table)})").fetchall()
        }
        mine = tuple(own[_folded(part[3])] for part in parts)
        yield mine, parent, referred, parts[0][5], parts[0][6]


def _column_promises_lost(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    place: tuple[str, str, str],
    names: Names,
    left: frozenset[tuple[str, str]],
) -> Iterator[str]:
    """Defaults, generated columns, and keys that number themselves."""
    schema, table, target = place
    there = {
        name: (identity, generated, default)
        for name, identity, generated, default in conn.execute(
            """
            SELECT attname, attidentity::text, attgenerated::text, pg_get_expr(adbin, adrelid)
            FROM pg_attribute
            JOIN pg_class t ON t.oid = attrelid JOIN pg_namespace n ON n.oid = t.relnamespace
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped
            """,
            [schema, target],
        )
    }
    columns = {c.name: c for c in _columns(lite, conn, schema, table, target, names)}
    lite.text_factory = str
    rowid = _rowid_alias(lite, table)
    for _, name, _, _, default, _, hidden in lite.execute(
        f"PRAGMA main.table_xinfo({_quote(table)})"
    ).fetchall():
        column = columns[name]
        identity, generated, theirs = there[column.target]
        label = f"{table}.{name}"
        if (name == rowid) != bool(identity):
            yield f"{label}: numbered by itself in SQLite: {name == rowid}, not so in PostgreSQL"
        if hidden in {2, 3}:
            if not generated and ("generated column", label) not in left:
                yield f"{label}: is generated no longer"
        elif default is not None and name != rowid and ("default", label) not in left:
            yield from _default_lost(lite, conn, column, label, (default, theirs))
        elif default is None and theirs:
            yield f"{label}: had no default, and has {theirs}"


def _rowid_alias(lite: sqlite3.Connection, table: str) -> str | None:
    """The column that SQLite itself calls the rowid; it is the only kind that it numbers."""
    keys = [
        row for row in lite.execute(f"PRAGMA main.table_info({_quote(table)})").fetchall() if row[5]
    ]
    indexed = lite.execute(f"PRAGMA main.index_list({_quote(table)})").fetchall()
    has_index = any(row[3] == "pk" for row in indexed)
    return keys[0][1] if len(keys) == 1 and not has_index else None


def _default_lost(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    column: _Column,
    label: str,
    defaults: tuple[str, str | None],
) -> Iterator[str]:
    ours, theirs = defaults
    try:
        (value,) = lite.execute(f"SELECT {ours}").fetchone()
    except sqlite3.OperationalError:
        value = ours  # a word without quotes is a text here
    if value is None and theirs is None:
        return
    if theirs is None:
        yield f"{label}: has no default any more"
        return
    row = conn.execute("SELECT (" + theirs + ")::text").fetchone()
    if re.search("now|current|random", ours, re.IGNORECASE):
        return  # another value each time
    found = None if row is None or row[0] is None else _from_postgres(row[0], column)
    if not _same(_from_sqlite(value, column), found):
        yield f"{label}: the default {ours} became {theirs}"


def _indexes_lost(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    place: tuple[str, str, str],
    left: frozenset[tuple[str, str]],
) -> Iterator[str]:
    """Indexes of one's own: there, and about as many rows as before."""
    schema, table, target = place
    theirs = {
        name: (unique, predicate)
        for name, unique, predicate in conn.execute(
            """
            SELECT c.relname, indisunique, pg_get_expr(indpred, indrelid)
            FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
            JOIN pg_namespace n ON n.oid = t.relnamespace
            WHERE nspname = %s AND t.relname = %s
            """,
            [schema, target],
        )
    }
    lite.text_factory = str
    listed = lite.execute(f"PRAGMA main.index_list({_quote(table)})").fetchall()
    for _, name, unique, origin, partial in listed:
        if origin != "c" or {("index", name), ("unique index", name)} & left:
            continue
        if name not in theirs:
            if len(name.encode()) <= 63:  # else it is called otherwise
                yield f"{table}: the index {name} is gone"
            continue
        theirs_unique, theirs_where = theirs[name]
        if bool(unique) != theirs_unique or bool(partial) != bool(theirs_where):
            yield f"{table}: the index {name} is another one"
        elif partial:
            (text,) = lite.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", [name]
            ).fetchone()
            where = text.rpartition(" WHERE ")[2]
            rows = lite.execute(f"SELECT count(*) FROM {_quote(table)} WHERE {where}").fetchone()
            there = conn.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE " + theirs_where).format(
                    sql.Identifier(schema, target)
                )
            ).fetchone()
            if rows != there:
                yield f"{table}: the index {name} had {rows} rows, and has {there}"


_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}


def _target_facts(conn: psycopg.Connection[Any], schema: str, table: str) -> _Facts:
    oid_row = conn.execute(
        "SELECT t.oid FROM pg_class t JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relname = %s",
        [schema, table],
    ).fetchone()
    assert oid_row is not None
    oid = oid_row[0]
    columns = conn.execute(
        "SELECT attname, attnotnull FROM pg_attribute "
        "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [oid],
    ).fetchall()
    indexes = conn.execute(
        """
        SELECT indisprimary, ARRAY(
          SELECT attname::text FROM unnest(indkey) WITH ORDINALITY k(number, place)
          JOIN pg_attribute ON attrelid = indrelid AND attnum = k.number ORDER BY place)
        FROM pg_index
        WHERE indrelid = %s AND indisunique AND indpred IS NULL AND indexprs IS NULL
        """,
        [oid],
    ).fetchall()
    keys = conn.execute(
        """
        SELECT
          ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY k(number, place)
            JOIN pg_attribute ON attrelid = conrelid AND attnum = k.number ORDER BY place),
          parent.relname,
          ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY k(number, place)
            JOIN pg_attribute ON attrelid = confrelid AND attnum = k.number ORDER BY place),
          confupdtype::text, confdeltype::text
        FROM pg_constraint JOIN pg_class parent ON parent.oid = confrelid
        WHERE conrelid = %s AND contype = 'f'
        """,
        [oid],
    ).fetchall()
    key = next((tuple(names) for primary, names in indexes if primary), ())
    return _Facts(
        columns=tuple(name for name, _ in columns),
        not_null=frozenset(name for name, required in columns if required),
        declared_not_null=frozenset(),
        may_be_not_null=frozenset(),
        key=key,
        uniques=frozenset(
            {frozenset(names) for primary, names in indexes if not primary} - {frozenset(key)}
        ),
        folded=frozenset(),
        foreign_keys=frozenset(
            (tuple(mine), parent, tuple(theirs), _ACTIONS[update], _ACTIONS[delete])
            for mine, parent, theirs, update, delete in keys
        ),
    )


# --- reading -------------------------------------------------------------------------------------


def _source_rows(
    lite: sqlite3.Connection, table: str, columns: list[_Column], left_out: set[object]
) -> Iterator[tuple[object, ...]]:
    for row in _read(lite, table, [column.name for column in columns]):
        if left_out and _readable(row[0]) in left_out:
            continue
        yield tuple(_from_sqlite(value, column) for value, column in zip(row, columns, strict=True))


def _fitting_rows(
    lite: sqlite3.Connection, conn: psycopg.Connection[Any], table: str, columns: list[_Column]
) -> Iterator[tuple[object, ...]]:
    for row in _read(lite, table, [column.name for column in columns]):
        yield tuple(
            None
            if value is None
            else kept_or_cut(lite, conn, (table, column.name), column.full, value)
            for value, column in zip(row, columns, strict=True)
        )


def _read(
    lite: sqlite3.Connection, table: str, columns: list[str], where: str = "TRUE"
) -> Iterator[tuple[object, ...]]:
    """Read texts as the very bytes in the file: what SQLite makes of broken ones is no proof."""
    lite.text_factory = str
    encoding = str(lite.execute("PRAGMA encoding").fetchone()[0])
    part = 500  # of them; SQLite gives at most 2,000 values
    lists = [columns[start : start + part] for start in range(0, len(columns), part)]
    cursors = []
    for names in lists:
        terms = ", ".join(
            f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) "
            f"ELSE {name} END"
            for name in map(_quote, names)
        )
        # An index that holds all of some columns would give them in an order of its own.
        cursors.append(
            lite.execute(f"SELECT {terms} FROM {_quote(table)} NOT INDEXED WHERE {where}")
        )
    for rows in zip(*cursors, strict=True):
        row = [value for some in rows for value in some]
        yield tuple(
            _Text(value, encoding) if kind == "text" else value
            for kind, value in zip(row[::2], row[1::2], strict=True)
        )


class _Text(bytes):
    """The bytes of a text, so that they are not mistaken for a BLOB."""

    encoding: str

    def __new__(cls, raw: bytes, encoding: str) -> Self:
        text = super().__new__(cls, raw)
        text.encoding = encoding
        return text

    def __str__(self) -> str:
        return self.decode(self.encoding)


def _readable(value: object) -> object:
    return str(value) if isinstance(value, _Text) else value


@dataclass(frozen=True, slots=True)
class _Misfit:
    """A value that cannot be in the target; it is equal to nothing there."""

    value: object
    reason: str


def _from_sqlite(value: object, column: _Column) -> object:
    if value is None:
        return None
    try:
        value = _readable(value)
        return _FROM_SQLITE.get(column.kind, _text)(value, column)
    except (ValueError, ArithmeticError) as error:
        return _Misfit(value, str(error))


def _from_postgres(text: str, column: _Column) -> object:
    try:
        return _FROM_POSTGRES.get(column.kind, _as_it_is)(text)
    except (ValueError, ArithmeticError):
        return text  # "infinity", years that Python does not have


def _target_rows(
    conn: psycopg.Connection[Any], schema: str, table: str, columns: list[_Column]
) -> Iterator[tuple[object, ...]]:
    names = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column.target)) for column in columns
    )
    # char(n)::text drops the padding, which SQLite does not have.
    query = sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(schema, table))
    for row in conn.execute(query):
        yield tuple(
            None if text is None else _from_postgres(text, column)
            for text, column in zip(row, columns, strict=True)
        )


# --- values --------------------------------------------------------------------------------------


def _whole(value: object, _: _Column) -> object:
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
        return int(value)
    raise _NotThisError("not a whole number")


def _floating(value: object, column: _Column) -> object:
    if isinstance(value, bytes):
        raise _NotThisError("bytes")
    if isinstance(value, str):
        _refuse_other_digits(value)
        value = float(value) if Decimal(value) == Decimal(float(value)) else Decimal(value)
    if isinstance(value, int) and value == float(value):
        value = float(value)
    if column.kind == "real" and isinstance(value, float):
        value = _single(value)
    return _signed(value)


class _NegativeZero:
    """Equal to 0.0 for Python, and not the same."""


_NEGATIVE_ZERO = _NegativeZero()


def _signed(value: object) -> object:
    is_negative = isinstance(value, float) and value == 0 and math.copysign(1, value) < 0
    return _NEGATIVE_ZERO if is_negative else value


def _refuse_other_digits(text: str) -> None:
    # Python reads "1_000", and the digits of every script.
    if not re.fullmatch(r"[-+.0-9eE]+|[-+]?(?i:inf|infinity)", text):
        raise _NotThisError("not a number")


def _single(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return value


class _DoubleAsDecimal(Decimal):
    """A double has many decimal spellings; any that reads back as the same one will do."""


class _DoubleAsText(str):
    """As for decimals."""

    __slots__ = ()


class _Moment(Decimal):
    """A time as the target can hold it; how far it may be off is with it."""

    exact: Decimal
    tolerance: Decimal


def _decimal(value: object, _: _Column) -> object:
    if isinstance(value, bytes):
        raise _NotThisError("bytes")
    try:
        if isinstance(value, float):
            return _DoubleAsDecimal(repr(value))
        _refuse_other_digits(str(value).strip())
        return Decimal(str(value).strip())
    except InvalidOperation as error:
        raise _NotThisError("not a number") from error


def _text(value: object, column: _Column) -> object:
    if isinstance(value, bytes):
        raise _NotThisError("bytes")
    if isinstance(value, float):
        return _DoubleAsText(repr(value))
    text = str(value)
    return text.rstrip(" ") if column.kind == "character" else text


def _blob(value: object, _: _Column) -> object:
    if not isinstance(value, bytes):
        raise _NotThisError("not bytes")
    return bytes(value)


def _truth(value: object, _: _Column) -> object:
    spelled = str(value).lower()
    if not isinstance(value, bytes):
        if value == 1 or spelled in {"t", "true", "1", "y", "yes", "on"}:
            return True
        if value == 0 or spelled in {"f", "false", "0", "n", "no", "off"}:
            return False
    raise _NotThisError("neither true nor false")


def _key(value: object, _: _Column) -> object:
    if isinstance(value, bytes):
        digits = value.hex()
    else:
        digits = re.sub(r"^urn:uuid:|[{}-]", "", str(value).strip().lower())
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        raise _NotThisError("not a uuid")
    return digits


def _document(value: object, column: _Column) -> object:
    if isinstance(value, bytes):
        raise _NotThisError("bytes")
    text = repr(value) if isinstance(value, float) else str(value)
    return _structure(text) if column.kind == "jsonb" else text


def _structure(text: str) -> str:
    def number(digits: str) -> object:
        # 1.0 and 1.00 are the same to jsonb's comparison; keep what they are worth.
        return {"number": str(Decimal(digits).normalize())}

    value = json.loads(text, parse_float=number, parse_int=number)
    return json.dumps(value, sort_keys=True)


_MOMENT = re.compile(
    r"([0-9]{4,6})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?)?"
    r"[ ]?(Z|z|UTC|[+-][0-9:]+)?\s*"
)


def _moment(value: object, column: _Column) -> object:
    """Seconds since 1970 in UTC, exact."""
    if isinstance(value, bytes):
        raise _NotThisError("bytes")
    if isinstance(value, str):
        return _held(_parsed_moment(value), column, Decimal(0))
    number = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    if column.unit is None:
        # Julian days as SQLite reckons: to the millisecond.
        seconds = round((number - Decimal("2440587.5")) * 86_400, 3)
        return _held(seconds, column, Decimal("0.001"))
    inexact = Decimal(0) if isinstance(value, int) else Decimal("0.000001")
    if not _FIRST <= number * column.unit < _BEYOND:
        raise _NotThisError("beyond the years that oxy_pg promises to move")
    return _held(number * column.unit, column, inexact)


def _held(exact: Decimal, column: _Column, tolerance: Decimal) -> _Moment:
    last = _BEYOND - Decimal(1).scaleb(-column.digits)  # what is later is rounded down
    held = _Moment(min(round(exact, column.digits), last))
    held.exact = exact
    # Exactly half may go either way; a hair more, because PostgreSQL halves doubles.
    held.tolerance = tolerance + Decimal("0.50001").scaleb(-column.digits)
    if exact >= _BEYOND - 1:
        held.tolerance *= 2  # rounded down, because there is no year 10000
    return held


def _parsed_moment(text: str) -> Decimal:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise _NotThisError("not a time")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    since = date(int(year), int(month), int(day)) - date(1970, 1, 1)
    of_day = _seconds_of_day(int(hour or 0), int(minute or 0), int(second or 0), fraction)
    seconds = since.days * 86_400 + of_day - _offset(offset)
    if not _FIRST <= seconds < _BEYOND:
        raise _NotThisError("beyond the years that oxy_pg promises to move")
    return seconds


# The years 1 to 9999, in UTC.
_FIRST, _BEYOND = -62_135_596_800, 253_402_300_800


def _seconds_of_day(hour: int, minute: int, second: int, fraction: str | None) -> Decimal:
    exact = Decimal(hour * 3600 + minute * 60 + second) + Decimal(f"0{fraction or ''}")
    if minute > 59 or second > 59 or hour > 24 or (hour == 24 and round(exact, 6) > 86_400):
        raise _NotThisError("not a time")
    return exact


def _offset(text: str | None) -> int:
    if text is None or text in {"Z", "z", "UTC"}:
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6])
    return -seconds if text[0] == "-" else seconds


def _without_offset(value: object) -> object:
    if isinstance(value, str):  # the day that is written, wherever it was
        return value[:10] + re.sub(r"\s*(Z|z|UTC|[-+][0-9:]+)$", "", value[10:])
    return value


def _day(value: object, column: _Column) -> object:
    seconds = _moment(_without_offset(value), column)
    if not isinstance(seconds, Decimal) or seconds % 86_400:
        raise _NotThisError("not a day")
    return seconds


def _hours(value: object, column: _Column) -> object:
    text = str(value).removeprefix("2000-01-01 ")  # as Rails writes it
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?", text)
    if match is None:
        raise _NotThisError("not a time of day")
    hour, minute, second, fraction = match.groups()
    exact = _seconds_of_day(int(hour), int(minute), int(second or 0), fraction)
    return _held(exact, column, Decimal(0))


_TIME_SPAN = re.compile(r"(-)?(?:([0-9]+)\.)?([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?")


def _length(value: object, column: _Column) -> object:
    """Seconds: Django's microseconds, .NET's d.hh:mm:ss.fffffff, SQLAlchemy's time after 1970."""
    if isinstance(value, int):
        return Decimal(value).scaleb(-6)
    if re.match(r"[0-9]{4}-", str(value)):
        return _moment(value, column)
    match = _TIME_SPAN.fullmatch(str(value))
    if match is None:
        raise _NotThisError("not a length of time")
    sign, days, hour, minute, second, fraction = match.groups()
    seconds = _seconds_of_day(int(hour), int(minute), int(second), fraction)
    return (seconds + int(days or 0) * 86_400) * (-1 if sign else 1)


def _spelled_length(text: str) -> Decimal:
    """As PostgreSQL spells it: each part has a sign of its own."""
    match = re.fullmatch(
        r"(?:(-?[0-9]+) days? ?)?(?:([+-])?([0-9]+):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?))?", text
    )
    if match is None:
        raise _NotThisError(text)
    days, sign, hours, minutes, seconds = match.groups()
    clock = int(hours or 0) * 3600 + int(minutes or 0) * 60 + Decimal(seconds or 0)
    return int(days or 0) * 86_400 + (-clock if sign == "-" else clock)


_FROM_SQLITE: dict[str, Callable[[object, _Column], object]] = {
    "smallint": _whole,
    "integer": _whole,
    "bigint": _whole,
    "real": _floating,
    "double precision": _floating,
    "numeric": _decimal,
    "bytea": _blob,
    "boolean": _truth,
    "uuid": _key,
    "json": _document,
    "jsonb": _document,
    "timestamp without time zone": _moment,
    "timestamp with time zone": _moment,
    "date": _day,
    "time without time zone": _hours,
    "interval": _length,
}


def _as_it_is(text: str) -> object:
    return text


_UNUSED = _Column("", "", "", "", 6, None)

_FROM_POSTGRES: dict[str, Callable[[str], object]] = {
    "smallint": int,
    "integer": int,
    "bigint": int,
    "real": lambda text: _signed(_single(float(text))),
    "double precision": lambda text: _signed(float(text)),
    "numeric": Decimal,
    "bytea": lambda text: bytes.fromhex(text.removeprefix("\\x")),
    "boolean": lambda text: text in {"t", "true"},
    "uuid": lambda text: text.replace("-", ""),
    "jsonb": _structure,
    "timestamp without time zone": _parsed_moment,
    "timestamp with time zone": _parsed_moment,
    "date": _parsed_moment,
    "time without time zone": lambda text: _hours(text, _UNUSED),
    "interval": _spelled_length,
    "inet": lambda text: re.sub(r"/(32|128)\Z", "", text),  # as a host is written
}


def _alike(row: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(_same(left, right) for left, right in zip(row, other, strict=True))


def _same(left: object, right: object) -> bool:
    """Whether two forms mean one value: where rounding or spelling leaves a choice."""
    if left == right:
        return True
    if isinstance(left, _Misfit) or left is None or right is None:
        return False
    if isinstance(left, _Moment) and isinstance(right, Decimal):
        return abs(left.exact - right) <= left.tolerance
    with contextlib.suppress(ValueError):
        if isinstance(left, _DoubleAsDecimal) and isinstance(right, Decimal):
            if not (math.isfinite(left) and math.isfinite(right)):
                return False
            # What a double adds behind its 15th digit is noise.
            return float(left) == float(right) or Decimal(f"{float(left):.15g}") == right
        if isinstance(left, _DoubleAsText) and isinstance(right, str):
            return _signed(float(left)) == _signed(float(right))
    return False


# --- one value -----------------------------------------------------------------------------------


def source_values(lite: sqlite3.Connection, table: str, column: str) -> list[object]:
    """Return a column's values; texts as bytes of a type of their own."""
    return [row[0] for row in _read(lite, table, [column])]


def kept(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    place: tuple[str, str],
    pg_type: str,
    value: object,
) -> object:
    """Return what PostgreSQL makes of this value of a column as ``pg_type``; None: not the same."""
    conn.execute("SET TimeZone = 'UTC'")
    kind, digits = conn.execute(
        "SELECT format_type(%(t)s::text::regtype, NULL), "
        "coalesce(substring(%(t)s::text FROM '\\((\\d+)\\)')::int, 6)",
        {"t": pg_type},
    ).fetchone() or ("", 6)
    unit = _unit(lite, *place) if kind.startswith(("time", "date")) else None
    column = _Column(place[1], place[1], pg_type, kind, digits, unit)
    ours = _from_sqlite(value, column)
    if isinstance(ours, _Misfit):
        return None
    try:
        spelled = str(ours) if kind == "uuid" else _spelled(ours, value)
        with conn.transaction():
            row = conn.execute(
                sql.SQL("SELECT CAST({} AS " + pg_type + ")::text").format(sql.Literal(spelled))
            ).fetchone()
    except (psycopg.Error, OverflowError):  # a time beyond the year 9999
        return None
    if row is None:
        return None
    theirs = _from_postgres(row[0], column)
    return theirs if _same(ours, theirs) else None


def kept_or_cut(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    place: tuple[str, str],
    pg_type: str,
    value: object,
) -> object:
    """Return the same, and of a time in a ``date`` column its day: a change, and no misfit."""
    found = kept(lite, conn, place, pg_type, value)
    if found is not None or pg_type != "date":
        return found
    column = _Column(place[1], place[1], "date", "date", 6, _unit(lite, *place))
    try:
        seconds = _moment(_without_offset(_readable(value)), column)
    except (ValueError, ArithmeticError):
        return None
    return seconds // 86_400 * 86_400 if isinstance(seconds, Decimal) else None


def repeated(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    table: str,
    columns: Mapping[str, str],
    where: str = "TRUE",
) -> int:
    """Count the rows whose key, of columns with these types, another row has as well."""
    keys: collections.Counter[tuple[object, ...]] = collections.Counter()
    for row in _read(lite, table, list(columns), where):
        key = [
            None if value is None else kept_or_cut(lite, conn, (table, name), pg_type, value)
            for value, (name, pg_type) in zip(row, columns.items(), strict=True)
        ]
        if None not in key:
            keys[tuple(0.0 if part is _NEGATIVE_ZERO else part for part in key)] += 1
    return sum(count - 1 for count in keys.values())


def missing(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    child: tuple[str, Mapping[str, str]],
    parent: tuple[str, Mapping[str, str]],
) -> int:
    """Count the rows of one table whose key, in columns with these types, another lacks."""

    def keys(table: str, types: Mapping[str, str]) -> Iterator[tuple[object, ...]]:
        for row in _read(lite, table, list(types)):
            key = tuple(
                None if value is None else kept(lite, conn, (table, name), pg_type, value)
                for value, (name, pg_type) in zip(row, types.items(), strict=True)
            )
            if None not in key:
                yield tuple(0.0 if part is _NEGATIVE_ZERO else part for part in key)

    there = set(keys(*parent))
    return sum(key not in there for key in keys(*child))


def unique_keys(lite: sqlite3.Connection, table: str) -> list[tuple[str, tuple[str, ...], str]]:
    """Name the unique indexes over columns: name, columns, and which rows they hold."""
    lite.text_factory = str
    found = []
    listed = lite.execute(f"PRAGMA main.index_list({_quote(table)})").fetchall()
    for _, index, unique, _, partial in listed:
        rows = lite.execute(f"PRAGMA main.index_xinfo({_quote(index)})").fetchall()
        terms = [row for row in rows if row[5]]
        if not unique or any(row[1] < 0 for row in terms):
            continue
        where = "TRUE"
        if partial:
            (text,) = lite.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", [index]
            ).fetchone()
            where = text.rpartition(" WHERE ")[2]
        found.append((index, tuple(row[2] for row in terms), where))
    return found


def names_in(report: MigrationReport) -> dict[tuple[str, str | None], str]:
    """Read what a report says about names that PostgreSQL does not take."""
    names: dict[tuple[str, str | None], str] = {
        (table.name, None): table.target for table in report.tables
    }
    for table in report.tables:
        names |= {(table.name, column.name): column.target for column in table.columns}
    return names


def _spelled(ours: object, value: object) -> str:
    if isinstance(ours, _Moment) and not isinstance(value, bytes):
        return (
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(ours * 10**6))
        ).isoformat()
    if isinstance(ours, bytes):
        return "\\x" + ours.hex()
    if isinstance(ours, float):
        return repr(ours)
    if ours is _NEGATIVE_ZERO:
        return "-0.0"
    if isinstance(value, _Text):
        return str(value)
    return str(ours)
