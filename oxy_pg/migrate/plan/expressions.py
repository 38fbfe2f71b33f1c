"""
SQLite expressions that mean the same in PostgreSQL.

Only what is certain is translated: comparisons of columns with literals of
their own type, arithmetic without division, and a few functions. Everything
else raises Uncertain, and is skipped with that reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.names import folded
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oxy_pg.migrate.convert.kind import PgType

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
    # A name in double quotes that names nothing is a string (https://www.sqlite.org/quirks.html).
    quoted = token.kind == "name" and token.text[0] == '"' and not _is_column(token, columns)
    if quoted or token.kind in {"number", "string"}:
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
        return literal(token.value) if token.kind == "name" else token.text
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
