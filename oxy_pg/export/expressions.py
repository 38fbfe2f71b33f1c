"""
PostgreSQL's expressions in SQLite's words, where they mean the same there.

Read token by token, as ``pg_get_expr`` spells them. What is not known here is
not translated: the caller leaves it out, and says so.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)
    | (?P<word>[A-Z][A-Z_]*)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<cast>::)
    | (?P<sign>[-+*/%=<>!|]+|[(),\[\]])
    """,
    re.VERBOSE,
)
_WORDS = frozenset(
    {
        "COALESCE",
        "NULLIF",
        "AND",
        "OR",
        "NOT",
        "IS",
        "NULL",
        "IN",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
    }
)
_ORDERS = frozenset({"<", "<=", ">", ">="})
_COMPUTES = frozenset({"+", "-", "*", "/", "%", "||"})
_SIGNS = _ORDERS | _COMPUTES | frozenset({"=", "<>", "!=", "(", ")", ","})
# Those that give the same, for the values that both have.
_FUNCTIONS = frozenset({"abs", "length"})
# A cast to one of these changes nothing that SQLite would see: of a text, or a constant number.
_TEXTS = re.compile(r"(?:text|character varying|character|bpchar)(?![a-z\[(])")
_NUMBERS = re.compile(r"(?:integer|bigint|smallint|numeric|double precision|real)(?![a-z\[(])")
_ANY = re.compile(r"(=|<>)\s*(ANY|ALL)\s*\(\s*\(?ARRAY\[")
_END = re.compile(r"\](?:\)?::[a-z ]+\[\])?\)+?")
_BYTES = re.compile(r"'\\x((?:[0-9a-f]{2})*)'::bytea\Z")
_CONSTANT = re.compile(r"('(?:[^']|'')*')(?:::[^':]+)?\Z")
_NUMBER = re.compile(r"\(?('?)(-?\d+(?:\.\d+)?)\1\)?(?:::[a-z ]+)?\Z")
_NOW = re.compile(
    r"(?:now\(\)|CURRENT_TIMESTAMP|\(?(?:CURRENT_TIMESTAMP|now\(\)) AT TIME ZONE 'UTC'::text\)?)\Z"
)


def quoted(name: str) -> str:
    """Spell a name for SQLite."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Spell a text for SQLite."""
    return "'" + text.replace("'", "''") + "'"


def default(expression: str, *, is_boolean: bool, is_binary: bool) -> str | None:
    """Return what SQLite has as DEFAULT for a default of PostgreSQL; None: nothing."""
    if is_boolean:
        return {"true": "1", "false": "0"}.get(expression)
    if is_binary:
        match = _BYTES.match(expression)
        return f"x'{match[1]}'" if match else None
    if match := _NUMBER.match(expression):
        return match[2] if not match[1] else literal(match[2])
    if match := _CONSTANT.match(expression):
        # With an E before it there would be a backslash to unescape, and it would not match.
        return match[1]
    if _NOW.match(expression):
        return "CURRENT_TIMESTAMP"
    return {"CURRENT_DATE": "CURRENT_DATE", "true": "1", "false": "0"}.get(expression)


def condition(expression: str, columns: Mapping[str, str]) -> str | None:
    """
    Return an expression about these columns in SQLite's words; None where that is not known.

    ``columns`` are what each one's values compare with (columns.compared()).
    """
    expression = _with_lists(expression)
    kinds = {quoted(name): kind for name, kind in columns.items()}
    written: list[str] = []
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            return None
        at, kind, text = match.end(), match.lastgroup, match[0]
        if kind == "cast":
            cast = _TEXTS.match(expression, at) or _NUMBERS.match(expression, at)
            if cast is None:
                return None
            if cast.re is _NUMBERS:
                number = _number(written, cast[0])
                if number is None:
                    return None
                written.append(number)
            elif not _is_text(written, cast[0], kinds):
                return None
            at = cast.end()
            continue
        word = _word(kind, text, columns, is_call=expression[at:].lstrip()[:1] == "(")
        if word is None:
            return None
        written.append(word)
    is_same = _compares([word for word in written if not word.isspace()], kinds)
    return "".join(written) if is_same and _is_valid("".join(written), columns) else None


def _is_valid(expression: str, columns: Mapping[str, str]) -> bool:
    """Whether SQLite takes it: what we do not foresee is left out, and does not stop an export."""
    with contextlib.closing(sqlite3.connect(":memory:")) as lite:
        try:
            lite.execute(
                f"CREATE TABLE t ({', '.join(map(quoted, columns))}, CHECK ({expression}))"
            )
        except sqlite3.Error:
            return False
    return True


def _compares(words: Sequence[str], kinds: Mapping[str, str]) -> bool:
    """Tell whether SQLite compares what stands there as PostgreSQL does."""
    found = {
        kinds[word]
        for word, after in zip(words, (*words[1:], ""), strict=True)
        if word in kinds and not (after == "IS" and kinds[word] != "nothing")
    }
    others = found - {"number", "text"}
    if found & {"", "nothing"} or len(others) > 1 or (others and _COMPUTES & set(words)):
        return False
    if "%" in words and any(re.fullmatch(r"-?\d+\.\d+", word) for word in words):
        return False  # SQLite takes the remainder of whole numbers alone
    # Texts are equal on both sides, but each has its own order.
    return not any(
        word in _ORDERS and _begins_text(words[place + 1 :], kinds, is_likely="text" in found)
        for place, word in enumerate(words)
    )


def _begins_text(words: Sequence[str], kinds: Mapping[str, str], *, is_likely: bool) -> bool:
    first = next((word for word in words if word != "("), "")
    if first in {"COALESCE", "NULLIF", "CASE"}:
        return is_likely
    return first.startswith("'") or kinds.get(first) == "text"


def _is_text(written: Sequence[str], cast: str, kinds: Mapping[str, str]) -> bool:
    """Tell whether what was written last is a text, to which the cast does nothing."""
    end = "".join(written[-3:] if written[-1:] == [")"] else written[-1:])
    last = end[1:-1] if end.startswith("(") else end
    # Spaces at the end do not count in a character(n).
    is_padded = cast in {"character", "bpchar"}
    if last.startswith("'"):
        return not (last.endswith(" '") and is_padded)
    return last == "NULL" or (kinds.get(last) == "text" and not is_padded)


def _number(written: list[str], cast: str) -> str | None:
    """Take back the constant that was written last, a number; None: it was something else."""
    end = written[-3:] if written[-1:] == [")"] else written[-1:]
    if len(end) == 3 and end[0] != "(":
        return None  # the end of a longer expression
    text = "".join(end).removeprefix("(").removesuffix(")").strip("'")
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return None
    is_whole = "." not in text
    if cast in {"integer", "bigint", "smallint"}:
        if not is_whole:
            return None  # PostgreSQL rounds it
    elif is_whole:
        text += ".0"  # or SQLite would divide it as a whole number
    del written[-len(end) :]
    return text


def _word(kind: str | None, text: str, columns: Mapping[str, str], *, is_call: bool) -> str | None:
    if kind == "word":
        return text if text in _WORDS else None
    if kind == "name":
        if is_call:
            return text if text in _FUNCTIONS else None
        if text in {"true", "false"}:
            return "1" if text == "true" else "0"
        name = text[1:-1].replace('""', '"') if text.startswith('"') else text
        return quoted(name) if name in columns else None
    # Brackets are of arrays, but for those that _with_lists() has taken away.
    return None if kind == "sign" and text not in _SIGNS else text


def _with_lists(expression: str) -> str:
    """Write ``x = ANY (ARRAY[…])`` as ``x IN (…)``, and ``<> ALL`` as ``NOT IN``."""
    while match := _ANY.search(expression):
        end = _closing(expression, match.end())
        rest = None if end is None else _END.match(expression, end)
        if {"=": "ANY", "<>": "ALL"}[match[1]] != match[2] or rest is None:
            break
        after = expression[rest.end() :]
        for _ in range(match[0].count("(") - rest[0].count(")")):
            after = after.removeprefix(")")
        word = "IN" if match[1] == "=" else "NOT IN"
        items = expression[match.end() : end]
        expression = f"{expression[: match.start()]}{word} ({items}){after}"
    return expression


def _closing(expression: str, at: int) -> int | None:
    """Return where the bracket closes that was opened before ``at``."""
    depth, in_text = 1, False
    for number in range(at, len(expression)):
        sign = expression[number]
        if sign == "'":
            in_text = not in_text
        elif not in_text and sign in "[]":
            depth += 1 if sign == "[" else -1
            if not depth:
                return number
    return None
