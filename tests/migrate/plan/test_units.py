"""What the numbers of a time column count: decided where all agree, else listed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oxy_pg.errors import BadValues, ChangedValues, UnclearTimes
from oxy_pg.migrate.migration import migrate

T = 1_700_000_000  # 2023-11-14 22:13:20
AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
SCRIPT = "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)"


def rows(*values) -> dict[str, list[tuple[object, ...]]]:
    return {"t": [(number, value) for number, value in enumerate(values, 1)]}


NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "last"),
    [
        ((T, T, T, 253_402_300_799), NEVER),
        ((T, 0), datetime(1970, 1, 1, tzinfo=UTC)),
        ((T * 1000, 253_402_300_799_000), NEVER),
        ((T * 1000, T * 1000, 32_503_680_000_000), datetime(3000, 1, 1, tzinfo=UTC)),
        ((T, -62_135_596_800), datetime(1, 1, 1, tzinfo=UTC)),
        ((T, -2_000_000_000), datetime(1906, 8, 16, 20, 26, 40, tzinfo=UTC)),
        ((T * 10**6, 0, 0, 0), datetime(1970, 1, 1, tzinfo=UTC)),
        ((T * 10**9,), AT),
    ],
)
def test_one_that_means_never_does_not_decide_for_the_others(move, pg, values, last):
    """
    The unit is that of the ordinary ones, and the plan says what becomes of each.
    """
    report = move(SCRIPT, rows(*values))
    found = [row[0] for row in pg("SELECT at FROM t ORDER BY id")]
    assert (AT, last) == (found[0], found[-1])
    (warning,) = report.warnings
    assert "2023-11-14 22:13:20" in warning
    assert f"{last:%Y-%m-%d %H:%M:%S}".lstrip("0") in warning


@pytest.mark.parametrize("never", [2**63 - 1, -(2**63), 2**53 - 1, 8_640_000_000_000_000])
def test_a_never_that_is_no_time_is_a_bad_value(lite, pg_url, pg, never):
    """
    It stands alone; asked for, it is NULL.
    """
    path = lite(SCRIPT, rows(T * 1000, T * 1000, never))
    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)
    assert ["id 3"] == [bad.row for bad in caught.value.values]
    migrate(path, pg_url, on_bad_value="null", verify="full")
    assert [(AT,), (AT,), (None,)] == pg("SELECT at FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("values", "counts", "units"),
    [
        ((T, T, T, T * 1000), [3, 1], ["s", "ms"]),
        ((T * 1000, T * 10**6), [1, 1], ["ms", "us"]),
        ((T, T * 10**9), [1, 1], ["s", "ns"]),
        ((T, 2_460_000.5), [1, 1], ["s", "julian"]),
        ((T, 10**12, 9 * 10**18), [1, 1, 1], ["s", "ms"]),  # the last is a time in no unit
    ],
)
def test_several_units_stop_the_migration(lite, pg_url, pg, values, counts, units):
    """
    With each group, its count, its instants under each unit, and the casts.
    """
    path = lite(SCRIPT, rows(*values))
    with pytest.raises(UnclearTimes) as caught:
        migrate(path, pg_url)
    (column,) = caught.value.columns
    assert sorted(counts) == sorted(group.total for group in column.groups)
    for unit in units:
        assert any(cast == f"t.at=timestamptz:{unit}" for cast in column.casts)
        assert any(unit == reading[0] for reading in column.groups[0].readings)
    assert "2023-11-14 22:13:20" in str(caught.value)
    planned = migrate(path, pg_url, dry_run=True)
    assert ["unclear times"] == [problem.kind for problem in planned.problems]
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


DAY = datetime(2024, 1, 31, tzinfo=UTC)
NAMED = [
    ("yyyymmdd", 20240131, DAY),
    ("yyyymmdd", 20240131123456, datetime(2024, 1, 31, 12, 34, 56, tzinfo=UTC)),
    ("ticks", 638_422_560_000_000_000, DAY),
    ("excel", 45322, DAY),
    ("excel", 45322.5, datetime(2024, 1, 31, 12, tzinfo=UTC)),
    ("webkit", 13_351_132_800_123_456, datetime(2024, 1, 31, 0, 0, 0, 123456, tzinfo=UTC)),
    ("filetime", 133_511_328_000_000_000, DAY),
    ("julian", 2_460_341, datetime(2024, 1, 31, 12, tzinfo=UTC)),
    ("mac", 728_352_000, DAY),
    ("days", 19_753, DAY),
    ("days", 7_305, datetime(1990, 1, 1, tzinfo=UTC)),
    ("mac_ns", 728_352_000_000_000_000, DAY),
]


@pytest.mark.parametrize(("epoch", "number", "instant"), NAMED)
def test_epochs_by_name(lite, pg_url, pg, epoch, number, instant):
    """
    Without the cast nothing is guessed where since 1970 it would be an odd time as well.
    """
    path = lite(SCRIPT, rows(number))
    if not epoch.startswith("mac"):  # which is a time of the eighties and nineties as well
        with pytest.raises(UnclearTimes) as caught:
            migrate(path, pg_url)
        assert f"t.at=timestamptz:{epoch}" in caught.value.columns[0].casts

    report = migrate(path, pg_url, casts={"t.at": f"timestamptz:{epoch}"}, verify="full")

    assert [(instant,)] == pg("SELECT at FROM t")
    assert any(f"{instant:%Y-%m-%d}" in warning for warning in report.warnings)


@pytest.mark.parametrize("pg_type", ["timestamp", "date"])
@pytest.mark.parametrize(
    ("epoch", "number", "instant"), [named for named in NAMED if named[2] == DAY]
)
def test_epochs_for_other_types_of_time(move, pg, pg_type, epoch, number, instant):
    """
    The names are the same.
    """
    move(SCRIPT, rows(number), casts={"t.at": f"{pg_type}:{epoch}"})
    assert [(f"{instant:%Y-%m-%d}",)] == pg("SELECT at::date::text FROM t")


@pytest.mark.parametrize(
    ("epoch", "number"),
    [("s", 27000), ("ms", 27_000_000), ("ticks", 270_000_000_000), ("excel", 0.3125)],
)
def test_epochs_for_a_time_of_day(move, pg, epoch, number):
    """
    What they count from begins a day.
    """
    move("CREATE TABLE t (at TIME)", {"t": [(number,)]}, casts={"t.at": f"time:{epoch}"})
    assert [("07:30:00",)] == pg("SELECT at::text FROM t")


@pytest.mark.parametrize("day", ["2000-01-01", "1970-01-01", "1900-01-01", "0001-01-01"])
@pytest.mark.parametrize("end", ["", ".5", " UTC", "Z", "+00:00"])
def test_a_time_of_day_with_a_day_that_means_nothing(move, pg, day, end):
    """
    As Rails and others write it.
    """
    move("CREATE TABLE r (wakes time(6))", {"r": [(f"{day} 07:30:00{end}",)]})
    assert [("07:30:00.5" if end == ".5" else "07:30:00",)] == pg("SELECT wakes::text FROM r")


@pytest.mark.parametrize("text", ["2024-05-01 07:30:00", "2000-01-01 07:30:00+02:00", "noon", 450])
def test_a_time_of_day_of_a_real_day_is_a_bad_value(lite, pg_url, text):
    """
    The day, or the offset, would be lost.
    """
    with pytest.raises(BadValues, match=r"column is time|not a time of day|time:s"):
        migrate(lite("CREATE TABLE r (wakes time)", {"r": [(text,)]}), pg_url)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-09-11 20:39:10.511227327 +0530 IST m=+73.18", (2026, 9, 11, 15, 9, 10, 511227)),
        ("2026-09-11 20:39:10 +0000 UTC", (2026, 9, 11, 20, 39, 10)),
        ("2026-09-11 20:39:10.5 -0300 -03 m=-0.001", (2026, 9, 11, 23, 39, 10, 500000)),
        ("2026-09-11 20:39:10.511 +0200 CEST m=+0.000012345", (2026, 9, 11, 18, 39, 10, 511000)),
        ("2026-09-11T20:39:10+02:00[Europe/Paris]", (2026, 9, 11, 18, 39, 10)),
        ("2026-09-11 20:39:10 GMT", (2026, 9, 11, 20, 39, 10)),
    ],
)
def test_times_as_drivers_write_them(move, pg, text, instant):
    """
    The offset counts; the name of the zone and Go's monotonic clock say nothing more.
    """
    move("CREATE TABLE g (at DATETIME)", {"g": [(text,)]})
    ((found,),) = pg("SELECT at::timestamptz FROM g")
    assert instant == found.timetuple()[:6] + (found.microsecond,) * (found.microsecond > 0)


@pytest.mark.parametrize("text", ["2026-09-11 20:39:10 IST", "2026-09-11 20:39:10 m=+1"])
def test_a_zone_without_an_offset_is_a_bad_value(lite, pg_url, text):
    """
    IST is a zone of India, of Israel and of Ireland.
    """
    with pytest.raises(BadValues, match="not a time"):
        migrate(lite(SCRIPT, rows(text)), pg_url)


@pytest.mark.parametrize(("digits", "arrived"), [("9999999", "999999"), ("99999951", "999999")])
def test_the_last_instant_of_dotnet_stops_and_says_what_to_cast(lite, pg_url, pg, digits, arrived):
    """
    It is cut where that is accepted; there is no year 10000.
    """
    path = lite(SCRIPT, rows(f"9999-12-31 23:59:59.{digits}", "2024-01-01 00:00:00"))
    with pytest.raises(ChangedValues, match=r"--cast t\.at=text") as caught:
        migrate(path, pg_url)
    assert "out of" not in str(caught.value)
    migrate(path, pg_url, on_change="accept", verify="full")
    assert [(f"9999-12-31 23:59:59.{arrived}",)] == pg("SELECT at::text FROM t WHERE id = 1")


def test_one_cast_reads_numbers_beside_texts(lite, pg_url, pg):
    """
    Prisma's milliseconds beside CURRENT_TIMESTAMP: the message says what to cast.
    """
    path = lite(SCRIPT, rows(1_700_000_000_123, "2024-01-01 00:00:00", "2024-01-02 00:00:00"))
    with pytest.raises(BadValues, match=r"--cast t\.at=timestamptz:ms .*2023-11-14 22:13:20\.123"):
        migrate(path, pg_url)

    migrate(path, pg_url, casts={"t.at": "timestamptz:ms"}, verify="full")

    assert [("2023-11-14",), ("2024-01-01",), ("2024-01-02",)] == pg(
        "SELECT at::date::text FROM t ORDER BY id"
    )


@pytest.mark.parametrize(
    ("script", "place", "number", "epoch"),
    [
        (
            ("CREATE TABLE Z_PRIMARYKEY (Z_ENT INTEGER); CREATE TABLE Z_METADATA (Z_UUID TEXT);"
            "CREATE TABLE ZNOTE (Z_PK INTEGER, ZCREATED TIMESTAMP);"),
            ("ZNOTE", "ZCREATED"), 728_352_000, "mac",
        ),
        (
            ("CREATE TABLE visits (id INTEGER, visit_time TIMESTAMP); CREATE TABLE urls (url TEXT);"
            "CREATE TABLE keyword_search_terms (term TEXT);"),
            ("visits", "visit_time"), 13_351_132_800_000_000, "webkit",
        ),
        (
            ("CREATE TABLE moz_places (id INTEGER, last_visit_date TIMESTAMP);"
            "CREATE TABLE moz_historyvisits (id INTEGER);"),
            ("moz_places", "last_visit_date"), 1_706_659_200_000_000, "us",
        ),
        (
            ("CREATE TABLE history_items (id INTEGER);"
            "CREATE TABLE history_visits (id INTEGER, visit_time DATETIME);"),
            ("history_visits", "visit_time"), 728_352_000.0, "mac",
        ),
        (
            ("CREATE TABLE ABPerson (ROWID INTEGER PRIMARY KEY, CreationDate DATETIME);"
            "CREATE TABLE ABMultiValue (UID INTEGER);"),
            ("ABPerson", "CreationDate"), 728_352_000, "mac",
        ),
        (
            ("CREATE TABLE message (ROWID INTEGER PRIMARY KEY, date_read TIMESTAMP);"
            "CREATE TABLE chat (guid TEXT); CREATE TABLE chat_message_join (chat_id INTEGER);"),
            ("message", "date_read"), 728_352_000_000_000_000, "mac_ns",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_time", [True, False])
def test_files_of_known_programs(move, pg, script, place, number, epoch, is_time):
    """
    Times are read by their epoch; where the program declares numbers, the cast is proposed.
    """
    if not is_time:
        script = script.replace("TIMESTAMP", "INTEGER").replace("DATETIME", "REAL")
        if place[0].startswith("Z"):
            return
    report = move(script, {place[0]: [(1, number)]})
    told = [warning for warning in report.warnings if ".".join(place) in warning]
    (found,) = pg(f'SELECT "{place[1]}" FROM "{place[0]}"')
    if is_time:
        assert (DAY,) == found
        assert "2024-01-31 00:00:00" in told[0]
    else:
        assert (number,) == found
        assert f"--cast {'.'.join(place)}=timestamptz:{epoch}" in told[0]


@pytest.mark.parametrize(
    ("integers", "values", "expected"),
    [
        ("bigint", (1, 2), "bigint"),
        ("auto", (1, 2), "integer"),
        ("auto", (), "integer"),
        ("auto", (1, T), "bigint"),  # seconds since 1970 leave 32 bits in 2038
        ("auto", (1,) * 600 + (2**40,), "bigint"),
    ],
)
def test_integers_as_wide_as_is_asked_for(move, pg, integers, values, expected):
    """
    Keys and references too; what is declared BIGINT stays so.
    """
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, big BIGINT)"
    report = move(script, {"t": [(i, v, 1) for i, v in enumerate(values, 1)]} if values else {},
                  integers=integers)  # fmt: skip
    assert ["integer" if integers == "auto" else "bigint", expected, "bigint"] == [
        column.type for column in report.tables[0].columns
    ]
    ((following,),) = pg("SELECT nextval(pg_get_serial_sequence('t', 'id'))")
    assert len(values) + 1 == following


def test_types_from_the_values_where_the_declaration_is_wrong(move, pg):
    """
    Fractions in INTEGER, texts in INTEGER, keys of sixteen bytes in NUMERIC(16).
    """
    script = "CREATE TABLE t (use_count INTEGER, code INTEGER, uuid NUMERIC(16))"
    report = move(script, {"t": [(1.2345, "a-1", bytes(16)), (2, "b-2", bytes(range(16)))]})
    types = [column.type for column in report.tables[0].columns]
    assert ["numeric", "text", "uuid"] == types
    assert [("1.2345", "a-1"), ("2", "b-2")] == pg("SELECT use_count::text, code FROM t")
    assert 3 == sum("which its values are" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("pg_type", "digits", "cast"),
    [
        ("timestamptz", "1700000000", "t.v=timestamptz:s"),
        ("timestamp", "1700000000123", "t.v=timestamp:ms"),
        ("date", "20240131", "t.v=date:yyyymmdd"),
        ("timestamptz", "20240131123456", "t.v=timestamptz:yyyymmdd"),
    ],
)
def test_digits_in_a_column_of_texts_say_how_they_can_be_read(
    lite, pg_url, pg, pg_type, digits, cast
):
    """
    They are no time as they are; the cast in the message reads them.
    """
    pg(f"CREATE TABLE t (v {pg_type})")
    path = lite("CREATE TABLE t (v TEXT)", {"t": [(digits,)]})
    with pytest.raises(BadValues, match="digits, and no time") as caught:
        migrate(path, pg_url)
    assert f"--cast {cast} " in str(caught.value)
    place, _, type_ = cast.partition("=")
    assert 1 == migrate(path, pg_url, casts={place: type_}).rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-31 10:00:00,123", "2024-01-31 10:00:00.123+00"),
        ("2024-01-31T10:00:00,5Z", "2024-01-31 10:00:00.5+00"),
        ("2024-01-31 10:00:00,1234567+02:00", "2024-01-31 08:00:00.123457+00"),
    ],
)
def test_a_fraction_after_a_comma(move, pg, text, expected):
    """
    As Python's logging writes it, and ISO 8601 allows.
    """
    move("CREATE TABLE t (at DATETIME)", {"t": [(text,), ("2024-01-01 00:00:00+00:00",)]},
         casts={"t.at": "timestamptz"})  # fmt: skip
    assert [(expected,)] == pg("SELECT at::text FROM t ORDER BY at DESC LIMIT 1")


@pytest.mark.parametrize(
    ("cast", "values", "first", "last"),
    [
        ("timestamptz:s", ("1700000000", "1700000100"), "2023-11-14 22:13:20", "22:15:00"),
        ("timestamptz:s", ("-5", " +1700000000 "), "1969-12-31 23:59:55", "2023-11-14 22:13:20"),
        ("timestamptz:s", ("1700000000", "2030-01-01"), "2023-11-14 22:13:20", "22:13:20"),
        ("timestamp:ms", ("5.", T * 1000), "1970-01-01 00:00:00.005", "2023-11-14 22:13:20"),
        ("timestamp:julian", ("2460311.5", "2460312"), "2024-01-02 00:00:00", "2024-01-02 12:00"),
        ("date:yyyymmdd", ("20240101", "20231231"), "2023-12-31", "2024-01-01"),
    ],
)
def test_numbers_that_are_texts_say_where_they_lead(lite, pg_url, cast, values, first, last):
    """
    First and last instant stand in the plan for each column whose numbers are read as times.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, at)", rows(*values))
    report = migrate(path, pg_url, casts={"t.at": cast}, dry_run=True)
    (warning,) = (text for text in report.warnings if "t.at: " in text)
    assert first in warning
    assert last in warning


def test_numbers_that_are_texts_beside_numbers_are_seen(lite, pg_url):
    """
    A text is read by the unit that the numbers have: the plan counts it among them.
    """
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, at)", rows(T, T, "86400"))
    report = migrate(path, pg_url, casts={"t.at": "timestamptz:s"}, dry_run=True)
    (warning,) = (text for text in report.warnings if "t.at: " in text)
    assert "3 numbers are read as seconds since 1970 (UTC): 1970-01-02 00:00:00 to" in warning
