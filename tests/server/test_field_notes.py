"""The field notes that no other file covers, and a look that all of them are covered."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import oxy_pg
from oxy_pg import paths
from oxy_pg.server.cluster import config, logs

TESTS = Path(__file__).parents[1]


def test_every_field_note_is_covered():
    """
    All 29 numbers stand in the table, and every test that it names exists.
    """
    rows = re.findall(
        r"^\| (\d+) \|[^|]*\|(.*)\|$", (TESTS / "FIELD_NOTES.md").read_text(), re.MULTILINE
    )
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    assert list(range(1, 30)) == [int(number) for number, _ in rows]
    for number, tests in rows:
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, f"nothing covers field note {number}"
        assert set(named) <= defined, f"field note {number} names a test that is not there"


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "xx_YY.nonsense"},
        {"LANG": "tr_TR.UTF-8", "LC_CTYPE": "missing"},
        {"LC_ALL": "C", "LANGUAGE": "de"},
        {"LC_ALL": "", "LANG": ""},
    ],
    ids=["missing", "turkish", "german", "empty"],
)
def test_the_machines_locale_does_not_matter(state_dir, run_python, locale):
    """
    Field note 17: whatever LANG and LC_* say, the database is UTF8; initdb makes it here.
    """
    code = (
        "import oxy_pg, psycopg\n"
        "with psycopg.connect(oxy_pg.ensure()) as connection:\n"
        "    print(*connection.execute(\"SELECT current_setting('server_encoding'),"
        " upper('straße é'), current_setting('lc_messages')\").fetchone())\n"
    )
    cache = state_dir.parent / "cache"

    answer = run_python(
        code, OXY_STATE_DIR=state_dir, OXY_PG_CACHE_DIR=cache, PYTHONUTF8=1, **locale
    )

    encoding, *_, messages = answer.split()
    assert ("UTF8", "C") == (encoding, messages)


def test_logs_are_pruned_at_a_start(state_dir):
    """
    Field note 19: across restarts too, all logs together stay within their bound.
    """
    server = oxy_pg.Server(state_dir)
    server.ensure_database()
    server.stop()
    log_dir = os.path.realpath(state_dir / "postgres_data/log")
    owner = os.stat(log_dir)
    for number in range(20):
        path = Path(log_dir, f"postgresql-2001-01-{number + 1:02}_000000.log")
        with path.open("wb") as file:
            file.truncate(8 * 1024 * 1024)
        os.chown(path, owner.st_uid, owner.st_gid)

    server.ensure_database()

    total = sum(os.stat(name).st_size for name in logs.names(log_dir))
    assert total <= config.LOG_TOTAL


def test_ready_is_an_answered_query(state_dir, start_python):
    """
    Field note 20: the first query after ensure() never fails, however the server comes up.

    Here it comes up from a crash, again and again, while others ask.
    """
    code = (
        "import oxy_pg, psycopg, sys\n"
        "for line in sys.stdin:\n"
        "    with oxy_pg.Server() as server, psycopg.connect(server.ensure_database()) as c:\n"
        "        c.execute('SELECT 1')\n"
        "    print('answered', flush=True)\n"
    )
    crowd = [start_python(code, OXY_STATE_DIR=state_dir) for _ in range(3)]
    for _ in range(5):
        for process in crowd:
            print("ask", file=process.stdin, flush=True)
        for process in crowd:
            assert "answered\n" == process.stdout.readline(), process.stderr.read()
        oxy_pg.Server(state_dir).stop("immediate")


def test_a_template_in_use_is_waited_for(server):
    """
    Field note 21: somebody is connected to the template for a moment; the clone is made after it.
    """
    server.create_database("template")
    connection = psycopg.connect(server.url("template"))
    thread = threading.Thread(target=lambda: (time.sleep(0.5), connection.close()))
    thread.start()

    server.create_database("clone", template="template")
    thread.join()

    assert "clone" in server.databases()


def test_a_private_directory_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    """
    Field note 23: a name below the temporary directory that is taken, or open to others.
    """
    taken = Path(paths.private_temp_dir(str(tmp_path)))
    taken.write_text("a file of somebody else's")
    second = Path(paths.private_temp_dir(str(tmp_path)))
    second.mkdir()
    second.chmod(0o777)
    third = Path(paths.private_temp_dir(str(tmp_path)))
    third.symlink_to(tmp_path)
    fourth = Path(paths.private_temp_dir(str(tmp_path)))
    fourth.mkdir(mode=0o700)

    assert 4 == len({taken, second, third, fourth})
    assert str(fourth) == paths.private_temp_dir(str(tmp_path))


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can make /dev/shm small"
)
def test_a_tiny_dev_shm_is_not_used(state_dir):
    """
    Field note 26: with a container's 64 MB, a parallel query's data goes through files instead.
    """
    code = (
        "import subprocess, psycopg, oxy_pg\n"
        "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/dev/shm'],"
        " check=True)\n"
        "with psycopg.connect(oxy_pg.ensure()) as connection:\n"
        "    print(*connection.execute('SHOW dynamic_shared_memory_type').fetchone())\n"
        "    connection.execute('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;'\n"
        "        'SET min_parallel_table_scan_size = 0; CREATE TABLE wide AS'\n"
        "        ' SELECT id, md5(id::text) FROM generate_series(1, 100000) AS id')\n"
        "    print(*connection.execute('SELECT count(DISTINCT md5) FROM wide').fetchone())\n"
        "oxy_pg.Server().stop()\n"
    )
    # Not below /dev/shm, which is hidden there.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o711)
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", code],
            env={
                **os.environ,
                "OXY_STATE_DIR": f"{directory}/state",
                "OXY_PG_CACHE_DIR": f"{directory}/cache",
                "TMPDIR": directory,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    assert ["mmap", "100000"] == done.stdout.split(), done.stderr


def test_fsync_is_off_for_what_is_thrown_away_only(server):
    """
    Field note 29: a temporary server does without, one that is kept never does by itself.
    """
    with oxy_pg.temporary() as temporary:
        assert "off" == shown(temporary, "fsync")
    assert ("on", "on", "on") == tuple(
        shown(server, name) for name in ("fsync", "full_page_writes", "synchronous_commit")
    )


def shown(server, name):
    with psycopg.connect(server.url("postgres")) as connection:
        return connection.execute(f"SHOW {name}").fetchone()[0]


def test_a_socket_of_the_server_is_closed_to_others(server, state_dir):
    """
    Field note 28: the way without a password is the owner's alone.
    """
    socket_dir = urlsplit(server.socket_url()).query
    assert "host=" in socket_dir
    run_dir = paths.StateDir(os.path.realpath(state_dir))
    assert 0 == stat.S_IMODE(os.stat(run_dir.socket_dir).st_mode) & 0o077
