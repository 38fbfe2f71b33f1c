"""
SQLite's conditions and terms, as PostgreSQL means the same.

Read with SQLite's precedence (https://www.sqlite.org/lang_expr.html), written with parentheses.
Only what is certain is translated: comparisons of columns with what is of their own type,
arithmetic without division, and a few functions. Everything else raises Uncertain, and is skipped
with that reason. Texts are compared as their column's collation does it in SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.names import folded
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


@dataclass(frozen=True, slots=True)
class _Term:
    """
    A part of an expression.

    ``family`` is "condition", "number", "text", "null", the name of another
    kind, or "1" and "'" for a literal that has not found its type yet.
    """

    sql: str
    family: str
    type: PgType | None = None
    collation: str | None = None  # of a column, in SQLite
    token: tokens.Token | None = None
    atom: bool = True
    explicit: bool = False  # whether COLLATE says so, and not the column

    @property
    def inner(self) -> str:
        """Its SQL as a part of another expression."""
        return self.sql if self.atom else f"({self.sql})"


def translate(text: str, columns: Mapping[str, Named]) -> str:
    """
    Translate a term, or a condition that stands where any other value may.

    ``columns`` are by their folded names in SQLite. Raises Uncertain with the reason.
    """
    return _known(_Parser(text, columns).parse()).sql


def translate_condition(text: str, columns: Mapping[str, Named]) -> str:
    """Translate the condition of a CHECK or an index, where a number is true unless it is 0."""
    return _truth(_Parser(text, columns).parse()).sql


def translate_value(text: str, columns: Mapping[str, Named]) -> str:
    """Translate a term that is stored in a column of numbers, where what is true is 1."""
    term = _number(_Parser(text, columns).parse())
    return term.sql


_COMPARED = {"=": "=", "==": "=", "<>": "<>", "!=": "<>"}
_ORDERED = {"<", "<=", ">", ">="}
_FOLDS: dict[str, tuple[str, Callable[[str], str]]] = {
    # With the collation C, lower() folds the letters A to Z alone, exactly as NOCASE does.
    "NOCASE": ('lower({} COLLATE "C")', folded),
    "RTRIM": ("rtrim({})", lambda text: text.rstrip(" ")),
}
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

    def parse(self) -> _Term:
        term = self._or()
        if self._at < len(self._tokens):
            raise _uncertain(self._tokens[self._at])
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
            raise _uncertain(self._peek())

    # --- from the weakest operator to the strongest -------------------------------

    def _or(self) -> _Term:
        return self._joined("OR", self._and)

    def _and(self) -> _Term:
        return self._joined("AND", self._not)

    def _joined(self, word: str, part: Callable[[], _Term]) -> _Term:
        term = part()
        while self._takes(word):
            left, right = _truth(term), _truth(part())
            term = _condition(f"{left.inner} {word} {right.inner}")
        return term

    def _not(self) -> _Term:
        if self._takes("NOT"):
            return _condition(f"NOT {_truth(self._not()).inner}")
        return self._equal()

    def _equal(self) -> _Term:
        term = self._order()
        while True:
            token = self._peek()
            if token.text in _COMPARED and token.kind == "operator":
                self._at += 1
                term = _compare(term, _COMPARED[token.text], self._order())
            elif self._takes("IS"):
                term = self._is(term)
            elif self._takes("ISNULL"):
                term = _condition(f"{term.inner} IS NULL")
            elif self._takes("NOTNULL") or self._takes("NOT", "NULL"):
                term = _condition(f"{term.inner} IS NOT NULL")
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

    def _is(self, term: _Term) -> _Term:
        is_not = self._takes("NOT")
        if self._takes("DISTINCT", "FROM"):
            is_not = not is_not
        word = "IS NOT" if is_not else "IS"
        for spelled in ("NULL", "TRUE", "FALSE"):
            if self._takes(spelled):
                value = term if spelled == "NULL" else _truth(term)
                return _condition(f"{value.inner} {word} {spelled}")
        same = "IS DISTINCT FROM" if is_not else "IS NOT DISTINCT FROM"
        return _compare(term, same, self._order())

    def _in(self, term: _Term, word: str) -> _Term:
        self._expect("(")
        items = [self._or()]
        while self._peek().text == ",":
            self._at += 1
            items.append(self._or())
        self._expect(")")
        pairs = [_pair(term, item, ordered=False) for item in items]
        left = pairs[0][0]
        return _condition(f"{left.inner} {word} ({', '.join(right.sql for _, right in pairs)})")

    def _between(self, term: _Term, word: str) -> _Term:
        least = self._order()
        if not self._takes("AND"):
            raise _uncertain(self._peek())
        most = self._order()
        left, low = _pair(term, least, ordered=True)
        _, high = _pair(term, most, ordered=True)
        return _condition(f"{left.inner} {word} {low.inner} AND {high.inner}")

    def _order(self) -> _Term:
        term = self._sum()
        while self._peek().text in _ORDERED:
            operator = self._next().text
            left, right = _pair(term, self._sum(), ordered=True)
            if left.family not in {"number", "text"}:
                raise Uncertain(f"{operator!r} may mean something else in PostgreSQL")
            term = _condition(f"{left.inner} {operator} {right.inner}")
        return term

    def _sum(self) -> _Term:
        term = self._product()
        while self._peek().text in {"+", "-"}:
            term = _arithmetic(term, self._next().text, self._product())
        return term

    def _product(self) -> _Term:
        term = self._unary()
        while self._peek().text == "*":
            term = _arithmetic(term, self._next().text, self._unary())
        return term

    def _unary(self) -> _Term:
        token = self._peek()
        if token.text in {"-", "+"} and token.kind == "operator":
            self._at += 1
            term = self._unary()
            if term.family == "1" and term.token is not None:
                number = f"{token.text}{term.token.text}".lstrip("+")
                return _Term(number, "1", token=tokens.Token("number", number))
            if term.family != "number" or token.text == "+":
                # "+x" takes a column its affinity.
                raise _uncertain(token)
            return replace(term, sql=f"-{term.inner}", atom=False, type=None)
        term = self._primary()
        while self._takes("COLLATE"):
            collation = self._next().value.upper()
            if term.family not in {"text", "'"}:
                raise Uncertain("a collation of what is not a text")
            term = replace(term, collation=collation, explicit=True)
        return term

    def _primary(self) -> _Term:
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
            return _Term(token.text, "1", token=token)
        if token.kind == "string":
            return _Term(token.text, "'", token=token)
        raise _uncertain(token)

    def _name(self, token: tokens.Token) -> _Term:
        named = self._columns.get(folded(token.value))
        if named is not None:
            return _Term(ident(named.name), _family(named.type), named.type, named.collation)
        if token.is_word("NULL"):
            return _Term("NULL", "null")
        if token.is_word("TRUE", "FALSE"):
            return _Term(token.text.upper(), "condition")
        if token.text.startswith('"'):
            # SQLite takes a name in double quotes that is no column for a text.
            string = literal(token.value)
            return _Term(string, "'", token=tokens.Token("string", string))
        raise _uncertain(token)

    def _function(self, token: tokens.Token) -> _Term:
        name = folded(token.value)
        self._at += 1
        arguments = [self._or()]
        while self._peek().text == ",":
            self._at += 1
            arguments.append(self._or())
        self._expect(")")
        if name in {"coalesce", "ifnull"} and len(arguments) > 1:
            pairs = [_pair(arguments[0], one, ordered=False, folds=False) for one in arguments[1:]]
            spelled = ", ".join([pairs[0][0].sql, *(right.sql for _, right in pairs)])
            return _Term(f"coalesce({spelled})", pairs[0][0].family, pairs[0][0].type)
        if name not in _FUNCTIONS or len(arguments) != 1:
            raise _uncertain(token)
        sql, takes, gives = _FUNCTIONS[name]
        if arguments[0].family != takes:
            raise Uncertain(f"{token.text}() of another type")
        kept = arguments[0].type if name in {"lower", "upper", "trim", "ltrim", "rtrim"} else None
        return _Term(sql.format(arguments[0].sql), gives, kept)


def _uncertain(token: tokens.Token) -> Uncertain:
    if token.kind == "end":
        return Uncertain("it is incomplete")
    return Uncertain(f"{token.text!r} may mean something else in PostgreSQL")


def _family(type_: PgType) -> str:
    kind = type_.kind
    if kind.is_boolean:
        return "condition"
    return "number" if kind.is_number else "text" if kind.is_text else kind.name


def _condition(sql: str) -> _Term:
    return _Term(sql, "condition", atom=False)


def _truth(term: _Term) -> _Term:
    """Return a term as a condition: SQLite takes every number but 0 for true."""
    if term.family in {"condition", "null"}:
        return term
    if term.family == "number":
        return _condition(f"{term.inner} <> 0")
    if term.sql in {"0", "1"}:
        return _Term("TRUE" if term.sql == "1" else "FALSE", "condition")
    raise Uncertain("it takes a value for true or false that is neither")


def _number(term: _Term) -> _Term:
    """Return a term as a number: what is true is 1 in SQLite."""
    if term.family == "condition":
        return _Term(f"{term.inner}::int", "number")
    if term.family not in {"number", "1"}:
        raise Uncertain("it computes with what is not a number")
    return term


def _known(term: _Term) -> _Term:
    return replace(term, family="text" if term.family == "'" else term.family)


def _arithmetic(left: _Term, operator: str, right: _Term) -> _Term:
    one, other = _number(left), _number(right)
    family = "number" if "number" in {one.family, other.family} else "1"
    if family == "1":
        raise Uncertain("it computes with constants")
    type_ = one.type or other.type
    return _Term(f"{one.inner} {operator} {other.inner}", family, type_, atom=False)


def _compare(left: _Term, operator: str, right: _Term) -> _Term:
    one, other = _pair(left, right, ordered=False)
    return _condition(f"{one.inner} {operator} {other.inner}")


def _pair(left: _Term, right: _Term, *, ordered: bool, folds: bool = True) -> tuple[_Term, _Term]:
    """Return two terms that are compared, each spelled so that PostgreSQL compares them alike."""
    if left.family in {"1", "'"} and right.family not in {"1", "'"}:
        other, one = _pair(right, left, ordered=ordered, folds=folds)
        return one, other
    if "null" in {left.family, right.family}:
        return left, right
    if "condition" in {left.family, right.family}:
        return _pair_of_conditions(left, right)
    one, other = left, _spelled(right, left)
    if one.type is not None and not one.type.kind.is_ordered:
        raise Uncertain(f"{one.type} cannot be compared")
    if one.family != other.family:
        raise Uncertain("it compares columns of different types")
    if one.family == "text" and folds:
        first = other if other.explicit and not one.explicit else one
        collation = first.collation or one.collation or other.collation or "BINARY"
        one = _collated(one, collation, ordered=ordered)
        other = _collated(other, collation, ordered=ordered)
    return one, other


def _pair_of_conditions(left: _Term, right: _Term) -> tuple[_Term, _Term]:
    if left.family == right.family:
        return left, right
    column = left.type or right.type
    constant = right if left.family == "condition" else left
    if column is not None and constant.token is not None:
        # A boolean column, and 0 or 1 or a text that means one of them.
        type_ = (left if left.type else right).type
        if type_ is not None and constant.token.kind == "number":
            spelled = type_.kind.number(constant.token.text)
            if spelled is None:
                raise Uncertain(f"it compares {type_} with a number")
        else:
            spelled = _text_of(constant, column)
        made = _Term(spelled, "condition")
        return (left, made) if constant is right else (made, right)
    return _number(left), _number(right)


def _text_of(constant: _Term, type_: PgType) -> str:
    value = constant.token.value if constant.token else ""
    try:
        return literal(to_text(value, type_))
    except Unfit as error:
        raise Uncertain(f"{constant.sql} is {error}") from error


def _spelled(term: _Term, other: _Term) -> _Term:
    """Spell a literal as one of the other's type."""
    if term.family not in {"1", "'"} or term.token is None:
        return term
    if other.family in {"1", "'"}:
        if term.family != other.family:
            raise Uncertain("it compares a number with a text")
        return term
    type_ = other.type
    if type_ is None:
        # The result of a function, or of arithmetic.
        if (term.family == "1") != (other.family == "number"):
            raise Uncertain("it compares a number with a text")
        return replace(term, family=other.family)
    if term.family == "1":
        number = type_.kind.number(term.token.text)
        if number is None:
            raise Uncertain(f"it compares {type_} with a number")
        return _Term(number, other.family, atom=not number.startswith("-"))
    return replace(term, sql=_text_of(term, type_), family=other.family)


def _collated(term: _Term, collation: str, *, ordered: bool) -> _Term:
    """Return a text as SQLite compares it."""
    if collation == "BINARY":
        is_plain = not ordered or term.token is not None
        return term if is_plain else replace(term, sql=f'{term.inner} COLLATE "C"', atom=False)
    if collation not in _FOLDS:
        raise Uncertain(f"it compares with the collation {collation}")
    sql, fold = _FOLDS[collation]
    if term.token is not None:
        return replace(term, sql=literal(fold(term.token.value)))
    if ordered and collation != "NOCASE":
        sql += ' COLLATE "C"'
    return replace(term, sql=sql.format(term.inner), atom=not sql.endswith('"C"'))
