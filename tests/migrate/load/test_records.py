"""Tables that travel as records of binary COPY: everything that these could get wrong."""

from __future__ import annotations

import itertools
import random
import uuid

import pytest

from oxy_pg.errors import BadValues
from oxy_pg.migrate.load import load


@pytest.fixture
def as_records(monkeypatch):
    """Fail when a table travels as lines."""

    def lines(*_):
        raise AssertionError("a table went as lines")

    monkeypatch.setattr(load.Loader, "lines", lines)


# As doubles, two of them each lie below the half that they spell, above it, and on it.
HALVES = (".5195015", ".0321915", ".2545315", ".0653485", ".1408915", ".8412355", ".1234565")
TIMES = [
    f"{day}{separator}{clock}{fraction}{offset}"
    for day, separator, clock in itertools.product(
        ("0001-01-03", "1969-12-31", "1999-12-31", "2000-01-01", "2024-02-29", "9999-12-30"),
        "T ",
        ("00:00:00", "23:59:59", "19:00:30"),
    )
    for fraction in (
        *("", ".1", ".12", ".123", ".1234", ".12345", ".999999", ".000001", ".9999999"),
        *(".9994", ".9995", ".99949999", ".123456789", ".123456499", ".123456501"),
        *HALVES,
        *(".000000500", ".123455500", ".9999995"),
    )
    for offset in ("", "Z", "+00:00", "+05:45", "-12:59")
]


@pytest.mark.usefixtures("as_records")
def test_times_are_read_as_postgresql_reads_them(move, pg):
    """
    Before and after 1970 and 2000, with fractions around every rounding, and offsets.
    """
    move(
        "CREATE TABLE t (at timestamptz NOT NULL, said text NOT NULL)",
        {"t": [(t, t) for t in TIMES]},
    )
    wrong = pg("SELECT said, at, said::timestamptz FROM t WHERE at <> said::timestamptz")
    assert [] == wrong
    assert [(len(TIMES),)] == pg("SELECT count(*) FROM t")


@pytest.mark.usefixtures("as_records")
def test_random_times(move, pg):
    """
    One to twelve digits drawn at random, of any day of 300 years.
    """
    rng = random.Random(8)
    times = [
        f"{rng.randint(1850, 2150)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        f"T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
        f".{rng.randint(0, 10**digits - 1):0{digits}}"
        for digits in (*range(1, 10), 12)
        for _ in range(2000)
    ]
    move("CREATE TABLE t (at datetime, said text)", {"t": [(t, t) for t in times]})
    assert [] == pg("SELECT said, at FROM t WHERE at <> said::timestamp")


@pytest.mark.parametrize(
    "time",
    [
        "2023-02-29 10:00:00",
        "2024-04-31T10:00:00Z",
        "2024-01-01 24:00:01",
        "0000-01-01 00:00:00",
        "2024-01-01 10:00:00\0",
        "2024-01-01 10:00:00.5\0+02:00",
    ],
)
def test_what_only_looks_like_a_time_is_refused(move, pg, time):
    """
    What SQLite would take for another time, or for a part of the text, is not moved as one.
    """
    with pytest.raises(BadValues):
        move("CREATE TABLE t (at timestamptz)", {"t": [("2024-01-01 00:00:00",), (time,)]})
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


EVERYTHING = """
CREATE TABLE t (
  id INTEGER PRIMARY KEY, big bigint, yes boolean, d double, key uuid_text, spelled uuid,
  at timestamptz, day date, name varchar(40), body text, raw blob, doc json, must text NOT NULL
)
"""


@pytest.mark.usefixtures("as_records")
def test_every_type_at_its_limits(move, pg):
    """
    Limits of numbers, empty texts, all bytes, and NULL in every column.
    """
    key = uuid.UUID("00010203-0405-0607-0809-0a0b0c0d0eff")
    rows = [
        (1, 2**63 - 1, 1, float("inf"), key.bytes, str(key), "2024-01-01 00:00:00", "0001-01-01",
         "n" * 40, "b\x01\t\n\\.", bytes(range(256)), "[]", ""),
        (2, -(2**63), 0, -0.0, bytes(16), str(key).upper(), "1969-12-31T23:59:59.9Z", "9999-12-31",
         "", "", b"", '{"a": null}', "\N{ROCKET}"),
        (2**63 - 1, 65536, 1, 5e-324, b"\xff" * 16, str(key), "2024-02-29 12:00:00.000001",
         "2024-02-29", "\N{ROCKET}" * 40, "\N{ROCKET}" * 70_000, b"\0" * 70_000, '"\\u0000"', "x"),
        (-(2**63), *[None] * 11, "all NULL"),
    ]  # fmt: skip
    move(EVERYTHING, {"t": rows})
    assert [(*rows[3],)] == pg(
        "SELECT id, big, yes, d, key, spelled, at, day, name, body, raw, doc::text, must FROM t "
        "WHERE id < 0"
    )
    assert [(2**63 - 1, 1, float("inf"), key, key, bytes(range(256)), "b\x01\t\n\\.")] == pg(
        "SELECT big, yes::int, d, key, spelled, raw, body FROM t WHERE id = 1"
    )
    assert [(70_000, 70_000)] == pg("SELECT length(body), length(raw) FROM t WHERE id > 2")
    assert [(4, 3)] == pg("SELECT count(*), count(raw) FROM t")


@pytest.mark.usefixtures("as_records")
def test_rows_keep_their_order_whatever_their_size_and_number(move, pg):
    """
    Sparse rowids up to both limits, and rows from nothing to more than a piece may have.
    """
    rng = random.Random(5)
    numbers = sorted({rng.randrange(-(2**63), 2**63) for _ in range(3000)} | {-(2**63), 2**63 - 1})
    sizes = {
        0: 9_000_000,
        700: 3_000_000,
        701: 3_000_000,
        702: 3_000_000,
        len(numbers) - 1: 9_000_000,
    }
    rows = [(n, "x" * sizes.get(place, place % 50)) for place, n in enumerate(numbers)]
    report = move("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)", {"t": rows})
    assert len(rows) == report.tables[0].rows_written
    assert [(id_, len(v)) for id_, v in rows] == pg("SELECT id, length(v) FROM t ORDER BY ctid")


def test_a_column_named_rowid(move, pg):
    """
    The rowid goes by another of its names, or by none at all.
    """
    script = (
        "CREATE TABLE a (rowid TEXT, v TEXT); CREATE TABLE b (rowid TEXT, oid TEXT, _rowid_ TEXT)"
    )
    move(script, {"a": [("x", "1"), ("w", "2")], "b": [("x", "y", "z")]})
    assert [("x", "1"), ("w", "2")] == pg("SELECT * FROM a ORDER BY ctid")
    assert [("x", "y", "z")] == pg("SELECT * FROM b")


@pytest.mark.usefixtures("as_records")
def test_many_columns(move, pg):
    """
    More numbers in a row than a function of SQLite takes arguments.
    """
    names = [f"c{number}" for number in range(190)]
    move(
        f"CREATE TABLE t ({', '.join(f'{name} bigint NOT NULL' for name in names)})",
        {"t": [tuple(range(190)), tuple(range(190, 380))]},
    )
    assert [tuple(range(190)), tuple(range(190, 380))] == pg("SELECT * FROM t ORDER BY c0")


def test_one_unfit_value_makes_lines_of_its_table_alone(move, pg, monkeypatch):
    """
    A number written as text takes the exact way, and its table that of lines.
    """
    went = []
    lines = load.Loader.lines
    monkeypatch.setattr(
        load.Loader,
        "lines",
        lambda self, table, sent: went.append(table.source.name) or lines(self, table, sent),
    )
    move(
        "CREATE TABLE a (at timestamptz); CREATE TABLE b (at timestamptz)",
        {"a": [("2024-01-01 24:00:00",)], "b": [("2024-01-02 00:00:00",)]},
    )
    assert ["a"] == went
    assert pg("SELECT at FROM a") == pg("SELECT at FROM b")


def test_halves_lie_on_either_side_as_doubles():
    """
    Among the halves above are doubles below the half, above it, and exactly there.
    """
    doubles = [(float(half) * 1_000_000, int(half[1:7]) + 0.5) for half in HALVES]
    assert {-1, 0, 1} == {(double > half) - (double < half) for double, half in doubles}


def test_memory_stays_flat_with_large_rows(lite, pg_url, run_python):
    """
    A hundred rows of a megabyte are not in memory together, however small the others are.
    """
    rows = [(number, "x" * (1_000_000 if number >= 5000 else 10)) for number in range(5100)]
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)", {"t": rows})
    program = f"""
import psutil
from oxy_pg.migrate.migration import migrate
process, sizes = psutil.Process(), []
migrate({path!r}, {pg_url!r}, on_progress=lambda _: sizes.append(process.memory_info().rss))
print(max(sizes) // 1_000_000)
"""
    assert int(run_python(program)) < 110


LARGE = {
    "bytes": ("BLOB", "randomblob(1000000)"),
    "bytes beside a type without a record": ("BLOB, n NUMERIC", "randomblob(1000000), 1.5"),
    "texts": ("TEXT", "replace(hex(zeroblob(500000)), '00', 'ab')"),
    "texts without a record": ("TEXT, n NUMERIC", "replace(hex(zeroblob(500000)), '00', 'ab'), 1"),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("append", [False, True])
def test_memory_stays_flat_with_few_large_values(lite, pg, pg_url, run_python, kind, append):
    """
    Of 60 rows of a megabyte only some are in memory at any moment, the verification included.
    """
    columns, values = LARGE[kind]
    path = lite(
        f"""
        CREATE TABLE t (id INTEGER PRIMARY KEY, v {columns});
        WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 60)
        INSERT INTO t SELECT id, {values} FROM n;
        """
    )
    if append:
        oxy = "bytea" if "BLOB" in columns else "text"
        more = ", n numeric" if "NUMERIC" in columns else ""
        pg(f"CREATE TABLE t (id bigint PRIMARY KEY, v {oxy}{more})")
        pg("INSERT INTO t (id) VALUES (0)")
    program = f"""
import threading, psutil
from oxy_pg.migrate.migration import migrate
process, sizes, over = psutil.Process(), [], threading.Event()
def watch():
    while not over.wait(0.005):
        sizes.append(process.memory_info().rss)
watcher = threading.Thread(target=watch)
watcher.start()
report = migrate({path!r}, {pg_url!r}, if_not_empty="append")
assert report.verification.rows == 60
over.set()
watcher.join()
print(max(sizes) // 1_000_000)
"""
    assert int(run_python(program)) < 135
