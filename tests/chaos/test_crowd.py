"""Many at once: processes, threads, forks, and one who keeps stopping what the others start."""

from __future__ import annotations

import multiprocessing
import os

import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until

from .machine import Watch, postmasters, processes

WHO = (
    "def who(url):\n"
    "    import psycopg\n"
    "    with psycopg.connect(url) as connection:\n"
    "        query = 'SELECT pg_postmaster_start_time(), inet_server_port()'\n"
    "        return connection.execute(query).fetchone()\n"
)


def data_dir(state_dir):
    return os.path.realpath(state_dir / "postgres_data")


@pytest.mark.parametrize("many", [24, pytest.param(64, marks=pytest.mark.long)])
def test_many_processes_from_cold(state_dir, start_python, many):
    """
    Field note 9: whoever comes first makes the cluster, and all get the same server.
    """
    code = (
        f"{WHO}import oxy_pg\nurl = oxy_pg.ensure(timeout=110)\nprint(url, *who(url))\n"
        "input()\n"  # holds its lease until it is told to go
    )
    crowd = [start_python(code, OXY_STATE_DIR=state_dir) for _ in range(many)]

    answers = [process.stdout.readline() for process in crowd]

    assert 1 == len(set(answers)), {answer: answers.count(answer) for answer in answers}
    assert answers[0].startswith("postgresql://")
    assert 1 == len(postmasters(data_dir(state_dir)))
    assert many == oxy_pg.Server(state_dir).status().clients


def test_sixteen_threads_in_each_of_four_processes(state_dir, start_python):
    """
    Threads share their process's lease, whichever of them asks first.
    """
    code = (
        f"{WHO}import oxy_pg, threading\n"
        "answers = []\n"
        "barrier = threading.Barrier(16)\n"
        "def ask():\n"
        "    barrier.wait()\n"
        "    answers.append((oxy_pg.ensure(timeout=110), *who(oxy_pg.ensure())))\n"
        "threads = [threading.Thread(target=ask) for _ in range(16)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(answers), *sorted(set(answers)))\n"
        "input()\n"
    )
    crowd = [start_python(code, OXY_STATE_DIR=state_dir) for _ in range(4)]

    answers = {process.stdout.readline() for process in crowd}

    assert 1 == len(answers), answers
    assert answers.pop().startswith("16 ")
    assert 4 == oxy_pg.Server(state_dir).status().clients


def test_a_fork_while_other_threads_ask(state_dir, run_python):
    """
    Field note 24: children forked at any moment ask for themselves, and hold no lock of ours.

    They stay behind, with whatever they have inherited, while their parent
    stops the server and starts it again.
    """
    code = (
        f"{WHO}import os, oxy_pg, threading, time\n"
        "thread = threading.Thread(target=oxy_pg.ensure)\n"
        "thread.start()\n"
        "children = []\n"
        "while thread.is_alive():\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        if len(children) % 8 == 0:\n"
        "            assert oxy_pg.ensure(), 'a child of a thread'\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"
        "    children.append(pid)\n"
        "    time.sleep(0.004)\n"
        "thread.join()\n"
        "first = who(oxy_pg.ensure())\n"
        "oxy_pg.Server().stop()\n"
        "second = who(oxy_pg.ensure(timeout=30))\n"
        "for pid in children: os.kill(pid, 9)\n"
        "print(first[0] < second[0], len(children) > 1)\n"
    )

    assert "True True" == run_python(code, OXY_STATE_DIR=state_dir, PYTHONWARNINGS="ignore")


def ask_and_write(state_dir, number):
    url = oxy_pg.ensure(state_dir=state_dir)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO crowd VALUES (%s)", (number,))
    return url


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing(state_dir, method):
    """
    A pool's workers get the server that their parent has, spawned or forked after ensure().
    """
    url = oxy_pg.ensure(state_dir=state_dir)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE crowd (number int)")

    with multiprocessing.get_context(method).Pool(4) as pool:
        answers = pool.starmap(ask_and_write, [(state_dir, number) for number in range(12)])
        pool.close()
        pool.join()

    assert {url} == set(answers)
    with psycopg.connect(oxy_pg.ensure(state_dir=state_dir)) as connection:
        assert (12,) == connection.execute("SELECT count(*) FROM crowd").fetchone()


def test_one_stops_what_eight_start(state_dir, start_python):
    """
    Field notes 7, 8: every ensure() gives a server, whatever stop() and destroy races with it.

    A query may still fail when the stop comes right after; ensure() may not.
    """
    asking = (
        "import oxy_pg, psycopg, time\n"
        "asked = answered = 0\n"
        "end = time.monotonic() + 6\n"
        "while time.monotonic() < end:\n"
        "    url = oxy_pg.ensure(timeout=60)\n"
        "    asked += 1\n"
        "    try:\n"
        "        with psycopg.connect(url, connect_timeout=10) as connection:\n"
        "            connection.execute('SELECT 1')\n"
        "        answered += 1\n"
        "    except psycopg.OperationalError:\n"
        "        pass\n"
        "print(asked, answered)\n"
    )
    stopping = (
        "import oxy_pg, time\n"
        "stops = 0\n"
        "end = time.monotonic() + 6\n"
        "while time.monotonic() < end:\n"
        "    oxy_pg.Server().stop()\n"
        "    stops += 1\n"
        "    time.sleep(0.1)\n"
        "print(stops)\n"
    )
    oxy_pg.Server(state_dir).ensure_database()
    with Watch(data_dir(state_dir)) as watch:
        crowd = [start_python(asking, OXY_STATE_DIR=state_dir) for _ in range(8)]
        stopper = start_python(stopping, OXY_STATE_DIR=state_dir)
        results = [process.communicate(timeout=100) for process in (*crowd, stopper)]

    *asked, (stops, complaint) = results
    assert ("", [""] * 8) == (complaint, [error for _, error in asked])
    assert int(stops) > 3
    assert all(int(answer.split()[1]) > 0 for answer, _ in asked)
    assert [] == watch.two_at_once


def test_stop_means_stopped(state_dir):
    """
    Field note 8: when stop() returns, no process of the server is there any more.
    """
    for mode in ("fast", "immediate", "smart"):
        oxy_pg.ensure(state_dir=state_dir)
        assert processes(data_dir(state_dir))

        oxy_pg.Server(state_dir).stop(mode)

        assert [] == postmasters(data_dir(state_dir)), mode
        assert not os.path.exists(f"{data_dir(state_dir)}/postmaster.pid")


def test_a_lease_asked_for_during_a_restart(state_dir, start_python):
    """
    Who comes while the server restarts waits for that, and not for a timeout.
    """
    server = oxy_pg.Server(state_dir, keep_alive=30)
    server.ensure_database()
    asking = (
        f"{WHO}import oxy_pg, sys, time\n"
        "for line in sys.stdin:\n"
        "    server = oxy_pg.Server()\n"
        "    server.start(timeout=30)\n"
        "    server.release()\n"
        "    print('served', flush=True)\n"
    )
    crowd = [start_python(asking, OXY_STATE_DIR=state_dir) for _ in range(2)]
    restarter = start_python(
        "import oxy_pg\nfor _ in range(8): oxy_pg.Server().restart()\nprint('done')",
        OXY_STATE_DIR=state_dir,
    )
    served = 0
    while restarter.poll() is None:
        for process in crowd:
            print("ask", file=process.stdin, flush=True)
            assert "served\n" == process.stdout.readline(), process.stderr.read()
            served += 1

    assert ("done\n", "") == restarter.communicate()
    assert served >= len(crowd)
    assert 1 == len(postmasters(data_dir(state_dir)))


def test_no_connection_is_left(state_dir, run_python):
    """
    With every connection taken ensure() waits for one, and then says so; nothing hangs.
    """
    server = oxy_pg.Server(state_dir, settings={"max_connections": 10})
    url = server.ensure_database()
    code = (
        "import oxy_pg\n"
        "try: print(oxy_pg.ensure('another', timeout=3))\n"
        "except oxy_pg.ServerError as error: print(type(error).__name__, error)\n"
    )
    superuser = server.superuser_url()
    taken = [psycopg.connect(url) for _ in range(7)] + [psycopg.connect(superuser) for _ in "123"]

    try:
        answer = run_python(code, OXY_STATE_DIR=state_dir)
    finally:
        for connection in taken:
            connection.close()

    assert answer.startswith("ServerError")
    assert "too many clients" in answer or "remaining connection slots" in answer
    assert wait_until(lambda: "/another" in run_python(code, OXY_STATE_DIR=state_dir))
