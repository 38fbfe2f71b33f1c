"""What is left when something is killed: nothing that runs, and everything that was committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg.server.cluster import binaries
from tests.conftest import wait_until

from .machine import is_zombie, postmasters, processes, supervisors

HOLDING = (
    "import oxy_pg, os, psycopg\n"
    "url = oxy_pg.ensure(keep_alive={keep_alive})\n"
    "connection = psycopg.connect(url, autocommit=True)\n"
    "connection.execute('CREATE TABLE IF NOT EXISTS kept (pid int)')\n"
    "connection.execute('INSERT INTO kept VALUES (%s)', (os.getpid(),))\n"
    "print('holding', flush=True)\n"
    "input()\n"
)


def data_dir(state_dir):
    return os.path.realpath(state_dir / "postgres_data")


def nothing_runs(state_dir):
    return not processes(data_dir(state_dir)) and not supervisors(str(state_dir))


def kill(pid):
    """Kill -9, and see it gone: a signal takes its time, and a dead process's files are closed."""
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: is_zombie(pid))


def kept(state_dir):
    with psycopg.connect(oxy_pg.ensure(state_dir=state_dir, keep_alive=1)) as connection:
        return connection.execute("SELECT count(*) FROM kept").fetchone()[0]


@pytest.fixture
def holder(state_dir, start_python):
    """A process that holds the server, and has committed one row."""
    process = start_python(HOLDING.format(keep_alive=1), OXY_STATE_DIR=state_dir)
    assert "holding\n" == process.stdout.readline(), process.stderr.read()
    return process


def test_the_only_client(state_dir, holder):
    """
    Field note 1: the kernel closes a killed client's lease; after keep_alive everything has gone.
    """
    holder.kill()

    assert wait_until(lambda: nothing_runs(state_dir), 30)
    assert [] == list(state_dir.glob("run"))
    assert 1 == kept(state_dir)


def test_every_client_and_what_they_started(state_dir, start_python):
    """
    Field note 10, ``killall -9 python``: clients and supervisor at once; PostgreSQL goes by itself.
    """
    crowd = []
    for _ in range(3):
        crowd.append(start_python(HOLDING.format(keep_alive=600), OXY_STATE_DIR=state_dir))
        assert "holding\n" == crowd[-1].stdout.readline()

    for pid in (*supervisors(str(state_dir)), *(process.pid for process in crowd)):
        os.kill(pid, signal.SIGKILL)

    if sys.platform == "linux":
        assert wait_until(lambda: nothing_runs(state_dir), 20)
    assert 3 == kept(state_dir)


def test_the_supervisor(state_dir, holder):
    """
    Field note 10: PostgreSQL is shut down when its supervisor is killed; the next ensure() works.
    """
    (supervisor,) = supervisors(str(state_dir))
    (postmaster,) = postmasters(data_dir(state_dir))

    kill(supervisor)

    assert wait_until(lambda: not psutil.pid_exists(postmaster) or is_zombie(postmaster), 20)
    assert 1 == kept(state_dir)
    assert [supervisor] != supervisors(str(state_dir))
    assert 1 == len(postmasters(data_dir(state_dir)))
    log = "".join(path.read_text() for path in Path(data_dir(state_dir), "log").iterdir())
    assert "received fast shutdown request" in log


def test_the_supervisor_and_somebody_asks_at_once(state_dir, holder):
    """
    Whoever asks while PostgreSQL is on its way down gets a server that stays.
    """
    for _ in range(5):
        (supervisor,) = supervisors(str(state_dir))
        kill(supervisor)

        assert 1 == kept(state_dir)
        assert wait_until(lambda: 1 == len(postmasters(data_dir(state_dir))))


def test_the_postmaster_with_a_client_attached(state_dir, holder):
    """
    The supervisor brings it back, on its port and with its rows, while the client holds on.
    """
    url = oxy_pg.ensure(state_dir=state_dir)
    (first,) = postmasters(data_dir(state_dir))
    kill(first)

    assert wait_until(lambda: postmasters(data_dir(state_dir)) not in ([], [first]), 30)
    assert url == oxy_pg.ensure(state_dir=state_dir)
    assert 1 == kept(state_dir)


@pytest.mark.parametrize("title", ["postgres: oxy ", "postgres: checkpointer", "postgres: logger"])
def test_one_of_its_processes(state_dir, holder, title):
    """
    PostgreSQL mends itself when a backend or one of its helpers is killed; ensure() bears with it.
    """
    victim = next(
        one.pid for one in processes(data_dir(state_dir)).values() if one.title.startswith(title)
    )
    kill(victim)

    def answers():
        try:
            return 1 == kept(state_dir)
        except psycopg.OperationalError:  # it recovers from the crash just now
            return False

    assert wait_until(answers, 30)


def test_a_recovering_server_is_waited_for(state_dir, start_python):
    """
    Field note 3: a caller without patience gets StartTimeout, and the recovery goes on for all.

    Recovery is held up here by a stopped startup process.
    """
    code = (
        "import oxy_pg, psycopg\n"
        "url = oxy_pg.ensure(settings={'checkpoint_timeout': '1h'})\n"
        "connection = psycopg.connect(url, autocommit=True)\n"
        # Not in one transaction: with wal_level=minimal nothing would have to be recovered.
        "connection.execute('CREATE TABLE kept (number int)')\n"
        "connection.execute('INSERT INTO kept SELECT generate_series(1, 1000000)')\n"
        "print('written', flush=True); input()\n"
    )
    writer = start_python(code, OXY_STATE_DIR=state_dir)
    assert "written\n" == writer.stdout.readline()
    (first,) = postmasters(data_dir(state_dir))
    kill(first)
    recovering = None
    end = time.monotonic() + 30
    while recovering is None and time.monotonic() < end:
        for one in processes(data_dir(state_dir)).values():
            if one.title.startswith("postgres: startup"):
                os.kill(one.pid, signal.SIGSTOP)
                recovering = one.pid
    assert recovering is not None
    try:
        with pytest.raises(oxy_pg.StartTimeout, match="left running"):
            oxy_pg.ensure(state_dir=state_dir, timeout=1.5)
        assert psutil.pid_exists(recovering)
    finally:
        os.kill(recovering, signal.SIGCONT)

    assert 1000000 == kept(state_dir)
    assert is_zombie(recovering)


def test_a_postmaster_without_a_supervisor_is_adopted(state_dir):
    """
    Field note 10, where no signal comes at the parent's death (macOS): ensure() takes it over.
    """
    server = oxy_pg.Server(state_dir)
    with psycopg.connect(server.ensure_database()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1")
    server.stop()
    with started_by_hand(state_dir, "-p", str(free_port())) as pid:
        assert 1 == kept(state_dir)

        assert [pid] == postmasters(data_dir(state_dir))
        assert pid == server.status().pid
        assert 1 == len(supervisors(str(state_dir)))
        # Both ways in work, though its socket is not where we would have put it.
        with psycopg.connect(oxy_pg.Server(state_dir).socket_url()) as connection:
            assert ("oxy",) == connection.execute("SELECT current_user").fetchone()

        kill(pid)  # and it is brought back like any other
        assert 1 == kept(state_dir)
        server.stop()

    assert wait_until(lambda: nothing_runs(state_dir))


def test_stop_finds_a_postmaster_without_a_supervisor(state_dir):
    """
    ``stop()`` ends an orphan too.
    """
    server = oxy_pg.Server(state_dir)
    server.ensure_database()
    server.stop()
    with started_by_hand(state_dir, "-p", str(free_port())):
        server.stop()

        assert [] == postmasters(data_dir(state_dir))


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class started_by_hand:  # noqa: N801 - reads as a sentence
    """A postmaster that somebody started with ``pg_ctl`` on our data directory."""

    def __init__(self, state_dir, *options):
        self.data_dir = data_dir(state_dir)
        account = owner(self.data_dir)
        program = binaries.reachable(binaries.find(), account).program("pg_ctl")
        self.command = [program, "-D", self.data_dir, "-w", "-l", "/dev/null"]
        self.options = ["-o", " ".join(options), "start"]
        self.arguments = account.popen_arguments()

    def __enter__(self):
        subprocess.run([*self.command, *self.options], check=True, cwd="/", **self.arguments,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        return postmasters(self.data_dir)[0]

    def __exit__(self, *_):
        if postmasters(self.data_dir):
            subprocess.run([*self.command, "-m", "fast", "stop"], check=False, cwd="/",
                           stdout=subprocess.DEVNULL, **self.arguments)  # fmt: skip


def owner(path):
    from oxy_pg.server.cluster import account

    uid = os.stat(path).st_uid
    return account.Account(uid, os.stat(path).st_gid, "owner", demoted=uid != os.geteuid())


def in_a_pid_namespace(code, state_dir):
    """Run code as process 1 of a PID namespace of its own: it reaps nobody but its own children."""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root may make a PID namespace"
)
def test_in_a_container_where_nobody_reaps(state_dir):
    """
    Field note 6: a container's first process reaps no orphans, and its pids are small and reused.

    PostgreSQL takes an unreaped postmaster for a living one, and its parent's
    or its own pid in a stale pid file is the rule there.
    """
    code = (
        "import contextlib, os, signal, oxy_pg, psycopg\n"
        "import time\n"
        "from tests.chaos.machine import is_zombie, processes, supervisors\n"
        "state_dir = os.environ['OXY_STATE_DIR']\n"
        "def write():\n"
        "    with psycopg.connect(oxy_pg.ensure(timeout=20)) as connection:\n"
        "        connection.execute('CREATE TABLE IF NOT EXISTS kept (id int)')\n"
        "        connection.execute('INSERT INTO kept VALUES (1)')\n"
        "        return connection.execute('SELECT count(*) FROM kept').fetchone()[0]\n"
        "assert 1 == os.getpid()\n"
        "write()\n"
        "data_dir = os.path.realpath(state_dir + '/postgres_data')\n"
        "for round in range(3):\n"
        "    doomed = [*supervisors(state_dir), *processes(data_dir)]\n"
        "    for pid in doomed:\n"
        "        with contextlib.suppress(ProcessLookupError):\n"
        "            os.kill(pid, signal.SIGKILL)\n"
        "    while not all(is_zombie(pid) for pid in doomed):\n"
        "        time.sleep(0.01)\n"
        "    rows = write()\n"
        "print(rows)\n"
    )

    assert "4" == in_a_pid_namespace(code, state_dir)
    # The whole container was killed just now, with everything in it; and starts again.
    assert "8" == in_a_pid_namespace(code, state_dir)
    oxy_pg.ensure(state_dir=state_dir)  # what was left in there is found out here, and cleared up
    oxy_pg.Server(state_dir).stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_without_the_right_to_trace(state_dir, holder):
    """
    Field note 7: root in a container cannot see where another user's process works.

    The pid file of a postmaster that is still there must not be removed for that.
    """
    code = (
        "import os, oxy_pg, psycopg\n"
        "url = oxy_pg.ensure(timeout=30)\n"
        "print(psycopg.connect(url).execute('SELECT count(*) FROM kept').fetchone()[0])\n"
    )
    (postmaster,) = postmasters(data_dir(state_dir))
    (supervisor,) = supervisors(str(state_dir))
    (checkpointer,) = (
        child
        for child in psutil.Process(postmaster).children()
        if "checkpointer" in " ".join(child.cmdline())
    )
    checkpointer.suspend()  # the shutdown waits for it
    kill(supervisor)
    asking = subprocess.Popen(
        ["setpriv", "--bounding-set=-sys_ptrace", sys.executable, "-c", code],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(1.5)
        assert [postmaster] == postmasters(data_dir(state_dir))
        assert Path(data_dir(state_dir), "postmaster.pid").read_text().split()[0] == str(postmaster)
    finally:
        checkpointer.resume()
        answer, _ = asking.communicate(timeout=60)

    assert "1\n" == answer


def test_a_caller_that_blocks_signals(state_dir, run_python):
    """
    Signals that the caller's thread blocks do not make the supervisor deaf.
    """
    code = (
        "import oxy_pg, os, psycopg, signal, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "oxy_pg.ensure()\n"
        "first = oxy_pg.Server().status().pid\n"
        "os.kill(first, signal.SIGKILL)\n"
        "end = time.monotonic() + 30\n"
        "while oxy_pg.Server().status().pid in (first, None) and time.monotonic() < end:\n"
        "    time.sleep(0.05)\n"
        "psycopg.connect(oxy_pg.ensure()).close()\n"
        "print(oxy_pg.Server().status().pid not in (first, None))\n"
    )

    assert "True" == run_python(code, OXY_STATE_DIR=state_dir)


def test_a_caller_that_ignores_the_end_of_children(state_dir, run_python):
    """
    SIGCHLD ignored by the caller, as daemons do: a start that fails at once is noticed anyway.

    A stopped backend of a killed server is in the way, until it is let go.
    """
    code = (
        "import contextlib, oxy_pg, os, psycopg, signal, threading, time\n"
        "from tests.chaos.machine import postmasters, supervisors\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "connection = psycopg.connect(oxy_pg.ensure())\n"
        "backend = connection.info.backend_pid\n"
        "state_dir = os.environ['OXY_STATE_DIR']\n"
        "data_dir = os.path.realpath(state_dir + '/postgres_data')\n"
        "os.kill(backend, signal.SIGSTOP)\n"
        "threading.Timer(1.5, os.kill, (backend, signal.SIGCONT)).start()\n"
        "for pid in (*supervisors(state_dir), *postmasters(data_dir)):\n"
        "    os.kill(pid, signal.SIGKILL)\n"
        "time.sleep(0.5)\n"
        "with psycopg.connect(oxy_pg.ensure(timeout=30)) as again:\n"
        "    print(again.execute('SELECT 1').fetchone()[0])\n"
    )

    assert "1" == run_python(code, OXY_STATE_DIR=state_dir, PYTHONPATH=os.getcwd())
