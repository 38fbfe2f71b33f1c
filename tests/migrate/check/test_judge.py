"""Bad values that only PostgreSQL knows, on servers that can say so and on older ones."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
import pytest

from oxy_pg.errors import BadValues
from oxy_pg.migrate.check import judge
from oxy_pg.migrate.convert.types import parse_type
from oxy_pg.migrate.migration import migrate

VALUES = {
    "inet": (["10.0.0.1", "10.0.0.300", "::1", "none"], [1, 3]),
    "integer[]": (["{1,2}", "{1", "{x}", "{}"], [1, 2]),
    "mood": (["sad", "Sad", "ok", ""], [1, 3]),
    "interval": (["1 day", "a day", "1:00"], [1]),
    "jsonb": (['{"a": 1}', "{a}", '"\\u0000"'], [1, 2]),
    "daterange": (["[2024-01-01,2024-01-02)", "[2024-01-02,2024-01-01)"], [1]),
    "bit varying(3)": (["101", "10", "102"], [2]),
    "text": (["line\nbreak\ttab \\. \\N", "\\.", ""], []),
}


@pytest.fixture(params=["16", "16, by trying", "15"])
def older(request, monkeypatch, pg_url):
    """Connect to a server that has pg_input_error_info(), one that has not, or one as if."""
    url = pg_url
    if request.param == "15":
        url = request.getfixturevalue("debian_15").new_database()
    if request.param == "16, by trying":
        monkeypatch.setattr(judge, "_SOFT", 990000)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        yield connection


def refused_by(connection, texts, spelled) -> list[tuple[int, str]]:
    """The texts that the type refuses, by their numbers, each with the reason."""
    verdicts = judge.judge(connection, texts, parse_type(spelled))
    return [(n, one.refused) for n, one in enumerate(verdicts) if one.refused is not None]


@pytest.mark.parametrize("pg_type", VALUES)
def test_every_refused_value_is_found(older, pg_type):
    """
    Each with its number, and nothing is left behind.
    """
    texts, refused = VALUES[pg_type]

    found = refused_by(older, texts, pg_type)

    assert refused == [number for number, _ in found]
    assert all(message for _, message in found)
    assert [] == older.execute("SELECT relname FROM pg_class WHERE relname ~ 'oxy'").fetchall()


def test_all_of_many_are_found(older):
    """
    Also where they are the first, the last, and next to each other.
    """
    texts = [f"10.0.0.{n}" if 3 <= n < 250 else f"x{n}" for n in range(260)]

    found = refused_by(older, texts, "inet")

    assert [0, 1, 2, *range(250, 260)] == [number for number, _ in found]


def url_of(connection: psycopg.Connection) -> str:
    info = connection.info
    return (
        f"postgresql://{info.user}:{quote(info.password, safe='')}@{info.host}:{info.port}"
        f"/{info.dbname}"
    )


TARGET = "CREATE TABLE t (id bigint PRIMARY KEY, s mood, n inet)"
SOURCE = """
CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, n TEXT);
INSERT INTO t VALUES (1, 'ok', '::1'), (2, 'Ok', '::1'), (3, 'sad', 'nowhere'), (4, NULL, NULL);
"""


@pytest.mark.parametrize(
    ("policy", "rows"),
    [
        ("skip", [(1, "ok", "::1"), (4, None, None)]),
        (
            "null",
            [(1, "ok", "::1"), (2, None, "::1"), (3, "sad", None), (4, None, None)],
        ),
    ],
)
def test_they_are_skipped_or_emptied_on_every_server(older, lite, policy, rows):
    """
    What was asked for bad values is done, and the dry run says the same numbers.
    """
    older.execute(TARGET)
    url = url_of(older)
    path = lite(SOURCE)

    planned = migrate(path, url, on_bad_value=policy, dry_run=True)
    moved = migrate(path, url, on_bad_value=policy)

    assert rows == older.execute("SELECT id, s::text, host(n) FROM t ORDER BY id").fetchall()
    assert planned.changes == moved.changes
    assert [t.rows_skipped for t in planned.tables] == [t.rows_skipped for t in moved.tables]


def test_all_of_them_are_named_before_the_first_write(older, lite):
    """
    Not only the first one that PostgreSQL stumbles over.
    """
    older.execute(TARGET)
    url = url_of(older)

    with pytest.raises(BadValues) as caught:
        migrate(lite(SOURCE), url)

    assert [("s", "id 2"), ("n", "id 3")] == [(v.column, v.row) for v in caught.value.values]
