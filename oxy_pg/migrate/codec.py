"""
The fast way: lines of COPY that SQLite itself makes out of a column.

A Fast has two SQL templates: ``fits`` says which values it turns into exactly
what values.to_text() would give, ``text`` turns them. Every other value goes
through values.to_text(), so the fast way never decides what is right.

The format is PostgreSQL's CSV (manual: COPY, File Formats), because it has a
single character to escape, and that one can be chosen so that texts hardly
ever contain it: tabs between fields, nothing at all for NULL, and around
texts a control character as the quote, doubled inside. A record never begins
with a bare backslash and a dot, which would end the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oxy_pg.migrate.types import Cast, Facts, PgType


@dataclass(frozen=True, slots=True)
class Fast:
    """SQL templates with ``{x}`` for the column."""

    fits: str
    text: str


# A literal: char(1) would be called for every row.
QUOTE = "\x01"
# Looking for one character with GLOB is several times as fast as replace() or instr().
_QUOTED = (
    f"'{QUOTE}' || CASE WHEN {{x}} GLOB '*{QUOTE}*' "
    f"THEN replace({{x}}, '{QUOTE}', '{QUOTE * 2}') ELSE {{x}} END || '{QUOTE}'"
)
# SQLite takes a time with a line break after it, and so does PostgreSQL.
_TIME_TEXT = f"'{QUOTE}' || {{x}} || '{QUOTE}'"
_DATE = "[0-9][0-9][0-9][0-9]-[0-1][0-9]-[0-3][0-9]"
_CLOCK = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
# GLOB checks where the separators are, julianday() what is between and after them. A day that the
# month does not have passes both, and PostgreSQL refuses it.
TIME = "????-??-??[T ]??:??:??"
_TIME = f"typeof({{x}}) = 'text' AND {{x}} GLOB '{TIME}*' AND julianday({{x}}) NOTNULL"
# On the first and the last day, an offset may lead to years that Python does not have.
_TIME += " AND {x} BETWEEN '0001-01-02' AND '9999-12-31'"
_HEX = "typeof({x}) = 'text' AND length({x}) = 36 AND {x} NOT GLOB '*[^-0-9a-fA-F]*'"
_HEX += " AND {x} GLOB '????????-????-????-????-????????????'"
_HEX += " AND length(replace({x}, '-', '')) = 32"

# By the kind of the target's type and the storage class of the value.
_FAST: dict[tuple[str, str], Fast] = {
    ("bigint", "integer"): Fast("typeof({x}) = 'integer'", "{x}"),
    ("integer", "integer"): Fast(
        "typeof({x}) = 'integer' AND {x} BETWEEN -2147483648 AND 2147483647", "{x}"
    ),
    ("smallint", "integer"): Fast(
        "typeof({x}) = 'integer' AND {x} BETWEEN -32768 AND 32767", "{x}"
    ),
    # SQLite prints 15 digits of a double; only repr() gives back the same one (oxy_repr is it).
    ("double", "real"): Fast("typeof({x}) = 'real'", "oxy_repr({x})"),
    ("boolean", "integer"): Fast("typeof({x}) = 'integer' AND {x} BETWEEN 0 AND 1", "{x}"),
    ("text", "text"): Fast("typeof({x}) = 'text'", _QUOTED),
    ("json", "text"): Fast("typeof({x}) = 'text'", _QUOTED),
    ("bytea", "blob"): Fast(
        "typeof({x}) = 'blob' AND length({x}) < 500000000", r"'\x' || hex({x})"
    ),
    ("uuid", "blob"): Fast("typeof({x}) = 'blob' AND length({x}) = 16", "hex({x})"),
    ("uuid", "text"): Fast(_HEX, "{x}"),
    ("timestamptz", "text"): Fast(_TIME, _TIME_TEXT),
    ("timestamp", "text"): Fast(_TIME + " AND substr({x}, 20) NOT GLOB '*[-+Z]*'", _TIME_TEXT),
    ("date", "text"): Fast(f"typeof({{x}}) = 'text' AND {{x}} GLOB '{_DATE}'", "{x}"),
    ("time", "text"): Fast(f"typeof({{x}}) = 'text' AND {{x}} GLOB '{_CLOCK}'", "{x}"),
}


def fast(type_: PgType, facts: Facts, cast: Cast | None, encoding: str = "UTF-8") -> Fast | None:
    """Choose the fast way for a column whose values are mostly of one storage class."""
    found = _fast(type_, facts, cast)
    if found is not None and found.text == _QUOTED and encoding != "UTF-8":
        # PostgreSQL looks at every byte of UTF-8; SQLite never looked at UTF-16.
        sound = "NOT oxy_is_broken(CAST({x} AS BLOB))"
        return Fast(f"{found.fits} AND {sound}", found.text)
    return found


def _fast(type_: PgType, facts: Facts, cast: Cast | None) -> Fast | None:
    if cast is not None and cast.option is not None:
        return None
    classes = {
        "integer": facts.integers,
        "real": facts.reals,
        "text": facts.texts,
        "blob": facts.blobs,
    }
    main = max(classes, key=lambda name: classes[name])
    if type_.kind == "varchar" and main == "text":
        if type_.size is None:
            return _FAST["text", "text"]
        return Fast(f"typeof({{x}}) = 'text' AND length({{x}}) <= {type_.size}", _QUOTED)
    if type_.kind == "numeric" and type_.size is None and main == "integer":
        return _FAST["bigint", "integer"]
    if type_.kind in {"timestamp", "timestamptz", "time"} and type_.size is not None:
        return None
    return _FAST.get((type_.kind, main))


def quote(text: str) -> str:
    """Spell a field for COPY, whatever is in it."""
    return f"{QUOTE}{text.replace(QUOTE, QUOTE * 2)}{QUOTE}"
