"""Systems and shells that are set up in an unusual way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

import oxy_pg
from oxy_pg.paths import StateDir
from oxy_pg.server.cluster import account, binaries


@pytest.mark.parametrize("umask", ["0o777", "0o277", "0o0"])
def test_any_umask_will_do(run_python, state_dir, umask):
    """
    What we make has the mode that it needs, whatever the caller's umask takes away.
    """
    answer = run_python(
        f"""
import os, oxy_pg, psycopg
os.umask({umask})
with oxy_pg.temporary() as server:
    print(psycopg.connect(server.url()).execute("SELECT 1").fetchone())
os.environ["OXY_PG_CACHE_DIR"] = os.environ["OXY_STATE_DIR"] + "/../cache"
oxy_pg.ensure()
oxy_pg.Server().stop()
print(psycopg.connect(oxy_pg.ensure()).execute("SELECT 2").fetchone())
""",
        OXY_STATE_DIR=state_dir / "below" / "it",
    )

    assert "(1,)\n(2,)" == answer
    assert not (state_dir / "below" / "it" / "password").stat().st_mode & 0o077


def in_user_namespace(how, state_dir):
    """What ensure() says in a new user namespace."""
    code = (
        "import oxy_pg, psycopg\n"
        "try: print(psycopg.connect(oxy_pg.ensure()).execute('SELECT 1').fetchone())\n"
        "except oxy_pg.OxyPgError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        ["unshare", how, sys.executable, "-c", code],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unshare failed" in done.stderr:
        pytest.skip("this system has no user namespaces for this user")
    return done.stdout + done.stderr


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.skipif(os.geteuid() == 0, reason="root's Python is closed to the user that this gives")
def test_a_user_namespace_without_names(state_dir, is_new):
    """
    There the owner of a file cannot be changed, not even to the one that it has.
    """
    if not is_new:
        with oxy_pg.Server(state_dir) as server:
            server.stop()

    assert "(1,)" in in_user_namespace("-U", state_dir)


def test_the_root_of_a_user_namespace_that_has_no_other_user(state_dir):
    """
    PostgreSQL refuses root, and there is no other: said, with the way out.
    """
    answer = in_user_namespace("-Ur", state_dir)

    assert "ConfigurationError" in answer
    assert "user namespace" in answer
    assert "--userns=keep-id" in answer


# --- calls that a container or a file system refuses ---

ASK = """
import oxy_pg, psycopg, sys
try:
    with oxy_pg.Server(sys.argv[1], keep_alive=0) as server:
        print(psycopg.connect(server.ensure_database(timeout=30)).execute("SELECT 1").fetchone())
except oxy_pg.OxyPgError as error:
    print(type(error).__name__, error)
"""
NO_CHMOD = "chmod=EPERM,fchmod=EPERM,fchmodat=EPERM,fchmodat2=EPERM"


def under(refused: str, state_dir, base_dir):
    """What a start says under a kernel that refuses calls."""
    place = base_dir / f"cache-{state_dir.parent.name}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.seccomp", refused, sys.executable, "-c", ASK, str(state_dir)],
        env={**os.environ, "OXY_PG_CACHE_DIR": str(place)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of calls are x86-64's")
@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("syncfs=ENOSYS", ["(1,)"]),
        ("syncfs=EINVAL", ["(1,)"]),
        ("shmget=ENOSYS", ["shmget", "seccomp", "{state_dir}"]),
        ("shmget=EPERM", ["shmget", "seccomp", "{state_dir}"]),
        ("flock=ENOLCK", ["flock", "{state_dir}/lock", "OXY_STATE_DIR"]),
        ("flock=ENOSYS", ["flock", "{state_dir}/lock", "OXY_STATE_DIR"]),
    ],
)
def test_a_call_that_is_refused(state_dir, base_dir, refused, words, is_new):
    """
    It is done without, or path, cause and way out are named.
    """
    if not is_new:
        with oxy_pg.Server(state_dir) as server:
            server.stop()

    answer = under(refused, state_dir, base_dir)

    assert "Traceback" not in answer
    assert [] == [word for word in words if word.format(state_dir=state_dir) not in answer], answer


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of calls are x86-64's")
@pytest.mark.parametrize("is_new", [True, False])
def test_chmod_that_is_refused(state_dir, base_dir, is_new):
    """
    PostgreSQL needs it, and we do for what must be closed: the file system is named.
    """
    if not is_new:
        with oxy_pg.Server(state_dir) as server:
            server.stop()

    answer = under(NO_CHMOD, state_dir, base_dir)

    assert "Traceback" not in answer
    assert "OXY_STATE_DIR" in answer, answer
    assert str(state_dir) in answer


# --- programs that do not run ---


@pytest.fixture
def programs(state_dir, monkeypatch):
    """A copy of PostgreSQL's programs, to be damaged; where another user can reach it."""
    user = account.account_for(StateDir(str(state_dir)))
    found = binaries.reachable(binaries.find(), user)
    place = state_dir.parent / "pg"
    shutil.copytree(found.bin_dir, place / "bin", symlinks=True)
    for beside in ("lib", "share", "include"):
        (place / beside).symlink_to(Path(found.bin_dir).parent / beside)
    place.chmod(0o755)
    for above in Path(found.bin_dir).parents:
        if libraries := [*above.glob("*pgserver.libs")]:
            monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(map(str, libraries)))
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(place / "bin"))
    monkeypatch.setenv("OXY_PG_CACHE_DIR", str(state_dir.parent / "cache"))
    return place / "bin"


def without_loader(path: Path) -> None:
    content = path.read_bytes()
    loader = re.search(rb"/lib[\w./-]*/ld-[\w.-]*\0", content)[0]
    path.write_bytes(content.replace(loader, loader[:-8] + b"NONE.so\0"))


def for_another_processor(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[18] = 0xB7 if content[18] == 0x3E else 0x3E  # ELF's e_machine
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "word"),
    [(without_loader, "loader"), (for_another_processor, "processor")],
)
@pytest.mark.parametrize("is_new", [True, False])
def test_programs_that_do_not_run(programs, state_dir, monkeypatch, cli, damage, word, is_new):
    """
    NixOS's missing loader, another processor: named with the way out, by doctor too.
    """
    if not is_new:
        oxy_pg.Server(state_dir).start()
        oxy_pg.Server(state_dir).stop()
    for name in ("postgres", "initdb"):
        damage(programs / name)

    with pytest.raises(oxy_pg.ServerError, match=f"(?s){word}.*OXY_PG_BIN_DIR"):
        oxy_pg.ensure(state_dir=state_dir, timeout=20)
    answer = cli("doctor", OXY_STATE_DIR=state_dir).stdout

    assert re.search(f"fail  programs: .*{programs}", answer), answer
    assert "OXY_PG_BIN_DIR" in answer


@pytest.mark.parametrize("name", ["postgres", "initdb"])
def test_programs_that_hang_end_with_the_timeout(programs, state_dir, name):
    """
    Also the one that only says its version, and what a program has started itself.
    """
    (programs.parent / "include").unlink()  # the version stands there, too
    mark = f"987{os.getpid()}"
    (programs / name).unlink()
    (programs / name).write_text(f"#!/bin/sh\nsleep {mark}\n")
    (programs / name).chmod(0o755)
    started = time.monotonic()
    with pytest.raises(oxy_pg.ServerError):
        oxy_pg.ensure(state_dir=state_dir, timeout=2)

    assert time.monotonic() - started < 20  # seconds that a program gets by itself
    left = [one for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or ())]
    assert [] == left


def test_a_question_about_settings_that_hangs(programs, state_dir):
    """
    It is not taken for a refusal of the settings; and they are asked for again afterwards.
    """
    oxy_pg.ensure(state_dir=state_dir)
    oxy_pg.Server(state_dir).stop()
    real = programs / "postgres.real"
    (programs / "postgres").rename(real)
    (programs / "postgres").write_text(
        f'#!/bin/sh\ncase " $* " in *" -C "*) exec sleep 600;; esac\nexec {real} "$@"\n'
    )
    (programs / "postgres").chmod(0o755)
    server = oxy_pg.Server(state_dir, settings={"work_mem": "5MB"})

    with pytest.raises(oxy_pg.StartTimeout, match="not finished when the 2 s"):
        server.ensure_database(timeout=2)

    (programs / "postgres").unlink()
    real.rename(programs / "postgres")
    with psycopg.connect(server.ensure_database()) as connection:
        assert ("5MB",) == connection.execute("SHOW work_mem").fetchone()
    server.stop()


# --- what an initdb that died leaves ---


def segments_of(uid: int) -> set[str]:
    table = Path("/proc/sysvipc/shm").read_text().splitlines()
    names = table[0].split()
    rows = (dict(zip(names, line.split(), strict=False)) for line in table[1:])
    return {row["shmid"] for row in rows if row["size"] == "56" and int(row["uid"]) == uid}


def test_a_bootstrap_that_is_killed_leaves_no_memory(programs, state_dir):
    """
    The System V segment and the files in /dev/shm of a bootstrap that died are removed.
    """
    # Killed while it waits for the rest of its input, as the kernel does for want of memory.
    real = programs / "postgres.real"
    (programs / "postgres").rename(real)
    mark = state_dir.parent / "id"
    mark.touch()
    mark.chmod(0o666)
    os.mkfifo(silent := state_dir.parent / "silent")
    silent.chmod(0o666)
    (programs / "postgres").write_text(
        f"""#!/bin/sh
case "$*" in *--boot*)
    {real} "$@" < {silent} & pid=$!
    exec 3> {silent}
    for _ in $(seq 1000); do
        if [ "$(wc -l < "$PGDATA/postmaster.pid")" -ge 7 ]; then
            sed -n 7p "$PGDATA/postmaster.pid" | awk '{{print $2}}' > {mark}
            kill -9 $pid; wait $pid; exit 1
        fi
        sleep 0.01
    done;;
esac
exec {real} "$@"
"""
    )
    (programs / "postgres").chmod(0o755)

    with pytest.raises(oxy_pg.InitdbFailed):
        oxy_pg.ensure(state_dir=state_dir, timeout=20)

    segment = mark.read_text().strip()
    user = account.account_for(StateDir(str(state_dir)))
    assert segment, "the bootstrap was not killed"
    assert segment not in segments_of(user.uid)


# --- places ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_mount_point_as_data_directory(state_dir):
    """
    A volume that is mounted one directory too deep is named, with where it belongs.
    """
    place = state_dir / "postgres_data"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        (place / "lost+found").mkdir()
        with pytest.raises(oxy_pg.ConfigurationError, match=f"mount point.*{state_dir}"):
            oxy_pg.ensure(state_dir=state_dir)
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a pid namespace without a user one")
def test_the_first_process_of_a_container_has_no_zombies(state_dir):
    """
    The supervisor is a child of process 1 in the end; if we are that, we collect it.
    """
    code = """
import oxy_pg, psutil, sys
for number in range(3):
    server = oxy_pg.Server(sys.argv[1], keep_alive=0)
    server.start()
    server.stop()
print([one.pid for one in psutil.process_iter() if one.status() == "zombie"])
"""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code, str(state_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "[]\n" == done.stdout, done.stderr


def test_what_signals_mean():
    """
    Signal 7 names huge pages, signal 9 the memory limit; an error says it with the log.
    """
    died = "startup process (PID 12) was terminated by signal 7: Bus error"
    assert "huge_pages" in str(oxy_pg.StartFailed("/data", died))
    assert "huge_pages" in str(oxy_pg.InitdbFailed("/data", died))
    killed = "server process (PID 12) was terminated by signal 9: Killed"
    assert "memory limit" in str(oxy_pg.StartFailed("/data", killed))


def test_a_timeout_speaks_of_recovery_only_where_there_is_one():
    """
    What a slow start is doing, its log says.
    """
    slow = str(oxy_pg.StartTimeout("/data", 1.0, "LOG:  starting PostgreSQL 16.14"))
    recovers = str(oxy_pg.StartTimeout("/data", 1.0, "LOG:  redo starts at 0/1A2B3C4"))

    assert "recovery" not in slow
    assert "recovery" in recovers
