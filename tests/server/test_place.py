"""Where temporary servers live: in memory where there is room, and where they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import oxy_pg
from oxy_pg.server import place
from oxy_pg.system import machine
from tests.conftest import processes_below, wait_until
from tests.own_mounts import needs_mounts, with_python
from tests.server.test_tuning import control_group

_MB = 1024 * 1024
needs_shm = pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no /dev/shm")


# --- a /dev/shm of one's own ---

SERVER = """
import subprocess, oxy_pg, psycopg
with oxy_pg.temporary(settings=dict({settings})) as server:
    with psycopg.connect(server.superuser_url()) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
        (wal,) = connection.execute("SHOW max_wal_size").fetchone()
    mount = subprocess.run(["df", "--output=target", row[0]], capture_output=True, text=True)
    print(mount.stdout.split()[-1], wal)
"""


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "answer"),
    [
        ("mount -t tmpfs -o size=3g,mode=1777 tmpfs /dev/shm", "/dev/shm 256MB"),
        # noexec, as on most machines: programs are not put there
        ("mount -t tmpfs -o size=3g,mode=1777,noexec,nosuid tmpfs /dev/shm", "/dev/shm 256MB"),
        ("mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm", "/tmp 256MB"),  # Docker's
        ("mount -t tmpfs -o size=3g,mode=1777,nr_inodes=20k tmpfs /dev/shm", "/tmp 256MB"),
        ("mount -t tmpfs -o size=3g,mode=1777,ro tmpfs /dev/shm", "/tmp 256MB"),
        ("mount -t ramfs -o mode=1777 ramfs /dev/shm", "/tmp 256MB"),
        # Anybody could replace a directory there.
        ("mount -t tmpfs -o size=3g,mode=0777 tmpfs /dev/shm; chown 1 /dev/shm", "/tmp 256MB"),
    ],
)
def test_in_memory_where_there_is_room(mount, answer):
    """
    The oracle is df, of the directory that the server itself names.
    """
    assert f"{answer}\n" == with_python(mount, SERVER.format(settings=""))


@needs_shm
def test_a_start_that_fails_is_not_blamed_on_settings(run_python):
    """
    The bound of the WAL in memory is ours, and nobody has given any setting.
    """
    code = """
import resource, oxy_pg
for _ in range(2):  # makes the template: what fails afterwards is the start
    with oxy_pg.temporary(): pass
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
try:
    oxy_pg.temporary().__enter__()
except oxy_pg.OxyPgError as error:
    assert "file descriptors" in str(error), error
    print(type(error).__name__)
"""

    assert "StartFailed" == run_python(code, OXY_PG_TEMP_DIR="/dev/shm")


@needs_mounts
def test_what_was_set_is_kept():
    """
    The bound of the WAL in memory is a default.
    """
    mount = "mount -t tmpfs -o size=3g,mode=1777 tmpfs /dev/shm"
    code = SERVER.format(settings="MAX_WAL_SIZE='1GB'")

    assert "/dev/shm 1GB\n" == with_python(mount, code)


@needs_mounts
@pytest.mark.parametrize(
    ("taken", "answer"),
    [
        ("mkdir /tmp/his; ln -s /tmp/his /dev/shm/oxy_pg-0", "/dev/shm/oxy_pg-0-1"),
        ("mkdir /dev/shm/oxy_pg-0; chown 1 /dev/shm/oxy_pg-0", "/dev/shm/oxy_pg-0-1"),
        ("mkdir -m 777 /dev/shm/oxy_pg-0", "/dev/shm/oxy_pg-0-1"),
        ("echo > /dev/shm/oxy_pg-0", "/dev/shm/oxy_pg-0-1"),
        (
            "for n in '' $(seq -f -%g 99); do ln -s / /dev/shm/oxy_pg-0$n; done",
            "/tmp/oxy_pg-0",
        ),
    ],
)
def test_what_other_users_put_there_is_not_used(taken, answer):
    """
    A link, a directory, a file with the name of ours; or with all names that ours could get.
    """
    code = (
        "import os, oxy_pg\n"
        "with oxy_pg.temporary() as server: print(os.path.dirname(server.state_dir))\n"
        "assert os.path.basename(server.state_dir).count('temporary-') == 1\n"
        "assert not os.path.exists('/tmp/his') or not os.listdir('/tmp/his')"
    )
    mount = f"mount -t tmpfs -o size=3g,mode=1777 tmpfs /dev/shm; {taken}"

    assert f"{answer}\n" == with_python(mount, code)


@needs_mounts
@pytest.mark.parametrize("size", [5, 25])
def test_a_full_disk_says_what_to_do(size):
    """
    The error is typed, names the variable, and nothing is left.
    """
    code = """
import os, oxy_pg
for _ in range(2):  # with the template, the second time
    try:
        with oxy_pg.temporary(): pass
    except oxy_pg.InitdbFailed as error:
        assert "OXY_PG_TEMP_DIR" in str(error), error
        print("refused")
    print(os.listdir("/mnt"))
    os.environ.pop("OXY_PG_TEMP_DIR")
    with oxy_pg.temporary(), oxy_pg.temporary(): pass
    os.environ["OXY_PG_TEMP_DIR"] = "/mnt"
"""
    mount = f"mount -t tmpfs -o size={size}m,mode=1777 tmpfs /mnt"

    assert "refused\n[]\n" * 2 == with_python(mount, code, OXY_PG_TEMP_DIR="/mnt")


@needs_mounts
@pytest.mark.parametrize("directory", ["/root/new/one", "/tmp/closed/one"])
def test_root_is_told_of_a_directory_that_its_server_cannot_enter(directory):
    code = """
import os, oxy_pg
os.makedirs("/tmp/closed", mode=0o700)
os.makedirs("/tmp/root", mode=0o700)
try:
    oxy_pg.temporary().__enter__()
except oxy_pg.ConfigurationError as error:
    assert "cannot enter" in str(error) and "OXY_PG_TEMP_DIR" in str(error), error
    print(os.path.exists(os.environ["OXY_PG_TEMP_DIR"]))
"""
    mount = "mount -t tmpfs -o mode=0700 tmpfs /root"

    python = os.path.realpath(sys.executable)
    if python.startswith("/root"):
        mount = "true"  # this Python is there
        directory = directory.replace("/root/new", "/tmp/root/new")
    assert "False\n" == with_python(mount, code, OXY_PG_TEMP_DIR=directory)


def test_half_of_the_memory_is_left_to_programs():
    """
    In a control group with 2 GB there is room for 1 GB, and that is too little.
    """
    group = control_group(2048 * _MB)
    if group is None or not os.path.isdir("/dev/shm"):
        pytest.skip("only root can make a control group, on a machine of its own")
    code = (
        f"open('{group}/cgroup.procs', 'w').write('0')\n"
        "from oxy_pg.server import place\n"
        "print(place.room('/dev/shm'), place._against('/dev/shm'))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    finally:
        group.rmdir()

    room, _, against = done.stdout.partition(" ")
    assert 900 * _MB < int(room) <= 1024 * _MB
    assert "GB of room, and 1.6 GB are needed" in against


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 0),
        ({"meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB"}, 2 * _MB),
        ({"proc": "0::/\n", "memory.max": "max"}, 9000 * _MB),
        (
            {
                "proc": "0::/a\n",
                "a/memory.max": f"{100 * _MB}",
                "a/memory.current": f"{70 * _MB}",
                "a/memory.stat": f"anon 5\nfile {50 * _MB}\ninactive_file {20 * _MB}\n"
                f"active_file {10 * _MB}",
            },
            60 * _MB,
        ),
        (
            {
                "proc": "4:memory:/a\n",
                "memory/a/memory.limit_in_bytes": f"{100 * _MB}",
                "memory/a/memory.usage_in_bytes": f"{70 * _MB}",
                "memory/a/memory.stat": f"inactive_file 7\ntotal_inactive_file {20 * _MB}\n"
                "total_active_file 0",
            },
            50 * _MB,
        ),
        (
            {
                "proc": "0::/a\n",
                "a/memory.max": f"{100 * _MB}",
                "a/memory.current": f"{170 * _MB}",
                "a/memory.stat": "anon 5",
            },
            0,
        ),
    ],
)
def test_what_a_container_has_used_is_not_available(tmp_path, files, available):
    """
    Both kinds of control groups (cgroups(7)); what only caches files can be had.
    """
    known = {"meminfo": f"MemAvailable: {9000 * 1024} kB"} if "proc" in files else {}
    for name, text in {**known, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    where = (tmp_path / "proc", tmp_path, tmp_path / "meminfo")

    assert available == machine.available(*map(str, where))


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "answer"),
    [
        ("mount -t tmpfs -o size=400m tmpfs /mnt", True),
        ("mount -t tmpfs -o size=700m tmpfs /mnt", False),
        ("mount -t tmpfs -o size=700m tmpfs /mnt; fallocate -l 300m /mnt/filler", True),
        # A disk: what is used of it is not memory.
        ("truncate -s 100m /tmp/image; mkfs.ext4 -q /tmp/image; mount /tmp/image /mnt", False),
    ],
)
def test_little_room_in_memory(mount, answer):
    code = "from oxy_pg.server import place; print(place.is_scarce('/mnt'))"

    assert f"{answer}\n" == with_python(mount, code)


@needs_shm
def test_this_machine_has_memory_to_spare():
    """
    What is said of it is what the kernel says, in another program's words.
    """
    done = subprocess.run(
        ["awk", "/MemAvailable/ { print $2 * 1024 }", "/proc/meminfo"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert 0 < machine.available() < 1.2 * float(done.stdout)


# --- what is chosen ---


@needs_shm
@pytest.mark.parametrize(
    ("variables", "named", "answer"),
    [
        ({}, None, None),
        ({"OXY_PG_TEMP_DIR": ""}, None, None),
        ({"TMPDIR": "a"}, None, ("a", "TMPDIR")),
        ({"TMP": "a"}, None, ("a", "TMP")),
        ({"TMPDIR": "a", "OXY_PG_TEMP_DIR": "b"}, None, ("b", "OXY_PG_TEMP_DIR")),
        ({"OXY_PG_TEMP_DIR": "b"}, "c", ("c", "--oxy-pg-dir")),
        ({"TMPDIR": "a"}, "c", ("c", "--oxy-pg-dir")),
        ({"OXY_PG_TEMP_DIR": "~/d"}, None, ("home/d", "OXY_PG_TEMP_DIR")),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_the_first_of_these_counts(tmp_path, monkeypatch, variables, named, answer, is_large):
    """
    An option, OXY_PG_TEMP_DIR, TMPDIR, and only then what there is room for.
    """
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("TMPDIR", "TEMP", "TMP", "OXY_PG_TEMP_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen = place.choose(named, "--oxy-pg-dir", is_large=is_large)

    if answer is not None:
        assert (str(tmp_path / answer[0]), answer[1]) == (chosen.directory, chosen.why)
        assert not chosen.otherwise
        assert not (tmp_path / "home").exists()
    elif is_large or place._against("/dev/shm"):
        assert tempfile.gettempdir() == chosen.directory
    else:
        assert "/dev/shm" == chosen.directory
        assert chosen.why.endswith(" of room")


@pytest.mark.parametrize(
    ("uid", "groups", "is_logind", "answer"),
    [
        (1001, "0::/system.slice/runner.service\n", True, True),
        (1001, "9:memory:/a\n1:name=systemd:/system.slice/cron.service\n", True, True),
        (1001, "0::/user.slice/user-1001.slice/session-3.scope\n", True, False),
        (1001, "0::/user.slice/user-1001.slice/user@1001.service/app.slice/a\n", True, False),
        (1001, "0::/\n", False, False),  # a container
        (0, "0::/system.slice/runner.service\n", True, False),
        (998, "0::/system.slice/runner.service\n", True, False),  # a system user
    ],
)
def test_not_where_a_logout_removes_it(tmp_path, uid, groups, is_logind, answer):
    """
    RemoveIPC (logind.conf(5)) removes what an ordinary user has in /dev/shm, at his last logout.
    """
    (tmp_path / "groups").write_text(groups)
    if is_logind:
        (tmp_path / "system").mkdir()
    (tmp_path / "users").mkdir()  # in an image, where systemd does not run

    assert answer == place.is_emptied_at_logout(uid, str(tmp_path), str(tmp_path / "groups"))


def test_a_named_directory_is_used(base_dir, monkeypatch):
    """
    It is created; afterwards it is empty.
    """
    named = base_dir / "new" / "one"
    monkeypatch.setenv("OXY_PG_TEMP_DIR", str(named))
    with oxy_pg.temporary() as server:
        assert server.state_dir.startswith(f"{named}/oxy_pg-")
        assert [Path(server.state_dir).parent] == list(named.iterdir())

    assert [] == list(named.iterdir())


# --- what is left ---


@needs_shm
def test_leftovers_are_swept_in_each_place(start_python, base_dir):
    """
    Servers whose supervisors were killed: in memory, and in a directory that is named.
    """
    named = Path(tempfile.mkdtemp(dir=base_dir))
    named.chmod(0o711)
    code = (
        "import oxy_pg, time\n"
        "with oxy_pg.temporary() as server:\n"
        "    print(server.status().supervisor_pid, server.state_dir, flush=True)\n"
        "    time.sleep(600)"
    )
    running = []
    for directory in ("/dev/shm", named, tempfile.gettempdir()):
        process = start_python(code, OXY_PG_TEMP_DIR=directory)
        supervisor, state_dir = process.stdout.readline().split()
        assert state_dir.startswith(f"{directory}/oxy_pg-")
        running.append((int(supervisor), process, Path(state_dir)))
    for supervisor, process, _ in running:
        os.kill(supervisor, signal.SIGKILL)
        process.kill()
    left = [path for *_, path in running]
    assert wait_until(lambda: not any(processes_below(path) for path in left))
    assert all(path.exists() for path in left)

    process = start_python(code, OXY_PG_TEMP_DIR=named)
    state_dir = Path(process.stdout.readline().split()[1])
    try:
        assert not any(path.exists() for path in left)
    finally:
        process.kill()
        assert wait_until(lambda: not state_dir.exists())
