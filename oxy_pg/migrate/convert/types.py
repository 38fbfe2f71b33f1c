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

from oxy_pg.errors import ConfigurationError
from oxy_pg.migrate.convert.kind import Declaration, Facts, Kind, PgType
from oxy_pg.migrate.convert.kinds import (
    booleans,
    documents,
    intervals,
    numbers,
    strings,
    times,
    uuids,
)
from oxy_pg.migrate.convert.kinds.other import OTHER
from oxy_pg.migrate.convert.options import OPTIONS

KINDS: tuple[Kind, ...] = (
    *numbers.KINDS,
    *strings.KINDS,
    *booleans.KINDS,
    *times.KINDS,
    *intervals.KINDS,
    *uuids.KINDS,
    *documents.KINDS,
)
_NAMED = {name: kind for kind in KINDS for name in (kind.name, kind.type.sql, *kind.spellings)}
# What a declaration means, without its arguments unless they matter. Who writes it: SQLite's own
# documentation, SQLAlchemy, Django, Rails, Prisma, SeaORM, Laravel, EF Core, Go's GORM.
_DECLARED = {word: kind for kind in KINDS for word in kind.declarations.split()}

# What `oxy-pg export-sqlite` writes after a word of SQLite's, where none means the same type.
_EXPORTED = re.compile(r"\A[A-Z ]+ pg_(.+)\Z")
_DECLARATION = re.compile(
    r"\s*([^(]*?)\s*(?:\(\s*([+-]?\d+)\s*(?:,\s*([+-]?\d+)\s*)?\))?\s*([^()]*)\Z"
)


def parse_declaration(declared: str) -> Declaration:
    """Split ``VARCHAR(20)`` into its lower-case name and its arguments."""
    match = _DECLARATION.match(declared)
    if match is None:
        return Declaration(declared.partition("(")[0].strip().lower())
    words = f"{match[1]} {match[4]}".lower().split()
    size, scale = (None if part is None else int(part) for part in match.group(2, 3))
    return Declaration("_".join(words), size, scale)


def choose(declared: str, facts: Facts, name: str = "") -> PgType:
    """
    Choose the type of a column that is to be created.

    The declared type wins wherever the content could have been meant that
    way; values that do not fit then are an error. Wider than declared is
    chosen only where that keeps every value: a longer text, more digits. Where
    no value at all is of the declared type, the values decide; ``name`` is the
    column's.
    """
    if exported := _EXPORTED.search(declared):
        return parse_type(exported[1])
    read = parse_declaration(declared)
    kind = _DECLARED.get(f"{read.name}({read.size})") or _DECLARED.get(read.name)
    if kind is None:
        return _by_content(facts)
    if kind.is_loose and facts.values:
        # A column of bytes alone, or of texts alone, is that: nothing is lost.
        if facts.values == facts.blobs:
            return strings.BYTEA.type
        if facts.values == facts.texts and kind.is_binary:
            return strings.TEXT.type
    return _by_values(kind, facts, name) or kind.choose(read, facts)


def _by_values(kind: Kind, facts: Facts, name: str) -> PgType | None:
    """Choose by the values where the declaration is wrong about all of them; None: it is not."""
    if not kind.is_number or not facts.values:
        return None
    if facts.values == facts.blobs:
        is_uuid = facts.sixteen and re.search(r"(?:\A|_)[ug]uid\Z", name.lower())
        return (uuids.UUID if is_uuid else strings.BYTEA).type
    if not kind.is_integer:
        return None
    if facts.values == facts.texts:
        return strings.TEXT.type
    has_numbers_alone = facts.values == facts.integers + facts.reals
    if facts.fractions and has_numbers_alone and _is_bigint(facts.least, facts.greatest):
        return numbers.NUMERIC.type
    return None


def _is_bigint(*bounds: float) -> bool:
    return all(-(2**63) <= bound < 2**63 for bound in bounds)


def is_departure(declared: str, facts: Facts, type_: PgType) -> bool:
    """Whether a column of numbers gets a type of another sort than it is declared with."""
    read = parse_declaration(declared)
    kind = _DECLARED.get(f"{read.name}({read.size})") or _DECLARED.get(read.name)
    if kind is None or not kind.is_number or type_.kind is kind or not facts.values:
        return False
    return not type_.kind.is_number or (kind.is_integer and not type_.kind.is_integer)


# Half of the range: keys grow, and seconds since 1970 leave it in 2038.
_ROOMY = 2**30


def narrowed(type_: PgType, declared: str, facts: Facts, default: str | None = None) -> PgType:
    """
    Return integer instead of bigint, where the declaration allows it and the values fit well.

    So must the ``default`` of the column, as SQLite spells it.
    """
    if type_.kind is not numbers.BIGINT or re.search(r"big|int8|\A\s*\Z", declared.lower()):
        return type_
    if default is not None and not _is_roomy(default):
        return type_
    fits = max(abs(facts.least), abs(facts.greatest)) < _ROOMY
    return numbers.INTEGER.type if fits else type_


def _is_roomy(default: str) -> bool:
    plain = default.strip("() '\"")
    if plain.upper() in {"NULL", "TRUE", "FALSE", ""}:
        return True
    # An expression may be as large as the clock in milliseconds, or a random number.
    return re.fullmatch(r"[+-]?\d{1,9}", plain, re.ASCII) is not None


def _by_content(facts: Facts) -> PgType:
    if facts.blobs:
        return strings.BYTEA.type
    if facts.texts or not facts.values:
        return strings.TEXT.type
    if not facts.reals:
        return numbers.BIGINT.type
    # A double holds whole numbers exactly up to 2**53; numeric holds every integer and double.
    return (numbers.DOUBLE if facts.whole else numbers.NUMERIC).type


_PG_TYPE = re.compile(
    r"\s*([a-z0-9 _]+?)\s*(?:\((\d+)(?:\s*,\s*(-?\d+))?\))?\s*( with(?:out)? time zone)?\s*\Z"
)


def parse_type(spelled: str) -> PgType:
    """
    Read a type as PostgreSQL's ``format_type`` spells it; what is not known becomes OTHER.

    >>> parse_type("character varying(20)")
    PgType(kind=VARCHAR, sql='character varying(20)', size=20, scale=None)
    """
    match = _PG_TYPE.match(spelled.lower())
    kind = _NAMED.get(match[1] + (match[4] or "")) if match else None
    if spelled.lower().startswith("interval ") and kind is None:
        return PgType(intervals.FIELDS, spelled)
    if match is None or kind is None:
        return PgType(OTHER, spelled)
    size = int(match[2]) if match[2] else None
    scale = int(match[3]) if match[3] else None
    return kind.parsed(spelled, size, scale)


@dataclass(frozen=True, slots=True)
class Cast:
    """What the user decided for one column: a type, and how its values are read."""

    type: PgType
    option: str | None = None


def parse_cast(spelled: str) -> Cast:
    """
    Read ``type`` or ``type:option``.

    Raises ConfigurationError for an option that does not exist, or that means
    nothing for the type.
    """
    name, found, option = spelled.rpartition(":")
    if not found or name.endswith(":"):
        return Cast(parse_type(spelled.strip()))
    if option not in OPTIONS:
        raise ConfigurationError(
            f"The cast {spelled!r} has the unknown option {option!r}. "
            f"The options are: {', '.join(OPTIONS)}."
        )
    type_ = parse_type(name.strip())
    if option not in type_.kind.options:
        allowed = [known for known in OPTIONS if known in type_.kind.options]
        raise ConfigurationError(
            f"The cast {spelled!r} has the option {option!r}, which means nothing for {type_}. "
            + (f"Its options are: {', '.join(allowed)}." if allowed else "It has no options.")
        )
    return Cast(type_, option)
