r"""
Text that came from elsewhere, safe for a terminal, a log and a page.

A name, a value or a message of a server may hold characters that a terminal
obeys: they clear the screen, set its title, or let a line look like another.
They are shown as Python spells them (``\x1b``) instead.
"""

from __future__ import annotations

# C0 and C1 controls (ECMA-48), the separators that end a line for some programs, and what changes
# the direction of text (Unicode Standard Annex 9). A line's end and a tab are layout.
_CONTROLS = (
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),
)
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}
_IN_JSON = {code: f"\\u{code:04x}" for code in _CONTROLS}


def printable(text: str) -> str:
    """Return the text with every control character escaped, except line ends and tabs."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def json_text(text: str) -> str:
    """Return JSON, which stays the same JSON, with every control character escaped."""
    return text.translate(_IN_JSON)


def many(count: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
