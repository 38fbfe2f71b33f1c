"""JSON (manual: 8.14, JSON Types): json keeps the text, jsonb what it means."""

from __future__ import annotations

import json
import re
from ast import literal_eval
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.migrate.convert.codec import QUOTED, Fast, Field
from oxy_pg.migrate.convert.kind import Kind
from oxy_pg.migrate.convert.kinds.numbers import digits
from oxy_pg.migrate.convert.loss import Loss
from oxy_pg.migrate.convert.options import NUL, UTF8
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import Facts, PgType
    from oxy_pg.migrate.convert.unfit import Value


class Json(Kind):
    """A document as it was written."""

    name = "json"
    declarations = "json json_text"
    is_ordered = False
    is_judged_by_postgres = True
    options = frozenset({*NUL, *UTF8})

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        if isinstance(value, bytes):
            raise Unfit(f"bytes, and the column is {type_}")
        # A column declared JSON has NUMERIC affinity: the document 5 is stored as a number.
        text = repr(value) if isinstance(value, float) else str(value)
        try:
            # Numbers stay texts: they may be longer than Python's own.
            json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        except RecursionError:
            pass  # PostgreSQL will say
        except ValueError as error:
            raise Unfit(f"not valid JSON: {error}") from error
        return text

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        return Fast("typeof({x}) = 'text'", QUOTED, Field("{x}")) if storage == "text" else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Jsonb(Json):
    """A document as it is meant: the order of keys, blanks and repeated keys are not kept."""

    name = "jsonb"
    declarations = "jsonb jsonb_text"
    is_ordered = True
    is_lossy = True
    family = "jsonb"

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        text = super().read(value, type_, option)
        if re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
            raise Unfit(r"jsonb cannot hold \u0000; --cast to json")
        return text

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        return None  # SQLite cannot see what jsonb does not hold

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        what = "with a repeated key, of which jsonb keeps the last"
        try:
            json.loads(str(value), parse_int=str, parse_float=str, object_pairs_hook=_single_keys)
        except RecursionError:
            return Loss(what) if _deep_meaning(str(value)).has_repeated_keys else None
        except _Repeated:
            return Loss(what, after=json.dumps(json.loads(str(value)), ensure_ascii=False))
        return None

    def key(self, text: str) -> str:
        try:
            return _meaning(text)
        except ArithmeticError as error:
            raise Unfit("a number too large to be compared") from error

    def canonical(self, text: str) -> object:
        return _meaning(text)


class _Repeated(Exception):
    """An object has a key twice."""


def _single_keys(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) < len(pairs):
        raise _Repeated


def _meaning(text: str) -> str:
    # Objects as sorted pairs in a tuple, arrays as lists, numbers by their value.
    try:
        return repr(
            json.loads(text, parse_int=digits, parse_float=digits, object_pairs_hook=_sorted_pairs)
        )
    except RecursionError:
        return _deep_meaning(text).spelled


_PART = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+)', re.DOTALL)


class _Deep(NamedTuple):
    """A document as _meaning() spells it, and whether an object in it has a key twice."""

    spelled: str
    has_repeated_keys: bool


def _deep_meaning(text: str) -> _Deep:
    """Read a document that is nested more deeply than Python's own reader can follow."""
    repeated = False
    waiting: list[list[str]] = [[]]  # what is open: the keys and values of objects in turn
    for part in _PART.findall(text):
        if part in {"[", "{"}:
            waiting.append([])
        elif part in {"]", "}"}:
            found = waiting.pop()
            if part == "]":
                spelled = f"[{', '.join(found)}]"
            else:
                pairs = dict(zip(found[::2], found[1::2], strict=True))
                repeated = repeated or 2 * len(pairs) < len(found)
                items = [f"({key}, {pairs[key]})" for key in sorted(pairs, key=literal_eval)]
                spelled = f"({', '.join(items)}{',' * (len(items) == 1)})"
            waiting[-1].append(spelled)
        elif part not in {",", ":"}:
            waiting[-1].append(repr(json.loads(part, parse_int=digits, parse_float=digits)))
    return _Deep(waiting[0][0], repeated)


def _sorted_pairs(pairs: list[tuple[str, object]]) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(dict(pairs).items(), key=itemgetter(0)))


JSON, JSONB = Json(), Jsonb()
KINDS: tuple[Kind, ...] = (JSON, JSONB)
