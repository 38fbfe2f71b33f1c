"""
However an export ends, the file is the old one or the complete new one.

OXY_PG_KILLS sets how often it is killed (default 2).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

KILLS = int(os.environ.get("OXY_PG_KILLS", "2"))
ROWS = 60_000
ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from oxy_pg.export import verify
from oxy_pg.export.export import Order, export
verify._WORTH = 0
verify.cpus = lambda: 2
print("ready", flush=True)
export(Order(sys.argv[1], sys.argv[2], force=True))
"""


def started(path, url) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    return process


def undisturbed(path, url) -> None:
    process = started(path, url)
    _, said = process.communicate(timeout=100)
    assert 0 == process.returncode, said


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_export_leaves_the_old_file_or_the_new(pg_url, tmp_path, number):
    """
    Whole, both; the next export removes what was left beside it, and the processes that
    compared the file have ended with it.
    """
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    path = tmp_path / "out.db"
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, version int, s text UNIQUE)")
        connection.execute(
            f"INSERT INTO t SELECT g, 0, 'row ' || g FROM generate_series(1, {ROWS}) g"
        )
    began = time.monotonic()
    undisturbed(path, pg_url)
    took = time.monotonic() - began
    for kill in range(1, KILLS + 1):
        with psycopg.connect(pg_url) as connection:
            connection.execute("UPDATE t SET version = %s", [kill])
        before = version(path)
        process = started(path, pg_url)
        time.sleep(took * (kill - chosen.random()) / KILLS * 1.1)
        process.send_signal(number)
        process.communicate(timeout=60)

        found = version(path)
        assert found in {before, kill}, f"kill {kill}, seed {seed}"
        if number == signal.SIGINT:
            assert ["out.db"] == os.listdir(tmp_path), f"kill {kill}, seed {seed}"
    undisturbed(path, pg_url)
    assert ["out.db"] == os.listdir(tmp_path), f"seed {seed}"
    assert KILLS == version(path)
    deadline = time.monotonic() + 30
    while left := orphans():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def orphans() -> list[psutil.Process]:
    """Processes of this package that compare a file for one that is no longer there."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if str(ROOT) in words and any("export.verify" in word for word in words):
                parent = process.parent()
                if parent is None or not any("python" in word for word in parent.cmdline()):
                    found.append(process)
    return found


def version(path) -> int:
    """The version of all rows, of which none is missing."""
    with sqlite3.connect(path) as lite:
        assert [("ok",)] == lite.execute("PRAGMA integrity_check").fetchall()
        ((rows, least, most),) = lite.execute(
            "SELECT count(*), min(version), max(version) FROM t"
        ).fetchall()
    assert (ROWS, least) == (rows, most)
    return int(most)
