"""
SQLite's conditions and terms, as PostgreSQL means the same.

Read with SQLite's precedence (https://www.sqlite.org/lang_expr.html), written with parentheses.
Only what is certain is translated: comparisons of columns with what is of their own type,
arithmetic without division, and a few functions. Everything else raises Uncertain, and is skipped
with that reason. Texts are compared as their column's collation does it in SQLite.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.ddl.operands import (
    Term,
    arithmetic,
    compare,
    condition,
    family_of,
    known,
    number,
    pair,
    truth,
    uncertain,
)
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.source import tokens
from oxy_pg.migrate.target.spelling import ident, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oxy_pg.migrate.convert.kind import PgType


class Named(NamedTuple):
    """What a column's name means: its name in PostgreSQL, its type, its collation in SQLite."""

    name: str
    type: PgType
    collation: str


def translate(text: str, columns: Mapping[str, Named]) -> str:
    """
    Translate a term, or a condition that stands where any other value may.

    ``columns`` are by their folded names in SQLite. Raises Uncertain with the reason.
    """
    return known(_Parser(text, columns).parse()).sql


def translate_condition(text: str, columns: Mapping[str, Named]) -> str:
    """Translate the condition of a CHECK or an index, where a number is true unless it is 0."""
    return truth(_Parser(text, columns).parse()).sql


def translate_value(text: str, columns: Mapping[str, Named]) -> str:
    """Translate a term that is stored in a column of numbers, where what is true is 1."""
    term = number(_Parser(text, columns).parse())
    return term.sql


_COMPARED = {"=": "=", "==": "=", "<>": "<>", "!=": "<>"}
_ORDERED = {"<", "<=", ">", ">="}
# What SQLite's functions are in PostgreSQL, and what they take and give. lower() and upper() change
# the letters A to Z alone.
_FUNCTIONS = {
    "length": ("length({})", "text", "number"),
    "abs": ("abs({})", "number", "number"),
    "lower": ('lower({} COLLATE "C")', "text", "text"),
    "upper": ('upper({} COLLATE "C")', "text", "text"),
    "trim": ("btrim({})", "text", "text"),
    "ltrim": ("ltrim({})", "text", "text"),
    "rtrim": ("rtrim({})", "text", "text"),
}


class _Parser:
    def __init__(self, text: str, columns: Mapping[str, Named]) -> None:
        self._tokens = tokens.tokenize(text)
        self._columns = columns
        self._at = 0

    def parse(self) -> Term:
        term = self._or()
        if self._at < len(self._tokens):
            raise uncertain(self._tokens[self._at])
        return term

    # --- tokens ---------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> tokens.Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else tokens.Token("end", "")

    def _next(self) -> tokens.Token:
        token = self._peek()
        self._at += 1
        return token

    def _takes(self, *words: str) -> bool:
        """Take these words if they come next."""
        if all(self._is_word(number, word) for number, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def _is_word(self, ahead: int, word: str) -> bool:
        token = self._peek(ahead)
        return token.is_word(word) and folded(token.text) not in self._columns

    def _expect(self, text: str) -> None:
        if self._next().text != text:
            self._at -= 1
            raise uncertain(self._peek())

    # --- from the weakest operator to the strongest -------------------------------

    def _or(self) -> Term:
        return self._joined("OR", self._and)

    def _and(self) -> Term:
        return self._joined("AND", self._not)

    def _joined(self, word: str, part: Callable[[], Term]) -> Term:
        term = part()
        while self._takes(word):
            left, right = truth(term), truth(part())
            term = condition(f"{left.inner} {word} {right.inner}")
        return term

    def _not(self) -> Term:
        if self._takes("NOT"):
            return condition(f"NOT {truth(self._not()).inner}")
        return self._equal()

    def _equal(self) -> Term:
        term = self._order()
        while True:
            token = self._peek()
            if token.text in _COMPARED and token.kind == "operator":
                self._at += 1
                term = compare(term, _COMPARED[token.text], self._order())
            elif self._takes("IS"):
                term = self._is(term)
            elif self._takes("ISNULL"):
                term = condition(f"{term.inner} IS NULL")
            elif self._takes("NOTNULL") or self._takes("NOT", "NULL"):
                term = condition(f"{term.inner} IS NOT NULL")
            elif self._takes("IN"):
                term = self._in(term, "IN")
            elif self._takes("NOT", "IN"):
                term = self._in(term, "NOT IN")
            elif self._takes("BETWEEN"):
                term = self._between(term, "BETWEEN")
            elif self._takes("NOT", "BETWEEN"):
                term = self._between(term, "NOT BETWEEN")
            else:
                return term

    def _is(self, term: Term) -> Term:
        is_not = self._takes("NOT")
        if self._takes("DISTINCT", "FROM"):
            is_not = not is_not
        word = "IS NOT" if is_not else "IS"
        for spelled in ("NULL", "TRUE", "FALSE"):
            if self._takes(spelled):
                value = term if spelled == "NULL" else truth(term)
                return condition(f"{value.inner} {word} {spelled}")
        same = "IS DISTINCT FROM" if is_not else "IS NOT DISTINCT FROM"
        return compare(term, same, self._order())

    def _in(self, term: Term, word: str) -> Term:
        self._expect("(")
        items = [self._or()]
        while self._peek().text == ",":
            self._at += 1
            items.append(self._or())
        self._expect(")")
        pairs = [pair(term, item, ordered=False) for item in items]
        left = pairs[0][0]
        return condition(f"{left.inner} {word} ({', '.join(right.sql for _, right in pairs)})")

    def _between(self, term: Term, word: str) -> Term:
        least = self._order()
        if not self._takes("AND"):
            raise uncertain(self._peek())
        most = self._order()
        left, low = pair(term, least, ordered=True)
        _, high = pair(term, most, ordered=True)
        return condition(f"{left.inner} {word} {low.inner} AND {high.inner}")

    def _order(self) -> Term:
        term = self._sum()
        while self._peek().text in _ORDERED:
            operator = self._next().text
            left, right = pair(term, self._sum(), ordered=True)
            if left.family not in {"number", "text"}:
                raise Uncertain(f"{operator!r} may mean something else in PostgreSQL")
            term = condition(f"{left.inner} {operator} {right.inner}")
        return term

    def _sum(self) -> Term:
        term = self._product()
        while self._peek().text in {"+", "-"}:
            term = arithmetic(term, self._next().text, self._product())
        return term

    def _product(self) -> Term:
        term = self._unary()
        while self._peek().text == "*":
            term = arithmetic(term, self._next().text, self._unary())
        return term

    def _unary(self) -> Term:
        token = self._peek()
        if token.text in {"-", "+"} and token.kind == "operator":
            self._at += 1
            term = self._unary()
            if term.family == "1" and term.token is not None:
                signed = f"{token.text}{term.token.text}".lstrip("+")
                return Term(signed, "1", token=tokens.Token("number", signed))
            if term.family != "number" or token.text == "+":
                # "+x" takes a column its affinity.
                raise uncertain(token)
            return replace(term, sql=f"-{term.inner}", atom=False, type=None)
        term = self._primary()
        while self._takes("COLLATE"):
            collation = self._next().value.upper()
            if term.family not in {"text", "'"}:
                raise Uncertain("a collation of what is not a text")
            term = replace(term, collation=collation, explicit=True)
        return term

    def _primary(self) -> Term:
        token = self._next()
        following = self._peek().text
        if token.text == "(":
            term = self._or()
            self._expect(")")
            return term if term.atom else replace(term, sql=f"({term.sql})", atom=True)
        if token.kind in {"word", "name"}:
            return self._function(token) if following == "(" else self._name(token)
        if token.kind == "number":
            if token.text[:2].lower() == "0x":
                token = tokens.Token("number", str(int(token.text, 16)))
            return Term(token.text, "1", token=token)
        if token.kind == "string":
            return Term(token.text, "'", token=token)
        raise uncertain(token)

    def _name(self, token: tokens.Token) -> Term:
        named = self._columns.get(folded(token.value))
        if named is not None:
            return Term(ident(named.name), family_of(named.type), named.type, named.collation)
        if token.is_word("NULL"):
            return Term("NULL", "null")
        if token.is_word("TRUE", "FALSE"):
            return Term(token.text.upper(), "condition")
        if token.text.startswith('"'):
            # SQLite takes a name in double quotes that is no column for a text.
            string = literal(token.value)
            return Term(string, "'", token=tokens.Token("string", string))
        raise uncertain(token)

    def _function(self, token: tokens.Token) -> Term:
        name = folded(token.value)
        self._at += 1
        arguments = [self._or()]
        while self._peek().text == ",":
            self._at += 1
            arguments.append(self._or())
        self._expect(")")
        if name in {"coalesce", "ifnull"} and len(arguments) > 1:
            pairs = [pair(arguments[0], one, ordered=False, folds=False) for one in arguments[1:]]
            spelled = ", ".join([pairs[0][0].sql, *(right.sql for _, right in pairs)])
            return Term(f"coalesce({spelled})", pairs[0][0].family, pairs[0][0].type)
        if name not in _FUNCTIONS or len(arguments) != 1:
            raise uncertain(token)
        sql, takes, gives = _FUNCTIONS[name]
        if arguments[0].family != takes:
            raise Uncertain(f"{token.text}() of another type")
        kept = arguments[0].type if name in {"lower", "upper", "trim", "ltrim", "rtrim"} else None
        return Term(sql.format(arguments[0].sql), gives, kept)
