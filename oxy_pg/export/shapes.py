"""
The form in which a SQLite file has a column's values, read off a sample of them.

What a sample does not show keeps the form of ``columns.py``.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from oxy_pg.export.columns import Form, form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oxy_pg.export.catalog import Column

    Value = int | float | str | bytes

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.(\d+))?( ?(?:UTC|Z|\+00(?::?00)?)?)\Z"
)
# Greater numbers count smaller units: what 1e11 seconds are is the year 5138.
_UNITS = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (1e20, 1_000_000_000))
_WORDS = (("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("on", "off"))
_HEX = re.compile(r"[0-9a-fA-F]{32}\Z")
# What NUMERIC and INTEGER columns have made a whole number of.
_AS_DOUBLE = "CASE typeof({x}) WHEN 'integer' THEN CAST({x} AS REAL) ELSE {x} END"
# A text that looks like a number has become one; others, and bytes, are as they were.
_TEXT_BACK = "CASE WHEN typeof({x}) IN ('integer', 'real') THEN CAST({x} AS TEXT) ELSE {x} END"
# The cast from double to numeric keeps 15 digits; the text has all that the double was meant to be.
_INEXACT = "{x}::float8::text::numeric IS DISTINCT FROM {x}::numeric"
_NO_DOUBLE = "the file has doubles in this column, and none is exactly this number"


def shape(column: Column, declared: str, values: Sequence[Value]) -> Form:
    """Return the form of a column that was declared so and has these values, a sample."""
    own = dataclasses.replace(form(column), declared=declared)
    storage = _most([type(value).__name__ for value in values])
    chosen = _CHOICES.get(column.type_name, _by_itself) if column.is_builtin else _by_itself
    found = chosen(own, storage, values)
    return _read_back(found, column, declared)


def _read_back(found: Form, column: Column, declared: str) -> Form:
    """Let a value be read as it was written, where the column's affinity changes it."""
    affinity = _affinity(declared)
    if found.found != "{x}" or affinity in {"TEXT", "BLOB"}:
        return found
    if found.read in {"{x} + 0.0", "{x}::float8"} or "float8" in found.read:
        return dataclasses.replace(found, found=_AS_DOUBLE)
    is_text = found.read.endswith(("::text", "'")) or column.type_name in {"text", "varchar"}
    return dataclasses.replace(found, found=_TEXT_BACK) if is_text else found


def _affinity(declared: str) -> str:
    """Return the affinity of a declared type (https://www.sqlite.org/datatype3.html, 3.1)."""
    word = declared.upper()
    if "INT" in word:
        return "INTEGER"
    if any(part in word for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in word or not word:
        return "BLOB"
    return "REAL" if any(part in word for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def _most(found: Sequence[str]) -> str:
    """Return the most frequent one, of several the last in the alphabet; "" where there is none."""
    # A text ("str") before a number, which may be read back in another unit.
    return max(sorted(set(found), reverse=True), key=found.count) if found else ""


def _by_itself(own: Form, storage: str, values: Sequence[Value]) -> Form:  # noqa: ARG001
    return own


def _uuid(own: Form, storage: str, values: Sequence[Value]) -> Form:
    if storage == "bytes":
        return dataclasses.replace(own, read="uuid_send({x})")
    texts = [value for value in values if isinstance(value, str)]
    if not texts:
        # No value says how, so the declaration does (SeaORM).
        is_binary = "blob" in own.declared.lower()
        return dataclasses.replace(own, read="uuid_send({x})") if is_binary else own
    plain = "replace({x}::text, '-', '')" if _HEX.match(texts[0]) else "{x}::text"
    if _most([_case(text) for text in texts]) == "upper":
        plain = f"upper({plain})"
    if texts[0].startswith("{"):
        plain = f"'{{{{' || {plain} || '}}}}'"
    return dataclasses.replace(own, read=plain)


def _case(text: str) -> str:
    return "upper" if text.upper() == text and text.lower() != text else "lower"


def _boolean(own: Form, storage: str, values: Sequence[Value]) -> Form:
    texts = [value for value in values if isinstance(value, str)]
    if storage != "str":
        return own
    for true, false in _WORDS:
        if {text.lower() for text in texts} <= {true, false}:
            first = texts[0]
            spell = str.upper if first.isupper() else str.title if first[0].isupper() else str.lower
            read = f"CASE WHEN {{x}} THEN '{spell(true)}' WHEN NOT {{x}} THEN '{spell(false)}' END"
            return dataclasses.replace(own, read=read)
    return own


def _moment(own: Form, storage: str, values: Sequence[Value]) -> Form:
    if storage in {"int", "float"}:
        return _count(own, storage, [v for v in values if isinstance(v, int | float)])
    found = [
        match for value in values if isinstance(value, str) and (match := _MOMENT.match(value))
    ]
    if not found:
        return own
    between = _most([match[1] for match in found])
    end = _most([match[3] for match in found])
    fraction = _fraction({len(match[2] or "") for match in found})
    read = f"to_char({{x}}, 'YYYY-MM-DD\"{between}\"HH24:MI:SS') || {fraction} || '{end}'"
    return dataclasses.replace(own, read=read)


def _fraction(lengths: set[int]) -> str:
    """Spell the fraction of a second with so many digits, or with more where it has more."""
    micros = "to_char({x}, 'US')"
    full = f"'.' || {micros}"
    if len(lengths) == 1 and (length := lengths.pop()):
        if length >= 6:
            return f"{full} || '{'0' * (length - 6)}'"
        zeros = "0" * (6 - length)
        return (
            f"CASE WHEN right({micros}, {6 - length}) = '{zeros}' "
            f"THEN '.' || left({micros}, {length}) ELSE {full} END"
        )
    if max(lengths, default=0) == 6 and lengths == {0, 6}:  # Python's isoformat()
        return f"CASE WHEN {micros} = '000000' THEN '' ELSE {full} END"
    if lengths and lengths <= {0, 3, 6, 9} and lengths - {0}:  # Rust's and Java's
        most = "|| '000'" if lengths - {0} == {9} else ""
        return (
            f"CASE WHEN {micros} = '000000' THEN '' WHEN right({micros}, 3) = '000' "
            f"{'AND false ' if most else ''}THEN '.' || left({micros}, 3) ELSE {full} {most} END"
        )
    return f"rtrim(rtrim({full}, '0'), '.')"


def _count(own: Form, storage: str, values: Sequence[int | float]) -> Form:
    """Return the form of times that are counted since 1970."""
    greatest = max(abs(value) for value in values)
    unit = next((unit for most, unit in _UNITS if greatest < most), None)
    if unit is None or greatest < 1e8:  # nothing that is known: a Julian day, or too early to tell
        return own
    number = f"extract(epoch FROM {{x}}) * {unit}"
    if storage == "float":
        return dataclasses.replace(own, read=f"({number})::float8", found=_AS_DOUBLE)
    return dataclasses.replace(
        own,
        read=f"({number})::bigint",
        unfit=f"({own.unfit}) OR ({number}) <> trunc({number})",
        reason="the file counts its times in a coarser unit, or SQLite has no such time",
    )


def _number(own: Form, storage: str, values: Sequence[Value]) -> Form:  # noqa: ARG001
    if storage not in {"int", "float"}:
        return dataclasses.replace(own, read="{x}::text", unfit=None, reason="")
    return dataclasses.replace(
        own,
        read="{x}::float8",
        unfit=f"{{x}} = 'NaN' OR {_INEXACT}",
        reason=_NO_DOUBLE,
        found=_AS_DOUBLE,
    )


def _document(own: Form, storage: str, values: Sequence[Value]) -> Form:  # noqa: ARG001
    is_binary = storage == "bytes"
    return dataclasses.replace(own, read="convert_to({x}::text, 'UTF8')") if is_binary else own


def _integer(own: Form, storage: str, values: Sequence[Value]) -> Form:  # noqa: ARG001
    return dataclasses.replace(own, read="{x}::text") if storage == "str" else own


_CHOICES = {
    "uuid": _uuid,
    "bool": _boolean,
    "timestamp": _moment,
    "timestamptz": _moment,
    "numeric": _number,
    "json": _document,
    "jsonb": _document,
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
}
