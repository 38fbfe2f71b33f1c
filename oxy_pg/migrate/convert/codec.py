"""
The fast way: what COPY takes, made out of a column by SQLite itself.

A Fast has SQL templates: ``fits`` says which values it turns into exactly
what values.to_text() would give, ``text`` and ``field`` turn them. Every other
value goes through values.to_text(), so the fast way never decides what is right.

``text`` is for PostgreSQL's CSV (manual: COPY, File Formats), because it has a
single character to escape, and that one can be chosen so that texts hardly
ever contain it: tabs between fields, nothing at all for NULL, and around
texts a control character as the quote, doubled inside. A record never begins
with a bare backslash and a dot, which would end the data.

``field`` is for the binary format (same page), which PostgreSQL reads in a
third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.types import Cast, Facts, PgType


@dataclass(frozen=True, slots=True)
class Field:
    """
    A field of the binary format: SQL, with ``{x}`` for the column, and what it gives.

    ``code`` is struct's for a number or for bytes of one length; None for text and bytes.
    """

    sql: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Fast:
    """SQL templates with ``{x}`` for the column; without a ``field``, it goes as text only."""

    fits: str
    text: str
    field: Field | None = None


# A literal: char(1) would be called for every row.
QUOTE = "\x01"
# Looking for one character with GLOB is several times as fast as replace() or instr().
_QUOTED = (
    f"'{QUOTE}' || CASE WHEN {{x}} GLOB '*{QUOTE}*' "
    f"THEN replace({{x}}, '{QUOTE}', '{QUOTE * 2}') ELSE {{x}} END || '{QUOTE}'"
)
# SQLite takes a time with a line break after it, and so does PostgreSQL.
_TIME_TEXT = f"'{QUOTE}' || {{x}} || '{QUOTE}'"
_CLOCK = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
# GLOB checks where the separators are, julianday() what is between and after them, all but three
# things: it knows the year 0, an hour after 24:00, and takes 30 February for 2 March. Most times
# can be seen to be none of these at once. Nothing may stand after a NUL, which SQLite's functions
# take for the end, and a fraction has 15 digits at most. Texts come before blobs, which takes less
# time to see than typeof(); numbers do not look like a time. A substr() of every value would need
# memory each time, and the threads of the survey would queue for it.
TIME = "????-??-??[T ]??:??:??"
_TIME = (
    "({x} < x'' AND julianday({x}) > 1721427 AND {octets} < 36 AND {octets} = length({x}) "
    "AND ({x} GLOB '????-??-[0-2][0-8][T ][01]?:??:??*' "
    "OR {x} GLOB '????-??-[0-2][0-8][T ]2[0-3]:??:??*' "
    f"OR {{x}} GLOB '{TIME}*' AND substr({{x}}, 12, 2) < '24' "
    # What is rounded up on the last day leads to a year that Python does not have.
    "AND {x} < '9999-12-31' COLLATE BINARY "
    # The modifier makes older versions compute the day again, instead of repeating what they read.
    "AND (substr({x}, 9, 2) < '29' OR date(substr({x}, 1, 10), '+0 days') = substr({x}, 1, 10))"
    ")) IS TRUE"
)
# Microseconds since 2000. A Julian day is a double of some 40 µs, and SQLite's are of whole
# milliseconds: seconds are exact once the fraction is taken off, which is added as it is written.
_SECONDS = "CAST((julianday({x}) - 1721059.5) * 86400.0 - {fraction} + 0.5 AS INTEGER)"
_WHOLE = _SECONDS.replace("{fraction}", "0")
_FRACTION = "CAST(substr({x}, 20, 7) AS REAL)"
# The seventh digit rounds. A five with nothing after it is rounded as PostgreSQL does it, whose
# fraction is a double: half to even, unless the double is on one side of the half.
_HALF = "(10 * CAST(substr({x}, 21, 6) AS INTEGER) + 5)"
_MICROS = f"{_HALF} / 10000000.0 * 1000000"
_ROUND_UP = (
    "CASE WHEN substr({x}, 27, 1) NOT BETWEEN '5' AND '9' "
    "OR {x} NOT GLOB '????????????????????[0-9][0-9][0-9][0-9][0-9][0-9]*' THEN 0 "
    "WHEN substr({x}, 27, 1) > '5' OR ltrim(substr({x}, 28), '0') GLOB '[1-9]*' THEN 1 "
    f"ELSE {_MICROS} > {_HALF} / 10.0 OR {_MICROS} = {_HALF} / 10.0 AND {_HALF} / 10 & 1 END"
)
# Most fractions are far from the next second, to which SQLite may round them, and from half a
# microsecond: the seconds are what they are without them.
_PLAIN = "substr({x}, 20, 5) BETWEEN '.' AND '.9994' AND substr({x}, 27, 1) <> '5'"
_INSTANT = (
    f"CASE WHEN {_PLAIN} "
    "THEN CAST((julianday({x}) - 1721059.5) * 86400.0 + 0.0002 AS INTEGER) * 1000000 "
    "+ CAST(CAST(substr({x}, 20, 10) AS REAL) * 1000000 + 0.5 AS INTEGER) "
    f"WHEN substr({{x}}, 20, 1) = '.' "
    f"THEN {_SECONDS.replace('{fraction}', _FRACTION)} * 1000000 "
    f"+ CAST({_FRACTION} * 1000000 + 0.5 AS INTEGER) + {_ROUND_UP} "
    f"ELSE {_WHOLE} * 1000000 END - 63113904000000000"
)
_INSTANT_FIELD = Field(_INSTANT, "q")

_HEX = "typeof({x}) = 'text' AND length({x}) = 36 AND {x} NOT GLOB '*[^-0-9a-fA-F]*'"
_HEX += " AND {x} GLOB '????????-????-????-????-????????????'"
_HEX += " AND length(replace({x}, '-', '')) = 32 AND instr({x}, char(0)) = 0"
_UNHEX = "oxy_unhex(replace({x}, '-', ''))"

# By the kind of the target's type and the storage class of the value.
_FAST: dict[tuple[str, str], Fast] = {
    ("bigint", "integer"): Fast("typeof({x}) = 'integer'", "{x}", Field("{x}", "q")),
    ("integer", "integer"): Fast(
        "typeof({x}) = 'integer' AND {x} BETWEEN -2147483648 AND 2147483647",
        "{x}",
        Field("{x}", "i"),
    ),
    ("smallint", "integer"): Fast(
        "typeof({x}) = 'integer' AND {x} BETWEEN -32768 AND 32767", "{x}", Field("{x}", "h")
    ),
    # SQLite prints 15 digits of a double; only repr() gives back the same one (oxy_repr is it).
    ("double", "real"): Fast("typeof({x}) = 'real'", "oxy_repr({x})", Field("{x}", "d")),
    ("boolean", "integer"): Fast(
        "typeof({x}) = 'integer' AND {x} BETWEEN 0 AND 1", "{x}", Field("{x}", "?")
    ),
    ("text", "text"): Fast("typeof({x}) = 'text'", _QUOTED, Field("{x}")),
    ("json", "text"): Fast("typeof({x}) = 'text'", _QUOTED, Field("{x}")),
    ("bytea", "blob"): Fast(
        "typeof({x}) = 'blob' AND length({x}) < 500000000", r"'\x' || hex({x})", Field("{x}")
    ),
    ("uuid", "blob"): Fast(
        "typeof({x}) = 'blob' AND length({x}) = 16", "hex({x})", Field("{x}", "16s")
    ),
    ("uuid", "text"): Fast(_HEX, "{x}", Field(_UNHEX, "16s")),
    ("timestamptz", "text"): Fast(_TIME, _TIME_TEXT, _INSTANT_FIELD),
    ("timestamp", "text"): Fast(
        _TIME + " AND substr({x}, 20) NOT GLOB '*[-+Z]*'", _TIME_TEXT, _INSTANT_FIELD
    ),
    ("date", "text"): Fast(
        "typeof({x}) = 'text' AND date({x}, '+0 days') IS {x} COLLATE BINARY "
        "AND {x} NOT GLOB '0000*'",
        "{x}",
        Field("CAST(julianday({x}) - 2451544.5 AS INTEGER)", "i"),
    ),
    ("time", "text"): Fast(f"typeof({{x}}) = 'text' AND {{x}} GLOB '{_CLOCK}'", "{x}"),
}


def fast(type_: PgType, facts: Facts, cast: Cast | None, encoding: str = "UTF-8") -> Fast | None:
    """Choose the fast way for a column whose values are mostly of one storage class."""
    found = _fast(type_, facts, cast)
    if found is None:
        return None
    octets = "length(CAST({x} AS BLOB))" if encoding == "UTF-8" else "length(CAST({x} AS BLOB)) / 2"
    found = replace(found, fits=found.fits.replace("{octets}", octets))
    if found.text == _QUOTED and encoding != "UTF-8":
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
        return Fast(
            f"typeof({{x}}) = 'text' AND length({{x}}) <= {type_.size}", _QUOTED, Field("{x}")
        )
    if type_.kind == "numeric" and type_.size is None and main == "integer":
        return replace(_FAST["bigint", "integer"], field=None)
    if type_.kind in {"timestamp", "timestamptz", "time"} and type_.size is not None:
        return None
    return _FAST.get((type_.kind, main))


def quote(text: str) -> str:
    """Spell a field for COPY, whatever is in it."""
    return f"{QUOTE}{text.replace(QUOTE, QUOTE * 2)}{QUOTE}"
