"""A query's text as it may be shown: on one line, harmless to a terminal, without secrets."""

from __future__ import annotations

import re

HIDDEN = "<insufficient privilege>"  # PostgreSQL's own words for what our role may not see

_SECRET = re.compile(
    r"passw|passphrase|secret|credential|crypt|hmac|jwt|bearer|(?:api|private|access)_?key"
    r"|(?<![a-z])token(?![a-z])|://[^\s/'\":]*:[^\s/'\"]*@",
    re.IGNORECASE,
)
_QUOTE = re.compile(r"'|\$(?:[^\W\d]\w*)?\$")


def shown(query: str) -> str:
    """
    Return a query's text as it may be shown.

    One that speaks of a password, or of anything like it, ends at its first quoted value: what
    comes after cannot be told apart for certain, for PostgreSQL cuts long texts off.
    """
    text = printable(" ".join(query.split()))
    if _SECRET.search(text) and (quote := _QUOTE.search(text)):
        return f"{text[: quote.start()]}***"
    return text


def printable(text: str) -> str:
    """Replace what a terminal would obey instead of showing it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
