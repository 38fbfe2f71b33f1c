"""
SQLite expressions that mean the same in PostgreSQL.

Only what is certain is translated: comparisons of columns with literals of
their own type, arithmetic without division, and a few functions. Everything
else raises Uncertain, and is skipped with that reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.names import folded
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.unfit import Value

_WORDS = {"AND", "OR", "NOT", "IS", "NULL", "IN", "BETWEEN"}
_OPERATORS = {"=": "=", "==": "=", "<>": "<>", "!=": "<>", "(": "(", ")": ")", ",": ","}
_ORDERED = {"<", "<=", ">", ">=", "+", "-", "*"}
_FUNCTIONS = {"length": "text", "abs": "number"}  # and the family of what they take


class Uncertain(Exception):
    """The expression may mean something else in PostgreSQL."""


def translate(text: str, columns: Mapping[str, tuple[str, PgType]]) -> str:
    """
    Translate a condition or a term.

    ``columns`` maps folded SQLite names to PostgreSQL names and types.
    Raises Uncertain with the reason.
    """
    found = tokens.tokenize(text)
    used = [columns[folded(t.value)][1] for t in found if _is_column(t, columns)]
    kinds = {_family(type_) for type_ in used}
    if len(kinds) > 1 and any(t.text in _ORDERED or t.text in {"=", "=="} for t in found):
        # Columns of several types in one condition: each literal belongs to the nearest column.
        return _by_parts(found, columns)
    return " ".join(_spell(found, i, columns, used) for i in range(len(found)))


def _by_parts(found: list[tokens.Token], columns: Mapping[str, tuple[str, PgType]]) -> str:
    parts: list[str] = []
    start = 0
    for position, token in enumerate([*found, tokens.Token("word", "AND")]):
        if token.is_word("BETWEEN"):
            raise Uncertain("BETWEEN among columns of several types")
        if token.is_word("AND", "OR"):
            part = found[start:position]
            used = [columns[folded(t.value)][1] for t in part if _is_column(t, columns)]
            if len({_family(type_) for type_ in used}) > 1:
                raise Uncertain("it compares columns of different types")
            parts.append(" ".join(_spell(part, i, columns, used) for i in range(len(part))))
            if position < len(found):
                parts.append(token.text.upper())
            start = position + 1
    return " ".join(parts)


def _family(type_: PgType) -> str:
    kind = type_.kind
    return "number" if kind.is_number else "text" if kind.is_text else kind.name


def _is_column(token: tokens.Token, columns: Mapping[str, tuple[str, PgType]]) -> bool:
    return token.kind in {"word", "name"} and folded(token.value) in columns


def _spell(
    found: list[tokens.Token],
    position: int,
    columns: Mapping[str, tuple[str, PgType]],
    used: list[PgType],
) -> str:
    token = found[position]
    following = found[position + 1].text if position + 1 < len(found) else ""
    family = _family(used[0]) if used else ""
    if token.kind in {"number", "string"}:
        return _literal(token, used, measured=any(t.is_word("LENGTH") for t in found))
    if token.kind == "word" and following == "(" and token.text.lower() in _FUNCTIONS:
        if family not in {"number", "text"} or not _applies(token, used):
            raise Uncertain(f"{token.text}() of another type")
        return token.text.lower()
    if token.is_word(*_WORDS) and folded(token.value) not in columns:
        return token.text.upper()
    if token.is_word("TRUE", "FALSE") and used and used[0].kind.is_boolean:
        return token.text.upper()
    if _is_column(token, columns):
        return ident(columns[folded(token.value)][0])
    if token.text in _OPERATORS:
        return _OPERATORS[token.text]
    measured = any(t.is_word("LENGTH") for t in found)
    if token.text in _ORDERED and (family == "number" or (measured and family == "text")):
        return token.text
    raise Uncertain(f"{token.text!r} may mean something else in PostgreSQL")


def _applies(token: tokens.Token, used: list[PgType]) -> bool:
    return all(_family(type_) == _FUNCTIONS[token.text.lower()] for type_ in used)


def _literal(token: tokens.Token, used: list[PgType], *, measured: bool) -> str:
    if not used:
        return token.text
    type_ = used[0]
    if token.kind == "number":
        number = token.text if measured else type_.kind.number(token.text)
        if number is None:
            raise Uncertain(f"it compares {type_} with a number")
        return number
    if measured:
        raise Uncertain("it compares a length with a text")
    try:
        return literal(to_text(token.value, type_))
    except Unfit as error:
        raise Uncertain(f"{token.text} is {error}") from error


_CLOCKS = {
    "current_timestamp": "YYYY-MM-DD HH24:MI:SS",
    "datetime('now')": "YYYY-MM-DD HH24:MI:SS",
    "current_date": "YYYY-MM-DD",
    "date('now')": "YYYY-MM-DD",
    "current_time": "HH24:MI:SS",
    "time('now')": "HH24:MI:SS",
    "strftime('%y-%m-%d %h:%m:%s','now')": "YYYY-MM-DD HH24:MI:SS",
    "strftime('%y-%m-%d %h:%m:%f','now')": "YYYY-MM-DD HH24:MI:SS.MS",
    "strftime('%y-%m-%dt%h:%m:%fz','now')": 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"',
    "strftime('%y-%m-%dt%h:%m:%sz','now')": 'YYYY-MM-DD"T"HH24:MI:SS"Z"',
    "strftime('%y-%m-%d','now')": "YYYY-MM-DD",
}
_SECONDS = {
    "unixepoch()",
    "unixepoch('now')",
    "strftime('%s','now')",
    "cast(strftime('%s','now')asinteger)",
    "cast(strftime('%s','now')asint)",
}


def translate_default(text: str, type_: PgType) -> str:
    """Translate a column's default for its new type. Raises Uncertain."""
    found = tokens.tokenize(text)
    while found and found[0].text == "(" and tokens.parenthesis(found, 0)[1] == len(found) - 1:
        found = found[1:-1]
    plain = "".join(token.text for token in found)
    if plain.lower() in _SECONDS and "%S" not in plain:
        epoch = type_.kind.epoch()
        if epoch is None:
            raise Uncertain(f"seconds since 1970 in a column of type {type_}")
        return epoch
    if plain.lower() in _CLOCKS:
        # In a format, case matters: %M is the minute and %m the month.
        if "strftime" in plain.lower() and _FORMAT_CASE.search(plain):
            raise Uncertain("its time format has no counterpart")
        clock = type_.kind.clock(_CLOCKS[plain.lower()])
        if clock is None:
            raise Uncertain(f"a time in a column of type {type_}")
        return clock
    return _spell_constant(_constant(found), text, type_)


_FORMAT_CASE = re.compile(r"%y|-%M|%D|%h|:%m|%s|%F")


def _spell_constant(value: Value | None, text: str, type_: PgType) -> str:
    if value is None:
        return "NULL"
    try:
        spelled = to_text(value, type_)
    except Unfit as error:
        raise Uncertain(f"the default {text} does not fit: {error}") from error
    unquoted = type_.kind.unquoted(spelled)
    return literal(spelled) if unquoted is None else unquoted


def _constant(found: list[tokens.Token]) -> Value | None:
    sign = 1
    if len(found) == 2 and found[0].text in "+-":
        sign = -1 if found[0].text == "-" else 1
        found = found[1:]
    if len(found) != 1:
        raise Uncertain("it is an expression")
    token = found[0]
    if token.kind == "number":
        if token.text.lower().startswith("0x"):
            return sign * int(token.text, 16)
        return sign * (int(token.text) if token.text.isdigit() else float(token.text))
    if token.kind == "blob":
        return bytes.fromhex(token.text[2:-1])
    if token.is_word("NULL"):
        return None
    if token.is_word("TRUE", "FALSE"):
        return int(token.is_word("TRUE"))
    if token.kind in {"string", "name", "word"}:
        # SQLite takes a double-quoted or bare word in a default for a string.
        return token.value
    raise Uncertain("it is an expression")
