"""
The parts of a condition, and how two of them are compared so that both databases agree.

Literals become literals of the other side's type, and texts are compared as their column's
collation does it in SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.convert.values import to_text
from oxy_pg.migrate.names import folded
from oxy_pg.migrate.plan.expressions import Uncertain
from oxy_pg.migrate.target.spelling import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.source import tokens


@dataclass(frozen=True, slots=True)
class Term:
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


_FOLDS: dict[str, tuple[str, Callable[[str], str]]] = {
    # With the collation C, lower() folds the letters A to Z alone, exactly as NOCASE does.
    "NOCASE": ('lower({} COLLATE "C")', folded),
    "RTRIM": ("rtrim({})", lambda text: text.rstrip(" ")),
}


def uncertain(token: tokens.Token) -> Uncertain:
    """Return the error for a token that is not translated."""
    if token.kind == "end":
        return Uncertain("it is incomplete")
    return Uncertain(f"{token.text!r} may mean something else in PostgreSQL")


def family_of(type_: PgType) -> str:
    """Name the family of a column's type (Term.family)."""
    kind = type_.kind
    if kind.is_boolean:
        return "condition"
    return "number" if kind.is_number else "text" if kind.is_text else kind.name


def condition(sql: str) -> Term:
    """Return a term that is true or false."""
    return Term(sql, "condition", atom=False)


def truth(term: Term) -> Term:
    """Return a term as a condition: SQLite takes every number but 0 for true."""
    if term.family in {"condition", "null"}:
        return term
    if term.family == "number":
        return condition(f"{term.inner} <> 0")
    if term.sql in {"0", "1"}:
        return Term("TRUE" if term.sql == "1" else "FALSE", "condition")
    raise Uncertain("it takes a value for true or false that is neither")


def number(term: Term) -> Term:
    """Return a term as a number: what is true is 1 in SQLite."""
    if term.family == "condition":
        return Term(f"{term.inner}::int", "number")
    if term.family not in {"number", "1"}:
        raise Uncertain("it computes with what is not a number")
    return term


def known(term: Term) -> Term:
    """Return a term whose family is known: a literal that is compared with nothing is a text."""
    return replace(term, family="text" if term.family == "'" else term.family)


def arithmetic(left: Term, operator: str, right: Term) -> Term:
    """Return what PostgreSQL computes as SQLite does. Raises Uncertain."""
    one, other = number(left), number(right)
    family = "number" if "number" in {one.family, other.family} else "1"
    if family == "1":
        raise Uncertain("it computes with constants")
    type_ = one.type or other.type
    return Term(f"{one.inner} {operator} {other.inner}", family, type_, atom=False)


def compare(left: Term, operator: str, right: Term) -> Term:
    """Return the comparison of two terms. Raises Uncertain."""
    one, other = pair(left, right, ordered=False)
    return condition(f"{one.inner} {operator} {other.inner}")


def pair(left: Term, right: Term, *, ordered: bool, folds: bool = True) -> tuple[Term, Term]:
    """Return two terms that are compared, each spelled so that PostgreSQL compares them alike."""
    if left.family in {"1", "'"} and right.family not in {"1", "'"}:
        other, one = pair(right, left, ordered=ordered, folds=folds)
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


def _pair_of_conditions(left: Term, right: Term) -> tuple[Term, Term]:
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
        made = Term(spelled, "condition")
        return (left, made) if constant is right else (made, right)
    return number(left), number(right)


def _text_of(constant: Term, type_: PgType) -> str:
    value = constant.token.value if constant.token else ""
    try:
        return literal(to_text(value, type_))
    except Unfit as error:
        raise Uncertain(f"{constant.sql} is {error}") from error


def _spelled(term: Term, other: Term) -> Term:
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
        spelled = type_.kind.number(term.token.text)
        if spelled is None:
            raise Uncertain(f"it compares {type_} with a number")
        return Term(spelled, other.family, atom=not spelled.startswith("-"))
    return replace(term, sql=_text_of(term, type_), family=other.family)


def _collated(term: Term, collation: str, *, ordered: bool) -> Term:
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
