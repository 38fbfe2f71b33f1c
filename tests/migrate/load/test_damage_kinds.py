"""
Many kinds of damage, each found by every way in which values are compared.

Only the last rows are damaged, in one statement: they stay where they are, so
that it is the value that is found, and not another order.
"""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.errors import VerificationFailed
from tests.migrate.load.test_damage import damaged  # noqa: F401 - a fixture

# Every type whose values are sent as records, and some that never are.
RECORDS = """
CREATE TABLE t (
  id INTEGER, note TEXT, more TEXT, ratio REAL, whole BIGINT, at TIMESTAMPTZ, local DATETIME,
  day DATE, data BLOB, raw JSON, key UUID, flag BOOLEAN, code VARCHAR(10)
);
"""
LINES = RECORDS.replace(" code ", " price NUMERIC, clock TIME, doc JSONB, code ")
LAST = """
CREATE TABLE z (id INTEGER PRIMARY KEY);
INSERT INTO z VALUES (7);
"""


def row(number: int) -> tuple[object, ...]:
    return (
        number, f"Größe {number}\n", None if number % 2 else "", number - 5.1,
        -(2**40) - number, f"2024-01-0{number} 22:30:00.25+02:00", f"2024-02-2{number} 23:59:59",
        f"2024-02-2{number}", bytes([number, 0, 255]), f'{{ "n": {number}, "a": [true, 1] }}',
        bytes([number]) * 16, number % 2, f"c{number}",
    )  # fmt: skip


ROWS = [*map(row, range(1, 6)), (6, "", "x", 0.0, 0, *row(6)[5:])]


def row_of_lines(values: tuple[object, ...]) -> tuple[object, ...]:
    number = values[0]
    more = (f"1{number}.50", f"10:00:0{number}", f'{{"n": {number}, "b": [1.0]}}')
    return (*values[:-1], *more, values[-1])


ROWS_OF_LINES = [row_of_lines(values) for values in ROWS]

# What is set in the last two rows, ids 5 and 6, or in the last one alone.
ONE = {
    "a bit of bytes flipped": "data = set_bit(data, 0, 1 - get_bit(data, 0))",
    "a NUL byte lost": "data = '\\x06ff'::bytea",
    "bytes cut": "data = substring(data FROM 1 FOR 2)",
    "minus zero": "ratio = '-0'",
    "NaN": "ratio = 'NaN'",
    "infinite": "ratio = 'infinity'",
    "smallest double": "ratio = 5e-324",
    "empty text became NULL": "note = NULL",
    "text became empty": "more = ''",
    "a letter in another case": "more = upper(more)",
    "a blank at the end": "code = code || ' '",
    "an hour": "at = at + interval '1 hour'",
    "another zone": "local = local AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Kolkata'",
    "fraction of a second lost": "at = date_trunc('second', at)",
    "a century": "at = at - interval '100 years'",
    "the next day": "day = day + 1",
    "no day at all": "day = 'infinity'",
    "a flag inverted": "flag = NOT flag",
    "a digit of a uuid": "key = '06060606-0606-0606-0606-060606060607'",
    "JSON in another spelling": "raw = raw::jsonb::json",
    "JSON: 1 became true": "raw = replace(raw::text, '[true, 1]', '[true, true]')::json",
    "another row's number": "id = 5",
}
TWO = {
    "a letter decomposed": "note = normalize(note, NFD)",
    "a line break lost": "note = rtrim(note, E'\\n')",
    "text cut": "note = left(note, 3)",
    "columns swapped": "note = more, more = note",
    "the lower half of a number": "whole = whole & 4294967295",
    "a sign lost": "whole = abs(whole)",
    "a double as a single": "ratio = ratio::real",
    "rows swapped": "code = 'c' || 11 - id",
    "NULL became a value": "more = coalesce(more, '')",
    "one row twice, the other lost": "id = 6, note = '', more = 'x', ratio = 0, whole = 0",
}
OF_LINES = {
    "a number rounded": "price = round(price)",
    "a number that is none": "price = 'NaN'",
    "a cent": "price = price + 0.01",
    "a second": "clock = clock + interval '1 second'",
    "midnight": "clock = '24:00'",
    "a member of a document": "doc = doc - 'b'",
    "1 became true in a document": "doc = jsonb_set(doc, '{b}', '[true]')",
    "a document became null": "doc = 'null'",
    "a document became NULL": "doc = NULL",
}
CASES = [
    *(("records", f"UPDATE t SET {change} WHERE id = 6", name) for name, change in ONE.items()),
    *(
        ("records", f"UPDATE t SET {change} WHERE id IN (5, 6)", name)
        for name, change in TWO.items()
    ),
    *(("lines", f"UPDATE t SET {change} WHERE id = 6", name) for name, change in ONE.items()),
    *(("lines", f"UPDATE t SET {change} WHERE id IN (5, 6)", name) for name, change in TWO.items()),
    *(("lines", f"UPDATE t SET {change} WHERE id = 6", name) for name, change in OF_LINES.items()),
]
WAYS = ("by digest", "by value", "large", "added")


@pytest.fixture(params=WAYS)
def way(request, monkeypatch, move, pg):
    """Compare by digests, value by value, both, or in any order beside rows that were there."""
    if request.param == "large":
        monkeypatch.setattr("oxy_pg.migrate.load.verify._AT_ONCE", 0)
    elif request.param != "by value":
        monkeypatch.setattr("oxy_pg.migrate.load.load.FEW", 2)
        monkeypatch.setattr("oxy_pg.migrate.load.verify.FEW", 2)

    def go(form: str, **options: object):
        script = (RECORDS if form == "records" else LINES) + LAST
        rows = {"t": ROWS if form == "records" else ROWS_OF_LINES}
        if request.param != "added":
            return move(script, rows, **options)
        return move(script, rows, if_not_empty="append", **options)

    def prepared(form: str) -> None:
        if request.param == "added":
            pg("CREATE TABLE z (id bigint PRIMARY KEY)")
            pg(EXISTING if form == "records" else EXISTING_OF_LINES)
            pg("INSERT INTO t (id, note) VALUES (100, 'kept')")

    go.prepared = prepared  # type: ignore[attr-defined]
    go.name = request.param  # type: ignore[attr-defined]
    return go


EXISTING = """
CREATE TABLE t (
  id bigint, note text, more text, ratio double precision, whole bigint, at timestamptz,
  local timestamp, day date, data bytea, raw json, key uuid, flag boolean, code varchar(10)
)
"""
EXISTING_OF_LINES = EXISTING.replace(" code ", " price numeric, clock time, doc jsonb, code ")


@pytest.mark.parametrize("form", ["records", "lines"])
def test_what_is_written_again_as_it_was_passes(way, damaged, form):  # noqa: F811
    """
    The rows are touched as in the tests below, and nothing is changed: that is not found.
    """
    way.prepared(form)
    damaged("UPDATE t SET note = note WHERE id IN (5, 6)")

    report = way(form)

    (compared,) = (found for found in report.verification.compared if found.table == "t")
    expected = {
        ("by digest", "records"): (13, 0),
        ("by digest", "lines"): (13, 3),
        ("large", "records"): (1, 12),
        ("added", "records"): (13, 0),
    }
    columns = (len(compared.bytes), len(compared.values))
    assert expected.get((way.name, form), (0, 13 if form == "records" else 16)) == columns
    is_sampled = way.name == "by digest" or (way.name, form) == ("large", "records")
    assert (compared.sampled > 0) == is_sampled


@pytest.mark.parametrize(
    ("form", "damage"), [case[:2] for case in CASES], ids=[f"{c[0]}: {c[2]}" for c in CASES]
)
def test_damage_is_found(way, pg, damaged, form, damage):  # noqa: F811
    """
    It is found, whichever way the values are compared, and everything is rolled back.
    """
    way.prepared(form)
    before = pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    damaged(damage)

    with pytest.raises(VerificationFailed, match=r"\bt\b"):
        way(form)

    assert before == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE t SET note = 'changed' WHERE id = 100",
        "WITH gone AS (DELETE FROM t WHERE id = 100) INSERT INTO t SELECT * FROM t WHERE id = 6",
    ],
)
@pytest.mark.parametrize("form", ["records", "lines"])
def test_damage_to_rows_that_were_there_is_found(move, pg, damaged, form, damage):  # noqa: F811
    """
    An old row is changed, or replaced by a copy of a new one: the number of rows is right.
    """
    pg("CREATE TABLE z (id bigint PRIMARY KEY)")
    pg(EXISTING if form == "records" else EXISTING_OF_LINES)
    pg("INSERT INTO t (id, note) VALUES (100, 'kept')")
    damaged(damage)
    script = (RECORDS if form == "records" else LINES) + LAST
    rows = {"t": ROWS if form == "records" else ROWS_OF_LINES}

    with pytest.raises(VerificationFailed, match=r"\bt\b"):
        move(script, rows, if_not_empty="append")

    assert [(100, "kept")] == pg("SELECT id, note FROM t")


def test_a_trigger_that_writes_a_little_more_is_found(way, damaged, pg, server_url, pg_url):  # noqa: F811
    """
    A table of somebody else's, whose trigger may not be set aside, adds a blank.
    """
    url = server_url.rpartition("/")[0] + "/" + pg_url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(EXISTING)
        admin.execute("CREATE TABLE z (id bigint PRIMARY KEY)")
        admin.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO oxy")
        admin.execute(
            """
            CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN IF NEW.id = 3 THEN NEW.code = NEW.code || ' '; END IF; RETURN NEW; END $$;
            CREATE TRIGGER more BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION more();
            """
        )

    with pytest.raises(VerificationFailed, match=r"\bt\b"):
        way("records")

    assert [] == pg("SELECT * FROM t")
