"""Numbers as PostgreSQL reads them, exactly or not at all (manual: 8.1, Numeric Types)."""

from __future__ import annotations

import re
import struct
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, ClassVar

from oxy_pg.migrate.convert.codec import Fast, Field
from oxy_pg.migrate.convert.kind import Kind, PgType
from oxy_pg.migrate.convert.loss import Loss
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import Declaration, Facts
    from oxy_pg.migrate.convert.unfit import Value

# More digits than numeric has.
_EXACT = Context(prec=200_000)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
# Python's own numbers may also have underscores, and digits of every script.
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)\Z", re.ASCII | re.IGNORECASE
)
# What numeric holds.
_MOST_DIGITS = 131_072
_MOST_SCALE = 16_383
_MOST_PRECISION = 1_000
_INFINITIES = {float("inf"), float("-inf")}


def digits(text: str) -> Decimal:
    """Return the number that a text spells, so that equal ones are written alike."""
    number = Decimal(text)
    return number.normalize(_EXACT) if number else Decimal(0)


class Number(Kind):
    """What all numbers have in common."""

    is_number = True
    family = "number"

    def key(self, text: str) -> str:
        return str(digits(text))

    def unquoted(self, text: str) -> str | None:
        return text if text.lstrip("-").replace(".", "", 1).isdigit() else None

    def number(self, text: str) -> str | None:
        return text

    def epoch(self) -> str | None:
        return "floor(extract(epoch FROM CURRENT_TIMESTAMP))::bigint"


class _Integer(Number):
    """Whole numbers of so many bits, besides the sign."""

    is_integer = True
    reference_group = "integer"
    bits: ClassVar[int]
    code: ClassVar[str]  # of struct

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        number: int
        if isinstance(value, int):
            number = value
        elif isinstance(value, float) and value.is_integer():
            number = int(value)
        elif isinstance(value, str) and _INTEGER.match(value):
            # Not int(text), which has a limit of its own.
            exact = Decimal(value)
            number = int(exact) if exact.adjusted() < 20 else 2**64
        else:
            raise Unfit(f"not a whole number, and the column is {type_}")
        if not -(2**self.bits) <= number < 2**self.bits:
            raise Unfit(f"out of the range of {type_}")
        return str(number)

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "integer":
            return None
        fits = "typeof({x}) = 'integer'"
        if self.bits < 63:
            fits += f" AND {{x}} BETWEEN {-(2**self.bits)} AND {2**self.bits - 1}"
        return Fast(fits, "{x}", Field("{x}", self.code))

    def canonical(self, text: str) -> object:
        return int(text)


class Smallint(_Integer):
    """-32,768 to 32,767."""

    name = "smallint"
    spellings = ("int2",)
    bits = 15
    code = "h"


class Integer(_Integer):
    """Some two billion on either side of zero."""

    name = "integer"
    spellings = ("int4", "int")
    bits = 31
    code = "i"


class Bigint(_Integer):
    """What an INTEGER of SQLite is: 64 bits."""

    name = "bigint"
    spellings = ("int8",)
    declarations = """
        int integer bigint int2 int4 int8 smallint mediumint tinyint serial bigserial
        unsigned_big_int big_int integer_unsigned bigint_unsigned smallint_unsigned int_unsigned
        tinyint_unsigned mediumint_unsigned
    """
    bits = 63
    code = "q"
    computes_alike = True


class Double(Number):
    """What a REAL of SQLite is."""

    name = "double"
    sql = "double precision"
    spellings = ("float8", "float")
    declarations = "real double double_precision float float4 float8 double_unsigned"
    computes_alike = True

    is_lossy = True

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        return repr(_double(value, type_))

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        return _rounded_to(_double(value, type_), value, "the nearest double precision")

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        # SQLite prints 15 digits of a double; only repr() gives back the same one.
        field = Field("{x}", "d")
        return Fast("typeof({x}) = 'real'", "oxy_repr({x})", field) if storage == "real" else None

    def canonical(self, text: str) -> object:
        return float(text).hex()


def _double(value: Value, type_: PgType) -> float:
    if isinstance(value, bytes):
        raise Unfit(f"bytes, and the column is {type_}")
    if isinstance(value, str) and not _NUMBER.match(value):
        raise Unfit("not a number")
    number = float(value)
    if number in _INFINITIES and isinstance(value, str) and "inf" not in value.lower():
        raise Unfit(f"out of the range of {type_}")
    if number == 0 and isinstance(value, str) and Decimal(value):
        raise Unfit(f"out of the range of {type_}")
    return number


def _rounded_to(kept: float, value: Value, what: str) -> Loss | None:
    """Return the loss where a number is neither the one that is kept, nor its shortest text."""
    number = Decimal(value) if isinstance(value, str) else value
    if kept == number or (isinstance(value, str) and Decimal(repr(kept)) == number):
        return None
    return Loss(f"rounded to {what}")


class Real(Number):
    """Half of a double: seven digits are what it promises."""

    name = "real"
    spellings = ("float4",)
    is_lossy = True

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        number = _double(value, type_)
        if number in _INFINITIES:
            return repr(number)
        kept = _single(number)
        if kept == 0 != number:
            raise Unfit("out of the range of real")
        return repr(number)

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        number = _double(value, type_)
        kept = _single(number)
        # A double that is the shortest text of a real is meant to be that real.
        if number in {kept, float(f"{kept:.7g}"), float(f"{kept:.9g}")}:
            return _rounded_to(number, value, "the nearest real")
        return Loss("rounded to the nearest real, which has about 7 digits", after=f"{kept:.9g}")

    def key(self, text: str) -> str:
        return str(digits(repr(_single(float(text)))))

    def canonical(self, text: str) -> object:
        return _single(float(text)).hex()


def _single(number: float) -> float:
    """Return what a real keeps of a number. Raises Unfit."""
    try:
        (kept,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError as error:
        raise Unfit("out of the range of real") from error
    return float(kept)


class Numeric(Number):
    """Any number, exactly; numeric(p,s) has p digits, s of them after the point."""

    name = "numeric"
    spellings = ("decimal",)
    is_lossy = True
    declarations = "numeric decimal dec number money decimal_text real_money numeric_text"

    def parsed(self, spelled: str, size: int | None, scale: int | None) -> PgType:
        return super().parsed(spelled, size, 0 if size and scale is None else scale)

    def choose(self, declared: Declaration, facts: Facts) -> PgType:
        size, scale = declared.size, declared.scale or 0
        if size is None or not 0 < size <= _MOST_PRECISION or not 0 <= scale <= size:
            return self.type
        # The noise of binary numbers does not count: 0.1 + 0.2 is 0.3 in a column of (10,2).
        if facts.texts or facts.plain_decimals > scale:
            return self.type
        if max(abs(facts.least), abs(facts.greatest)) >= 10.0 ** (size - scale):
            return self.type
        return PgType(self, f"numeric({size},{scale})", size, scale)

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
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
        return text if type_.size is None else _fixed(number, type_)

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        if type_.size is None or (isinstance(value, int) and (type_.scale or 0) >= 0):
            return None
        kept = Decimal(self.read(value, type_, option))
        if kept == Decimal(repr(value) if isinstance(value, float) else str(value).strip()):
            return None
        if isinstance(value, float) and Decimal(f"{value:.15g}") == kept:
            return Loss(
                "stripped of the noise that a binary number has after 15 digits", is_noise=True
            )
        return Loss(f"rounded to {type_.scale or 0} digits after the point")

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if type_.size is not None or storage != "integer":
            return None
        return Fast("typeof({x}) = 'integer'", "{x}")

    def canonical(self, text: str) -> object:
        return str(digits(text))


def _fixed(number: Decimal, type_: PgType) -> str:
    """Round as PostgreSQL does, half away from zero. Raises Unfit beyond the column's range."""
    size, scale = type_.size or 0, type_.scale or 0
    if number and number.adjusted() > size - scale:
        raise Unfit(f"out of the range of {type_}")
    kept = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _EXACT)
    if kept and kept.adjusted() >= size - scale:
        raise Unfit(f"out of the range of {type_}")
    return f"{kept:f}"


SMALLINT, INTEGER, BIGINT = Smallint(), Integer(), Bigint()
REAL, DOUBLE, NUMERIC = Real(), Double(), Numeric()
KINDS: tuple[Kind, ...] = (SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, NUMERIC)
