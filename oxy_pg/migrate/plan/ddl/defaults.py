"""
A column's default in SQLite, as the default of its new type.

Constants become constants. Of expressions, those are translated that mean the
same: the clock in every spelling, random numbers and bytes, text put together
of them, arithmetic. Everything else raises Uncertain, and is left behind with
that reason.
"""

from __future__ import annotations

import contextlib
import sqlite3
from fractions import Fraction
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.kind import UTC_NOW
from oxy_pg.migrate.convert.kinds.times import DATE, TIME
from oxy_pg.migrate.convert.kinds.uuids import UUID
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import loss, to_text
from oxy_pg.migrate.plan.ddl.terms import MOMENT, Parser, Term
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import literal

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.unfit import Value


def translate_default(text: str, type_: PgType, option: str | None = None) -> str:
    """
    Translate a column's default for its new type. Raises Uncertain.

    ``option`` says how the column's values are read: what its numbers count, for example.
    """
    found = tokens.tokenize(text)
    while found and found[0].text == "(" and tokens.parenthesis(found, 0)[1] == len(found) - 1:
        found = found[1:-1]
    if _is_constant(found):
        return _spell_constant(_constant(found), text, type_, option)
    term = Parser(found).parse()
    if term.constant is not None:
        return _spell_constant(term.constant, text, type_, option)
    spelled = _spell(term, type_)
    if type_.kind is UUID or (type_.kind.is_text and type_.size is not None):
        _refuse_unfit(text, type_)
    return spelled


def _refuse_unfit(text: str, type_: PgType) -> None:
    """
    Raise Uncertain where the values of an expression do not have the form of the type.

    All of them have the form of one: the parser knows its functions, and how long their
    results are.
    """
    try:
        with contextlib.closing(sqlite3.connect(":memory:")) as source:
            (value,) = source.execute(f"SELECT {text}").fetchone()
    except sqlite3.Error:
        return  # a function that this SQLite does not have yet
    if value is None:
        return
    try:
        found = to_text(value, type_)
    except Unfit as error:
        raise Uncertain(f"its values do not fit: {error}") from error
    if type_.size is not None and len(found) > type_.size:
        raise Uncertain(f"its values have {len(found)} characters, and the column is {type_}")


def _spell(term: Term, type_: PgType) -> str:
    """Spell a term as the default of a type."""
    kind = type_.kind
    found = None
    if kind.is_instant or kind is TIME:
        found = _moment(term, type_)
    elif kind is UUID:
        found = _uuid(term)
    elif kind.is_text:
        found = _text(term, type_)
    elif kind.is_number:
        found = _number(term, type_)
    elif kind.is_binary and term.storage == "blob":
        found = term.sql
    if found is None:
        raise Uncertain(f"{_NAMES[term.storage]} in a column of type {type_}")
    return found


def _uuid(term: Term) -> str | None:
    # Sixteen random bytes, as bytes or as digits.
    if term.random == 16 and (term.storage == "blob" or term.sql.startswith("encode(")):
        return "gen_random_uuid()"
    return f"({term.sql})::uuid" if term.storage == "text" and term.clock is None else None


def _text(term: Term, type_: PgType) -> str | None:
    if term.clock is not None:
        return _clock(term, type_)
    if term.storage == "integer":
        return f"({term.sql})::text"
    return term.sql if term.storage == "text" else None


_NAMES = {"text": "a text", "integer": "a number", "real": "a number", "blob": "bytes"}


def _number(term: Term, type_: PgType) -> str | None:
    whole = term.whole or (term.sql if term.storage == "integer" else None)
    if type_.kind.is_integer:
        if whole is None:
            raise Uncertain(f"a number with a fraction in a column of type {type_}")
        if term.random is not None and type_.sql != "bigint":
            raise Uncertain(f"a random number of 64 bits in a column of type {type_}")
        return whole
    if whole is not None:
        return whole
    return term.sql if term.storage == "real" else None


def _moment(term: Term, type_: PgType) -> str:
    if term.clock is not None:
        return _clock(term, type_)
    if term.epoch is not None and type_.kind.is_instant:
        # Which moment it counts to does not depend on what it counts.
        found = type_.kind.clock("YYYY-MM-DD" if type_.kind is DATE else MOMENT)
        if found is not None and term.epoch in _UNITS:
            return found
    raise Uncertain(f"it is not a time, and the column is {type_}")


_UNITS = {
    Fraction(1),
    Fraction(1000),
    Fraction(10**6),
    Fraction(10**9),
    Fraction(1, 86400),
    "julian",
}

# What a moment that is not simply the current one, in UTC, becomes.
_SHIFTED = {
    "timestamp": "{}",
    "timestamptz": "({} AT TIME ZONE 'UTC')",
    "date": "({})::date",
    "time": "({})::time(0)",
}


def _clock(term: Term, type_: PgType) -> str:
    assert term.clock is not None
    now, shape = term.clock
    found = type_.kind.clock(shape)
    if found is None:
        raise Uncertain(f"a time in a column of type {type_}")
    if now == UTC_NOW:
        return found
    if type_.kind.is_text:
        return found.replace(UTC_NOW, now)
    # A time without an offset is read as UTC, that of another zone as well: as the rows are.
    return _SHIFTED[type_.kind.name].format(now)


def _spell_constant(
    value: Value | None, text: str, type_: PgType, option: str | None = None
) -> str:
    if value is None:
        return "NULL"
    try:
        spelled = to_text(value, type_, option)
        lost = loss(value, type_, option) if type_.kind.is_lossy else None
    except Unfit as error:
        raise Uncertain(f"the default {text} does not fit: {error}") from error
    if lost is not None and not (lost.is_least or lost.is_noise):
        raise Uncertain(f"the default {text} would be {lost.what}")
    unquoted = type_.kind.unquoted(spelled)
    return literal(spelled) if unquoted is None else unquoted


_CLOCKS = ("CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME")


def _is_constant(found: list[tokens.Token]) -> bool:
    signed = len(found) == 2 and found[0].text in "+-" and found[1].kind == "number"
    return signed or (len(found) == 1 and not found[0].is_word(*_CLOCKS))


def _constant(found: list[tokens.Token]) -> Value | None:
    sign = -1 if found[0].text == "-" else 1
    token = found[-1]
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
