"""The file is read back, by this process or by several, and no difference is overlooked."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3

import psutil
import psycopg
import pytest

from oxy_pg.errors import ExportDiffers
from oxy_pg.export import load, verify
from oxy_pg.export.export import Order, export

ROWS = 3000


@pytest.fixture(params=["alone", "together"])
def processes(request, monkeypatch):
    """How many processes of ours read the file; its tables have many blocks."""
    together = request.param == "together"
    monkeypatch.setattr(verify, "_WORTH", 0)
    monkeypatch.setattr(verify, "cpus", lambda: 3 if together else 1)
    monkeypatch.setattr("oxy_pg.export.check._MOST_ROWS", 100)
    yield 3 if together else 0
    assert [] == helpers()


def helpers():
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("export.verify" in word for word in process.cmdline()):
                found.append(process)
    return found


@pytest.fixture
def filled(pg_url):
    """Keys with gaps of every size, negative ones among them, and a table with no key."""
    chosen = random.Random(5)
    keys = sorted({-(2**63), 2**63 - 1, *(chosen.randrange(-(2**63), 2**63) for _ in range(ROWS))})
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TABLE keyed (id bigint PRIMARY KEY, x text, n int)")
        connection.execute("CREATE TABLE loose (x text, n int)")
        with connection.cursor().copy("COPY keyed FROM STDIN") as copy:
            for key in keys:
                copy.write_row((key, f"row {key}", key % 7 or None))
        connection.execute("INSERT INTO loose SELECT x, n FROM keyed WHERE id <> -(2::numeric^63)")
    return pg_url


def damaged(monkeypatch, statement):
    """Change the file once it is written, before it is compared."""
    finish = load.finish

    def finish_and_change(connection, lite, plan):
        before = lite.total_changes
        lite.execute(statement)
        assert before < lite.total_changes
        finish(connection, lite, plan)

    monkeypatch.setattr(load, "finish", finish_and_change)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keyed SET x = x || ' ' WHERE id = (SELECT max(id) FROM keyed)",
        "UPDATE keyed SET x = CAST(x AS BLOB) WHERE id = (SELECT min(id) FROM keyed)",
        "UPDATE keyed SET n = 0 WHERE id = (SELECT id FROM keyed WHERE n IS NULL LIMIT 1)",
        "UPDATE loose SET n = '5x' WHERE rowid = 1500",
        "UPDATE keyed SET id = id + 1 WHERE id = (SELECT id FROM keyed LIMIT 1 OFFSET 99)",
        "DELETE FROM keyed WHERE id = (SELECT min(id) FROM keyed)",
        "DELETE FROM keyed WHERE id = (SELECT id FROM keyed ORDER BY id LIMIT 1 OFFSET 100)",
        "DELETE FROM loose WHERE rowid = (SELECT max(rowid) FROM loose)",
        "DELETE FROM loose",
        "INSERT INTO loose VALUES ('one more', 1)",
        "INSERT INTO loose (rowid, x) VALUES (-5, 'one more')",
        "INSERT INTO keyed SELECT id + 1, x, n FROM keyed LIMIT 1 OFFSET 99",
    ],
)
def test_any_difference_is_found(filled, processes, monkeypatch, tmp_path, statement):
    """
    A value, its storage class, a row too few or too many, at the edges of blocks too.
    """
    damaged(monkeypatch, statement)

    with pytest.raises(ExportDiffers) as raised:
        export(Order(str(tmp_path / "out.db"), filled))

    assert raised.value.table in statement
    assert [] == os.listdir(tmp_path)


def test_all_processes_take_part(filled, processes, tmp_path):
    """
    Every row is counted once, with as many processes as there are processors.
    """
    most, seen = 0, []

    def look(progress):
        nonlocal most
        if progress.phase == "verify":
            most = max(most, len(helpers()))
            seen.append(progress.done)

    report = export(Order(str(tmp_path / "out.db"), filled), look)

    assert processes == most
    assert seen == sorted(seen)
    assert seen[-1] == report.rows == sum(table.rows for table in report.tables)
    assert report.values == sum(table.rows * len(table.columns) for table in report.tables)


@pytest.mark.parametrize("statement", [None, "DELETE FROM loose WHERE n = 3"])
def test_killed_processes_are_replaced_by_this_one(filled, monkeypatch, tmp_path, statement):
    """
    The export goes on, and still finds every difference.
    """
    monkeypatch.setattr(verify, "_WORTH", 0)
    monkeypatch.setattr(verify, "cpus", lambda: 2)
    monkeypatch.setattr("oxy_pg.export.check._MOST_ROWS", 20)
    killed = []

    def kill(progress):
        if progress.phase == "verify":
            for process in helpers():
                process.kill()
                killed.append(process)

    path = str(tmp_path / "out.db")
    if statement:
        damaged(monkeypatch, statement)
        with pytest.raises(ExportDiffers):
            export(Order(path, filled), kill)
    else:
        export(Order(path, filled), kill)
        with contextlib.closing(sqlite3.connect(path)) as lite:
            assert [("ok",)] == lite.execute("PRAGMA integrity_check").fetchall()
    assert killed


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere"])
def test_without_a_python_for_other_processes(filled, monkeypatch, tmp_path, python):
    """
    This process compares alone, whether none can be started or it ends at once.
    """
    monkeypatch.setattr(verify, "_WORTH", 0)
    monkeypatch.setattr(verify, "cpus", lambda: 2)
    monkeypatch.setenv("OXY_PG_PYTHON", python)

    report = export(Order(str(tmp_path / "out.db"), filled))

    assert ROWS < report.rows
