"""
Any SQLite database moves with every value, or is refused for a reason that holds.

Every run looks at the same 50 databases, so that it is red only for what was
changed. OXY_PG_EXAMPLES draws so many others at random (``nox -s properties``).
"""

from __future__ import annotations

import ast
import collections
import contextlib
import hashlib
import json
import os
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st
from psycopg import sql

from oxy_pg.errors import BadValues, ChangedValues, OrphanRows, UnclearTimes
from oxy_pg.migrate.migration import migrate
from oxy_pg.migrate.source import readers
from tests.migrate import targets
from tests.migrate.compare import (
    differences,
    foreign_keys,
    kept_or_cut,
    missing,
    names_in,
    ordinary_numbers,
    own_tables,
    repeated,
    schema_differences,
    source_values,
    unique_keys,
    view_differences,
    virtual_differences,
)
from tests.migrate.databases import databases
from tests.migrate.targets import wishes
from tests.migrate.test_kill import definitions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from oxy_pg.migrate.report.report import MigrationReport
    from tests.migrate.targets import Wish

    Outcome: TypeAlias = MigrationReport | BadValues | OrphanRows | UnclearTimes | ChangedValues

REPEATED = "has this key already"
REQUIRED = "the column is NOT NULL in PostgreSQL"
# Numbers among texts that are times could count anything.
MIXED = "a number, and the other times in this column are text"
AT_RANDOM = "OXY_PG_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("OXY_PG_EXAMPLES", "50"))


@pytest.fixture(scope="module")
def target(server_url):
    """One database for all examples, and how to empty it: much faster than one for each."""
    name = "properties"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name} OWNER oxy")
    url = server_url.replace("admin:", "oxy:").removesuffix("/postgres") + f"/{name}"

    def emptied():
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("DROP SCHEMA IF EXISTS public, elsewhere CASCADE")
            conn.execute("CREATE SCHEMA public")
        return url

    # As if every table were large: seen only in part at first, and moved in many pieces.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oxy_pg.migrate.plan.survey._SAMPLE", 2)
        patch.setattr("oxy_pg.migrate.check.changes._BATCH", 2)
        patch.setattr("oxy_pg.migrate.load.load._CHUNK", 100)
        patch.setattr("oxy_pg.migrate.load.records._LARGEST", 4000)
        patch.setattr("oxy_pg.migrate.load.records._LARGE_ROW", 200)
        patch.setattr("oxy_pg.migrate.load.large._PART", 20)
        patch.setattr("oxy_pg.migrate.load.records._ROWS", 2)
        patch.setattr("oxy_pg.migrate.plan.survey._PART", 3)
        patch.setattr("oxy_pg.migrate.load.comparison._FETCHED", 2)
        patch.setattr("oxy_pg.migrate.load.load.FEW", 1)
        patch.setattr("oxy_pg.migrate.load.verify.FEW", 1)
        patch.setattr("oxy_pg.migrate.load.verify._BATCH", 100)
        patch.setattr("oxy_pg.migrate.load.sample._ROWS", 2)
        patch.setattr(readers, "_WORTH", readers._WORTH)
        yield emptied
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.timeout(120 + 5 * EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    derandomize=not AT_RANDOM,
    # What a random run found belongs in a test of its own, not in a file on one machine.
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    # Explaining a failure takes minutes, and the smallest example says it already.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(database=databases(), wanted=wishes, processes=st.booleans())
def test_every_database_arrives_or_is_refused_for_a_reason(
    tmp_path_factory, target, database, wanted, processes
):
    """
    Verified in full, compared again by rules of our own, and the source is not touched.
    """
    readers._WORTH = 0 if processes else 1 << 60
    path = str(tmp_path_factory.getbasetemp() / "random.db")
    database.create(path)
    note("\n".join([database.encoding, *database.script, *map(repr, database.rows)]))
    event(check_migration(path, target(), wanted))


def check_migration(path: str, url: str, wanted: Sequence[Wish] = ()) -> str:
    """
    Migrate ``path`` into the empty ``url``; fail unless the outcome is right, and name it.

    ``wanted`` is what its tables get before they are filled a second time.
    """
    before = _digest(path)
    planned = migrate(path, url, dry_run=True)
    rehearsed = _outcome(path, url, rehearse=True)
    assert [] == _tables(url)
    outcome = _outcome(path, url)
    wrong = [*_not_foretold(planned, rehearsed, outcome)]
    assert not wrong, "\n".join(wrong)
    if isinstance(outcome, BadValues | OrphanRows):
        assert [] == _tables(url)
        wrong = (
            [*_wrongly_refused(path, url, outcome, planned)]
            if isinstance(outcome, BadValues)
            else [*_wrongly_orphaned(path, url, outcome, planned)]
        )
        assert not wrong, "\n".join(wrong)
        assert [] == _tables(url)
        wrong = [*_wrongly_skipped(path, url), *_wrongly_emptied(path, url, outcome)]
    elif isinstance(outcome, UnclearTimes | ChangedValues):
        assert [] == _tables(url)
        wrong = [*_wrongly_stopped(path, outcome, migrate(path, url, dry_run=True))]
    else:
        wrong = [
            *_wrongly_arrived(path, url, outcome),
            *_wrongly_filled(path, url, outcome, wanted),
        ]
    assert not wrong, "\n".join(wrong)
    assert before == _digest(path)
    return type(outcome).__name__


def _wrongly_arrived(path: str, url: str, report: MigrationReport) -> Iterator[str]:
    names = names_in(report)
    explained = {(skipped.kind, skipped.name): skipped.reason for skipped in report.skipped}
    wrong = [
        *differences(path, url, names=names),
        *virtual_differences(path, url, names=names, allowed=explained),
        *view_differences(path, url, allowed=explained),
        *schema_differences(path, url, allowed=explained, names=names),
        *_used_up_sequences(url),
        *_checks_lost(path, url, report),
    ]
    if wrong:
        yield from [*wrong, repr(explained)]


def _checks_lost(path: str, url: str, report: MigrationReport) -> Iterator[str]:
    """Count the CHECKs of both sides, and those that were reported."""
    with contextlib.closing(sqlite3.connect(path)) as lite, psycopg.connect(url) as conn:
        texts = lite.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()
        found = conn.execute(
            "SELECT count(*) FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid "
            "WHERE contype = 'c' AND relnamespace = 'public'::regnamespace"
        ).fetchone() or (0,)
    ours = sum(text.count(" CHECK (") for (text,) in texts)
    left = sum(skipped.kind == "check" for skipped in report.skipped)
    if ours != found[0] + left:
        yield f"{ours} CHECKs, of which {found[0]} arrived and {left} were left behind"


def _wrongly_filled(
    path: str, url: str, first: MigrationReport, wanted: Sequence[Wish]
) -> Iterator[str]:
    """Fill the tables that are there now: the same rows, and nothing else has changed."""
    with psycopg.connect(url) as conn:
        sequences = targets.grant_sequences(conn, first, wanted)
        promised = definitions(conn)
        states = targets.sequence_states(conn, sequences)
    planned = migrate(path, url, if_not_empty="truncate", dry_run=True)
    rehearsed = migrate(path, url, if_not_empty="truncate", rehearse=True)
    with psycopg.connect(url) as conn:
        if states != targets.sequence_states(conn, sequences):
            yield f"a rehearsal has moved {sequences}"
    filled = migrate(path, url, if_not_empty="truncate")
    yield from _not_foretold(planned, rehearsed, filled)
    yield from _otherwise("filled", path, url, first)
    with psycopg.connect(url) as conn:
        yield from targets.sequences_behind(conn, filled, sequences)
    yield from _wrongly_promised(path, url, first, wanted)
    with psycopg.connect(url) as conn:
        for kind in set(promised) ^ set(definitions(conn)):
            yield f"filled: {kind}"
        (keys,) = conn.execute(
            "SELECT count(*) FROM pg_index JOIN pg_class t ON t.oid = indrelid "
            "WHERE indisunique AND relnamespace = 'public'::regnamespace"
        ).fetchone() or (0,)
    if not keys:
        again = migrate(path, url, if_not_empty="append")
        if again.rows != first.rows:
            yield f"appended: {again.rows} rows, not {first.rows}"


def _otherwise(when: str, path: str, url: str, first: MigrationReport) -> Iterator[str]:
    names = names_in(first)
    for difference in [
        *differences(path, url, names=names),
        *virtual_differences(path, url, names=names),
    ]:
        yield f"{when}: {difference}"


def _wrongly_promised(
    path: str, url: str, first: MigrationReport, wanted: Sequence[Wish]
) -> Iterator[str]:
    """Add CHECKs to the target: only a rehearsal finds the rows that break them, as the move."""
    with psycopg.connect(url) as conn:
        checks = targets.grant_checks(conn, first, wanted)
        refused = sum(targets.refused_rows(conn, check) for check in checks)
    if not checks:
        return
    planned = migrate(path, url, if_not_empty="truncate", dry_run=True)
    rehearsed = _outcome(path, url, if_not_empty="truncate", rehearse=True)
    moved = _outcome(path, url, if_not_empty="truncate")
    unknown = {(one.kind, one.name) for one in planned.unexamined}
    if planned.problems or not {("check", check.name) for check in checks} <= unknown:
        yield f"{checks}: planned {planned.problems}, {planned.unexamined}"
    if not refused:
        if isinstance(moved, Exception):
            yield f"{checks}: refuse no row, and {moved}"
        else:
            yield from _not_foretold(planned, rehearsed, moved)
    elif not isinstance(moved, BadValues) or str(moved) != str(rehearsed):
        yield f"{checks}: rehearsed {rehearsed}, moved {moved}"
    with psycopg.connect(url) as conn:
        for check in checks:
            targets.drop_check(conn, check)
    yield from _otherwise("with CHECKs", path, url, first)


def _outcome(path: str, url: str, **options: Any) -> Outcome:
    try:
        return migrate(path, url, **options)
    except (BadValues, OrphanRows, UnclearTimes, ChangedValues) as error:
        return error


def _not_foretold(
    planned: MigrationReport,
    rehearsed: Outcome,
    moved: Outcome,
) -> Iterator[str]:
    """Say where a dry run or a rehearsal was not the move."""
    if isinstance(rehearsed, Exception) or isinstance(moved, Exception):
        if (type(rehearsed), str(rehearsed)) != (type(moved), str(moved)):
            yield f"rehearsed: {rehearsed}, moved: {moved}"
        if not planned.problems:
            yield f"the dry run found no problems, and the move: {moved}"
        return
    if _timeless(rehearsed) != _timeless(moved):
        yield f"rehearsed: {_timeless(rehearsed)}, moved: {_timeless(moved)}"
    if planned.problems:
        yield f"the dry run found {planned.problems}"
    for name in ("changes", "warnings", "statements"):
        if getattr(planned, name) != getattr(moved, name):
            yield f"{name}: planned {getattr(planned, name)}, moved {getattr(moved, name)}"
    if [t.rows_skipped for t in planned.tables] != [t.rows_skipped for t in moved.tables]:
        yield f"rows skipped: planned {planned.tables}, moved {moved.tables}"
    # What the dry run says that it has not examined may be left behind, and nothing else.
    unknown = {(one.kind, one.name) for one in planned.unexamined}
    left = [one for one in moved.skipped if one not in planned.skipped]
    if not set(planned.skipped) <= set(moved.skipped) or any(
        (one.kind, one.name) not in unknown for one in left
    ):
        yield f"skipped: {set(planned.skipped) ^ set(moved.skipped)}, unexamined {unknown}"


def _timeless(report: MigrationReport) -> dict[str, Any]:
    found = report.to_dict()
    for table in found["tables"]:
        table.pop("seconds")
    for compared in found["verification"]["compared"]:
        compared.pop("sampled")  # it begins where a reader did, and one may be faster than another
    return {name: value for name, value in found.items() if name not in {"seconds", "rehearsal"}}


def _wrongly_stopped(
    path: str, error: UnclearTimes | ChangedValues, planned: MigrationReport
) -> Iterator[str]:
    """Say which columns have numbers of one unit, and which values could have been kept."""
    listed = error.columns if isinstance(error, UnclearTimes) else error.changes
    if missing := {str(one) for one in listed} - {p.message for p in planned.problems}:
        yield f"a dry run does not find {missing}"
    with contextlib.closing(sqlite3.connect(path)) as lite:
        for one in listed:
            if isinstance(error, UnclearTimes):
                numbers = ordinary_numbers(lite, one.table, one.column)
                for unit in (1, 1e3, 1e6) if numbers else ():
                    if min(numbers) >= 2e8 * unit and max(numbers) < 6e9 * unit:
                        yield f"{one}, but 1/{unit} s makes all of them years from 1976 to 2160"
            elif (
                "9999-12-31" not in one.before
                and not _has_repeated_key(one.before)
                and not _is_part_of_a_day(one.before, one.after)
            ):
                yield f"{one}, which a created column can hold"


def _is_part_of_a_day(before: str, after: str) -> bool:
    """Whether all of a value was left out but its day, as a column that is declared DATE does."""
    return re.fullmatch(r"\d{4}-\d\d-\d\d", after.strip("'")) is not None and before != after


def _has_repeated_key(shown: str) -> bool:
    """Whether a document, as it is shown, has an object with a key twice."""
    found = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found |= len(pairs) != len({key for key, _ in pairs})

    with contextlib.suppress(ValueError, SyntaxError):
        json.loads(ast.literal_eval(shown), object_pairs_hook=look)
    return found


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _tables(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [
            row[0]
            for row in conn.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            )
        ]


def _wrongly_refused(
    path: str, url: str, error: BadValues, planned: MigrationReport
) -> Iterator[str]:
    """Say which values would have fitted, and which unfit ones were not named."""
    if len(error.values) != len([p for p in planned.problems if p.kind == "bad value"]):
        yield f"a dry run finds others: {planned.problems}"
    types = {
        (table.name, column.name): column.type
        for table in planned.tables
        for column in table.columns
    }
    named: collections.Counter[tuple[str, str]] = collections.Counter()
    twice: collections.Counter[tuple[str, str]] = collections.Counter()
    for value in error.values:
        (twice if REPEATED in value.reason else named)[value.table, value.column] += 1
    with contextlib.closing(sqlite3.connect(path)) as lite, psycopg.connect(url) as conn:
        for (table, column), pg_type in types.items():
            reasons = {
                value.reason
                for value in error.values
                if (value.table, value.column) == (table, column)
            }
            present = source_values(lite, table, column)
            verdicts = [
                (value, kept_or_cut(lite, conn, (table, column), pg_type, value) is not None)
                for value in present
                if value is not None
            ]
            fitting = [value for value, fit in verdicts if fit]
            bad = [value for value, fit in verdicts if not fit]
            if REQUIRED in reasons:
                bad += [value for value in present if value is None]
            mixed = any(reason.startswith(MIXED) for reason in reasons)
            if mixed and any(isinstance(value, bytes) for value in fitting):
                bad += [value for value in fitting if isinstance(value, int | float)]
            if len(bad) != named[table, column]:
                yield (
                    f"{table}.{column} {pg_type}: {named[table, column]} named, unfit are {bad!r}: "
                    f"{[v for v in error.values if (v.table, v.column) == (table, column)]}"
                )
        expected = _repeated_keys(lite, conn, types, {s.name for s in planned.skipped})
        if twice != expected:
            yield f"keys that are there twice: {twice} named, {expected} found"


def _repeated_keys(
    lite: sqlite3.Connection,
    conn: psycopg.Connection[Any],
    types: dict[tuple[str, str], str],
    left_behind: set[str],
) -> collections.Counter[tuple[str, str]]:
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for table in own_tables(lite):
        keys = {
            (columns, where): name
            for name, columns, where in unique_keys(lite, table)
            if name not in left_behind
        }
        for columns, where in keys:
            typed = {column: types[table, column] for column in columns}
            if "json" not in typed.values():
                count = repeated(lite, conn, table, typed, where)
                found.update({(table, ", ".join(columns)): count} if count else {})
    return found


def _wrongly_orphaned(
    path: str, url: str, error: OrphanRows, planned: MigrationReport
) -> Iterator[str]:
    """Say where other rows refer to nothing, by what their keys become in PostgreSQL."""
    types = {
        (table.name, column.name): column.type
        for table in planned.tables
        for column in table.columns
    }
    with contextlib.closing(sqlite3.connect(path)) as lite, psycopg.connect(url) as conn:
        for orphans in error.orphans:
            counts = []
            for own, parent, theirs, *_ in foreign_keys(lite, orphans.table):
                if (own, parent) == (orphans.columns, orphans.parent):
                    child = {column: types[orphans.table, column] for column in own}
                    keys = {column: types[parent, column] for column in theirs}
                    counts.append(missing(lite, conn, (orphans.table, child), (parent, keys)))
            if orphans.orphans not in counts:
                yield f"{orphans}, but {counts} are missing"


def _wrongly_skipped(path: str, url: str) -> Iterator[str]:
    """Leave out what does not fit: say which of the other rows did not arrive as they were."""
    options: dict[str, Any] = {"on_bad_value": "skip", "on_orphan": "skip", "on_change": "accept"}
    planned = migrate(path, url, dry_run=True, **options)
    rehearsed = migrate(path, url, rehearse=True, **options)
    report = migrate(path, url, **options)
    yield from _not_foretold(planned, rehearsed, report)
    for difference in differences(path, url, names=names_in(report), limit=1000):
        if " in SQLite only: " not in difference and " rows in SQLite, " not in difference:
            yield difference
    for table in report.tables:
        if table.rows_read - table.rows_skipped != table.rows_written:
            yield f"{table.name}: {table}"


def _wrongly_emptied(path: str, url: str, error: BadValues | OrphanRows) -> Iterator[str]:
    """Empty what does not fit, where that may be: say what else has changed."""
    if isinstance(error, BadValues) and any(
        value.reason.startswith(MIXED) for value in error.values
    ):
        return  # what fits depends on the other values
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE")
        conn.execute("CREATE SCHEMA public")
    planned = migrate(path, url, on_bad_value="null", on_change="accept", dry_run=True)
    rehearsed = _outcome(path, url, on_bad_value="null", on_change="accept", rehearse=True)
    report = _outcome(path, url, on_bad_value="null", on_change="accept")
    yield from _not_foretold(planned, rehearsed, report)
    if isinstance(report, BadValues | OrphanRows):
        return  # NOT NULL, or a key that is there twice
    for difference in differences(path, url, names=names_in(report), emptied=True):
        yield f"emptied: {difference}"


def _used_up_sequences(url: str) -> Iterator[str]:
    """Say which identity would give a number that is there already."""
    with psycopg.connect(url, autocommit=True) as conn:
        columns = conn.execute(
            """
            SELECT attrelid::regclass::text, attname
            FROM pg_attribute JOIN pg_class t ON t.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
            AND (attidentity <> ''
              OR pg_get_serial_sequence(quote_ident(relname), attname) IS NOT NULL)
            """
        ).fetchall()
        for table, column in columns:
            name = sql.Identifier(column)
            most = conn.execute(sql.SQL("SELECT max({}) FROM " + table).format(name)).fetchone()
            try:
                following = conn.execute(
                    "SELECT nextval(pg_get_serial_sequence(%s, %s))", [table, column]
                ).fetchone()
            except psycopg.errors.SequenceGeneratorLimitExceeded:
                continue  # SQLite's would say "database or disk is full"
            if most and following and most[0] is not None and following[0] <= most[0]:
                yield f"{table}.{column}: {following[0]} follows {most[0]}"
