"""A source that several processes read, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import sys
import threading
import time

import psutil
import psycopg
import pytest

from oxy_pg.errors import MigrationError, SourceUnreadable
from oxy_pg.migrate.load import prefetch
from oxy_pg.migrate.migration import migrate
from oxy_pg.migrate.source import readers


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    """Have every source read by two processes, in many small parts."""
    monkeypatch.setattr(readers, "_WORTH", 0)
    monkeypatch.setattr(readers, "cpus", lambda: 2)
    monkeypatch.setattr("oxy_pg.migrate.plan.survey._PART", 50)
    monkeypatch.setattr("oxy_pg.migrate.load.records._ROWS", 3)
    monkeypatch.setattr("oxy_pg.migrate.load.records._PIECE", 2000)
    yield
    assert [] == _helpers()


def _helpers():
    """Processes of ours that read a source."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("source.readers" in word for word in process.cmdline()):
                found.append(process)
    return found


SCHEMA = """
CREATE TABLE a (id integer PRIMARY KEY, said text NOT NULL, at datetime, key blob);
CREATE TABLE b (id integer PRIMARY KEY, a_id integer NOT NULL REFERENCES a (id), x double);
CREATE INDEX on_x ON b (x);
"""


def _rows(count=500):
    rng = random.Random(3)
    # Dense, then with gaps of every size.
    ids = list(range(count))
    ids += sorted(rng.sample(range(count, 2**62), count))
    a = [
        (
            id_,
            "x" * rng.choice((1, 20, 3000)),
            f"2024-05-0{id_ % 9 + 1} 10:00:00.{id_ % 1000}",
            None,
        )
        for id_ in ids
    ]
    return {"a": a, "b": [(id_, id_, rng.random()) for id_ in ids]}


def test_all_rows_arrive_in_their_order(move, pg, monkeypatch):
    """
    Verified in full, which compares row by row, and with more than one process at work.
    """
    used = set()
    receive = readers.ProcessReader.receive
    monkeypatch.setattr(
        readers.ProcessReader, "receive", lambda self: used.add(self) or receive(self)
    )
    rows = _rows()
    move(SCHEMA, rows)
    assert [(id_, said) for id_, said, *_ in rows["a"]] == pg(
        "SELECT id, said FROM a ORDER BY ctid"
    )
    assert 2 == len(used)


def test_a_process_that_is_killed_leaves_the_target_as_it_was(move, pg, monkeypatch):
    """
    The message says what to do; nothing was written.
    """
    # A few of the pieces of table b: else all of them might have been read already.
    monkeypatch.setattr(prefetch, "_MOST", 4000)

    def kill(progress):
        if progress.phase == "load" and progress.table == "b":
            for process in _helpers():
                process.kill()

    with pytest.raises(
        MigrationError, match=r"(?s)has ended unexpectedly; nothing was written.*--jobs 1"
    ):
        move(SCHEMA, _rows(), on_progress=kill)
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/false"])
def test_without_other_processes(move, pg, monkeypatch, executable):
    """
    Where none can be started, this process does it all.
    """
    monkeypatch.setattr(sys, "executable", executable)
    move(SCHEMA, _rows())
    assert [(1000, 1000)] == pg("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)")


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_source_that_changes_meanwhile_is_moved_as_of_one_moment(lite, pg_url, pg, pause):
    """
    Every transaction of the writer adds a row to both tables: there are as many in both.
    """
    path = lite(f"PRAGMA journal_mode = WAL; {SCHEMA}", _rows())
    over = threading.Event()

    def write():
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as writer:
            while not over.is_set():
                writer.execute("INSERT INTO a (said) VALUES ('new')")
                writer.execute("INSERT INTO b (a_id) VALUES (1)")
                writer.commit()
                time.sleep(pause)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            migrate(path, pg_url, if_not_empty="truncate", verify="full")
            ((a, b),) = pg("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)")
            assert a == b
    finally:
        over.set()
        thread.join()


def test_a_damaged_page_is_named_as_ever(lite, pg_url):
    """
    Whichever process meets it.
    """
    path = lite(SCHEMA, _rows())
    with open(path, "r+b") as file:
        for page in range(10, 20):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(SourceUnreadable, match="damaged"):
        migrate(path, pg_url)


def test_a_failure_of_copy_lets_the_readers_be_asked_again(move, monkeypatch, pg):
    """
    What a row is refused for is looked up by the same readers, which were in the middle of others.
    """
    rows = _rows()
    rows["b"][40] = (40, 12345, 0.5)  # refers to nothing
    with pytest.raises(MigrationError, match=r"12345|id 40"):
        move(SCHEMA, rows)
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")


def test_killed_itself_it_leaves_no_process(lite, pg_url):
    """
    SIGKILL in the middle of the load: whoever reads for it ends too.
    """
    path = lite(SCHEMA, _rows())
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            migrate(path, pg_url, on_progress=lambda at: _stop_at_load(at, write))
        finally:
            os._exit(1)
    os.close(write)
    pids = [int(number) for number in os.read(read, 1000).split()]
    os.close(read)
    assert 2 == len(pids)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for _ in range(500):
        if not any(_lives(number) for number in pids):
            break
        time.sleep(0.01)
    assert [] == [number for number in pids if _lives(number)]


def _stop_at_load(progress, write):
    if progress.phase == "load":
        os.write(write, " ".join(str(process.pid) for process in _helpers()).encode())
        time.sleep(60)


def _lives(pid):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


# --- ahead.py -----------------------------------------------------------------------------


def test_pieces_come_in_their_order():
    """
    Of two makers, of which one is slow.
    """

    def make(places, pause):
        for place in places:
            time.sleep(pause)
            yield place, (1, str(place).encode())
            if place % 3:
                yield place, (2, b"more")

    wanted = [
        piece
        for place in range(20)
        for piece in ((1, str(place).encode()), (2, b"more"))[: 2 if place % 3 else 1]
    ]
    with prefetch.Ahead([make(range(0, 20, 2), 0.005), make(range(1, 20, 2), 0)]) as pieces:
        assert wanted == list(pieces)


def test_what_a_maker_raises_is_raised_where_pieces_are_taken():
    """
    And the other maker, which waits for its turn, ends.
    """
    closed = []

    def fail():
        yield 0, (1, b"first")
        raise ValueError("no more")

    def wait():
        try:
            for place in range(2, 100):
                yield place, (1, bytes(prefetch._MOST))
        finally:
            closed.append(True)

    with (
        prefetch.Ahead([fail(), wait()]) as pieces,
        pytest.raises(ValueError, match="no more"),
    ):
        list(pieces)
    assert [True] == closed


@pytest.mark.parametrize("same_place", [True, False])
def test_what_waits_is_bounded(same_place):
    """
    Nobody takes anything: a maker stops when as much waits as may.
    """
    made = []

    def make():
        for place in range(100):
            made.append(place)
            yield 0 if same_place else place, (1, bytes(prefetch._MOST // 4))

    with prefetch.Ahead([make()]) as pieces:
        time.sleep(0.3)
        # Four wait, and the fifth is in hand.
        assert 5 == len(made)
        assert 100 == len(list(pieces))


def test_leaving_early_ends_the_makers():
    """
    As when COPY fails.
    """
    with prefetch.Ahead([iter_of_many()]) as pieces:
        next(iter(pieces))
    assert not any(thread.name == "oxy_pg-reader" for thread in threading.enumerate())


def iter_of_many():
    for place in range(10**9):
        yield place, (1, bytes(100_000))


def test_the_target_hears_nothing_of_the_processes(pg_url, lite):
    """
    One connection, as ever.
    """
    path = lite(SCHEMA, _rows())
    counts = []

    def count(progress):
        if progress.phase == "load":
            with psycopg.connect(pg_url) as other:
                query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oxy_pg'"
                counts.append(other.execute(query).fetchone()[0])

    migrate(path, pg_url, on_progress=count)
    assert {1} == set(counts)
