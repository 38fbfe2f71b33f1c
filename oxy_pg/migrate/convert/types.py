"""
Which PostgreSQL type a SQLite column becomes.

SQLite's declared types are suggestions (https://www.sqlite.org/datatype3.html):
the declaration says what was meant, the content says what is there, and a
type is chosen only where both agree. The PostgreSQL side is chapter 8 of its
manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class PgType:
    """
    A PostgreSQL type: how SQL spells it, and how its values are treated.

    ``kind`` is one of KINDS, or ``other`` for types that PostgreSQL itself
    must judge. ``size`` is the length of varchar(n) and char(n), the precision
    of numeric, or the fraction digits of a time; ``scale`` belongs to numeric.
    """

    kind: str
    sql: str
    size: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        return self.sql


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What the values of one column are.

    ``offsets`` counts texts that end like a time with an offset from UTC,
    ``longest`` is in characters, ``least`` and ``greatest`` are of numbers.
    """

    nulls: int = 0
    integers: int = 0
    reals: int = 0
    texts: int = 0
    blobs: int = 0
    longest: int = 0
    least: float = 0
    greatest: float = 0
    offsets: int = 0
    bits: bool = True  # every integer is 0 or 1
    whole: bool = True  # every integer survives as a double
    decimals: int = 0  # the most fraction digits of any real, capped

    @property
    def values(self) -> int:
        """How many are not NULL."""
        return self.integers + self.reals + self.texts + self.blobs


SIMPLE = {
    kind: PgType(kind, sql)
    for kind, sql in {
        "smallint": "smallint",
        "integer": "integer",
        "bigint": "bigint",
        "real": "real",
        "double": "double precision",
        "numeric": "numeric",
        "text": "text",
        "bytea": "bytea",
        "boolean": "boolean",
        "date": "date",
        "time": "time",
        "timestamp": "timestamp",
        "timestamptz": "timestamptz",
        "uuid": "uuid",
        "json": "json",
        "jsonb": "jsonb",
    }.items()
}
KINDS = frozenset({*SIMPLE, "varchar", "char", "other"})

# What a declaration means, lower case and without its arguments. Who writes it: SQLite's own
# documentation, SQLAlchemy, Django, Rails, Prisma, SeaORM, Laravel, EF Core, Go's GORM.
_MEANINGS = {
    "bigint": """
        int integer bigint int2 int4 int8 smallint mediumint tinyint serial bigserial
        unsigned_big_int big_int integer_unsigned bigint_unsigned smallint_unsigned int_unsigned
        tinyint_unsigned mediumint_unsigned
    """,
    "double": "real double double_precision float float4 float8 double_unsigned",
    "numeric": "numeric decimal dec number money decimal_text real_money numeric_text",
    "text": """
        text clob tinytext mediumtext longtext string ntext character_large_object enum set citext
        name nclob enum_text
    """,
    "varchar": """
        varchar nvarchar character_varying varying_character char nchar character varchar2
        native_character national_character_varying nvarchar2 bpchar
    """,
    "bytea": """
        blob binary varbinary bytea tinyblob mediumblob longblob image bytes varbinary_blob
        binary_blob raw
    """,
    "boolean": "bool boolean",
    "date": "date date_text",
    "time": "time time_text time_without_time_zone",
    "timestamp": """
        datetime timestamp datetime_text timestamp_text datetime2 smalldatetime
        timestamp_without_time_zone timestamp_without_timezone_text
    """,
    "timestamptz": """
        timestamptz timestamp_with_time_zone timestamp_with_timezone
        timestamp_with_timezone_text timestamptz_text datetimeoffset timestamp_with_time_zone_text
    """,
    "uuid": "uuid uuid_text uuid_blob guid uniqueidentifier",
    "json": "json json_text",
    "jsonb": "jsonb jsonb_text",
}
_DECLARED = {word: kind for kind, words in _MEANINGS.items() for word in words.split()}

_DECLARATION = re.compile(
    r"\s*([^(]*?)\s*(?:\(\s*([+-]?\d+)\s*(?:,\s*([+-]?\d+)\s*)?\))?\s*([^()]*)\Z"
)


def parse_declaration(declared: str) -> tuple[str, int | None, int | None]:
    """Split ``VARCHAR(20)`` into its lower-case name and its arguments."""
    match = _DECLARATION.match(declared)
    if match is None:
        return declared.partition("(")[0].strip().lower(), None, None
    words = f"{match[1]} {match[4]}".lower().split()
    size, scale = (None if part is None else int(part) for part in match.group(2, 3))
    return "_".join(words), size, scale


def declared_kind(declared: str) -> str | None:
    """Return what a declaration means, or None when only the content can tell."""
    name, size, _ = parse_declaration(declared)
    if name == "tinyint" and size == 1:
        return "boolean"  # Laravel and MySQL's dumps
    return _DECLARED.get(name)


def choose(declared: str, facts: Facts) -> PgType:
    """
    Choose the type of a column that is to be created.

    The declared type wins wherever the content could have been meant that
    way; values that do not fit then are an error. Wider than declared is
    chosen only where that keeps every value: a longer text, more digits.
    """
    kind = declared_kind(declared)
    _, size, scale = parse_declaration(declared)
    if kind is None:
        return _by_content(facts)
    if kind == "varchar":
        return _varchar(size, facts)
    if kind == "numeric":
        return _numeric(size, scale, facts)
    if kind in {"timestamp", "date"} and _is_instant(kind, facts):
        return SIMPLE["timestamptz"]
    if kind == "boolean" and parse_declaration(declared)[0] == "tinyint" and not facts.bits:
        return SIMPLE["bigint"]
    if kind in {"text", "bytea"} and facts.values == max(facts.texts, facts.blobs) > 0:
        # A column of one class only is that class, whatever was declared: nothing is lost.
        return SIMPLE["text" if facts.texts else "bytea"]
    return SIMPLE[kind]


def _varchar(size: int | None, facts: Facts) -> PgType:
    if facts.values and facts.values == facts.blobs:
        return SIMPLE["bytea"]
    # char(n) too: PostgreSQL's char pads with blanks, SQLite's does not.
    if size is None or size < 1 or size > 10_485_760 or facts.longest > size:
        return SIMPLE["text"]
    return PgType("varchar", f"varchar({size})", size)


def _numeric(size: int | None, scale: int | None, facts: Facts) -> PgType:
    scale = scale or 0
    fits = size is not None and 0 < size <= 1000 and 0 <= scale <= size
    if not fits or facts.texts or facts.decimals > scale or size is None:
        return SIMPLE["numeric"]
    if max(abs(facts.least), abs(facts.greatest)) >= 10.0 ** (size - scale):
        return SIMPLE["numeric"]
    return PgType("numeric", f"numeric({size},{scale})", size, scale)


def _is_instant(kind: str, facts: Facts) -> bool:
    # An offset, or a count of seconds since 1970 in UTC, names an instant.
    if kind == "date":
        return False
    return facts.offsets > 0 or facts.integers > 0 or facts.reals > 0


def _by_content(facts: Facts) -> PgType:
    if facts.blobs:
        return SIMPLE["bytea"]
    if facts.texts or not facts.values:
        return SIMPLE["text"]
    if not facts.reals:
        return SIMPLE["bigint"]
    # A double holds whole numbers exactly up to 2**53; numeric holds every integer and double.
    return SIMPLE["double" if facts.whole else "numeric"]


_SPELLINGS: Mapping[str, str] = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double",
    "float": "double",
    "double precision": "double",
    "decimal": "numeric",
    "string": "text",
    "character varying": "varchar",
    "character": "char",
    "bpchar": "char",
    "bool": "boolean",
    "blob": "bytea",
    "datetime": "timestamp",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}

_PG_TYPE = re.compile(
    r"\s*([a-z0-9 _]+?)\s*(?:\((\d+)(?:\s*,\s*(-?\d+))?\))?\s*( with(?:out)? time zone)?\s*\Z"
)


def parse_type(spelled: str) -> PgType:
    """
    Read a type as PostgreSQL's ``format_type`` spells it; what is not known becomes ``other``.

    >>> parse_type("character varying(20)")
    PgType(kind='varchar', sql='character varying(20)', size=20, scale=None)
    """
    match = _PG_TYPE.match(spelled.lower())
    if match is None:
        return PgType("other", spelled)
    name = match[1] + (match[4] or "")
    kind = _SPELLINGS.get(name, name)
    if kind not in KINDS:
        return PgType("other", spelled)
    size = int(match[2]) if match[2] else None
    scale = int(match[3]) if match[3] else (0 if kind == "numeric" and size else None)
    if kind == "char" and size is None:
        size = 1
    sql = SIMPLE[kind].sql if spelled.lower() in _SPELLINGS and kind in SIMPLE else spelled
    return PgType(kind, sql, size, scale)


@dataclass(frozen=True, slots=True)
class Cast:
    """What the user decided for one column: a type, and how its values are read."""

    type: PgType
    option: str | None = None


# How the values of a column are read, written after the type: "timestamptz:ms".
CAST_OPTIONS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "julian": "Julian day numbers",
    "strip_nul": "NUL characters are removed from text",
    "replace_nul": "NUL characters in text become U+FFFD",
    "utf8": "text becomes bytes, and bytes text, as UTF-8",
}


def parse_cast(spelled: str) -> Cast:
    """Read ``type`` or ``type:option``; raises ConfigurationError for an unknown option."""
    name, found, option = spelled.rpartition(":")
    if not found or name.endswith(":"):
        return Cast(parse_type(spelled.strip()))
    if option not in CAST_OPTIONS:
        raise ConfigurationError(
            f"The cast {spelled!r} has the unknown option {option!r}. "
            f"Known are: {', '.join(CAST_OPTIONS)}."
        )
    return Cast(parse_type(name.strip()), option)
