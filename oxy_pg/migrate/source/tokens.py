"""
SQL text of SQLite, cut into tokens.

SQLite reports most of a schema through PRAGMAs, but CHECKs, generated columns,
collations and the predicates of partial indexes only as the text of the
statements. Syntax: https://www.sqlite.org/lang_createtable.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from oxy_pg.migrate.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<blob>[xX]'[0-9a-fA-F]*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*(?:\]|\Z))
    | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<operator>->>|->|\|\||<<|>>|<=|>=|<>|!=|==|.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One token; ``kind`` is blob, string, name (quoted), number, word or operator."""

    kind: str
    text: str

    @property
    def value(self) -> str:
        """The name or string without its quotes."""
        if self.kind not in {"name", "string"}:
            return self.text
        quote = self.text[-1]
        inner = self.text[1:-1]
        return inner if quote == "]" else inner.replace(quote * 2, quote)

    def is_word(self, *words: str) -> bool:
        """Whether this is one of these keywords, in any case."""
        return self.kind == "word" and self.text.upper() in words


def tokenize(text: str) -> list[Token]:
    """Cut SQL into tokens, without white space and comments."""
    return [
        Token(match.lastgroup or "", match.group())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "space"
    ]


def join(tokens: list[Token]) -> str:
    """Spell tokens as SQL again."""
    return " ".join(token.text for token in tokens)


def items(tokens: list[Token]) -> Iterator[list[Token]]:
    """Split at the commas that stand outside of parentheses."""
    depth = 0
    item: list[Token] = []
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            yield item
            item = []
        else:
            item.append(token)
    if item:
        yield item


def parenthesis(tokens: list[Token], start: int) -> tuple[list[Token], int]:
    """Return what stands inside the parenthesis that opens at ``start``, and where it ends."""
    depth = 0
    for position in range(start, len(tokens)):
        depth += (tokens[position].text == "(") - (tokens[position].text == ")")
        if depth == 0:
            return tokens[start + 1 : position], position
    return tokens[start + 1 :], len(tokens)


class Constraint(NamedTuple):
    """
    A constraint as it was written.

    ``kind`` is "PRIMARY KEY", "UNIQUE", "CHECK", "NOT NULL" or "FOREIGN KEY"; ``columns`` are those
    that it is on, ``expression`` is that of a CHECK, ``conflict`` what follows ON CONFLICT, and
    ``deferrable`` how PostgreSQL spells when a foreign key is checked.
    """

    kind: str
    name: str | None
    columns: tuple[str, ...]
    expression: str = ""
    conflict: str | None = None
    deferrable: str = ""


class ColumnText(NamedTuple):
    """What only the text says about a column."""

    collation: str
    generated: str | None


class TableText(NamedTuple):
    """What only the text of CREATE TABLE says."""

    columns: dict[str, ColumnText]  # by folded name
    constraints: tuple[Constraint, ...]
    autoincrement: bool

    @property
    def checks(self) -> tuple[tuple[str | None, str], ...]:
        """The names and expressions of the CHECKs."""
        return tuple((c.name, c.expression) for c in self.constraints if c.kind == "CHECK")


_TABLE_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


@lru_cache(maxsize=4096)  # it is read for the stand-ins first, and then for the schema
def parse_table(text: str) -> TableText:
    """Read the text of one CREATE TABLE statement."""
    tokens = tokenize(text)
    opening = next((i for i, token in enumerate(tokens) if token.text == "("), None)
    if opening is None:
        return TableText({}, (), autoincrement=False)
    body, _ = parenthesis(tokens, opening)
    columns: dict[str, ColumnText] = {}
    constraints: list[Constraint] = []
    for item in items(body):
        if not item:
            continue
        # Table constraints need no comma between them, and a quoted name is never a keyword.
        if item[0].is_word(*_TABLE_CONSTRAINTS):
            constraints.extend(_constraints(item, None))
        else:
            columns[folded(item[0].value)] = _column(item)
            constraints.extend(_constraints(item[1:], item[0].value))
    return TableText(
        columns,
        tuple(constraints),
        autoincrement=any(token.is_word("AUTOINCREMENT") for token in body),
    )


def _column(item: list[Token]) -> ColumnText:
    collation, generated = "BINARY", None
    position = 1
    while position < len(item):
        token = item[position]
        if token.text == "(":
            _, position = parenthesis(item, position)
        elif token.is_word("COLLATE") and position + 1 < len(item):
            collation = item[position + 1].value.upper()
            position += 1
        elif token.is_word("AS") and item[position + 1 : position + 2] == [Token("operator", "(")]:
            inner, position = parenthesis(item, position + 1)
            generated = join(inner)
        position += 1
    return ColumnText(collation, generated)


def _constraints(item: list[Token], column: str | None) -> Iterator[Constraint]:
    """Read the constraints of a column, or those that stand one after the other in a table."""
    found: list[Constraint] = []
    name: str | None = None
    position = 0
    while position < len(item):
        token, following = item[position], item[position + 1 : position + 2]
        if token.is_word("CONSTRAINT") and following:
            name = following[0].value
            position += 1
        elif kind := _kind(item, position, column):
            inner, end = _parenthesis_after(item, position, kind)
            own = (column,) if column is not None else _columns(inner)
            text = join(inner) if kind == "CHECK" else ""
            found.append(Constraint(kind, name, own if kind != "CHECK" else (), text))
            name = None
            position = end
        elif token.is_word("CONFLICT") and following and found:
            found[-1] = found[-1]._replace(conflict=following[0].text.upper())
        elif token.is_word("DEFERRABLE") and found and found[-1].kind == "FOREIGN KEY":
            found[-1] = found[-1]._replace(deferrable=_deferrable(item, position))
        elif token.text == "(":
            _, position = parenthesis(item, position)
        position += 1
    return iter(found)


_KINDS = (("PRIMARY", "KEY"), ("UNIQUE",), ("CHECK",), ("NOT", "NULL"), ("FOREIGN", "KEY"))


def _kind(item: list[Token], position: int, column: str | None) -> str:
    """Return which constraint begins here, or ""."""
    for words in _KINDS:
        found = item[position : position + len(words)]
        if len(found) == len(words) and all(map(Token.is_word, found, words)):
            return " ".join(words)
    return "FOREIGN KEY" if column is not None and item[position].is_word("REFERENCES") else ""


def _parenthesis_after(item: list[Token], position: int, kind: str) -> tuple[list[Token], int]:
    """Return what the parenthesis of a constraint holds, and where the constraint's words end."""
    last = position + kind.count(" ") * (not item[position].is_word("REFERENCES"))
    if item[last + 1 : last + 2] == [Token("operator", "(")]:
        return parenthesis(item, last + 1)
    return [], last


def _columns(inner: list[Token]) -> tuple[str, ...]:
    return tuple(item[0].value for item in items(inner) if item)


def _deferrable(item: list[Token], position: int) -> str:
    """Spell a clause for PostgreSQL. In SQLite, no word after NOT DEFERRABLE has a meaning."""
    if position and item[position - 1].is_word("NOT"):
        return ""
    words = [token.text.upper() for token in item[position + 1 : position + 3]]
    when = "DEFERRED" if words == ["INITIALLY", "DEFERRED"] else "IMMEDIATE"
    return f"DEFERRABLE INITIALLY {when}"


def where_clause(text: str) -> str | None:
    """Return the predicate of a CREATE INDEX statement, if it has one."""
    depth = 0
    tokens = tokenize(text)
    for position, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.is_word("WHERE"):
            return join(tokens[position + 1 :])
    return None


def index_terms(text: str) -> list[str]:
    """Return the terms of a CREATE INDEX statement, as they were written."""
    tokens = tokenize(text)
    # The table's name may be quoted and may hold anything, but a "(" token is never a name.
    opening = next((i for i, token in enumerate(tokens) if token.text == "("), None)
    if opening is None:
        return []
    body, _ = parenthesis(tokens, opening)
    return [join(_without_order(item)) for item in items(body)]


def _without_order(item: list[Token]) -> list[Token]:
    while item and item[-1].is_word("ASC", "DESC"):
        item = item[:-1]
    if len(item) > 2 and item[-2].is_word("COLLATE"):
        item = item[:-2]
    return item
