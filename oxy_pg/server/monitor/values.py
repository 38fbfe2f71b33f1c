"""
JSON read and written with what the json module is made of, in C.

To import json, with the regular expressions that it needs, takes a third of the
time that Python takes to start.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def from_json(text: str) -> Any:
    """Return what a JSON text says, as ``json.loads()`` does."""
    if "json" not in sys.modules:
        try:
            from _json import make_scanner

            value, end = make_scanner(_JSON)(text, 0)  # type: ignore[arg-type]
        except (ImportError, TypeError, AttributeError, StopIteration):
            pass  # another Python; or it begins with a space, or is no JSON
        else:
            if not text[end:].strip():
                return value
    import json

    return json.loads(text)


class _JSON:
    """What the scanner of CPython's json module is told."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float


def to_json(value: object, indent: str = "\n") -> str:
    """Return plain values as ``json.dumps(…, indent=2)`` does, without importing json."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        pairs = (f"{_quoted(name)}: {to_json(one, inner)}" for name, one in value.items())
        return f"{{{inner}{f',{inner}'.join(pairs)}{indent}}}"
    if isinstance(value, (list, tuple)) and value:
        return f"[{inner}{f',{inner}'.join(to_json(one, inner) for one in value)}{indent}]"
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    return "{}" if isinstance(value, dict) else "[]"


def _quoted(text: str) -> str:
    try:
        from _json import encode_basestring_ascii as quoted
    except ImportError:  # not CPython
        from json.encoder import encode_basestring_ascii as quoted
    return quoted(text)
