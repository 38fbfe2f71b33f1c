"""A query's text as it may be shown: on one line, harmless to a terminal, without secrets."""

from __future__ import annotations

HIDDEN = "<insufficient privilege>"  # PostgreSQL's own words for what our role may not see

_SPEAKS_OF_SECRETS = (
    r"(?i)passw|passphrase|secret|credential|crypt|hmac|jwt|bearer|(?:api|private|access)_?key"
    r"|(?<![a-z])token(?![a-z])|://[^\s/'\":]*:[^\s/'\"]*@"
)
_QUOTE = r"'|\$(?:[^\W\d]\w*)?\$"


def shown(query: str) -> str:
    """
    Return a query's text as it may be shown.

    One that speaks of a password, or of anything like it, ends at its first quoted value: what
    comes after cannot be told apart for certain, for PostgreSQL cuts long texts off.
    """
    import re  # where there is a query to show: see plain.py

    text = printable(" ".join(query.split()))
    if re.search(_SPEAKS_OF_SECRETS, text) and (quote := re.search(_QUOTE, text)):
        return f"{text[: quote.start()]}***"
    return text


def printable(text: str) -> str:
    """Replace what a terminal would obey instead of showing it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
