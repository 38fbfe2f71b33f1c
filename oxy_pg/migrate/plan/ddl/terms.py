"""
Expressions of SQLite without columns: parsed, and spelled for PostgreSQL with what they are.

Syntax and functions: https://www.sqlite.org/lang_expr.html, lang_corefunc.html
and lang_datefunc.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from oxy_pg.migrate.convert.kind import UTC_NOW
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.source.tokens import Token
from oxy_pg.migrate.target.spelling import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.convert.unfit import Value

MOMENT = "YYYY-MM-DD HH24:MI:SS"


@dataclass(frozen=True, slots=True)
class Term:
    """
    A value as PostgreSQL computes it, and what is known about it.

    ``constant`` is the value of a literal. ``clock`` is the moment, in SQL, and
    the pattern for to_char() of a text that is a time. ``epoch`` is how many
    of what it counts make a second, for a number that counts time since 1970,
    or "julian". ``random`` counts random bytes. ``whole`` is the same number
    as a bigint, where it is spelled otherwise but whole. ``least`` is what an
    integer is never below.
    """

    storage: Literal["text", "integer", "real", "blob"]
    sql: str
    constant: Value | None = None
    clock: tuple[str, str] | None = None
    epoch: Fraction | Literal["julian"] | None = None
    random: int | None = None
    whole: str | None = None
    least: int | None = None


_SECONDS = "floor(extract(epoch FROM {now}))::bigint"
_FRACTIONS = "extract(epoch FROM {now})::double precision"
_JULIAN = "(extract(epoch FROM {now}) / 86400.0 + 2440587.5)::double precision"


class Parser:
    """Parses tokens; ``parse`` returns the term, or raises Uncertain."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def parse(self) -> Term:
        """Parse all tokens."""
        term = self._sum()
        if self._at < len(self._tokens):
            raise Uncertain("it is an expression")
        return term

    # --- tokens and operators ---

    def _next(self) -> Token:
        if self._at >= len(self._tokens):
            raise Uncertain("it is an expression")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, *texts: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at].text in texts:
            return self._next().text
        return None

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            raise Uncertain("it is an expression")

    def _sum(self) -> Term:
        left = self._product()
        while operator := self._take("+", "-"):
            left = _added(left, operator, self._product())
        return left

    def _product(self) -> Term:
        left = self._joined()
        while operator := self._take("*", "/", "%"):
            left = _multiplied(left, operator, self._joined())
        return left

    def _joined(self) -> Term:
        left = self._operand()
        while self._take("||"):
            right = self._operand()
            parts = [_as_text(part) for part in (left, right)]
            count = [part.random for part in (left, right) if part.random is not None]
            sql = " || ".join(part.sql for part in parts)
            left = Term("text", sql, random=sum(count) if count else None)
        return left

    def _operand(self) -> Term:
        token = self._next()
        if token.text == "(":
            inner = self._sum()
            self._expect(")")
            if inner.constant is not None or inner.sql.endswith(")"):
                return inner
            return replace(inner, sql=f"({inner.sql})")
        if token.text == "-" and self._tokens[self._at : self._at + 1]:
            number = self._next()
            if number.kind == "number":
                return _literal(Token("number", f"-{number.text}"))
        if token.kind in {"number", "string"} or (token.kind == "name" and token.text[0] == '"'):
            return _literal(token)
        if token.is_word("CAST"):
            return self._cast()
        if token.kind == "word" and self._take("("):
            return _call(token.text.lower(), self._arguments())
        if token.is_word(*_KEYWORDS):
            return Term("text", "", clock=(UTC_NOW, _KEYWORDS[token.text.upper()]))
        raise Uncertain("it is an expression")

    def _arguments(self) -> list[Term]:
        found: list[Term] = []
        if self._take(")"):
            return found
        while True:
            found.append(self._sum())
            if self._take(")"):
                return found
            self._expect(",")

    def _cast(self) -> Term:
        self._expect("(")
        inner = self._sum()
        if not self._next().is_word("AS"):
            raise Uncertain("it is an expression")
        to = self._next().text.upper()
        self._expect(")")
        if to in {"INTEGER", "INT", "BIGINT"}:
            number = _as_number(inner)
            sql = number.whole or (
                number.sql if number.storage == "integer" else f"trunc({number.sql})::bigint"
            )
            return replace(number, storage="integer", sql=sql, whole=None, constant=None)
        if to == "TEXT":
            return _as_text(inner)
        raise Uncertain(f"a CAST to {to}")


_KEYWORDS = {
    "CURRENT_TIMESTAMP": MOMENT,
    "CURRENT_DATE": "YYYY-MM-DD",
    "CURRENT_TIME": "HH24:MI:SS",
}


def _literal(token: Token) -> Term:
    if token.kind == "number":
        if re.fullmatch(r"-?\d+", token.text):
            number = int(token.text)
            return Term("integer", token.text, constant=number, least=number)
        return Term("real", token.text, constant=float(token.text))
    return Term("text", literal(token.value), constant=token.value)


def _as_text(term: Term) -> Term:
    if term.clock is not None:
        now, shape = term.clock
        return Term("text", f"to_char({now}, '{shape}')")
    if term.storage == "integer":
        return Term("text", f"({term.sql})::text", random=None)
    if term.storage != "text":
        raise Uncertain("a text of something else")
    return term


def _as_number(term: Term) -> Term:
    if term.storage in {"integer", "real"}:
        return term
    if term.whole is not None:  # the digits of a number
        return replace(term, storage="integer", sql=term.whole, whole=None)
    raise Uncertain("a number made of a text")


def _added(left: Term, operator: str, right: Term) -> Term:
    left, right = _as_number(left), _as_number(right)
    epoch: Fraction | None = None
    if left.epoch == "julian" and operator == "-" and right.constant == 2440587.5:
        epoch = Fraction(1, 86400)
    least = None
    if operator == "+" and left.least is not None and right.least is not None:
        least = left.least + right.least
    storage = _storage(left, right)
    sql = f"({left.sql} {operator} {right.sql})"
    return Term(storage, sql, epoch=epoch, random=_either(left, right), least=least)


def _multiplied(left: Term, operator: str, right: Term) -> Term:
    left, right = _as_number(left), _as_number(right)
    storage = _storage(left, right)
    factor = right.constant
    if operator != "*" and (not isinstance(factor, int | float) or not factor):
        raise Uncertain("a division by what may be 0")
    if operator == "%" and storage != "integer":
        raise Uncertain("a remainder of fractions")
    epoch: Fraction | None = None
    if isinstance(left.epoch, Fraction) and isinstance(factor, int | float):
        by = Fraction(factor)
        epoch = {"*": left.epoch * by, "/": left.epoch / by}.get(operator)
    least = 0 if operator == "%" and left.least is not None and left.least >= 0 else None
    sql = f"({left.sql} {operator} {right.sql})"
    return Term(storage, sql, epoch=epoch, random=_either(left, right), least=least)


def _storage(left: Term, right: Term) -> Literal["integer", "real"]:
    return "integer" if left.storage == right.storage == "integer" else "real"


def _either(left: Term, right: Term) -> int | None:
    return left.random if left.random is not None else right.random


# --- functions ---


def _call(name: str, arguments: list[Term]) -> Term:
    function = _FUNCTIONS.get(name)
    if function is None:
        raise Uncertain(f"the function {name}()")
    return function(arguments)


def _only(arguments: list[Term]) -> Term:
    if len(arguments) != 1:
        raise Uncertain("another number of arguments")
    return arguments[0]


def _bytes(count: int) -> str:
    """Random bytes: PostgreSQL's own strong ones are in its UUIDs, but for six bits."""
    seed = "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"
    blocks = " || ".join([f"sha256({seed})"] * -(-count // 32))
    return f"substring({blocks} FROM 1 FOR {count})"


def _randomblob(arguments: list[Term]) -> Term:
    count = _only(arguments).constant
    if not isinstance(count, int) or count > 1024:
        raise Uncertain("random bytes of a number that is not known")
    count = max(count, 1)
    return Term("blob", _bytes(count), random=count)


def _random(arguments: list[Term]) -> Term:
    if arguments:
        raise Uncertain("another number of arguments")
    digits = f"encode({_bytes(8)}, 'hex')"
    return Term("integer", f"('x' || {digits})::bit(64)::bigint", random=8)


def _hex(arguments: list[Term]) -> Term:
    of = _only(arguments)
    if of.storage != "blob":
        raise Uncertain("hex() of something else than bytes")
    return Term("text", f"upper(encode({of.sql}, 'hex'))", random=of.random)


def _folded(function: str) -> Callable[[list[Term]], Term]:
    def fold(arguments: list[Term]) -> Term:
        of = _as_text(_only(arguments))
        if isinstance(of.constant, str):
            if not of.constant.isascii():
                raise Uncertain(f"{function}() of letters beyond A to Z")
            return _literal(Token("string", literal(getattr(of.constant, function)())))
        if function == "lower" and (inner := re.fullmatch(r"upper\((encode\(.*\))\)", of.sql)):
            return replace(of, sql=inner[1])
        return replace(of, sql=f"{function}({of.sql})")

    return fold


def _abs(arguments: list[Term]) -> Term:
    of = _as_number(_only(arguments))
    return Term(of.storage, f"abs({of.sql})", random=of.random, least=0)


def _substr(arguments: list[Term]) -> Term:
    if len(arguments) not in {2, 3}:
        raise Uncertain("another number of arguments")
    text, start, *length = (arguments[0], *map(_as_number, arguments[1:]))
    # Positions before the first letter are counted from the end in SQLite.
    if (
        start.least is None
        or start.least < 1
        or any(n.least is None or n.least < 0 for n in length)
    ):
        raise Uncertain("substr() from a place that is not known")
    places = ", ".join(f"({number.sql})::int" for number in (start, *length))
    return Term("text", f"substr({_as_text(text).sql}, {places})", random=text.random)


def _json(constant: str) -> Callable[[list[Term]], Term]:
    def build(arguments: list[Term]) -> Term:
        if arguments:
            raise Uncertain("JSON that is computed")
        return _literal(Token("string", literal(constant)))

    return build


def _json_of(arguments: list[Term]) -> Term:
    of = _only(arguments)
    if not isinstance(of.constant, str):
        raise Uncertain("JSON that is computed")
    return of


# --- times ---

_SHIFT = re.compile(r"([+-]?)(\d+(?:\.\d+)?) (day|hour|minute|second)s?")
_START = re.compile(r"start of (day|month|year)")


def _now(arguments: list[Term]) -> tuple[str, bool]:
    """Return the moment that a time value and its modifiers mean; and whether ``subsec`` is on."""
    words = [argument.constant for argument in arguments] or ["now"]
    if words[0] in {"subsec", "subsecond"}:
        words.insert(0, "now")
    if not isinstance(words[0], str) or words[0].lower() != "now":
        raise Uncertain("a time that is not the current one")
    modifiers = [word.lower() if isinstance(word, str) else "" for word in words[1:]]
    fine = [word for word in modifiers if word in {"subsec", "subsecond"}]
    now = UTC_NOW
    for word in modifiers:
        if word not in fine:
            now = _modified(now, word)
    return now, bool(fine)


def _modified(now: str, modifier: str) -> str:
    if modifier == "utc" and now == UTC_NOW:
        return now
    if modifier == "localtime" and now == UTC_NOW:
        return "LOCALTIMESTAMP"
    if shift := _SHIFT.fullmatch(modifier):
        return f"({now} {shift[1] or '+'} interval '{shift[2]} {shift[3]}')"
    if start := _START.fullmatch(modifier):
        return f"date_trunc('{start[1]}', {now})"
    raise Uncertain(f"the modifier {modifier!r} of a time")


def _timed(shape: str) -> Callable[[list[Term]], Term]:
    def clock(arguments: list[Term]) -> Term:
        now, subsec = _now(arguments)
        return Term("text", "", clock=(now, shape.replace("SS", "SS.MS") if subsec else shape))

    return clock


def _instant(now: str) -> str:
    """Spell a moment for extract(): as an instant where it is the current one."""
    return "CURRENT_TIMESTAMP" if now == UTC_NOW else now


def _unixepoch(arguments: list[Term]) -> Term:
    now, subsec = _now(arguments)
    epoch = Fraction(1) if now == UTC_NOW else None
    if subsec:
        return Term("real", _FRACTIONS.format(now=_instant(now)), epoch=epoch)
    return Term("integer", _SECONDS.format(now=_instant(now)), epoch=epoch)


def _julianday(arguments: list[Term]) -> Term:
    now, _ = _now(arguments)
    return Term(
        "real", _JULIAN.format(now=_instant(now)), epoch="julian" if now == UTC_NOW else None
    )


_PATTERNS = {
    "Y": "YYYY",
    "m": "MM",
    "d": "DD",
    "H": "HH24",
    "M": "MI",
    "S": "SS",
    "f": "SS.MS",
    "j": "DDD",
    "F": "YYYY-MM-DD",
    "T": "HH24:MI:SS",
    "R": "HH24:MI",
    "I": "HH12",
    "p": "AM",
}


def _strftime(arguments: list[Term]) -> Term:
    shape = arguments[0].constant if arguments else None
    if not isinstance(shape, str):
        raise Uncertain("a time format that is not known")
    if shape == "%s":
        seconds = _unixepoch(arguments[1:])
        return replace(_as_text(seconds), whole=seconds.sql, epoch=seconds.epoch)
    now, _ = _now(arguments[1:])
    return Term("text", "", clock=(now, pattern(shape)))


def pattern(shape: str) -> str:
    """Turn a format of strftime() into one of to_char()."""
    parts: list[str] = []
    for code, other in re.findall(r"%(.)|([^%]+)", shape):
        if code:
            if code not in _PATTERNS:
                raise Uncertain("its time format has no counterpart")
            parts.append(_PATTERNS[code])
            continue
        for word, rest in re.findall(r"([\w\"'\\]+)|([^\w\"'\\]+)", other):
            if set(word) & {'"', "'", "\\"}:
                raise Uncertain("its time format has no counterpart")
            parts.append(f'"{word}"' if word else rest)
    return "".join(parts)


_FUNCTIONS: dict[str, Callable[[list[Term]], Term]] = {
    "randomblob": _randomblob,
    "random": _random,
    "hex": _hex,
    "lower": _folded("lower"),
    "upper": _folded("upper"),
    "abs": _abs,
    "substr": _substr,
    "substring": _substr,
    "json_array": _json("[]"),
    "json_object": _json("{}"),
    "json": _json_of,
    "datetime": _timed(MOMENT),
    "date": _timed("YYYY-MM-DD"),
    "time": _timed("HH24:MI:SS"),
    "strftime": _strftime,
    "unixepoch": _unixepoch,
    "julianday": _julianday,
}
