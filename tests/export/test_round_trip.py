"""SQLite → PostgreSQL → SQLite: every value is the same, on databases of all kinds."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, example, given, note, settings

from oxy_pg.errors import BadExportValues, ExportDiffers, ExportRefused, UnclearTimes
from oxy_pg.export.export import Order, export
from oxy_pg.migrate.migration import migrate
from tests import oxy_database
from tests.migrate.compare import differences, names_in
from tests.migrate.databases import Database, databases
from tests.migrate.test_real_databases import PYTHON, fetch

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = int(os.environ.get("OXY_PG_EXAMPLES", "15"))

# As the sample database Chinook has it: keys of all kinds, decimals, and references to itself.
CHINOOK = """
    CREATE TABLE [Artist] ([ArtistId] INTEGER NOT NULL, [Name] NVARCHAR(120),
        CONSTRAINT [PK_Artist] PRIMARY KEY ([ArtistId]));
    CREATE TABLE [Album] ([AlbumId] INTEGER PRIMARY KEY NOT NULL, [Title] NVARCHAR(160) NOT NULL,
        [ArtistId] INTEGER NOT NULL REFERENCES [Artist] ([ArtistId]));
    CREATE TABLE [Employee] ([EmployeeId] INTEGER PRIMARY KEY, [LastName] NVARCHAR(20) NOT NULL,
        [ReportsTo] INTEGER REFERENCES [Employee] ([EmployeeId]), [BirthDate] DATETIME);
    CREATE TABLE [Track] ([TrackId] INTEGER PRIMARY KEY, [AlbumId] INTEGER, [Bytes] INTEGER,
        [UnitPrice] NUMERIC(10,2) NOT NULL, FOREIGN KEY ([AlbumId]) REFERENCES [Album] ([AlbumId]));
    CREATE TABLE [PlaylistTrack] ([PlaylistId] INTEGER NOT NULL, [TrackId] INTEGER NOT NULL,
        PRIMARY KEY ([PlaylistId], [TrackId]), FOREIGN KEY ([TrackId]) REFERENCES [Track]);
    CREATE INDEX [IFK_AlbumArtistId] ON [Album] ([ArtistId]);
    INSERT INTO Artist VALUES (1, 'AC/DC'), (2, 'Antônio Carlos Jobim'), (5, NULL);
    INSERT INTO Album VALUES (1, 'For Those About To Rock', 1), (8, 'Warner 25 Anos', 2);
    INSERT INTO Employee VALUES (1, 'Adams', NULL, '1962-02-18 00:00:00'),
        (2, 'Edwards', 1, '1958-12-08 00:00:00');
    INSERT INTO Track VALUES (1, 1, 11170334, 0.99), (2, 8, NULL, 1), (3, NULL, 5, 1.5);
    INSERT INTO PlaylistTrack VALUES (1, 2), (1, 1), (8, 3);
"""

_MOMENT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d:\d\d|Z)?\Z")


def contents(path: Path | str) -> dict[str, list[str]]:
    """Every row of every table with the storage class of each value; times as instants."""
    with contextlib.closing(sqlite3.connect(path)) as lite:
        lite.text_factory = bytes
        tables = lite.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            table.decode(): sorted(
                repr([_instant(value) for value in row])
                for row in lite.execute(f'SELECT * FROM "{table.decode()}"')
            )
            for (table,) in tables
        }


def _instant(value: Any) -> Any:
    # A text is bytes here; a time keeps its instant, and not the offset that it was written with.
    if isinstance(value, bytes) and _MOMENT.match(value):
        found = dt.datetime.fromisoformat(value.decode())
        aware = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
        return aware.astimezone(dt.UTC)
    return value


@pytest.mark.parametrize("schema", ["created", "of the application"])
def test_oxy_comes_back(tmp_path, pg_url, schema):
    """
    All tables, and rows that were written to PostgreSQL come along.
    """
    source = tmp_path / "oxy.db"
    oxy_database.generate(source, 1000)
    if schema == "of the application":
        with psycopg.connect(pg_url) as connection:
            connection.execute(oxy_database.POSTGRES_SCHEMA)
            oxy_database.record_migrations(connection)
    migrate(str(source), pg_url, verify="full")

    export(Order(str(tmp_path / "back.db"), pg_url, like=str(source)))

    old, new = contents(source), contents(tmp_path / "back.db")
    # PostgreSQL's own record of schema migrations was kept when it had one.
    assert old.pop("seaql_migrations")
    assert new.pop("seaql_migrations")
    assert old == new

    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO users SELECT (jsonb_populate_record(u, jsonb_build_object("
            "'id', gen_random_uuid(), 'email', 'new@example.com'))).* FROM users u LIMIT 1"
        )
    export(Order(str(tmp_path / "later.db"), pg_url, like=str(source)))
    with contextlib.closing(sqlite3.connect(tmp_path / "later.db")) as lite:
        found = lite.execute(
            "SELECT typeof(id), length(id) FROM users WHERE email = 'new@example.com'"
        ).fetchall()
    assert [("blob", 16)] == found
    assert len(contents(tmp_path / "later.db")["users"]) == len(old["users"]) + 1


def test_chinook_comes_back(tmp_path, pg_url):
    """
    With and without ``like``: the same values, of the same storage classes with it.
    """
    source = tmp_path / "chinook.db"
    with contextlib.closing(sqlite3.connect(source)) as lite:
        lite.executescript(CHINOOK)
    report = migrate(str(source), pg_url, verify="full")

    export(Order(str(tmp_path / "back.db"), pg_url, like=str(source)))
    export(Order(str(tmp_path / "own.db"), pg_url))

    assert contents(source) == contents(tmp_path / "back.db")
    assert [] == differences(str(tmp_path / "own.db"), pg_url, names=names_in(report))
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as lite:
        assert [] == lite.execute("PRAGMA foreign_key_check").fetchall()
        lite.execute("PRAGMA foreign_keys = on")
        with pytest.raises(sqlite3.IntegrityError):
            lite.execute("DELETE FROM Artist WHERE ArtistId = 1")


@pytest.mark.skipif(
    os.environ.get("OXY_PG_TESTS_OFFLINE") == "1",
    reason="OXY_PG_TESTS_OFFLINE=1: these databases come from PyPI",
)
@pytest.mark.parametrize(
    "real",
    [
        pytest.param(
            one, marks=pytest.mark.long if one.file.endswith("proj.db") else [], id=str(one)
        )
        for one in PYTHON
        if one.file.endswith(("proj.db", "elements.db"))
    ],
)
def test_real_database_comes_back(tmp_path, pg_url, real):
    """
    Value by value and class by class, with the file's own schema.
    """
    source = fetch(real)
    migrate(str(source), pg_url)

    export(Order(str(tmp_path / "back.db"), pg_url, like=str(source)))

    assert contents(source) == contents(tmp_path / "back.db")


# --- any database ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_databases(server_url):
    """Two databases for all examples, and how to empty them."""
    names = ("round_trip", "round_trip_back")
    url = server_url.replace("admin:", "oxy:").removesuffix("/postgres")
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name} OWNER oxy")

    def emptied():
        for name in names:
            with psycopg.connect(f"{url}/{name}", autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return tuple(f"{url}/{name}" for name in names)

    with pytest.MonkeyPatch.context() as patch:
        # As if every table were large.
        patch.setattr("oxy_pg.export.load._FIRST", 2)
        patch.setattr("oxy_pg.export.load._BATCH", 200)
        patch.setattr("oxy_pg.export.verify._WORTH", 0)
        patch.setattr("oxy_pg.export.verify.cpus", lambda: 2)
        yield emptied
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.timeout(180 + 20 * EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    derandomize="OXY_PG_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(database=databases())
@example(
    database=Database(
        "UTF-8",
        ["CREATE TABLE t (x)"],
        [("INSERT INTO t VALUES (?)", (value,)) for value in (2**53 + 1, 0.0)],
    )
)
def test_any_database_comes_back(tmp_path_factory, two_databases, database):
    """
    What has arrived in PostgreSQL is in the file, by rules of our own, and arrives there again.
    """
    base = tmp_path_factory.getbasetemp()
    path = str(base / "random.db")
    database.create(path)
    note("\n".join([database.encoding, *database.script, *map(repr, database.rows)]))
    first, second = two_databases()
    try:
        report = migrate(path, first, on_bad_value="skip", on_orphan="skip", on_change="accept")
    except UnclearTimes:
        event("UnclearTimes")  # no option settles it
        return
    names = names_in(report)

    for like in (None, path):
        out = str(base / "back.db")
        try:
            export(Order(out, first, like=like, on_bad_value="null", force=True))
        except (ExportRefused, BadExportValues, ExportDiffers) as error:
            event(f"{type(error).__name__}, like: {like is not None}")
            assert_refused_for_a_reason(error, first, like)
            continue
        event(f"exported, like: {like is not None}")
        assert [] == lost(out, first, names if like else None)
    again = migrate(str(base / "back.db"), second) if os.path.exists(base / "back.db") else None
    assert again is None or again.rows >= 0


def lost(path: str, url: str, names: Any) -> list[str]:
    # SQLite stores -0.0 as the integer 0 (https://www.sqlite.org/datatype3.html, 2).
    found = [one for one in differences(path, url, names=names) if "_NegativeZero" not in one]
    # With ``like`` a number goes where the file has doubles; one that is no double was refused,
    # and is NULL because the export was told so.
    if names is not None:
        found = [one for one in found if not is_refused_number(one)]
    return [one for one in found if "column" not in one]


def is_refused_number(difference: str) -> bool:
    number = re.search(r"\(numeric\): None in SQLite, Decimal\('([^']*)'\)", difference)
    return number is not None and Decimal(repr(float(number[1]))) != Decimal(number[1])


def test_only_numbers_without_a_double_may_be_missing():
    """
    The comparison above overlooks no other.
    """
    said = "a.b (numeric): None in SQLite, Decimal('{}') in PostgreSQL (row 1)"
    refused = ["9007199254740993", "-9007199254740993", "1.00000000000000000001", "1E+400"]
    kept = ["9007199254740992", "0.1", "-0.5", "1E+300", "0"]
    assert all(is_refused_number(said.format(number)) for number in refused)
    assert not any(is_refused_number(said.format(number)) for number in kept)
    assert not is_refused_number("a.b (numeric): 1 in SQLite, Decimal('9007199254740993') in")


def assert_refused_for_a_reason(error: Exception, url: str, like: str | None) -> None:
    """Names that are one in SQLite, values that it does not have, a column that changes values."""
    if isinstance(error, ExportDiffers):
        assert like is not None
    elif isinstance(error, ExportRefused):
        assert like is None
        assert "upper and lower case" in str(error)
    else:
        assert isinstance(error, BadExportValues)
