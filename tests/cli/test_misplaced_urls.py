"""A URL with a password where it does not belong: the message does not repeat the password."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from oxy_pg.cli import commands

URL = "postgresql://someone:Zx81secret@127.0.0.1:1/shop"
# Those that would wait for a terminal or for a program.
_LONG = {"--follow", "--watch"}


def places() -> list[tuple[str, ...]]:
    """Every argument, and every option that takes text, of every command."""
    found: list[tuple[str, ...]] = [(URL,), ("--" + URL,), ("-" + URL,)]
    for name, command in sorted(commands.cli.commands.items()):
        if name != "psql":  # they are psql's, and it repeats them
            found.append((name, URL, URL))
        for one in command.params:
            takes = (
                isinstance(one, click.Option) and not one.is_flag and "--state-dir" != one.opts[0]
            )
            if takes and not _LONG & {*one.opts}:
                # A server that does not answer is waited for.
                patience = (
                    ("--timeout", "1") if "--from" == one.opts[0] and name == "backup" else ()
                )
                found.append((name, *patience, one.opts[0], URL, URL))
    return found


@pytest.mark.parametrize("words", places(), ids=lambda words: " ".join(words).replace(URL, "URL"))
def test_no_command_repeats_the_password_of_a_misplaced_url(
    words, state_dir, tmp_path, monkeypatch, capfd
):
    """
    In a usage error, a refusal, or where it becomes a name or a path.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["oxy-pg", *words])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    out, err = capfd.readouterr()
    assert ended.value.code not in (0, None)
    assert out + err
    assert "Zx81secret" not in out + err


def test_the_sqlite_file_without_its_option(cli, tmp_path):
    """
    What pgloader's users type: the message says which option is missing.
    """
    done = cli("migrate-sqlite", tmp_path / "my app.db", "postgresql:///shop", cwd=tmp_path)
    assert 2 == done.returncode
    assert f"--from '{tmp_path}/my app.db'" in done.stderr
    done = cli("migrate-sqlite", "--from", tmp_path / "app.db", URL, cwd=tmp_path)
    assert 2 == done.returncode
    assert "goes with --to" in done.stderr


@pytest.mark.parametrize(
    "word",
    [
        "postgresql+psycopg2://bob:Zx81secret@127.0.0.1:1/db",
        "postgresql://bob:p@Zx81secret@h",
        "postgresql://bob:a/Zx81secret@h",
        "bob:Zx81secret@host/db",
        "jdbc:postgresql://bob:Zx81secret@host/db",
        "postgresql://bob:Zx81secret@[::1:bad/db",
    ],
)
@pytest.mark.parametrize("command", ["", "url", "backup", "restore", "export-sqlite", "snapshot"])
def test_no_command_repeats_the_password_of_what_is_no_url(
    command, word, state_dir, tmp_path, monkeypatch, capfd
):
    """
    Neither where a path is made of it, which has one slash where there were two.
    """
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["oxy-pg", *filter(None, [command, word])])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    out, err = capfd.readouterr()
    assert ended.value.code not in (0, None)
    assert "Zx81secret" not in out + err
    assert [] == [path for path in tmp_path.rglob("*") if "Zx81secret" in str(path)]


@pytest.mark.parametrize("words", [("url",), ("status",), ("databases",), ("status", "--json")])
def test_a_result_that_cannot_be_written(server, state_dir, words):
    """
    A full disk is an error with a message; a closed output is what was asked for.
    """
    call = f"OXY_STATE_DIR='{state_dir}' '{sys.executable}' -m oxy_pg {' '.join(words)}"
    for where, code in ((">/dev/full", 1), (">&-", 0)):
        done = subprocess.run(
            f"{call} {where}", shell=True, capture_output=True, text=True, check=False
        )
        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
        assert ("The result could not be written: No space" in done.stderr) == (code == 1)
