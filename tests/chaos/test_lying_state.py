"""Every file that oxy_pg writes may be empty, cut, or nonsense: the server starts all the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from tests.conftest import wait_until

from .machine import postmasters, processes, supervisors

NONSENSE = {
    "empty": b"",
    "a line": b"\n",
    "text": b"what is this?\nand this: 17 / ../../x\n",
    "a number": b"99999999999999999999\n",
    "binary": bytes(range(256)) * 8,
    "long": b"\xff\xfe" * 40000,
}
WRITTEN = (
    "password",
    "port",
    "settings.json",
    "lock",
    "supervisor.log",
    "postgres_data/postmaster.pid",
    "postgres_data/postmaster.opts",
    "postgres_data/oxy_pg.txt",
    "postgres_data/oxy_pg.unsynced",
    "postgres_data/postgresql.conf",
    "postgres_data/pg_hba.conf",
    "postgres_data/pg_ident.conf",
    "postgres_data/log/startup.log",
    "run/control",
)


def data_dir(state_dir):
    return os.path.realpath(state_dir / "postgres_data")


@pytest.fixture
def stopped(state_dir):
    """A stopped server with one row in it."""
    server = oxy_pg.Server(state_dir, settings={"work_mem": "5MB"})
    with psycopg.connect(server.ensure_database()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS text")
    server.stop()
    return state_dir


def kept(state_dir, timeout=30):
    # A handle of its own each time: what another one remembers must not help it.
    with (
        oxy_pg.Server(state_dir) as server,
        psycopg.connect(server.ensure_database(timeout=timeout)) as connection,
    ):
        return connection.execute("SELECT text FROM kept").fetchone()[0]


def overwrite(path, content):
    path.parent.mkdir(exist_ok=True)
    owner = path.stat() if path.exists() else path.parent.stat()
    path.write_bytes(content)
    os.chown(path, owner.st_uid, owner.st_gid)


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_in_all_files(stopped, content):
    """
    Field note 2: all of them at once hold the same nonsense, and the rows are there.
    """
    for name in WRITTEN:
        overwrite(stopped / name, content)

    assert "kept" == kept(stopped)


@pytest.mark.parametrize("name", WRITTEN)
def test_half_a_file(stopped, name):
    """
    Field note 2: each of them cut in half, as a crash may leave it elsewhere.
    """
    path = stopped / name
    whole = path.read_bytes() if path.is_file() else b"123456\n/somewhere\n1700"
    overwrite(path, whole[: len(whole) // 2])

    assert "kept" == kept(stopped)


@pytest.mark.parametrize("name", ["password", "port", "settings.json", "supervisor.log"])
def test_files_that_have_gone(stopped, name):
    """
    What oxy_pg can make again, it makes again.
    """
    (stopped / name).unlink()

    assert "kept" == kept(stopped)


@pytest.mark.parametrize("name", ["password", "port", "lock", "supervisor.log", "settings.json"])
def test_a_directory_in_the_place_of_a_file(stopped, name):
    """
    That is beyond repair: a typed error names it, nothing hangs, and the data is untouched.
    """
    (stopped / name).unlink()
    (stopped / name).mkdir()
    try:
        assert "kept" == kept(stopped)
    except oxy_pg.OxyPgError as error:
        assert str(stopped / name) in str(error)  # noqa: PT017 - either will do
    (stopped / name).rmdir()

    assert "kept" == kept(stopped)


# --- postmaster.pid ---


def write_pid_file(state_dir, pid, status="ready"):
    """A whole and plausible one."""
    place = data_dir(state_dir)
    lines = (pid, place, 1700000000, 54321, "/tmp", "127.0.0.1", "  1234567     98765", status)
    overwrite(Path(place, "postmaster.pid"), "".join(f"{line}\n" for line in lines).encode())


def test_the_pid_of_nobody(stopped):
    """
    Field note 5: its process has gone.
    """
    nobody = subprocess.Popen([sys.executable, "-c", ""])
    nobody.wait()
    write_pid_file(stopped, nobody.pid)

    assert "kept" == kept(stopped)


@pytest.mark.parametrize("status", ["ready", "starting", "stopping", "standby", ""])
def test_the_pid_of_a_stranger(stopped, status):
    """
    Field note 5: after a reboot the pid belongs to somebody else, who is left alone.
    """
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        write_pid_file(stopped, stranger.pid, status)

        assert "kept" == kept(stopped)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_pid_of_a_stranger_that_is_called_postgres(stopped, tmp_path):
    """
    Field note 5: not even a process of that name is taken for ours; its directory tells.
    """
    program = shutil.copy(shutil.which("sleep"), tmp_path / "postgres")
    stranger = subprocess.Popen([program, "60"])
    try:
        write_pid_file(stopped, stranger.pid)

        assert "kept" == kept(stopped)
        oxy_pg.Server(stopped).stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("whose", ["parent", "own", "first"])
def test_the_pid_of_a_relative(stopped, whose):
    """
    Field note 6: in a container the stale pid is our own, our parent's, or that of process 1.
    """
    write_pid_file(stopped, {"parent": os.getppid(), "own": os.getpid(), "first": 1}[whose])

    assert "kept" == kept(stopped)


def test_stop_believes_no_pid_file(stopped):
    """
    Field note 5: ``stop()`` signals nobody whose only guilt is a pid.
    """
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        write_pid_file(stopped, stranger.pid)

        oxy_pg.Server(stopped).stop()

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# --- the control socket ---


def test_a_socket_that_nobody_listens_on(stopped):
    """
    A socket's file survives its listener; it is replaced.
    """
    (stopped / "run").mkdir(exist_ok=True)
    with contextlib.chdir(stopped / "run"), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("control")

    assert "stopped" == oxy_pg.Server(stopped).status().state
    assert "kept" == kept(stopped)


def test_a_socket_on_which_somebody_else_talks(stopped):
    """
    Who holds the lock is right: a stranger's answers on the socket do not become a URL.
    """
    (stopped / "run").mkdir(exist_ok=True)
    with contextlib.chdir(stopped / "run"), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("control")
        listener.listen()
        with pytest.raises(oxy_pg.ServerError):
            oxy_pg.ensure(state_dir=stopped, timeout=1)

    assert "kept" == kept(stopped)


@pytest.mark.parametrize(
    "nonsense", [b"\n", b"\0" * 5000, b"lease\n", b"lease x y\n", b"stop wrong\n", b"\xff\n" * 99]
)
def test_nonsense_on_the_socket(stopped, nonsense):
    """
    The supervisor outlives whatever a client says to it.
    """
    with oxy_pg.Server(stopped) as server:
        with contextlib.chdir(stopped / "run"), socket.socket(socket.AF_UNIX) as client:
            client.connect("control")
            client.sendall(nonsense)
            client.settimeout(5)
            with contextlib.suppress(OSError):
                client.recv(100)

        assert "running" == server.status().state
        assert "kept" == kept(stopped)


# --- the template ---


@pytest.fixture
def template(stopped, tmp_path, monkeypatch):
    """A template cache of this test's own, with a copy of the run's template in it."""
    with oxy_pg.temporary():
        pass  # the run has its template now, if it had none
    (made,) = Path(os.environ["OXY_PG_CACHE_DIR"]).glob("template-*")
    # And the checksums: a template that is made again would replace that of the run's.
    shutil.copytree(os.environ["XDG_STATE_HOME"], tmp_path / "xdg-state")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    monkeypatch.setenv("OXY_PG_CACHE_DIR", str(cache))
    return Path(shutil.copy2(made, cache))


def damage_half(template):
    os.truncate(template, template.stat().st_size // 2)


def damage_index(template):
    whole = template.read_bytes()
    template.write_bytes(whole.replace(b"base/1/", b"base/no/", 1))


def damage_kind(template):
    template.unlink()
    template.mkdir(mode=0o700)


def damage_presence(template):
    template.unlink()
    template.symlink_to("nowhere")


@pytest.mark.parametrize(
    "damage",
    [
        damage_half,
        damage_index,
        damage_kind,
        damage_presence,
        *(
            pytest.param(
                lambda path, content=content: path.write_bytes(content),
                marks=[] if name in {"empty", "binary", "text"} else pytest.mark.long,
            )
            for name, content in NONSENSE.items()
        ),
    ],
    ids=["half", "index", "kind", "presence", *NONSENSE],
)  # fmt: skip
def test_a_damaged_template_is_made_again(template, state_dir, damage):
    """
    Field note 2: half a cache is found out while it is copied, and replaced.
    """
    damage(template)

    for _ in range(2):
        with oxy_pg.temporary() as server, psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone()
    assert template.stat().st_size > 1_000_000
    assert not list(template.parent.glob(".template-*"))


# --- the lock ---


def test_a_lock_held_by_a_stopped_process(stopped, start_python):
    """
    LockTimeout names the process that holds the lock and is stopped (SIGSTOP).
    """
    holder = start_python(
        "import sys, time; from oxy_pg import paths; from oxy_pg.server.supervisor import lock\n"
        "state = paths.StateDir(sys.stdin.readline().strip())\n"
        "while True:\n"
        "    with lock.attempt(state) as descriptor:\n"
        "        if descriptor is not None:\n"
        "            print('held', flush=True); sys.stdin.readline(); break\n"
        "    time.sleep(0.01)\n"
    )
    print(stopped, file=holder.stdin, flush=True)
    assert "held\n" == holder.stdout.readline()
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        with pytest.raises(
            oxy_pg.LockTimeout, match=rf"(?s)process {holder.pid} \(stopped\).*end it"
        ):
            oxy_pg.ensure(state_dir=stopped, timeout=1)
        with pytest.raises(TimeoutError):
            oxy_pg.Server(stopped).start(timeout=0.2)
    finally:
        os.kill(holder.pid, signal.SIGCONT)
        holder.kill()

    assert "kept" == kept(stopped)


def test_a_stopped_supervisor(stopped):
    """
    So does it name the supervisor, when that is stopped.
    """
    with oxy_pg.Server(stopped) as server:
        server.ensure_database()
        (supervisor,) = supervisors(str(stopped))
        os.kill(supervisor, signal.SIGSTOP)
        try:
            with pytest.raises(
                oxy_pg.LockTimeout, match=rf"(?s)process {supervisor} \(stopped\).*end it"
            ):
                oxy_pg.Server(stopped).start(timeout=1)
        finally:
            os.kill(supervisor, signal.SIGCONT)

        assert "kept" == kept(stopped)


def test_a_stopped_postmaster(stopped):
    """
    A PostgreSQL that does not answer is no reason to wait for ever, or to start another.
    """
    with oxy_pg.Server(stopped) as server:
        server.ensure_database()
        (pid,) = postmasters(data_dir(stopped))
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(oxy_pg.StartTimeout, match=r"(?s)not ready after 1 s"):
                oxy_pg.Server(stopped).ensure_database("other", timeout=1)
            assert [pid] == postmasters(data_dir(stopped))
        finally:
            os.kill(pid, signal.SIGCONT)

        assert "kept" == kept(stopped)


def test_backends_that_outlive_their_postmaster(stopped):
    """
    Field note 26: a stopped backend keeps the shared memory; nobody serves beside it.
    """
    with oxy_pg.Server(stopped) as server, psycopg.connect(server.ensure_database()) as connection:
        backend = connection.info.backend_pid
        (pid,) = postmasters(data_dir(stopped))
        os.kill(backend, signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(oxy_pg.ServerError):
                oxy_pg.Server(stopped).ensure_database("other", timeout=2)
            assert backend in processes(data_dir(stopped))
        finally:
            os.kill(backend, signal.SIGCONT)

        assert wait_until(lambda: not psutil.pid_exists(backend), 20)
        assert "kept" == kept(stopped)
