"""What is too large for PostgreSQL's rows and indexes, named before the first write."""

from __future__ import annotations

import random
import time

import pytest

from oxy_pg.errors import BadValues, ChangedValues, MigrationError
from oxy_pg.migrate.migration import migrate

LONG = random.Random(1).randbytes(4000).hex()  # 8,000 bytes that hardly get shorter
ALIKE = "a" * 20_000  # more, but it does


def left(report):
    return {s.name: s.reason for s in report.skipped if s.kind == "index"}


@pytest.mark.parametrize(
    "index",
    [
        "CREATE UNIQUE INDEX i ON t (lower(u))",
        'CREATE UNIQUE INDEX i ON t (UPPER("u"), id)',
        "CREATE UNIQUE INDEX i ON t (coalesce(u, ''))",
        "CREATE UNIQUE INDEX i ON t (ifnull(u, 'none')) WHERE id < 5",
    ],
)
def test_a_unique_index_over_an_expression_is_foretold(lite, pg_url, pg, index):
    """
    Of a function whose result is as long as the column.
    """
    path = lite(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT); {index};", {"t": [(1, LONG), (2, "b")]}
    )
    with pytest.raises(BadValues, match=r"t\.u.*, id 1: .* bytes.*the index i") as caught:
        migrate(path, pg_url)
    assert 1 == caught.value.total
    assert 1 == len(migrate(path, pg_url, dry_run=True).problems)
    report = migrate(path, pg_url, on_bad_value="skip")
    assert [(2, "b")] == pg("SELECT * FROM t")
    assert () == report.skipped


@pytest.mark.parametrize(
    ("index", "value", "is_left"),
    [
        ("CREATE INDEX i ON t (u)", LONG, True),
        ("CREATE INDEX i ON t (id, u DESC)", LONG, True),
        ("CREATE INDEX i ON t (u COLLATE NOCASE)", LONG, True),
        ("CREATE INDEX i ON t (b)", bytes.fromhex(LONG), True),
        ("CREATE INDEX i ON t (u)", ALIKE, False),
        ("CREATE INDEX i ON t (b)", bytes(20_000), False),
        ("CREATE INDEX i ON t (u) WHERE id > 5", LONG, False),
        ("CREATE INDEX i ON t (u) WHERE id < 5", LONG, True),
        ("CREATE INDEX i ON t (u)", LONG[:2600], False),
        ("CREATE INDEX i ON t (u, v)", LONG[:1400], True),
    ],
)
def test_a_plain_index_is_left_out(lite, pg_url, pg, index, value, is_left):
    """
    The rows move; the dry run lists it as the move does, with the row.
    """
    texts = ("", "") if isinstance(value, bytes) else (value, value)
    bytes_ = value if isinstance(value, bytes) else b""
    path = lite(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT, v TEXT, b BLOB); {index};",
        {"t": [(1, *texts, bytes_), (2, "short", "short", b"")]},
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url, verify="full")

    assert () == dry.problems
    assert left(dry) == left(report)
    assert is_left == ("i" in left(report))
    assert not is_left or "id 1" in left(report)["i"]
    assert [(0 if is_left else 1,)] == pg("SELECT count(*) FROM pg_indexes WHERE indexname = 'i'")
    assert [(2,)] == pg("SELECT count(*) FROM t")


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE t (u TEXT UNIQUE)",
        "CREATE TABLE t (u TEXT PRIMARY KEY)",
        "CREATE TABLE t (u TEXT UNIQUE COLLATE NOCASE)",
        "CREATE TABLE t (u TEXT); CREATE UNIQUE INDEX i ON t (u)",
    ],
)
def test_a_unique_key_is_foretold(lite, pg_url, pg, script):
    """
    With table, column, row and length; skip and null settle it.
    """
    path = lite(script, {"t": [("short",), (LONG,)]})

    dry = migrate(path, pg_url, dry_run=True)
    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    (bad,) = caught.value.values
    assert ("t", "u", "rowid 2") == (bad.table, bad.column, bad.row)
    assert "8,000 bytes" in bad.reason
    assert [str(bad)] == [p.message for p in dry.problems]
    report = migrate(path, pg_url, on_bad_value="skip", verify="full")
    assert [1] == [t.rows_skipped for t in report.tables]
    assert [("short",)] == pg("SELECT u FROM t")


def test_a_plain_index_of_documents(lite, pg_url, pg):
    """
    jsonb has an order, too.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, j JSONB); CREATE INDEX i ON t (j)",
        {"t": [(1, f'["{LONG}"]'), (2, "[]")]},
    )

    dry = migrate(path, pg_url, dry_run=True)
    report = migrate(path, pg_url)

    assert left(dry) == left(report)
    assert "id 1" in left(report)["i"]


def test_a_long_key_is_emptied_when_asked(move, pg):
    """
    Several rows of one column.
    """
    report = move(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)",
        {"t": [(1, LONG), (2, "x"), (3, LONG[::-1])]},
        on_bad_value="null",
    )
    assert [(1, None), (2, "x"), (3, None)] == pg("SELECT * FROM t ORDER BY id")
    assert [("u", 2)] == [(c.column, c.count) for c in report.changes]


def test_an_index_of_an_existing_table_is_foretold(lite, pg_url, pg):
    """
    It is the application's, and stays.
    """
    pg("CREATE TABLE t (id int, u text)")
    pg("CREATE INDEX theirs ON t (u)")
    pg("CREATE INDEX hashed ON t USING hash (u)")
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT)", {"t": [(1, LONG)]})

    (problem,) = migrate(path, pg_url, dry_run=True).problems
    with pytest.raises(BadValues, match="theirs"):
        migrate(path, pg_url)

    assert "the index theirs" in problem.message


def test_an_index_with_a_predicate_of_postgresql(lite, pg_url, pg):
    """
    SQLite cannot tell to which rows it applies; the move says what is wrong, and the index stays.
    """
    pg("CREATE TABLE t (id int, u text)")
    pg("CREATE INDEX theirs ON t (u) WHERE u ~ '^f' AND id = ANY (ARRAY[1, 2])")
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT)", {"t": [(1, LONG), (3, LONG)]})

    with pytest.raises(MigrationError, match="theirs"):
        migrate(path, pg_url)

    assert [(0,)] == pg("SELECT count(*) FROM t")
    assert [("theirs",)] == pg("SELECT indexname FROM pg_indexes WHERE tablename = 't'")


@pytest.mark.parametrize("columns", [400, pytest.param(1000, marks=pytest.mark.long)])
def test_rows_that_are_too_wide_are_named(lite, pg_url, pg, columns):
    """
    Values that are too short to be stored elsewhere, and too many for 8 kB.
    """
    names = ", ".join(f"c{number} TEXT" for number in range(columns))
    path = lite(
        f"CREATE TABLE w (id INTEGER PRIMARY KEY, {names})",
        {"w": [(1, *["short"] * columns), (2, *["a bit longer text here"] * columns)]},
    )

    dry = migrate(path, pg_url, dry_run=True)
    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    (bad,) = caught.value.values
    assert ("w", "id 2") == (bad.table, bad.row)
    assert "row is too big" in bad.reason
    assert 1 == len(dry.problems)
    migrate(path, pg_url, on_bad_value="skip", verify="full")
    assert [(1,)] == pg("SELECT id FROM w")


@pytest.mark.parametrize("declared", ["JSON", "JSONB"])
@pytest.mark.parametrize("shape", ["[", '{"a":'])
def test_json_that_is_nested_too_deeply_is_named(lite, pg_url, pg, declared, shape):
    """
    With table and row, by the dry run and by the move.
    """
    end = "]" if shape == "[" else "1" + "}" * 20_000
    deep = shape * 20_000 + (end * 20_000 if shape == "[" else end)
    path = lite(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, j {declared})",
        {"t": [(1, "[]"), (2, deep), (3, "{}")]},
    )

    dry = migrate(path, pg_url, dry_run=True)
    with pytest.raises(MigrationError, match="id 2"):
        migrate(path, pg_url)

    assert ["t.j, id 2" in p.message for p in dry.problems] == [True]
    assert [] == pg("SELECT FROM pg_class WHERE relname = 't'")


@pytest.mark.parametrize("declared", ["JSON", "JSONB"])
@pytest.mark.parametrize("depth", [900, 1200, 5000])
def test_json_that_only_python_cannot_nest_moves(lite, pg_url, pg, declared, depth):
    """
    Compared with what PostgreSQL returns, which spells numbers, blanks and keys in its own way.
    """
    inner = '{"b": 1.50, "a": "x\\"{", "c": []}'
    texts = [
        '{"a":' * depth + inner + "}" * depth,
        "[" * depth + inner + "]" * depth,
        '[{"z":' * (depth // 2) + inner + "}, 1e2]" * (depth // 2),
    ]
    path = lite(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, j {declared})", {"t": [*enumerate(texts)]}
    )

    assert 3 == migrate(path, pg_url, verify="full", on_change="accept").rows
    same = [
        pg("SELECT j::jsonb = %s::jsonb FROM t WHERE id = %s", t, n) for n, t in enumerate(texts)
    ]
    assert [[(True,)]] * 3 == same


@pytest.mark.parametrize("depth", [10, 1200, 3000])
def test_a_repeated_key_deep_in_a_document_is_a_change(lite, pg_url, pg, depth):
    """
    jsonb would keep the last alone.
    """
    text = '{"a":' * depth + '{"k": 1, "k": 2}' + "}" * depth
    path = lite("CREATE TABLE t (id INTEGER PRIMARY KEY, j JSONB)", {"t": [(1, text)]})

    with pytest.raises(ChangedValues, match="repeated key"):
        migrate(path, pg_url)

    assert 1 == migrate(path, pg_url, on_change="accept").rows
    [(found,)] = pg("SELECT j::text FROM t")
    assert '{"a": ' * depth + '{"k": 2}' + "}" * depth == found


def test_the_search_takes_little_time(tmp_path, pg_url, lite):
    """
    Keys of usual length are not looked at one by one.
    """
    times = []
    for unique, index in (("", ""), (" UNIQUE", "CREATE INDEX i ON t (v);")):
        path = lite(
            "DROP TABLE IF EXISTS t;"
            f"CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT{unique}, v TEXT); {index}"
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000)"
            "INSERT INTO t SELECT i, hex(randomblob(20)), hex(randomblob(20)) FROM c"
        )
        began = time.perf_counter()
        migrate(path, pg_url, dry_run=True)
        times.append(time.perf_counter() - began)
    # Looked at one by one, they take minutes.
    assert times[1] < 5 * times[0] + 2


@pytest.mark.parametrize(
    ("term", "length", "is_listed"),
    [
        ("lower(v)", 4000, True),
        ("coalesce(v, '')", 4000, True),
        ("coalesce(v, w), id", 4000, True),
        ("lower(v)", 100, False),
        ("lower(w)", 4000, False),
    ],
)
def test_an_index_over_an_expression_of_long_values(lite, pg_url, term, length, is_listed):
    """
    A dry run says that PostgreSQL decides; the move leaves it behind if it is too long.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT); "
        f"INSERT INTO t VALUES (1, hex(randomblob({length})), 'x'); CREATE INDEX i ON t ({term});"
    )
    planned = migrate(path, pg_url, dry_run=True)
    moved = migrate(path, pg_url)
    assert ["i"] * is_listed == [one.name for one in planned.unexamined]
    assert ["i"] * is_listed == [one.name for one in moved.skipped]
