"""Oxy's own database: all of it moves, and each trap has the outcome that the guide promises."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
import pytest

from oxy_pg.errors import BadValues, MigrationError, OrphanRows, SchemaMismatch
from oxy_pg.migrate.migration import migrate
from tests import oxy_database
from tests.migrate.compare import differences, schema_differences
from tests.oxy_database import Trap

MOVED = [name for name in oxy_database.TABLES if name != "seaql_migrations"]
REFUSED = {
    Trap.DUPLICATE_RUNS: BadValues,
    Trap.ORPHAN_MESSAGES: OrphanRows,
    Trap.ORPHAN_THREADS: OrphanRows,
    Trap.STALE_RUN_IDS: OrphanRows,
    **dict.fromkeys(oxy_database.BAD_VALUES, BadValues),
    Trap.LEFTOVER_COLUMN: SchemaMismatch,
}
# Where each trap's rows are: what an error has to name.
SPRUNG = {
    Trap.DUPLICATE_RUNS: "runs",
    Trap.ORPHAN_MESSAGES: "messages",
    Trap.ORPHAN_THREADS: "threads",
    Trap.STALE_RUN_IDS: "a2a_tasks",
    Trap.LONG_VARCHAR: "sync_status",
    Trap.LONG_CHAR: "revision",
    Trap.BAD_JSON: "content",
    Trap.BAD_UUID: "messages",
    Trap.BAD_BOOLEAN: "is_human",
    Trap.BAD_TIMESTAMP: "created_at",
    Trap.BIG_INTEGER: "input_tokens",
    Trap.TEXT_INTEGER: "input_tokens",
    Trap.NUL_TEXT: "content",
    Trap.INVALID_UTF8: "content",
    Trap.LEFTOVER_COLUMN: "forgotten",
}


@pytest.fixture
def schema(pg_url):
    """Oxy's PostgreSQL schema, as its own migrations leave it."""
    with psycopg.connect(pg_url) as conn:
        conn.execute(oxy_database.POSTGRES_SCHEMA)
        oxy_database.record_migrations(conn)
    return pg_url


def oxy(tmp_path, *traps, messages=200) -> str:
    path = str(tmp_path / "oxy.db")
    oxy_database.generate(path, messages, frozenset(traps))
    return path


def rows(url) -> int:
    with psycopg.connect(url) as conn:
        counts = [conn.execute(f'SELECT count(*) FROM "{table}"').fetchone() for table in MOVED]
    return sum(count[0] for count in counts if count)


def test_all_of_it_moves_into_the_existing_schema(tmp_path, schema):
    """
    24 tables with every value; the migration tool's own table keeps its rows.
    """
    path = oxy(tmp_path, messages=2000)
    before = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    report = migrate(path, schema, verify="full")

    assert set(MOVED) == {table.name for table in report.tables if table.rows_written}
    assert [] == differences(path, schema, tables=MOVED)
    with psycopg.connect(schema) as conn:
        applied = conn.execute("SELECT DISTINCT applied_at FROM seaql_migrations").fetchall()
    assert [(1_760_000_000,)] == applied
    assert before == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_all_of_it_moves_into_an_empty_database(tmp_path, pg_url):
    """
    The schema is created from SQLite's own; the key to the table that is gone stays behind.
    """
    path = oxy(tmp_path, messages=2000)

    report = migrate(path, pg_url, verify="full")

    assert [] == differences(path, pg_url, tables=MOVED)
    left = {(skipped.what, skipped.name): skipped.reason for skipped in report.skipped}
    lost = schema_differences(path, pg_url, allowed=left)
    assert [] == [one for one in lost if "seaql_migrations" not in one]
    assert any("_runs_old" in f"{skipped.name} {skipped.reason}" for skipped in report.skipped)


def test_all_of_it_moves_to_a_newer_server(tmp_path, postgresql_18):
    """
    PostgreSQL 18, its tables made beforehand by an ordinary role.
    """
    url = postgresql_18.new_database()
    with psycopg.connect(url) as conn:
        conn.execute(oxy_database.POSTGRES_SCHEMA)
    path = oxy(tmp_path)

    migrate(path, url, schema="existing", verify="full")

    assert [] == differences(path, url, tables=MOVED)


@pytest.mark.parametrize("trap", sorted(oxy_database.HARMLESS))
def test_harmless_trap_moves_as_it_is(tmp_path, schema, trap):
    """
    Nothing is lost, shortened or shifted.
    """
    path = oxy(tmp_path, trap)

    migrate(path, schema, verify="full")

    assert [] == differences(path, schema, tables=MOVED)


@pytest.mark.parametrize("trap", sorted(REFUSED))
def test_trap_is_named_before_the_first_write(tmp_path, schema, trap):
    """
    A typed error says where it is, and no row has arrived.
    """
    path = oxy(tmp_path, trap)

    with pytest.raises(MigrationError, match=SPRUNG[trap]) as caught:
        migrate(path, schema)

    assert REFUSED[trap] is type(caught.value)
    assert 0 == rows(schema)


def test_table_without_a_place_is_made_or_refused(tmp_path, schema):
    """
    `auto` creates what the target lacks; `existing` names it and stops.
    """
    path = oxy(tmp_path, Trap.LEFTOVER_TABLE)

    with pytest.raises(SchemaMismatch, match="old_notes"):
        migrate(path, schema, schema="existing")
    assert 0 == rows(schema)

    migrate(path, schema, verify="full")
    assert [] == differences(path, schema, tables=[*MOVED, "old_notes"])


def test_older_schema_version_is_told(tmp_path, schema):
    """
    The source lacks the last migrations: a warning names them, and the versions stay.
    """
    report = migrate(oxy(tmp_path, Trap.OLD_MIGRATIONS), schema)

    assert any(oxy_database.MIGRATIONS[-1] in warning for warning in report.warnings)
    with psycopg.connect(schema) as conn:
        count = conn.execute("SELECT count(*) FROM seaql_migrations").fetchone()
    assert (49,) == count


def test_settings_sequence_goes_on_after_the_last_number_ever_given(tmp_path, schema):
    """
    Row 41 was deleted, so the next one is 42, as in SQLite.
    """
    migrate(oxy(tmp_path, Trap.SETTINGS_SEQUENCE), schema)

    with psycopg.connect(schema) as conn:
        row = conn.execute(
            "INSERT INTO settings (github_token, sync_status) VALUES ('t', 'idle') RETURNING id"
        ).fetchone()
    assert (42,) == row


def test_all_zero_uuids_arrive_as_such(tmp_path, schema):
    """
    SQLite's x'00…' default is PostgreSQL's 00000000-….
    """
    migrate(oxy(tmp_path, Trap.ZERO_UUIDS), schema)

    with psycopg.connect(schema) as conn:
        row = conn.execute(
            "SELECT count(*) FROM runs WHERE project_id = '00000000-0000-0000-0000-000000000000'"
        ).fetchone()
    assert (20,) == row


@pytest.mark.parametrize(
    ("trap", "policy", "gone"),
    [
        (Trap.ORPHAN_THREADS, "null", 0),
        (Trap.ORPHAN_MESSAGES, "skip", 2),
        (Trap.STALE_RUN_IDS, "null", 0),
    ],
)
def test_orphans_follow_the_policy(tmp_path, schema, trap, policy, gone):
    """
    Emptied references keep their rows, skipped rows are counted.
    """
    clean = tmp_path / "clean"
    clean.mkdir()
    path = oxy(tmp_path, trap)
    expected = sum(
        count
        for table, count in oxy_database.generate(clean / "a.db", 200).items()
        if table in MOVED
    )

    report = migrate(path, schema, on_orphan=policy, verify="full")

    assert gone == sum(table.rows_skipped for table in report.tables)
    assert expected == rows(schema)


def test_orphan_messages_cannot_be_emptied(tmp_path, schema):
    """
    thread_id is NOT NULL: `null` has no answer there, and says so.
    """
    with pytest.raises(OrphanRows):
        migrate(oxy(tmp_path, Trap.ORPHAN_MESSAGES), schema, on_orphan="null")

    assert 0 == rows(schema)


def test_duplicate_runs_can_be_skipped(tmp_path, schema):
    """
    The first of each stays, the others are counted.
    """
    report = migrate(oxy(tmp_path, Trap.DUPLICATE_RUNS), schema, on_bad_value="skip")

    assert 2 == sum(table.rows_skipped for table in report.tables)
