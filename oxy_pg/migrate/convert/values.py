"""
One SQLite value to the text that PostgreSQL reads, exactly or not at all.

This is the slow and exact way, and the definition of what is right: the fast
way (codec.py) is used only for values that it turns into the same thing, and
the verification compares against this one. The kind of the type (kind.py) has
the rules; here is what all of them have in common.

What a column cannot hold in full (a fraction beyond its digits, a number beyond
its precision) is rounded as PostgreSQL rounds it, and loss() says so: such a
change is listed before the first write, and stops the migration unless it is
allowed or is below the microsecond.

Rules that change a value's form, never its meaning:

* A time without an offset is UTC: ``CURRENT_TIMESTAMP`` writes it so. A time
  with an offset in a ``timestamp`` column is converted to UTC first.
* A number in a text column becomes its shortest text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import PgType
    from oxy_pg.migrate.convert.loss import Loss
    from oxy_pg.migrate.convert.unfit import Value

# The most that PostgreSQL takes in one field (1 GB less what is around it).
LARGEST = 1_073_741_000


def to_text(value: Value, type_: PgType, option: str | None = None) -> str:
    """
    Return the text from which PostgreSQL reads exactly this value.

    ``option`` is one of the kind's options. Raises Unfit with the reason.
    """
    value = _as_wanted(value, type_, option)
    if isinstance(value, str | bytes) and len(value) > LARGEST // 4:
        size = len(value if isinstance(value, bytes) else value.encode())
        if size * (2 if isinstance(value, bytes) else 1) > LARGEST:
            raise Unfit(f"{size:,} bytes are more than PostgreSQL's limit of 1 GB for a value")
    return type_.kind.read(value, type_, option)


def loss(value: Value, type_: PgType, option: str | None) -> Loss | None:
    """Return what to_text() changed of a value that it accepted; None: nothing."""
    return type_.kind.loss(_as_wanted(value, type_, option), type_, option)


def _as_wanted(value: Value, type_: PgType, option: str | None) -> Value:
    if isinstance(value, str) and "\0" in value:
        value = _without_nul(value, option)
    return _other_way(value, type_) if option == "utf8" else value


def _without_nul(value: str, option: str | None) -> str:
    if option == "strip_nul":
        return value.replace("\0", "")
    if option == "replace_nul":
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    raise Unfit(
        "PostgreSQL's text cannot hold the NUL character in it (--cast table.column=text:strip_nul "
        "or text:replace_nul)"
    )


def _other_way(value: Value, type_: PgType) -> Value:
    if type_.kind.is_binary and isinstance(value, str):
        return value.encode()
    if not type_.kind.is_binary and isinstance(value, bytes):
        return decode(value)
    return value


def decode(raw: bytes | bytearray, encoding: str = "UTF-8") -> str:
    """Decode a text's bytes. Raises Unfit when they are not valid."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unfit(f"not valid {encoding} at byte {error.start}") from error
