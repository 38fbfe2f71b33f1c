"""
Which texts mean the same value: two keys, or what was sent and what arrived.

PostgreSQL spells most values in one way only; numbers, documents and times it does not.
"""

from __future__ import annotations

import json
from datetime import date, time
from operator import itemgetter
from typing import TYPE_CHECKING
from uuid import UUID

from oxy_pg.migrate.convert.numbers import digits, single
from oxy_pg.migrate.convert.times import spelled_instant
from oxy_pg.migrate.convert.unfit import Unfit, Value
from oxy_pg.migrate.convert.values import to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.convert.types import PgType

_NUMBERS = frozenset({"smallint", "integer", "bigint", "real", "double", "numeric"})
_FAMILIES = {
    **dict.fromkeys(_NUMBERS, "number"),
    **dict.fromkeys(("text", "varchar", "char"), "text"),
    **{kind: kind for kind in ("bytea", "boolean", "date", "time", "timestamp", "timestamptz")},
    "uuid": "uuid",
    "jsonb": "jsonb",
}


def family(type_: PgType) -> str | None:
    """Name the types among which key_text() compares; None where PostgreSQL alone can."""
    return _FAMILIES.get(type_.kind)


def key_text(value: Value, type_: PgType, option: str | None = None) -> str:
    """Return a text that is the same for values that are equal in PostgreSQL. Raises Unfit."""
    text = to_text(value, type_, option)
    if type_.kind == "jsonb":
        try:
            return _document(text)
        except (RecursionError, ArithmeticError) as error:
            raise Unfit("too deep, or too great, to be compared") from error
    if type_.kind == "real":
        return str(digits(repr(single(float(text)))))
    if type_.kind == "char":
        return text.rstrip(" ")
    return str(digits(text)) if type_.kind in _NUMBERS else text


def _document(text: str) -> str:
    # Objects as sorted pairs in a tuple, arrays as lists, numbers by their value.
    return repr(
        json.loads(text, parse_int=digits, parse_float=digits, object_pairs_hook=_sorted_pairs)
    )


def _sorted_pairs(pairs: list[tuple[str, object]]) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(dict(pairs).items(), key=itemgetter(0)))


def canonical(text: str, type_: PgType) -> object:
    """
    Turn what PostgreSQL reads or writes into something that is equal where the values are the same.

    Its repr() is too. 0.0 and -0.0 are not the same.
    """
    reader = _CANONICAL.get(type_.kind)
    return text if reader is None else reader(text)


_CANONICAL: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), int),
    "double": lambda text: float(text).hex(),
    "real": lambda text: single(float(text)).hex(),
    "numeric": lambda text: str(digits(text)),
    "boolean": lambda text: text[0] in "t1",
    "uuid": UUID,
    "timestamp": spelled_instant,
    "timestamptz": spelled_instant,
    "date": lambda text: date.fromisoformat(text) if len(text) == 10 else text,
    "time": lambda text: text if text.startswith("24") else time.fromisoformat(text),
    "char": lambda text: text.rstrip(" "),
    "jsonb": _document,
}
