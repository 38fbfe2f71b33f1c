"""
The defaults of SQLite's columns, as PostgreSQL means the same.

Only what is certain is translated; everything else raises Uncertain, and is
skipped with that reason. Conditions are in conditions.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import literal

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.unfit import Value


class Uncertain(Exception):
    """The expression may mean something else in PostgreSQL."""


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
