"""
When two spellings of a value mean the same, for types that have no kind of their own.

PostgreSQL gives back what it has read from the text that was sent. Where both
texts differ, these rules decide; none of them asks PostgreSQL, and a type
without a rule has the strictest one: the same text. Which other ways there are,
load/comparison.py says.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeAlias

from oxy_pg.migrate.convert.instants import fraction_digits, instant
from oxy_pg.migrate.convert.lengths import length
from oxy_pg.migrate.convert.literals import Broken, array, composite, pairs, ranges
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.migrate.convert.literals import Range

Rule: TypeAlias = "Callable[[str, str], bool]"

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FINEST = 6


def alike(type_name: str, sent: str, found: str) -> bool:
    """Whether what PostgreSQL gave back for a value of this type means what was sent."""
    if sent == found:
        return True
    try:
        return _rule(type_name.lower())(sent, found)
    except (Broken, Unfit, ValueError, ArithmeticError):
        return False


def _rule(name: str) -> Rule:
    """Return the rule of a type, by its name as format_type() spells it."""
    element = re.sub(r"\[\]$", "", name)
    if element != name:
        rule = _rule(element)
        return lambda a, b: _same_arrays(array(a), array(b), rule)
    plain = re.sub(r"\([^)]*\)", "", name).strip()
    bare = plain.rpartition(".")[2].strip('"') if plain != '"char"' else plain
    if bare in _RANGES:
        return lambda a, b: _same_ranges(ranges(a), ranges(b), bare)
    return _RULES.get(bare, _same_rows)


def _same_text(a: str, b: str) -> bool:
    return a == b


def _same_padded(a: str, b: str) -> bool:
    """The same text, behind which PostgreSQL puts blanks that do not count."""
    return not a.endswith(" ") and a == b.rstrip(" ")


def _same_arrays(a: object, b: object, rule: Rule) -> bool:
    """NULLs and the bounds of dimensions are where they were; every element means the same."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same_arrays(x, y, rule) for x, y in zip(a, b, strict=True))
    if isinstance(a, str) and isinstance(b, str):
        return a == b or rule(a, b)
    return a is None and b is None


def _same_rows(a: str, b: str) -> bool:
    """Rows have equal fields, where numbers may be spelled in another way; all else is equal."""
    if not (a.strip().startswith("(") and b.startswith("(")):
        return False
    left, right = composite(a), composite(b)
    return len(left) == len(right) and all(
        x == y or (x is not None and y is not None and (_same_numbers(x, y) or _same_rows(x, y)))
        for x, y in zip(left, right, strict=True)
    )


# --- numbers ------------------------------------------------------------------------


def _number(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation as error:
        raise Broken from error


def _same_numbers(a: str, b: str) -> bool:
    try:
        return bool(_number(a) == _number(b))
    except Broken:
        return False


def _same_doubles(a: str, b: str) -> bool:
    """Both are the same decimal number, or one is the exact value of the double that it spells."""
    return _same_numbers(a, b) or (_number(a) == Decimal(float(a)) and float(a) == float(b))


def _same_singles(a: str, b: str) -> bool:
    """As for doubles; a double that is exactly a real, as numpy spells it, is that real."""
    if _same_numbers(a, b):
        return True
    number = float(a)
    (kept,) = struct.unpack("<f", struct.pack("<f", number))
    (there,) = struct.unpack("<f", struct.pack("<f", float(b)))
    is_it = _number(a) == Decimal(kept) or repr(kept) == repr(number)
    return bool(is_it and kept == there)


def _same_tokens(a: str, b: str) -> bool:
    """The same signs in the same order, blanks aside, and between them equal numbers."""
    left, right = ([*_tokens(text)] for text in (a, b))
    return len(left) == len(right) and all(
        x == y or (x[:1] in _DIGIT and y[:1] in _DIGIT and _same_singles(x, y))
        for x, y in zip(left, right, strict=True)
    )


def _same_points(a: str, b: str) -> bool:
    """The same numbers in the same order: brackets may be left out."""
    left, right = (_NUMBER.findall(text) for text in (a, b))
    return len(left) == len(right) and all(map(_same_doubles, left, right))


def _same_boxes(a: str, b: str) -> bool:
    """Two opposite corners, which PostgreSQL spells with the upper right one first."""

    def corners(text: str) -> list[str]:
        x, y, to_x, to_y = _NUMBER.findall(text)
        return [*sorted((x, to_x), key=float), *sorted((y, to_y), key=float)]

    return all(map(_same_doubles, corners(a), corners(b)))


def _same_paths(a: str, b: str) -> bool:
    """As for points; square brackets mean that the path is open."""
    return a.strip().startswith("[") == b.startswith("[") and _same_points(a, b)


_DIGIT = frozenset("0123456789+-.")


def _tokens(text: str) -> list[str]:
    return re.findall(rf"{_NUMBER.pattern}|\S", text, re.ASCII | re.IGNORECASE)


def _same_money(a: str, b: str) -> bool:
    """An amount without its sign, its blanks, and the commas between thousands."""

    def amount(text: str) -> Decimal:
        plain = re.sub(r"[$\s]", "", text)
        if re.search(r",", plain) and not re.match(r"[-(]*\d{1,3}(,\d{3})+(\.|\)|$)", plain):
            raise Broken
        plain = plain.replace(",", "")
        return _number(f"-{plain[1:-1]}" if plain.startswith("(") else plain)

    return amount(a) == amount(b)


def _same_integers(a: str, b: str) -> bool:
    return int(a) == int(b)


# --- times ----------------------------------------------------------------------------


def _same_instants(a: str, b: str) -> bool:
    """No digit of the second is lost, besides those after the sixth."""
    return fraction_digits(a, None) <= _FINEST and instant(a, None) == instant(b, None)


_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?\Z")


def _same_clocks(a: str, b: str) -> bool:
    def parts(text: str) -> tuple[int, str]:
        match = _CLOCK.match(text)
        if match is None:
            raise Broken
        seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)
        zone = re.sub(r"Z|UTC", "+00", match[5] or "").replace(":", "")
        fraction = int((match[4] or "").ljust(6, "0"))
        return seconds * 1_000_000 + fraction, zone.ljust(5, "0") if zone else ""

    return parts(a) == parts(b)


def _same_lengths(a: str, b: str) -> bool:
    """The same months, days and microseconds; without seconds, hours and minutes are meant."""
    sent = a.strip()
    found = length(f"{sent}:00" if _HOURS.fullmatch(sent) else sent, None)
    return found.exact and found == length(b, None)


_HOURS = re.compile(r"(?:.*\s)?[+-]?\d+:\d\d", re.ASCII)


# --- words ----------------------------------------------------------------------------

_TRUTH = {
    **dict.fromkeys(("t", "true", "1", "y", "yes", "on"), "t"),
    **dict.fromkeys(("f", "false", "0", "n", "no", "off"), "f"),
}


def _same_truth(a: str, b: str) -> bool:
    return _TRUTH[a.strip().lower()] == _TRUTH[b] if a.strip().lower() in _TRUTH else False


def _same_uuids(a: str, b: str) -> bool:
    return re.sub(r"[{}-]", "", a).lower() == b.replace("-", "")


def _same_addresses(a: str, b: str) -> bool:
    address, slash, bits = a.strip().partition("/")
    if slash and re.fullmatch(r"\d+(\.\d+){0,2}", address, re.ASCII):
        # With a mask, the parts at the end of an IPv4 address may be left out where they are 0.
        address += ".0" * (3 - address.count("."))
    return ipaddress.ip_interface(address + slash + bits) == ipaddress.ip_interface(b)


def _same_hardware(a: str, b: str) -> bool:
    left, right = (re.sub(r"[:.\s-]", "", text).lower() for text in (a, b))
    return left == right


def _same_bits(a: str, b: str) -> bool:
    if a[:1] in "xX":
        return "".join(f"{int(digit, 16):04b}" for digit in a[1:]) == b
    return a.lstrip("bB") == b


def _same_bytes(a: str, b: str) -> bool:
    return a.startswith("\\x") and bytes.fromhex(a[2:]) == bytes.fromhex(b[2:])


def _same_pairs(a: str, b: str) -> bool:
    return pairs(a) == pairs(b)


_LEXEME = re.compile(r"\s*(?:'((?:[^']|'')*)'|([^\s:']+))(?::([\d,ABCDabcd]+))?")


def _same_lexemes(a: str, b: str) -> bool:
    """The same words at the same places, in any order."""

    def words(text: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for quoted, bare, places in _LEXEME.findall(text):
            word = quoted.replace("''", "'") or bare
            # The weight D is the one that is not written.
            positions = re.sub("D", "", places.upper()).split(",") if places else []
            found.setdefault(word, set()).update(positions)
        return found

    return words(a) == words(b)


_QUERY = re.compile(r"'((?:[^']|'')*)'|([^\s&|!()<>:']+)|(\S)")


def _same_queries(a: str, b: str) -> bool:
    """The same words and operators; PostgreSQL puts every word in quotes."""

    def parts(text: str) -> list[tuple[str, str]]:
        return [
            (quoted.replace("''", "'") or bare, sign) for quoted, bare, sign in _QUERY.findall(text)
        ]

    return parts(a) == parts(b)


_JSON_PATH = re.compile(r'"(?:[^"\\]|\\.)*"|\w+|\S')


def _same_json_paths(a: str, b: str) -> bool:
    """The same signs; PostgreSQL puts every key in quotes, and does not say that it is lax."""

    def parts(text: str) -> list[str]:
        found = _JSON_PATH.findall(text.strip().removeprefix("lax "))
        return [
            part.strip('"') if n and found[n - 1] == "." and part[1:-1].isidentifier() else part
            for n, part in enumerate(found)
        ]

    return parts(a) == parts(b)


# --- ranges ----------------------------------------------------------------------------


def _day(text: str) -> datetime:
    plain = text.strip()
    # What PostgreSQL calls infinity is an end of its own, and no instant.
    return _ENDS.get(plain.lower()) or instant(plain, None)


_ENDS = {
    "infinity": datetime.max.replace(tzinfo=UTC),
    "-infinity": datetime.min.replace(tzinfo=UTC),
}
_RANGES: dict[str, tuple[Callable[[str], object], object]] = {
    # How a bound is read, and for discrete ranges the distance of two neighbours.
    "int4range": (int, 1),
    "int8range": (int, 1),
    "numrange": (_number, None),
    "daterange": (_day, timedelta(days=1)),
    "tsrange": (_day, None),
    "tstzrange": (_day, None),
}
_RANGES |= {name.replace("range", "multirange"): rule for name, rule in _RANGES.items()}


def _same_ranges(a: list[Range], b: list[Range], name: str) -> bool:
    """Cover the same values: [1,5] of whole numbers is [1,6)."""
    return _merged(a, name) == _merged(b, name)


def _merged(found: list[Range], name: str) -> list[tuple[object, ...]]:
    spans = sorted(
        (span for one in found if (span := _span(one, name)) is not None),
        key=lambda span: (
            (span[0] is not None, span[0]) if span[0] is not None else (False,),
            not span[1],
        ),
    )
    merged: list[list[object]] = []
    for low, low_in, high, high_in in spans:
        if merged and _touches(merged[-1], low, low_in):
            last = merged[-1]
            if last[2] is not None and (high is None or (high, high_in) > (last[2], last[3])):
                last[2:] = [high, high_in]
        else:
            merged.append([low, low_in, high, high_in])
    return [tuple(one) for one in merged]


def _order(span: tuple[object, bool, object, bool]) -> tuple[object, ...]:
    low, low_in, *_ = span
    return (False,) if low is None else (True, low, not low_in)


def _touches(last: list[object], low: object, low_in: object) -> bool:
    high, high_in = last[2], last[3]
    if high is None or low is None:
        return True
    return bool(low < high or (low == high and (low_in or high_in)))  # type: ignore[operator]


def _span(one: Range, name: str) -> tuple[object, bool, object, bool] | None:
    """Return the bounds, and whether they belong to it; None where nothing does."""
    if one is None:
        return None
    read, step = _RANGES[name]
    low, low_in, high, high_in = one
    for bound in (low, high):
        if name.startswith("ts") and bound and fraction_digits(bound.strip(), None) > _FINEST:
            raise Broken
    least = read(low) if low is not None else None
    most = read(high) if high is not None else None
    if step is not None:
        if least is not None and not low_in:
            least, low_in = least + step, True  # type: ignore[operator]
        if most is not None and high_in:
            most, high_in = most + step, False  # type: ignore[operator]
    if least is None or most is None:
        return least, low_in and least is not None, most, high_in and most is not None
    if least > most or (least == most and not (low_in and high_in)):  # type: ignore[operator]
        return None
    return least, low_in, most, high_in


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid"), _same_integers),
    **dict.fromkeys(("double precision",), _same_doubles),
    **dict.fromkeys(("real",), _same_singles),
    **dict.fromkeys(("numeric",), _same_numbers),
    **dict.fromkeys(("vector", "halfvec", "sparsevec", "cube"), _same_tokens),
    **dict.fromkeys(("point", "line", "lseg", "polygon", "circle"), _same_points),
    "box": _same_boxes,
    "path": _same_paths,
    "money": _same_money,
    **dict.fromkeys(("timestamp without time zone", "timestamp with time zone"), _same_instants),
    **dict.fromkeys(("time without time zone", "time with time zone"), _same_clocks),
    "date": lambda a, b: instant(a, None) == instant(b, None),
    "interval": _same_lengths,
    "boolean": _same_truth,
    "uuid": _same_uuids,
    **dict.fromkeys(("inet", "cidr"), _same_addresses),
    **dict.fromkeys(("macaddr", "macaddr8"), _same_hardware),
    **dict.fromkeys(("bit", "bit varying"), _same_bits),
    "bytea": _same_bytes,
    **dict.fromkeys(("character", "bpchar"), _same_padded),
    "hstore": _same_pairs,
    "tsvector": _same_lexemes,
    "tsquery": _same_queries,
    "jsonpath": _same_json_paths,
    **dict.fromkeys(
        ("text", "character varying", "name", '"char"', "citext", "xml", "json"),
        _same_text,
    ),
}
