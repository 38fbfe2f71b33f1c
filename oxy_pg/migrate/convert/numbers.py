"""Numbers as PostgreSQL reads them, exactly or not at all (manual: 8.1, Numeric Types)."""

from __future__ import annotations

import re
import struct
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.unfit import Unfit, Value

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.types import PgType

# More digits than numeric has.
_EXACT = Context(prec=200_000)
_LIMITS = {"smallint": 15, "integer": 31, "bigint": 63}
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
# Python's own numbers may also have underscores, and digits of every script.
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)\Z", re.ASCII | re.IGNORECASE
)
# What numeric holds.
_MOST_DIGITS = 131_072
_MOST_SCALE = 16_383


def integer_text(value: Value, type_: PgType, _: str | None) -> str:
    """Spell a value as ``type_`` reads it. Raises Unfit."""
    number: int
    if isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        number = int(value)
    elif isinstance(value, str) and _INTEGER.match(value):
        # Not int(text), which has a limit of its own.
        exact = Decimal(value)
        number = int(exact) if exact.adjusted() < 20 else 2**64
    else:
        raise Unfit(f"not a whole number, and the column is {type_}")
    bits = _LIMITS[type_.kind]
    if not -(2**bits) <= number < 2**bits:
        raise Unfit(f"out of the range of {type_}")
    return str(number)


def double_text(value: Value, type_: PgType, _: str | None) -> str:
    """Spell a value as ``type_`` reads it. Raises Unfit."""
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    if isinstance(value, str):
        if not _NUMBER.match(value):
            raise Unfit("not a number")
        if Decimal(float(value)) != Decimal(value):
            raise Unfit(f"{type_} cannot hold it exactly")
    if isinstance(value, int) and int(float(value)) != value:
        raise Unfit(f"{type_} cannot hold so many digits; --cast to numeric or bigint")
    number = float(value)
    if type_.kind == "real" and number not in {float("inf"), float("-inf")}:
        _refuse_what_a_real_rounds(number)
    return repr(number)


def _refuse_what_a_real_rounds(number: float) -> None:
    try:
        kept = single(number)
    except OverflowError as error:
        raise Unfit("out of the range of real") from error
    # Seven digits are what a real promises; a double that is the shortest text of one is meant.
    if kept != number and float(f"{kept:.7g}") != number and float(f"{kept:.9g}") != number:
        raise Unfit("real would round it; the column needs double precision")


def single(number: float) -> float:
    """Return what a real keeps of a number. Raises OverflowError."""
    (kept,) = struct.unpack("f", struct.pack("f", number))
    return float(kept)


def numeric_text(value: Value, type_: PgType, _: str | None) -> str:
    """Spell a value as ``type_`` reads it. Raises Unfit."""
    if isinstance(value, bytes):
        raise Unfit("bytes, and the column is numeric")
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if not _NUMBER.match(text):
        raise Unfit("not a number")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise Unfit("more digits than numeric has") from error
    if not number.is_finite():
        if type_.size is None:
            return text
        raise Unfit(f"{type_} cannot hold it")
    if int(number.as_tuple().exponent) < -_MOST_SCALE or (
        number and number.adjusted() >= _MOST_DIGITS
    ):
        raise Unfit("more digits than numeric has")
    if type_.size is not None:
        scale = type_.scale or 0
        parts = number.normalize(_EXACT).as_tuple()
        exponent = int(parts.exponent)
        if number and -exponent > scale:
            raise Unfit(f"{type_} would round it")
        if number and len(parts.digits) + exponent > type_.size - scale:
            raise Unfit(f"out of the range of {type_}")
    return text


def digits(text: str) -> Decimal:
    """Return the number that a text spells, so that equal ones are written alike."""
    number = Decimal(text)
    return number.normalize(_EXACT) if number else Decimal(0)
