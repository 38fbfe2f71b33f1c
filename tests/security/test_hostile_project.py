"""A project of a stranger, cloned: what its pyproject.toml and the files beside it can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import oxy_pg

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "import oxy_pg; print(oxy_pg.ensure(keep_alive=0))"


@pytest.fixture
def project(state_dir):
    """A project whose state directory is in it; no variable names another one."""
    root = state_dir.parent / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text('[tool.oxy-pg]\nstate-dir = ".postgres"\n')
    return root


@pytest.fixture
def ensure(project):
    """Call ``ensure()`` in the project; return what is printed, on stdout and on stderr."""

    def run(directory: Path = project, **variables: object) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=directory,
            env=without_state_dir() | {name: str(value) for name, value in variables.items()},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout, done.stderr

    return run


def without_state_dir() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "OXY_STATE_DIR"}


def prepared(place: Path) -> None:
    """Make a stopped server in a directory, as its owner would: it has files of all kinds."""
    with oxy_pg.Server(place) as server:
        server.ensure_database()
        server.stop()


def test_a_directory_that_we_made_ourselves_is_used_again(project, ensure):
    for _ in range(2):
        url, said = ensure()
        assert url.startswith("postgresql://oxy:"), said


def test_a_prepared_server_runs_no_command(project, ensure, tmp_path):
    """
    postgresql.auto.conf with an archive_command, as it may come with a clone.
    """
    place = project / ".postgres"
    prepared(place)
    (place / "oxy_pg.id").unlink()
    trace = tmp_path / "trace"
    evil = f"archive_mode = on\nwal_level = replica\narchive_command = 'touch {trace}; false'\n"
    with (place / "postgres_data" / "postgresql.auto.conf").open("a") as file:
        file.write(evil + f"restore_command = 'touch {trace}'\n")

    out, said = ensure()

    assert not out
    assert "ConfigurationError" in said
    assert f"oxy-pg start --state-dir {place}" in said
    assert not trace.exists()
    assert not (place / "oxy_pg.id").exists()


@pytest.mark.parametrize(
    "name", ["settings.json", "password", "run", "kept", "postgres_data", "postgres_data.upgraded"]
)
def test_no_file_that_could_be_ours_may_come_with_a_project(project, ensure, name):
    """
    Each would be believed: settings, a password that somebody knows, links that lead elsewhere.
    """
    place = project / ".postgres"
    place.mkdir()
    (place / name).symlink_to("/nonexistent")

    out, said = ensure()

    assert not out
    assert "ConfigurationError" in said
    assert sorted(os.listdir(place)) == [name]


def test_a_copied_or_linked_id_is_not_believed(project, ensure, state_dir):
    """
    A link to the id of a directory of ours, an id that was made up, and one of another user.
    """
    prepared(state_dir)
    place = project / ".postgres"
    place.mkdir()
    (place / "settings.json").write_text('{"archive_command": "id"}')
    for make in (
        lambda path: path.symlink_to(state_dir / "oxy_pg.id"),
        lambda path: os.link(state_dir / "oxy_pg.id", path),
        lambda path: path.write_text("0" * 32 + "\n"),
        lambda path: path.write_text("../" * 10 + "et\n"),
        os.mkfifo,
    ):
        make(place / "oxy_pg.id")
        out, said = ensure()
        assert not out
        assert "ConfigurationError" in said
        (place / "oxy_pg.id").unlink()


def test_a_name_given_once_is_enough(project, ensure, cli):
    """
    --state-dir accepts it, and the project's own file is believed afterwards.
    """
    place = project / ".postgres"
    prepared(place)
    (place / "oxy_pg.id").unlink()
    assert "ConfigurationError" in ensure()[1]

    done = cli("start", "--state-dir", place)
    assert done.returncode == 0, done.stderr
    cli("stop", "--state-dir", place)

    assert ensure()[0].startswith("postgresql://"), ensure()[1]


def test_another_directory_in_its_place_is_asked_for(project, ensure):
    """
    The path was ours once; what was cloned there later is not.
    """
    assert ensure()[0]
    place = project / ".postgres"
    oxy_pg.Server(place).stop()
    kept = project / "kept"
    place.rename(kept)
    place.mkdir()
    (place / "settings.json").write_text("{}")

    assert "ConfigurationError" in ensure()[1]

    shutil.rmtree(place)  # moved back, it is known as before
    kept.rename(place)
    out, said = ensure()
    assert out.startswith("postgresql://"), said


@pytest.mark.parametrize(
    "words", [["status"], ["logs"], ["doctor"], ["upgrade"], ["backup", "x"], ["reset", "--yes"]]
)
def test_no_command_uses_it(project, words):
    place = project / ".postgres"
    place.mkdir()
    (place / "settings.json").write_text("{}")

    done = subprocess.run(
        [sys.executable, "-m", "oxy_pg", *words],
        cwd=project,
        env=without_state_dir(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "oxy-pg start --state-dir" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(place) == ["settings.json"]


def test_a_url_is_not_taken_for_its_server(project, ensure, state_dir):
    """
    Its password file is a link to that of a server of ours, which OXY_DATABASE_URL names.
    """
    with oxy_pg.Server(state_dir) as server:
        url = server.ensure_database()
        place = project / ".postgres"
        place.mkdir()
        (place / "password").symlink_to(state_dir / "password")
        (place / "settings.json").write_text("{}")

        program = textwrap.dedent("""
            import oxy_pg
            try:
                print(oxy_pg.ensure("other"))
            except oxy_pg.OxyPgError as error:
                print(type(error).__name__)
        """)
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=project,
            env=without_state_dir() | {"OXY_DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert not (place / "lock").exists()
    assert not (place / "postgres_data").exists()
    assert done.returncode == 0, done.stderr


def test_a_file_of_settings_is_not_read(project, ensure, tmp_path):
    """
    `include` is no setting, but postgresql.conf has it: it would read any other from a file.
    """
    trace = tmp_path / "trace"
    (project / "more.conf").write_text(
        f"archive_mode = on\nwal_level = replica\narchive_command = 'touch {trace}; false'\n"
    )
    with (project / "pyproject.toml").open("a") as file:
        file.write(f"settings = {{ include = '{project / 'more.conf'}' }}\n")

    out, said = ensure()

    assert not out
    assert "runs a command" in said
    assert not trace.exists()


def test_the_record_stays_small(state_dir, tmp_path):
    """
    Directories that are gone are forgotten when there are very many; the others are not.
    """
    from oxy_pg.system import recorded

    record = tmp_path / "record"
    kept = [tmp_path / f"kept-{number}" for number in range(3)]
    for place in kept:
        place.mkdir()
        recorded.keep(f"{place}/oxy_pg.id", str(record))
    for number in range(1010):
        gone = tmp_path / f"gone-{number}"
        gone.mkdir()
        recorded.keep(f"{gone}/oxy_pg.id", str(record))
        shutil.rmtree(gone)

    assert len(list(record.iterdir())) <= 1000
    assert all(recorded.is_recorded(f"{place}/oxy_pg.id", str(record)) for place in kept)
