"""A full disk: a typed error, and nothing that was committed is lost when there is room again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Each test runs in a mount namespace of its own, where a small tmpfs is its disk: it goes with it.
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux",
    reason="only root can mount a small disk to fill",
)

PRELUDE = """
import ctypes, os, psycopg, signal, subprocess, sys, time
import oxy_pg

def fill(leave=0):
    with open(disk + "/filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        while leave > 0 and file.tell():
            file.truncate(max(0, file.tell() - leave)); leave = 0

def make_room():
    os.unlink(disk + "/filler")

def error_of(action):
    try:
        action()
    except oxy_pg.OxyPgError as error:
        words = str(error)
        assert "No space left" in words or "could not" in words or "PANIC" in words, words
        assert disk in words, words
        return type(error).__name__
    return "none"

disk = os.environ["DISK"]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + os.environ["SIZE"] + ",mode=0711",
                "tmpfs", disk], check=True)
os.environ["OXY_STATE_DIR"] = disk + "/state"
"""

EPILOGUE = """
oxy_pg.Server().stop()
"""


def in_a_small_disk(code, disk, size="200m", **variables):
    disk.mkdir(exist_ok=True)
    done = subprocess.run(
        # And an IPC namespace: initdb's postgres aborts (PANIC) when it cannot write its WAL, and
        # leaves a System V segment of 56 bytes, which `oxy-pg doctor` would show.
        ["unshare", "--mount", "--ipc", "--propagation", "private", sys.executable, "-c",
         PRELUDE + code + EPILOGUE],
        env={**os.environ, "DISK": str(disk), "SIZE": size, **variables},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def disk(state_dir):
    return state_dir.parent / "disk"


@pytest.mark.parametrize("left", [0, 10_000, 3_000_000, 12_000_000, 30_000_000])
def test_at_the_first_start(disk, left):
    """
    Field note 4: wherever the space runs out, the error is typed, and the next try works.
    """
    code = (
        f"fill({left})\n"
        "print(error_of(oxy_pg.ensure))\n"
        "make_room()\n"
        "psycopg.connect(oxy_pg.ensure()).close()\n"
        "print(sorted(name for name in os.listdir(disk + '/state') if '.new' in name))\n"
    )

    error, left_behind = in_a_small_disk(code, disk).splitlines()

    assert error in {"InitdbFailed", "StartFailed", "ConfigurationError", "ServerError", "none"}
    assert left < 30_000_000 or error != "ConfigurationError"
    assert left > 0 or error != "none"
    assert "[]" == left_behind


@pytest.mark.parametrize("cached", [True, False], ids=["template", "initdb"])
def test_while_the_cluster_is_made(disk, base_dir, cached):
    """
    Field note 4: initdb, or the copy of its result, without room; nothing of it stays.
    """
    code = (
        "error = error_of(oxy_pg.ensure)\n"
        "print(error, os.listdir(disk + '/state'))\n"
        "subprocess.run(['mount', '-o', 'remount,size=200m', disk], check=True)\n"
        "psycopg.connect(oxy_pg.ensure()).close()\n"
    )
    cache = base_dir / "cache" if cached else disk.parent / "cache"

    answer = in_a_small_disk(code, disk, "9m", OXY_PG_CACHE_DIR=str(cache))

    assert answer.startswith("InitdbFailed")
    assert "postgres_data" not in answer


def test_while_it_runs(disk):
    """
    PostgreSQL panics, the supervisor tries again, and with room all acknowledged rows are there.
    """
    code = (
        "server = oxy_pg.Server(keep_alive=30)\n"
        "connection = psycopg.connect(server.ensure_database(), autocommit=True)\n"
        "connection.execute('CREATE TABLE kept (id int, filler text)')\n"
        "acknowledged = 0\n"
        "fill(2_000_000)\n"
        "try:\n"
        "    while True:\n"
        "        connection.execute(\"INSERT INTO kept VALUES (%s, repeat('x', 5000))\","
        " (acknowledged,))\n"
        "        acknowledged += 1\n"
        "except psycopg.Error as error:\n"
        "    said = str(error)\n"
        "try:\n"
        "    with psycopg.connect(oxy_pg.ensure(timeout=3)) as other:\n"
        "        other.execute('SELECT 1')\n"
        "except (oxy_pg.OxyPgError, psycopg.Error):\n"
        "    pass\n"
        "make_room()\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with psycopg.connect(oxy_pg.ensure(timeout=30)) as other:\n"
        "            rows = other.execute('SELECT count(*) FROM kept').fetchone()[0]\n"
        "            other.execute('INSERT INTO kept VALUES (-1)')\n"
        "            break\n"
        "    except (oxy_pg.OxyPgError, psycopg.Error):\n"
        "        time.sleep(0.1)\n"
        "print(acknowledged > 50, 'space' in said or 'closed' in said, rows - acknowledged)\n"
    )

    many, said, difference = in_a_small_disk(code, disk).split()

    assert ("True", "True") == (many, said)
    # One may have been committed whose acknowledgement never came.
    assert int(difference) in {0, 1}


def test_at_a_start_with_data(disk):
    """
    Field note 4: a start without any room is refused in PostgreSQL's words; the rows stay.
    """
    code = (
        "server = oxy_pg.Server()\n"
        "with psycopg.connect(server.ensure_database()) as connection:\n"
        "    connection.execute('CREATE TABLE kept AS SELECT 42 AS id')\n"
        "server.stop()\n"
        "fill()\n"
        "print(error_of(lambda: oxy_pg.ensure(timeout=20)))\n"
        "make_room()\n"
        "with psycopg.connect(oxy_pg.ensure()) as connection:\n"
        "    print(connection.execute('SELECT id FROM kept').fetchone()[0])\n"
    )

    error, row = in_a_small_disk(code, disk).split()

    assert error in {"StartFailed", "StartTimeout", "ServerError"}
    assert "42" == row


def test_settings_on_a_full_disk(disk):
    """
    New settings that cannot be written are a typed error; the running server goes on.
    """
    code = (
        "server = oxy_pg.Server(keep_alive=30)\n"
        "server.ensure_database()\n"
        "fill()\n"
        "other = oxy_pg.Server(settings={'work_mem': '7MB'})\n"
        "print(error_of(lambda: other.start(timeout=20)))\n"
        "print(server.status().state)\n"
        "make_room()\n"
        "other.start()\n"
    )

    assert ["ServerError", "running"] == in_a_small_disk(code, disk).split()
