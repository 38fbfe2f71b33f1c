"""State directories that another user can change: refused, before anything in them is touched."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import oxy_pg
from oxy_pg.server.cluster import postmaster
from tests.conftest import wait_until

ENSURE = "import oxy_pg; print(oxy_pg.ensure(timeout=20))"
TYPED = """
import oxy_pg
try:
    oxy_pg.ensure(timeout=20)
except oxy_pg.ConfigurationError as error:
    print(error)
"""


def contents(path):
    """Every name below a directory, with what a change of it would change."""
    return {
        str(one): (one.lstat().st_mode, one.lstat().st_uid, one.lstat().st_mtime_ns)
        for one in (path, *sorted(path.rglob("*")))
    }


def test_root_refuses_the_directory_of_a_user(field, stranger):
    """
    No verb of root's touches it, running or not; the message says how to go on.
    """
    state = stranger.home / "state"
    stranger.python(ENSURE, OXY_STATE_DIR=state, OXY_PG_KEEP_ALIVE=30)
    server = oxy_pg.Server(state)
    before = contents(state)

    for call in (server.start, server.url, server.stop, server.restart, server.destroy):
        with pytest.raises(
            oxy_pg.ConfigurationError, match=f"runuser -u {stranger.name} -- oxy-pg"
        ):
            call()

    assert before == contents(state)
    stranger.oxy_pg("stop", OXY_STATE_DIR=state)
    before = contents(state)

    for call in (server.start, server.stop, server.restart, server.destroy):
        with pytest.raises(oxy_pg.ConfigurationError, match="belongs to the user"):
            call()
    for words in (("start",), ("stop",), ("reset", "--yes"), ("url",), ("psql",), ("upgrade",)):
        done = subprocess.run(
            [sys.executable, "-m", "oxy_pg", *words],
            env={**os.environ, "OXY_STATE_DIR": str(state)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert 1 == done.returncode, done.stderr
        assert "belongs to the user" in done.stderr

    assert before == contents(state)


def test_root_empties_no_directory_that_a_link_leads_to(field, stranger, root):
    """
    The user swaps `run` for a link to root's files and lets root start: the files stay.
    """
    state, precious = stranger.home / "state", root.home / "precious"
    stranger.python(ENSURE, OXY_STATE_DIR=state, OXY_PG_KEEP_ALIVE=0)
    assert wait_until(lambda: not (state / "run" / "control").exists())
    precious.mkdir()
    for number in range(3):
        (precious / f"file{number}").write_text("important")
    (precious / ".s.PGSQL.1").write_text("important")
    fake = stranger.home / "fake"
    stranger.run("mkdir", "-p", fake)
    stranger.run("ln", "-s", precious, fake / "s")
    stranger.run("sh", "-c", f"rm -rf {state}/run; ln -s {fake} {state}/run")

    with pytest.raises(oxy_pg.ConfigurationError):
        oxy_pg.Server(state).start()

    assert 4 == len(list(precious.iterdir()))
    assert 0o755 == stat.S_IMODE(precious.stat().st_mode)


def test_what_the_servers_own_user_changes_leads_root_nowhere(field, root):
    """
    Under root, PostgreSQL's user owns the data directory: links there lead root's process nowhere.
    """
    state, precious = root.home / "state", root.home / "precious"
    precious.mkdir()
    names = ["postgresql-1.log", "postgresql-2.log", "postgresql-3.log"]
    for name in names:
        (precious / name).write_text("important")
        os.utime(precious / name, (0, 0))
    with oxy_pg.Server(state, keep_alive=30) as server:
        server.ensure_database()
        status = server.status()
        data_dir = state / "postgres_data"
        uid = data_dir.stat().st_uid
        assert uid != 0

        script = (
            f"mv {data_dir}/log {data_dir}/log.old; ln -s {precious} {data_dir}/log;"
            f"touch {state}/run/s/other; kill -9 {status.pid}"
        )
        # What an attacker could do who has taken over PostgreSQL's own user.
        subprocess.run(["sh", "-c", script], user=uid, extra_groups=[], check=True)
        time.sleep(1)
        for path in precious.iterdir():
            assert 0 == path.stat().st_uid
        subprocess.run(
            ["sh", "-c", f"rm {data_dir}/log; mv {data_dir}/log.old {data_dir}/log"], user=uid,
            extra_groups=[], check=True,
        )  # fmt: skip
        assert wait_until(lambda: "running" == server.status().state, 20)
        assert (state / "run/s/other").exists()
        (state / "run/s/other").unlink()
        server.stop()

    assert names == sorted(path.name for path in precious.iterdir())


@pytest.mark.parametrize("number", range(3))
def test_root_signals_only_the_servers_own_shared_memory(field, root, number):
    """
    A pid file that names another user's segment does not make root remove it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, 4096, 0o1600)
    assert segment >= 0
    try:
        data_dir = root.home / f"data{number}"
        data_dir.mkdir()
        os.chown(data_dir, 1, 1)
        lines = ["1", str(data_dir), "0", "5432", "", "", f"  1234  {segment}", ""]
        (data_dir / "postmaster.pid").write_text("\n".join(lines))

        postmaster.remove_segment(str(data_dir))

        found = (line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:])
        assert str(segment) in {line[1] for line in found}
    finally:
        libc.shmctl(segment, 0, None)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o702])
def test_a_directory_that_others_can_write_is_refused(owner, mode):
    """
    With the command that mends it, which does.
    """
    state = owner.home / "state"
    owner.run("mkdir", state)
    state.chmod(mode)

    said = owner.python(TYPED, OXY_STATE_DIR=state)

    command = f"chmod go-w {state}"
    assert command in said
    assert [] == list(state.iterdir())
    owner.run("sh", "-c", command)
    assert owner.python(ENSURE, OXY_STATE_DIR=state, OXY_PG_KEEP_ALIVE=0).startswith("postgresql:")


def test_a_directory_that_a_stranger_has_prepared(field, owner, stranger):
    """
    He planted a password, or runs a supervisor of his own there: the owner uses neither.
    """
    state = field / "prepared"
    state.mkdir()
    os.chown(state, stranger.uid, stranger.gid)
    stranger.python(ENSURE, OXY_STATE_DIR=state, OXY_PG_KEEP_ALIVE=30)
    state.chmod(0o777)
    for path in (state / "run", state / "run/s", state / "run/control"):
        path.chmod(0o777)

    said = owner.python(TYPED, OXY_STATE_DIR=state)

    assert f"belongs to the user {stranger.name}" in said
    assert f"chown -R {owner.uid}" in said
    stranger.oxy_pg("stop", OXY_STATE_DIR=state, check=False)


def test_a_running_server_is_not_used_through_an_open_directory(owner, stranger):
    """
    The mode is looked at when a process attaches, too, and not at the first start alone.
    """
    state = owner.home / "state"
    owner.python(ENSURE, OXY_STATE_DIR=state, OXY_PG_KEEP_ALIVE=30)
    state.chmod(0o777)

    said = owner.python(TYPED, OXY_STATE_DIR=state)

    assert "chmod go-w" in said
    state.chmod(0o755)
    owner.oxy_pg("stop", OXY_STATE_DIR=state)
