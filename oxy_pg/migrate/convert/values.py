"""
One SQLite value to the text that PostgreSQL reads, exactly or not at all.

This is the slow and exact way, and the definition of what is right: the fast
way (codec.py) is used only for values that it turns into the same thing, and
the verification compares against this one.

Rules that change a value's form, never its meaning:

* Times with more fraction digits than the column holds (six, unless it is
  declared with fewer) are rounded to the nearest, half to even, as PostgreSQL
  rounds text.
* A time without an offset is UTC: ``CURRENT_TIMESTAMP`` writes it so. A time
  with an offset that meets a ``timestamp`` column is turned to UTC first.
* A number in a text column becomes its shortest text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.numbers import double_text, integer_text, numeric_text
from oxy_pg.migrate.convert.times import date_text, time_text, timestamp_text, timestamptz_text
from oxy_pg.migrate.convert.unfit import Unfit, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.convert.types import PgType

# The most that PostgreSQL takes in one field (1 GB less what is around it).
LARGEST = 1_073_741_000
_BOOLEANS = {
    **dict.fromkeys(("t", "true", "1", "y", "yes", "on"), "t"),
    **dict.fromkeys(("f", "false", "0", "n", "no", "off"), "f"),
}


def to_text(value: Value, type_: PgType, option: str | None = None) -> str:
    """
    Return the text from which PostgreSQL reads exactly this value.

    ``option`` is one of CAST_OPTIONS. Raises Unfit with the reason.
    """
    if isinstance(value, str):
        value = _without_nul(value, option)
    if option == "utf8":
        value = _other_way(value, type_)
    if isinstance(value, str | bytes) and len(value) > LARGEST // 4:
        size = len(value if isinstance(value, bytes) else value.encode())
        if size * (2 if isinstance(value, bytes) else 1) > LARGEST:
            raise Unfit(f"{size:,} bytes are more than PostgreSQL's limit of 1 GB for a value")
    return _CONVERT[type_.kind](value, type_, option)


def _without_nul(value: str, option: str | None) -> str:
    if "\0" not in value:
        return value
    if option == "strip_nul":
        return value.replace("\0", "")
    if option == "replace_nul":
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    raise Unfit(
        "PostgreSQL's text cannot hold the NUL character in it (--cast table.column=text:strip_nul "
        "or text:replace_nul)"
    )


def _other_way(value: Value, type_: PgType) -> Value:
    if type_.kind == "bytea" and isinstance(value, str):
        return value.encode()
    if type_.kind != "bytea" and isinstance(value, bytes):
        return decode(value)
    return value


def decode(raw: bytes | bytearray, encoding: str = "UTF-8") -> str:
    """Decode a text's bytes. Raises Unfit when they are not valid."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unfit(f"not valid {encoding} at byte {error.start}") from error


def _text(value: Value, type_: PgType, _: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_} (--cast to bytea, or {type_.kind}:utf8)")
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unfit("a lone surrogate, which UTF-8 does not have") from error
    if type_.size is not None and len(text) > type_.size:
        raise Unfit(f"{len(text):,} characters, and the column is {type_}")
    return text


def _bytea(value: Value, _: PgType, __: str | None) -> str:
    if not isinstance(value, bytes):
        kind = "text" if isinstance(value, str) else "a number"
        raise Unfit(f"{kind}, and the column is bytea (--cast table.column=bytea:utf8 for text)")
    return "\\x" + value.hex()


def _boolean(value: Value, _: PgType, __: str | None) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = _BOOLEANS.get(str(value).lower()) if isinstance(value, int | str) else None
    if found is None:
        raise Unfit("neither 0 nor 1, true nor false")
    return found


def _uuid(value: Value, _: PgType, __: str | None) -> str:
    if isinstance(value, bytes):
        if len(value) == 16:
            return _spell_uuid(value.hex())
        raise Unfit(f"{len(value)} bytes; a uuid has 16")
    if isinstance(value, int | float):
        raise Unfit(
            "SQLite took it for a number (a column declared uuid has NUMERIC affinity), and what "
            "it was before cannot be known"
        )
    plain = value.strip().removeprefix("urn:uuid:").strip("{}").replace("-", "")
    if len(plain) != 32 or not re.fullmatch(r"[0-9a-fA-F]{32}", plain):
        raise Unfit("not a uuid")
    return _spell_uuid(plain.lower())


def _spell_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _json(value: Value, type_: PgType, __: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    # A column declared JSON has NUMERIC affinity: the document 5 is stored as a number.
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        # Numbers stay texts: they may be longer than Python's own.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        pass  # PostgreSQL will say
    except ValueError as error:
        raise Unfit(f"not valid JSON: {error}") from error
    if type_.kind == "jsonb" and re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
        raise Unfit(r"jsonb cannot hold \u0000; --cast to json")
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _other(value: Value, type_: PgType, _: str | None) -> str:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    return (
        repr(value) if isinstance(value, float) else value if isinstance(value, str) else str(value)
    )


_CONVERT: dict[str, Callable[[Value, PgType, str | None], str]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), integer_text),
    **dict.fromkeys(("real", "double"), double_text),
    "numeric": numeric_text,
    **dict.fromkeys(("text", "varchar", "char"), _text),
    "bytea": _bytea,
    "boolean": _boolean,
    "date": date_text,
    "time": time_text,
    "timestamp": timestamp_text,
    "timestamptz": timestamptz_text,
    "uuid": _uuid,
    **dict.fromkeys(("json", "jsonb"), _json),
    "other": _other,
}
