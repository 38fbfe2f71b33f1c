"""Times and days (manual: 8.5, Date/Time Types)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, ClassVar

from oxy_pg.migrate.convert import codec
from oxy_pg.migrate.convert.codec import Fast, Field
from oxy_pg.migrate.convert.epochs import instant_of
from oxy_pg.migrate.convert.instants import (
    fraction_digits,
    instant,
    leads_beyond,
    micros,
    number_in,
    offset_of,
    rounded,
    spelled,
)
from oxy_pg.migrate.convert.kind import UTC_NOW, Kind, Rounding
from oxy_pg.migrate.convert.loss import MICROSECONDS, Loss
from oxy_pg.migrate.convert.options import EPOCHS
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import Declaration, Facts, PgType
    from oxy_pg.migrate.convert.unfit import Value

# --- times made by SQLite ------------------------------------------------------------

# SQLite takes a time with a line break after it, and so does PostgreSQL.
_TIME_TEXT = f"'{codec.QUOTE}' || {{x}} || '{codec.QUOTE}'"
_CLOCK_SQL = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
# GLOB checks where the separators are, julianday() what is between and after them, all but three
# things: it knows the year 0, an hour after 24:00, and takes 30 February for 2 March. Most times
# can be seen to be none of these at once. Nothing may stand after a NUL, which SQLite's functions
# take for the end, and a fraction has 15 digits at most. Texts come before blobs, which takes less
# time to see than typeof(); numbers do not look like a time. A substr() of every value would need
# memory each time, and the threads of the survey would queue for it.
_SHAPE = "????-??-??[T ]??:??:??"


def _is_time(length: str, rest: str) -> str:
    """Spell that a text of such a length is a time, with this pattern after the seconds."""
    return (
        f"({{x}} < x'' AND julianday({{x}}) > 1721427 AND {length} "
        f"AND ({{x}} GLOB '????-??-[0-2][0-8][T ][01]?:??:??{rest}' "
        f"OR {{x}} GLOB '????-??-[0-2][0-8][T ]2[0-3]:??:??{rest}' "
        f"OR {{x}} GLOB '{_SHAPE}{rest}' AND substr({{x}}, 12, 2) < '24' "
        # What is rounded up on the last day leads to a year that Python does not have.
        "AND {x} < '9999-12-31' COLLATE BINARY "
        # The modifier makes older versions compute the day again, instead of repeating what they
        # read.
        "AND (substr({x}, 9, 2) < '29' OR date(substr({x}, 1, 10), '+0 days') = substr({x}, 1, 10))"
        ")) IS TRUE"
    )


_TIME = _is_time("{octets} < 36 AND {octets} = length({x})", "*")
# Most columns hold times without a fraction, or with six digits at most, and nothing after them:
# each is seen and sent in less time. No NUL has room in 19 characters that match.
_SECOND = _is_time("{octets} = 19", "")
_UNROUNDED = _is_time("{octets} < 27 AND {octets} = length({x})", "*")
# Microseconds since 2000. A Julian day is a double of some 40 µs, and SQLite's are of whole
# milliseconds: seconds are exact once the fraction is taken off, which is added as it is written.
_SECONDS = "CAST((julianday({x}) - 1721059.5) * 86400.0 - {fraction} + 0.5 AS INTEGER)"
_WHOLE = _SECONDS.replace("{fraction}", "0")
_FRACTION = "CAST(substr({x}, 20, 7) AS REAL)"
# The seventh digit rounds. A five with nothing after it is rounded as PostgreSQL does it, whose
# fraction is a double: half to even, unless the double is on one side of the half.
_HALF = "(10 * CAST(substr({x}, 21, 6) AS INTEGER) + 5)"
_MICROS = f"{_HALF} / 10000000.0 * 1000000"
_ROUND_UP = (
    "CASE WHEN substr({x}, 27, 1) NOT BETWEEN '5' AND '9' "
    "OR {x} NOT GLOB '????????????????????[0-9][0-9][0-9][0-9][0-9][0-9]*' THEN 0 "
    "WHEN substr({x}, 27, 1) > '5' OR ltrim(substr({x}, 28), '0') GLOB '[1-9]*' THEN 1 "
    f"ELSE {_MICROS} > {_HALF} / 10.0 OR {_MICROS} = {_HALF} / 10.0 AND {_HALF} / 10 & 1 END"
)
# Most fractions are far from the next second, to which SQLite may round them, and from half a
# microsecond: the seconds are what they are without them.
_PLAIN = "substr({x}, 20, 5) BETWEEN '.' AND '.9994' AND substr({x}, 27, 1) <> '5'"
_INSTANT = (
    f"CASE WHEN {_PLAIN} "
    "THEN CAST((julianday({x}) - 1721059.5) * 86400.0 + 0.0002 AS INTEGER) * 1000000 "
    "+ CAST(CAST(substr({x}, 20, 10) AS REAL) * 1000000 + 0.5 AS INTEGER) "
    f"WHEN substr({{x}}, 20, 1) = '.' "
    f"THEN {_SECONDS.replace('{fraction}', _FRACTION)} * 1000000 "
    f"+ CAST({_FRACTION} * 1000000 + 0.5 AS INTEGER) + {_ROUND_UP} "
    f"ELSE {_WHOLE} * 1000000 END - 63113904000000000"
)
_INSTANT_FIELD = Field(_INSTANT, "q")
_SECOND_FIELD = Field(f"{_WHOLE} * 1000000 - 63113904000000000", "q")


def _fast_time(longest: int, condition: str) -> Fast:
    """Return the fast way for times of so many characters at most, which meet a condition, too."""
    if longest == 19:
        return Fast(_SECOND, _TIME_TEXT, _SECOND_FIELD, is_exact=True)
    if longest < 27:
        return Fast(_UNROUNDED + condition, _TIME_TEXT, _INSTANT_FIELD, is_exact=True)
    return Fast(_TIME + condition, _TIME_TEXT, _INSTANT_FIELD)


_FINEST = 6  # fraction digits of PostgreSQL's times


def lost(digits: int, type_: PgType) -> Loss | None:
    """Return what a column loses of so many digits after the second; None: nothing."""
    held = _FINEST if type_.size is None else type_.size
    if digits <= held:
        return None
    if held >= _FINEST:
        return Loss(MICROSECONDS, is_least=True)
    noun = "digit" if held == 1 else "digits"
    return Loss(f"rounded to {held} fraction {noun}, which is all that {type_} holds")


# --- the kinds ---------------------------------------------------------------------------


class _Instant(Kind):
    """What all kinds have in common in which a number counts time from an epoch."""

    is_instant = True
    options = frozenset(EPOCHS)
    numbers_only = options


class _Moment(_Instant):
    """A day and a time of day, to the microsecond or coarser."""

    is_lossy = True

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        # As PostgreSQL writes it too, so that the verification finds equal texts.
        found = instant(value, option, self.name)
        moment = rounded(found, type_.size).replace(tzinfo=None)
        text = moment.isoformat(" ")
        return text.rstrip("0") if moment.microsecond else text

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        if leads_beyond(value):
            return Loss(
                "cut after its last digit that fits, because it is too close to the year 10000 to "
                "be rounded (--cast table.column=text keeps all digits)"
            )
        found = lost(fraction_digits(value, option), type_)
        # Those of texts are counted by SQLite (rounding()).
        return None if found and found.is_least and number_in(value, option) is None else found

    def rounding(self, type_: PgType) -> Rounding | None:
        if type_.size is not None and type_.size < _FINEST:
            return None
        # Hardly any time has a digit there, and to look at one takes less time.
        seventh = "substr({x}, 27, 1) BETWEEN '0' AND '9'"
        return Rounding(
            f"CASE WHEN {seventh} THEN {{x}} GLOB '{_SHAPE}.{'[0-9]' * 7}*' "
            "AND {x} NOT GLOB '9999-12-31?23:59:59.999999[5-9]*' END",
            "times have more than six fraction digits and are rounded to microseconds",
            MICROSECONDS,
        )

    def has_plain_keys(self, facts: Facts) -> bool:
        return False  # the same instant is spelled in many ways

    def canonical(self, text: str) -> object:
        return spelled(text)


def _short_enough(type_: PgType) -> str:
    """Spell that a time has no more fraction digits than a column holds, or few of them."""
    if type_.size is None or type_.size >= _FINEST:
        return ""
    # The digits of an offset may stand there too; then it is read the exact way.
    return f" AND substr({{x}}, {21 + type_.size}, 1) NOT BETWEEN '0' AND '9'"


class Timestamp(_Moment):
    """A time without an offset, which is UTC; one with an offset is converted to UTC."""

    name = "timestamp"
    spellings = ("datetime", "timestamp without time zone")
    declarations = """
        datetime timestamp datetime_text timestamp_text datetime2 smalldatetime
        timestamp_without_time_zone timestamp_without_timezone_text
    """
    family = "timestamp"

    def choose(self, declared: Declaration, facts: Facts) -> PgType:
        # An offset, or a count of seconds since 1970 in UTC, names an instant.
        is_instant = facts.offsets > 0 or facts.integers > 0 or facts.reals > 0
        return TIMESTAMPTZ.type if is_instant else self.type

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "text":
            return None
        without_offset = " AND substr({x}, 20) NOT GLOB '*[-+Z]*'"
        return _fast_time(facts.longest, without_offset + _short_enough(type_))

    def clock(self, shape: str) -> str | None:
        return UTC_NOW if shape.startswith("Y") and "HH24" in shape else None


class Timestamptz(_Moment):
    """An instant."""

    name = "timestamptz"
    spellings = ("timestamp with time zone",)
    declarations = """
        timestamptz timestamp_with_time_zone timestamp_with_timezone
        timestamp_with_timezone_text timestamptz_text datetimeoffset timestamp_with_time_zone_text
    """
    family = "timestamptz"

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        return f"{super().read(value, type_, option)}+00"

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "text":
            return None
        return _fast_time(facts.longest, _short_enough(type_))

    def clock(self, shape: str) -> str | None:
        return "CURRENT_TIMESTAMP" if shape.startswith("YYYY-MM-DD") and "HH24" in shape else None


class Date(_Instant):
    """A day."""

    name = "date"
    declarations = "date date_text"
    family = "date"

    is_lossy = True

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        return _day(value, option, self.name).date().isoformat()

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        day = _day(value, option, self.name)
        if day.time() != time(0):
            return Loss("cut to the day, which is all that date holds")
        if day.utcoffset():
            return Loss("without its offset from UTC, which date does not hold")
        return None

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "text":
            return None
        fits = "typeof({x}) = 'text' AND date({x}, '+0 days') IS {x} COLLATE BINARY "
        fits += "AND {x} NOT GLOB '0000*'"
        return Fast(fits, "{x}", Field("CAST(julianday({x}) - 2451544.5 AS INTEGER)", "i"))

    def canonical(self, text: str) -> object:
        return date.fromisoformat(text) if len(text) == 10 else text

    def clock(self, shape: str) -> str | None:
        return f"({UTC_NOW})::date" if shape == "YYYY-MM-DD" else None


def _day(value: Value, option: str | None, name: str) -> datetime:
    """Read a day: with an offset, the one that is written, as PostgreSQL reads it too."""
    moment = instant(value, option, name)
    return moment.astimezone(offset_of(value)) if isinstance(value, str) else moment


class Time(Kind):
    """A time of day."""

    name = "time"
    spellings = ("time without time zone",)
    declarations = "time time_text time_without_time_zone"
    family = "time"
    is_judged_by_postgres = True
    is_lossy = True
    # The digits of a date have no time of day.
    options = frozenset(EPOCHS) - {"yyyymmdd"}
    numbers_only: ClassVar[frozenset[str]] = options

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        match = _CLOCK.match(value) if isinstance(value, str) else None
        if match is None:
            return _clock_of(_beside_a_day(value, option), type_)
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        fraction = micros(match[4])
        # PostgreSQL knows 24:00, Python does not.
        if (hour, minute, second, fraction) == (24, 0, 0, 0):
            return "24:00:00"
        try:
            whole = datetime(2000, 1, 1, hour, minute, second, tzinfo=UTC)
        except ValueError as error:
            raise Unfit(f"not a time of day: {error}") from error
        return _clock_of(whole + timedelta(microseconds=fraction), type_, whole)

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        match = _CLOCK.match(value) if isinstance(value, str) else None
        if match is None:
            return lost(fraction_digits(value, option), type_)
        return lost(len((match[4] or "").rstrip("0")), type_)

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "text":
            return None
        return Fast(f"typeof({{x}}) = 'text' AND {{x}} GLOB '{_CLOCK_SQL}'", "{x}")

    def canonical(self, text: str) -> object:
        return text if text.startswith("24") else time.fromisoformat(text)

    def clock(self, shape: str) -> str | None:
        return f"({UTC_NOW})::time(0)" if shape.startswith("HH24") else None


def _clock_of(moment: datetime, type_: PgType, day: datetime | None = None) -> str:
    found = rounded(moment, type_.size)
    return found.time().isoformat() if found.day == (day or moment).day else "24:00:00"


def _beside_a_day(value: Value, option: str | None) -> datetime:
    """Read a time of day that was stored with a day which means nothing (Rails: 2000-01-01)."""
    number = number_in(value, option)
    if number is not None and option is None:
        raise Unfit("a number; --cast table.column=time:s, time:ms or another unit reads it")
    try:
        moment = instant(value, option)
    except Unfit as error:
        raise Unfit("not a time of day") from error
    days = _NO_DAYS
    if number is None and _OTHER_OFFSET.search(str(value)):
        raise Unfit("a time with an offset, and the column is time")
    if option in _DAYS_OF_ZERO and number is not None:
        days = _NO_DAYS | {instant_of(0, option).date()}
    if moment.date() not in days:
        raise Unfit(f"a time of the day {moment.date()}, and the column is time")
    # PostgreSQL rounds a time of day alike, whatever the day.
    return moment.replace(year=2000, month=1, day=1)


# Those that programs write where they have none: Rails and SQLite; Unix; pandas and SQL Server;
# Go, Java and .NET; Excel and Delphi.
_NO_DAYS = {
    date(2000, 1, 1), date(1970, 1, 1), date(1900, 1, 1), date(1, 1, 1), date(1899, 12, 30)
}  # fmt: skip
_DAYS_OF_ZERO = ("webkit", "filetime", "mac", "mac_ns", "ticks")
_OTHER_OFFSET = re.compile(r"[+-](?!00(?::?00)?(?::?00)?\b)\d\d(?::?\d\d)?(?::?\d\d)?\s*\Z")
_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\Z", re.ASCII)

DATE, TIME, TIMESTAMP, TIMESTAMPTZ = Date(), Time(), Timestamp(), Timestamptz()
KINDS: tuple[Kind, ...] = (DATE, TIME, TIMESTAMP, TIMESTAMPTZ)
