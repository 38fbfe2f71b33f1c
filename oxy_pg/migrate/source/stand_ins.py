"""
Stand-ins for the collations and functions of a schema that this SQLite does not have.

The program that wrote the file had its own: Plex's ``icu_root``, Android's ``LOCALIZED``. SQLite
refuses whole tables without them, although their rows can be read. A stand-in compares byte by
byte, or returns NULL; what depends on one is not computed but listed (schema.py).
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded
from oxy_pg.migrate.source import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.migrate.source.schema import SourceTable

# Words that a parenthesis may follow in an expression without being called.
_NOT_CALLED = {
    "abort", "all", "and", "as", "between", "by", "case", "cast", "check", "collate", "current",
    "distinct", "else", "end", "escape", "exists", "filter", "from", "glob", "in", "is", "isnull",
    "like", "match", "not", "notnull", "null", "on", "or", "over", "raise", "regexp", "select",
    "then", "using", "values", "when", "where",
}  # fmt: skip


_HAS_EXPRESSIONS = re.compile(r"\b(?:AS|CHECK)\b", re.IGNORECASE)


def install(connection: sqlite3.Connection) -> None:
    """
    Let SQLite read every table of the schema, with any collations and functions.

    Raises sqlite3.Error.
    """
    for collation in _collations(connection):
        connection.create_collation(collation, _compare)
    for text in _texts(connection, "sql LIKE '%(%'"):
        for function in unknown_functions(*_expressions(text)):
            connection.create_function(function, -1, _unknown, deterministic=True)


def _compare(one: str, other: str) -> int:
    # As SQLite's BINARY: texts of one length after the other by their bytes.
    return (one > other) - (one < other)


def _unknown(*_: object) -> None:
    return None


def _texts(connection: sqlite3.Connection, condition: str) -> list[str]:
    before, connection.text_factory = connection.text_factory, _decoded
    try:
        query = "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND "
        return [row[0] for row in connection.execute(query + condition)]
    finally:
        connection.text_factory = before


def _decoded(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _collations(connection: sqlite3.Connection) -> set[str]:
    return {
        collation
        for text in _texts(connection, "sql LIKE '%collate%'")
        for collation in _named(tokens.tokenize(text))
        if is_unknown_collation(collation)
    }


def _named(found: list[tokens.Token]) -> Iterator[str]:
    for token, following in pairwise(found):
        if token.is_word("COLLATE"):
            yield following.value


def is_unknown_collation(name: str) -> bool:
    """Whether this SQLite has no such collation."""
    return folded(name) not in _built_in()[1]


def is_unknown_function(name: str) -> bool:
    """Whether this SQLite has no such function."""
    return folded(name) not in _built_in()[0]


def unknown_functions(*expressions: str) -> list[str]:
    """Return the functions that expressions call and this SQLite does not have."""
    functions, _ = _built_in()
    called = {folded(name): name for text in expressions for name in _called(tokens.tokenize(text))}
    return [name for key, name in sorted(called.items()) if key not in functions]


def _called(found: list[tokens.Token]) -> Iterator[str]:
    for position, token in enumerate(found):
        following = found[position + 1].text if position + 1 < len(found) else ""
        if token.is_word("REGEXP"):
            yield "regexp"
        elif following == "(" and (
            # A quoted word is never a keyword.
            token.kind == "name" or (token.kind == "word" and folded(token.text) not in _NOT_CALLED)
        ):
            yield token.value


def not_computable(table: SourceTable) -> dict[str, str]:
    """Return why the application alone can compute a virtual column, by its folded name."""
    texts = {
        folded(column.name): tokens.tokenize(column.generated)
        for column in table.columns
        if column.generated is not None and not column.stored
    }
    own = {
        folded(column.name): column.collation
        for column in table.columns
        if is_unknown_collation(column.collation)
    }
    reasons = {name: reason for name, text in texts.items() if (reason := _own(text, own))}
    # What is computed from a column that cannot be computed, cannot be either.
    waiting = list(reasons)
    while waiting:
        other = waiting.pop()
        for name, text in texts.items():
            if name not in reasons and any(folded(token.value) == other for token in text):
                reasons[name] = reasons[other]
                waiting.append(name)
    return reasons


# What may compare texts by a collation.
_COMPARING = {
    "=", "==", "<>", "!=", "<", ">", "<=", ">=", "between", "case", "in", "is", "max", "min",
    "nullif",
}  # fmt: skip


def _own(text: list[tokens.Token], collations: dict[str, str]) -> str:
    """Return what an expression needs of the application: a function, a collation, or ""."""
    functions = unknown_functions(tokens.join(text))
    if functions:
        return f"{functions[0]}() is a function of the application"
    named = [one.value for token, one in pairwise(text) if token.is_word("COLLATE")]
    if any(folded(token.text) in _COMPARING for token in text):
        named += [collations.get(folded(token.value), "BINARY") for token in text]
    unknown = [name for name in named if is_unknown_collation(name)]
    return f"{unknown[0].upper()} is a collation of the application" if unknown else ""


def _expressions(text: str) -> list[str]:
    """Return the expressions that SQLite may evaluate when it reads."""
    first = text.lstrip()[:30].upper().split()
    if "INDEX" in first[:3]:
        return [*tokens.index_terms(text), tokens.where_clause(text) or ""]
    if "VIRTUAL" in first[:2]:
        return []
    if not _HAS_EXPRESSIONS.search(text):
        return []
    table = tokens.parse_table(text)
    return [column.generated for column in table.columns.values() if column.generated] + [
        condition for _, condition in table.checks
    ]


@cache
def _built_in() -> tuple[frozenset[str], frozenset[str]]:
    """Return the functions and the collations of this SQLite, folded."""
    with closing(sqlite3.connect(":memory:")) as memory:
        functions = memory.execute("SELECT DISTINCT name FROM pragma_function_list")
        collations = memory.execute("SELECT DISTINCT name FROM pragma_collation_list")
        return (
            frozenset(folded(row[0]) for row in functions),
            frozenset(folded(row[0]) for row in collations),
        )
