"""
The fast way: SQLite itself turns a column into what COPY takes.

A Fast has SQL templates: ``fits`` says which values it turns into exactly
what Kind.read() would give, ``text`` and ``field`` turn them. Every other
value goes through read(), so the fast way never decides what is right.

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


@dataclass(frozen=True, slots=True)
class Field:
    """
    A field of the binary format: SQL, with ``{x}`` for the column, and what it gives.

    ``code`` is struct's for a number or for bytes of one length; None for text and bytes,
    of which ``size`` is the number of bytes.
    """

    sql: str
    code: str | None = None
    size: str = "length(CAST({x} AS BLOB))"


@dataclass(frozen=True, slots=True)
class Fast:
    """
    SQL templates with ``{x}`` for the column; without a ``field``, it goes as text only.

    ``{octets}`` in ``fits`` stands for the number of the text's characters in
    the encoding of the file. ``is_exact`` where it takes no value that is rounded.
    """

    fits: str
    text: str
    field: Field | None = None
    is_exact: bool = False


# A literal: char(1) would be called for every row.
QUOTE = "\x01"
# Looking for one character with GLOB is several times as fast as replace() or instr().
QUOTED = (
    f"'{QUOTE}' || CASE WHEN {{x}} GLOB '*{QUOTE}*' "
    f"THEN replace({{x}}, '{QUOTE}', '{QUOTE * 2}') ELSE {{x}} END || '{QUOTE}'"
)


def in_encoding(fast: Fast, encoding: str) -> Fast:
    """Return what it is in a file whose texts are encoded so."""
    octets = "length(CAST({x} AS BLOB))" if encoding == "UTF-8" else "length(CAST({x} AS BLOB)) / 2"
    found = replace(fast, fits=fast.fits.replace("{octets}", octets))
    if found.text == QUOTED and encoding != "UTF-8":
        # PostgreSQL looks at every byte of UTF-8; SQLite never looked at UTF-16.
        sound = "NOT oxy_is_broken(CAST({x} AS BLOB))"
        return Fast(f"{found.fits} AND {sound}", found.text)
    return found


def quote(text: str) -> str:
    """Spell a field for COPY that may hold any character."""
    return f"{QUOTE}{text.replace(QUOTE, QUOTE * 2)}{QUOTE}"
