"""Lengths of time: numbers with a unit, and the texts that programs write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from oxy_pg.errors import BadValues, ConfigurationError
from oxy_pg.migrate.convert.lengths import length
from oxy_pg.migrate.migration import migrate

TEXTS = [
    ("1.02:03:04.5000000", "1 day 02:03:04.5"),  # .NET
    ("-1.02:03:04", "-1 days -02:03:04"),
    ("10675199.02:48:05", "10675199 days 02:48:05"),
    ("00:00:01.2500000", "00:00:01.25"),
    ("26:00:01", "26:00:01"),
    ("-0:00:01.5", "-00:00:01.5"),
    ("1 day, 2:03:04.000005", "1 day 02:03:04.000005"),  # Python
    ("-1 day, 23:59:58.500000", "-1 days +23:59:58.5"),
    ("3 02:03:04", "3 days 02:03:04"),  # Django
    ("P1DT2H3M4.5S", "1 day 02:03:04.5"),  # ISO 8601
    ("PT90M", "01:30:00"),
    ("P2W", "14 days"),
    ("-P1Y2M", "-1 years -2 mons"),
    ("P1DT-2H", "1 day -02:00:00"),
    ("PT0S", "00:00:00"),
    ("1 year 2 mons 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789"),  # PostgreSQL
    ("-1 days +02:03:00", "-1 days +02:03:00"),
    ("1 mon -1 days", "1 mon -1 days"),
    ("1 day 02:00", "1 day 02:00:00"),
    ("1.7 seconds", "00:00:01.7"),
    ("90 minutes", "01:30:00"),
    ("1h30m", "01:30:00"),
    ("2 weeks ago", "-14 days"),
]


@pytest.mark.parametrize(("text", "spelled"), TEXTS)
def test_texts_of_programs_are_read(move, pg, text, spelled):
    """
    As the program meant them, not as PostgreSQL might; PostgreSQL spells what has arrived.
    """
    pg("CREATE TABLE t (v interval)")
    assert () == move("CREATE TABLE t (v TEXT)", {"t": [(text,)]}).changes
    assert [(spelled,)] == pg("SELECT v::text FROM t")


@pytest.mark.parametrize(
    "text",
    [
        *("", "10:30", "1.26:00:00", "00:61:00", "00:00:61", "P", "PT", "P1DT", "P0.5M", "soon"),
        *("1 parsec", "5 days five", "1:2:3:4", "0.5 months"),
    ],
)
def test_texts_without_a_certain_length_are_bad_values(lite, pg_url, pg, text):
    """
    10:30 may be hours or minutes, and half a month has no length.
    """
    pg("CREATE TABLE t (v interval)")
    with pytest.raises(BadValues, match=r"not an interval|H:MM:SS|fraction of a month"):
        migrate(lite("CREATE TABLE t (v TEXT)", {"t": [(text,)]}), pg_url)


@pytest.mark.parametrize(
    ("unit", "number", "spelled"),
    [
        ("us", 86_400_000_000, "1 day"),
        ("us", -1_500_000, "-00:00:01.5"),
        ("us", 90_061_000_001, "1 day 01:01:01.000001"),
        ("us", 0, "00:00:00"),
        ("ms", 1500, "00:00:01.5"),
        ("s", 1.5, "00:00:01.5"),
        ("s", 0.1, "00:00:00.1"),
        ("s", "90061", "1 day 01:01:01"),
        ("ns", 1500, "00:00:00.000002"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_numbers_have_the_unit_of_the_cast(move, pg, unit, number, spelled, create):
    """
    In a table that is created, and in one that exists.
    """
    declared = "TEXT" if isinstance(number, str) else "NUMERIC"
    if not create:
        pg("CREATE TABLE t (v interval)")
    move(
        f"CREATE TABLE t (v {declared})",
        {"t": [(number,)]},
        casts={"t.v": f"interval:{unit}"},
    )
    assert [(spelled,)] == pg("SELECT v::text FROM t")


@pytest.mark.parametrize(
    "value",
    [
        *("1970-01-01 00:00:01.677125", "1970-01-02 00:00:00", "1970-01-01T00:00:01"),
        *("1969-12-31 23:59:59.000000", "1970-01-01 00:00:00+00:00"),
    ],
)
def test_a_time_is_no_interval_without_the_cast(lite, pg_url, pg, value):
    """
    SQLAlchemy's Interval; the message says what to write, and that moves it.
    """
    pg("CREATE TABLE e (d interval)")
    path = lite("CREATE TABLE e (d DATETIME)", {"e": [(value,)]})
    with pytest.raises(BadValues, match=r"--cast e\.d=interval:epoch"):
        migrate(path, pg_url)

    migrate(path, pg_url, casts={"e.d": "interval:epoch"})

    [(seconds,)] = pg("SELECT extract(epoch FROM d)::float8 FROM e")
    assert datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() == seconds


@pytest.mark.parametrize("value", [5, 1.5, "300"])
def test_a_number_without_a_unit_is_a_bad_value(lite, pg_url, pg, value):
    """
    And the message says what to write.
    """
    pg("CREATE TABLE e (d interval)")
    path = lite("CREATE TABLE e (d)", {"e": [(value,)]})
    with pytest.raises(BadValues, match=r"--cast e\.d=interval:us"):
        migrate(path, pg_url)


def test_a_django_file_counts_microseconds(move, pg):
    """
    Known by its own table; a text beside the numbers is read as what it says.
    """
    pg("CREATE TABLE e (d interval)")
    script = "CREATE TABLE django_migrations (name TEXT); CREATE TABLE e (d bigint);"
    move(script, {"e": [(86_400_000_000,), (-17,), (None,)]})
    assert [("1 day",), ("-00:00:00.000017",), (None,)] == pg("SELECT d::text FROM e")


def test_times_since_1970_are_lengths(move, pg):
    """
    SQLAlchemy's Interval is a DATETIME in SQLite.
    """
    pg("CREATE TABLE r (took interval)")
    rows = [("1970-01-01 00:00:00.004980",), ("1970-01-02 03:00:00.000000",)]
    rows += [("1969-12-31 23:59:59.5",)]
    move("CREATE TABLE r (took DATETIME)", {"r": rows}, casts={"r.took": "interval:epoch"})
    found = [row[0] for row in pg("SELECT took FROM r")]
    assert [timedelta(microseconds=4980), timedelta(hours=27), timedelta(seconds=-0.5)] == found


@pytest.mark.parametrize("cast", ["text:us", "interval:julian", "integer:s", "date:epoch"])
def test_an_option_that_means_nothing_is_an_error(lite, pg_url, cast):
    """
    It is not ignored.
    """
    with pytest.raises(ConfigurationError, match="means nothing"):
        migrate(lite("CREATE TABLE t (v)"), pg_url, casts={"t.v": cast})


@pytest.mark.parametrize(("there", "cast"), [("text", "interval:us"), ("interval", "date:julian")])
def test_an_option_that_means_nothing_for_the_targets_type_is_an_error(
    lite, pg_url, pg, there, cast
):
    """
    The column exists with another type.
    """
    pg(f"CREATE TABLE t (v {there})")
    with pytest.raises(ConfigurationError, match="the target has this column already"):
        migrate(lite("CREATE TABLE t (v)"), pg_url, casts={"t.v": cast})


@pytest.mark.parametrize("spelled", [spelled for _, spelled in TEXTS])
def test_what_postgres_spells_is_read_and_spelled_alike(spelled):
    """
    Its own output is a text like any other.
    """
    assert spelled == str(length(spelled, None))
