"""``oxy-pg backup`` and ``oxy-pg restore``, and docs/backups.md as it stands."""

from __future__ import annotations

import configparser
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools
from tests.transfer.compare import contents

DOC = (Path(__file__).parents[3] / "docs/backups.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
TABLE = "CREATE TABLE item AS SELECT g AS id FROM generate_series(1, 1234) g"


@pytest.fixture
def filled(server, monkeypatch):
    """The embedded server of the environment, with a table in it."""
    monkeypatch.setenv("OXY_STATE_DIR", server._state.root)
    with psycopg.connect(server.url()) as connection:
        connection.execute(TABLE)
    return server


def test_the_documents_commands(filled, tmp_path):
    """
    Every shell block of docs/backups.md runs as it stands, one after the other.
    """
    programs = f"{Path(sys.executable).parent}:{tools.find(16).bin_dir}"
    before = contents(filled.url())
    script = "".join(text for kind, text in BLOCKS if kind == "sh")

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert before == contents(filled.url()) == contents(filled.url("elsewhere"))
    assert before == contents(filled.url("elsewhere-too"))
    assert "public.item         1,234 rows" in done.stdout
    assert {"sh", "sql", "ini", "text"} == {kind for kind, _ in BLOCKS}


def test_the_documents_timer_and_cron_line(filled, tmp_path):
    """
    systemd takes the units, and the command in them, and in the cron line, runs.
    """
    service, timer = (configparser.ConfigParser(interpolation=None) for _ in range(2))
    for parser, text in zip(
        (service, timer), (text for kind, text in BLOCKS if kind == "ini"), strict=True
    ):
        parser.read_string(text)
    assert "*-*-* 03:00:00" == timer["Timer"]["OnCalendar"]
    (cron,) = (text for kind, text in BLOCKS if kind == "text")
    (tmp_path / "venv").symlink_to(sys.prefix)
    (tmp_path / "backups").mkdir()

    for command in (service["Service"]["ExecStart"].replace("%h", "$HOME"), cron.split("*", 3)[3]):
        done = subprocess.run(
            ["sh", "-c", command],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "" == done.stderr

    assert 2 == len(list((tmp_path / "backups").iterdir()))


def test_the_path_is_the_result(filled, cli, tmp_path):
    """
    stdout has the path and nothing else; the steps are lines on stderr.
    """
    done = cli("backup", tmp_path)

    assert 0 == done.returncode
    assert [Path(done.stdout.strip())] == list(tmp_path.iterdir())
    assert done.stderr.startswith("connecting …\ncounting rows …\n")
    assert "1,234 rows of 1 table" in done.stderr
    assert "" == cli("backup", tmp_path, "--quiet").stderr


def test_json(filled, cli, tmp_path):
    """
    Both reports, and the manifest, for programs.
    """
    made = json.loads(cli("backup", tmp_path, "--json").stdout)
    checked = json.loads(cli("restore", made["path"], "--check", "--json").stdout)
    restored = json.loads(cli("restore", made["path"], "--yes", "--keep-old", "--json").stdout)

    assert made["manifest"] == checked == restored["manifest"]
    assert [{"schema": "public", "name": "item", "rows": 1234}] == checked["tables"]
    assert restored["replaced"]
    assert restored["kept_as"] in filled.databases()
    assert "***" in restored["url"]


def test_not_a_terminal(filled, cli, tmp_path):
    """
    Without a terminal a database with tables in it is replaced only with --yes; exit code 2.
    """
    path = cli("backup", tmp_path).stdout.strip()
    before = contents(filled.url())

    done = cli("restore", path)
    assert 2 == done.returncode
    assert "pass --yes" in done.stderr
    assert before == contents(filled.url())

    filled.drop_database("oxy")
    filled.create_database("oxy")
    assert 0 == cli("restore", path).returncode
    assert before == contents(filled.url())


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130)])
def test_on_a_terminal(filled, cli, tmp_path, answer, code):
    """
    It asks, and shows bars.
    """
    path = cli("backup", tmp_path).stdout.strip()
    with psycopg.connect(filled.url()) as connection:
        connection.execute("DELETE FROM item")

    left, shown = on_a_terminal(["restore", path], f"{answer}\n".encode())

    assert code == left
    assert "will be replaced by the backup" in shown.replace("\r\n", " ")
    assert "checking SHA-256" in shown
    assert "━" in shown
    assert (1234 if answer == "y" else 0) == len(contents(filled.url())["public.item"])


def on_a_terminal(arguments, typed: bytes) -> tuple[int, str]:
    """Run ``oxy-pg`` on a terminal of its own; return its exit code and what it showed."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ.update(TERM="xterm-256color", COLUMNS="100")
        os.execv(sys.executable, [sys.executable, "-m", "oxy_pg", *arguments])
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if b"[y/N]" in shown and typed:
            os.write(terminal, typed)
            typed = b""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_errors_are_one_message(filled, cli, tmp_path):
    """
    Exit code 1, no traceback, nothing on stdout.
    """
    (tmp_path / "none.dump").write_text("no backup")
    for arguments in (
        ("restore", tmp_path / "none.dump"),
        ("restore", tmp_path / "missing.dump"),
        ("backup", tmp_path / "none.dump"),
        ("backup", tmp_path, "-d", "no such"),
        ("backup", tmp_path / "x.dump", "--keep", 3),
        ("backup", tmp_path, "--from", "sqlite:///x.db"),
        ("backup", tmp_path, "--from", "postgresql://u:sesame@127.0.0.1:1/x", "--timeout", 1),
    ):
        done = cli(*arguments)
        assert (1, "") == (done.returncode, done.stdout), arguments
        assert done.stderr.count("oxy-pg: ") == 1
        assert "Traceback" not in done.stderr
        assert "sesame" not in done.stderr


def test_external_server(debian_15, cli, tmp_path):
    """
    OXY_DATABASE_URL, and --from and --to, name it; nothing embedded starts.
    """
    url, other = (debian_15.new_database(rights="CREATEDB") for _ in range(2))
    with psycopg.connect(url) as connection:
        connection.execute(TABLE)

    made = cli("backup", tmp_path, OXY_DATABASE_URL=url, OXY_STATE_DIR="/nonexistent")
    path = made.stdout.strip()
    done = cli("restore", path, "--to", other, OXY_STATE_DIR="/nonexistent")

    assert (0, 0) == (made.returncode, done.returncode), made.stderr + done.stderr
    assert contents(url) == contents(other)


def test_the_state_dir_option(filled, cli, tmp_path):
    """
    --state-dir names the embedded server, wherever it stands.
    """
    place = filled._state.root
    nowhere = {"OXY_STATE_DIR": "/nonexistent"}
    path = cli("--state-dir", place, "backup", tmp_path, **nowhere).stdout.strip()

    done = cli("restore", path, "--yes", "--state-dir", place, **nowhere)

    assert 0 == done.returncode, done.stderr


def test_public_names(filled, monkeypatch, tmp_path):
    """
    ``oxy_pg.backup()`` and ``restore()`` without a URL are about the embedded server.
    """
    report = oxy_pg.backup(tmp_path)
    restored = oxy_pg.restore(report.path, keep_old=True)

    assert isinstance(report, oxy_pg.BackupReport)
    assert isinstance(restored, oxy_pg.RestoreReport)
    assert isinstance(oxy_pg.check_backup(report.path), oxy_pg.Manifest)
    assert "oxy" == restored.database
    monkeypatch.setenv("OXY_DATABASE_URL", "mysql://x")
    with pytest.raises(oxy_pg.ConfigurationError, match="must be a postgresql:// URL"):
        oxy_pg.backup(tmp_path)
